"""STAC out: Items, Collections and catalogues."""
