"""What a stack of dates takes: wall time, CPU and peak memory, and how near the ground the mosaic is.

    python benchmarks/bench_stack.py [--dates 24] [--size 4096] [--clouds 0.4] [--masked] [--work FOLDER]

Dates of one tile, 4 bands of uint16, each with gains, offsets, noise and clouds of its own that nothing marks (``--masked``:
that are nodata). They are made once and kept in the working folder. Each line is a run of its own; the truth error is the RMS
departure from the ground after one line a band, in its standard deviations, mean over bands.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import ROOT, make_environment, remove_output, run_measured

_OFF = ["--methods.matching_global_method", "null", "--methods.matching_local_method", "null"]
_EVERY = ["--median.observations", "all"]
RUNS = {
    "median of all": [*_OFF, *_EVERY],
    "median": _OFF,
    "satellite, median of all": ["--preset", "satellite", *_EVERY],
    "satellite, median": ["--preset", "satellite"],
}


def main() -> None:
    """Make the dates where they are not, run, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dates", type=int, default=24)
    parser.add_argument("--size", type=int, default=4096, help="pixels along a side")
    parser.add_argument("--clouds", type=float, default=0.4, help="share of each date")
    parser.add_argument("--masked", action="store_true", help="clouds are nodata")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mosaic-stack")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", nargs="+", choices=sorted(RUNS), default=list(RUNS))
    options = parser.parse_args()
    words = [f"--dates={options.dates}", f"--size={options.size}", f"--clouds={options.clouds:g}"]
    words += ["--masked"] * options.masked
    folder = options.work / "_".join(word.lstrip("-").replace("=", "") for word in words)
    output = options.work / "output"
    environment = make_environment(options.work)
    maker = [sys.executable, str(ROOT / "benchmarks" / "make_stack.py"), str(folder)]
    if not (folder / "truth.npy").exists():  # written last
        subprocess.run([*maker, *words], check=True, env=environment)
    for name in options.runs:
        remove_output(output)
        command = [sys.executable, "-m", "processor.cli", "run", str(folder / "d*.tif"), "--output", str(output)]
        flags = ["--methods.merge_method", "median", "--methods.seamline_method", "null", "--methods.clip_method", "null"]
        threads = ["--shared.tile_threads", str(options.threads)]
        run = run_measured([*command, *flags, *threads, *RUNS[name]], output, environment)
        judge = [*maker, "--judge", str(next(output.rglob("mosaic.tif")))]
        error = subprocess.run(judge, check=True, env=environment, stdout=subprocess.PIPE, text=True).stdout.strip()
        print(f"{name}: {run.wall_s:.0f} s, CPU {run.cpu_s:.0f} s, peak {run.peak_mb:.0f} MB, truth error {error}", flush=True)
    remove_output(output)


if __name__ == "__main__":
    main()
