"""One raster from all scenes."""
