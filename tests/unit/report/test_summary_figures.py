"""What thresholds can name is what the report has."""

from __future__ import annotations

from collections.abc import Callable

from processor.publish.thresholds import FIGURES
from processor.report.document import build_report
from processor.report.figures import ReportInputs


def test_thresholds_know_every_figure_of_the_summary(make_report_inputs: Callable[..., ReportInputs]) -> None:
    assert tuple(build_report(make_report_inputs())["summary"]) == FIGURES
