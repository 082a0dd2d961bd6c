"""GDAL's own counters and cache: found in rasterio's library, also where another package has loaded one of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import {first}, {second}
from processor.geotiff.libgdal import find_library, clear_network_cache, read_network_counts
assert "rasterio" in find_library()._name, find_library()
assert read_network_counts() == (0, 0)
clear_network_cache()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere what GDAL read is not known, and said not to be")
@pytest.mark.parametrize("order", [("rasterio", "pyogrio"), ("pyogrio", "rasterio")])
def test_the_library_of_rasterio_is_found(order: tuple[str, str]) -> None:
    code = CODE.format(first=order[0], second=order[1])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
