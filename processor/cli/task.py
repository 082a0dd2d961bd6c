"""The command `task`: one shard of a phase of a planned run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Final

from processor.cli.flags import add_parameters, read_config, refuse_decisive, spell_out
from processor.cli.parser import OptionParser, format_raw
from processor.errors import ConfigError
from processor.process.logs import configure_logging

_PHASES: Final = ("measure", "blocks", "solve", "render", "assemble")
_DESCRIPTION: Final = """\
Do the tasks of a phase that fall to one shard and are not done yet. Of the
parameters only those count that change time, memory or place, and never the
result; what decides the result is in the document of the run."""
_INDEX: Final = "JOB_COMPLETION_INDEX"


def add_options(parser: OptionParser) -> None:
    """Add the options."""
    parser.description, parser.formatter_class, parser.spell = _DESCRIPTION, format_raw, spell_out
    parser.add_argument("phase", choices=_PHASES, metavar="PHASE", help=", ".join(_PHASES))
    parser.add_argument("--run", required=True, metavar="URL", help="document of the run, as `plan` printed it")
    parser.add_argument(
        "--shards", type=int, default=1, metavar="N", help="processes that share the phase (default: %(default)s)"
    )
    parser.add_argument("--index", type=int, metavar="I", help=f"which of them this is, from 0 (default: {_INDEX}, else 0)")
    parser.add_argument("--config", metavar="FILE", help="configuration, a YAML file (path or URL)")
    add_parameters(parser)


def execute(options: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> str:
    """Execute one shard of a phase; nothing goes to standard output.

    Raises
    ------
    ConfigError
        The options cannot be used.
    MosaicError
        As the phase.
    """
    text, source = (options.index, "--index") if options.index is not None else (environ.get(_INDEX) or "0", _INDEX)
    try:
        index = int(text)
    except ValueError as error:
        msg = f"{source} = {text!r} is not a number"
        raise ConfigError(msg) from error
    if not 0 <= index < options.shards:
        msg = f"{source} = {index} is none of the shards 0 to {options.shards - 1} of --shards {options.shards}"
        raise ConfigError(msg)
    refuse_decisive(options)
    config = read_config(options)

    from processor.execution.phases import run_shard  # noqa: PLC0415 - the engine takes seconds: not for a mistyped option
    from processor.execution.run_manifest import open_run  # noqa: PLC0415
    from processor.process.progress import choose_tracker  # noqa: PLC0415

    run = open_run(options.run, config)
    configure_logging(debug=config.shared.debug_logs, run=run.prepared.item_id, phase=options.phase, shard=index)
    run_shard(run, options.phase, shards=options.shards, index=index, tracker=choose_tracker())
    return ""
