"""Items as stac-geoparquet, read back by others."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import geopandas
import pytest
from stac_api import make_item

from processor.errors import ConfigError, InputError
from stac.write.geoparquet import render_geoparquet

rustac = pytest.importorskip("rustac", reason="the extra geoparquet is not installed")
POINT = {"type": "Point", "coordinates": [10.0, 50.0]}


def render(*items: dict[str, Any], base: str = "s3://bucket/in/items.json") -> bytes:
    return render_geoparquet(items, [base] * len(items))


def read_back(data: bytes, folder: Path) -> list[dict[str, Any]]:
    file = folder / "items.parquet"
    file.write_bytes(data)
    return list(rustac.read_sync(str(file))["features"])


def test_items_are_read_back_in_their_order(tmp_path: Path) -> None:
    items = [make_item(name, geometry=POINT, bbox=[10, 50, 10, 50], properties={"gsd": n}) for n, name in enumerate("ba")]
    found = read_back(render(*items), tmp_path)
    assert [item["id"] for item in found] == ["b", "a"]
    assert [item["properties"]["gsd"] for item in found] == [0, 1]
    assert found[0]["geometry"] == POINT


def test_geopandas_reads_the_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    (tmp_path / "items.parquet").write_bytes(render(make_item("a", geometry=POINT)))
    frame = geopandas.read_parquet(tmp_path / "items.parquet")
    assert frame.geometry.iloc[0].x == 10.0
    assert frame.crs.to_epsg() == 4326


def test_the_same_items_give_the_same_bytes_whoever_wrote_them() -> None:
    item = make_item("a", geometry=POINT)
    assert render(item) == render(dict(reversed(item.items())))
    assert render(item) == render(item)


def test_hrefs_are_absolute_and_hold_no_secrets(tmp_path: Path) -> None:
    item = make_item("a", geometry=POINT, links=[{"rel": "parent", "href": "../c.json"}])
    signed = "https://x.blob.core.windows.net/c/a.tif?sv=1&sig=SECRET"
    item["assets"] = {
        "image": {"href": "./a.tif", "alternate": {"s3": {"href": "https://me:SECRET@host/a.tif"}}},
        "signed": {"href": signed},
    }
    data = render(item)
    (found,) = read_back(data, tmp_path)
    assert found["assets"]["image"]["href"] == "s3://bucket/in/a.tif"
    assert found["assets"]["signed"]["href"] == "https://x.blob.core.windows.net/c/a.tif"
    assert found["links"][0]["href"] == "s3://bucket/c.json"
    assert b"SECRET" not in data


def test_what_parquet_and_json_cannot_hold_is_left_out(tmp_path: Path) -> None:
    item = make_item("a", geometry=POINT, properties={"x": math.nan, "empty": {}, "deep": {"none": {}}})
    (found,) = read_back(render(item), tmp_path)
    assert found["properties"].get("x") is None
    assert "empty" not in found["properties"]


def test_huge_integers_and_deep_nesting_end_nothing_but_the_run(tmp_path: Path) -> None:
    numbers = {"big": 10**30, "bigger": 10**400}
    (found,) = read_back(render(make_item("a", geometry=POINT, properties=numbers)), tmp_path)
    assert found["properties"]["big"] == 1e30
    assert found["properties"].get("bigger") is None
    deep: dict[str, Any] = {}
    for _ in range(2000):
        deep = {"a": deep, "b": 1}
    with pytest.raises(InputError, match="nested too deep"):
        render(make_item("a", geometry=POINT, properties=deep))


@pytest.mark.parametrize(
    "changes",
    [
        {"geometry": {"type": "Nope"}},
        {"bbox": [1, 2, 3]},
        {"links": [{"rel": 1, "href": None}]},
        {"stac_extensions": "x"},
        {"properties": {"x": [1, "a"]}},
    ],
    ids=str,
)
def test_items_that_stac_does_not_know_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="cannot be one table"):
        render(make_item("a", **{"geometry": POINT, **changes}))


def test_an_item_without_a_geometry_is_one_of_the_table(tmp_path: Path) -> None:
    items = [make_item("a", geometry=None), make_item("b", geometry=POINT, bbox=[10, 50, 10, 50])]
    found = read_back(render(*items), tmp_path)
    assert [item["id"] for item in found] == ["a", "b"]
    assert [item["geometry"]["coordinates"] for item in found] == [[], [10.0, 50.0]]
    with pytest.raises(InputError, match="no Item of the inputs has a geometry"):
        render(items[0])


def test_items_that_cannot_be_one_table_are_refused() -> None:
    one, other = (make_item("a", geometry=POINT, properties={"x": value}) for value in ([1], {"y": 1}))
    with pytest.raises(InputError, match="cannot be one table"):
        render(one, other)


def test_without_the_extra_the_run_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "rustac", None)
    with pytest.raises(ConfigError, match=r"pip install 'mosaic-processor\[geoparquet\]'"):
        render(make_item("a"))
