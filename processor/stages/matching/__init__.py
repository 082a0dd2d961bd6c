"""Radiometric matching: global methods and local ones."""
