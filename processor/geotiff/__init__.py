"""GeoTIFFs in: opened, described, and read window by window; nothing else names a raster to GDAL."""
