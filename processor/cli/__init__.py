"""Command line: the program, and one module for each command and each kind of option."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (:func:`processor.cli.commands.main`)."""
    from processor.cli.commands import main as run  # noqa: PLC0415 - importing the package costs nothing

    return run(arguments)
