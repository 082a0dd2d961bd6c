"""Compare the processor with others on the same scenes: wall and CPU time, peak memory, bytes moved, size of the result.

The floor is what GDAL's COG driver needs for the plain mosaic of the same scenes with the same codec, level, predictor and
threads (``floor.py``). ``rio-merge`` is rasterio's own plain mosaic, which has no overviews; ``otb`` is Orfeo ToolBox's
Mosaic with one gain a scene and band, without overviews too; ``satellite`` and ``aerial`` are the processor with that preset.
All run as processes of their own, in turn (processor, floor, processor, floor, …), pinned to the same processors, with the
scenes in the page cache. Run as ``python benchmarks/compare.py``; see ``--help`` and README.md.
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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measuring import (
    KEY,
    ROOT,
    SECRET,
    Run,
    make_environment,
    prepare_scenes,
    read_through,
    remove_output,
    run_measured,
    serve_s3,
)

MEASURES = ("wall_s", "cpu_s", "peak_mb", "read_mb", "written_mb", "output_mb")
PLAIN = {"layout": "2x3", "size": "4096", "bands": 4, "dtype": "uint16", "overlap": 0.25}
PRESETS = ("satellite", "aerial")
CONTESTANTS = ("ours", *PRESETS, "floor", "rio-merge", "otb")
_OTB_TYPES = {"uint8": "uint8", "uint16": "uint16", "int16": "int16", "float32": "float"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is compared.

    scenes: as ``make_scenes.py`` takes them; ``flags`` are its further flags. Or ``folder``: scenes that are there already.
    codec, level: of all results.
    threads: of all, and how many processors they are pinned to.
    repeat: rounds.
    contestants: whom; each once a round.
    s3: whether the scenes are read from an S3 server on this machine.
    extra: further flags for the processor.
    cachemax: GDAL_CACHEMAX of the floor; GDAL's default is 5 % of the machine's memory.
    """

    scenes: Mapping[str, Any] = field(default_factory=lambda: dict(PLAIN))
    flags: tuple[str, ...] = ()
    folder: Path | None = None
    codec: str = "deflate"
    level: int = 6
    threads: int = 2
    repeat: int = 3
    contestants: tuple[str, ...] = ("ours", "floor")
    s3: bool = False
    extra: tuple[str, ...] = ()
    cachemax: str = "5%"


def compare(case: Case, work: Path) -> dict[str, Any]:
    """Run every contestant in turn; the runs of each, and ours divided by each other's, medians over the rounds."""
    work.mkdir(parents=True, exist_ok=True)
    environment = make_environment(work)
    folder = case.folder if case.folder is not None else prepare_scenes(work, environment, dict(case.scenes), *case.flags)
    cpus = sorted(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    runs: dict[str, list[Run]] = {}
    with ExitStack() as stack:
        items = folder / "items.json"
        if case.s3:
            items, environment = _upload(folder, stack.enter_context(serve_s3(work)), environment)
        read_through(folder)
        commands = make_commands(case, items, work)
        runs = {name: [] for name in commands}
        os.sched_setaffinity(0, cpus[: case.threads])  # children inherit it; the server above does not
        stack.callback(os.sched_setaffinity, 0, cpus)
        for turn in range(case.repeat):
            for name, (command, output) in commands.items():
                remove_output(output)
                bare = environment if name in {"ours", *PRESETS} else {**environment, "GDAL_CACHEMAX": case.cachemax}
                runs[name].append(run_measured(command, output, bare))
                print(f"{turn + 1}/{case.repeat} {name}: {runs[name][-1].wall_s:.1f} s", file=sys.stderr)
        for _, output in commands.values():
            remove_output(output)
    return {
        "case": {name: str(value) for name, value in asdict(case).items()},
        "cpus": cpus[: case.threads],
        "load_before": round(load, 2),
        "runs": {name: [asdict(run) for run in some] for name, some in runs.items()},
        "medians": {name: {m: _median(run[m] for run in map(asdict, some)) for m in MEASURES} for name, some in runs.items()},
        "ratios": {name: _compute_ratios(runs["ours"], runs[name]) for name in runs if name != "ours" and "ours" in runs},
    }


def _median(values: Any) -> float:
    return round(statistics.median(values), 3)


def _compute_ratios(ours: Sequence[Run], others: Sequence[Run]) -> dict[str, float]:
    """By measure, the median over the rounds of ours / theirs."""
    pairs = list(zip(ours, others, strict=True))
    return {m: _median(getattr(one, m) / getattr(other, m) for one, other in pairs) for m in MEASURES}


def _upload(folder: Path, endpoint: str, environment: dict[str, str]) -> tuple[Path, dict[str, str]]:
    """Put the scenes into the server's bucket; their ItemCollection, and the environment that reaches them."""
    reaching = {
        **environment,
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_S3_ENDPOINT": endpoint.removeprefix("http://"),
        "AWS_HTTPS": "NO",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_REGION": "us-east-1",
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    }
    script = [sys.executable, str(ROOT / "benchmarks" / "upload_scenes.py"), str(folder), "s3://scenes/bench"]
    subprocess.run([*script, "--endpoint", endpoint], check=True, cwd=ROOT, env=reaching)
    return folder / "items-s3.json", reaching


def make_commands(case: Case, items: Path, work: Path) -> dict[str, tuple[list[str], Path]]:
    """By contestant, its command and the path that it writes to; who is not installed is left out."""
    ours, floor, merged, otb = work / "ours", work / "floor.tif", work / "merged.tif", work / "otb.tif"
    files = sorted(str(path) for path in items.parent.glob("scene_*.tif"))
    processor = [sys.executable, "-m", "processor.cli", "run", str(items), "--output", str(ours), "--item-id", "bench"]
    processor += ["--overwrite", "--global_regression.estimate_stats", "false", "--output.compression", case.codec]
    processor += ["--output.level", str(case.level), "--shared.tile_threads", str(case.threads), *case.extra]
    bare = [sys.executable, str(ROOT / "benchmarks" / "floor.py"), str(items), str(floor), "--codec", case.codec]
    bare += ["--level", str(case.level), "--threads", str(case.threads)]
    predictor = 3 if case.scenes.get("dtype") == "float32" else 2
    creation = {"TILED": "YES", "COMPRESS": case.codec.upper(), "PREDICTOR": predictor, "BIGTIFF": "IF_SAFER"}
    creation |= {f"{'Z' if case.codec == 'deflate' else f'{case.codec.upper()}_'}LEVEL": case.level}
    creation |= {"BLOCKXSIZE": 512, "BLOCKYSIZE": 512, "NUM_THREADS": case.threads}
    rio = [str(Path(sys.executable).with_name("rio")), "merge", "--overwrite", *files, str(merged)]
    rio += [word for name, value in creation.items() for word in ("--co", f"{name}={value}")]
    extended = "".join(f"&gdal:co:{name}={value}" for name, value in creation.items())
    mosaic = [f"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS={case.threads}", "otbcli_Mosaic", "-il", *files, "-harmo.method", "band"]
    mosaic += ["-out", f"{otb}?{extended}", _OTB_TYPES.get(str(case.scenes.get("dtype")), "uint16")]
    commands = {
        "ours": (processor, ours),
        **{name: ([*processor, "--preset", name], ours) for name in PRESETS},
        "floor": (bare, floor),
        "rio-merge": (rio, merged),
        "otb": (["env", *mosaic], otb),
    }
    absent = {"otb"} if shutil.which("otbcli_Mosaic") is None else set()
    return {name: commands[name] for name in case.contestants if name not in absent}


def print_table(result: Mapping[str, Any]) -> None:
    """Print the medians, a column a contestant, and ours divided by each other's."""
    medians, ratios = result["medians"], result["ratios"]
    heads = [*medians, *(f"/ {name}" for name in ratios)]
    print(f"{'':<12}{''.join(f'{head:>12}' for head in heads)}")
    for measure in MEASURES:
        values = "".join(f"{column[measure]:>12.2f}" for column in medians.values())
        print(f"{measure:<12}{values}{''.join(f'{column[measure]:>12.2f}' for column in ratios.values())}")


def parse_case() -> tuple[Case, argparse.Namespace]:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=Path, help="folder with items.json and its scenes; else they are made as follows")
    for name, value in PLAIN.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"of the scenes that are made ({value})")
    parser.add_argument("--ragged", action="store_true", help="turned, ragged footprints with nodata around them")
    parser.add_argument("--codec", default="deflate", help="of all results (deflate)")
    parser.add_argument("--level", type=int, default=6, help="of the codec (6)")
    parser.add_argument("--threads", type=int, default=2, help="of all, and how many processors they are pinned to (2)")
    parser.add_argument("--repeat", type=int, default=3, help="rounds (3)")
    parser.add_argument("--contestants", default="ours,floor", help=f"some of {','.join(CONTESTANTS)} (ours,floor)")
    parser.add_argument("--s3", action="store_true", help="read the scenes from an S3 server on this machine")
    parser.add_argument("--extra", default="", help="further flags for the processor, as one string")
    parser.add_argument("--cachemax", default="5%", help="GDAL_CACHEMAX of the others (5%%, GDAL's default)")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mosaic-benchmark", help="working folder")
    parser.add_argument("--json", type=Path, help="also write every run's figures here")
    options = parser.parse_args()
    case = Case(
        scenes={name: getattr(options, name) for name in PLAIN},
        flags=("ragged",) if options.ragged else (),
        folder=None if options.scenes is None else options.scenes.resolve(),
        codec=options.codec,
        level=options.level,
        threads=options.threads,
        repeat=options.repeat,
        contestants=tuple(options.contestants.split(",")),
        s3=options.s3,
        extra=tuple(shlex.split(options.extra)),
        cachemax=options.cachemax,
    )
    return case, options


def main() -> None:
    """Make the scenes if need be, run all in turn, print the table."""
    case, options = parse_case()
    result = compare(case, options.work.resolve())
    print_table(result)
    if options.json is not None:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
