"""The only code that touches files, objects and rasters."""
