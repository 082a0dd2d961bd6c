"""STAC in: documents that strangers wrote, parsed once into records."""
