"""Where the user wants files to be: names that settings stand for, and those that are refused before any work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from records import make_artifact, make_scene

from processor.config import Config, load_config
from processor.errors import ConfigError
from processor.publish.artifacts import ArtifactFile
from processor.publish.conflicts import check_places
from processor.publish.output_paths import Copy, find_kept_stages, make_copies, place_images

HERE = Path.cwd()


#: In name order, as everywhere; the input order is b, a.
SCENES = tuple(make_scene(name, priority=1 - i, href=f"/data/scenes/{name}.tif") for i, name in enumerate("ab"))


def load(flags: dict[str, Any]) -> Config:
    return load_config(flags=flags, environment={})


def place(setting: Any) -> dict[str, str]:
    return place_images(setting, SCENES, parameter="align_rasters.output_images")


# Rasters of a stage


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("/out/aligned", {"a": "/out/aligned/a.tif", "b": "/out/aligned/b.tif"}),
        ("/out/aligned/", {"a": "/out/aligned/a.tif", "b": "/out/aligned/b.tif"}),
        ("aligned", {"a": f"{HERE}/aligned/a.tif", "b": f"{HERE}/aligned/b.tif"}),
        ("s3://bucket/aligned", {"a": "s3://bucket/aligned/a.tif", "b": "s3://bucket/aligned/b.tif"}),
        ("/out/v1.2", {"a": "/out/v1.2/a.tif", "b": "/out/v1.2/b.tif"}),
        ("/out/$_Global.tif", {"a": "/out/a_Global.tif", "b": "/out/b_Global.tif"}),
        ("/out/$/of_$.TIFF", {"a": "/out/a/of_a.TIFF", "b": "/out/b/of_b.TIFF"}),
        ("s3://bucket/$.tif", {"a": "s3://bucket/a.tif", "b": "s3://bucket/b.tif"}),
        (("/out/first.tif", "second.tif"), {"b": "/out/first.tif", "a": f"{HERE}/second.tif"}),
    ],
)
def test_a_folder_a_template_and_a_list_in_input_order_name_a_file_a_scene(setting: Any, expected: dict[str, str]) -> None:
    assert place(setting) == expected


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (("/out/first.tif",), "1 files for 2 scenes; give one for each, in input order"),
        (("/out/x.tif", "/out/x.tif"), "two scenes would be written to one file"),
        (("/out/x.tif", "/out/y.jpg"), "/out/y.jpg is to be a GeoTIFF"),
        ("/out/x.tif", "is one file for 2 scenes; put a $"),
        ("/out/$", "/out/b is to be a GeoTIFF, so its name must end in .tif"),
        ("/out/$.png", "must end in .tif"),
    ],
)
def test_what_does_not_fit_the_scenes_is_refused_by_name(setting: Any, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        place(setting)
    assert str(caught.value).startswith("align_rasters.output_images")
    assert words in str(caught.value)


def test_a_single_scene_may_have_a_single_file() -> None:
    assert place_images("/out/x.tif", SCENES[:1], parameter="p") == {"a": "/out/x.tif"}


# Which stages are kept


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({}, []),
        ({"output.artifacts": "full"}, ["global_regression", "local_block_adjustment", "align_rasters", "mask_rasters"]),
        (
            {"output.artifacts": "full", "methods.align_method": None},
            ["global_regression", "local_block_adjustment", "mask_rasters"],
        ),
        ({"align_rasters.output_images": "s3://bucket/x"}, ["align_rasters"]),
        ({"align_rasters.output_images": "s3://bucket/x", "methods.align_method": None}, []),
        ({"methods.merge_method": None}, ["mask_rasters"]),
        ({"methods.merge_method": None, "methods.clip_method": None}, ["align_rasters"]),
        (
            {"methods.merge_method": None, "global_regression.output_images": "s3://bucket/x"},
            ["global_regression", "mask_rasters"],
        ),
    ],
)
def test_stages_are_kept_that_are_on_and_asked_for_and_the_last_without_merging(
    flags: dict[str, Any], expected: list[str]
) -> None:
    assert [kept.method for kept in find_kept_stages(load(flags), SCENES)] == expected


def test_a_kept_stage_knows_its_place_or_goes_beside_the_item() -> None:
    flags = {"output.artifacts": "full", "align_rasters.output_images": "s3://bucket/x"}
    urls = {kept.method: kept.urls for kept in find_kept_stages(load(flags), SCENES)}
    assert urls["align_rasters"] == {"a": "s3://bucket/x/a.tif", "b": "s3://bucket/x/b.tif"}
    assert {stage for stage, places in urls.items() if places is None} == set(urls) - {"align_rasters"}


# Places that would be lost


def check(flags: dict[str, Any], **settings: Any) -> None:
    check_places(load(flags), SCENES, **({"read": {}, "published": {}} | settings))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (
            {"global_regression.output_images": "s3://bucket", "align_rasters.output_images": "s3://bucket/"},
            "align_rasters.output_images: s3://bucket/b.tif is the place of global_regression.output_images too",
        ),
        (
            {"global_regression.output_images": f"{HERE}/x/$.tif", "mask_rasters.output_images": f"{HERE}/y/../x"},
            f"mask_rasters.output_images: {HERE}/y/../x/b.tif is the place of global_regression.output_images too",
        ),
        (
            {"mask_rasters.output_images": "/data/scenes"},
            "mask_rasters.output_images: /data/scenes/b.tif is the place of scene b too, which would be lost",
        ),
        ({"global_regression.save_adjustments": "/data/scenes/b.tif"}, "is the place of scene b too"),
        (
            {"local_block_adjustment.save_block_maps": ["s3://bucket/a.tif", "s3://bucket/$.tif"]},
            "s3://bucket/a.tif is the place of local_block_adjustment.save_block_maps too",
        ),
        (
            {
                "voronoi_center_seamline.output_mask": "s3://bucket/x.gpkg",
                "voronoi_center_seamline.debug_vectors_path": "s3://bucket/x.gpkg",
            },
            "debug_vectors_path: s3://bucket/x.gpkg is the place of voronoi_center_seamline.output_mask too",
        ),
        ({"align_rasters.output_images": "https://host/$.tif"}, "align_rasters.output_images: https://host/b.tif is read only"),
        ({"global_regression.save_adjustments": "ftp://host/a.json"}, "'ftp' is not supported"),
        ({"global_regression.save_adjustments": f"{__file__}/a.json"}, "is not a folder; name"),
        ({"voronoi_center_seamline.output_mask": "x.shp"}, "must end in .gpkg"),
    ],
)
def test_a_place_of_two_files_or_of_a_scene_and_one_that_cannot_be_written_are_refused(
    flags: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        check(flags)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "place", ["/dev/null", "/dev/stdout", "/dev/fd/1", "/dev/new", "/dev/../dev/full", "/proc/self/mem", "/sys/new"]
)
def test_devices_are_refused_whatever_they_lead_to(place: str) -> None:
    with pytest.raises(ConfigError, match="among the devices of this machine"):
        check({"global_regression.save_adjustments": place})


def test_files_in_memory_are_no_devices() -> None:
    check({"global_regression.save_adjustments": "/dev/shm/mosaic-adjustments.json"})  # noqa: S108 - is not made


def test_a_folder_that_leads_to_devices_is_no_way_around(tmp_path: Path) -> None:
    (tmp_path / "way").symlink_to("/dev")
    with pytest.raises(ConfigError, match="among the devices of this machine"):
        check({"global_regression.save_adjustments": str(tmp_path / "way" / "stdout")})


@pytest.mark.parametrize(
    "place",
    [
        "s3://bucket/scenes/a.json",
        "s3a://bucket/scenes/./x/../A.JSON",
        "S3://bucket/scenes//a.json",
        "s3://bucket/scenes/%61.json",
    ],
)
def test_spellings_of_one_object_are_one_place(place: str) -> None:
    with pytest.raises(ConfigError, match="is the place of INPUT too"):
        check({"global_regression.save_adjustments": place}, read={"s3://bucket/scenes/a.json": "INPUT"})


def test_the_mosaic_may_not_replace_a_scene() -> None:
    check({}, mosaic_url="mosaic.tif")
    with pytest.raises(ConfigError, match=r"shared_output_image_path: /data/scenes/\./b\.tif is the place of scene b too"):
        check({}, mosaic_url="/data/scenes/./b.tif")
    check({"methods.merge_method": None}, mosaic_url="/data/scenes/b.tif")  # none is made


def test_places_of_stages_that_are_off_do_not_count() -> None:
    flags: dict[str, Any] = {
        "global_regression.output_images": "/data/scenes",
        "global_regression.save_adjustments": "/data/scenes/b.tif",
        "methods.matching_global_method": None,
        "voronoi_center_seamline.output_mask": "s3://bucket/x.gpkg",
        "voronoi_center_seamline.debug_vectors_path": "s3://bucket/x.gpkg",
        "methods.seamline_method": None,
        "methods.clip_method": None,
    }
    check(flags)


# Copies


def make_product(key: str) -> ArtifactFile:
    artifact = make_artifact(key, f"{key}.x")
    return ArtifactFile(artifact=artifact, file=Path(f"{key}.x"))


KEYS = ("adjustments", "block_map_reference", "block_map_local_a", "block_map_local_b", "seamlines", "mosaic")


def test_copies_are_made_of_what_the_user_wants_elsewhere() -> None:
    flags = {
        "global_regression.save_adjustments": "s3://bucket/a.json",
        "local_block_adjustment.save_block_maps": ["/out/r.tif", "/out/$_Local.tif"],
        "voronoi_center_seamline.output_mask": "cells.gpkg",
    }
    copies = make_copies(load(flags), SCENES, [make_product(key) for key in KEYS])
    assert {copy.url: copy.file.stem for copy in copies} == {
        "s3://bucket/a.json": "adjustments",
        "/out/r.tif": "block_map_reference",
        "/out/a_Local.tif": "block_map_local_a",
        "/out/b_Local.tif": "block_map_local_b",
        f"{HERE}/cells.gpkg": "seamlines",
    }
    assert all(isinstance(copy, Copy) for copy in copies)


def test_no_copy_is_made_that_nobody_wants_or_of_what_there_is_not() -> None:
    assert make_copies(load({}), SCENES, [make_product(key) for key in KEYS]) == ()
    flags = {"global_regression.save_adjustments": "/out/a.json", "voronoi_center_seamline.output_mask": "/out/c.gpkg"}
    assert make_copies(load(flags), SCENES, [make_product("mosaic")]) == ()
