"""Make the pictures of the README and of docs/methods.md from sample scenes.

Run as ``python benchmarks/make_pictures.py docs/images``.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from matplotlib.figure import Figure
from numpy.typing import NDArray

from processor.cli.commands import main
from processor.synthetic.difficulties import Difficulties
from processor.synthetic.scenes import SceneRecipe, make_scenes

_PLAIN: Final = {
    "methods.matching_global_method": "null",
    "methods.matching_local_method": "null",
    "methods.seamline_method": "null",
    "methods.clip_method": "null",
}
_UNMATCHED: Final = dict(list(_PLAIN.items())[:2])


def read_raster(file: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Pixels (bands, height, width) and valid mask."""
    with rasterio.open(file) as dataset:
        return dataset.read().astype(np.float64), dataset.dataset_mask() > 0


def run(demo: Path, name: str, settings: Mapping[str, str]) -> Path:
    """Make a mosaic of the demo's scenes; its folder."""
    flags = [word for key, value in settings.items() for word in (f"--{key}", value)]
    with redirect_stdout(StringIO()):
        main(["run", str(demo / "scenes" / "items.json"), "--output", str(demo), "--item-id", name, *flags])
    return demo / name


def find_stretch(values: NDArray[np.float64], valid: NDArray[np.bool_]) -> tuple[float, float]:
    """What is drawn black and white: the extreme percents of the valid pixels."""
    low, high = np.percentile(values[:, valid], [1, 99])
    return float(low), float(high)


def draw_mosaic(axes: Any, file: Path, title: str, stretch: tuple[float, float]) -> None:
    """Draw a mosaic into axes."""
    values, valid = read_raster(file)
    low, high = stretch
    shown = np.clip((values - low) / (high - low), 0, 1) ** 0.9
    axes.imshow(np.concatenate([shown, valid[None].astype(float)]).transpose(1, 2, 0), interpolation="antialiased")
    axes.axis("off")
    axes.set_title(title, fontsize=13)


def draw_before_after(demo: Path, picture: Path) -> None:
    """The demo scenes laid over one another as they are, and their mosaic."""
    plain, matched = run(demo, "plain", _PLAIN) / "mosaic.tif", demo / "mosaic" / "mosaic.tif"
    stretch = find_stretch(*read_raster(matched))
    figure = Figure(figsize=(12, 4.6), dpi=100, facecolor="white")
    for place, (file, title) in enumerate(((plain, "The scenes as they are"), (matched, "mosaic-processor"))):
        draw_mosaic(figure.add_axes((0.005 + 0.5 * place, 0.01, 0.49, 0.9)), file, title, stretch)
    figure.savefig(picture, pil_kwargs={"quality": 84, "optimize": True})


def draw_presets(demo: Path, files: Sequence[tuple[Path, str]], picture: Path) -> None:
    """Mosaics of the difficult scenes, two by two, drawn as the truth is."""
    stretch = find_stretch(*read_raster(demo / "scenes" / "truth" / "truth.tif"))
    figure = Figure(figsize=(10, 7.5), dpi=100, facecolor="white")
    for place, (file, title) in enumerate(files):
        row, col = divmod(place, 2)
        draw_mosaic(figure.add_axes((0.005 + 0.5 * col, 0.505 - 0.5 * row, 0.49, 0.45)), file, title, stretch)
    figure.savefig(picture, pil_kwargs={"quality": 64, "optimize": True})


def draw_agreement(mosaic: Path, picture: Path) -> None:
    """The map of agreement over a grey mosaic."""
    values, valid = read_raster(mosaic / "mosaic.tif")
    low, high = find_stretch(values, valid)
    with rasterio.open(mosaic / "mosaic.tif") as dataset:
        bounds = dataset.bounds
    with rasterio.open(mosaic / "agreement.tif") as dataset:
        agreement, (left, bottom, right, top) = dataset.read(1), dataset.bounds
    figure = Figure(figsize=(10, 6.2), dpi=80, facecolor="white")
    axes = figure.add_axes((0.005, 0.01, 0.9, 0.93))
    grey = np.clip((values.mean(axis=0) - low) / (high - low), 0, 1) ** 0.7
    extent = (bounds.left, bounds.right, bounds.bottom, bounds.top)
    axes.imshow(grey, cmap="gray", extent=extent, interpolation="antialiased")
    over = axes.imshow(
        agreement, cmap="RdYlBu", vmin=0, vmax=1, alpha=0.6, extent=(left, right, bottom, top), interpolation="nearest"
    )
    axes.set_xlim(bounds.left, bounds.right)
    axes.set_ylim(bounds.bottom, bounds.top)
    axes.axis("off")
    axes.set_title("agreement.tif: 1 the scenes differ by gain and offset alone, 0 cloud or change in one of them", fontsize=12)
    figure.colorbar(over, cax=figure.add_axes((0.92, 0.15, 0.02, 0.65)))
    figure.savefig(picture, pil_kwargs={"quality": 78, "optimize": True})


def draw_seams(folder: Path, picture: Path) -> None:
    """The piece of a seam that cuts most, pixel by pixel: cut in the middle, where the scenes are alike, and blended."""
    recipe = SceneRecipe(
        cols=2, rows=1, bands=3, dtype="uint8", seed=59, gain_spread=0.2, difficulties=Difficulties(changes=0.07, shift=1.5)
    )
    make_scenes(folder / "scenes", recipe)
    least = {"preset": "satellite", "methods.seamline_method": "least_difference_seamline"}
    made = [
        (run(folder, "middle", {"preset": "satellite"}), "cut along the middle"),
        (run(folder, "least", least), "cut where the scenes are alike"),
        (run(folder, "blended", {**least, "merge_rasters.blend": "60"}), "and blended over 30 pixels"),
    ]
    columns = []
    for place, _ in made[:2]:
        with rasterio.open(place / "scene_index.tif") as dataset:
            columns.append((dataset.read(1) == 1).sum(axis=1))
    middle, height, side = int(np.mean(columns[0])), 130, 58
    first, second = (read_raster(place / "mosaic.tif")[0][:, :, middle - side : middle + side] for place, _ in made[:2])
    change = np.abs(first - second).mean(axis=(0, 2))
    top = int(np.argmax(np.convolve(change, np.ones(height), mode="valid")))
    figure = Figure(figsize=(12, 4.8), dpi=100, facecolor="white")
    for place, (mosaic, title) in enumerate(made):
        values, _ = read_raster(mosaic / "mosaic.tif")
        piece = values[:, top : top + height, middle - side : middle + side]
        low, high = find_stretch(piece, np.ones(piece.shape[1:], np.bool_))
        axes = figure.add_axes((0.005 + place / 3, 0.01, 0.325, 0.9))
        axes.imshow((np.clip((piece - low) / (high - low), 0, 1) ** 0.9).transpose(1, 2, 0), interpolation="nearest")
        rows = np.arange(top, top + height)
        seam = columns[min(place, 1)][rows] - (middle - side)
        for row in (0, len(rows) - 1):  # where the seam enters and leaves
            axes.plot([seam[row] - 0.5], [row], marker="v" if row == 0 else "^", color="yellow", markersize=9, clip_on=False)
        axes.set_xlim(-0.5, piece.shape[2] - 0.5)
        axes.set_ylim(piece.shape[1] - 0.5, -0.5)
        axes.axis("off")
        axes.set_title(title, fontsize=13)
    figure.savefig(picture, pil_kwargs={"quality": 84, "optimize": True})


if __name__ == "__main__":
    images = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        easy, difficult = Path(folder) / "easy", Path(folder) / "difficult"
        main(["demo", str(easy)])
        draw_before_after(easy, images / "before-after.jpg")
        main(["demo", str(difficult), "--difficult"])
        unmatched = run(difficult, "unmatched", _UNMATCHED)
        satellite = run(difficult, "satellite", {"preset": "satellite"})
        drawn = [
            (unmatched / "mosaic.tif", "the scenes, cut by their cells"),
            (difficult / "mosaic" / "mosaic.tif", "the default"),
            (satellite / "mosaic.tif", "--preset satellite"),
            (difficult / "scenes" / "truth" / "truth.tif", "the truth"),
        ]
        draw_presets(difficult, drawn, images / "methods-difficult.jpg")
        draw_agreement(satellite, images / "methods-agreement.jpg")
        draw_seams(Path(folder) / "seams", images / "methods-seams.jpg")
