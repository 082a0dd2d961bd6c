"""``report.html``: the report for people, one file with everything in it.

The page is made from the content of ``report.json`` and the pictures alone, by ``templates/report.html.j2``. It asks for
nothing: its content security policy lets a browser load pictures from the page itself, and run the one script whose hash it
names, which sorts tables.
Names come from strangers: the template escapes all that it is given but for the pictures, which are markup of this package.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from processor.model import Artifact
from processor.report import text
from processor.report.findings import LOWEST_CONTRAST
from processor.report.svg import Picture


def render_page(report: Mapping[str, Any], pictures: Sequence[Picture], artifacts: Sequence[Artifact]) -> bytes:
    """The page, UTF-8.

    Parameters
    ----------
    report
        From :func:`~processor.report.document.build_report`.
    pictures
        The template places those whose names it knows.
    artifacts
        To list and link; the page lies in the Item's folder.
    """
    page = _load_template().render(
        report=report,
        pictures={picture.name: picture.markup for picture in pictures},
        artifacts=artifacts,
        told=_describe_match(report["summary"]),
        grades={judged["figure"]: judged["grade"] for judged in report["verdict"]["figures"]},
        overlaps=sorted(report["overlaps"], key=lambda overlap: -(overlap["local"]["rms_all_bands"] or 0.0)),
    )
    return page.encode("utf-8", "replace")


@cache
def _load_template() -> Template:
    environment = Environment(
        loader=PackageLoader("processor.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "band": text.name_band,
        "clip": text.clip_text,
        "count": text.count_text,
        "coverage": text.coverage_text,
        "figure": text.format_figure,
        "figures": text.format_figures,
        "judged_limit": text.format_limit,
        "judged_value": text.format_judged,
        "percent": text.format_percent,
        "size": text.format_size,
    }
    script = resources.files("processor.report").joinpath("templates", "report.js").read_text("utf-8")
    environment.globals |= {
        "arrow": text.format_arrow,
        "change": text.format_change,
        "change_of_level": text.format_change_of_level,
        "few_bands": text.FEW_BANDS,
        "gradient_words": text.describe_excess,
        "script": Markup(script),  # noqa: S704 - the project's own
        "script_hash": f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}",
    }
    return environment.get_template("report.html.j2")


def _describe_match(summary: Mapping[str, Any]) -> str:
    """How well the mosaic covers and matches the scenes, in words."""
    if summary["coverage"] is None:
        covered = "No scene has a valid pixel."
    else:
        covered = f"The mosaic covers {text.coverage_text(summary['coverage'])} of what the scenes cover."
    parts = [covered]
    changes = []
    for name, key in (("mean", "bias"), ("RMS", "residual")):
        before, after = summary[f"{key}_before"], summary[f"{key}_after"]
        if before is not None and after is not None:
            changes.append(f"their {name} difference from {text.format_figure(before)} to {text.format_figure(after)}")
    if changes and summary["residual_before"] == summary["residual_after"]:
        same = text.format_figure(summary["residual_before"])
        parts.append(f"Where scenes overlap, they differ as they came: RMS {same} (source units).")
    elif changes:
        parts.append(f"Where scenes overlap, matching took {' and '.join(changes)} (source units).")
    spread = (summary["residual_before_percent_of_spread"], summary["residual_after_percent_of_spread"])
    if summary["contrast"] is not None and summary["contrast"] < LOWEST_CONTRAST and None not in spread:
        parts.append(
            "Lower contrast alone makes differences smaller: in percent of the scenes' own standard deviation, the RMS "
            f"difference went from {spread[0]:.0f} % to {spread[1]:.0f} %."
        )
    if summary["overlaps"] == 0:
        parts.append("No two scenes overlap, so there was nothing to match.")
    return " ".join(parts)
