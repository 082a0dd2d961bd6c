"""The command line: commands and their exit codes, flags, the flags of a search, and the commands of tasks."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit code (:func:`processor.cli.commands.main`)."""
    from processor.cli.commands import main as run  # noqa: PLC0415 - who only imports the package needs none of it

    return run(arguments)
