"""Sample scenes with a known truth: overlapping windows of one synthetic landscape, each with radiometric differences.

Each scene is ``gain * truth + offset`` per band, which the global adjustment can undo exactly. Optional haze and vignetting are
smooth fields, which only the local adjustment can undo. The demo, the benchmarks and the tests use these scenes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.enums import Resampling
from rasterio.io import DatasetReader, DatasetWriter
from rasterio.transform import Affine
from rasterio.warp import transform as transform_points
from rasterio.windows import Window as RasterWindow

from processor.model import Grid, Window
from processor.synthetic.difficulties import Difficulties, make_changes, make_clouds, make_hotspot
from processor.synthetic.terrain import BAND_NAMES, Landscape, make_noise

_FIRST_SCENE: Final = datetime(2024, 6, 15, 9, 30, tzinfo=UTC)
_HAZE: Final = (0.8, 0.9, 1.0, 0.45, 0.6, 0.3)  # haze weighs more on short waves; one weight a band of BAND_NAMES
_CACHE: Final = 64 << 20  # bytes of GDAL's block cache: its default would keep 5 % of the machine's memory
_EXTENSIONS: Final = (
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/eo/v2.0.0/schema.json",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Coding:
    """Values of the truth from reflectance r: ``low + span * r / 0.5``, or of its square root for the tone of a picture."""

    low: float
    span: float
    """Source units. The truth lies between low and low + span, which leaves room for gains, offsets and haze."""
    least: float
    most: float
    """The extreme values of a valid pixel."""
    root: bool = False


_CODINGS: Final = {
    "uint8": _Coding(low=30, span=170, least=1, most=255, root=True),
    "uint16": _Coding(low=300, span=4750, least=1, most=65535),
    "int16": _Coding(low=300, span=4750, least=1, most=32767),
    "float32": _Coding(low=0, span=0.5, least=1e-6, most=10),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRecipe:
    """Number, size and radiometry of sample scenes."""

    rows: int = 2
    """Number of scenes down."""
    cols: int = 3
    """Number of scenes across."""
    height: int = 512
    """Height of a scene, pixels."""
    width: int = 512
    """Width of a scene, pixels."""
    overlap: float = 0.25
    """Overlap of neighbours as a share of a scene's height and width, 0 to below 1."""
    bands: int = 4
    """1 to 6, named as ``BAND_NAMES``."""
    dtype: Literal["uint8", "uint16", "int16", "float32"] = "uint16"
    """Dtype of the pixels; uint8 lies within about 20 to 230, uint16 and int16 within 300 to 6000, float32 is reflectance."""
    seed: int = 1
    """Seed of all random numbers."""
    gain_spread: float = 0.15
    """Gains lie within about 1 ± this, with mean 1 over the scenes."""
    offset_spread: float = 0.03
    """Offsets lie within about ± this share of the truth's range, with mean 0 over the scenes."""
    haze: float = 0.0
    """Amplitude of a smooth multiplicative field of its own in each scene, strongest in blue; 0 for none."""
    vignette: float = 0.0
    """Darkening of a scene's corners, as a share; 0 for none."""
    noise: float = 0.0
    """Standard deviation of each scene's own noise, as a share of the truth's range."""
    rotation: float = 0.0
    """Largest rotation of a footprint within its scene, degrees; pixels outside the footprint are nodata."""
    ragged: float = 0.0
    """Pixels by which a footprint's edge wanders inward."""
    pixel_size: float = 2.0
    """Edge of a pixel, CRS units."""
    left: float = 500_000.0
    """Left edge of the upper left scene, CRS units."""
    top: float = 5_300_000.0
    """Top edge of the upper left scene, CRS units."""
    crs: str = "EPSG:32633"
    """CRS of the scenes, an authority code or WKT."""
    nodata: float | None = 0.0
    """Value of invalid pixels, or None for no such pixels (then neither rotation nor ragged)."""
    block_size: int = 512
    """Edge of the files' tiles, pixels, a multiple of 16."""
    compression: str | None = "deflate"
    """GDAL's name of the codec, or None."""
    overviews: bool = False
    """Whether the files have overviews (by averaging, down to one block)."""
    keep_truth: bool = True
    """Whether truth.tif stays."""
    difficulties: Difficulties = field(default_factory=Difficulties)
    """What makes the scenes difficult, beside all this."""

    def __post_init__(self) -> None:
        """Refuse what cannot be made."""
        if min(self.rows, self.cols, self.height, self.width) < 1 or not 0 <= self.overlap < 1:
            msg = (
                "rows, cols, height and width must be at least 1 and overlap within [0, 1), got "
                f"{self.rows} x {self.cols} scenes of {self.height} x {self.width} pixels, overlap {self.overlap}"
            )
            raise ValueError(msg)
        if self.dtype not in _CODINGS or not 1 <= self.bands <= len(BAND_NAMES):
            msg = f"dtype must be one of {', '.join(_CODINGS)} and bands 1 to {len(BAND_NAMES)}: {self.dtype}, {self.bands}"
            raise ValueError(msg)
        if self.nodata is None and (self.rotation or self.ragged):
            msg = "rotated or ragged footprints need a nodata value for the pixels that they miss, got nodata None"
            raise ValueError(msg)

    @property
    def canvas(self) -> Grid:
        """The grid of the truth: the union of the scenes."""
        last = self._window(self.rows - 1, self.cols - 1)
        return Grid(
            crs=CRS.from_user_input(self.crs).to_wkt(),
            left=self.left,
            top=self.top,
            pixel_width=self.pixel_size,
            pixel_height=self.pixel_size,
            width=last.col_end,
            height=last.row_end,
        )

    @property
    def windows(self) -> tuple[Window, ...]:
        """Where each scene lies on the canvas, row by row."""
        return tuple(self._window(row, col) for row in range(self.rows) for col in range(self.cols))

    def _window(self, row: int, col: int) -> Window:
        down = max(1, round(self.height * (1 - self.overlap)))
        across = max(1, round(self.width * (1 - self.overlap)))
        return Window(row=row * down, col=col * across, height=self.height, width=self.width)


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneTruth:
    """Difference of a scene from the truth: ``scene = gain * truth + offset``, before haze, vignette and noise."""

    name: str
    """Name of the scene; its file is ``name.tif``."""
    window: Window
    """Pixels of the truth that it covers."""
    gain: tuple[float, ...]
    """One a band, dimensionless."""
    offset: tuple[float, ...]
    """One a band, source units."""
    turn: float
    """Rotation of its footprint, degrees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSet:
    """Files that :func:`make_scenes` wrote."""

    items: Path
    """The ItemCollection."""
    truth: Path
    """truth.tif; absent without ``keep_truth``."""
    scenes: tuple[SceneTruth, ...]
    """Row by row, as in truth.json."""


DEMO_RECIPE: Final = SceneRecipe(
    height=700,
    width=700,
    bands=3,
    dtype="uint8",
    seed=59,
    gain_spread=0.2,
    offset_spread=0.08,
    haze=0.1,
    vignette=0.12,
    rotation=3.0,
    ragged=14.0,
    noise=0.004,
)
"""Six scenes of 700 x 700 pixels in red, green and blue, with clearly visible seams."""

DIFFICULT_RECIPE: Final = replace(
    DEMO_RECIPE, difficulties=Difficulties(hotspot=0.15, clouds=0.12, changes=0.07, haze=0.04, shift=1.5)
)
"""The same with a hotspot, clouds in every other scene that nothing marks, changed fields, haze and misregistration."""


def make_demo_scenes(folder: Path, *, difficult: bool = False) -> Path:
    """Write the scenes of the demo, or the difficult ones, into ``folder`` and return the path of their ItemCollection."""
    return make_scenes(folder, DIFFICULT_RECIPE if difficult else DEMO_RECIPE).items


def make_scenes(folder: Path, recipe: SceneRecipe) -> SampleSet:
    """Write scenes, their ItemCollection and the truth into ``folder``, which is made if need be.

    Writes ``scene_ROW_COL.tif``, ``items.json``, ``truth/truth.tif`` (the same dtype, on the union of the scenes) and
    ``truth/truth.json`` (gain and offset of each scene and band). The truth has a folder of its own, so that the scenes' folder
    can be the input of a run. The same recipe gives the same bytes.
    """
    truth = folder / "truth" / "truth.tif"
    truth.parent.mkdir(parents=True, exist_ok=True)
    scenes = _draw_scenes(recipe)
    with rasterio.Env(GDAL_CACHEMAX=_CACHE):
        canvas, coding = recipe.canvas, _CODINGS[recipe.dtype]
        landscape = Landscape(bands=recipe.bands, seed=recipe.seed, river_row=round(0.53 * canvas.height))
        with _open_new(truth, recipe, canvas.window) as raster:
            for block in _make_blocks(canvas.height, canvas.width, recipe.block_size):
                share = landscape.compute_reflectance(block) * np.float32(2.0)
                values = np.float32(coding.low) + np.float32(coding.span) * (np.sqrt(share) if coding.root else share)
                raster.write(_apply_coding(values, recipe), window=_to_raster_window(block))
        with rasterio.open(truth) as source:
            for index, scene in enumerate(scenes):
                _write_scene(folder / f"{scene.name}.tif", recipe, index, scene, source)
    if not recipe.keep_truth:
        truth.unlink()
    items = folder / "items.json"
    features = [_make_item(recipe, index, scene) for index, scene in enumerate(scenes)]
    _write_json(items, {"type": "FeatureCollection", "features": features})
    _write_json(
        truth.with_suffix(".json"),
        {
            "bands": list(BAND_NAMES[: recipe.bands]),
            "dtype": recipe.dtype,
            "seed": recipe.seed,
            "scenes": {
                scene.name: {
                    "row": scene.window.row,
                    "col": scene.window.col,
                    "gain": list(scene.gain),
                    "offset": list(scene.offset),
                }
                for scene in scenes
            },
        },
    )
    return SampleSet(items=items, truth=truth, scenes=scenes)


def _draw_scenes(recipe: SceneRecipe) -> tuple[SceneTruth, ...]:
    """Draw gains, offsets and rotations; centred, so that the truth is the mean of the scenes."""
    count, bands = len(recipe.windows), recipe.bands
    random = np.random.Generator(np.random.PCG64(recipe.seed))
    # Exposure changes all bands alike, the smaller part one band.
    drawn = 0.8 * random.uniform(-1, 1, (2, count, 1)) + 0.3 * random.uniform(-1, 1, (2, count, bands))
    drawn -= drawn.mean(axis=1, keepdims=True)
    gains = 1 + recipe.gain_spread * drawn[0]
    offsets = recipe.offset_spread * _CODINGS[recipe.dtype].span * drawn[1]
    turns = recipe.rotation * random.uniform(-1, 1, count)
    return tuple(
        SceneTruth(
            name=f"scene_{index // recipe.cols + 1}_{index % recipe.cols + 1}",
            window=window,
            gain=tuple(map(float, gains[index])),
            offset=tuple(map(float, offsets[index])),
            turn=float(turns[index]),
        )
        for index, window in enumerate(recipe.windows)
    )


def _make_blocks(height: int, width: int, size: int) -> Iterator[Window]:
    """The windows of a file's blocks, row by row."""
    for row in range(0, height, size):
        for col in range(0, width, size):
            yield Window(row=row, col=col, height=min(size, height - row), width=min(size, width - col))


def _to_raster_window(window: Window) -> RasterWindow:
    return RasterWindow(window.col, window.row, window.width, window.height)


def _apply_coding(values: NDArray[np.floating[Any]], recipe: SceneRecipe) -> NDArray[Any]:
    """Round to the dtype, within the values that a valid pixel may have."""
    coding = _CODINGS[recipe.dtype]
    if np.issubdtype(np.dtype(recipe.dtype), np.integer):
        values = np.rint(values)
    coded: NDArray[Any] = np.clip(values, coding.least, coding.most).astype(recipe.dtype)
    return coded


def _open_new(path: Path, recipe: SceneRecipe, window: Window) -> DatasetWriter:
    """A new GeoTIFF for a window of the canvas."""
    canvas = recipe.canvas
    options: dict[str, Any] = {"compress": recipe.compression or "none", "num_threads": "ALL_CPUS", "bigtiff": "IF_SAFER"}
    if recipe.compression in {"deflate", "zstd", "lzw"}:
        options["predictor"] = 3 if recipe.dtype == "float32" else 2
    if recipe.bands == len("rgb"):
        options["photometric"] = "rgb"
    raster: DatasetWriter = rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=window.height,
        width=window.width,
        count=recipe.bands,
        dtype=recipe.dtype,
        crs=CRS.from_wkt(canvas.crs),
        transform=Affine(*canvas.subgrid(window).transform),
        nodata=recipe.nodata,
        tiled=True,
        blockxsize=recipe.block_size,
        blockysize=recipe.block_size,
        **options,
    )
    for band, name in enumerate(BAND_NAMES[: recipe.bands], start=1):
        raster.set_band_description(band, name)
    return raster


def _write_scene(path: Path, recipe: SceneRecipe, index: int, scene: SceneTruth, truth: DatasetReader) -> None:
    """Write one scene: the truth in its window, seen through its own gain, offset, haze, vignette, noise and footprint."""
    random = np.random.Generator(np.random.PCG64([recipe.seed, index]))
    deviation = recipe.noise * _CODINGS[recipe.dtype].span
    gain = np.array(scene.gain, dtype=np.float32)[:, None, None]
    offset = np.array(scene.offset, dtype=np.float32)[:, None, None]
    with _open_new(path, recipe, scene.window) as raster:
        for block in _make_blocks(recipe.height, recipe.width, recipe.block_size):
            place = block.shifted(rows=scene.window.row, cols=scene.window.col)
            values = _make_ground(recipe, index, place, truth) * gain + offset
            values *= _make_light(recipe, index, block)
            if deviation:
                # The sum of four bytes is nearly normal, and unlike a normal draw the same on every machine.
                bell = random.integers(0, 256, size=(4, *values.shape), dtype=np.uint8).sum(axis=0, dtype=np.float32)
                values += (bell - np.float32(510)) * np.float32(deviation / 147.8)
            pixels = _apply_coding(values, recipe)
            if recipe.nodata is not None:
                pixels[:, ~_make_footprint(recipe, index, scene.turn, block)] = recipe.nodata
            raster.write(pixels, window=_to_raster_window(block))
    if recipe.overviews:
        levels = math.ceil(math.log2(max(recipe.height, recipe.width) / recipe.block_size))
        with rasterio.open(path, "r+") as raster:
            raster.build_overviews([2**level for level in range(1, levels + 1)], Resampling.average)


def _make_ground(recipe: SceneRecipe, index: int, place: Window, truth: DatasetReader) -> NDArray[np.float32]:
    """What a scene shows of the canvas before its own radiometry: the truth, changed, misregistered, under haze and clouds."""
    hard, coding = recipe.difficulties, _CODINGS[recipe.dtype]
    seed = recipe.seed * 1000 + 300 + 10 * index
    low, span = np.float32(coding.low), np.float32(coding.span)
    ground = (
        truth.read(window=_to_raster_window(place)).astype(np.float32) if not hard.shift else _shift(recipe, seed, place, truth)
    )
    if hard.changes:
        other = Landscape(bands=recipe.bands, seed=seed, river_row=-10_000).compute_reflectance(place) * np.float32(2.0)
        ground = np.where(
            make_changes(hard.changes, seed + 1, place), low + span * (np.sqrt(other) if coding.root else other), ground
        )
    if hard.haze:
        cell = round(0.7 * max(recipe.height, recipe.width)) + 1
        thickness = np.clip(np.float32(0.5) + np.float32(0.5) * make_noise(seed + 2, (cell, cell // 2 + 1), place), 0, 1)
        weights = np.array(_HAZE[: recipe.bands], dtype=np.float32)[:, None, None]
        ground = ground + np.float32(hard.haze) * span * weights * thickness
    if hard.clouds and index % 2:
        opacity = make_clouds(hard.clouds, seed + 3, recipe.windows[index], place)
        ground = ground + opacity * (low + np.float32(0.95) * span - ground)
    return ground


def _shift(recipe: SceneRecipe, seed: int, place: Window, truth: DatasetReader) -> NDArray[np.float32]:
    """The truth as far beside as a scene is misregistered, interpolated bilinearly; at the canvas's edge the edge goes on."""
    away = np.random.Generator(np.random.PCG64(seed)).uniform(-1, 1, 2) * recipe.difficulties.shift
    whole = np.floor(away).astype(int)
    part_down, part_across = (away - whole).astype(np.float32)
    rows = np.clip(np.arange(place.row, place.row_end + 1) + whole[0], 0, truth.height - 1)
    cols = np.clip(np.arange(place.col, place.col_end + 1) + whole[1], 0, truth.width - 1)
    window = Window(row=rows[0], col=cols[0], height=rows[-1] - rows[0] + 1, width=cols[-1] - cols[0] + 1)
    values = truth.read(window=_to_raster_window(window)).astype(np.float32)[:, rows - rows[0]][:, :, cols - cols[0]]
    values = values[:, :-1] + part_down * (values[:, 1:] - values[:, :-1])
    shifted: NDArray[np.float32] = values[:, :, :-1] + part_across * (values[:, :, 1:] - values[:, :, :-1])
    return shifted


def _make_centred(recipe: SceneRecipe, block: Window) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Pixels from the middle of the scene: down (height, 1) and across (1, width)."""
    down = np.arange(block.row, block.row_end, dtype=np.float32)[:, None] + np.float32(0.5 - recipe.height / 2)
    across = np.arange(block.col, block.col_end, dtype=np.float32)[None, :] + np.float32(0.5 - recipe.width / 2)
    return down, across


def _make_light(recipe: SceneRecipe, index: int, block: Window) -> NDArray[np.float32]:
    """The smooth multiplicative field of a scene, float32 (bands, height, width)."""
    cell = round(0.7 * max(recipe.height, recipe.width)) + 1
    haze = make_noise(recipe.seed * 1000 + 500 + index, (cell, cell // 2 + 1), block)
    weights = np.array(_HAZE[: recipe.bands], dtype=np.float32)[:, None, None]
    down, across = _make_centred(recipe, block)
    down, across = down / np.float32(recipe.height / 2), across / np.float32(recipe.width / 2)
    edge = np.float32(1) - np.float32(recipe.vignette / 2) * (down * down + across * across)
    if recipe.difficulties.hotspot:
        edge *= make_hotspot(recipe.difficulties.hotspot, down, across)
    return (np.float32(1) + np.float32(recipe.haze) * weights * haze) * edge


def _make_footprint(recipe: SceneRecipe, index: int, turn: float, block: Window) -> NDArray[np.bool_]:
    """Where a scene has pixels: a turned rectangle whose edges wander inward; bool (height, width)."""
    down, across = _make_centred(recipe, block)
    cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    along = np.abs(across * np.float32(cosine) + down * np.float32(sine))
    upward = np.abs(down * np.float32(cosine) - across * np.float32(sine))
    wander = make_noise(recipe.seed * 1000 + 700 + index, (45, 15, 5), block)
    inset = np.float32(recipe.ragged) * np.clip(wander * np.float32(0.5) + np.float32(0.5), np.float32(0), np.float32(1))
    inside: NDArray[np.bool_] = (along <= recipe.width / 2 - inset) & (upward <= recipe.height / 2 - inset)
    return inside


def _make_item(recipe: SceneRecipe, index: int, scene: SceneTruth) -> dict[str, Any]:
    """The STAC 1.1 Item of a scene, with a relative href."""
    grid = recipe.canvas.subgrid(scene.window)
    crs = CRS.from_wkt(grid.crs)
    left, bottom, right, top = grid.bounds.as_tuple()
    corners_x, corners_y = [left, right, right, left, left], [bottom, bottom, top, top, bottom]
    lons, lats = transform_points(crs, CRS.from_epsg(4326), corners_x, corners_y)[:2]
    ring = [[round(float(lon), 7), round(float(lat), 7)] for lon, lat in zip(lons, lats, strict=True)]
    code = crs.to_authority()
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "stac_extensions": list(_EXTENSIONS),
        "id": scene.name,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "bbox": [min(p[0] for p in ring), min(p[1] for p in ring), max(p[0] for p in ring), max(p[1] for p in ring)],
        "properties": {
            "datetime": (_FIRST_SCENE + timedelta(seconds=40 * index)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "platform": "synthetic",
            **({"gsd": recipe.pixel_size} if crs.is_projected else {}),
            **({"proj:code": ":".join(code)} if code else {"proj:code": None, "proj:wkt2": grid.crs}),
            "proj:shape": [grid.height, grid.width],
            "proj:transform": list(grid.transform),
        },
        "links": [],
        "assets": {
            "image": {
                "href": f"./{scene.name}.tif",
                "type": "image/tiff; application=geotiff",
                "roles": ["data"],
                "bands": [
                    {
                        "name": name,
                        "eo:common_name": name,
                        "data_type": recipe.dtype,
                        **({} if recipe.nodata is None else {"nodata": "nan" if math.isnan(recipe.nodata) else recipe.nodata}),
                    }
                    for name in BAND_NAMES[: recipe.bands]
                ],
            }
        },
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
