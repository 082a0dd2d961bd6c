"""What thresholds can name is what the report has."""

from __future__ import annotations

from reports import make_report_inputs

from processor.publish.thresholds import FIGURES
from processor.report.document import build_report


def test_thresholds_know_every_figure_of_the_summary() -> None:
    assert tuple(build_report(make_report_inputs())["summary"]) == FIGURES
