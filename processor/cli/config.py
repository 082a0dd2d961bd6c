"""The command `config`."""

from __future__ import annotations

import argparse

from processor.cli.parser import OptionParser
from processor.config.document import render_sample


def add_options(parser: OptionParser) -> None:
    """Add nothing: the command has no options."""
    del parser


def execute(options: argparse.Namespace) -> str:
    """A commented sample of the whole configuration."""
    del options
    return render_sample()
