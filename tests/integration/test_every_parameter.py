"""Every parameter changes what it says it changes, and nothing else: one table, one row or more for each parameter.

A row is a run with one parameter changed, compared with the same run without; it names the facets of the outcome that differ
(:func:`outcomes.find_facets`), and all others have to be the same, byte for byte.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from outcomes import (
    LEFT,
    TOP,
    Bench,
    Outcome,
    find_facets,
    find_settings,
    make_odd,
    make_plain,
    make_strips,
    make_twofold,
    run_quietly,
    write_vectors,
)
from rasterio.transform import Affine
from scenes import write_scene
from shapely import affinity, box

from processor.config import OPERATIONAL, iter_parameters
from processor.errors import PermanentError

Check = Callable[[Outcome, Outcome], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A parameter, a value other than its default, and what that changes.

    scenes: which scenes are run.
    base: what else is set, before and after.
    changes: every facet that differs.
    check: more of what is known of before and after, true if it is so.
    refused: words of the error that ends the run after the change, or None.
    refused_before: words of the error that ends the run before the change, or None.
    """

    path: str
    value: Any
    scenes: str = "plain"
    base: Mapping[str, Any] = field(default_factory=dict)
    changes: frozenset[str] = frozenset()
    check: Check | None = None
    refused: str | None = None
    refused_before: str | None = None

    @property
    def name(self) -> str:
        """For the list of tests."""
        extra = "".join(f", {name}={value}" for name, value in self.base.items())
        return f"{self.path}={self.value} on {self.scenes}{extra}"


def facets(*names: str) -> frozenset[str]:
    """Facets, where "pixels" stands for the mosaic's values and "owners" for the scene index."""
    short = {"pixels": {"mosaic", "mosaic file"}, "owners": {"scene_index", "scene_index file"}}
    short["cells"] = {"cells", "seamlines file"}
    short["corrections"] = short["pixels"] | {"block maps"}
    return frozenset(facet for name in names for facet in short.get(name, {name}))


NOTHING = facets()
PLAIN = {"scene_1_1", "scene_1_2", "scene_2_1", "scene_2_2"}


def row(path: str, value: Any, *changes: str, scenes: str = "plain", check: Check | None = None, **base: Any) -> Row:
    """A row; in the names of ``base`` two underscores stand for the point."""
    fixed = {name.replace("__", "."): setting for name, setting in base.items()}
    return Row(path=path, value=value, scenes=scenes, base=fixed, changes=facets(*changes), check=check)


def list_extra(outcome: Outcome) -> set[str]:
    """Files written outside the Item's folder."""
    return set(outcome.extra)


def has_new(*paths: str) -> Check:
    """Check that exactly these files were written beside."""
    return lambda before, after: list_extra(after) - list_extra(before) == set(paths)


def has_copies(copies: Mapping[str, str]) -> Check:
    """Check that exactly these files were written beside, each a copy of a published one."""
    return lambda before, after: (
        has_new(*copies)(before, after)
        and all(after.extra[path] == after.files[published] for path, published in copies.items())
    )


def has_stage(stage: str) -> Check:
    """Check that the scenes of a stage were written beside, as assets of the Item."""

    def check(before: Outcome, after: Outcome) -> bool:
        keys = {f"{stage}_{name}" for name in PLAIN}
        return (
            list_extra(after) - list_extra(before) == {f"{stage}/{name}.tif" for name in PLAIN}
            and set(after.item["assets"]) - set(before.item["assets"]) == keys
            and all(after.item["assets"][key]["href"].endswith(".tif") for key in keys)
        )

    return check


def has_overviews(prefix: str) -> Check:
    """Check that rasters beside have overviews after and none before."""

    def check(before: Outcome, after: Outcome) -> bool:
        paths = [f"extra/{path}" for path in list_extra(after) if path.startswith(prefix)]
        return bool(paths) and all(
            not before.read(path).overviews
            and after.read(path).overviews
            and before.read(path).content == after.read(path).content
            for path in paths
        )

    return check


def has_pixel_size(size: float) -> Check:
    """Check the mosaic's pixel size after."""
    return lambda _, after: after.read("mosaic.tif").transform[0] == pytest.approx(size, rel=1e-12)


def is_raised(before: Outcome, after: Outcome) -> bool:
    """Whether alpha = 1.1 multiplied what was corrected: the mosaic rose by a tenth, or more where there is a shift c."""
    old, new = (outcome.read("mosaic.tif").values.astype(float) for outcome in (before, after))
    valid = (old > 0).all(axis=0)
    return bool(valid.any() and (new[:, valid] >= 1.1 * old[:, valid] - 1.2).all())


def is_snapped_no_more(before: Outcome, after: Outcome) -> bool:
    """Whether bounds were whole multiples of the pixel size and are the scenes' own now."""
    old, new = before.read("mosaic.tif").transform, after.read("mosaic.tif").transform
    return (old[2], old[5]) == (LEFT, TOP) and (new[2], new[5]) == (LEFT + 0.5, TOP - 0.25)


def is_inside_area(_: Outcome, after: Outcome) -> bool:
    """Whether the mosaic ends where the area of interest does."""
    raster = after.read("mosaic.tif")
    x = raster.transform[2] + (np.arange(raster.values.shape[2]) + 0.5) * raster.transform[0]
    outside = (raster.values != 0).any(axis=0)[:, (x < LEFT + 60) | (x > LEFT + 200)]
    return bool(not outside.any() and raster.values.any())


AREA, CLOUDS, PRINTS, KEEP = "{scenes}/area.gpkg", "{scenes}/clouds.gpkg", "{scenes}/prints.gpkg", "{scenes}/keep.gpkg"
MAPS = "{scenes}/maps"

ROWS = (
    # inputs
    row(
        "inputs.asset",
        "other",
        *("pixels", "statistics", "adjustments", "block maps"),
        scenes="twofold",
        inputs__asset="image",
    ),
    Row(path="inputs.asset", value="image", scenes="twofold", refused_before="has 2 raster assets"),
    Row(path="inputs.allow_local_files", value=True, scenes="remote", refused_before="allow_local_files"),
    row("inputs.allow_local_files", True),
    Row(path="inputs.max_scenes", value=3, refused="max_scenes"),
    row("inputs.max_scenes", 4),
    # shared
    row("shared.temp_dir", "{folder}/scratch", "extra files", shared__delete_temp_dir=False),
    row("shared.temp_dir", "{folder}/scratch"),
    row("shared.delete_temp_dir", False, "extra files", shared__temp_dir="{folder}/scratch"),
    row("shared.debug_logs", True),
    *(row("shared.cache", value, scenes="strips") for value in (0.0001, None)),
    row("shared.custom_nodata_value", 1234, "pixels", "owners", "statistics", "adjustments", "block maps", "cells"),
    row("shared.window_size", 16, scenes="strips"),
    row("shared.window_size", 2048, scenes="strips"),
    row("shared.image_threads", 1),
    row("shared.io_threads", 1),
    *(row("shared.tile_threads", value, scenes="strips") for value in (1, 3)),
    row("shared.calculation_dtype", "float64", "pixels", shared__output_dtype="float32"),
    row("shared.output_dtype", "float32", "pixels", check=lambda _, after: after.read("mosaic.tif").values.dtype == np.float32),
    row("shared.save_as_cog", True),
    # methods
    row("methods.matching_global_method", None, "corrections", "adjustments", "statistics", "files"),
    row("methods.matching_local_method", None, "corrections", "files"),
    row("methods.align_method", None, "pixels", "owners", scenes="odd", check=is_snapped_no_more),
    row("methods.align_method", None),
    row("methods.seamline_method", None, "cells", "cells' field", "files", methods__clip_method=None),
    Row(path="methods.seamline_method", value=None, refused="has nothing to cut by"),
    row("methods.clip_method", None, "pixels", "owners"),
    row("methods.merge_method", None, "pixels", "owners", "mosaic overviews", "scene_index overviews", "files"),
    # global_regression
    row(
        "global_regression.output_images",
        "{folder}/global_regression",
        "extra files",
        check=has_stage("global_regression"),
    ),
    row("global_regression.vector_mask", ["exclude", CLOUDS], "corrections", "adjustments", "statistics"),
    row(
        "global_regression.estimate_stats",
        False,
        *("corrections", "adjustments", "statistics", "cells", "owners"),
        scenes="strips",
    ),
    row("global_regression.estimate_stats", False),
    row("global_regression.specify_model_images", ["include", ["scene_1_1"]], "corrections", "adjustments"),
    row("global_regression.custom_mean_factor", 3.0, "corrections", "adjustments"),
    row("global_regression.custom_std_factor", 0.2, "corrections", "adjustments"),
    row(
        "global_regression.save_adjustments", "{folder}/a.json", "extra files", check=has_copies({"a.json": "adjustments.json"})
    ),
    row("global_regression.load_adjustments", "{scenes}/others.json", "corrections", "adjustments", "statistics"),
    row(
        "global_regression.build_overviews",
        True,
        "extra files",
        scenes="strips",
        global_regression__output_images="{folder}/g",
        check=has_overviews("g/"),
    ),
    row("global_regression.build_overviews", True, scenes="strips"),
    # local_block_adjustment
    row(
        "local_block_adjustment.output_images",
        "{folder}/local_block_adjustment",
        "extra files",
        check=has_stage("local_block_adjustment"),
    ),
    row("local_block_adjustment.vector_mask", ["exclude", CLOUDS], "corrections"),
    row("local_block_adjustment.number_of_blocks", [4, 5], "corrections"),
    row("local_block_adjustment.number_of_blocks", 9, "corrections"),
    row("local_block_adjustment.number_of_blocks", "coefficient_of_variation", "corrections"),
    row("local_block_adjustment.alpha", 1.1, "pixels", check=is_raised),
    row("local_block_adjustment.alpha", 1.1, local_block_adjustment__correction_method="linear"),
    row("local_block_adjustment.correction_method", "linear", "pixels"),
    row("local_block_adjustment.correction_method", "gamma", "pixels", local_block_adjustment__correction_method="linear"),
    row(
        "local_block_adjustment.save_block_maps",
        ["{folder}/reference.tif", "{folder}/of_$.tif"],
        "extra files",
        check=has_copies(
            {
                "reference.tif": "block_maps/reference.tif",
                **{f"of_{name}.tif": f"block_maps/local_{name}.tif" for name in PLAIN},
            }
        ),
    ),
    row("local_block_adjustment.load_block_maps", [f"{MAPS}/reference.tif", None], "corrections"),
    row("local_block_adjustment.override_bounds_canvas_coords", [LEFT - 40, TOP - 400, LEFT + 400, TOP + 20], "corrections"),
    row(
        "local_block_adjustment.build_overviews",
        True,
        "extra files",
        scenes="strips",
        local_block_adjustment__output_images="{folder}/l",
        check=has_overviews("l/"),
    ),
    row("local_block_adjustment.build_overviews", True, scenes="strips"),
    # align_rasters
    row("align_rasters.output_images", "{folder}/align_rasters", "extra files", check=has_stage("align_rasters")),
    row("align_rasters.resampling_method", "cubic", "pixels", scenes="odd"),
    row("align_rasters.resampling_method", "nearest", "pixels", scenes="odd"),
    row("align_rasters.resampling_method", "cubic"),
    row("align_rasters.tap", False, "pixels", "owners", scenes="odd", check=is_snapped_no_more),
    row("align_rasters.tap", False),
    row("align_rasters.resolution", "lowest", "pixels", "owners", scenes="odd", check=has_pixel_size(1.6)),
    row("align_rasters.resolution", "average", "pixels", "owners", scenes="odd", check=has_pixel_size(1.2)),
    row("align_rasters.resolution", "lowest"),
    # voronoi_center_seamline
    row(
        "voronoi_center_seamline.output_mask", "{folder}/s.gpkg", "extra files", check=has_copies({"s.gpkg": "seamlines.gpkg"})
    ),
    row("voronoi_center_seamline.aoi_path", AREA, "pixels", "owners", "cells", check=is_inside_area),
    row("voronoi_center_seamline.vector_mask", [PRINTS, "scene"], "pixels", "owners", "cells"),
    row("voronoi_center_seamline.debug_vectors_path", "{folder}/d.gpkg", "extra files", check=has_new("d.gpkg")),
    row("voronoi_center_seamline.min_point_spacing", 3.0, "pixels", "owners", "cells"),
    row("voronoi_center_seamline.min_point_spacing", 90.0),  # an outline has 64 seeds at least
    row(
        "voronoi_center_seamline.min_cut_length",
        1.0,
        *("pixels", "owners", "cells"),
        voronoi_center_seamline__vector_mask=[PRINTS, "scene"],
    ),
    row("voronoi_center_seamline.image_field_name", "scene", "cells' field", "seamlines file"),
    # mask_rasters
    row("mask_rasters.output_images", "{folder}/mask_rasters", "extra files", check=has_stage("mask_rasters")),
    row("mask_rasters.vector_mask", ["include", KEEP], "pixels", "owners"),
    row("mask_rasters.include_touched_pixels", True, "pixels", "owners"),
    # merge_rasters
    row("merge_rasters.resolution", "lowest", "pixels", "owners", scenes="odd", methods__align_method=None),
    row("merge_rasters.resolution", "lowest", scenes="odd"),
    row(
        "merge_rasters.build_overviews",
        False,
        *("mosaic overviews", "mosaic file", "scene_index overviews", "scene_index file"),
        scenes="strips",
    ),
    # output
    row("output.artifacts", "full", "files"),
    row("output.compression", "zstd", "mosaic file", "scene_index file"),
    row("output.level", 9, "mosaic file", "scene_index file", scenes="strips"),
    row("output.predictor", False, "mosaic file"),
)


# Scenes and the users' own files


def make_equipped(folder: Path) -> Path:
    """The plain scenes, and beside them what users give in files of their own."""
    items = make_plain(folder)
    write_vectors(folder / "area.gpkg", {"area": box(LEFT + 60, TOP - 300, LEFT + 200, TOP)})
    write_vectors(folder / "clouds.gpkg", {"cloud": box(LEFT + 90, TOP - 160, LEFT + 190, TOP - 60)})
    write_vectors(folder / "keep.gpkg", {"keep": box(LEFT + 20, TOP - 250, LEFT + 220, TOP - 30)})
    prints = {
        name: affinity.rotate(box(LEFT + x, TOP - y - 185, LEFT + x + 185, TOP - y), turn)
        for name, x, y, turn in zip(sorted(PLAIN), (0, 124, 0, 124), (0, 0, 124, 124), (9, -5, 14, 3), strict=True)
    }
    write_vectors(folder / "prints.gpkg", prints)
    known = run_quietly(items, folder / "known", {})
    adjustments = json.loads(known.files["adjustments.json"])
    adjustments["scene_1_1"]["whole_stats"]["band_0"]["mean"] *= 1.2
    (folder / "others.json").write_text(json.dumps(adjustments))
    raster = known.read("block_maps/reference.tif")
    place = Affine(*raster.transform)
    write_scene(folder / "maps" / "reference.tif", raster.values * 1.05, nodata=raster.nodata, transform=place)
    return items


def make_remote(folder: Path) -> str:
    """An ItemCollection on another machine that names files of this one; its URL."""
    document = json.loads(make_plain(folder).read_text())
    for feature in document["features"]:
        feature["assets"]["image"]["href"] = str(folder / feature["assets"]["image"]["href"])
    url = f"memory://{folder.name}/items.json"
    fsspec.filesystem("memory").pipe_file(url, json.dumps(document).encode())
    return url


MAKERS: Mapping[str, Callable[[Path], Path | str]] = {
    "plain": make_equipped,
    "odd": make_odd,
    "strips": make_strips,
    "twofold": make_twofold,
    "remote": make_remote,
}


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("every-parameter"), MAKERS)


# The tests


@pytest.mark.parametrize("row", [row for row in ROWS if not row.refused and not row.refused_before], ids=lambda row: row.name)
def test_a_parameter_changes_what_it_says_and_nothing_else(row: Row, bench: Bench) -> None:
    before = bench.run_once(row.scenes, row.base)
    after = bench.run(row.scenes, {**row.base, row.path: row.value})
    assert find_changes(find_facets(before), find_facets(after)) == row.changes
    assert find_changed_files(before, after) <= {file for facet in row.changes for file in FILES.get(facet, ())}
    is_decisive = row.path not in OPERATIONAL
    assert find_changes(find_settings(before), find_settings(after)) == ({row.path} if is_decisive else set())
    if not is_decisive:
        assert find_changes(before.texts, after.texts) == set()
    if row.check is not None:
        assert row.check(before, after)


#: Files that a facet is read from.
FILES = {
    "mosaic file": ["mosaic.tif"],
    "scene_index file": ["scene_index.tif"],
    "seamlines file": ["seamlines.gpkg"],
    "adjustments": ["adjustments.json"],
    "statistics": ["adjustments.json"],
    "block maps": ["block_maps/"],
}


def find_changes(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """Names under which two mappings differ."""
    return {
        name for name in before.keys() | after.keys() if (name in before, before.get(name)) != (name in after, after.get(name))
    }


def find_changed_files(before: Outcome, after: Outcome) -> set[str]:
    """Published files that both have and that differ, without those that tell of the run as a whole."""
    told = {"config.yaml", "report.json", "report.html"}
    changed = {path for path in before.files.keys() & after.files.keys() if before.files[path] != after.files[path]}
    return {"block_maps/" if path.startswith("block_maps/") else path for path in changed - told}


@pytest.mark.parametrize("row", [row for row in ROWS if row.refused or row.refused_before], ids=lambda row: row.name)
def test_a_parameter_forbids_or_allows_a_run(row: Row, bench: Bench) -> None:
    for words, flags in ((row.refused_before, row.base), (row.refused, {**row.base, row.path: row.value})):
        if words is None:
            assert "mosaic.tif" in bench.run(row.scenes, flags).files
        else:
            with pytest.raises(PermanentError, match=words):
                bench.run(row.scenes, flags)


def test_the_table_has_every_parameter() -> None:
    """A parameter without a row is one that nobody has seen doing anything."""
    assert {row.path for row in ROWS} == {parameter.path for parameter in iter_parameters()}


def test_every_value_of_the_table_differs_from_the_default() -> None:
    defaults = {parameter.path: parameter.field.default for parameter in iter_parameters()}
    assert [row.name for row in ROWS if row.value == defaults[row.path] and type(row.value) is type(defaults[row.path])] == []


def test_what_changes_no_byte_changes_how_the_work_is_done(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else the rows that expect nothing would pass for parameters that nobody reads."""
    seen: dict[str, set[float]] = {}

    def watch(target: str, name: str, keyword: str) -> None:
        original = getattr(importlib.import_module(target), name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            seen.setdefault(f"{target}.{name}", set()).add(keywords[keyword])
            return original(*arguments, **keywords)

        monkeypatch.setattr(f"{target}.{name}", call)

    watch("processor.run", "map_ordered", "threads")
    watch("processor.run", "publish", "threads")
    watch("processor.run", "RasterReader", "cache_bytes")
    watch("processor.engine.local", "map_ordered", "threads")
    watch("processor.engine.local", "Pyramid", "window_blocks")
    flags = {"image_threads": 3, "io_threads": 5, "tile_threads": 7, "cache": 0.001, "window_size": 2048}
    bench.run("strips", {f"shared.{name}": value for name, value in flags.items()})
    assert seen == {
        "processor.run.map_ordered": {3},
        "processor.run.publish": {5},
        "processor.run.RasterReader": {1_000_000},
        "processor.engine.local.map_ordered": {7},
        "processor.engine.local.Pyramid": {4},
    }
