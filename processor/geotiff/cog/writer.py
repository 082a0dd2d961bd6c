"""Cloud-Optimized GeoTIFFs assembled from tiles that are compressed already: a header is made, bytes are copied.

The layout is that of GDAL's COG driver (https://gdal.org/en/stable/drivers/raster/cog.html, "File format details"): header,
structural metadata, the directories of the full resolution and of the overviews from large to small, their tables of tile
offsets and sizes, then the tiles of the smallest overview first and of the full resolution last, each between its size and a
repetition of its last four bytes. All sizes are known before the first byte is written, so a file of any size is made in one
pass, in order, with the memory of one part.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from processor.errors import PermanentError
from processor.geotiff.cog.codecs import find_predictor
from processor.geotiff.cog.overviews import Pyramid
from processor.geotiff.cog.spec import CogSpec, Level
from processor.geotiff.cog.tags import Tag, make_tags
from processor.geotiff.cog.tiles import TileSource, TileStore
from processor.storage.store import Written
from processor.storage.url import storage_errors

MEDIA_TYPE: Final = "image/tiff; application=geotiff; profile=cloud-optimized"

HEADER_EDGE: Final = 4096
"""Pixels on the longer side of the largest overview in a head: more than any picture in the report needs."""

_PART: Final = 8 << 20  # bytes
_GHOST: Final = (
    b"LAYOUT=IFDS_BEFORE_DATA\nBLOCK_ORDER=ROW_MAJOR\nBLOCK_LEADER=SIZE_AS_UINT4\n"
    b"BLOCK_TRAILER=LAST_4_BYTES_REPEATED\nKNOWN_INCOMPATIBLE_EDITION=NO\n "
)  # the last space is where a writer that breaks the layout turns NO into YES
_STRUCTURE: Final = b"GDAL_STRUCTURAL_METADATA_SIZE=%06d bytes\n%b" % (len(_GHOST), _GHOST)
_COMPRESSIONS: Final = {"none": 1, "lzw": 5, "deflate": 8, "zstd": 50000}
_SHORT, _LONG, _LONG8 = 3, 4, 16
_TILE_TABLES: Final = (324, 325)  # offsets and sizes of tiles
_FRAME: Final = 8  # bytes around a tile: its size before it, its last four bytes again behind it
_LARGEST_CLASSIC: Final = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CogLayout:
    """Where everything lies in a file."""

    header: bytes
    """All bytes before the first tile."""
    size: int
    """Bytes of the whole file."""


@dataclass(frozen=True, slots=True)
class _Format:
    """How the two kinds of TIFF differ."""

    start: bytes
    """First bytes of the file, up to the offset of the first directory."""
    entries: str
    """Struct format of the number of entries of a directory."""
    entry: str
    """Struct format of code, type and count of an entry."""
    offset: str
    """Struct format of an offset."""
    offset_kind: int
    """TIFF type of an offset."""

    @property
    def inline(self) -> int:
        """Bytes of values that stand in the entry itself."""
        return struct.calcsize(self.offset)


_CLASSIC: Final = _Format(struct.pack("<2sH", b"II", 42), "<H", "<HHI", "<I", _LONG)
_BIG: Final = _Format(struct.pack("<2sHHH", b"II", 43, 8, 0), "<Q", "<HHQ", "<Q", _LONG8)


def plan_layout(spec: CogSpec, tiles: TileSource) -> CogLayout:
    """Compute the header, and with it the place of every byte, from the sizes of the tiles.

    Parameters
    ----------
    spec
        What is written.
    tiles
        The compressed tiles; only their sizes are read. Where the file would be larger than 4 GiB, it is a BigTIFF.

    Raises
    ------
    InputError
        The CRS of the grid is not valid WKT.
    """
    sizes = [tiles.sizes(level.index) for level in spec.levels]
    data = sum(int(level.sum(dtype=np.uint64)) + _FRAME * int(np.count_nonzero(level)) for level in sizes)
    full, reduced = make_tags(spec)
    for form in (_CLASSIC, _BIG):
        tables = [_make_directory(reduced if level.index else full, spec, level, form) for level in spec.levels]
        offsets, end = _assign_offsets(tables, form)
        if end + data <= _LARGEST_CLASSIC:
            break
    header = _pack_header(_fill_tables(tables, sizes, end, form), offsets, end, form)
    return CogLayout(header=header, size=end + data)


def iter_cog(spec: CogSpec, tiles: TileSource) -> Iterator[bytes]:
    """Make the file in order, in parts of 8 MiB (the last one may be smaller); memory holds two of them and a tile.

    Parameters
    ----------
    spec
        What is written.
    tiles
        The compressed tiles of all levels.

    Raises
    ------
    InputError, KeyError, StorageError
        As :func:`write_cog`.
    """
    pieces: list[bytes | memoryview] = []
    room = _PART
    for piece in _iter_pieces(spec, tiles):
        rest = memoryview(piece)
        while len(rest) >= room:
            yield b"".join((*pieces, rest[:room]))
            pieces, rest, room = [], rest[room:], _PART
        if rest:
            pieces.append(rest)
            room -= len(rest)
    if pieces:
        yield b"".join(pieces)


def write_cog(destination: str | os.PathLike[str] | BinaryIO, spec: CogSpec, tiles: TileSource) -> Written:
    """Write the file to a local path (made anew or replaced) or a binary stream.

    Returns
    -------
    Its size and digest.

    Raises
    ------
    InputError
        The CRS of the grid is not valid WKT.
    KeyError
        Tiles are missing from a tile store.
    StorageError
        The tiles cannot be read or the file cannot be written.
    """
    if isinstance(destination, str | os.PathLike):
        with storage_errors(os.fspath(destination)), Path(destination).open("wb") as stream:
            return write_cog(stream, spec, tiles)
    digest, size = hashlib.sha256(), 0
    for piece in _iter_pieces(spec, tiles):
        destination.write(piece)
        digest.update(piece)
        size += len(piece)
    return Written(size=size, sha256=digest.hexdigest())


def write_cog_header(file: Path, spec: CogSpec, tiles: TileSource, *, edge: int) -> None:
    """Write what comes first in the file: the header, and the overviews of at most ``edge`` pixels; the rest is a hole.

    That is all that :func:`check_cog` reads, and all that a picture of the mosaic is made from. Without overviews all of the
    file is written.

    Parameters
    ----------
    file
        Local path, made anew.
    spec, tiles
        As for :func:`iter_cog`.
    edge
        Of the largest overview that is wanted, pixels.
    """
    layout = plan_layout(spec, tiles)
    wanted = [level for level in spec.levels if max(level.width, level.height) <= edge] or list(spec.levels)
    with storage_errors(str(file)), file.open("wb") as stream:
        stream.write(layout.header)
        for level in reversed(wanted):
            for tile in tiles.iter_tiles(level.index):
                stream.writelines(_frame(tile))
        stream.truncate(layout.size)


def check_cog(file: Path, *, strict: bool = True) -> None:
    """Check a finished local file with rio-cogeo, which knows nothing of how it was made.

    Parameters
    ----------
    file
        The file.
    strict
        Whether it also has to have overviews.

    Raises
    ------
    PermanentError
        It is not a valid COG; nothing of the kind may be published.
    """
    from rio_cogeo.cogeo import cog_validate  # noqa: PLC0415 - a tenth of a second; see processor.process.memory.load_ahead

    is_valid, errors, warnings = cog_validate(file, strict=strict, quiet=True)
    if not is_valid:
        reasons = "; ".join([*errors, *(warnings if strict else ())])
        msg = f"{file.name} came out as no valid COG ({reasons}): this is a bug; please report it"
        raise PermanentError(msg)


def write_cog_array(destination: str | os.PathLike[str] | BinaryIO, pixels: NDArray[Any], spec: CogSpec) -> Written:
    """Write a raster that fits into memory, with the overviews that its size asks for.

    Parameters
    ----------
    destination
        Local path (made anew or replaced) or binary stream.
    pixels
        (bands, height, width), as the spec says.
    spec
        What is written.

    Returns
    -------
    Its size and digest.

    Raises
    ------
    ValueError
        The pixels do not fit the spec.
    InputError, StorageError
        As :func:`write_cog`.
    """
    if pixels.shape != (spec.bands, *spec.grid.shape):
        msg = f"pixels must be {(spec.bands, *spec.grid.shape)}, got {pixels.shape}"
        raise ValueError(msg)
    with TileStore(None, spec.levels) as store:
        pyramid = Pyramid(spec, store)
        for window in pyramid.iter_windows():
            rows, cols = window.slices_in(spec.grid.window)
            pyramid.add(window, pixels[:, rows, cols])
        return write_cog(destination, spec, store)


def _iter_pieces(spec: CogSpec, tiles: TileSource) -> Iterator[bytes]:
    """Yield the header and each tile between its leader and trailer."""
    yield plan_layout(spec, tiles).header
    for level in reversed(spec.levels):
        for tile in tiles.iter_tiles(level.index):
            yield from _frame(tile)


def _frame(tile: bytes) -> tuple[bytes, bytes, bytes]:
    """A tile between its leader and trailer."""
    return struct.pack("<I", len(tile)), tile, tile[-4:].rjust(4, b"\0")


def _make_directory(known: tuple[Tag, ...], spec: CogSpec, level: Level, form: _Format) -> tuple[Tag, ...]:
    """Add to the tags of a level those that say how it is stored, in their order; tile offsets and sizes are zero for now."""
    tiles, predictor = level.rows * level.cols, find_predictor(spec.profile, np.dtype(spec.dtype))
    tags = [
        *known,
        _integer_tag(256, level.width),
        _integer_tag(257, level.height),
        _integer_tag(259, _COMPRESSIONS[spec.profile.compression]),
        _integer_tag(322, level.tile_size),
        _integer_tag(323, level.tile_size),
        Tag(_TILE_TABLES[0], form.offset_kind, tiles, bytes(tiles * form.inline)),
        Tag(_TILE_TABLES[1], _LONG, tiles, bytes(4 * tiles)),
    ]
    if level.index > 0:
        tags.append(Tag(254, _LONG, 1, struct.pack("<I", 1)))  # a reduced image of another one of the file
    if predictor > 1:
        tags.append(_integer_tag(317, predictor))
    return tuple(sorted(tags, key=lambda tag: tag.code))


def _integer_tag(code: int, value: int) -> Tag:
    """Make a tag of one integer, as short as it may be."""
    return Tag(code, _SHORT, 1, struct.pack("<H", value)) if value < 1 << 16 else Tag(code, _LONG, 1, struct.pack("<I", value))


def _assign_offsets(tables: list[tuple[Tag, ...]], form: _Format) -> tuple[list[dict[int, int]], int]:
    """Give each directory (key 0) and each value that does not stand in its entry (key: code) an offset, and the end of all.

    Directories come one after the other, each with its values; the tables of tiles follow, so that the directories of all
    levels are near the start of the file.
    """
    end = len(form.start) + form.inline + len(_STRUCTURE)
    offsets: list[dict[int, int]] = []
    for tags in tables:
        end += end % 2
        offsets.append({0: end})
        end += struct.calcsize(form.entries) + len(tags) * (struct.calcsize(form.entry) + form.inline) + form.inline
        end = _assign_values((tag for tag in tags if tag.code not in _TILE_TABLES), offsets[-1], end, form)
    for tags, table_offsets in zip(tables, offsets, strict=True):
        end = _assign_values((tag for tag in tags if tag.code in _TILE_TABLES), table_offsets, end, form)
    return offsets, end


def _assign_values(tags: Iterable[Tag], offsets: dict[int, int], end: int, form: _Format) -> int:
    """Give each value that does not stand in its entry an even offset, from ``end`` on, and the end of all."""
    for tag in tags:
        if len(tag.data) > form.inline:
            offsets[tag.code] = end + end % 2
            end += end % 2 + len(tag.data)
    return end


def _fill_tables(
    tables: list[tuple[Tag, ...]], sizes: list[NDArray[np.uint32]], end: int, form: _Format
) -> list[tuple[Tag, ...]]:
    """Compute the offset of each tile, the smallest level first from ``end`` on; 0 for an empty one."""
    filled: list[tuple[Tag, ...]] = []
    for tags, table in zip(reversed(tables), reversed(sizes), strict=True):
        counts = table.reshape(-1).astype(np.uint64)
        spans = np.where(counts > 0, counts + np.uint64(_FRAME), np.uint64(0))
        ends = np.cumsum(spans, dtype=np.uint64) + np.uint64(end)
        offsets = np.where(counts > 0, ends - spans + np.uint64(4), np.uint64(0))
        end = int(ends[-1])
        data = (offsets.astype(f"<u{form.inline}").tobytes(), counts.astype("<u4").tobytes())
        values = dict(zip(_TILE_TABLES, data, strict=True))
        filled.append(tuple(tag._replace(data=values.get(tag.code, tag.data)) for tag in tags))
    return filled[::-1]


def _pack_header(tables: list[tuple[Tag, ...]], offsets: list[dict[int, int]], end: int, form: _Format) -> bytes:
    """Write directories and values to their offsets."""
    out = bytearray(end)
    start = form.start + struct.pack(form.offset, offsets[0][0]) + _STRUCTURE
    out[: len(start)] = start
    following = [table_offsets[0] for table_offsets in offsets[1:]] + [0]
    for tags, table_offsets, next_directory in zip(tables, offsets, following, strict=True):
        entries = [struct.pack(form.entries, len(tags))]
        for tag in tags:
            entries.append(struct.pack(form.entry, tag.code, tag.kind, tag.length))
            if tag.code in table_offsets:
                offset = table_offsets[tag.code]
                out[offset : offset + len(tag.data)] = tag.data
                entries.append(struct.pack(form.offset, offset))
            else:
                entries.append(tag.data.ljust(form.inline, b"\0"))
        entries.append(struct.pack(form.offset, next_directory))
        directory = b"".join(entries)
        out[table_offsets[0] : table_offsets[0] + len(directory)] = directory
    return bytes(out)
