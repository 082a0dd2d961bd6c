"""Command line: the program, and one module for each command and each kind of option."""

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, as :func:`processor.cli.commands.main`; returns the exit code.

    The libraries that the command line needs are loaded here, so that Ctrl-C meanwhile is no crash either.
    """
    try:
        from processor.cli.commands import main as run  # noqa: PLC0415 - see above

        return run(arguments)
    except KeyboardInterrupt:
        return 130
