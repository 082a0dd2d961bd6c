"""One pixel grid for all scenes."""
