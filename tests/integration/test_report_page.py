"""The page in a browser: its policy lets its one script run, and nothing is wider than a phone."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from reports import make_preview, make_report_inputs

from processor.report.bundle import draw_report, make_report

BROWSER = shutil.which("chromium")

pytestmark = [pytest.mark.skipif(BROWSER is None, reason="there is no chromium"), pytest.mark.slow]

PROBE = """
<script>
addEventListener("load", () => {
  const frame = document.querySelector("iframe"), inner = frame.contentDocument;
  const table = [...inner.querySelectorAll("table.sortable")].pop();
  const press = () => table.querySelectorAll("th button")[3].click();
  const read = () => [...table.tBodies[0].rows].map((row) => row.cells[3].textContent).join(" ");
  press();
  document.body.dataset.down = read();
  press();
  document.body.dataset.up = read();
  document.body.dataset.width = inner.documentElement.scrollWidth;
  const cut = [...inner.querySelectorAll("svg text")].filter((text) => {
    const box = text.getBoundingClientRect(), whole = text.ownerSVGElement.getBoundingClientRect();
    return box.width && (box.left < whole.left - 1 || box.right > whole.right + 1);
  });
  const over = [...inner.querySelectorAll(".tile *")].filter((part) => part.scrollWidth > part.parentElement.clientWidth + 1);
  document.body.dataset.cut = cut.map((text) => text.textContent).join("|");
  document.body.dataset.over = over.map((part) => part.textContent).join("|");
});
</script>
<iframe src="report.html" width="400" height="900"></iframe>
"""


@pytest.mark.parametrize(("rows", "cols"), [(2, 3), (5, 8), (40, 50)])
def test_tables_sort_and_nothing_is_cut_on_a_phone(rows: int, cols: int, tmp_path: Path) -> None:
    inputs = make_report_inputs(rows, cols, samples=20, local=False, matched=False)
    page = make_report(inputs, draw_report(inputs, make_preview(inputs))).page
    (tmp_path / "report.html").write_bytes(page)
    (tmp_path / "probe.html").write_text(f"<!doctype html><body>{PROBE}</body>")
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--allow-file-access-from-files",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            str(tmp_path / "probe.html"),
        ],
        capture_output=True,
        check=True,
        timeout=120,
    )
    body = done.stdout.decode().partition("<body")[2].partition(">")[0]
    said = dict(pair.split('="') for pair in body.strip().removeprefix("data-").split('" data-') if '="' in pair)
    down, up = ([float(text) for text in said[way].strip('"').split()] for way in ("down", "up"))
    assert len(down) == min(len(inputs.overlaps), 100)
    assert down == sorted(down, reverse=True)
    assert up == sorted(up)
    assert int(said["width"].strip('"')) <= 400
    assert said["cut"].strip('"') == ""
    assert said["over"].strip('"') == ""
