"""Texts of files that are no UTF-8."""

from pathlib import Path

import pytest
from commands import call_command
from pyproj import CRS
from scenes import gradient_truth, write_items, write_scene


@pytest.mark.parametrize("place", ["band", "crs"])
def test_metadata_that_are_not_utf8_are_bad_input(tmp_path: Path, place: str) -> None:
    crs = CRS.from_user_input("+proj=tmerc +lat_0=47 +lon_0=15.5 +k=1 +x_0=500000 +ellps=GRS80 +units=m").to_wkt()
    named = crs.replace("unknown", "Gruen!") if place == "crs" else crs
    descriptions = ["Gruen!"] if place == "band" else None
    path = write_scene(tmp_path / "a.tif", gradient_truth(64, 64, 1), dtype="uint16", crs=named, descriptions=descriptions)
    items = write_items(tmp_path, [path])
    data = path.read_bytes()
    assert b"Gruen!" in data
    path.write_bytes(data.replace(b"Gruen!", "Gr\u00fcn!!".encode("latin-1")))
    done = call_command("run", str(items), "--output", str(tmp_path / "out"), "--dry-run", cwd=tmp_path, scratch=tmp_path)
    assert done.code == 13, done.stderr
    assert "not UTF-8" in done.stderr
    assert "gdal_translate" in done.stderr
