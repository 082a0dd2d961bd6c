"""Tables and plots of a suite's results, put into docs/performance.md and docs/images.

Run as ``python benchmarks/plot_results.py RESULTS.json``, with what ``run_benchmark.py`` has written. In the page, what stands
between ``<!-- results: NAME -->`` and ``<!-- end -->`` is replaced.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "performance.md"
IMAGES = ROOT / "docs" / "images"
_NAMES = {"ours": "this project", "floor": "floor", "rio-merge": "rio merge", "otb": "OTB Mosaic"}
_COLOURS = {"ours": "#0072B2", "floor": "#8C8C8C", "rio-merge": "#E69F00", "otb": "#009E73"}

Results = Mapping[str, Any]


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def _comparisons(results: Results) -> dict[str, Any]:
    """The end-to-end comparisons that are neither of the two series."""
    return {n: r for n, r in results.items() if "medians" in r and not n.startswith(("scenes:", "overlap:"))}


def _get(columns: Mapping[str, Any], name: str, measure: str) -> str:
    return f"{columns[name][measure]:.2f}" if name in columns else ""


def make_table(results: Results) -> str:
    """Ours, the floor, and ours divided by it."""
    lines = [
        _row("", "wall, s", "floor", "ratio", "CPU, s", "floor", "ratio", "peak, MB", "floor"),
        _row(*["---", *["---:"] * 8]),
    ]
    for name, result in _comparisons(results).items():
        medians, ratios = result["medians"], result["ratios"]
        cells: list[str] = []
        for measure in ("wall_s", "cpu_s"):
            cells += [_get(medians, "ours", measure), _get(medians, "floor", measure), _get(ratios, "floor", measure)]
        peaks = [f"{medians[who]['peak_mb']:.0f}" if who in medians else "" for who in ("ours", "floor")]
        lines.append(_row(name, *cells, *peaks))
    return "\n".join(lines)


def make_others(results: Results) -> str:
    """The other programs, beside ours."""
    lines = [
        _row("", "program", "wall, s", "CPU, s", "peak, MB", "ours / it, wall", "ours / it, CPU"),
        _row(*["---"] * 2, *["---:"] * 5),
    ]
    for name, result in _comparisons(results).items():
        for who, median in result["medians"].items():
            if who in {"rio-merge", "otb"}:
                ratio = result["ratios"][who]
                figures = [f"{median['wall_s']:.1f}", f"{median['cpu_s']:.1f}", f"{median['peak_mb']:.0f}"]
                lines.append(_row(name, _NAMES[who], *figures, f"{ratio['wall_s']:.2f}", f"{ratio['cpu_s']:.2f}"))
    return "\n".join(lines)


def make_kernels(results: Results) -> str:
    """Nanoseconds a value."""
    lines = [_row("kernel", "ns a value"), _row("---", "---:")]
    return "\n".join([*lines, *(_row(name, f"{value:.2f}") for name, value in results["kernels"].items())])


def make_parts(results: Results) -> str:
    """Plan, solves, seamlines and assembly."""
    plan, solve, cells = results["plan"], results["global solve"], results["seamlines"]
    lines = [_row("", "wall, s", "CPU, s", "peak, MB"), _row("---", *["---:"] * 3)]
    lines += [
        _row(f"plan of {plan['scenes']:,} scenes, {plan['pairs']:,} overlaps", plan["plan_wall_s"], plan["plan_cpu_s"], ""),
        _row(
            f"global solve, seamlines and cells of them, {plan['vertices']} vertices a footprint",
            plan["solve_wall_s"],
            plan["solve_cpu_s"],
            plan["peak_mb"],
        ),
        _row(
            f"seamlines and cells alone, {cells['scenes']:,} scenes",
            cells["wall_seconds"],
            cells["cpu_seconds"],
            cells["peak_rss_mb"],
        ),
        _row(
            f"global solve alone, {solve['scenes']:,} scenes, {solve['overlaps']:,} overlaps",
            solve["wall_seconds"],
            solve["cpu_seconds"],
            solve["peak_rss_mb"],
        ),
    ]
    for name in ("assembly", "assembly on S3"):
        made = results[name]
        what = f"{name}: {made['edge']:,}² x 3 uint16 from {made['parts']} parts, {made['mosaic_bytes'] / 1e9:.1f} GB"
        lines.append(_row(what, f"{made['mosaic_s']:.1f}", "", f"{made['peak_mb']:.0f}"))
    return "\n".join(lines)


def make_machine(results: Results) -> str:
    """What it was measured on."""
    machine = results["machine"]
    loads = [result["load_before"] for result in results.values() if "load_before" in result]
    return (
        f"{machine['processor']}, {machine['cores']} cores, Python {machine['python']}; load before a comparison "
        f"{min(loads):.1f} to {max(loads):.1f}."
    )


def plot_ratios(results: Results) -> Figure:
    """Ours divided by the floor, wall and CPU."""
    named = {name: r["ratios"]["floor"] for name, r in _comparisons(results).items() if "floor" in r["ratios"]}
    figure = Figure(figsize=(8, 0.6 + 0.42 * len(named)), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for position, ratios in enumerate(named.values()):
        axes.barh(position - 0.18, ratios["wall_s"], height=0.34, color="#0072B2", label="wall" if position == 0 else None)
        axes.barh(position + 0.18, ratios["cpu_s"], height=0.34, color="#56B4E9", label="CPU" if position == 0 else None)
    axes.axvline(1, color="#1b1f24", linewidth=1)
    axes.set_yticks(range(len(named)), list(named))
    axes.invert_yaxis()
    axes.set_xlabel("this project / floor")
    axes.legend(loc="lower right", frameon=False)
    return figure


def plot_scaling(results: Results) -> Figure:
    """CPU time with the number of scenes and with their overlap, ours and the floor."""
    figure = Figure(figsize=(8, 3), dpi=100, layout="constrained")
    for axes, prefix, label in zip(figure.subplots(1, 2), ("scenes:", "overlap:"), ("scenes of 2048²", "overlap"), strict=True):
        for who in ("ours", "floor"):
            places, seconds = [], []
            for name, result in results.items():
                if name.startswith(prefix):
                    word = name.split()[1]
                    places.append(float(word) if prefix == "overlap:" else int(word[0]) * int(word[2]))
                    seconds.append(result["medians"][who]["cpu_s"])
            axes.plot(places, seconds, "o-", color=_COLOURS[who], label=_NAMES[who])
        axes.set_xlabel(label)
        axes.set_ylabel("CPU, s")
        axes.set_ylim(bottom=0)
    figure.axes[0].legend(frameon=False)
    return figure


def main() -> None:
    """Write the tables into the page, and the plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    results = json.loads(parser.parse_args().results.read_text(encoding="utf-8"))
    makers: dict[str, Callable[[Results], str]] = {
        "machine": make_machine,
        "end to end": make_table,
        "others": make_others,
        "kernels": make_kernels,
        "parts": make_parts,
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, make in makers.items():
        pattern = re.compile(rf"(<!-- results: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        assert pattern.search(text), f"{PAGE} has no place for {name}"
        made = make(results)
        text = pattern.sub(lambda found, made=made: f"{found[1]}{made}\n{found[2]}", text)
    PAGE.write_text(text, encoding="utf-8")
    plot_ratios(results).savefig(IMAGES / "bench-ratios.png", metadata={"Software": None})
    plot_scaling(results).savefig(IMAGES / "bench-scaling.png", metadata={"Software": None})


if __name__ == "__main__":
    main()
