"""The mosaic: planned, measured, solved and rendered."""
