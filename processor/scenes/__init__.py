"""The scenes: found from what INPUT names, brought to one CRS and one unit, with the files that the user gave for them."""
