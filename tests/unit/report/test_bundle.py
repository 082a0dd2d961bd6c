from __future__ import annotations

import dataclasses
import io
import json
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image
from reports import make_preview, make_report_inputs

from processor.report.bundle import ReportFiles, draw_report
from processor.report.bundle import make_report as make_report_of_drawings
from processor.report.figures import Preview, ReportInputs


def make_report(inputs: ReportInputs, preview: Preview) -> ReportFiles:
    """The whole report, drawn before its artifacts are known, as a run does."""
    drawings = draw_report(dataclasses.replace(inputs, artifacts=()), preview)
    return make_report_of_drawings(inputs, drawings)


def test_report_has_its_three_files() -> None:
    inputs = make_report_inputs()
    files = make_report(inputs, make_preview(inputs))
    assert max(Image.open(io.BytesIO(files.overview)).size) < 600
    assert json.loads(files.document) == files.report
    page = files.page.decode()
    assert page.count("<svg ") == 2 + 2 * 2 + 2 * 3
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings[:3] == ["Mosaic and seamlines", "Findings", "Differences where scenes overlap"]
    assert page.index('class="verdict') < page.index("<svg ")
    assert files.findings == ()


def test_report_is_the_same_byte_for_byte_also_from_many_threads() -> None:
    inputs = make_report_inputs(1, 2, 1)
    preview = make_preview(inputs)
    with ThreadPoolExecutor(2) as pool:
        files = list(pool.map(lambda _: make_report(inputs, preview), range(2)))
    assert len({(f.overview, f.document, f.page) for f in files}) == 1


def test_report_does_not_change_what_it_is_given() -> None:
    inputs = make_report_inputs(1, 2, 1)
    preview = make_preview(inputs)
    for array in (preview.valid, preview.scene_index, inputs.adjustments[0].scale, inputs.corrections[0].parameter):
        array.setflags(write=False)
    make_report(inputs, preview)


def test_findings_come_back_as_records() -> None:
    inputs = make_report_inputs(1, 2, 1, scale=0.8)
    files = make_report(inputs, make_preview(inputs))
    assert [finding.code for finding in files.findings] == ["contrast-lowered"]


def test_smallest_run_has_a_report() -> None:
    inputs = make_report_inputs(1, 1, 1, matched=False, local=False, cells=False)
    preview = make_preview(inputs)
    files = make_report(inputs, dataclasses.replace(preview, scene_index=None, valid=np.zeros_like(preview.valid)))
    assert files.page.decode().count("<svg ") == 1
