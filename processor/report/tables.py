"""Tables of the page: scenes, overlaps, bands, parameters, artifacts; capped, because report.json has all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final
from urllib.parse import quote

from processor.model import Artifact
from processor.report.figures import STATES
from processor.report.text import (
    BANDS,
    DASH,
    clip_text,
    format_change,
    format_figure,
    format_figures,
    format_size,
    name_html,
    rest_html,
)

__all__ = ["artifacts_table", "bands_table", "overlaps_table", "parameters_table", "scenes_table"]

_SCENES: Final = 200  # rows
_OVERLAPS: Final = 100
_ARTIFACTS: Final = 200
_RIGHT: Final = ' class="figure"'


def _table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, words: int = 1, intro: str = "", note: str = ""
) -> str:
    """A table of HTML cells; the first ``words`` columns are text, the others figures."""
    head = "".join(f'<th scope="col"{"" if i < words else _RIGHT}>{name}</th>' for i, name in enumerate(columns))
    body = "\n".join(
        "<tr>" + "".join(f"<td{'' if i < words else _RIGHT}>{cell}</td>" for i, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    lead = f'<p class="lead">{intro}</p>\n' if intro else ""
    return (
        f'<section>\n<h2>{title}</h2>\n{lead}<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n'
        f"</tbody>\n</table></div>{note}\n</section>"
    )


def scenes_table(report: Mapping[str, Any]) -> str:
    """What each scene gave, and what was done to it."""
    unit = report["grid"]["unit"]
    scenes = report["scenes"]
    rows = [
        [
            str(position + 1),
            name_html(scene["name"]),
            DASH if scene["contributed_share"] is None else f"{100 * scene['contributed_share']:.2f} %",
            format_figure(scene["contributed_pixels"]),
            format_figure(scene["cell_area"], 6),
            format_figure(scene["cell_pieces"]),
            format_figures(scene["gain"]),
            format_figures(scene["offset"]),
            format_figures(scene["mean"]),
            format_figures(scene["std"]),
        ]
        for position, scene in enumerate(scenes[:_SCENES])
    ]
    columns = [
        "No.",
        "Scene",
        "Share of mosaic",
        "Pixels",
        f"Cell area ({escape(unit)}²)",
        "Pieces",
        "Gain",
        "Offset",
        "Mean, raw",
        "Standard deviation, raw",
    ]
    intro = f"In name order. {_explain_bands(report['bands'])}Source units unless said otherwise."
    return _table("Scenes", columns, rows, words=2, intro=intro, note=rest_html(len(scenes), _SCENES, "scenes"))


def _band_name(band: Mapping[str, Any]) -> str:
    return clip_text(band["common_name"] or band["name"])


def overlaps_table(report: Mapping[str, Any]) -> str:
    """The residuals of the worst overlaps."""
    overlaps = report["overlaps"]
    if not overlaps:
        return ""
    ordered = sorted(overlaps, key=lambda overlap: -(overlap["local"]["rms_all_bands"] or 0.0))
    rows = [
        [
            name_html(overlap["first"]),
            name_html(overlap["second"]),
            f"{overlap['measured_pixels']:,}",
            *(format_figure(overlap[state]["rms_all_bands"]) for state in STATES),
            format_change(overlap["before"]["rms_all_bands"], overlap["local"]["rms_all_bands"]) or DASH,
            *(format_figures(overlap[state]["bias"]) for state in STATES),
        ]
        for overlap in ordered[:_OVERLAPS]
    ]
    columns = ["Scene", "Overlaps", "Pixels", "RMS before", "after global", "after local", "Change"]
    columns += ["Bias before", "after global", "after local"]
    intro = (
        "Worst first. RMS: of all bands together; bias: mean of the first minus the second scene. "
        f"{_explain_bands(report['bands'])}Source units. Pixels are those measured, fewer where statistics came from overviews."
    )
    return _table("Overlaps", columns, rows, words=2, intro=intro, note=rest_html(len(overlaps), _OVERLAPS, "overlaps"))


def bands_table(report: Mapping[str, Any]) -> str:
    """The mosaic and the overlaps, band by band."""
    mosaic, bands = report["mosaic"], report["bands"]
    unknown = [None] * len(bands)
    statistics = [unknown] * 4 if mosaic is None else [mosaic[key] for key in ("mean", "std", "minimum", "maximum")]
    residuals = report["residuals"]
    rows = [
        [
            escape(_band_name(band)),
            *(format_figure(values[position], 4) for values in statistics),
            format_figure(report["contrast"]["mean_scale"][position]),
            *(format_figure(residuals[state]["rms"][position]) for state in STATES),
            *(format_figure(residuals[state]["bias"][position]) for state in STATES),
        ]
        for position, band in enumerate(bands)
    ]
    columns = ["Band", "Mean", "Standard deviation", "Minimum", "Maximum", "Mean gain"]
    columns += ["RMS before", "after global", "after local", "Bias before", "after global", "after local"]
    intro = "The mosaic's own statistics, and the differences over all overlaps weighted by their pixels. Source units."
    return _table("Bands", columns, rows, intro=intro)


def parameters_table(report: Mapping[str, Any]) -> str:
    """Parameters that decide pixels and differ from their default."""
    parameters = report["parameters"]
    if not parameters:
        text = "Every parameter that decides pixels is at its default."
        return f'<section>\n<h2>Parameters</h2>\n<p class="none">{text}</p>\n</section>'
    rows = [[f"<code>{escape(path)}</code>", f"<code>{name_html(value)}</code>"] for path, value in parameters.items()]
    return _table("Parameters that differ from their default", ["Parameter", "Value"], rows, words=2)


def artifacts_table(artifacts: Sequence[Artifact], depth: int) -> str:
    """What is published beside the report, linked from a page that lies ``depth`` folders deep."""
    if not artifacts:
        return ""
    rows = [
        [
            f'<a href="{"../" * depth or "./"}{escape(quote(artifact.path))}">{name_html(artifact.path)}</a>',
            escape(clip_text(artifact.title)),
            escape(artifact.media_type.partition(";")[0]),
            f'<code title="{escape(artifact.sha256)}">{escape(artifact.sha256[:16])}</code>',
            format_size(artifact.size),
        ]
        for artifact in artifacts[:_ARTIFACTS]
    ]
    columns = ["File", "What it is", "Type", "SHA-256", "Size"]
    note = rest_html(len(artifacts), _ARTIFACTS, "artifacts", "the Item")
    return _table("Artifacts", columns, rows, words=4, note=note)


def _explain_bands(bands: Sequence[Mapping[str, Any]]) -> str:
    if len(bands) == 1:
        return ""
    if len(bands) > BANDS:
        return f"Two figures in a cell are the smallest and the largest of the {len(bands)} bands. "
    return f"The figures in a cell are the bands {' / '.join(escape(_band_name(band)) for band in bands)}. "
