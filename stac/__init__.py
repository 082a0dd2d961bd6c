"""STAC at the edges: what is read from Items and what is published as one."""
