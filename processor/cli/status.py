"""The command `status`: how far a run by tasks is."""

from __future__ import annotations

import argparse
from typing import Final

import yaml

from processor.cli.flags import add_parameters, read_config, refuse_decisive, spell_out
from processor.cli.parser import OptionParser, format_raw

_DESCRIPTION: Final = """\
Print how far a run by tasks is, as YAML: its state, how many tasks of each
phase are done, at which rate and in which time the rest will be, and which
shards failed last and why. All of it is read from the results of the tasks in
storage, so that it can be asked from anywhere while the run goes on, and after
it was stopped."""


def add_options(parser: OptionParser) -> None:
    """Add the options."""
    parser.description, parser.formatter_class, parser.spell = _DESCRIPTION, format_raw, spell_out
    parser.add_argument("run", metavar="URL", help="document of the run, as `plan` and the coordinator print it")
    parser.add_argument("--config", metavar="FILE", help="configuration, a YAML file (path or URL)")
    add_parameters(parser)


def execute(options: argparse.Namespace) -> str:
    """Describe a run.

    Raises
    ------
    ConfigError
        The options cannot be used.
    MosaicError
        It is the document of no run, something else is published under its name, or storage failed.
    """
    refuse_decisive(options)
    config = read_config(options)

    from processor.execution.run_manifest import open_run  # noqa: PLC0415 - the engine takes seconds: not for a mistyped option
    from processor.execution.status import describe_run  # noqa: PLC0415

    return yaml.safe_dump(describe_run(open_run(options.run, config)), sort_keys=False, allow_unicode=True, width=10_000)
