"""The command line of runs by tasks: `plan`, `task`, and the executors of `run`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from processor.cli.flags import add_parameters, read_config
from processor.config import iter_parameters
from processor.errors import ConfigError
from processor.process.logs import configure_logging

if TYPE_CHECKING:
    from processor.execution.run import Outcome, Request
    from processor.process.progress import Tracker
    from processor.publish.item import Prepared

__all__ = ["EXECUTORS", "PLAN_DESCRIPTION", "add_executor", "add_task", "choose_executor", "run_task"]

EXECUTORS: Final = ("local", "tasks", "kubernetes")
PHASES: Final = ("measure", "blocks", "solve", "render", "assemble")

PLAN_DESCRIPTION: Final = """\
Plan a run that is to be done by tasks, in any number of processes: writes its
document, DEST/.work/ID/DIGEST/run.json, and prints where that is. Then, each
after the one before is complete:

  mosaic-processor task measure  --run URL
  mosaic-processor task blocks   --run URL
  mosaic-processor task solve    --run URL
  mosaic-processor task render   --run URL
  mosaic-processor task assemble --run URL

With --shards N, N processes share the tasks of a phase, each with its --index."""
_TASK_DESCRIPTION: Final = """\
Do the tasks of a phase that fall to one shard and are not done yet. Of the
parameters only those count that change time, memory or place, and never the
result; what decides the result is in the document of the run."""
_INDEX: Final = "JOB_COMPLETION_INDEX"


def add_executor(run: argparse.ArgumentParser) -> None:
    """Add the choice of who does the work."""
    run.add_argument(
        "--executor",
        choices=EXECUTORS,
        default="local",
        help="who does the work: local, this process with scratch files on this machine; tasks, this process with results in "
        "DEST/.work, so that the same command goes on where it was interrupted; kubernetes, Jobs (default: %(default)s)",
    )


def add_task(commands: Any) -> argparse.ArgumentParser:
    """Add the command `task`, and give its parser."""
    task: argparse.ArgumentParser = commands.add_parser(
        "task",
        help="do a shard of a phase of a planned run",
        description=_TASK_DESCRIPTION,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, max_help_position=30),
        allow_abbrev=False,
    )
    task.add_argument("phase", choices=PHASES, metavar="PHASE", help=", ".join(PHASES))
    task.add_argument("--run", required=True, metavar="URL", help="document of the run, as `plan` printed it")
    task.add_argument(
        "--shards", type=int, default=1, metavar="N", help="processes that share the phase (default: %(default)s)"
    )
    task.add_argument("--index", type=int, metavar="I", help=f"which of them this is, from 0 (default: {_INDEX}, else 0)")
    task.add_argument("--config", metavar="FILE", help="configuration, a YAML file (path or URL)")
    add_parameters(task)
    return task


def run_task(options: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> None:
    """Do a shard of a phase.

    Raises
    ------
    ConfigError
        The options make no sense.
    MosaicError
        As the phase.
    """
    index = _find_index(options, environ)
    for parameter in iter_parameters():
        if vars(options).get(f"parameter:{parameter.path}") is not None and parameter.is_decisive:
            msg = f"--{parameter.path} decides about the result, so it is for `plan`, not for a task"
            raise ConfigError(msg)
    config = read_config(options)

    from processor.execution.phases import open_run  # noqa: PLC0415 - the engine takes seconds to load: not for a mistyped option
    from processor.execution.work import run_shard  # noqa: PLC0415
    from processor.process.progress import choose_tracker  # noqa: PLC0415

    run = open_run(options.run, config)
    configure_logging(debug=config.shared.debug_logs, run=run.place.item_id, phase=options.phase, shard=index)
    run_shard(run, options.phase, shards=options.shards, index=index, tracker=choose_tracker())


def _find_index(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Which shard this is."""
    text, source = (options.index, "--index") if options.index is not None else (environ.get(_INDEX) or "0", _INDEX)
    try:
        index = int(text)
    except ValueError as error:
        msg = f"{source} = {text!r} is not a number"
        raise ConfigError(msg) from error
    if not 0 <= index < options.shards:
        msg = f"{source} = {index} is none of the shards 0 to {options.shards - 1} of --shards {options.shards}"
        raise ConfigError(msg)
    return index


def choose_executor(options: argparse.Namespace) -> Callable[[Request, Prepared, Tracker], Outcome]:
    """What does the work.

    Raises
    ------
    ConfigError
        Where pods would lack a secret.
    """
    if options.executor == "tasks":
        from processor.execution.executors import execute_tasks  # noqa: PLC0415 - as above

        return execute_tasks
    if options.executor == "kubernetes":
        secret = next(
            (p.path for p in iter_parameters() if p.is_secret and vars(options).get(f"parameter:{p.path}") is not None), None
        )
        if secret is not None:
            msg = f"--{secret} would not reach the pods, which take secrets from the environment of the coordinator's pod alone"
            raise ConfigError(msg)
        from processor.execution.kubernetes.phase_jobs import execute_kubernetes  # noqa: PLC0415

        return execute_kubernetes
    from processor.execution.run import execute  # noqa: PLC0415

    return execute
