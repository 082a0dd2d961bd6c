"""Kills runs at random moments, repeats them, and compares all that they publish; 1 where a byte differs or anything is left.

    python benchmarks/kill_runs.py [--kills 200] [--seed 1] [--kinds local,tasks,s3,s3-tasks]

The trials are those of ``tests/support/kills.py``, of which the tests do a few: runs of one process and runs by tasks, to a
folder and to a bucket of a real S3 server.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from contextlib import nullcontext, suppress
from pathlib import Path


def main() -> int:
    """Do as many kills as asked for, and print what came of them."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
    from kills import KINDS, Figures, Trials, draw  # noqa: PLC0415 - from the tests
    from servers import run_s3  # noqa: PLC0415

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, metavar="N", help="signals that meet a run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of moments and signals (default: %(default)s)")
    parser.add_argument("--kinds", default=",".join(KINDS), metavar="LIST", help="kinds of runs (default: %(default)s)")
    options = parser.parse_args()
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # what was found so far is told, and servers end with this process
    kinds, chance, figures = options.kinds.split(","), random.Random(options.seed), Figures()  # noqa: S311 - no secret
    start, number = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as scratch:
        needs_server = any(kind.startswith("s3") for kind in kinds)
        with run_s3(Path(scratch) / "server") if needs_server else nullcontext() as server:
            trials = [Trials(kind, Path(scratch), server) for kind in kinds]
            with suppress(KeyboardInterrupt):
                while figures.kills < options.kills:
                    known = len(figures.faults)
                    trials[number % len(trials)].try_once(f"{number:04d}", *draw(chance), figures)
                    number += 1
                    print(f"{figures.kills} kills", *figures.faults[known:], sep="\n", file=sys.stderr, flush=True)
    for name, count in sorted(figures.sent.items()):
        print(f"{count:5d}  {name}")
    print(f"{figures.kills} kills in {number} trials, {time.monotonic() - start:.0f} s: {len(figures.faults)} faults")
    return 1 if figures.faults or figures.kills < options.kills else 0


if __name__ == "__main__":
    sys.exit(main())
