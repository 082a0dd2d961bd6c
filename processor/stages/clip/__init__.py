"""Scenes cut by their cells."""
