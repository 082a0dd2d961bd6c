"""Option parser that raises this project's errors, and adds a command's options only when the command is called."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from processor.errors import ConfigError


class OptionParser(argparse.ArgumentParser):
    """Parser of the program or of one command.

    Parameters
    ----------
    add_options
        Adds the options of a command. Called once, when the command is parsed: the other commands' parsers stay empty, and what
        their options need is not imported.
    settings
        Those of :class:`argparse.ArgumentParser`.
    """

    def __init__(self, *, add_options: Callable[[OptionParser], None] | None = None, **settings: Any) -> None:
        super().__init__(allow_abbrev=False, **settings)
        self._add_options = add_options
        self.spell: Callable[[Sequence[str]], list[str]] = list
        """Rewrites the arguments before they are parsed, for commands that allow several spellings."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse the arguments; unknown ones are an error.

        Raises
        ------
        ConfigError
            If the arguments cannot be used; for an unknown option the message suggests the nearest one.
        """
        if self._add_options is not None:
            add_options, self._add_options = self._add_options, None
            add_options(self)
        options, unknown = super().parse_known_args(self.spell(args), namespace)
        if unknown:
            name = unknown[0].partition("=")[0]  # without the value: it may be a secret
            if not name.startswith("-"):
                self.error("there is a word that belongs to no option")
            known = [flag for flag in self._option_string_actions if flag.startswith("--")]
            matches = get_close_matches(name, known, n=1)
            hint = f" (did you mean {matches[0]}?)" if matches else ""
            self.error(f"{name} is not an option{hint}")
        return options, unknown

    def error(self, message: str) -> NoReturn:
        """Refuse the arguments.

        Raises
        ------
        ConfigError
            Always.
        """
        msg = f"{message}; `{self.prog} --help` lists what can be given"
        raise ConfigError(msg)


def format_raw(prog: str) -> argparse.HelpFormatter:
    """Help formatter that keeps the line breaks of descriptions."""
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30)
