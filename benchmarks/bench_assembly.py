"""How much memory and time it takes to assemble a large mosaic from the parts of its tiles, on files and on a real S3 server.

    python benchmarks/bench_assembly.py [--edge 60000] [--filled 0.6] [--s3] [--folder FOLDER]

The mosaic has three bands of uint16 and a scene index; of its tiles a share has pixels, the others are empty. Pixels of full
tiles repeat, so that parts are made in minutes; assembling does not know that. What is assembled, by a process of its own, is
checked: it is a valid COG, its digest is that of a second reading, and windows hold the pixels that the parts were made of.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.crs import CRS

from processor.execution.task_store import Workplace
from processor.execution.tasks import TILE_BLOCKS
from processor.execution.tile_parts import PartedBlocks, PartHead, PartReader, describe_raster, part_levels
from processor.geotiff.cog.overviews import Pyramid
from processor.geotiff.cog.spec import CogProfile, CogSpec
from processor.geotiff.cog.tiles import ShiftedTiles, TileStore
from processor.geotiff.cog.writer import check_cog, write_cog_header
from processor.model import Grid
from processor.process.threads import map_ordered
from processor.publish.destination import Destination, publish_raster
from processor.storage.options import io_model, resolve_access
from processor.storage.store import Store
from processor.storage.url import join_url

_BLOCK = 512
_TILE = TILE_BLOCKS * _BLOCK
_THREADS = 4
_MB = 1e6


def make_specs(edge: int) -> tuple[CogSpec, CogSpec]:
    """What the mosaic and the scene index are."""
    grid = Grid(
        crs=CRS.from_epsg(32633).to_wkt(),
        left=500_000.0,
        top=5_300_000.0,
        pixel_width=1.0,
        pixel_height=1.0,
        width=edge,
        height=edge,
    )
    return (
        CogSpec(grid=grid, bands=3, dtype="uint16", nodata=0, profile=CogProfile(level=1)),
        CogSpec(
            grid=grid,
            bands=1,
            dtype="uint8",
            nodata=0,
            profile=CogProfile(level=1, predictor=False, overview_resampling="nearest"),
        ),
    )


@lru_cache(maxsize=1)
def make_tile() -> NDArray[np.uint16]:
    """(3, 4096, 4096): a slope with noise of four bits, never 0."""
    noise = np.random.default_rng(0).integers(1, 17, (3, _TILE, _TILE)).astype(np.uint16)
    noise += (np.arange(_TILE, dtype=np.uint16) // 8)[None, None, :]
    return noise


def is_full(row: int, col: int, filled: float) -> bool:
    """Whether a tile has pixels: scattered, and the same each time."""
    return int(hashlib.sha256(f"{row} {col}".encode()).hexdigest()[:8], 16) < filled * 2**32


def make_parts(work: Workplace, specs: tuple[CogSpec, CogSpec], filled: float) -> int:
    """Write the part of every tile; their bytes. Tiles of one shape have the same blocks, which are encoded once."""
    level = specs[0].levels[0]
    made: dict[tuple[bool, int, int], tuple[tuple[Any, ...], tuple[TileStore, ...]]] = {}
    total = 0
    with ExitStack() as stack:
        for row in range(-(-level.rows // TILE_BLOCKS)):
            for col in range(-(-level.cols // TILE_BLOCKS)):
                window = level.window(row * TILE_BLOCKS, col * TILE_BLOCKS, tiles=TILE_BLOCKS)
                kind = is_full(row, col, filled), window.height, window.width
                if kind not in made:
                    made[kind] = encode_tile(specs, row, col, kind[0], stack)
                rasters, stores = made[kind]
                work.write_part(
                    f"render/{row:05d}-{col:05d}.part", PartHead(row=row, col=col, rasters=rasters, summary=None), stores
                )
                total += sum(int(sizes.sum(dtype=np.uint64)) for raster in rasters for sizes in raster.sizes)
    return total


def encode_tile(
    specs: tuple[CogSpec, CogSpec], row: int, col: int, full: bool, stack: ExitStack
) -> tuple[tuple[Any, ...], tuple[TileStore, ...]]:
    """Encode a tile with the overviews inside it."""
    rasters, stores = [], []
    for spec, pixels in zip(specs, (make_tile(), np.ones((1, _TILE, _TILE), np.uint8)), strict=True):
        levels = part_levels(spec, row, col, TILE_BLOCKS)
        store = stack.enter_context(TileStore(None, levels))
        shifted = ShiftedTiles(store=store, row=row * TILE_BLOCKS, col=col * TILE_BLOCKS)
        pyramid = Pyramid(spec, shifted, window_tiles=TILE_BLOCKS, top=TILE_BLOCKS.bit_length() - 1)
        window = spec.levels[0].window(row * TILE_BLOCKS, col * TILE_BLOCKS, tiles=TILE_BLOCKS)
        pyramid.add(window, pixels[:, : window.height, : window.width] if full else None)
        rasters.append(describe_raster(store, levels, pyramid.take_pending()))
        stores.append(store)
    return tuple(rasters), tuple(stores)


def assemble(base: str, edge: int, access: Any) -> dict[str, Any]:
    """Assemble both files from their parts, as the phase assemble does."""
    specs = make_specs(edge)
    store = Store(access=access)
    work = Workplace(store=store, folder=join_url(base, "work"))
    destination = Destination(store=store, folder=join_url(base, "out"), item_id="m", overwrite=True)

    def name(row: int, col: int) -> str:
        return f"render/{row:05d}-{col:05d}.part"

    reader = PartReader(
        read=lambda row, col, offset, size: work.read_range(name(row, col), offset, size),
        map_ordered=partial(map_ordered, threads=_THREADS),
        refuse=lambda row, col: work.refuse(name(row, col), "a block has another checksum"),
    )
    start = time.perf_counter()
    sources = [PartedBlocks(spec, position, tile_blocks=TILE_BLOCKS, reader=reader) for position, spec in enumerate(specs)]
    windows = list(Pyramid(specs[0], TileStore(None, ()), window_tiles=TILE_BLOCKS).iter_windows())
    names = [name(window.row // _TILE, window.col // _TILE) for window in windows]
    for head, length in map_ordered(work.read_part, names, threads=_THREADS):
        for source in sources:
            source.add(head, length)
    gathered = time.perf_counter()
    figures: dict[str, Any] = {"parts": len(names), "gather_s": gathered - start}
    with tempfile.TemporaryDirectory() as scratch:
        for title, spec, source in zip(("mosaic", "index"), specs, sources, strict=True):
            head_file = Path(scratch) / f"{title}.tif"
            write_cog_header(head_file, spec, source, edge=4096)
            check_cog(head_file)
            begin = time.perf_counter()
            written = publish_raster(destination, f"{title}.tif", spec, source)
            seconds = time.perf_counter() - begin
            figures |= {f"{title}_bytes": written.size, f"{title}_sha256": written.sha256, f"{title}_s": seconds}
    return figures | {"peak_mb": find_peak() / _MB}


def find_peak() -> int:
    """Bytes of memory that this process held at most; getrusage would count what its parent held before it began."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def check(base: str, edge: int, filled: float, figures: dict[str, Any], access: Any) -> None:
    """Compare what was assembled with what the parts were made of."""
    store = Store(access=access)
    digest = hashlib.sha256()
    with store.open_stream(join_url(base, "out", "mosaic.tif")) as stream:
        while piece := stream.read(8 << 20):
            digest.update(piece)
    if digest.hexdigest() != figures["mosaic_sha256"]:
        message = "the mosaic is not what was written"
        raise SystemExit(message)
    if "://" in base:
        return
    with rasterio.open(Path(base) / "out" / "mosaic.tif") as raster:
        for row in range(0, edge, 3 * _TILE):
            for col in range(0, edge, 2 * _TILE):
                height, width = min(600, edge - row), min(600, edge - col)
                found = raster.read(window=((row, row + height), (col, col + width)))
                wanted = (
                    make_tile()[:, :height, :width] if is_full(row // _TILE, col // _TILE, filled) else np.zeros_like(found)
                )
                if not np.array_equal(found, wanted):
                    message = f"pixels at row {row}, column {col} are not those of the parts"
                    raise SystemExit(message)


@contextmanager
def open_place(folder: Path, *, s3: bool) -> Iterator[tuple[str, dict[str, str]]]:
    """Where everything goes, and how it is reached, as fields of the section io."""
    if not s3:
        yield str(folder / "files"), {}
        return
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from servers import run_s3  # noqa: PLC0415 - from the tests, with the server of the development lock

    with run_s3(folder / "s3") as server:
        words = server.options
        yield (
            f"{server.base}/assembly",
            {name.removeprefix("--io."): text for name, text in zip(words[::2], words[1::2], strict=True)},
        )


def main() -> None:
    """Make parts, assemble them in a process of its own, check, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=int, default=60_000, help="pixels on each side")
    parser.add_argument("--filled", type=float, default=0.6, help="share of the tiles that have pixels")
    parser.add_argument("--s3", action="store_true", help="on an S3 server instead of files")
    parser.add_argument("--folder", type=Path, help="where everything goes, and is removed in the end")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--assemble", metavar="JSON", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.assemble:
        place = json.loads(options.assemble)
        print(json.dumps(assemble(place["base"], options.edge, resolve_access(io_model()(**place["io"])))))
        return
    folder = Path(tempfile.mkdtemp(prefix="assembly-", dir=options.folder))
    try:
        with open_place(folder, s3=options.s3) as (base, io):
            access = resolve_access(io_model()(**io))
            work = Workplace(store=Store(access=access), folder=join_url(base, "work"))
            size = make_parts(work, make_specs(options.edge), options.filled)
            command = [
                sys.executable,
                __file__,
                "--edge",
                str(options.edge),
                "--assemble",
                json.dumps({"base": base, "io": io}),
            ]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            figures = json.loads(done.stdout.splitlines()[-1])
            check(base, options.edge, options.filled, figures, access)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.json:
        print(json.dumps({"edge": options.edge, "s3": options.s3, "parts_bytes": size, **figures}))
        return
    seconds, size_of = figures["mosaic_s"], figures["mosaic_bytes"]
    rows = {
        "image": f"{options.edge} x {options.edge} x 3 uint16, {options.filled:.0%} of {figures['parts']} tiles with pixels",
        "parts": f"{size / 1e9:.2f} GB on {'S3' if options.s3 else 'files'}",
        "mosaic": f"{size_of / 1e9:.2f} GB in {seconds:.1f} s, {size_of / _MB / seconds:.0f} MB/s",
        "scene index": f"{figures['index_bytes'] / _MB:.1f} MB in {figures['index_s']:.1f} s",
        "heads read": f"in {figures['gather_s']:.1f} s",
        "peak memory": f"{figures['peak_mb']:.0f} MB",
    }
    for title, text in rows.items():
        print(f"{title:<12} {text}")


if __name__ == "__main__":
    main()
