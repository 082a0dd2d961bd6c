"""Write the scenes that the benchmark runs on: overlapping, synthetic, deterministic.

Run as ``python benchmarks/make_scenes.py FOLDER [--layout 2x3] [--size 4096] …``; see ``--help``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from processor.synthetic.scenes import SceneRecipe, make_scenes


def parse_pair(text: str) -> tuple[int, int]:
    """Parse ``ROWSxCOLS``, or one number for both."""
    rows, _, cols = text.partition("x")
    return int(rows), int(cols or rows)


def main() -> None:
    """Parse the command line and write the scenes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layout", type=parse_pair, default=(2, 3), help="scenes down x across (2x3)")
    parser.add_argument("--size", type=parse_pair, default=(4096, 4096), help="pixels of a scene, HEIGHTxWIDTH or one number")
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--dtype", default="uint16", choices=["uint8", "uint16", "int16", "float32"])
    parser.add_argument("--overlap", type=float, default=0.25, help="share of a scene that its neighbour has too")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ragged", action="store_true", help="turned, ragged footprints with nodata around them")
    parser.add_argument("--overviews", action="store_true", help="give the scenes overviews")
    options = parser.parse_args()
    recipe = SceneRecipe(
        rows=options.layout[0],
        cols=options.layout[1],
        height=options.size[0],
        width=options.size[1],
        overlap=options.overlap,
        bands=options.bands,
        dtype=options.dtype,
        seed=options.seed,
        haze=0.05,
        rotation=2.0 if options.ragged else 0.0,
        ragged=40.0 if options.ragged else 0.0,
        overviews=options.overviews,
    )
    start = time.perf_counter()
    made = make_scenes(options.folder, recipe)
    pixels = sum(scene.window.height * scene.window.width for scene in made.scenes)
    print(f"{made.items}: {len(made.scenes)} scenes, {pixels / 1e6:.0f} megapixels, {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
