"""Hostile Items, payloads, configurations, vector files and TIFFs end with an exit code of ours, and nothing is written.

`make fuzz` repeats these with other seeds for as long as it is told to.
"""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import keeping_process_state
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from scenes import gradient_truth, write_items, write_scene

from processor.cli.commands import main
from processor.config import iter_parameters

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PATHS = [parameter.path for parameter in iter_parameters() if parameter.section not in {"io", "kubernetes"}]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(
        [10**400, -1, 0, 2**63, 1e300, -1.8e308, float("nan"), float("inf"), "", "\ud800", "a\x1b[31m", "x" * 5000]
    )
    | st.floats()
    | st.text(max_size=8)
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6
)


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The ItemCollection of two scenes that can be used, with absolute paths."""
    folder = tmp_path_factory.mktemp("scenes")
    paths = [write_scene(folder / f"{name}.tif", gradient_truth(64, 64, 2), dtype="uint16") for name in "ab"]
    document: dict[str, Any] = json.loads(write_items(folder, paths).read_text())
    for feature in document["features"]:
        for asset in feature["assets"].values():
            asset["href"] = str((folder / asset["href"]).resolve())
    return document


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    with keeping_process_state():
        yield


def judge(folder: Path, *arguments: str) -> None:
    """Plan a run; its exit code must be ours, without a crash, and nothing may appear in the folder."""
    before = sorted(folder.rglob("*"))
    with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
        code = main(["run", *arguments, "--output", str(folder / "out"), "--dry-run"])
    assert code in {0, 2, 13}, said.getvalue()
    assert "Traceback" not in said.getvalue()
    assert sorted(folder.rglob("*")) == before


def set_in(document: Any, path: list[int], value: Any) -> Any:
    """The same document with one value in it replaced, which the numbers lead to."""
    if not path or not isinstance(document, dict | list) or not document:
        return value
    keys = sorted(document) if isinstance(document, dict) else range(len(document))
    key = keys[path[0] % len(keys)]
    copy: Any = dict(document) if isinstance(document, dict) else list(document)
    copy[key] = set_in(document[key], path[1:], value)
    return copy


STEPS = st.lists(st.integers(0, 40), min_size=1, max_size=7)


@given(changes=st.lists(st.tuples(STEPS, VALUES), min_size=1, max_size=3))
@examples(200)
def test_items(items: dict[str, Any], changes: list[tuple[list[int], Any]]) -> None:
    document: Any = items
    for path, value in changes:
        document = set_in(document, path, value)
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "items.json"
        file.write_text(json.dumps(document))
        judge(Path(name), str(file))


@given(options=st.dictionaries(st.sampled_from(PATHS) | st.text(max_size=12), VALUES, min_size=1, max_size=3) | VALUES)
@examples(200)
def test_payloads(items: dict[str, Any], options: Any) -> None:
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "items.json"
        file.write_text(json.dumps(items | {"process": {"tasks": {"mosaic": options}}}))
        judge(Path(name), str(file))


@given(path=st.sampled_from(PATHS), value=VALUES.map(json.dumps) | st.text(max_size=30))
@examples(200)
def test_yaml(items: dict[str, Any], path: str, value: str) -> None:
    section, _, key = path.partition(".")
    with tempfile.TemporaryDirectory() as name:
        file, config = Path(name) / "items.json", Path(name) / "config.yaml"
        file.write_text(json.dumps(items))
        config.write_bytes(f"{section}:\n  {key}: {value}\n".encode("utf-8", "surrogatepass"))
        judge(Path(name), str(file), "--config", str(config))


COORDINATES = st.lists(st.lists(st.floats() | st.integers(-200, 200) | st.none(), max_size=3), max_size=5)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # OGR tells what of such a file it passes over
@given(
    kind=st.sampled_from(["Polygon", "MultiPolygon", "Point", "GeometryCollection", "LineString"]),
    coordinates=COORDINATES | st.lists(COORDINATES, max_size=2) | VALUES,
    properties=VALUES,
)
@examples(200)
def test_vector_files(items: dict[str, Any], kind: str, coordinates: Any, properties: Any) -> None:
    feature = {"type": "Feature", "properties": properties, "geometry": {"type": kind, "coordinates": coordinates}}
    with tempfile.TemporaryDirectory() as name:
        file, area = Path(name) / "items.json", Path(name) / "area.geojson"
        file.write_text(json.dumps(items))
        area.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
        judge(
            Path(name), str(file), "--mask_rasters.vector_mask", yaml.safe_dump(["include", str(area)], default_flow_style=True)
        )


OPEN = [[0, 0], [1, 0], [1, 1], [0, 1]]
RINGS = [OPEN, [*OPEN, [float("nan"), 0], OPEN[0]], [*OPEN, [float("inf"), 0], OPEN[0]], [*OPEN, [1.8e308, -1.8e308], OPEN[0]]]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("ring", RINGS, ids=["open", "nan", "infinite", "huge"])
@pytest.mark.parametrize("field", ["fid", "name"])
def test_rings_that_are_none(items: dict[str, Any], ring: list[list[float]], field: str, tmp_path: Path) -> None:
    feature = {"type": "Feature", "properties": {"name": "a"}, "geometry": {"type": "Polygon", "coordinates": [ring]}}
    file, area = tmp_path / "items.json", tmp_path / "area.geojson"
    file.write_text(json.dumps(items))
    area.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    judge(tmp_path, str(file), "--mask_rasters.vector_mask", f"[include, {area}, {field}]")


@given(flips=st.lists(st.tuples(st.integers(0, 700), st.integers(0, 255)), min_size=1, max_size=6))
@examples(200)
def test_tiff_headers(items: dict[str, Any], flips: list[tuple[int, int]]) -> None:
    source = next(iter(items["features"][0]["assets"].values()))["href"]
    data = bytearray(Path(source).read_bytes())
    for place, value in flips:
        data[place % len(data)] = value
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "scene.tif"
        file.write_bytes(data)
        judge(Path(name), str(file))
