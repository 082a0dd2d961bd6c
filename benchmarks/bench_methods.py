"""How true each preset is: sample scenes with one difficulty at a time against their truth, and real scenes against a sensor.

Run as ``python benchmarks/bench_methods.py [--scenes FOLDER --judge RASTER --bands 4 3 2 --reference RASTER]``; prints a table
of truth errors (3 minutes), or with ``--scenes``, a folder with items.json, of R² to a raster that nothing was fitted to.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject

from processor.cli.commands import main as run_command
from processor.synthetic.difficulties import Difficulties, make_changes, make_clouds
from processor.synthetic.scenes import DEMO_RECIPE, DIFFICULT_RECIPE, SceneRecipe, make_scenes

_BLOCK: Final = 16  # pixels: truth is compared in blocks, so that misregistration does not count
_UNMATCHED: Final = ("--methods.matching_global_method", "null", "--methods.matching_local_method", "null")
_PRESETS: Final[Mapping[str, Sequence[str]]] = {
    "unmatched": _UNMATCHED,
    "spectralmatch": (),
    "satellite": ("--preset", "satellite"),
    "aerial": ("--preset", "aerial"),
}
_DIFFICULT: Final = DIFFICULT_RECIPE.difficulties
_CASES: Final[Mapping[str, Difficulties]] = {
    "demo": Difficulties(),
    "clouds": Difficulties(clouds=_DIFFICULT.clouds),
    "change": Difficulties(changes=_DIFFICULT.changes),
    "haze": Difficulties(haze=_DIFFICULT.haze),
    "hotspot": Difficulties(hotspot=_DIFFICULT.hotspot),
    "misregistration": Difficulties(shift=_DIFFICULT.shift),
    "demo --difficult": _DIFFICULT,
}


def run(items: Path, folder: Path, name: str, flags: Sequence[str]) -> Path:
    """Make a mosaic; its folder."""
    with redirect_stdout(StringIO()):
        code = run_command(["run", str(items), "--output", str(folder), "--item-id", name, *flags])
    assert code == 0, (name, code)
    return folder / name


def read(path: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Pixels (bands, height, width) and valid mask."""
    with rasterio.open(path) as raster:
        return raster.read().astype(np.float64), raster.dataset_mask() > 0


def find_clear(recipe: SceneRecipe, mosaic: Path) -> NDArray[np.bool_]:
    """Pixels of a mosaic that come from a scene which has neither cloud nor change there."""
    (index,), clear = read(mosaic / "scene_index.tif")
    for number, window in enumerate(recipe.windows):
        seed = recipe.seed * 1000 + 300 + 10 * number  # as the scenes draw theirs
        hidden = np.zeros(window.shape, np.bool_)
        if recipe.difficulties.changes:
            hidden |= make_changes(recipe.difficulties.changes, seed + 1, window)
        if recipe.difficulties.clouds and number % 2:
            hidden |= make_clouds(recipe.difficulties.clouds, seed + 3, window, window) > 0.02
        place = window.slices_in(recipe.canvas.window)
        clear[place] &= ~((index[place] == number + 1) & hidden)
    return clear


def average(values: NDArray[Any], edge: int) -> NDArray[np.float64]:
    """Means of whole blocks, (..., rows, cols)."""
    rows, cols = values.shape[-2] // edge, values.shape[-1] // edge
    cut = values[..., : rows * edge, : cols * edge].astype(np.float64)
    return np.asarray(cut.reshape(*values.shape[:-2], rows, edge, cols, edge).mean((-3, -1)))


def compute_truth_error(recipe: SceneRecipe, mosaic: Path, truth: Path) -> float:
    """RMS departure from the truth after one line a band, in its standard deviations, mean of bands; whole clear blocks."""
    found, _ = read(mosaic / "mosaic.tif")
    expected, _ = read(truth)
    whole = average(find_clear(recipe, mosaic), _BLOCK) == 1
    errors = []
    for ours, theirs in zip(average(found, _BLOCK)[:, whole], average(expected, _BLOCK)[:, whole], strict=True):
        errors.append(np.std(np.polyval(np.polyfit(ours, theirs, 1), ours) - theirs) / theirs.std())
    return float(np.mean(errors))


def write_coarse(truth: Path, path: Path, edge: int = _BLOCK) -> Path:
    """The truth on pixels as large as a block: what a coarser sensor would see."""
    with rasterio.open(truth) as raster:
        values = average(raster.read(), edge)
        profile = raster.profile | {"width": values.shape[2], "height": values.shape[1], "dtype": "float32", "nodata": None}
        profile |= {"transform": raster.transform @ raster.transform.scale(edge), "blockxsize": 64, "blockysize": 64}
        profile.pop("photometric", None)
        names = raster.descriptions
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values.astype(np.float32))
        raster.descriptions = names
    return path


def bench_truth(folder: Path) -> Iterator[str]:
    """A row for each difficulty, a column for each preset."""
    yield "| truth error | " + " | ".join([*_PRESETS, "satellite, reference"]) + " |"
    for name, difficulties in _CASES.items():
        recipe = replace(DEMO_RECIPE, difficulties=difficulties)
        case = folder / name.replace(" ", "")
        sample = make_scenes(case / "scenes", recipe)
        coarse = write_coarse(sample.truth, case / "coarse.tif")
        flags = {**_PRESETS, "reference": (*_PRESETS["satellite"], "--reference", str(coarse))}
        errors = [
            compute_truth_error(recipe, run(sample.items, case, key, given), sample.truth) for key, given in flags.items()
        ]
        yield f"| {name} | " + " | ".join(f"{error:.3f}" for error in errors) + " |"


def compute_fit(mosaic: Path, judge: Path, bands: Sequence[int]) -> list[float]:
    """R² of the mosaic, averaged to the pixels of a raster, to its bands."""
    with rasterio.open(judge) as known, rasterio.open(mosaic) as raster:
        expected, valid = known.read(bands).astype(np.float64), known.dataset_mask() > 0
        covered = (raster.dataset_mask() > 0).astype(np.float32)

        def to_judge(values: NDArray[np.float32]) -> NDArray[np.float32]:
            out = np.zeros(known.shape, np.float32)
            places = {"src_transform": raster.transform, "src_crs": raster.crs, "dst_transform": known.transform}
            reproject(values, out, dst_crs=known.crs, resampling=Resampling.average, init_dest_nodata=True, **places)
            return out

        whole = valid & (to_judge(covered) > 0.99)
        found = [to_judge(raster.read(band + 1).astype(np.float32) * covered) for band in range(len(bands))]
    return [float(np.corrcoef(a[whole], b[whole])[0, 1] ** 2) for a, b in zip(found, expected, strict=True)]


def compute_seam_step(folder: Path) -> float:
    """RMS over pairs of scenes of their mean signed jump across the seam, means of three pixels, in standard deviations."""
    values, valid = read(folder / "mosaic.tif")
    (index,), _ = read(folder / "scene_index.tif")
    deviations = values[:, valid].std(axis=1)
    jumps: dict[tuple[float, float], list[NDArray[np.float64]]] = {}
    for scenes, pixels in ((index, values), (index.T, values.transpose(0, 2, 1))):
        left, right = scenes[:, 2:-3], scenes[:, 3:-2]
        straight = (left != right) & (left > 0) & (right > 0)
        for step in (1, 2):
            straight &= (scenes[:, 2 - step : -3 - step] == left) & (scenes[:, 3 + step : scenes.shape[1] - 2 + step] == right)
        for row, col in np.argwhere(straight):
            first, second = left[row, col], right[row, col]
            jump = pixels[:, row, col + 3 : col + 6].mean(1) - pixels[:, row, col : col + 3].mean(1)
            jumps.setdefault((min(first, second), max(first, second)), []).append(jump if first < second else -jump)
    means = [np.mean(seam, axis=0) / deviations for seam in jumps.values() if len(seam) > 100]
    return float(np.sqrt(np.mean(np.square(means))))


def compute_contrast(mosaic: Path, scenes: Sequence[Path]) -> float:
    """Standard deviation of the mosaic over the mean of the scenes', means of bands."""

    def spread(path: Path) -> float:
        values, valid = read(path)
        return float(values[:, valid].std(axis=1).mean())

    return spread(mosaic) / float(np.mean([spread(scene) for scene in scenes]))


def bench_scenes(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """A row for each preset."""
    flags = dict(_PRESETS)
    if options.reference is not None:
        for name in ("satellite", "aerial"):
            flags[f"{name}, reference"] = (*_PRESETS[name], "--reference", str(options.reference))
        surfaces = ("--surface_adjustment.kernel", "null")
        flags["aerial, reference, surfaces alone"] = (*flags["aerial, reference"], *surfaces)
    yield "| mosaic | R² | seam step | contrast |"
    for name, given in flags.items():
        made = run(options.scenes / "items.json", folder, name.replace(", ", "-").replace(" ", "-"), given)
        fit = " ".join(f"{value:.3f}" for value in compute_fit(made / "mosaic.tif", options.judge, options.bands))
        contrast = compute_contrast(made / "mosaic.tif", sorted(options.scenes.glob("*.tif")))
        yield f"| {name} | {fit} | {compute_seam_step(made):.3f} | {contrast:.3f} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run once and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--scenes", type=Path, help="folder with items.json and the scenes")
    parser.add_argument("--judge", type=Path, help="raster that the mosaics are judged by")
    parser.add_argument("--bands", type=int, nargs="+", default=[1, 2, 3], help="its bands, in the order of the scenes'")
    parser.add_argument("--reference", type=Path, help="another raster, to which they are matched too")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        for row in bench_truth(Path(folder)) if options.scenes is None else bench_scenes(options, Path(folder)):
            print(row, flush=True, file=sys.stdout)


if __name__ == "__main__":
    main()
