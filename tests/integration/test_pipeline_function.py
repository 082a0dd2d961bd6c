"""The Python function at work: what it takes, where the mosaic ends up, and what it returns."""

from __future__ import annotations

import inspect
import json
import logging
import os
import types
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pystac
import pytest
import rasterio
from commands import make_items, read_files
from outcomes import leaving_out_drawings
from rio_cogeo.cogeo import cog_validate
from scenes import gradient_truth, write_scene

from processor.api import pipeline
from processor.errors import ConfigError, InputError
from processor.process.threads import count_processors

KEYS = {
    "output",
    "temp_dir",
    "num_input_images",
    "start_time",
    "end_time",
    "duration_seconds",
    "resolved_shared_cache",
    "resolved_shared_image_threads",
    "resolved_shared_io_threads",
    "resolved_shared_tile_threads",
}
NAMES = ("a", "b", "c")
THREADS = ("shared_image_threads", "shared_io_threads", "shared_tile_threads")


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("scenes"), edge=90)


@pytest.fixture(scope="module")
def mosaic(items: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What the function makes of the scenes with nothing else set."""
    folder = tmp_path_factory.mktemp("mosaic")
    with leaving_out_drawings():
        pipeline(items, folder / "m.tif")
    return (folder / "m.tif").read_bytes()


@pytest.fixture(autouse=True)
def _quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder to work in, and no drawings."""
    monkeypatch.chdir(tmp_path)
    with leaving_out_drawings():
        yield


def read_document(items: Path) -> dict[str, Any]:
    """The ItemCollection with absolute hrefs."""
    document: dict[str, Any] = json.loads(items.read_text())
    for feature in document["features"]:
        feature["assets"]["image"]["href"] = str(items.parent / feature["assets"]["image"]["href"])
    return document


# What it returns


def test_the_result_says_where_the_mosaic_is_and_how_it_was_made(items: Path, mosaic: bytes, tmp_path: Path) -> None:
    result = pipeline(str(items), "out/m.tif", shared_cache=0.25, shared_image_threads=3, shared_tile_threads=None)
    assert result.keys() == {*KEYS, "item"}
    assert result["output"] == "out/m.tif"
    assert (tmp_path / "out" / "m.tif").read_bytes() == mosaic
    assert json.loads(Path(result["item"]).read_text())["assets"]["mosaic"]["href"] == f"file://{tmp_path}/out/m.tif"
    assert sorted(read_files(tmp_path / "out")) == sorted(
        ["m.tif", *(f"m/{name}" for name in read_files(tmp_path / "out" / "m"))]
    )
    assert not (tmp_path / "out" / "m" / "mosaic.tif").exists()
    assert result["num_input_images"] == 3
    assert result["temp_dir"] is None
    start, end = (datetime.fromisoformat(result[key]) for key in ("start_time", "end_time"))
    assert start.microsecond == 0
    assert abs((end - start).total_seconds() - result["duration_seconds"]) <= 2
    resolved = {name: result[f"resolved_shared_{name}"] for name in ("cache", "image_threads", "io_threads", "tile_threads")}
    assert resolved == {"cache": 0.25, "image_threads": 3, "io_threads": 4, "tile_threads": 1}


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, (0.125, 8, 4, count_processors())),
        (dict.fromkeys(THREADS, "cpu"), (0.125, *[count_processors()] * 3)),
        ({"shared_cache": None, "shared_image_threads": None, "shared_io_threads": None}, (None, 1, 1, count_processors())),
    ],
    ids=["auto", "cpu", "null"],
)
def test_threads_and_cache_are_told_as_numbers(items: Path, keywords: dict[str, Any], expected: tuple[Any, ...]) -> None:
    result = pipeline(items, "m.tif", **keywords)
    assert (
        tuple(result[f"resolved_shared_{name}"] for name in ("cache", "image_threads", "io_threads", "tile_threads"))
        == expected
    )


def test_scratch_files_go_to_the_folder_given_and_stay_if_asked_for(items: Path, mosaic: bytes, tmp_path: Path) -> None:
    result = pipeline(items, "m.tif", shared_temp_dir=tmp_path / "scratch", delete_temp_dir=False)
    assert result["temp_dir"] == str(tmp_path / "scratch")
    assert len(list((tmp_path / "scratch").iterdir())) == 1
    pipeline(items, "m.tif", shared_temp_dir=tmp_path / "other")
    assert list((tmp_path / "other").iterdir()) == []
    assert Path("m.tif").read_bytes() == mosaic


# What it takes


def test_all_ways_to_name_the_scenes_give_the_same_mosaic(items: Path, mosaic: bytes) -> None:
    folder = items.parent
    document = read_document(items)
    ways: dict[str, Any] = {
        "collection": items,
        "decoded": document,
        "library": pystac.ItemCollection.from_dict(document),
        "object": types.SimpleNamespace(to_dict=lambda: document),
        "folder": folder,
        "pattern": f"{folder}/?.tif",
        "list": [f"{folder}/{name}.tif" for name in "cab"],
        "paths": tuple(folder / f"{name}.tif" for name in NAMES),
    }
    mosaics = {}
    for way, images in ways.items():
        assert pipeline(images, f"{way}.tif", matching_local_method=None)["num_input_images"] == 3
        with rasterio.open(f"{way}.tif") as raster:
            mosaics[way] = raster.read().tobytes()
    assert set(mosaics.values()) == {mosaics["collection"]}
    assert Path("collection.tif").read_bytes() != mosaic  # or else nothing would have been compared


def test_a_relative_href_of_a_decoded_collection_starts_from_the_working_folder(
    items: Path, mosaic: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(items.parent)
    pipeline(json.loads(items.read_text()), tmp_path / "m.tif")
    assert (tmp_path / "m.tif").read_bytes() == mosaic


def test_a_single_scene_is_a_mosaic_too(items: Path) -> None:
    assert pipeline(items.parent / "a.tif", "m.tif")["num_input_images"] == 1


@pytest.mark.parametrize("value", [True, False])
def test_a_cog_is_written_whatever_is_said(items: Path, mosaic: bytes, value: bool) -> None:
    pipeline(items, "m.tif", shared_save_as_cog=value)
    assert Path("m.tif").read_bytes() == mosaic
    assert cog_validate("m.tif")[0]


def test_every_default_passed_on_purpose_changes_nothing(items: Path, mosaic: bytes) -> None:
    parameters = list(inspect.signature(pipeline).parameters.values())[2:]
    pipeline(items, "m.tif", **{parameter.name: parameter.default for parameter in parameters})
    assert Path("m.tif").read_bytes() == mosaic


# Without merging, the last stage's rasters


def list_outputs(items: Path, **keywords: Any) -> list[str]:
    """The output with merging off, the scenes given in the order c, a, b; every file is there and a valid COG."""
    images = [items.parent / f"{name}.tif" for name in "cab"]
    output = pipeline(images, "out/m.tif", merge_method=None, **keywords)["output"]
    assert isinstance(output, list)
    assert all(cog_validate(file)[0] for file in output)
    assert not Path("out/m.tif").exists()
    return output


def test_without_merging_the_output_is_the_last_stage_in_input_order(items: Path) -> None:
    assert list_outputs(items) == [f"out/m/mask_rasters/{name}.tif" for name in "cab"]
    assert list_outputs(items, clip_method=None) == [f"out/m/align_rasters/{name}.tif" for name in "cab"]


def test_of_all_stages_that_are_kept_only_the_last_is_the_output(items: Path) -> None:
    output = list_outputs(items, output_artifacts="full", clip_method=None, align_method=None)
    assert output == [f"out/m/local_block_adjustment/{name}.tif" for name in "cab"]
    assert len(list(Path("out/m/global_regression").iterdir())) == 3


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("my cuts", [f"my cuts/{name}.tif" for name in "cab"]),
        ("$/cut of $.tif", [f"{name}/cut of {name}.tif" for name in "cab"]),
        (("first.tif", "second.tif", "third.tif"), ["first.tif", "second.tif", "third.tif"]),
    ],
)
def test_the_output_lies_where_it_was_to_be_kept(items: Path, setting: Any, expected: list[str], tmp_path: Path) -> None:
    output = list_outputs(items, mask_rasters_output_images=setting, shared_tile_threads=1)
    assert output == [f"{tmp_path}/{path}" for path in expected]
    in_place = list_outputs(items)
    assert [Path(path).read_bytes() for path in output] == [Path(path).read_bytes() for path in in_place]


def test_seamlines_alone_have_no_raster(items: Path) -> None:
    off = dict.fromkeys(("matching_global_method", "matching_local_method", "align_method", "clip_method"))
    assert list_outputs(items, **off) == []
    assert Path("out/m/seamlines.gpkg").is_file()


# Stage rasters


def test_stage_rasters_are_cogs_and_assets_named_for_their_stage(items: Path, mosaic: bytes) -> None:
    stages = ("global_regression", "local_block_adjustment", "align_rasters", "mask_rasters")
    result = pipeline(
        items,
        "m.tif",
        global_regression_output_images="global",
        local_block_adjustment_output_images="$_local.tif",
        align_rasters_output_images=["1.tif", "2.tif", "3.tif"],
        output_artifacts="full",
    )
    assert Path("m.tif").read_bytes() == mosaic
    assets = json.loads(Path(result["item"]).read_text())["assets"]
    places = {
        "global_regression": [f"global/{name}.tif" for name in NAMES],
        "local_block_adjustment": [f"{name}_local.tif" for name in NAMES],
        "align_rasters": ["1.tif", "2.tif", "3.tif"],
        "mask_rasters": [f"m/mask_rasters/{name}.tif" for name in NAMES],
    }
    for stage in stages:
        for name, place in zip(NAMES, places[stage], strict=True):
            asset = assets[f"{stage}_{name}"]
            file = asset["href"].removeprefix("file://").replace("./", "m/")
            assert os.path.relpath(file) == place
            assert cog_validate(place)[0]
            assert asset["file:size"] == Path(place).stat().st_size
            assert asset["type"] == "image/tiff; application=geotiff; profile=cloud-optimized"
            assert asset["title"] == f"{name} after {stage}"


# What is refused


def test_a_mask_without_anything_to_cut_by_is_refused_in_the_words_of_the_keywords(items: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        pipeline(items, "m.tif", seamline_method=None)
    assert str(caught.value) == (
        "clip_method = 'mask_rasters' has nothing to cut by: switch seamline_method on, give mask_rasters_vector_mask, "
        "or switch clip_method off (null)"
    )
    assert not Path("m.tif").exists()


def test_no_pixel_is_read_of_what_is_refused(items: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> None:
        pytest.fail("a pixel was read")

    monkeypatch.setattr("processor.geotiff.reader.RasterReader.read", read)
    places = {"align_rasters_output_images": ["1.tif"], "mask_rasters_output_images": "https://host/$.tif"}
    for keywords in (*({name: value} for name, value in places.items()), {"align_rasters_tap": 3}, {"seamline_method": None}):
        with pytest.raises(ConfigError):
            pipeline(items, "m.tif", **keywords)


def test_a_mosaic_never_replaces_one_of_its_scenes(tmp_path: Path) -> None:
    scenes = [
        write_scene(tmp_path / "in" / f"{name}.tif", gradient_truth(64, 64), dtype="uint16", left=left)
        for name, left in (("a", 0.0), ("b", 30.0))
    ]
    before = read_files(tmp_path / "in")
    for place in (scenes[1], "in/../in/b.tif"):
        with pytest.raises(ConfigError, match=r"shared_output_image_path: .* is the place of scene b too"):
            pipeline(tmp_path / "in", place)
    pipeline(tmp_path / "in", tmp_path / "in" / "mosaic.tif")  # the second time it would be a scene itself
    with pytest.raises(ConfigError, match="scene mosaic"):
        pipeline(tmp_path / "in", tmp_path / "in" / "mosaic.tif")
    assert {path: data for path, data in read_files(tmp_path / "in").items() if path in before} == before


def test_errors_of_the_input_name_keywords_too(items: Path) -> None:
    with pytest.raises(InputError, match="more than inputs_max_scenes 2"):
        pipeline(items, "m.tif", inputs_max_scenes=2)


def test_a_place_that_cannot_be_written_is_refused(items: Path) -> None:
    Path("file").touch()
    with pytest.raises(ConfigError, match=r"shared_output_image_path in file/x: .* is not a folder"):
        pipeline(items, "file/x/m.tif")


# Again


def test_what_exists_under_the_name_is_replaced(items: Path, mosaic: bytes) -> None:
    pipeline(items, "m.tif", shared_output_dtype="float32")
    assert Path("m.tif").read_bytes() != mosaic
    pipeline(items, "m.tif", matching_local_method=None)
    assert not Path("m/block_maps.npz").exists()
    pipeline(items, "m.tif")
    assert Path("m.tif").read_bytes() == mosaic


# Logs


@pytest.mark.parametrize("asked_by", ["keyword", "process block"])
def test_debug_logs_show_every_task(items: Path, caplog: pytest.LogCaptureFixture, asked_by: str) -> None:
    logger = logging.getLogger("processor")
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        pipeline(items, "m.tif")
        assert "task-finished" not in {getattr(record, "event", None) for record in caplog.records}
        if asked_by == "keyword":
            pipeline(items, "m.tif", shared_debug_logs=True)
        else:
            document = read_document(items)
            pipeline({**document, "process": [{"tasks": {"mosaic": {"shared_debug_logs": True}}}]}, "m.tif")
        assert "task-finished" in {getattr(record, "event", None) for record in caplog.records}
        assert logger.level == logging.INFO
    finally:
        logger.setLevel(level)
