"""Cloud-Optimized GeoTIFFs out: tiles compressed once, overviews on the way, the file assembled from both."""
