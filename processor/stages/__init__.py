"""The six stages, named as users name them; pure: arrays and records in, new ones out."""
