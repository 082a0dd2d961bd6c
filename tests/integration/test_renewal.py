"""A signature that is renewed while a raster is open: what is read later is asked for with the new one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import make_items
from servers import run_web

from processor.geotiff.gdal import GdalReader
from processor.geotiff.range_cache import RangeCache
from processor.storage.options import Access
from processor.storage.reading import ReadStore
from processor.storage.renewal import remember_signed

pytestmark = pytest.mark.server


@pytest.mark.parametrize("keeps", [False, True], ids=["plain", "kept"])
def test_an_open_raster_is_read_on_with_the_new_signature(keeps: bool, tmp_path: Path) -> None:
    folder = make_items(tmp_path / "scenes", edge=900).parent
    with run_web(folder, tmp_path / "log") as web, RangeCache(tmp_path / "ranges", room=1 << 30) as cache:
        access = Access(retries=0, timeout=20.0).allowing([web.url])
        signature = [1]
        signed = f"{web.url}/a.tif?sig=1"
        remember_signed(signed, lambda: f"{web.url}/a.tif?sig={signature[0]}")
        reader = GdalReader(access, cache if keeps else None)
        with reader.env(signed):
            dataset = reader.open(signed, "a")
            signature[0] = 2
            web.take_counts()
            values = dataset.read(1)
            reader.close(dataset)
        asked = [path for method, path, _ in web.take_counts() if method == "GET"]
        assert asked
        assert {path.partition("?")[2] for path in asked} == {"sig=2"}
        assert np.unique(values).size > 10
        ReadStore(access=access).describe(signed)
        assert {path for _, path, _ in web.take_counts()} == {"/a.tif?sig=2"}
