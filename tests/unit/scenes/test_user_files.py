"""What the user's own files say, read from an object store in memory, and what the plan makes of it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import fsspec
import geopandas
import numpy as np
import pytest
import rasterio
from rasterio.crs import CRS
from rasterio.transform import Affine
from records import make_scene
from shapely import Geometry, box

from processor.config import load_config
from processor.errors import ConfigError, InputError
from processor.model import BlockGrid, BlockMap, Bounds, Scene
from processor.mosaic.digest import compute_digest
from processor.mosaic.plan import Plan
from processor.mosaic.planning import plan_run
from processor.scenes.user_files import UserFiles, read_user_files
from processor.stages.matching.block_maps_file import render_block_maps
from processor.stages.method import BlockMaps, Footprints, Region
from processor.storage.store import Store

T = TypeVar("T")
STATS = {"mean": 100.0, "std": 10.0, "size": 50}


SCENES = [make_scene(name, left=80.0 * i, priority=i) for i, name in enumerate(("s_1", "s_1_b", "s_2"))]


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[str]:
    filesystem = fsspec.filesystem("memory")
    yield f"memory://{tmp_path.name}"
    filesystem.rm(f"/{tmp_path.name}", recursive=True) if filesystem.exists(f"/{tmp_path.name}") else None


@dataclasses.dataclass(frozen=True)
class Files:
    """Makes the user's files in the object store."""

    base: str
    scratch: Path

    def put(self, name: str, data: bytes) -> str:
        Store().write_bytes(f"{self.base}/{name}", data, overwrite=True)
        return f"{self.base}/{name}"

    def vectors(self, name: str, geometries: list[Geometry], **fields: list[Any]) -> str:
        path = self.scratch / name
        geopandas.GeoDataFrame(fields, geometry=geometries, crs=32633).to_file(path)
        return self.put(name, path.read_bytes())

    def statistics(self, *scenes: str, name: str = "adjustments.json") -> str:
        document = {scene: {"whole_stats": {"band_0": STATS}, "overlap_stats": {}} for scene in scenes}
        return self.put(name, json.dumps(document).encode())

    def block_map(
        self,
        name: str,
        *,
        shape: tuple[int, int, int] = (1, 2, 4),
        left: float = 0.0,
        top: float = 100.0,
        size: float = 65.0,
        crs: str = "EPSG:32633",
    ) -> str:
        path = self.scratch / Path(name).name
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=shape[0],
            height=shape[1],
            width=shape[2],
            dtype="float32",
            nodata=-9999,
            crs=crs,
            transform=Affine(size, 0, left, 0, -size, top),
        ) as raster:
            values = np.arange(np.prod(shape), dtype="float32").reshape(shape)
            values[:, 0, 0] = -9999
            raster.write(values)
        return self.put(name, path.read_bytes())


@pytest.fixture
def files(memory: str, tmp_path: Path) -> Files:
    return Files(memory, tmp_path)


def read(flags: dict[str, Any], scenes: list[Scene] | None = None) -> UserFiles:
    return read_user_files(SCENES if scenes is None else scenes, load_config(flags=flags, environment={}), Store())


def plan(flags: dict[str, Any], scenes: list[Scene] | None = None) -> Plan:
    used = SCENES if scenes is None else scenes
    return plan_run(used, load_config(flags=flags, environment={}), read(flags, scenes))


def get(given: UserFiles, path: str, kind: type[T]) -> T:
    """What the file of a parameter says."""
    method, _, option = path.partition(".")
    found = given.contents[method].get(option, kind)
    assert found is not None
    return found


def test_nothing_is_given_by_default() -> None:
    given = read({})
    assert (given.contents, given.fingerprints) == ({}, {})


# Regions


@pytest.mark.parametrize(
    "parameter", ["global_regression.vector_mask", "local_block_adjustment.vector_mask", "mask_rasters.vector_mask"]
)
@pytest.mark.parametrize("choice", ["include", "exclude"])
def test_a_mask_without_field_holds_for_every_scene(files: Files, parameter: str, choice: str) -> None:
    url = files.vectors("m.gpkg", [box(10, 10, 20, 20), box(20, 10, 30, 20)], scene=["s_1", "s_2"])
    given = read({parameter: [choice, url]})
    region = get(given, parameter, Region)
    assert region.is_included == (choice == "include")
    assert set(region.geometries) == {"s_1", "s_1_b", "s_2"}
    assert all(geometry.equals(box(10, 10, 30, 20)) for geometry in region.geometries.values())
    assert list(given.contents) == [parameter.partition(".")[0]]


def test_a_field_gives_each_scene_the_features_that_name_it(files: Files) -> None:
    """Scene s_1 is not s_1_b, nor s_10, and a feature may name two scenes."""
    squares = [box(10 * i, 0, 10 * i + 10, 10) for i in range(5)]
    url = files.vectors("m.gpkg", squares, scene=["cloud on s_1_b", "s_1", "s_10", "s_1, s_2", "none"])
    given = read({"global_regression.vector_mask": ["exclude", url, "scene"]})
    region = get(given, "global_regression.vector_mask", Region)
    assert set(region.geometries) == {"s_1", "s_1_b", "s_2"}
    assert region.geometries["s_1_b"].equals(squares[0])
    assert region.geometries["s_1"].equals(squares[1].union(squares[3]))
    assert region.geometries["s_2"].equals(squares[3])


def test_a_field_that_names_no_scene_excludes_nothing_but_cannot_include(files: Files) -> None:
    url = files.vectors("m.gpkg", [box(0, 0, 1, 1)], scene=["s_10"])
    given = read({"global_regression.vector_mask": ["exclude", url, "scene"]})
    region = get(given, "global_regression.vector_mask", Region)
    assert region.geometries == {}
    with pytest.raises(InputError, match=r"^global_regression\.vector_mask: no feature of .*m\.gpkg names a scene"):
        read({"global_regression.vector_mask": ["include", url, "scene"]})


def test_footprints_are_the_features_that_name_the_scenes(files: Files) -> None:
    squares = [box(0, 0, 50, 50), box(50, 0, 90, 50), box(80, 0, 180, 90), box(160, 0, 250, 90)]
    url = files.vectors("f.gpkg", squares, scene=["s_1", "s_1", "s_1_b", "s_2"])
    given = read({"voronoi_center_seamline.vector_mask": [url, "scene"]})
    footprints = get(given, "voronoi_center_seamline.vector_mask", Footprints).geometries
    assert footprints["s_1"].equals(box(0, 0, 90, 50))
    assert footprints["s_1_b"].equals(squares[2])


def test_scenes_without_a_footprint_are_named(files: Files) -> None:
    url = files.vectors("f.gpkg", [box(0, 0, 50, 50)], scene=["s_1_b"])
    with pytest.raises(InputError, match=r"voronoi_center_seamline\.vector_mask: no feature .* names scene s_1, s_2 in field"):
        read({"voronoi_center_seamline.vector_mask": [url, "scene"]})


def test_the_area_of_interest_is_one_geometry(files: Files) -> None:
    url = files.vectors("a.gpkg", [box(0, 0, 50, 50), box(40, 0, 90, 50)], id=[1, 2])
    area = get(read({"voronoi_center_seamline.aoi_path": url}), "voronoi_center_seamline.aoi_path", Geometry)
    assert area.equals(box(0, 0, 90, 50))


def test_an_area_of_interest_elsewhere_is_refused_before_pixels_are_read(files: Files) -> None:
    url = files.vectors("a.gpkg", [box(0, 101, 50, 150)], id=[1])
    with pytest.raises(InputError, match=r"voronoi_center_seamline\.aoi_path: .*a\.gpkg lies outside all scenes"):
        read({"voronoi_center_seamline.aoi_path": url})


# Which files are read

EVERYTHING = {
    "global_regression.load_adjustments": "matching_global_method",
    "global_regression.vector_mask": "matching_global_method",
    "local_block_adjustment.vector_mask": "matching_local_method",
    "local_block_adjustment.load_block_maps": "matching_local_method",
    "voronoi_center_seamline.vector_mask": "seamline_method",
    "voronoi_center_seamline.aoi_path": "seamline_method",
    "mask_rasters.vector_mask": "clip_method",
}


def name_missing(parameter: str, base: str) -> Any:
    url = f"{base}/missing.gpkg"
    values: dict[str, Any] = {
        "global_regression.load_adjustments": url,
        "local_block_adjustment.load_block_maps": [url, None],
        "voronoi_center_seamline.vector_mask": [url, "scene"],
        "voronoi_center_seamline.aoi_path": url,
    }
    return values.get(parameter, ["exclude", url])


@pytest.mark.parametrize(("parameter", "method"), EVERYTHING.items())
def test_files_of_stages_that_are_off_are_not_read(memory: str, parameter: str, method: str) -> None:
    flags = {parameter: name_missing(parameter, memory)}
    with pytest.raises(InputError, match=r"missing\.gpkg"):
        read(flags)
    assert read({**flags, f"methods.{method}": None}).fingerprints == {}


def test_every_file_has_a_fingerprint_that_decides_the_digest(files: Files) -> None:
    flags: dict[str, Any] = {
        "global_regression.load_adjustments": files.statistics("s_1"),
        "global_regression.vector_mask": ["exclude", files.vectors("m.gpkg", [box(0, 0, 1, 1)], id=[1])],
        "local_block_adjustment.load_block_maps": [files.block_map("reference.tif"), [files.block_map("local_s_1.tif")]],
        "voronoi_center_seamline.aoi_path": files.vectors("a.gpkg", [box(0, 0, 90, 90)], id=[1]),
    }
    config = load_config(flags=flags, environment={})

    def digest() -> tuple[list[str], str]:
        given = read_user_files(SCENES, config, Store())
        return sorted(url.rpartition("/")[2] for url in given.fingerprints), compute_digest(
            SCENES, config, "1", given.fingerprints
        )

    before = digest()
    assert before[0] == ["a.gpkg", "adjustments.json", "local_s_1.tif", "m.gpkg", "reference.tif"]
    assert digest() == before
    files.vectors("a.gpkg", [box(0, 0, 90, 91)], id=[1])
    assert digest()[1] != before[1]


def test_names_of_a_shapefile_decide_the_digest_too(files: Files, tmp_path: Path) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        frame = geopandas.GeoDataFrame({"scene": [f"s_{1 + (name == 'two')}"]}, geometry=[box(0, 0, 9, 9)], crs=32633)
        frame.to_file(folder / "m.shp")
    shapes = [(tmp_path / name / "m.shp").read_bytes() for name in ("one", "two")]
    assert shapes[0] == shapes[1]
    found = []
    for name in ("one", "two"):
        for path in sorted((tmp_path / name).iterdir()):
            files.put(path.name, path.read_bytes())
        given = read({"global_regression.vector_mask": ["exclude", f"{files.base}/m.shp", "scene"]})
        region = get(given, "global_regression.vector_mask", Region)
        found.append((set(region.geometries), given.fingerprints[f"{files.base}/m.dbf"]))
    assert found[0][0] == {"s_1"}
    assert found[1][0] == {"s_2"}
    assert found[0][1] != found[1][1]


# Statistics

ALL = ("s_1", "s_1_b", "s_2")
ALONE = {"methods.matching_local_method": None, "methods.seamline_method": None, "methods.clip_method": None}


@pytest.mark.parametrize(
    ("known", "flags", "reads"),
    [
        (ALL, ALONE, False),
        (("s_1", "s_2"), ALONE, True),  # one scene is not in the file
        ((*ALL, "s_9"), ALONE, False),
        (ALL, {}, True),
        (ALL, {**ALONE, "methods.matching_local_method": "local_block_adjustment"}, True),
        (ALL, {**ALONE, "methods.seamline_method": "voronoi_center_seamline"}, True),
        ((), {**ALONE, "methods.matching_global_method": None}, False),
    ],
)
def test_pixels_are_read_for_measures_only_where_something_is_unknown(
    files: Files, known: tuple[str, ...], flags: dict[str, Any], reads: bool
) -> None:
    loaded = {"global_regression.load_adjustments": files.statistics(*known)} if known else {}
    assert plan({**flags, **loaded}).reads_for_measures is reads


def test_footprints_that_are_given_need_no_pixel(files: Files) -> None:
    url = files.vectors("f.gpkg", [scene_box(scene) for scene in SCENES], scene=list(ALL))
    flags: dict[str, Any] = {
        "methods.matching_local_method": None,
        "global_regression.load_adjustments": files.statistics(*ALL),
        "voronoi_center_seamline.vector_mask": [url, "scene"],
    }
    assert plan(flags).reads_for_measures is False
    assert plan({**flags, "voronoi_center_seamline.vector_mask": None}).reads_for_measures is True


def scene_box(scene: Scene) -> Geometry:
    return box(*scene.grid.bounds.as_tuple())


def test_a_malformed_file_is_refused_naming_file_scene_and_key(files: Files) -> None:
    document = {"s_1": {"whole_stats": {"band_0": {"mean": 1.0, "std": 1.0}}, "overlap_stats": {}}}
    url = files.put("bad.json", json.dumps(document).encode())
    with pytest.raises(InputError, match=r"bad\.json, scene s_1, whole_stats, band_0: key 'size' is missing"):
        read({"global_regression.load_adjustments": url})


@pytest.mark.parametrize("setting", [["include", ["s_3"]], ["exclude", ["s_1_b.tif", "s"]]])
def test_scenes_of_the_model_that_are_none_are_refused_before_pixels_are_read(setting: list[Any]) -> None:
    with pytest.raises(ConfigError, match=r"specify_model_images: '.*' names no scene; the scenes are s_1, s_1_b, s_2"):
        plan({"global_regression.specify_model_images": setting})


def test_scenes_of_the_model_may_be_known_from_the_file_only(files: Files) -> None:
    setting = {"global_regression.specify_model_images": ["include", ["s_9"]]}
    plan({**setting, "global_regression.load_adjustments": files.statistics("s_9")})
    plan({"global_regression.specify_model_images": ["include", ["s_1.tif"]]})
    plan({**setting, "methods.matching_global_method": None})


# Block maps


def test_maps_are_read_with_what_is_missing(files: Files) -> None:
    given = read({"local_block_adjustment.load_block_maps": [files.block_map("reference.tif"), None]})
    maps = get(given, "local_block_adjustment.load_block_maps", BlockMaps)
    assert maps.reference is not None
    assert maps.reference.name == "reference"
    assert maps.reference.grid.bounds.as_tuple() == (0.0, -30.0, 260.0, 100.0)
    np.testing.assert_array_equal(maps.reference.values[0], [[np.nan, 1, 2, 3], [4, 5, 6, 7]])
    assert maps.local == {}
    assert maps.grid == maps.reference.grid


def test_local_maps_belong_to_the_scenes_that_their_names_contain(files: Files) -> None:
    """As the well-known program calls them; a map that names no input keeps its own name."""
    stems = ["block_map_local_s_1_b_Global", "block_map_local_s_1_Global", "block_map_local_s_10_Global"]
    given = read({"local_block_adjustment.load_block_maps": [None, [files.block_map(f"{stem}.tif") for stem in stems]]})
    maps = get(given, "local_block_adjustment.load_block_maps", BlockMaps)
    assert sorted(maps.local) == ["block_map_local_s_10_Global", "s_1", "s_1_b"]
    assert all(block_map.name == name for name, block_map in maps.local.items())
    assert maps.reference is None
    assert maps.grid == next(iter(maps.local.values())).grid


def test_two_maps_of_one_scene_are_refused(files: Files) -> None:
    urls = [files.block_map(name) for name in ("old_s_1.tif", "new_s_1.tif")]
    with pytest.raises(InputError, match="scene s_1: two block maps name it, new_s_1 and old_s_1"):
        read({"local_block_adjustment.load_block_maps": [None, urls]})


def test_maps_of_one_name_in_two_folders_are_refused(files: Files) -> None:
    urls = [files.block_map(name) for name in ("old/local_s_1.tif", "new/local_s_1.tif")]
    with pytest.raises(InputError, match=r"new/local_s_1\.tif and .*old/local_s_1\.tif have one name"):
        read({"local_block_adjustment.load_block_maps": [None, urls]})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shape": (1, 2, 3)}, r"block map of s_1 has 2 x 3 blocks .*, that of reference 2 x 4 .*; load maps of one run"),
        ({"size": 66.0}, r"block map of s_1 has 2 x 4 blocks over \(0\.0, -32\.0, 264\.0, 100\.0\), that of reference"),
        ({"left": 1.0}, "block map of s_1 has"),
        ({"shape": (2, 2, 4)}, r"local_s_1\.tif has 2 bands and the scenes have 1"),
        ({"crs": "EPSG:32632"}, r"local_s_1\.tif and the scenes have different coordinate reference systems"),
        ({"left": 1000.0}, r"local_s_1\.tif covers .* and no scene lies there"),
    ],
)
def test_maps_that_disagree_are_refused(files: Files, changes: dict[str, Any], words: str) -> None:
    setting = [files.block_map("reference.tif"), [files.block_map("local_s_1.tif", **changes)]]
    with pytest.raises(InputError, match=words):
        read({"local_block_adjustment.load_block_maps": setting})


def test_corners_that_a_file_has_rounded_agree(files: Files) -> None:
    setting = [files.block_map("reference.tif"), [files.block_map("local_s_1.tif", left=1e-6, size=65.000_000_1)]]
    given = read({"local_block_adjustment.load_block_maps": setting})
    maps = get(given, "local_block_adjustment.load_block_maps", BlockMaps)
    assert maps.reference is not None
    assert maps.local["s_1"].grid == maps.reference.grid


def test_a_map_that_is_no_raster_is_refused_by_name(files: Files) -> None:
    url = files.put("reference.tif", b"anything else")
    with pytest.raises(InputError, match=r"block map .*reference\.tif is not a readable GeoTIFF"):
        read({"local_block_adjustment.load_block_maps": [url, None]})


def save_maps(files: Files, *scenes: str, crs: int = 32633, left: float = 0.0, name: str = "block_maps.npz") -> str:
    """An archive of a run, with a map of a block for each scene."""
    grid = BlockGrid(bounds=Bounds(left=left, bottom=-30.0, right=left + 260.0, top=100.0), rows=2, cols=4)
    values = np.arange(8, dtype=float).reshape(1, 2, 4)
    local = [BlockMap(name=scene, grid=grid, values=values[:, :1, :1] + 1, row=1, col=2) for scene in scenes]
    wkt = CRS.from_epsg(crs).to_wkt() if crs else "nowhere"
    return files.put(name, render_block_maps(local, BlockMap(name="reference", grid=grid, values=values), crs=wkt))


@pytest.mark.parametrize(
    ("forms", "reference", "local"), [("rl", True, ["s_1", "s_1_b"]), ("r", True, []), ("l", False, ["s_1", "s_1_b"])]
)
def test_an_archive_gives_the_maps_of_its_place_in_the_setting(
    files: Files, forms: str, reference: bool, local: list[str]
) -> None:
    """Of the scenes by their names: ``s_1_b`` of the archive is not taken for the input ``s_1``."""
    url = save_maps(files, "s_1", "s_1_b")
    setting = [url if "r" in forms else None, [url] if "l" in forms else None]
    given = read({"local_block_adjustment.load_block_maps": setting})
    maps = get(given, "local_block_adjustment.load_block_maps", BlockMaps)
    assert (maps.reference is not None, sorted(maps.local)) == (reference, local)
    assert list(given.fingerprints) == [url]
    for block_map in maps.local.values():
        assert np.flatnonzero(np.isfinite(block_map.expand())).tolist() == [6]


def test_archives_and_rasters_go_together_and_no_map_is_there_twice(files: Files) -> None:
    setting: list[Any] = [files.block_map("reference.tif"), [save_maps(files, "s_1")]]
    maps = get(read({"local_block_adjustment.load_block_maps": setting}), "local_block_adjustment.load_block_maps", BlockMaps)
    assert sorted(maps.local) == ["s_1"]
    setting[1].append(files.block_map("local_s_1.tif"))
    with pytest.raises(InputError, match=r"block_maps\.npz and another file .* both have the block map of s_1"):
        read({"local_block_adjustment.load_block_maps": setting})


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crs": 32632}, "different coordinate reference systems"),
        ({"crs": 0}, "coordinate reference system is not valid WKT"),
        ({"left": 1000.0}, "no scene lies there"),
    ],
)
def test_an_archive_of_elsewhere_is_refused(files: Files, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read({"local_block_adjustment.load_block_maps": [save_maps(files, "s_1", **changes), None]})


def test_an_archive_without_a_scene_is_no_local_map(files: Files) -> None:
    with pytest.raises(InputError, match="no block map of any scene"):
        read({"local_block_adjustment.load_block_maps": [None, [save_maps(files)]]})


def test_the_blocks_are_those_of_the_loaded_maps(files: Files) -> None:
    flags: dict[str, Any] = {
        "local_block_adjustment.load_block_maps": [files.block_map("reference.tif"), None],
        "local_block_adjustment.number_of_blocks": "coefficient_of_variation",
    }
    made = plan(flags)
    assert made.blocks is not None
    assert (made.blocks.rows, made.blocks.cols) == (2, 4)
    assert made.blocks.bounds.as_tuple() == (0.0, -30.0, 260.0, 100.0)


@pytest.mark.parametrize(
    ("override", "fits"),
    [((0.0, -30.0, 260.0, 100.0), True), ((1e-9, -30.0, 260.000_000_1, 100.0), True), ((0.0, -30.0, 260.0, 101.0), False)],
)
def test_an_override_has_to_agree_with_the_loaded_maps(
    files: Files, override: tuple[float, float, float, float], fits: bool
) -> None:
    flags: dict[str, Any] = {
        "local_block_adjustment.load_block_maps": [files.block_map("reference.tif"), None],
        "local_block_adjustment.override_bounds_canvas_coords": override,
    }
    if fits:
        assert plan(flags).blocks is not None
    else:
        with pytest.raises(ConfigError, match="disagrees with the loaded block maps"):
            plan(flags)


def test_the_override_is_the_canvas_of_the_blocks() -> None:
    made = plan({"local_block_adjustment.override_bounds_canvas_coords": [-100.0, -100.0, 300.0, 100.0]})
    assert made.blocks is not None
    assert made.blocks.bounds.as_tuple() == (-100.0, -100.0, 300.0, 100.0)
    assert made.blocks.rows * made.blocks.cols <= 300


# The digest


@pytest.mark.parametrize(
    ("flags", "matters"),
    [
        ({}, False),
        ({"mask_rasters.vector_mask": ["include", "m.gpkg"]}, True),
        ({"methods.clip_method": None}, True),
        ({"mask_rasters.include_touched_pixels": True}, True),
        ({"align_rasters.output_images": ["one.tif", "two.tif", "three.tif"]}, True),
        ({"align_rasters.output_images": "aligned"}, False),
    ],
)
def test_the_order_of_the_input_is_in_the_digest_where_it_changes_the_result(flags: dict[str, Any], matters: bool) -> None:
    config = load_config(flags=flags, environment={})
    turned = [dataclasses.replace(scene, priority=2 - scene.priority) for scene in SCENES]
    assert (compute_digest(SCENES, config, "1") != compute_digest(turned, config, "1")) is matters
