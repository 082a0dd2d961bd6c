"""Masks, areas of interest and footprints that users give, from the pixels up to the mosaic, against brute force."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import shapely
from scenes import LEFT, TOP, gradient_truth, write_scene
from shapely import Geometry, Polygon, box
from shapely.affinity import translate
from small_runs import (
    HOLED,
    NAMES,
    PIXEL,
    Bool,
    Known,
    Made,
    check_moments,
    find_block_means,
    find_inside,
    make,
    place_scenes,
    write_four,
    write_vectors,
)

from processor.geotiff.reader import RasterReader
from processor.mosaic.stage_outputs import write_stage_raster


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_four(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def plain(paths: list[Path]) -> Made:
    """The mosaic without any file given."""
    return make(paths)


@pytest.fixture(scope="module")
def known(paths: list[Path], plain: Made) -> dict[str, Known]:
    return place_scenes(paths, plain)


@pytest.fixture(scope="module")
def anywhere(known: dict[str, Known]) -> Bool:
    """Pixels that some scene has."""
    return np.asarray(np.logical_or.reduce([scene.valid for scene in known.values()]))


@pytest.fixture
def _in_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("processor.mosaic.chunks.CHUNK_EDGE", 64)


# Regions that limit the statistics

LAND = Polygon([(500_031.3, 5_299_700), (500_300.7, 5_299_990.1), (500_460, 5_299_800.9), (500_251, 5_299_540.3)])
SPOTS = [box(500_100.3 + 90 * i, 5_299_700.2 - 60 * i, 500_151.7 + 90 * i, 5_299_790.4 - 60 * i) for i in range(4)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mask:
    """A mask as configured, its geometry by scene, and its CRS."""

    setting: list[str]
    geometries: Mapping[str, Geometry]
    crs: int

    def find_allowed(self, scene: str, made: Made) -> Bool:
        inside = find_inside(self.geometries.get(scene, Polygon()), made, crs=self.crs)
        return inside if self.setting[0] == "include" else ~inside


def make_mask(folder: Path, kind: str) -> Mask:
    """Masks of all kinds: include and exclude, one for all scenes or by field, in the scenes' CRS and in degrees."""
    choice, form, code = kind.split("-")
    crs = int(code)
    names = ["mask of scene_1_1", "scene_1_2", "scene_2_1|scene_2_2", "scene_2"]
    geometries = [LAND] if form == "all" else SPOTS
    if form == "field" and choice == "include":  # of every scene something has to be left
        geometries = [spot.buffer(60).difference(spot.buffer(-9)) for spot in SPOTS]
    if crs != 32633:
        geometries = [shapely.set_precision(g, 1e-7) for g in geopandas.GeoSeries(geometries, crs=32633).to_crs(crs)]
    folder.mkdir(exist_ok=True)
    url = write_vectors(folder / "mask.gpkg", geometries, crs=crs, image=names[: len(geometries)])
    if form == "all":
        return Mask(setting=[choice, url], geometries=dict.fromkeys(NAMES, geometries[0]), crs=crs)
    owned = dict(zip(NAMES, [*geometries[:3], geometries[2]], strict=True))
    return Mask(setting=[choice, url, "image"], geometries=owned, crs=crs)


KINDS = ["include-all-32633", "exclude-all-4326", "include-field-4326", "exclude-field-32633"]


@pytest.mark.usefixtures("_in_many_chunks")
@pytest.mark.parametrize(("of_global", "of_local"), list(zip(KINDS, KINDS[1:] + KINDS[:1], strict=True)))
def test_masks_of_global_and_local_limit_the_statistics_separately(
    paths: list[Path], plain: Made, known: dict[str, Known], tmp_path: Path, of_global: str, of_local: str
) -> None:
    masks = make_mask(tmp_path / "global", of_global), make_mask(tmp_path / "local", of_local)
    flags = {"global_regression.vector_mask": masks[0].setting, "local_block_adjustment.vector_mask": masks[1].setting}
    made = make(paths, flags)
    allowed = {name: masks[0].find_allowed(name, plain) for name in NAMES}
    assert [scene.name for scene in made.measures.scenes] == list(NAMES)
    for scene, before, local in zip(made.measures.scenes, plain.measures.scenes, made.block_adjustment.local_maps, strict=True):
        here = known[scene.name]
        check_moments(scene.moments, here.pixels[:, here.valid & allowed[scene.name]])
        check_moments(scene.valid, here.pixels[:, here.valid])
        assert scene.footprint.equals(before.footprint)
        means = find_block_means(here, here.valid & masks[1].find_allowed(scene.name, plain), made)
        scales, offsets = (np.array(found[scene.name])[:, None, None] for found in (made.scales, made.offsets))
        np.testing.assert_allclose(local.expand(), scales * means + offsets, rtol=1e-9)
    for overlap in made.measures.overlaps:
        pair = overlap.first, overlap.second
        common = np.logical_and.reduce([known[name].valid & allowed[name] for name in pair])
        check_moments(overlap.first_moments, known[pair[0]].pixels[:, common])
        check_moments(overlap.second_moments, known[pair[1]].pixels[:, common])
    assert all(scene.moments.count <= scene.valid.count for scene in made.measures.scenes)
    assert sum(scene.moments.count for scene in made.measures.scenes) < sum(scene.valid.count for scene in made.measures.scenes)
    assert made.measured_bytes == plain.measured_bytes
    np.testing.assert_array_equal(made.index, plain.index)
    assert made.scales != plain.scales


def test_pixels_outside_a_mask_are_corrected_as_those_inside(
    paths: list[Path], known: dict[str, Known], tmp_path: Path
) -> None:
    mask = make_mask(tmp_path, "include-all-32633")
    made = make(paths, {"global_regression.vector_mask": mask.setting, "methods.matching_local_method": None})
    for name in NAMES:
        taken = made.take(name)
        assert (taken & ~mask.find_allowed(name, made)).sum() > 100
        expected = np.array(made.scales[name])[:, None] * known[name].pixels[:, taken] + np.array(made.offsets[name])[:, None]
        np.testing.assert_allclose(made.mosaic[:, taken], expected, atol=0.51)


def test_a_mask_that_leaves_nothing_of_a_scene_is_reported_and_the_file_can_be_read_again(
    paths: list[Path], tmp_path: Path
) -> None:
    everywhere = box(499_000, 5_299_000, 501_000, 5_301_000)
    url = write_vectors(tmp_path / "mask.gpkg", [everywhere], image=["scene_1_2"])
    made = make(paths, {"global_regression.vector_mask": ["exclude", url, "image"]})
    assert [(f.code, f.scene) for f in made.solution.findings] == [("no-statistics", "scene_1_2")]
    assert made.scales["scene_1_2"] == [1.0, 1.0]
    assert made.offsets["scene_1_2"] == [0.0, 0.0]
    assert not any("scene_1_2" in (overlap.first, overlap.second) for overlap in made.measures.overlaps)
    (tmp_path / "adjustments.json").write_text(made.adjustments)
    again = make(paths, {"global_regression.load_adjustments": str(tmp_path / "adjustments.json")})
    assert again.scales["scene_1_2"] == [1.0, 1.0]
    np.testing.assert_allclose(again.scales["scene_2_2"], made.scales["scene_2_2"], rtol=1e-12)


# What ends the mosaic: area of interest, footprints, masks instead of cells


def check_coverage(made: Made) -> None:
    """All that may be there is there, and the first pass counted it exactly."""
    assert made.measures.union == made.valid.sum()


@pytest.mark.parametrize("crs", [32633, 4326])
def test_cells_end_at_the_area_of_interest(paths: list[Path], plain: Made, anywhere: Bool, tmp_path: Path, crs: int) -> None:
    geometry = HOLED if crs == 32633 else geopandas.GeoSeries([HOLED], crs=32633).to_crs(crs).iloc[0]
    url = write_vectors(tmp_path / "area.gpkg", [geometry], crs=crs)
    made = make(paths, {"voronoi_center_seamline.aoi_path": url})
    inside = find_inside(geometry, plain, crs=crs)
    np.testing.assert_array_equal(made.valid, anywhere & inside)
    assert made.solution.seamlines is not None
    area = shapely.union_all([cell.polygon for cell in made.solution.seamlines.cells])
    assert area.difference(HOLED).area < 2  # an edge straight in degrees bends by millimetres
    same = inside & (made.index == plain.index)
    assert same.sum() > 0.99 * made.valid.sum()
    np.testing.assert_array_equal(made.mosaic[:, same], plain.mosaic[:, same])
    check_coverage(made)


def test_the_fallback_never_fills_outside_the_area_of_interest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Scenes with holes where the other has pixels, inside the area and out of it; masks too coarse for the holes."""
    monkeypatch.setattr("processor.mosaic.measure._MASK_EDGE", 8)
    truth = gradient_truth(80, 120, 1)
    for name, col, holes in (("a", 0, [(20, 45), (60, 10)]), ("b", 40, [(20, 40), (60, 20)])):
        pixels = truth[:, :, col : col + 80].copy()
        for row, hole in holes:
            pixels[:, row : row + 12, hole : hole + 12] = 0
        write_scene(tmp_path / f"{name}.tif", pixels, left=LEFT + col, dtype="uint16")
    scenes = [tmp_path / "a.tif", tmp_path / "b.tif"]
    area = box(LEFT + 5.3, TOP - 50.3, LEFT + 110.3, TOP - 3.3)
    url = write_vectors(tmp_path / "area.gpkg", [area])
    whole = make(scenes)
    made = make(scenes, {"voronoi_center_seamline.aoi_path": url})
    known = place_scenes(scenes, made)
    valid = known["a"].valid | known["b"].valid
    np.testing.assert_array_equal(whole.valid, valid)
    np.testing.assert_array_equal(made.valid, valid & find_inside(area, made))
    assert whole.filled > made.filled > 0
    check_coverage(whole)
    check_coverage(made)
    on_centres = write_vectors(tmp_path / "centres.gpkg", [box(LEFT + 5.5, TOP - 50.5, LEFT + 110.5, TOP - 3.5)])
    check_coverage(make(scenes, {"voronoi_center_seamline.aoi_path": on_centres}))


def test_pixels_that_the_area_touches_are_kept_where_that_is_asked_for(
    paths: list[Path], plain: Made, anywhere: Bool, tmp_path: Path
) -> None:
    flags = {"voronoi_center_seamline.aoi_path": write_vectors(tmp_path / "area.gpkg", [HOLED])}
    made = make(paths, {**flags, "mask_rasters.include_touched_pixels": True})
    grid = plain.plan.grid
    x = grid.left + np.arange(grid.width) * PIXEL
    y = grid.top - np.arange(grid.height) * PIXEL
    x, y = np.meshgrid(x, y)
    touched = shapely.intersects(HOLED, shapely.box(x, y - PIXEL, x + PIXEL, y))
    np.testing.assert_array_equal(made.valid, anywhere & touched)
    check_coverage(made)


@pytest.mark.parametrize("crs", [32633, 3857])
def test_given_footprints_bound_what_each_scene_gives(
    paths: list[Path], known: dict[str, Known], tmp_path: Path, crs: int
) -> None:
    """Smaller than the scenes; nothing is taken of a scene outside its own, not even where another has a hole."""
    footprints = {
        name: translate(Polygon([(0, 0), (230, 20), (240, 250), (10, 235)]), 500_010.7 + 190 * col, 5_299_540.3 + 170 * row)
        for name, row, col in zip(NAMES, (1, 1, 0, 0), (0, 1, 0, 1), strict=True)
    }
    frame = geopandas.GeoDataFrame({"image": list(footprints)}, geometry=list(footprints.values()), crs=32633).to_crs(crs)
    frame.to_file(tmp_path / "footprints.gpkg")
    made = make(paths, {"voronoi_center_seamline.vector_mask": [str(tmp_path / "footprints.gpkg"), "image"]})
    allowed = {
        name: known[name].valid & find_inside(geometry, made, crs=crs)
        for name, geometry in zip(NAMES, frame.geometry, strict=True)
    }
    for name in NAMES:
        assert made.take(name).any()
        assert not (made.take(name) & ~allowed[name]).any()
    np.testing.assert_array_equal(made.valid, np.logical_or.reduce(list(allowed.values())))
    check_coverage(made)


def test_pixels_outside_given_footprints_are_left_out_without_statistics_too(paths: list[Path], tmp_path: Path) -> None:
    """Where nothing is measured, nothing is known of the scenes' own outlines."""
    square = box(500_100.5, 5_299_600.5, 500_350.5, 5_299_900.5)
    url = write_vectors(tmp_path / "footprints.gpkg", [square] * 4, image=list(NAMES))
    off = {"methods.matching_global_method": None, "methods.matching_local_method": None}
    made = make(paths, {**off, "voronoi_center_seamline.vector_mask": [url, "image"]})
    assert made.measured_bytes == 0
    known = place_scenes(paths, made)
    valid = np.logical_or.reduce([scene.valid for scene in known.values()])
    np.testing.assert_array_equal(made.valid, valid & find_inside(square, made))


@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_replaces_the_cells(paths: list[Path], known: dict[str, Known], tmp_path: Path, kind: str) -> None:
    """The scene that comes later in the input lies on top."""
    mask = make_mask(tmp_path, kind)
    order = [paths[2], paths[0], paths[3], paths[1]]
    made = make(order, {"mask_rasters.vector_mask": mask.setting})
    expected = np.zeros(made.index.shape, np.uint16)
    for path in order:
        kept = known[path.stem].valid & mask.find_allowed(path.stem, made)
        expected[kept] = NAMES.index(path.stem) + 1
    np.testing.assert_array_equal(made.index, expected)
    check_coverage(made)


def test_a_mask_keeps_touched_pixels_where_that_is_asked_for(
    paths: list[Path], known: dict[str, Known], anywhere: Bool, tmp_path: Path
) -> None:
    del known
    spot = box(500_200.2, 5_299_700.2, 500_203.8, 5_299_703.8)
    url = write_vectors(tmp_path / "mask.gpkg", [spot])
    counts = {}
    for touched in (False, True):
        flags = {"mask_rasters.vector_mask": ["include", url], "mask_rasters.include_touched_pixels": touched}
        made = make(paths, flags)
        counts[touched] = int(made.valid.sum())
        assert not (made.valid & ~anywhere).any()
    assert counts == {False: 4, True: 4}
    wider = write_vectors(tmp_path / "wider.gpkg", [spot.buffer(0.5, join_style="mitre")])
    flags = {"mask_rasters.vector_mask": ["include", wider], "mask_rasters.include_touched_pixels": True}
    assert make(paths, flags).valid.sum() == 16


def test_seamlines_that_were_written_cut_as_they_did(paths: list[Path], plain: Made, tmp_path: Path) -> None:
    """The cells of a former run as this one's mask, and nothing else computed."""
    assert plain.solution.seamlines is not None
    cells = plain.solution.seamlines.cells
    url = write_vectors(tmp_path / "cells.gpkg", [cell.polygon for cell in cells], image=[cell.scene for cell in cells])
    made = make(paths, {"methods.seamline_method": None, "mask_rasters.vector_mask": ["include", url, "image"]})
    differs = made.index != plain.index
    assert differs.sum() == plain.filled == 0
    np.testing.assert_array_equal(made.mosaic, plain.mosaic)


@pytest.mark.parametrize("touched", [False, True])
@pytest.mark.parametrize("kind", ["cells", "area", "mask"])
def test_clipped_rasters_hold_what_the_mosaic_takes_of_a_scene(
    paths: list[Path], known: dict[str, Known], tmp_path: Path, kind: str, *, touched: bool
) -> None:
    """And no pixel that the scene lacks; what cells only touch, or a mask leaves to several scenes, more than one has."""
    flags: dict[str, Any] = {"mask_rasters.include_touched_pixels": touched}
    if kind == "area":
        flags["voronoi_center_seamline.aoi_path"] = write_vectors(tmp_path / "area.gpkg", [HOLED])
    if kind == "mask":
        flags["mask_rasters.vector_mask"] = ["include", write_vectors(tmp_path / "mask.gpkg", [HOLED])]
    made = make(paths, flags)
    assert made.filled == 0
    total = np.zeros(made.index.shape, int)
    with RasterReader(cache_bytes=50_000_000) as reader:
        for position, name in enumerate(NAMES):
            file = tmp_path / f"{name}_{kind}_{touched}.tif"
            write_stage_raster(made.plan, made.solution, reader, position, "clip", file, threads=1)
            clipped = place_scenes([file], made)[name + f"_{kind}_{touched}"]
            taken = made.take(name)
            assert not (taken & ~clipped.valid).any()
            assert not (clipped.valid & ~known[name].valid).any()
            np.testing.assert_array_equal(clipped.pixels[:, taken], made.mosaic[:, taken])
            total += clipped.valid
    assert ((total > 0) == made.valid).all()
    if kind != "mask" and not touched:
        assert total.max() == 1
