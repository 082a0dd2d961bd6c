"""The whole suite with one command: end to end beside the others, kernels, plan and solve, seamlines; figures as JSON.

Run as ``python benchmarks/run_benchmark.py``, or with words that parts contain to run only these (``--help`` lists all).
Everything that was measured goes to one JSON file, which the tables and plots of docs/performance.md are made from
(``plot_results.py``). A part runs as processes of its own; all together take about half an hour on two idle cores. What is
compared, and how: README.md.

Only the standard library is imported here: a child inherits the peak memory of the process that starts it.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from compare import PLAIN, Case, compare, print_table
from measuring import ROOT, make_environment

_EVERYONE = ("ours", "floor", "rio-merge", "otb")
_MANY = {"layout": "4x6", "size": "2048", "bands": 3, "dtype": "uint8", "overlap": 0.25}
_FLOATS = {"layout": "2x2", "size": "8192", "bands": 1, "dtype": "float32", "overlap": 0.25}


def list_cases(repeat: int) -> dict[str, Case]:
    """The end-to-end comparisons, by name."""
    plain = Case(repeat=repeat)
    once = max(1, repeat // 2)
    cases = {
        "6 x 4096² x 4 uint16": replace(plain, contestants=_EVERYONE),
        "6 x 4096² x 4 uint16, one core": replace(plain, threads=1, repeat=once),
        "6 x 4096² x 4 uint16, default codec": replace(plain, level=1),
        "6 x 4096² x 4 uint16, ZSTD 1": replace(plain, codec="zstd", level=1),
        "6 x 4096² x 4 uint16, from S3": replace(plain, s3=True),
        "24 x 2048² x 3 uint8": replace(plain, scenes=_MANY, contestants=_EVERYONE),
        "24 x 2048² x 3 uint8, from S3": replace(plain, scenes=_MANY, s3=True, repeat=once),
        "4 x 8192² x 1 float32": replace(plain, scenes=_FLOATS, contestants=_EVERYONE),
        "4 x 8192² x 1 float32, from S3": replace(plain, scenes=_FLOATS, s3=True, repeat=once),
        "60 x 4096² x 4 uint16, ten times the mosaic": replace(
            plain, scenes={**PLAIN, "layout": "6x10"}, repeat=1, contestants=("ours",), level=1
        ),
    }
    for layout in ("1x2", "2x3", "4x4"):
        scenes = {**PLAIN, "layout": layout, "size": "2048"}
        cases[f"scenes: {layout} x 2048² x 4 uint16"] = replace(plain, scenes=scenes, level=1, repeat=once)
    for overlap in (0.05, 0.25, 0.6):
        scenes = {**PLAIN, "size": "2048", "overlap": overlap}
        cases[f"overlap: {overlap} of 6 x 2048² x 4 uint16"] = replace(plain, scenes=scenes, level=1, repeat=once)
    return cases


def run_script(environment: dict[str, str], name: str, *arguments: str) -> dict[str, Any]:
    """What a script of this folder prints, as JSON."""
    command = [sys.executable, str(ROOT / "benchmarks" / name), *arguments]
    done = subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def list_parts(environment: dict[str, str]) -> dict[str, Callable[[], dict[str, Any]]]:
    """The other benchmarks, by name."""
    return {
        "kernels": lambda: run_script(environment, "bench_kernels.py"),
        "plan": lambda: run_script(environment, "bench_plan.py"),
        "global solve": lambda: run_script(environment, "bench_solve.py"),
        "seamlines": lambda: run_script(environment, "bench_seamlines.py"),
        "assembly": lambda: run_script(environment, "bench_assembly.py", "--edge", "30000", "--json"),
        "assembly on S3": lambda: run_script(environment, "bench_assembly.py", "--edge", "30000", "--json", "--s3"),
    }


def describe_machine() -> dict[str, Any]:
    """What the figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {"processor": models[0] if models else platform.machine(), "cores": len(models), "python": platform.python_version()}


def main() -> None:
    """Run what is asked for; each result is stored as soon as it is there."""
    cases = list_cases(3)
    parts = list_parts({})
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"parts that contain one of these: {'; '.join([*parts, *cases])}")
    parser.add_argument("--repeat", type=int, default=3, help="rounds of each comparison (3)")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mosaic-benchmark", help="working folder")
    parser.add_argument("--json", type=Path, help="where the figures go, added to those that it has (WORK/results.json)")
    options = parser.parse_args()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    file = options.json if options.json is not None else work / "results.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    results["machine"] = describe_machine()
    jobs: dict[str, Callable[[], dict[str, Any]]] = dict(list_parts(make_environment(work)))
    jobs |= {name: (lambda case=case: compare(case, work)) for name, case in list_cases(options.repeat).items()}
    for name, job in jobs.items():
        if options.names and not any(wanted in name for wanted in options.names):
            continue
        print(f"== {name}", file=sys.stderr)
        results[name] = job()
        file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        if "medians" in results[name]:
            print(f"\n{name}")
            print_table(results[name])
        else:
            print(f"\n{name}\n{json.dumps(results[name], indent=1)}")


if __name__ == "__main__":
    main()
