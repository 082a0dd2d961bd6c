"""The three files of a report, made in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from processor.model import Finding
from processor.redaction import clean_document
from processor.report.axes import describe_crs
from processor.report.charts import draw_adjustments, draw_agreement, draw_residuals
from processor.report.close_ups import draw_close_ups
from processor.report.document import build_report, encode_report
from processor.report.figures import OverlapResidual, Preview, ReportInputs, compute_residuals
from processor.report.maps import draw_coverage, draw_mosaic
from processor.report.page import render_page
from processor.report.pictures import render_thumbnail, stretch
from processor.report.svg import Picture


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportFiles:
    """What a run publishes about its quality."""

    overview: bytes
    """``overview.png``, at most 512 pixels on the longer side."""
    document: bytes
    """``report.json``."""
    page: bytes
    """``report.html``."""
    report: Mapping[str, Any]
    """The content of ``report.json``."""
    findings: tuple[Finding, ...]
    """All of them, warnings first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawings:
    """What can be made before the published files are known: most of a report's time."""

    overview: bytes
    """As in :class:`ReportFiles`."""
    pictures: tuple[Picture, ...]
    """In the order of the page."""
    residuals: tuple[OverlapResidual, ...]
    """Differences in the overlaps, of which figures and pictures speak."""


def draw_report(inputs: ReportInputs, preview: Preview) -> Drawings:
    """Draw all pictures; ``inputs.artifacts`` may be missing still."""
    residuals = tuple(compute_residuals(inputs.overlaps, inputs.adjustments, inputs.corrections))
    label = describe_crs(inputs.grid.crs)
    names = [scene.name for scene in inputs.scenes]
    stretched = stretch(preview, inputs.bands)
    drawn = (
        draw_mosaic(preview, stretched, inputs.cells, names, label, other_cuts=inputs.other_cuts),
        draw_close_ups(
            inputs.seam_views,
            inputs.bands,
            is_alike=not inputs.is_converted,
            pixel_width=inputs.grid.pixel_width,
            label=label,
        ),
        draw_residuals(residuals),
        draw_adjustments(inputs.adjustments, inputs.bands),
        draw_agreement(inputs.overlaps, residuals, inputs.adjustments, inputs.corrections, inputs.bands),
        draw_coverage(preview, inputs.cells, names, label),
    )
    return Drawings(
        overview=render_thumbnail(stretched),
        pictures=tuple(picture for picture in drawn if picture),
        residuals=residuals,
    )


def make_report(inputs: ReportInputs, drawings: Drawings) -> ReportFiles:
    """Compute and encode the whole report; the same input gives the same bytes.

    Parameters
    ----------
    inputs
        Of the run.
    drawings
        Made by :func:`draw_report` of the same inputs.
    """
    report = clean_document(build_report(inputs, drawings.residuals))
    return ReportFiles(
        overview=drawings.overview,
        document=encode_report(report),
        page=render_page(report, drawings.pictures, inputs.artifacts),
        report=report,
        findings=tuple(Finding(**finding) for finding in report["findings"]),
    )
