"""Files of the well-known program, made of four real scenes, used here, and ours beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from small_runs import GLOBAL_ONLY, Made, make, make_plan

from processor.config import load_config
from processor.config.methods import choose_methods
from processor.publish.artifacts import make_data_products
from processor.stages.matching.adjustments_file import parse_adjustments, render_adjustments
from processor.stages.matching.global_regression import solve_adjustments
from processor.stages.method import BlockMaps

NGI = Path(__file__).parents[2].parent / "shared" / "data" / "ngi"
REFERENCE = NGI / "reference"
SCENES = [NGI / f"ngi_{number}.tif" for number in range(1, 5)]
LOCAL = [REFERENCE / f"block_map_local_ngi_{number}_Global.tif" for number in range(1, 5)]
ADJUSTMENTS = {"global_regression.load_adjustments": str(REFERENCE / "adjustments.json")}
BOTH_MAPS = [str(REFERENCE / "block_map_reference.tif"), [str(path) for path in LOCAL]]

pytestmark = [
    pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference vectors are not beside the project"),
    pytest.mark.xdist_group("ngi"),  # the scenes are measured once
]


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((REFERENCE / "adjustments.json").read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def exact() -> Made:
    """Our own mosaic, with exact statistics."""
    return make(SCENES)


def read_bands(entry: dict[str, Any], name: str) -> list[float]:
    return [band[name] for band in entry["adjustments"].values()]


def check_adjustments(made: Made, published: dict[str, Any]) -> None:
    """Theirs are stored as float32: scales agree to 7e-8, offsets to 8e-6 DN."""
    assert set(made.scales) == set(published)
    for name, entry in published.items():
        np.testing.assert_allclose(made.scales[name], read_bands(entry, "scale"), atol=2e-7)
        np.testing.assert_allclose(made.offsets[name], read_bands(entry, "offset"), atol=2e-5)


def compare(made: Made) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.bool_]]:
    """Absolute differences from their mosaic where both have pixels (bands, n), their valid pixels, and ours there."""
    with rasterio.open(REFERENCE / "mosaic.tif") as raster:
        theirs, transform = raster.read(), raster.transform
    grid = made.plan.grid
    row, col = round((grid.top - transform.f) / grid.pixel_height), round((transform.c - grid.left) / grid.pixel_width)
    place = slice(row, row + theirs.shape[1]), slice(col, col + theirs.shape[2])
    valid, ours = (theirs != 0).any(axis=0), made.valid[place]
    both = valid & ours
    assert both.sum() > 2_700_000
    return np.abs(made.mosaic[:, *place].astype(np.intp) - theirs)[:, both], valid, ours


def test_their_adjustments_load_and_give_theirs_without_reading_statistics(published: dict[str, Any]) -> None:
    plan = make_plan(SCENES, {**ADJUSTMENTS, **GLOBAL_ONLY})
    assert plan.reads_for_measures is False
    made = make(SCENES, {**ADJUSTMENTS, **GLOBAL_ONLY})
    assert made.measured_bytes == 0
    check_adjustments(made, published)


@pytest.mark.parametrize("stage", ["matching_local_method", "seamline_method"])
def test_what_the_file_does_not_hold_is_measured(stage: str) -> None:
    on = {"matching_local_method": "local_block_adjustment", "seamline_method": "voronoi_center_seamline"}
    flags = {**GLOBAL_ONLY, f"methods.{stage}": on[stage]}
    assert make_plan(SCENES, {**ADJUSTMENTS, **flags}).reads_for_measures is True


def test_what_was_measured_here_gives_their_adjustments(exact: Made, published: dict[str, Any]) -> None:
    """Every overlap has their number of pixels, and every scale agrees to 2e-7."""
    check_adjustments(exact, published)
    for overlap in exact.measures.overlaps:
        stats = published[overlap.first]["overlap_stats"][overlap.second]["band_0"]
        assert overlap.first_moments.count == stats["size"]


def test_their_block_maps_load_for_the_scenes_that_they_name() -> None:
    plan = make_plan(SCENES, {"local_block_adjustment.load_block_maps": BOTH_MAPS})
    maps = plan.methods.matching_local.files.get("load_block_maps", BlockMaps)
    assert maps is not None
    assert maps.reference is not None
    assert sorted(maps.local) == [path.stem for path in SCENES]
    for name, path in zip(sorted(maps.local), LOCAL, strict=True):
        with rasterio.open(path) as raster:
            np.testing.assert_array_equal(maps.local[name].values, raster.read(masked=True).astype(float).filled(np.nan))
    assert (maps.reference.grid.rows, maps.reference.grid.cols) == (26, 15)


def test_our_block_maps_are_theirs(exact: Made) -> None:
    """The same blocks are missing; means differ by less than 0.1 DN, but where a scene has only a sliver of a block."""
    maps = [exact.block_adjustment.reference, *exact.block_adjustment.local_maps]
    for ours, path in zip([block_map.expand() for block_map in maps], [BOTH_MAPS[0], *LOCAL], strict=True):
        with rasterio.open(path) as raster:
            theirs = raster.read(masked=True).astype(float).filled(np.nan)
        np.testing.assert_array_equal(np.isnan(ours), np.isnan(theirs))
        difference = np.abs(ours - theirs)[np.isfinite(ours)]
        assert np.sqrt(np.mean(difference**2)) < 0.25
        assert difference.mean() < 0.05
        assert (difference < 0.1).mean() > 0.95


@pytest.mark.parametrize("form", ["both", "reference", "local"])
def test_their_adjustments_and_maps_give_nearly_their_mosaic(form: str) -> None:
    """99.9 % of the values are within 1 DN of theirs; the others lie where the seams differ."""
    maps = [None if form == "local" else BOTH_MAPS[0], None if form == "reference" else BOTH_MAPS[1]]
    difference, theirs, ours = compare(make(SCENES, {**ADJUSTMENTS, "local_block_adjustment.load_block_maps": maps}))
    assert (difference <= 1).mean() > 0.999
    assert difference.mean() < 0.2
    assert not (theirs & ~ours).any()
    assert (ours & ~theirs).sum() > 900  # the hole where their four scenes meet


def test_their_seamlines_cut_where_they_did(exact: Made) -> None:
    """With all their files every value is within 3 DN of theirs, which rounds twice more."""
    flags = {
        **ADJUSTMENTS,
        "local_block_adjustment.load_block_maps": BOTH_MAPS,
        "methods.seamline_method": None,
        "mask_rasters.vector_mask": ["include", str(REFERENCE / "seamlines.gpkg"), "image"],
    }
    made = make(SCENES, flags)
    difference, theirs, ours = compare(made)
    assert difference.max() <= 3
    assert (difference <= 1).mean() > 0.9999
    assert np.count_nonzero(theirs != ours) < 10
    assert exact.valid.sum() - made.valid.sum() > 900  # the holes that their seamlines leave


def list_keys(document: Any, place: str = "") -> list[str]:
    if not isinstance(document, dict):
        return [f"{place}: {type(document).__name__}"]
    return sorted(key for name, value in document.items() for key in list_keys(value, f"{place}/{name}"))


def test_statistics_survive_the_file(published: dict[str, Any]) -> None:
    text = (REFERENCE / "adjustments.json").read_text(encoding="utf-8")
    known = parse_adjustments(text, source="theirs", bands=3)
    solved = solve_adjustments(known.whole, known.overlaps)
    written = render_adjustments(solved, known.whole, known.overlaps)
    document = json.loads(written)
    assert set(document) == set(published)
    for scene, entry in published.items():
        for part in ("whole_stats", "overlap_stats"):
            _assert_alike(document[scene][part], entry[part])
    again = parse_adjustments(written, source="again", bands=3)
    for one, other in zip(solve_adjustments(again.whole, again.overlaps), solved, strict=True):
        np.testing.assert_allclose(one.scale, other.scale, rtol=1e-13)


def _assert_alike(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for key, value in expected.items():
            _assert_alike(found[key], value)
    else:
        assert found == pytest.approx(expected, rel=1e-12)


def test_our_files_are_laid_out_as_theirs(exact: Made, published: dict[str, Any], tmp_path: Path) -> None:
    """So that the well-known program reads them: the same keys and types, and maps of the same shape, place and bands."""
    config = load_config(flags={"local_block_adjustment.save_block_maps": ["r.tif", "$.tif"]}, environment={})
    local = choose_methods(config).matching_local
    plan = replace(exact.plan, methods=replace(exact.plan.methods, matching_local=local))
    products = make_data_products(plan, exact.measures, exact.solution, tmp_path, digest="0")
    files = {product.artifact.key: product.file for product in products}
    assert list_keys(json.loads(files["adjustments"].read_text(encoding="utf-8"))) == list_keys(published)
    pairs = [("block_map_reference", REFERENCE / "block_map_reference.tif")]
    pairs += [(f"block_map_local_{path.stem}", theirs) for path, theirs in zip(SCENES, LOCAL, strict=True)]
    for key, path in pairs:
        with rasterio.open(files[key]) as ours, rasterio.open(path) as theirs:
            assert (ours.count, ours.shape, ours.dtypes) == (theirs.count, theirs.shape, theirs.dtypes)
            assert ours.crs == theirs.crs
            np.testing.assert_allclose(ours.transform, theirs.transform, rtol=1e-12)
            np.testing.assert_array_equal(ours.read_masks(), theirs.read_masks())
