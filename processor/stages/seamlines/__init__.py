"""Which scene owns which part of the mosaic."""
