"""Command line: the program, and one module for each command and each kind of option."""

from processor.cli.commands import main

__all__ = ["main"]
