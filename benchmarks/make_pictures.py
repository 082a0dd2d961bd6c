"""Make the picture of the README: the demo scenes laid over one another as they are, and their mosaic."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from matplotlib.figure import Figure
from numpy.typing import NDArray

from processor.cli.commands import main

_PLAIN = {
    "methods.matching_global_method": "null",
    "methods.matching_local_method": "null",
    "methods.seamline_method": "null",
    "methods.clip_method": "null",
}


def read_mosaic(file: Path) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Pixels (bands, height, width) and valid mask."""
    with rasterio.open(file) as dataset:
        return dataset.read().astype(np.float64), dataset.dataset_mask() > 0


def draw(plain: Path, matched: Path, picture: Path) -> None:
    """Draw both mosaics side by side with the same stretch."""
    values, valid = read_mosaic(matched)
    low, high = np.percentile(values[:, valid], [1, 99])
    figure = Figure(figsize=(12, 4.6), dpi=100, facecolor="white")
    for place, (file, title) in enumerate(((plain, "The scenes as they are"), (matched, "mosaic-processor"))):
        values, valid = read_mosaic(file)
        shown = np.clip((values - low) / (high - low), 0, 1) ** 0.9
        axes = figure.add_axes((0.005 + 0.5 * place, 0.01, 0.49, 0.9))
        axes.imshow(np.concatenate([shown, valid[None].astype(float)]).transpose(1, 2, 0), interpolation="antialiased")
        axes.axis("off")
        axes.set_title(title, fontsize=13)
    figure.savefig(picture, pil_kwargs={"quality": 84, "optimize": True})


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder)
        main(["demo", folder])
        flags = [word for name, value in _PLAIN.items() for word in (f"--{name}", value)]
        main(["run", str(demo / "scenes" / "items.json"), "--output", folder, "--item-id", "plain", *flags])
        draw(demo / "plain" / "mosaic.tif", demo / "mosaic" / "mosaic.tif", Path(sys.argv[1]))
