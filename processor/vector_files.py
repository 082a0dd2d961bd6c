"""Vector files of strangers: laid into a folder of their own, and checked by their contents, before a library opens them.

OGR finds out by itself what a file is, and some of its formats read whatever files and addresses they name (virtual files,
pipelines of commands). So only files whose contents are of an allowed format come into the folder, with those companions alone
that belong to them.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import sqlite3
import time
import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

import numpy as np

from processor.errors import InputError
from processor.model.crs_text import check_crs_text
from processor.storage.scratch import scratch_folder
from processor.storage.store import Store

MOST_FEATURES: Final = 5_000_000

_MAX_BYTES: Final = 1 << 30
_MAX_SECONDS: Final = 60.0
_FORMATS: Final = "GeoPackage, GeoJSON (also one feature a line), FlatGeobuf, shapefiles (also zipped) and GeoParquet are read"
_COMPANIONS: Final = (".shx", ".dbf", ".prj", ".cpg")
_JSON: Final = (b"{", b"\x1e")
_SHAPES: Final = (b"\0\0\x27\x0a",)
_PARQUET: Final = (b"PAR1",)
_BEGINNINGS: Final = {
    ".gpkg": (b"SQLite format 3\0",),
    ".geojson": _JSON,
    ".json": _JSON,
    ".geojsonl": _JSON,
    ".geojsons": _JSON,
    ".ndjson": _JSON,
    ".fgb": (b"fgb\3fgb",),
    ".shp": _SHAPES,
    ".zip": (b"PK\3\4",),
    ".parquet": _PARQUET,
    ".geoparquet": _PARQUET,
}
_ZIPPED: Final = frozenset({".shp", *_COMPANIONS, ".sbn", ".sbx", ".qix", ".xml"})
_FGB_HEADER: Final = 10 << 20  # bytes; OGR takes no longer one

# Member names are compared by OGR without regard to case, up to a NUL, after escapes.
_CRS: Final = re.compile(rb'"(?:c|\\u00[46]3)(?:r|\\u00[57]2)(?:s|\\u00[57]3)(?:(?:\\u0000|\0)[^"]*)?"', re.IGNORECASE)
_BLANK: Final = re.compile(rb"[ \t\r\n]*")
_CRS_BYTES: Final = 1 << 16
_CRS_ADDRESS: Final = re.compile(r"https?://(?:www\.)?opengis\.net/def/crs/[A-Za-z0-9_.:/-]{1,100}")  # which names a code

_DIGITS: Final = 8  # characters of a number, more than for each byte that it takes
_RTREE: Final = re.compile(
    r"""create\s+virtual\s+table\s+(?:if\s+not\s+exists\s+)?(?:"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|\w+)\s+using\s+rtree\s*\(""",
    re.IGNORECASE,
)
_USUAL_VIEWS: Final = frozenset(
    {"st_spatial_ref_sys", "spatial_ref_sys", "st_geometry_columns", "geometry_columns"}
)  # of the standard, for programs that know other ones; OGR does not look at them


@contextmanager
def stage_vectors(url: str, what: str, store: Store) -> Iterator[Path]:
    """A checked vector file in a folder of its own, with its companions, while the block runs; a zipped one unpacked.

    Parameters
    ----------
    url
        Its path or URL.
    what
        That messages begin with.

    Raises
    ------
    InputError
        There is no such file, or it is none of an allowed format.
    StorageError
        Storage or the network failed.
    """
    refused = f"{what} is not a readable vector file: "
    suffix = _suffix(url).lower()
    if "://" not in url and not Path(url).exists():
        msg = f"{what} does not exist"
        raise InputError(msg)
    if suffix not in _BEGINNINGS:
        raise InputError(refused + _FORMATS)
    with scratch_folder() as folder:
        for part in list_parts(url, store):
            staged = Path(folder, f"features{_suffix(part).lower()}")
            if "://" in part:
                staged.write_bytes(store.read_bytes(part, max_bytes=_MAX_BYTES))
            else:
                _check_regular(Path(part), refused)
                staged.symlink_to(Path(part).resolve())
        path = Path(folder, f"features{suffix}")
        try:
            _check_contents(path, refused)
            path = _unpack(path, refused) if suffix == ".zip" else path
        except (
            sqlite3.Error,
            zipfile.BadZipFile,
            RuntimeError,
            ValueError,
            OSError,
        ) as error:  # runtime: of encrypted archives
            raise InputError(refused + str(error)) from error
        yield path


def list_parts(url: str, store: Store) -> tuple[str, ...]:
    """Every file that belongs to a vector file: itself, and the files beside it that hold the rest.

    Raises
    ------
    StorageError
        If storage or the network failed.
    """
    suffix = _suffix(url)
    if "?" in url or suffix.lower() != ".shp":
        return (url,)
    stem = url.removesuffix(suffix)
    if "://" not in url:  # whatever is there, and in either case, as OGR looks for it
        found = (next(filter(os.path.lexists, (stem + end, stem + end.upper())), None) for end in _COMPANIONS)
        return (url, *filter(None, found))
    parts = [url]
    for end in _COMPANIONS:
        part = stem + (end.upper() if suffix.isupper() else end)
        with suppress(InputError):  # some stores deny access to what they do not have
            if store.exists(part):
                parts.append(part)
    return tuple(parts)


def _suffix(url: str) -> str:
    return Path(urlsplit(url).path if "://" in url else url).suffix


def _check_regular(path: Path, refused: str) -> None:
    if not path.is_file():
        raise InputError(refused + f"{path.name} is no regular file; {_FORMATS}")
    if path.stat().st_size > _MAX_BYTES:
        raise InputError(refused + f"it has {path.stat().st_size} bytes, and at most {_MAX_BYTES} are taken")


def _check_contents(path: Path, refused: str) -> None:
    """Let through what its name says; raises InputError."""
    suffix = path.suffix
    beginnings = _BEGINNINGS[suffix]
    with path.open("rb") as stream:
        start = stream.read(4096)
    if not start.removeprefix(b"\xef\xbb\xbf").lstrip(b" \t\r\n" if beginnings is _JSON else b"").startswith(beginnings):
        raise InputError(refused + f"it does not begin as {suffix} does; {_FORMATS}")
    if suffix == ".gpkg":
        _check_database(path, refused)
    elif beginnings is _JSON:
        _check_json(path, refused)
    elif suffix == ".shp":
        _check_shapes(path, refused)
    elif beginnings is _PARQUET:
        _check_parquet(path, refused)
    elif suffix == ".fgb" and int.from_bytes(start[8:12], "little") > _FGB_HEADER:
        raise InputError(refused + "its header is too long")


def _check_json(path: Path, refused: str) -> None:
    """Refuse a "crs" that is not named by a code or WKT, wherever it stands: OGR requests what others link to."""
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for match in _CRS.finditer(data):
            place = _BLANK.match(data, match.end()).end()  # type: ignore[union-attr]  # it matches everywhere
            if data[place : place + 1] in (b",", b"]", b"}"):  # a text, not a member's name
                continue
            value = _BLANK.match(data, place + 1).end()  # type: ignore[union-attr]
            if data[place : place + 1] != b":" or not _is_named(data[value : value + _CRS_BYTES]):
                raise InputError(refused + 'its "crs" is no name such as EPSG:32632, and nothing that it leads to is requested')


def _is_named(data: bytes) -> bool:
    """Whether the value of a member "crs" begins here that OGR takes from itself alone."""
    if data[:1] != b"{":  # a text, a number or null, which says nothing to OGR; anything else is no JSON
        return data[:1] not in (b"/", b"'", b"")
    try:
        pairs, _ = json.JSONDecoder(object_pairs_hook=sorted).raw_decode(data.decode("utf-8", errors="replace"))
        ((properties, ((key, value),)), (kind, name)) = pairs
        is_code = (properties, kind, name.lower(), key) == ("properties", "type", "epsg", "code")
        is_name = (properties, kind, name.lower(), key) == ("properties", "type", "name", "name")
        if is_name and not _CRS_ADDRESS.fullmatch(value):
            check_crs_text(value)
    except (ValueError, TypeError, AttributeError, RecursionError):  # of other values than these
        return False
    return is_name or (is_code and str(value).isdecimal())


def _check_database(path: Path, refused: str) -> None:
    """Let through tables and their spatial indexes, which can be read in time."""
    real = path.resolve()
    for end in ("-wal", "-journal"):
        beside = real.with_name(real.name + end)
        if os.path.lexists(beside) and (not beside.is_file() or beside.stat().st_size):
            reason = f"{beside.name} beside it holds changes: let the program that made them close the file"
            raise InputError(refused + reason)
    end_of_patience = time.monotonic() + _MAX_SECONDS
    with closing(sqlite3.connect(f"{real.as_uri()}?mode=ro&immutable=1", uri=True)) as database:
        database.set_progress_handler(lambda: time.monotonic() > end_of_patience, 10_000)
        try:
            _check_schema(database, refused)
            _check_rows(database, real.stat().st_size, refused)
        except sqlite3.OperationalError as error:
            reason = f"reading it takes more than {_MAX_SECONDS:g} seconds" if "interrupted" in str(error) else str(error)
            raise InputError(refused + reason) from error


def _check_schema(database: sqlite3.Connection, refused: str) -> None:
    rows = database.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master LIMIT 100000").fetchall()
    for kind, name, sql in rows:
        is_virtual = kind == "table" and re.match(r"\s*create\s+virtual\b", str(sql), re.IGNORECASE) is not None
        if (kind == "view" and str(name).lower() not in _USUAL_VIEWS) or (is_virtual and not _RTREE.match(str(sql))):
            what = "virtual table" if is_virtual else "view"
            raise InputError(refused + f"it has the {what} {str(name)[:80]!r}; export its rows to a table")
    if "gpkg_contents" not in {str(name).lower() for kind, name, _ in rows if kind == "table"}:
        raise InputError(refused + "it has no table gpkg_contents")
    for (name,) in database.execute("SELECT DISTINCT table_name FROM gpkg_contents LIMIT 100000").fetchall():
        if any(kind == "view" and str(known).lower() == str(name).lower() for kind, known, _ in rows):
            raise InputError(refused + f"its layer {str(name)[:80]!r} is a view; export its rows to a table")


def _check_rows(database: sqlite3.Connection, size: int, refused: str) -> None:
    """Read the tables that OGR reads, once: in a sound file no page belongs to two rows, and no column is computed."""
    query = (
        "SELECT name FROM sqlite_master WHERE type = 'table' AND (lower(name) LIKE 'gpkg_%' OR lower(name) IN "
        "(SELECT lower(table_name) FROM gpkg_contents)) LIMIT 100000"
    )
    for (table,) in database.execute(query).fetchall():
        columns = database.execute("SELECT name, hidden FROM pragma_table_xinfo(?)", (table,)).fetchall()
        if any(hidden for _, hidden in columns):
            raise InputError(refused + f"the table {table[:80]!r} has columns that are computed; export its rows to a table")
        lengths = " + ".join(f"coalesce(length({_quote(column)}), 0)" for column, _ in columns)
        rows = f"SELECT {lengths} AS l FROM {_quote(table)} LIMIT {MOST_FEATURES + 1}"  # noqa: S608 - names are quoted
        (total,) = database.execute(f"SELECT total(l) FROM ({rows})").fetchone()  # noqa: S608
        if total > _DIGITS * size:
            raise InputError(refused + f"the rows of {table[:80]!r} hold more than the file")


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _check_parquet(path: Path, refused: str) -> None:
    """Refuse more rows or bytes than are taken, and a CRS that names a file."""
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise InputError(refused + str(error)) from error
    metadata = parquet.read_metadata(path)
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if metadata.num_rows > MOST_FEATURES or size > _MAX_BYTES:
        raise InputError(refused + f"it has {metadata.num_rows} rows of {size} bytes")
    geo = json.loads((metadata.metadata or {}).get(b"geo", b"{}"))
    columns = geo.get("columns") if isinstance(geo, dict) else None
    for column in columns.values() if isinstance(columns, dict) else ():
        crs = column.get("crs") if isinstance(column, dict) else None
        if crs is not None:
            check_crs_text(crs if isinstance(crs, str) else json.dumps(crs))


def _check_shapes(path: Path, refused: str) -> None:
    """Refuse an index that names more than the shapefile holds: OGR would read some of it again and again."""
    index = path.with_suffix(".shx")
    if not index.exists():
        return  # OGR says so
    with index.open("rb") as stream:
        if stream.read(4) not in _SHAPES:
            raise InputError(refused + "its .shx does not begin as .shx does")
    records = np.fromfile(index, dtype=">i4", offset=100)
    words = records[1 : len(records) // 2 * 2 : 2].astype(np.int64)
    if (words < 0).any() or 2 * int(words.sum()) > path.stat().st_size:
        raise InputError(refused + "its .shx names more than its .shp holds")


def _unpack(archive: Path, refused: str) -> Path:
    """Unpack the first shapefile of an archive, which holds nothing else, beside it."""
    with zipfile.ZipFile(archive) as opened:
        members = [member for member in opened.infolist() if not member.is_dir()]
        others = [member.filename for member in members if PurePosixPath(member.filename).suffix.lower() not in _ZIPPED]
        if others:
            raise InputError(refused + f"{others[0][:80]!r} is no part of a shapefile")
        first = next((PurePosixPath(m.filename) for m in members if m.filename.lower().endswith(".shp")), None)
        if first is None:
            raise InputError(refused + "it holds no shapefile")
        left = _MAX_BYTES
        for member in members:
            name = PurePosixPath(member.filename)
            if name.with_suffix("") == first.with_suffix("") and name.suffix.lower() in (".shp", *_COMPANIONS):
                with opened.open(member) as packed, archive.with_suffix(name.suffix.lower()).open("wb") as file:
                    while left > 0 and (piece := packed.read(min(left, 1 << 20))):
                        left -= file.write(piece)
        if left <= 0:
            raise InputError(refused + f"it unpacks to more than {_MAX_BYTES} bytes")
    path = archive.with_suffix(".shp")
    _check_contents(path, refused)
    return path
