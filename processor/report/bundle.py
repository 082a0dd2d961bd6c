"""The three files of a report, made in one go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from processor.model import Finding
from processor.report.charts import draw_adjustments, draw_agreement, draw_residuals
from processor.report.document import build_report, encode_report
from processor.report.figures import Preview, RunFacts, compute_residuals
from processor.report.html import render_page
from processor.report.pictures import draw_coverage, draw_mosaic, render_thumbnail
from processor.report.units import describe_crs

__all__ = ["ReportFiles", "make_report"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReportFiles:
    """What a run publishes about its quality.

    overview: ``overview.png``, at most 512 pixels on the longer side.
    document: ``report.json``.
    page: ``report.html``.
    report: the content of ``report.json``.
    findings: all of them, warnings first.
    """

    overview: bytes
    document: bytes
    page: bytes
    report: Mapping[str, Any]
    findings: tuple[Finding, ...]


def make_report(facts: RunFacts, preview: Preview, *, page_path: str = "report.html") -> ReportFiles:
    """Compute, draw and encode the whole report; the same input gives the same bytes.

    Parameters
    ----------
    facts
        Of the run.
    preview
        The mosaic at the size of a picture.
    page_path
        Where the page will lie, relative to the Item's folder; its links to the artifacts depend on it.
    """
    residuals = compute_residuals(facts.overlaps, facts.adjustments, facts.corrections)
    report = build_report(facts, residuals)
    label = describe_crs(facts.grid.crs)
    names = [scene.name for scene in facts.scenes]
    drawn = (
        draw_mosaic(preview, facts.bands, facts.cells, names, label),
        draw_residuals(residuals),
        draw_adjustments(facts.adjustments, facts.bands),
        draw_agreement(facts.overlaps, residuals, facts.adjustments, facts.corrections, facts.bands),
        draw_coverage(preview, facts.cells, names, label),
    )
    return ReportFiles(
        overview=render_thumbnail(preview, facts.bands),
        document=encode_report(report),
        page=render_page(report, [picture for picture in drawn if picture], facts.artifacts, page_path=page_path),
        report=report,
        findings=tuple(Finding(**finding) for finding in report["findings"]),
    )
