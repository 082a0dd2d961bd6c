"""STAC APIs: searched, and given Items."""
