"""Compare the processor with the bare floor: wall time, CPU time, peak memory, bytes read and written, size of the result.

The floor is what GDAL's COG driver needs for the plain mosaic of the same scenes with the same codec, level, predictor and
threads (``floor.py``). Both run as processes of their own, in turn (processor, floor, processor, floor, …), pinned to the
same processors, with the scenes in the page cache. Run as ``python benchmarks/run_benchmark.py``; see ``--help`` and README.md.

Only the standard library is imported here: a child inherits the peak memory of the process that starts it.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MEASURES = ("wall_s", "cpu_s", "peak_mb", "read_mb", "written_mb", "output_mb")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What one process took; MB are 10^6 bytes.

    wall_s: seconds from start to end.
    cpu_s: user and system seconds, its finished children's included.
    peak_mb: largest resident set of the main process.
    read_mb, written_mb: bytes that passed through read and write calls, page cache or not.
    disk_read_mb, disk_written_mb: bytes that the storage layer fetched, and that were left for it to write.
    output_mb: size of the largest GeoTIFF that the process left.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    read_mb: float
    written_mb: float
    disk_read_mb: float
    disk_written_mb: float
    output_mb: float


def run_measured(command: list[str], output: Path, environment: dict[str, str]) -> Run:
    """Run a command that writes below ``output``, and measure it; what it says is shown only if it fails, which ends all."""
    os.sync()  # what an earlier run left to be written is not this one's to wait for
    said = output.with_name(f"{output.name}.log")
    start = time.perf_counter()
    with said.open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, but not yet reaped: its figures are still there
    wall = time.perf_counter() - start
    lines = (Path("/proc") / str(process.pid) / "io").read_text(encoding="ascii").splitlines()
    moved = {key: int(value) / 1e6 for key, value in (line.split(": ") for line in lines)}
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(said.read_text(encoding="utf-8", errors="replace"), file=sys.stderr)
        print(f"exit code {process.returncode}: {shlex.join(command)}", file=sys.stderr)
        raise SystemExit(1)
    rasters = [output] if output.is_file() else output.rglob("*.tif")
    return Run(
        wall_s=wall,
        cpu_s=usage.ru_utime + usage.ru_stime,
        peak_mb=usage.ru_maxrss * 1024 / 1e6,
        read_mb=moved["rchar"],
        written_mb=moved["wchar"],
        disk_read_mb=moved["read_bytes"],
        disk_written_mb=moved["write_bytes"],
        output_mb=max(path.stat().st_size for path in rasters) / 1e6,
    )


def remove_output(path: Path) -> None:
    """Remove what a run left, if anything."""
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def read_through(folder: Path) -> None:
    """Read every scene once, so that all runs find them in the page cache."""
    for path in sorted(folder.glob("scene_*.tif")):
        with path.open("rb") as file:
            while file.read(1 << 22):
                pass


def prepare_scenes(options: argparse.Namespace, environment: dict[str, str]) -> Path:
    """Return the scenes' ItemCollection; they are made unless an earlier benchmark left them."""
    if options.scenes is not None:
        return Path(options.scenes).resolve() / "items.json"
    wanted = [f"--{name}={getattr(options, name)}" for name in ("layout", "size", "bands", "dtype", "overlap")]
    wanted += ["--ragged"] if options.ragged else []
    folder: Path = options.work / "_".join(["scenes", *(word.lstrip("-").replace("=", "") for word in wanted)])
    if not (folder / "items.json").exists():  # written last: its presence says that the scenes are complete
        maker = str(ROOT / "benchmarks" / "make_scenes.py")
        subprocess.run([sys.executable, maker, str(folder), *wanted], check=True, cwd=ROOT, env=environment)
    return folder / "items.json"


def make_commands(options: argparse.Namespace, items: Path) -> dict[str, tuple[list[str], Path]]:
    """Return, by contestant, its command and the path that it writes to."""
    ours, floor = options.work / "ours", options.work / "floor.tif"
    processor = [sys.executable, "-m", "processor.cli", "run", str(items), "--output", str(ours), "--item-id", "bench"]
    processor += ["--overwrite", "--global_regression.estimate_stats", "false", "--output.compression", options.codec]
    processor += ["--output.level", str(options.level), "--shared.tile_threads", str(options.threads)]
    processor += shlex.split(options.extra)
    bare = [sys.executable, str(ROOT / "benchmarks" / "floor.py"), str(items), str(floor), "--codec", options.codec]
    bare += ["--level", str(options.level), "--threads", str(options.threads)]
    commands = {"ours": (processor, ours), "floor": (bare, floor)}
    return {name: commands[name] for name in commands if options.only in {None, name}}


def compute_ratios(runs: dict[str, list[Run]]) -> dict[str, float]:
    """Return, by measure, the median over the pairs of ours / floor; empty where only one of them ran."""
    if len(runs) < len(("ours", "floor")):
        return {}
    pairs = list(zip(runs["ours"], runs["floor"], strict=True))
    return {
        measure: statistics.median(getattr(ours, measure) / getattr(floor, measure) for ours, floor in pairs)
        for measure in MEASURES
    }


def print_table(runs: dict[str, list[Run]], ratios: dict[str, float]) -> None:
    """Print the medians, a column a contestant, and the ratios."""
    print(f"{'':<16}{''.join(f'{name:>12}' for name in runs)}{'ours/floor' if ratios else '':>12}")
    for measure in (*MEASURES, "disk_read_mb", "disk_written_mb"):
        medians = [statistics.median(getattr(run, measure) for run in some) for some in runs.values()]
        ratio = f"{ratios[measure]:>12.2f}" if measure in ratios else ""
        print(f"{measure:<16}{''.join(f'{value:>12.2f}' for value in medians)}{ratio}")


def parse_options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, help="folder with items.json and its scenes; else they are made as follows")
    parser.add_argument("--layout", default="2x3", help="scenes down x across (2x3)")
    parser.add_argument("--size", default="4096", help="pixels of a scene, HEIGHTxWIDTH or one number (4096)")
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--dtype", default="uint16")
    parser.add_argument("--overlap", type=float, default=0.25)
    parser.add_argument("--ragged", action="store_true", help="turned, ragged footprints with nodata around them")
    parser.add_argument("--codec", default="deflate", help="of both results (deflate)")
    parser.add_argument("--level", type=int, default=6, help="of the codec (6)")
    parser.add_argument("--threads", type=int, default=2, help="of both, and how many processors they are pinned to (2)")
    parser.add_argument("--repeat", type=int, default=3, help="pairs of runs (3)")
    parser.add_argument("--only", choices=["ours", "floor"], help="run one of the two")
    parser.add_argument("--extra", default="", help="further flags for the processor, as one string")
    parser.add_argument("--cachemax", help="GDAL_CACHEMAX of the floor (MB, or e.g. 5%%); else GDAL's default, 5 %% of memory")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mosaic-benchmark", help="working folder")
    parser.add_argument("--keep", action="store_true", help="keep the results of the last runs in the working folder")
    parser.add_argument("--json", type=Path, help="also write every run's figures here")
    options = parser.parse_args()
    options.work = options.work.resolve()
    return options


def main() -> None:
    """Make the scenes if need be, run both in turn, print the table."""
    options = parse_options()
    options.work.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    items = prepare_scenes(options, environment)
    cpus = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cpus)  # children inherit it
    commands = make_commands(options, items)
    bare = {**environment, "GDAL_CACHEMAX": options.cachemax or "5%"}
    read_through(items.parent)
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for turn in range(options.repeat):
        for name, (command, output) in commands.items():
            remove_output(output)
            runs[name].append(run_measured(command, output, bare if name == "floor" else environment))
            print(f"{turn + 1}/{options.repeat} {name}: {runs[name][-1].wall_s:.1f} s", file=sys.stderr)
    ratios = compute_ratios(runs)
    print_table(runs, ratios)
    if options.json is not None:
        report: dict[str, Any] = {
            "items": str(items),
            "options": {name: str(value) for name, value in vars(options).items()},
            "cpus": cpus,
            "runs": {name: [asdict(run) for run in some] for name, some in runs.items()},
            "ratios": ratios,
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if not options.keep:
        for _, output in commands.values():
            remove_output(output)
        remove_output(options.work / "floor.vrt")


if __name__ == "__main__":
    main()
