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
from effort import exhaustive
from outcomes import (
    LEFT,
    TOP,
    Bench,
    Outcome,
    find_facets,
    find_settings,
    make_beside,
    make_odd,
    make_plain,
    make_strips,
    make_twofold,
    run_quietly,
    write_vectors,
)
from rasterio.transform import Affine
from scenes import gradient_truth, write_items, write_scene
from shapely import affinity, box

from processor.config import iter_parameters
from processor.config.general import Kubernetes
from processor.errors import PermanentError
from processor.execution.kubernetes.api import Pace, connect
from processor.execution.kubernetes.jobs import PhaseJob, build_job, read_worker
from processor.storage.options import io_model, resolve_access

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
STACKED = ("pixels", "observations", "observations file")
PLAIN = {"scene_1_1", "scene_1_2", "scene_2_1", "scene_2_2"}


def dotted(base: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by ``section.name``, from names in which two underscores stand for the point."""
    return {name.replace("__", "."): setting for name, setting in base.items()}


def row(path: str, value: Any, *changes: str, scenes: str = "plain", check: Check | None = None, **base: Any) -> Row:
    """A row; in the names of ``base`` two underscores stand for the point."""
    return Row(path=path, value=value, scenes=scenes, base=dotted(base), changes=facets(*changes), check=check)


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


def has_maps(maps: Mapping[str, str]) -> Check:
    """Check that exactly these rasters were written beside, each a published block map in single precision."""

    def check(before: Outcome, after: Outcome) -> bool:
        published = after.read_block_maps()
        pairs = [(after.read(f"extra/{path}"), published[name]) for path, name in maps.items()]
        return has_new(*maps)(before, after) and all(
            np.array_equal(raster.values, known.values.astype(np.float32), equal_nan=True)
            and raster.transform == pytest.approx(known.transform, rel=1e-12)
            for raster, known in pairs
        )

    return check


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


def is_measured(before: Outcome, after: Outcome) -> bool:
    """Whether it is told after, and not before, how far the scenes lie beside one another."""
    return "mosaic:misregistration" not in before.item["properties"] and after.item["properties"]["mosaic:misregistration"] > 1


def is_judged(before: Outcome, after: Outcome) -> bool:
    """Whether the mosaic was judged by a check after and not before."""
    return "mosaic:fidelity" not in before.item["properties"] and 0 < after.item["properties"]["mosaic:fidelity"] <= 1


def is_judged_anew(before: Outcome, after: Outcome) -> bool:
    """Whether a check says something else after."""
    return len({outcome.item["properties"]["mosaic:fidelity"] for outcome in (before, after)} | {None}) == 3


def is_inside_area(_: Outcome, after: Outcome) -> bool:
    """Whether the mosaic ends where the area of interest does."""
    raster = after.read("mosaic.tif")
    x = raster.transform[2] + (np.arange(raster.values.shape[2]) + 0.5) * raster.transform[0]
    outside = (raster.values != 0).any(axis=0)[:, (x < LEFT + 60) | (x > LEFT + 200)]
    return bool(not outside.any() and raster.values.any())


def is_turned(before: Outcome, after: Outcome) -> bool:
    """Whether the names of the bands have changed places."""
    names = [[band["name"] for band in outcome.item["assets"]["mosaic"]["bands"]] for outcome in (before, after)]
    return names == [["red", "nir"], ["nir", "red"]]


def has_crs(code: str) -> Check:
    """Check the mosaic's CRS after."""
    return lambda before, after: before.item["properties"]["proj:code"] != code == after.item["properties"]["proj:code"]


def has_hrefs(mosaic: str) -> Check:
    """Check how the Item names its mosaic after, and that all its files are named alike."""

    def check(before: Outcome, after: Outcome) -> bool:
        hrefs = {key: asset["href"] for key, asset in after.item["assets"].items()}
        was = {key: asset["href"] for key, asset in before.item["assets"].items()}
        root = mosaic.format(out=after.folder / "out").removesuffix("mosaic.tif")
        return hrefs == {key: href.replace("./", root, 1) for key, href in was.items()}

    return check


def has_alternate(mosaic: str) -> Check:
    """Check where else the Item says that its mosaic is after."""
    return lambda before, after: (
        "alternate" not in before.item["assets"]["mosaic"]
        and [other["href"] for other in after.item["assets"]["mosaic"]["alternate"].values()] == [mosaic]
    )


def has_tiles(before: Outcome, after: Outcome) -> bool:
    """Whether the Item links to the tiles of its mosaic, with how they are shown."""
    (link,) = [link for link in after.item["links"] if link["rel"] == "xyz"]
    url = "https%3A%2F%2Fdata.example.org%2Fx%2Fm%2Fmosaic.tif"
    shown = link["render"] in after.item["properties"]["renders"]
    return (
        shown
        and link["href"] == f"https://t.example.org/{{z}}/{{x}}/{{y}}?url={url}"
        and "xyz" not in str(before.item["links"])
    )


def has_rights(**rights: Any) -> Check:
    """Check what the Item says of its license or its providers, and did not before."""
    return lambda before, after: (
        not rights.keys() & before.item["properties"].keys() and rights.items() <= after.item["properties"].items()
    )


def has_inputs_table(_: Outcome, after: Outcome) -> bool:
    """Whether the Items of the inputs are a file and an asset."""
    return (
        set(after.files) - set(_.files) == {"inputs.parquet"}
        and after.files["inputs.parquet"].startswith(b"PAR1")
        and after.item["assets"]["inputs"]["href"] == "./inputs.parquet"
    )


def has_catalog(before: Outcome, after: Outcome) -> bool:
    """Whether a catalogue leads to the Item, and the Item to it."""
    paths = [outcome.folder / "out" / "catalog.json" for outcome in (before, after)]
    links = {link["rel"]: link["href"] for link in after.item["links"] if link["rel"] in {"root", "parent"}}
    hrefs = [link["href"] for link in json.loads(paths[1].read_text())["links"] if link["rel"] == "item"]
    return (
        not paths[0].exists() and hrefs == ["./m/m.json"] and links == {"root": "../catalog.json", "parent": "../catalog.json"}
    )


AREA, CLOUDS, PRINTS, KEEP = "{scenes}/area.gpkg", "{scenes}/clouds.gpkg", "{scenes}/prints.gpkg", "{scenes}/keep.gpkg"
MAPS = "{scenes}/maps"
KNOWN = "{scenes}/known.tif"
SPOTS = "{scenes}/spots.tif"
LEAST = {"methods__seamline_method": "least_difference_seamline"}
TRUE = {
    "methods__matching_global_method": "robust_regression",
    "methods__matching_local_method": "surface_adjustment",
}
SURFACES = {**TRUE, "methods__matching_global_method": None}
ITEMS = {**TRUE, "reference__images": "{scenes}/items.json"}
PAIR = {**ITEMS, "inputs__assets": ["red", "nir"]}
MATCHED = ("pixels", "adjustments", "agreement", "surfaces")
MEASURED = ("pixels", "statistics", "adjustments", "block maps")

ROWS = (
    # inputs
    row(
        "inputs.asset",
        "other",
        *MEASURED,
        scenes="twofold",
        inputs__asset="image",
    ),
    Row(path="inputs.asset", value="image", scenes="twofold", refused_before="has 2 raster assets"),
    row("inputs.assets", ["nir", "red"], *MEASURED, scenes="stacked", check=is_turned, inputs__assets=["red", "nir"]),
    row("inputs.bands", ["nir"], *MEASURED, scenes="stacked", inputs__bands=["red"]),
    row("inputs.mask", {"asset": "qa", "invalid": [3]}, *MEASURED, "owners", "cells", scenes="stacked", inputs__assets=["red"]),
    row(
        "inputs.mask",
        {"asset": "qa", "valid": [0, 1, 2]},
        *MEASURED,
        "owners",
        "cells",
        scenes="stacked",
        inputs__assets=["red"],
    ),
    row("inputs.mask", {"asset": "qa", "bits": [2]}, scenes="stacked", inputs__assets=["red"]),  # a bit that no pixel has
    row("inputs.validity", "any", "pixels", "owners", "cells", scenes="fringed"),
    row("inputs.validity", "band", "pixels", scenes="fringed"),
    row("inputs.nodata", "0,700..900", *MEASURED, "owners", "cells"),
    row("inputs.skip_unreadable", 2),  # what it leaves out: integration/test_validity.py
    row("inputs.sign", "planetary-computer"),  # what it signs: unit/stac/test_sign.py
    row("inputs.alternate", "s3"),  # what it reads: integration/test_login.py
    Row(path="inputs.allow_local_files", value=True, scenes="remote", refused_before="allow_local_files"),
    row("inputs.allow_local_files", True),
    row("inputs.allow_private_networks", True),  # what it reads: integration/test_private_networks.py
    Row(path="inputs.max_scenes", value=3, refused="max_scenes"),
    row("inputs.max_scenes", 4),
    Row(path="inputs.max_bytes", value=100, refused="max_bytes"),
    row("inputs.max_bytes", 1_000_000),
    row("inputs.max_seconds", 600.0),  # what it ends: integration/test_endless_servers.py
    # reference
    row("reference.images", KNOWN, *MATCHED, **TRUE),
    row("reference.asset", "other", *MATCHED, scenes="twofold", inputs__asset="image", reference__asset="image", **ITEMS),
    row("reference.assets", ["nir", "red"], scenes="stacked", reference__assets=["red", "nir"], **PAIR),  # matched by name
    Row(
        path="reference.assets",
        value=["red", "nir"],
        scenes="stacked",
        base=dotted(PAIR),
        refused_before="has 3 raster assets.*--reference.assets",
    ),
    row("reference.bands", ["1", "1"], *MATCHED, reference__images=KNOWN, **TRUE),
    row(
        "reference.mask", {"asset": "qa", "invalid": [3]}, *MATCHED, scenes="stacked", reference__assets=["red", "nir"], **PAIR
    ),
    row("reference.sign", "planetary-computer", reference__images=KNOWN, **TRUE),
    row("reference.alternate", "s3", reference__images=KNOWN, **TRUE),
    row("reference.allow_local_files", True, reference__images=KNOWN, **TRUE),
    row("reference.max_scenes", 2, scenes="twofold", inputs__asset="image", reference__asset="image", **ITEMS),
    row("reference.max_bytes", 1_000_000, reference__images=KNOWN, **TRUE),
    row("reference.max_seconds", 600.0, reference__images=KNOWN, **TRUE),
    row("reference.nodata", 777, *MATCHED, reference__images=KNOWN, **TRUE),
    row("reference.weight", 0.1, *MATCHED, reference__images=KNOWN, **TRUE),
    # check: what it changes stands in the report and the Item
    row("check.images", KNOWN, check=is_judged),
    row(
        "check.asset",
        "other",
        scenes="twofold",
        inputs__asset="image",
        check__asset="image",
        check__images="{scenes}/items.json",
    ),
    row(
        "check.assets",
        ["nir", "red"],
        scenes="stacked",
        check__assets=["red", "nir"],
        check__images="{scenes}/items.json",
        inputs__assets=["red", "nir"],
    ),
    row("check.bands", ["1", "1"], check=is_judged_anew, check__images=KNOWN),
    row(
        "check.mask",
        {"asset": "qa", "invalid": [3]},
        scenes="stacked",
        check=is_judged_anew,
        check__assets=["red", "nir"],
        check__images="{scenes}/items.json",
        inputs__assets=["red", "nir"],
    ),
    row("check.sign", "planetary-computer", check__images=KNOWN),
    row("check.alternate", "s3", check__images=KNOWN),
    row("check.allow_local_files", True, check__images=KNOWN),
    row("check.max_scenes", 4, check__images="{scenes}/items.json"),
    row("check.max_bytes", 1_000_000, check__images="{scenes}/items.json"),
    row("check.max_seconds", 600.0, check__images="{scenes}/items.json"),
    row("check.nodata", 777, check=is_judged_anew, check__images=KNOWN),
    # shared
    row("shared.temp_dir", "{folder}/scratch", "extra files", shared__delete_temp_dir=False),
    row("shared.temp_dir", "{folder}/scratch"),
    row("shared.delete_temp_dir", False, "extra files", shared__temp_dir="{folder}/scratch"),
    row("shared.debug_logs", True),
    *(row("shared.memory", value, scenes="strips") for value in (0.25, 2)),
    *(row("shared.cache", value, scenes="strips") for value in (0.0001, None)),
    *(row("shared.disk_cache", value) for value in (None, 1)),
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
    row("methods.preset", "satellite", **TRUE),  # sets what is set
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
    # robust_regression
    row(
        "robust_regression.output_images",
        "{folder}/robust_regression",
        "extra files",
        check=has_stage("robust_regression"),
        **TRUE,
    ),
    row("robust_regression.vector_mask", ["exclude", CLOUDS], *MATCHED, "statistics", **TRUE),
    row("robust_regression.estimate_stats", False, *MATCHED, "statistics", "cells", "owners", scenes="strips", **TRUE),
    row("robust_regression.estimate_stats", False, **TRUE),
    row("robust_regression.offsets", False, *MATCHED, **TRUE),
    row(
        "robust_regression.specify_model_images",
        ["include", ["scene_1_1"]],
        *("pixels", "adjustments", "surfaces"),
        **TRUE,
    ),
    row(
        "robust_regression.save_adjustments",
        "{folder}/a.json",
        "extra files",
        check=has_copies({"a.json": "adjustments.json"}),
        **TRUE,
    ),
    row("robust_regression.load_adjustments", "{scenes}/others.json", "statistics", **TRUE),
    row("robust_regression.load_blocks", "{scenes}/blocks.npz", *MATCHED, **TRUE),
    row(
        "robust_regression.build_overviews",
        True,
        "extra files",
        scenes="strips",
        check=has_overviews("g/"),
        robust_regression__output_images="{folder}/g",
        **TRUE,
    ),
    # surface_adjustment
    row(
        "surface_adjustment.output_images",
        "{folder}/surface_adjustment",
        "extra files",
        check=has_stage("surface_adjustment"),
        **TRUE,
    ),
    row("surface_adjustment.control_points", 9, "pixels", "surfaces", **TRUE),
    row("surface_adjustment.correction", "additive", "pixels", "surfaces", **TRUE),
    row("surface_adjustment.smoothness", 0.03, "pixels", "surfaces", **TRUE),
    row("surface_adjustment.ridge", 0.5, "pixels", "surfaces", **TRUE),
    row("surface_adjustment.illumination", "shared", "pixels", "surfaces", "files", "agreement", **SURFACES),
    row(
        "surface_adjustment.group_by",
        "datetime",
        *("pixels", "surfaces", "agreement"),
        surface_adjustment__illumination="shared",
        **SURFACES,
    ),
    row("surface_adjustment.kernel", None, "pixels", "surfaces", reference__images=KNOWN, **TRUE),
    row(
        "surface_adjustment.save_surfaces",
        "{folder}/s.json",
        "extra files",
        check=has_copies({"s.json": "surfaces.json"}),
        **TRUE,
    ),
    row("surface_adjustment.load_surfaces", "{scenes}/surfaces.json", "pixels", "surfaces", **TRUE),
    row(
        "surface_adjustment.build_overviews",
        True,
        "extra files",
        scenes="strips",
        check=has_overviews("l/"),
        surface_adjustment__output_images="{folder}/l",
        **TRUE,
    ),
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
        check=has_maps({"reference.tif": "reference", **{f"of_{name}.tif": name for name in PLAIN}}),
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
    row("align_rasters.coregister", True, "pixels", "owners", "cells", scenes="beside", check=is_measured),
    row("align_rasters.coregister", "measure", scenes="beside", check=is_measured),
    row("align_rasters.resolution", "lowest", "pixels", "owners", scenes="odd", check=has_pixel_size(1.6)),
    row("align_rasters.resolution", "average", "pixels", "owners", scenes="odd", check=has_pixel_size(1.2)),
    row("align_rasters.resolution", "lowest"),
    row("align_rasters.crs", "EPSG:32632", *MEASURED, "owners", "cells", check=has_crs("EPSG:32632")),
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
    row("voronoi_center_seamline.rank", "-valid_share", "pixels", "owners", "cells"),
    # least_difference_seamline
    row(
        "least_difference_seamline.output_mask",
        "{folder}/s.gpkg",
        "extra files",
        check=has_copies({"s.gpkg": "seamlines.gpkg"}),
        **LEAST,
    ),
    row("least_difference_seamline.aoi_path", AREA, "pixels", "owners", "cells", check=is_inside_area, **LEAST),
    row("least_difference_seamline.vector_mask", [PRINTS, "scene"], "pixels", "owners", "cells", **LEAST),
    row("least_difference_seamline.debug_vectors_path", "{folder}/d.gpkg", "extra files", check=has_new("d.gpkg"), **LEAST),
    row("least_difference_seamline.image_field_name", "scene", "cells' field", "seamlines file", **LEAST),
    row("least_difference_seamline.rank", "-agreement", "pixels", "owners", "cells", **LEAST),
    row("least_difference_seamline.obstacles", CLOUDS, "pixels", "owners", "cells", **LEAST),
    row("least_difference_seamline.avoid", SPOTS, "pixels", "owners", "cells", **LEAST),
    # mask_rasters
    row("mask_rasters.output_images", "{folder}/mask_rasters", "extra files", check=has_stage("mask_rasters")),
    row("mask_rasters.vector_mask", ["include", KEEP], "pixels", "owners"),
    row("mask_rasters.include_touched_pixels", True, "pixels", "owners"),
    # merge_rasters
    row("merge_rasters.blend", 12.0, "pixels"),
    row("merge_rasters.blend", 12.0, "pixels", scenes="odd"),
    row("merge_rasters.resolution", "lowest", "pixels", "owners", scenes="odd", methods__align_method=None),
    row("merge_rasters.resolution", "lowest", scenes="odd"),
    row(
        "merge_rasters.build_overviews",
        False,
        *("mosaic overviews", "mosaic file", "scene_index overviews", "scene_index file"),
        scenes="strips",
    ),
    # median, geomedian
    *(
        line
        for method in ("median", "geomedian")
        for line in (
            row(
                f"{method}.resolution",
                "lowest",
                *STACKED,
                scenes="odd",
                methods__align_method=None,
                methods__merge_method=method,
            ),
            row(
                f"{method}.build_overviews",
                False,
                *("mosaic overviews", "mosaic file", "observations overviews", "observations file"),
                scenes="strips",
                methods__merge_method=method,
            ),
            row(f"{method}.observations", "all", *STACKED, scenes="dates", methods__merge_method=method),
        )
    ),
    row("geomedian.iterations", 1, "pixels", scenes="odd", methods__merge_method="geomedian"),
    # output
    row("output.artifacts", "full", "files"),
    row("output.compression", "zstd", "mosaic file", "scene_index file"),
    row("output.level", 9, "mosaic file", "scene_index file", scenes="strips"),
    row("output.predictor", False, "mosaic file"),
    row("output.hrefs", "absolute", check=has_hrefs("file://{out}/m/mosaic.tif")),
    row("output.public_url", "https://data.example.org/x", check=has_alternate("https://data.example.org/x/m/mosaic.tif")),
    row(
        "output.tiles_url",
        "https://t.example.org/{z}/{x}/{y}?url={mosaic}",
        check=has_tiles,
        output__public_url="https://data.example.org/x",
    ),
    row("output.license", "CC-BY-4.0", check=has_rights(license="CC-BY-4.0")),
    row("output.license", "https://example.org/terms", check=has_rights(license="other")),
    row(
        "output.providers",
        [{"name": "Example Agency", "roles": ["producer"]}],
        check=has_rights(providers=[{"name": "Example Agency", "roles": ["producer"]}]),
    ),
    row("output.inputs_geoparquet", True, "files", check=has_inputs_table),
    Row(path="output.max_pixels", value=100, refused="max_pixels"),
    row("output.catalog", True, check=has_catalog),
    # io: of files of this machine only the second reader shows; the rest is below
    row("io.raster_backend", "fsspec", scenes="strips"),
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
    surface = {"bounds": [LEFT, TOP - 96, LEFT + 96, TOP], "gain": [[[1.1, 1.2], [1.0, 1.1]]] * 2, "offset": None}
    scene = {"surface": surface, "pattern": None, "fit": None}
    surfaces = {"format": "mosaic-processor surfaces", "version": 1, "scenes": {"scene_1_1": scene}}
    (folder / "surfaces.json").write_text(json.dumps(surfaces))
    flags = {name.replace("__", "."): method for name, method in TRUE.items()}
    masked = {**flags, "robust_regression.vector_mask": ["exclude", CLOUDS]}
    (folder / "blocks.npz").write_bytes(run_quietly(items, folder / "blocks", masked).files["matched_blocks.npz"])
    coarse = gradient_truth(40, 40, 2, left=LEFT - 20, top=TOP + 20, pixel=10)
    coarse[:, 20:24, 10:20] = 777
    write_scene(folder / "known.tif", coarse, dtype="uint16", left=LEFT - 20, top=TOP + 20, pixel=10)
    spots = np.zeros((1, 40, 40))
    spots[0, 6:16, 10:20] = 1
    write_scene(folder / "spots.tif", spots, dtype="uint8", left=LEFT - 20, top=TOP + 20, pixel=10)
    raster = known.read_block_maps()["reference"]
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


def make_fringed(folder: Path) -> Path:
    """Two scenes of two bands, the second of which begins later."""
    truth, paths = gradient_truth(64, 96, 2), []
    for name, left in (("a", 0), ("b", 32)):
        array = truth[:, :, left : left + 64] * (1 + 0.2 * left / 32)
        array[:, :6], array[1, :, :9] = 0, 0
        paths.append(write_scene(folder / f"{name}.tif", array, dtype="uint16", left=LEFT + left))
    return write_items(folder, paths)


def make_stacked(folder: Path) -> Path:
    """Two scenes whose Items have an asset a band, and one that marks a corner as cloud by the value 3."""
    truth = gradient_truth(64, 96, 2)
    clouds = np.zeros((64, 96), np.uint8)
    clouds[:20, 30:60] = 3
    paths = []
    for name, left in (("a", 0), ("b", 32)):
        window = (..., slice(left, left + 64))
        for key, band, gain in (("red", 0, 1.0), ("nir", 1, 1.4)):
            array = truth[band][window] * (gain + 0.1 * left / 32)
            paths.append(write_scene(folder / key / f"{name}.tif", array, dtype="uint16", left=LEFT + left))
        write_scene(folder / "qa" / f"{name}.tif", clouds[window], nodata=None, left=LEFT + left)
    items = write_items(folder, [path for path in paths if path.parent.name == "red"], asset="red", bands=["red"])
    document = json.loads(items.read_text())
    for feature in document["features"]:
        for key in ("nir", "qa"):
            bands = {"bands": [{"name": key}]} if key == "nir" else {"bands": []}
            feature["assets"][key] = {**feature["assets"]["red"], "href": f"./{key}/{feature['id']}.tif", **bands}
    items.write_text(json.dumps(document))
    return items


def make_dates(folder: Path) -> Path:
    """Five dates of one tile; four have a cloud, each of which reaches farther down."""
    truth, random, paths = gradient_truth(64, 64, 2), np.random.default_rng(6), []
    truth += 60 * random.normal(size=truth.shape)
    for date in range(5):
        array = truth + 3 * random.normal(size=truth.shape)
        array[:, 8 : 8 + 10 * date, 20:40] += 900 + 40 * random.normal(size=(2, 10 * date, 20))
        paths.append(write_scene(folder / f"d{date}.tif", array, dtype="uint16"))
    return write_items(folder, paths)


MAKERS: Mapping[str, Callable[[Path], Path | str]] = {
    "plain": make_equipped,
    "odd": make_odd,
    "beside": make_beside,
    "strips": make_strips,
    "twofold": make_twofold,
    "remote": make_remote,
    "stacked": make_stacked,
    "fringed": make_fringed,
    "dates": make_dates,
}


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("every-parameter"), MAKERS)


# The tests


RUN = [row for row in ROWS if not row.refused and not row.refused_before]
FIRST = {row.path: row for row in reversed(RUN)}  # of each parameter; its further values are for `make test-all`


@pytest.mark.parametrize(
    "row", [row if row is FIRST[row.path] else exhaustive(row)[0] for row in RUN], ids=lambda row: row.name
)
def test_a_parameter_changes_what_it_says_and_nothing_else(row: Row, bench: Bench) -> None:
    before = bench.run_once(row.scenes, row.base)
    after = bench.run(row.scenes, {**row.base, row.path: row.value})
    assert find_changes(find_facets(before), find_facets(after)) == row.changes
    assert find_changed_files(before, after) <= {file for facet in row.changes for file in FILES.get(facet, ())}
    is_decisive = next(parameter.is_decisive for parameter in iter_parameters() if parameter.path == row.path)
    assert find_changes(find_settings(before), find_settings(after)) == ({row.path} if is_decisive else set())
    if not is_decisive:
        assert find_changes(before.texts, after.texts) == set()
    if row.check is not None:
        assert row.check(before, after)


#: Files that a facet is read from.
FILES = {
    "mosaic file": ["mosaic.tif"],
    "scene_index file": ["scene_index.tif"],
    "observations file": ["observations.tif"],
    "seamlines file": ["seamlines.gpkg"],
    "adjustments": ["adjustments.json"],
    "statistics": ["adjustments.json"],
    "block maps": ["block_maps.npz"],
    "agreement": ["agreement.tif", "matched_blocks.npz"],
    "surfaces": ["surfaces.json"],
}


def find_changes(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """Names under which two mappings differ."""
    return {
        name for name in before.keys() | after.keys() if (name in before, before.get(name)) != (name in after, after.get(name))
    }


def find_changed_files(before: Outcome, after: Outcome) -> set[str]:
    """Published files that both have and that differ, without those that tell of the run as a whole."""
    told = {"config.yaml", "report.json", "report.html"}
    return {path for path in before.files.keys() & after.files.keys() if before.files[path] != after.files[path]} - told


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
    rows = (
        {row.path for row in ROWS}
        | {f"io.{name}" for name in STORAGE}
        | {f"kubernetes.{name}" for name in JOBS.keys() | BESIDE}
    )
    assert rows == {parameter.path for parameter in iter_parameters()}


#: How storage is reached, by parameter: a value, and the protocol whose options have it.
STORAGE: Mapping[str, tuple[Any, str]] = {
    "retries": (9, "s3"),
    "timeout": (7.0, "s3"),
    "s3_endpoint": ("http://127.0.0.1:8333", "s3"),
    "s3_region": ("eu-central-1", "s3"),
    "s3_profile": ("mosaics", "s3"),
    "s3_access_key_id": ("key", "s3"),
    "s3_secret_access_key": ("secret", "s3"),
    "s3_session_token": ("token", "s3"),
    "s3_anonymous": (True, "s3"),
    "s3_requester_pays": (True, "s3"),
    "s3_path_style": (True, "s3"),
    "gs_endpoint": ("http://127.0.0.1:4443", "gs"),
    "gs_credentials": ("account.json", "gs"),
    "gs_anonymous": (True, "gs"),
    "gs_user_project": ("payer", "gs"),
    "azure_account": ("mosaics", "az"),
    "azure_endpoint": ("http://127.0.0.1:10000/devstoreaccount1", "az"),
    "azure_access_key": ("a2V5", "az"),
    "azure_sas_token": ("sv=2025&sig=x", "az"),
    "azure_connection_string": ("UseDevelopmentStorage=true", "az"),
    "azure_anonymous": (True, "az"),
    "http_hosts": (["data.example.org"], "http"),
    "http_headers": ("X-Api-Key: key", "http"),
    "http_bearer": ("token", "http"),
}


KEYS = ("s3_access_key_id", "s3_secret_access_key", "s3_session_token")  # of these, some only go with others


@pytest.mark.parametrize("name", STORAGE)
def test_an_option_of_storage_reaches_what_reads_and_writes_there_and_nothing_else(name: str, tmp_path: Path) -> None:
    """What a server makes of it: unit/storage and integration/test_places.py."""
    value, protocol = STORAGE[name]
    if name == "gs_credentials":
        value = str(tmp_path / value)
        Path(value).touch()
    keys: dict[str, Any] = {"s3_access_key_id": "k", "s3_secret_access_key": "s"} if name in KEYS else {}
    keys |= {"http_bearer": "t"} if name == "http_hosts" else {}
    plain, changed = (resolve_access(io_model()(**flags), environment={}) for flags in (keys, {**keys, name: value}))
    assert changed.fsspec_options(f"{protocol}://") != plain.fsspec_options(f"{protocol}://")
    if name not in {"retries", "timeout"}:
        for other in {"s3", "gs", "az"} - {protocol}:
            assert changed.fsspec_options(f"{other}://") == plain.fsspec_options(f"{other}://")
        own, other = (access.fsspec_options("http://")["client_kwargs"].keys() for access in (changed, plain))
        assert own == other or protocol == "http"


#: What the Jobs on Kubernetes become, by parameter: a value, and the path of what it changes in the manifest of a phase.
JOBS: Mapping[str, tuple[Any, tuple[str, ...]]] = {
    "image": ("registry.example.org/m:2", ("spec", "template", "spec", "containers", "0", "image")),
    "service_account": ("reader", ("spec", "template", "spec", "serviceAccountName")),
    "cpu": (3.5, ("spec", "template", "spec", "containers", "0", "resources", "requests", "cpu")),
    "cpu_limit": (8.0, ("spec", "template", "spec", "containers", "0", "resources", "limits")),
    "retries_per_index": (7, ("spec", "backoffLimitPerIndex")),
    "deadline": (7200, ("spec", "activeDeadlineSeconds")),
    "keep_finished": (7201, ("spec", "ttlSecondsAfterFinished")),
    "queue": ("mosaics", ("spec", "suspend")),
}
#: Decided before: the tests below, unit/execution/kubernetes/test_coordinator.py, and for shards test_kubernetes_run.py.
BESIDE = {"namespace", "on_interrupt", "pending_limit", "shards"}


@pytest.mark.parametrize("name", JOBS)
def test_a_parameter_of_jobs_is_in_the_manifest(name: str) -> None:
    value, path = JOBS[name]
    job = PhaseJob(phase="measure", tasks=40, shards=8, memory_bytes=1 << 30, scratch_bytes=1 << 30, deadline_seconds=3600)
    found = []
    for settings in (Kubernetes(image="m:1"), Kubernetes(**{"image": "m:1", name: value})):
        worker = read_worker(None, settings)
        assert worker is not None
        manifest: Any = build_job(job, worker, settings, run_url="s3://bucket/run")
        for key in path:
            manifest = manifest[int(key)] if key.isdecimal() else manifest.get(key)
        found.append(manifest)
    assert found[0] != found[1]
    assert name in {"queue", "cpu", "cpu_limit"} or found[1] == value


def test_the_namespace_of_jobs_is_the_one_named_or_that_of_the_kubeconfig(tmp_path: Path) -> None:
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "own"}}
    users = [{"name": "u", "user": {}}]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps({"clusters": [cluster], "contexts": [context], "users": users, "current-context": "x"}))
    for wish, found in ((None, "own"), ("mosaics", "mosaics")):
        api = connect(Kubernetes(namespace=wish).namespace, {"KUBECONFIG": str(path)}, Pace())
        assert api.namespace == found
        api.close()


def test_what_an_interrupt_does_to_jobs_is_shown_on_a_server() -> None:
    shown = Path(__file__).parents[1] / "unit" / "execution" / "kubernetes" / "test_coordinator.py"
    assert 'settings={"on_interrupt": "delete"}' in shown.read_text(encoding="utf-8")


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

    watch("processor.execution.opening", "map_ordered", "threads")
    watch("processor.publish.assemble", "publish", "threads")
    watch("processor.execution.workbench", "RasterReader", "cache_bytes")
    watch("processor.execution.passes", "map_ordered", "threads")
    watch("processor.execution.passes", "Pyramid", "window_tiles")
    flags = {"image_threads": 3, "io_threads": 5, "tile_threads": 7, "cache": 0.001, "window_size": 2048}
    bench.run("strips", {f"shared.{name}": value for name, value in flags.items()})
    assert seen == {
        "processor.execution.opening.map_ordered": {3},
        "processor.publish.assemble.publish": {5},
        "processor.execution.workbench.RasterReader": {1_000_000},
        "processor.execution.passes.map_ordered": {7},
        "processor.execution.passes.Pyramid": {4},
    }
