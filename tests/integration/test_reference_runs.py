"""Runs with references, whatever these are like; scenes that agree already; and that how a run is done is not in its result."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import CREATED, read_files
from known_truth import draw_fields
from numpy.typing import NDArray
from outcomes import Outcome, leaving_out_drawings, run_quietly
from rasterio.crs import CRS
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject, transform_bounds
from scenes import LEFT, TOP, UTM, write_items, write_scene

from processor.config import load_config
from processor.execution.run import Request, execute, prepare
from processor.execution.tasks import Cut
from processor.process.progress import Silent

F64 = NDArray[np.float64]

BANDS = ("red", "green", "blue")
SMALL = Cut(chunks_per_task=1, tile_blocks=1)
EDGE, STEP = 240, 160  # of four scenes, pixels
SIDE = EDGE + STEP
PLACES = {"a": (0, 0), "b": (0, STEP), "c": (STEP, 0), "d": (STEP, STEP)}
GAINS = {"a": (1.0, 0.0), "b": (1.15, -60.0), "c": (0.9, 80.0), "d": (1.05, 30.0)}


@pytest.fixture(scope="module")
def ground() -> F64:
    return draw_fields()[:, 100 : 100 + SIDE, 100 : 100 + SIDE]


def write_scenes(folder: Path, ground: F64, *, names: str = "abcd", differ: bool = True, reverse: bool = False) -> Path:
    """Four overlapping scenes, or some of them, with gains and offsets of their own or none; their ItemCollection."""
    paths = []
    for name in sorted(names, reverse=reverse):
        row, col = PLACES[name]
        gain, offset = GAINS[name] if differ else (1.0, 0.0)
        pixels = ground[:, row : row + EDGE, col : col + EDGE] * gain + offset
        place = {"left": LEFT + col, "top": TOP - row}
        paths.append(write_scene(folder / f"{name}.tif", pixels, dtype="uint16", descriptions=BANDS, **place))
    return write_items(folder, paths, bands=BANDS)


def average(ground: F64, cell: int) -> F64:
    bands, height, width = ground.shape
    return np.asarray(ground.reshape(bands, height // cell, cell, width // cell, cell).mean(axis=(2, 4)))


def write_reference(path: Path, ground: F64, *, cell: int = 8, clouded: Any = None, nodata: float | None = None) -> str:
    """The ground on coarser pixels; a cloud of 6000 or of nodata in some of them."""
    coarse = average(ground, cell)
    if clouded is not None:
        coarse[:, *clouded] = 6000 if nodata is None else nodata
    return str(
        write_scene(path, coarse.astype(np.float32), pixel=float(cell), nodata=nodata, descriptions=BANDS[: len(ground)])
    )


def read_mosaic(made: Outcome) -> F64:
    return np.asarray(made.read("mosaic.tif").values.astype(np.float64))


def compute_error(made: Outcome, ground: F64) -> float:
    """RMS of the difference to the ground, in its standard deviations, mean over bands."""
    difference = read_mosaic(made) - ground
    return float(np.mean(np.sqrt((difference**2).mean(axis=(1, 2))) / ground.std(axis=(1, 2))))


def use(preset: str, reference: str | None = None, **flags: Any) -> dict[str, Any]:
    return {
        "methods.preset": preset,
        **({} if reference is None else {"reference.images": reference}),
        **{key.replace("__", "."): value for key, value in flags.items()},
    }


# Scenes that agree already


@pytest.mark.parametrize("cell", [None, 8, 10])
@pytest.mark.parametrize("preset", ["satellite", "aerial"])
def test_scenes_that_agree_come_out_as_they_are(preset: str, cell: int | None, ground: F64, tmp_path: Path) -> None:
    items = write_scenes(tmp_path / "scenes", ground, differ=False)
    own = np.rint(ground)  # what the scenes show
    reference = None if cell is None else write_reference(tmp_path / "sensor.tif", own, cell=cell)
    made = run_quietly(items, tmp_path, use(preset, reference))
    assert np.abs(read_mosaic(made) - own).max() <= 1


# What references are like


def test_one_scene_alone_is_harmonised_to_the_reference(ground: F64, tmp_path: Path) -> None:
    items = write_scenes(tmp_path / "scenes", ground, names="b")
    own = ground[:, :EDGE, STEP:]
    reference = write_reference(tmp_path / "sensor.tif", ground)
    for number, preset in enumerate(("satellite", "aerial")):
        made = run_quietly(items, tmp_path / str(number), use(preset, reference))
        assert compute_error(made, own) < 0.03
    alone = run_quietly(items, tmp_path / "alone", use("satellite"))
    np.testing.assert_array_equal(read_mosaic(alone), np.rint(own * 1.15 - 60))


@pytest.mark.parametrize("nodata", [None, -1.0], ids=["bright", "nodata"])
def test_clouds_of_the_reference_do_not_reach_the_mosaic(nodata: float | None, ground: F64, tmp_path: Path) -> None:
    items = write_scenes(tmp_path / "scenes", ground)
    cloud = np.s_[12:24, 14:26]  # an eighth of scene a, and some of all others
    reference = write_reference(tmp_path / "sensor.tif", ground, clouded=cloud, nodata=nodata)
    made = run_quietly(items, tmp_path, use("satellite", reference))
    assert compute_error(made, ground) < 0.03


def test_a_reference_in_another_crs_does_as_well(ground: F64, tmp_path: Path) -> None:
    items = write_scenes(tmp_path / "scenes", ground)
    wide = np.pad(ground, ((0, 0), (40, 40), (40, 40)), mode="edge")
    path = write_other_crs(tmp_path / "sensor.tif", wide, "EPSG:3857", pixel=12.0)
    made = run_quietly(items, tmp_path, use("satellite", str(path)))
    assert compute_error(made, ground) < 0.05


def write_other_crs(path: Path, wide: F64, crs: str, *, pixel: float) -> Path:
    """A ground with 40 pixels beyond the scenes on each side, projected by averaging."""
    here = Affine(1, 0, LEFT - 40, 0, -1, TOP + 40)
    bands, height, width = wide.shape
    corners = (LEFT - 40, TOP + 40 - height, LEFT - 40 + width, TOP + 40)
    corners = (LEFT - 40, TOP + 40 - height, LEFT - 40 + width, TOP + 40)
    left, bottom, right, top = transform_bounds(UTM, crs, *corners)
    columns, rows = int((right - left) / pixel), int((top - bottom) / pixel)
    there = Affine(pixel, 0, left, 0, -pixel, top)
    coarse = np.full((bands, rows, columns), -1.0, np.float32)
    reproject(
        wide.astype(np.float32),
        coarse,
        src_transform=here,
        src_crs=CRS.from_user_input(UTM),
        dst_transform=there,
        dst_crs=CRS.from_user_input(crs),
        resampling=Resampling.average,
        dst_nodata=-1.0,
    )
    return write_scene(path, coarse, crs=crs, transform=there, nodata=-1.0, descriptions=BANDS)


@pytest.mark.slow
def test_a_reference_of_a_thousand_times_coarser_pixels_holds_the_level(tmp_path: Path) -> None:
    """Nine pixels of it under two scenes; of a scene that has less than 30 % of each pixel it could tell nothing."""
    ground = np.kron(draw_fields()[:1, 100:400, 100:400], np.ones((10, 10)))
    paths = [
        write_scene(tmp_path / "a.tif", ground[:, :, :2000] * 0.05, dtype="uint8", block=512, descriptions=BANDS[:1]),
        write_scene(
            tmp_path / "b.tif", ground[:, :, 1000:] * 0.06, dtype="uint8", block=512, left=LEFT + 1000, descriptions=BANDS[:1]
        ),
    ]
    reference = write_reference(tmp_path / "sensor.tif", ground * 0.1, cell=1000)
    made = run_quietly(write_items(tmp_path, paths), tmp_path / "run", use("satellite", reference))
    np.testing.assert_allclose(average(read_mosaic(made), 1000), average(ground * 0.1, 1000), rtol=0.03)


# What is known or held


@pytest.mark.slow
def test_surfaces_that_were_saved_make_the_same_mosaic(ground: F64, tmp_path: Path) -> None:
    items = write_scenes(tmp_path / "scenes", ground)
    reference = write_reference(tmp_path / "sensor.tif", ground)
    saved, dtype = str(tmp_path / "surfaces.json"), {"shared__output_dtype": "uint16"}  # else the reference's
    for number, (preset, image, later) in enumerate(
        (
            ("satellite", None, None),
            ("satellite", reference, reference),
            ("aerial", None, None),
            ("aerial", reference, None),  # nothing is left that a reference would decide
        )
    ):
        first = run_quietly(
            items, tmp_path / f"{number}-1", use(preset, image, surface_adjustment__save_surfaces=saved, **dtype)
        )
        again = run_quietly(
            items, tmp_path / f"{number}-2", use(preset, later, surface_adjustment__load_surfaces=saved, **dtype)
        )
        assert again.files["mosaic.tif"] == first.files["mosaic.tif"]
        assert json.loads(again.files["surfaces.json"]) == json.loads(first.files["surfaces.json"])


@pytest.mark.parametrize("preset", ["satellite", "aerial"])
def test_a_scene_that_comes_later_moves_no_pixel_of_those_whose_surfaces_are_known(
    preset: str, ground: F64, tmp_path: Path
) -> None:
    items = json.loads(write_scenes(tmp_path / "scenes", ground).read_text())
    early = tmp_path / "scenes" / "early.json"
    early.write_text(json.dumps(items | {"features": items["features"][:3]}))
    saved = str(tmp_path / "surfaces.json")
    first = run_quietly(early, tmp_path / "first", use(preset, surface_adjustment__save_surfaces=saved))
    flags = use(preset, surface_adjustment__load_surfaces=saved)
    second = run_quietly(tmp_path / "scenes" / "items.json", tmp_path / "second", flags)
    for name, known in json.loads(first.files["surfaces.json"])["scenes"].items():
        assert json.loads(second.files["surfaces.json"])["scenes"][name] == known
    owner, before = (made.read("scene_index.tif").values[0] for made in (second, first))
    kept = (owner == before) & (owner > 0)
    np.testing.assert_array_equal(read_mosaic(second)[:, kept], read_mosaic(first)[:, kept])
    for made, true in zip(read_mosaic(second), ground, strict=True):
        line = np.polyfit(made[kept], true[kept], 1)
        assert np.std((np.polyval(line, made) - true)[owner == 4]) < 0.1 * true.std()  # aerial has no offsets


def test_surfaces_on_gains_that_are_not_kept_are_reported(ground: F64, tmp_path: Path) -> None:
    items, saved = write_scenes(tmp_path / "scenes", ground), str(tmp_path / "surfaces.json")
    run_quietly(items, tmp_path / "first", use("satellite", surface_adjustment__save_surfaces=saved))
    flags = use("satellite", surface_adjustment__load_surfaces=saved, methods__matching_global_method="global_regression")
    made = run_quietly(items, tmp_path / "second", flags)
    report = json.loads(made.files["report.json"])
    (found,) = [one for one in report["findings"] if one["code"] == "surfaces-on-other-gains"]
    assert "4 scenes (a, b, c, d)" in found["message"]


@pytest.mark.parametrize("local", [None, "surface_adjustment"])
def test_scenes_that_are_held_keep_their_pixels(local: str | None, ground: F64, tmp_path: Path) -> None:
    items = write_scenes(tmp_path / "scenes", ground)
    held = {"robust_regression__specify_model_images": ["include", ["b"]], "methods__matching_local_method": local}
    made = run_quietly(items, tmp_path, use("satellite", **held))
    index = made.read("scene_index.tif").values[0]
    own = np.zeros_like(ground)
    own[:, :EDGE, STEP:] = np.rint(ground[:, :EDGE, STEP:] * 1.15 - 60)
    np.testing.assert_array_equal(read_mosaic(made)[:, index == 2], own[:, index == 2])
    others = (ground * 1.15 - 60)[:, index != 2]
    assert np.abs(read_mosaic(made)[:, index != 2] - others).max() < 12  # of which 3 to 11 are rounding and resampling


# However it is run


@pytest.fixture
def _without_drawings() -> Iterator[None]:
    with leaving_out_drawings():
        yield


def run_in(folder: Path, items: Path, flags: dict[str, Any], cut: Cut | None = None) -> dict[str, bytes]:
    """Everything that a run published in the same folder, which is gone then."""
    request = Request(inputs=(str(items),), destination=str(folder), item_id="m", overwrite=False, created=CREATED)
    execute(request, prepare(request, load_config(flags=flags, environment={})), Silent(), cut=cut)
    files = read_files(folder)
    shutil.rmtree(folder)
    return files


@pytest.mark.parametrize(
    ("preset", "referenced"),
    [("spectralmatch", False), *((preset, given) for preset in ("satellite", "aerial") for given in (False, True))],
)
@pytest.mark.usefixtures("_without_drawings")
def test_tasks_give_the_bytes_of_a_run(preset: str, referenced: bool, ground: F64, tmp_path: Path) -> None:
    items = write_scenes(tmp_path / "scenes", ground)
    reference = write_reference(tmp_path / "sensor.tif", ground) if referenced else None
    flags = use(preset, reference)
    expected = run_in(tmp_path / "out", items, flags)
    by_tasks = run_in(tmp_path / "out", items, flags, cut=SMALL)
    assert sorted(by_tasks) == sorted(expected)
    assert [name for name, data in by_tasks.items() if data != expected[name]] == []


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["satellite", "aerial"])
@pytest.mark.usefixtures("_without_drawings")
def test_threads_and_the_order_of_the_input_are_not_in_the_mosaic(preset: str, ground: F64, tmp_path: Path) -> None:
    reference = write_reference(tmp_path / "sensor.tif", ground)
    items = write_scenes(tmp_path / "scenes", ground)
    flags = use(preset, reference)
    expected = run_in(tmp_path / "out", items, flags)
    threads = {"shared.tile_threads": 5, "shared.image_threads": 3, "shared.io_threads": 2, "shared.window_size": 512}
    assert list_changes(run_in(tmp_path / "out", items, flags | threads), expected) <= {"m/config.yaml", "m/m.json"}
    shuffled = write_scenes(tmp_path / "scenes", ground, reverse=True)
    changed = list_changes(run_in(tmp_path / "out", shuffled, flags), expected)
    assert not changed & {"m/mosaic.tif", "m/scene_index.tif", "m/adjustments.json", "m/surfaces.json", "m/agreement.tif"}


def list_changes(files: dict[str, bytes], expected: dict[str, bytes]) -> set[str]:
    assert sorted(files) == sorted(expected)
    return {name for name, data in files.items() if data != expected[name]}
