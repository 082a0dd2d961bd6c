"""The command `config`."""

from __future__ import annotations

import argparse

from processor.cli.parser import OptionParser
from processor.config import load_config
from processor.config.document import render_sample
from processor.config.presets import PRESETS


def add_options(parser: OptionParser) -> None:
    """Add the preset."""
    parser.add_argument("--preset", choices=tuple(PRESETS), help="show the values of this preset instead of the defaults")


def execute(options: argparse.Namespace) -> str:
    """A commented sample of the whole configuration."""
    return render_sample(load_config(flags={"methods.preset": options.preset}, environment={}) if options.preset else None)
