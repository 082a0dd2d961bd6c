"""The process itself: its logs, its progress, its memory and its threads."""
