"""A radiometric and a seamline method from outside the package: registered in a few lines, and known everywhere."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import rasterio
from commands import CREATED, call_command, make_items, read_files
from numpy.typing import NDArray
from shapely import Geometry, difference, union_all

from processor.api import pipeline
from processor.config import Config, flat_name, iter_parameters, load_config, render_yaml
from processor.config.document import render_parameters_page, render_sample
from processor.errors import ConfigError
from processor.execution.run import Request, prepare
from processor.model import Adjustment, BlockGrid, Cell, Grid, Window
from processor.model.options import Paths, Section, option
from processor.mosaic.budget import estimate_memory
from processor.mosaic.plan_document import describe_plan
from processor.stages import STAGES, Method
from processor.stages.block_sums import BlockSums
from processor.stages.files import TextFile
from processor.stages.matching.method import LocalMethod, LocalSolution
from processor.stages.matching.pair_difference import Radiometry
from processor.stages.measures import Measures
from processor.stages.seamlines.method import SeamlineMethod
from processor.stages.seamlines.partition import Run
from processor.stages.seamlines.records import Seamlines

F64 = NDArray[np.float64]


class TiltOptions(Section):
    """Light that grows towards the east."""

    output_images: Paths | None = option(None, "Where to keep the rasters.", example="tilted/$.tif", path=True)
    slope: float = option(0.25, "Gain per kilometre.", example=0.5, unit="1 / km")
    note: str = option("", "Kept for people.", example="sunny", decisive=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tilt:
    """The correction of a scene, over a window too: it has no state."""

    scene: str
    slope: float
    origin: float
    gain: NDArray[np.floating] | None = None

    def on_window(self, grid: Grid, window: Window, dtype: type[np.floating], strip: int) -> Tilt:
        del strip
        x = grid.left + (window.col + np.arange(window.width) + 0.5) * grid.pixel_width
        return Tilt(scene=self.scene, slope=self.slope, origin=self.origin, gain=self.compute_gain(x).astype(dtype))

    def apply(self, values: NDArray[np.floating], band: int, rows: slice) -> NDArray[np.floating]:
        del band, rows
        return np.multiply(values, self.gain, out=values)

    def compute_gain(self, x: F64) -> F64:
        return 1 + self.slope * (x - self.origin) / 1000

    def apply_at(self, values: F64, x: F64, y: F64) -> F64:
        del y
        return values * self.compute_gain(x)

    def compute_factors(self, level: F64) -> F64:
        return np.ones((len(level), 1, 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tilts:
    corrections: tuple[Tilt, ...]


class TiltMatching(LocalMethod[TiltOptions]):
    records: ClassVar[tuple[type, ...]] = (Tilts, Tilt)
    pixel_bytes: ClassVar[int] = 64

    @property
    def output_images(self) -> Paths | None:
        return self.options.output_images

    def solve(
        self, measures: Measures, adjustments: Sequence[Adjustment], blocks: BlockGrid | None, sums: Sequence[BlockSums]
    ) -> Tilts:
        assert (blocks, len(sums)) == (None, 0)
        origin = min(scene.footprint.bounds[0] for scene in measures.scenes)
        return Tilts(
            corrections=tuple(Tilt(scene=a.scene, slope=self.options.slope, origin=float(origin)) for a in adjustments)
        )

    def list_files(self, solution: LocalSolution) -> Iterator[TextFile]:
        names = json.dumps([correction.scene for correction in solution.corrections])
        yield TextFile(key="tilts", path="tilts.json", title="Tilts", media_type="application/json", text=names)


class FirstComeOptions(Section):
    """The first scene in name order has all that it covers."""

    backwards: bool = option(False, "Whether it is the last one.", example=True)


class FirstCome(SeamlineMethod[FirstComeOptions]):
    def solve(
        self,
        footprints: Mapping[str, Geometry],
        measures: Measures,
        radiometry: Radiometry,
        *,
        places: Sequence[int] | None,
        run: Run,
    ) -> Seamlines:
        del measures, radiometry, places, run
        order = sorted(footprints, reverse=self.options.backwards)
        own = {
            name: difference(footprints[name], union_all([footprints[n] for n in order[:i]])) for i, name in enumerate(order)
        }
        return Seamlines(
            cells=tuple(Cell(scene=name, polygon=own[name]) for name in sorted(own)),
            footprints=tuple(footprints[name] for name in sorted(own)),
            cutlines=(),
            findings=(),
            grid_size=0.0,
        )


CHOSEN = {
    "methods.matching_local_method": "tilt",
    "methods.seamline_method": "first_come",
    "methods.matching_global_method": None,
}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both methods, until the end of the test."""
    stages = {stage.name: stage for stage in STAGES}
    monkeypatch.setitem(stages["matching_local"].methods, "tilt", Method(options=TiltOptions, implementation=TiltMatching))
    monkeypatch.setitem(stages["seamlines"].methods, "first_come", Method(options=FirstComeOptions, implementation=FirstCome))


def load(**changes: Any) -> Config:
    return load_config(flags={**CHOSEN, **{name.replace("__", "."): value for name, value in changes.items()}}, environment={})


def run(folder: Path, items: Path, name: str, *arguments: str) -> dict[str, bytes]:
    """Run the command; what it published, by name."""
    flags = [f"--{path}={'null' if value is None else value}" for path, value in CHOSEN.items()]
    words = ["--output", str(folder / name), "--item-id", "m", "--created", CREATED, "--output.artifacts=full"]
    done = call_command("run", str(items), *words, *flags, *arguments, cwd=folder, scratch=folder / "scratch")
    assert done.code == 0, done.stderr
    files = read_files(folder / name / "m")
    own = str(folder / name).encode()  # the Item's link to itself
    return {path: data.replace(own, b"") for path, data in files.items() if path != "traffic.json"}


def test_what_is_not_registered_is_unknown() -> None:
    with pytest.raises(ConfigError, match=r"methods.matching_local_method = 'tilt'"):
        load()
    assert "tilt" not in render_sample() + render_parameters_page()


@pytest.mark.usefixtures("registered")
def test_the_configuration_knows_a_registered_method() -> None:
    config = load(tilt__slope=0.5)
    assert config.of(TiltOptions).slope == 0.5
    assert config.chosen == ("tilt", "align_rasters", "first_come", "mask_rasters", "merge_rasters")
    assert [parameter.path for parameter in iter_parameters() if parameter.section == "tilt"] == [
        "tilt.output_images",
        "tilt.slope",
        "tilt.note",
    ]
    assert load_config(environment={"MOSAIC_TILT__SLOPE": "2"}).of(TiltOptions).slope == 2
    assert re.search(r"# Light that grows towards the east\.\ntilt:\n", render_sample())
    page = render_parameters_page()
    assert "| `slope` | `0.25` | number | 1 / km | Gain per kilometre. |" in page
    assert "| `note`° |" in page
    assert "`local_block_adjustment`, `surface_adjustment`, `tilt` or `null`" in page
    assert "tilt_slope=0.5," in page
    assert "tilt_slope" in {flat_name(parameter) for parameter in iter_parameters()}
    assert "tilt:\n  output_images: null\n  slope: 0.5\nalign_rasters:" in render_yaml(config)
    with pytest.raises(ConfigError, match=r"tilt\.slop: no such parameter.*did you mean tilt\.slope"):
        load(tilt__slop=1)


@pytest.mark.usefixtures("registered")
def test_plan_digest_and_memory_know_it(tmp_path: Path) -> None:
    items = make_items(tmp_path, edge=600)

    def plan(config: Config) -> Any:
        request = Request(inputs=(str(items),), destination=str(tmp_path), item_id="m", overwrite=True, created=CREATED)
        return prepare(request, config)

    usual, other, noted = plan(load()), plan(load(tilt__slope=0.5)), plan(load(tilt__note="x"))
    assert usual.digest == noted.digest != other.digest
    assert describe_plan(usual.plan)["stages"] == list(load().chosen)
    assert usual.plan.needs == {"footprints"}
    without = plan(load(methods__matching_local_method=None))
    assert estimate_memory(usual.plan) >= estimate_memory(without.plan)
    assert usual.plan.methods.matching_local.options.slope == 0.25


@pytest.mark.usefixtures("registered")
def test_a_run_by_the_command_by_tasks_and_by_the_function(tmp_path: Path) -> None:
    items = make_items(tmp_path)
    files = run(tmp_path, items, "out")
    assert run(tmp_path, items, "tasks", "--executor", "tasks") == files
    assert {"tilts.json", "seamlines.gpkg", "tilt/a.tif", "align_rasters/a.tif", "mask_rasters/a.tif"} <= set(files)
    assert json.loads(files["tilts.json"]) == ["a", "b", "c"]
    item, report = json.loads(files["m.json"]), json.loads(files["report.json"])
    assert {"tilts", "tilt_a"} <= set(item["assets"])
    assert "tilt" in item["properties"]["processing:lineage"]
    assert report["parameters"]["methods.matching_local_method"] == "tilt"
    assert report["residuals"]["local"] != report["residuals"]["global"]

    folder = tmp_path / "out" / "m"
    with rasterio.open(folder / "mosaic.tif") as raster:
        mosaic, transform = raster.read(), raster.transform
    with rasterio.open(folder / "scene_index.tif") as raster:
        index = raster.read(1)
    expected = np.zeros_like(mosaic)
    gain = 1 + 0.25 * (np.arange(mosaic.shape[2]) + 0.5) * transform.a / 1000
    for name in ("c", "b", "a"):  # the first on top
        with rasterio.open(tmp_path / f"{name}.tif") as raster:
            values = raster.read()
            row, col = round(transform.f - raster.transform.f), round(raster.transform.c - transform.c)
        place = slice(row, row + values.shape[1]), slice(col, col + values.shape[2])
        tilted = np.rint(values.astype(np.float32) * gain[place[1]].astype(np.float32)).astype(np.uint16)
        np.copyto(expected[:, *place], tilted, where=values > 0)
        assert (index[place][(values > 0).all(axis=0)] <= " abc".index(name)).all()
    np.testing.assert_array_equal(mosaic, expected)

    keywords = {path.partition(".")[2]: value for path, value in CHOSEN.items()}
    made = pipeline(str(items), tmp_path / "function.tif", tilt_slope=0.25, **keywords)
    with rasterio.open(made["output"]) as raster:
        np.testing.assert_array_equal(raster.read(), mosaic)
