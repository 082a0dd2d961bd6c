"""Opening scenes: each file of a scene described as it is, and compared with what its Item says."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from rasterio.enums import ColorInterp, Compression, MaskFlags
from rasterio.io import DatasetReader

from processor.errors import InputError, MosaicError, StorageError, UnreadableError
from processor.geotiff.cog.spec import DTYPES
from processor.geotiff.disagreement import compare_declared
from processor.geotiff.gdal import GdalReader, find_mask, is_remote, local_name
from processor.geotiff.placement import read_placement
from processor.model import Band, BandRule, Finding, Grid, Mask, MaskRef, RasterRef, Scaling, Scene, SceneRef, Source
from processor.model.bands import find_label, is_placeholder
from processor.model.dtypes import is_representable
from processor.redaction import redact_url
from processor.storage.backends import S3
from processor.storage.options import Access
from processor.storage.reading import ObjectInfo
from processor.storage.store import Store

Ranges = tuple[tuple[float, float], ...]
"""First and last values of ranges."""

_LOSSY: Final = frozenset({Compression.jpeg, Compression.webp})
_HUGE: Final = 1e30  # no measured value
_UNEVEN = 2.0  # pixels of an overview by which its two factors may differ
_PIECES, _PIECE = 16, 64 * 2**10  # of a file's fingerprint: how many, and their bytes
_COMPOSED_EDGE: Final = 512  # pixels of a composed scene that are made at once
_COLOURS: Final = frozenset({"red", "green", "blue"})
_LONGEST_UNIT: Final = 200  # characters
_UNIT_ROWS: Final = 256  # strips are read this many rows at a time, at least
_MAX_UNIT_BYTES: Final = 256 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedScene:
    """The files of a scene and what opening them brought to light."""

    rasters: tuple[Scene, ...]
    """Each as its file stores it, its bands those that are wanted; named like the scene where there is but one file."""
    mask: Mask | None
    """What marks further pixels as invalid, or None."""
    findings: tuple[Finding, ...]
    """Where the files and the Item disagree."""

    @property
    def scene(self) -> Scene:
        """The first raster, which is all of a scene of one file."""
        return self.rasters[0]


def open_scene(
    ref: SceneRef, *, nodata: float | Ranges | None = None, validity: BandRule | None = None, access: Access | None = None
) -> OpenedScene:
    """Open a scene's rasters and describe them; where file and Item disagree, the file wins and a finding says so.

    Parameters
    ----------
    ref
        What the input says.
    nodata
        Value of invalid pixels that replaces the files' own, or ranges of such values.
    validity
        Where a pixel is invalid that some bands have and others do not; None: where any has not, if the bands are from several
        files, and where all have not, if they are from one.
    access
        How storage is reached; default: nothing is set.

    Raises
    ------
    InputError
        Naming the scene and what to do: no such file, no GeoTIFF, no georeferencing, a type that is not supported, blocks
        too large to decode, no such band.
    StorageError
        If a remote file cannot be reached.
    """
    given = ((float(nodata), float(nodata)),) if isinstance(nodata, int | float) else nodata
    opener = _Opener(access if access is not None else Access(), given)
    several = len(ref.rasters) > 1 or ref.mask is not None
    rule: BandRule = validity or ("any" if len(ref.rasters) > 1 else "all")
    rasters = [
        replace(opener.open(ref, raster, _name_part(ref, raster, position) if several else ref.name), band_rule=rule)
        for position, raster in enumerate(ref.rasters)
    ]
    mask = None if ref.mask is None else opener.open_mask(ref, ref.mask)
    return OpenedScene(rasters=tuple(rasters), mask=mask, findings=tuple(opener.findings))


def _name_part(ref: SceneRef, raster: RasterRef, position: int) -> str:
    return f"{ref.name}/{raster.asset or f'file {position + 1}'}"


class _Opener:
    """Opens the files of one scene and collects what is found."""

    def __init__(self, access: Access, nodata: Ranges | None) -> None:
        self._gdal = GdalReader(access)
        self._store = Store(access=access)
        self._nodata = nodata
        self._s3 = next((one for one in access.storages if isinstance(one, S3)), S3())
        self.findings: list[Finding] = []

    def open(self, ref: SceneRef, raster: RasterRef, name: str, *, is_mask: bool = False) -> Scene:
        """Describe one file, or an alternate of it where storage does not give it."""
        try:
            return self._open(ref, raster, name, is_mask=is_mask)
        except UnreadableError as error:
            problem = error
        for alternate in raster.alternates:
            place = replace(alternate, declared=raster.declared)
            try:
                scene = self._open(ref, place, name, is_mask=is_mask)
            except (InputError, StorageError):  # the first place is the one to be mended
                continue
            message = f"{problem}: its alternate {redact_url(place.href)} is read in its place"
            found = Finding(severity="info", code="alternate-read", message=message, scene=ref.name)
            self.findings.append(found)
            return scene
        offer = raster.endpoint
        if offer is None or not raster.href.startswith("s3") or self._s3.endpoint is not None:
            raise problem
        msg = f"{problem}; its Item says that the bucket is on {offer}: --io.s3_endpoint {offer}, if you trust it"
        raise UnreadableError(msg) from problem

    def _open(self, ref: SceneRef, raster: RasterRef, name: str, *, is_mask: bool) -> Scene:
        """Describe one file."""
        info = self._describe(raster, name)
        try:
            with self._gdal.env(raster.href, requester_pays=raster.requester_pays, region=raster.region):
                dataset = self._gdal.open(raster.href, name)
                try:
                    scene, findings = self._read(dataset, ref, raster, name, info)
                finally:
                    self._gdal.close(dataset)
        except UnicodeDecodeError as error:
            msg = (
                f"scene {name}: texts in the metadata of {redact_url(raster.href)} are not UTF-8; copy it without them, with "
                "gdal_translate -co PROFILE=GeoTIFF and, where it is the name of the CRS, -a_srs"
            )
            raise InputError(msg) from error
        unit_shape(scene, scene.grid, None)
        self.findings += () if is_mask else findings
        return scene

    def open_mask(self, ref: SceneRef, mask: MaskRef) -> Mask:
        """Describe the raster that marks invalid pixels.

        Raises
        ------
        InputError
            If its values are no integers, or it has several bands of which none is chosen.
        """
        scene = self.open(ref, mask.raster, _name_part(ref, mask.raster, 0), is_mask=True)
        if np.dtype(scene.dtype).kind not in "ui":
            msg = f"scene {ref.name}: the mask {scene.source.asset} is {scene.dtype}; a mask has integers (inputs.mask)"
            raise InputError(msg)
        if len(scene.bands) > 1:
            known = ", ".join(band.name for band in scene.bands)
            msg = (
                f"scene {ref.name}: the mask {scene.source.asset} has {len(scene.bands)} bands, {known}: choose one with "
                f"--inputs.mask '{{asset: {mask.raster.asset}, band: {scene.bands[0].name}, …}}'"
            )
            raise InputError(msg)
        return Mask(raster=scene, invalid=mask.invalid, valid=mask.valid, bits=mask.bits)

    def _describe(self, raster: RasterRef, name: str) -> ObjectInfo:
        """Size and version of the file, of which storage says clearly what is wrong, where GDAL does not."""
        if not is_remote(raster.href):
            path = Path(local_name(raster.href))
            if not path.is_file():
                return ObjectInfo(size=None, version=None)  # opening it will say so
            return ObjectInfo(size=path.stat().st_size, version=_fingerprint(path))
        try:
            return self._store.describe(raster.href)
        except MosaicError as error:
            msg = f"scene {name}: {error}"
            raise type(error)(msg) from error

    def _read(
        self, dataset: DatasetReader, ref: SceneRef, raster: RasterRef, name: str, info: ObjectInfo
    ) -> tuple[Scene, tuple[Finding, ...]]:
        placement = read_placement(dataset, name, raster.declared.crs)
        grid = placement.grid
        marked = [i for i, role in enumerate(dataset.colorinterp, start=1) if role == ColorInterp.alpha]
        # GDAL's writers mark a fourth band as alpha; where the Item names its colour, it is data.
        coloured = {i for i, band in enumerate(raster.bands, start=1) if band.common_name is not None}
        alpha = [i for i in marked if len(raster.bands) != dataset.count or i not in coloured]
        data = tuple(i for i in dataset.indexes if i not in alpha)
        bands = _name_bands(dataset, data, raster)
        indexes = _choose_indexes(dataset, data, bands, raster.wanted, name)
        dtype = _read_dtype(dataset, indexes, name)
        masked = has_mask(dataset)
        mask = None if masked else find_mask(raster.href)
        if mask is not None:
            self._check_mask(mask, grid, name)
        value, fills, findings = _read_nodata(dataset, indexes, self._nodata, name, dtype)
        if value is None and not (alpha or masked or mask is not None):
            value, findings = _take_declared(raster.declared.nodata, dtype, name, findings)
        validity: Literal["nodata", "alpha", "mask", "all"] = "all" if value is None else "nodata"
        if alpha or masked or mask is not None:
            validity = "alpha" if alpha else "mask"
        # A mask file has no overviews of its own that could be relied on.
        overviews = [] if mask is not None else self._read_overviews(dataset, raster, name)
        source = Source(
            href=raster.href,
            asset=raster.asset,
            band_indexes=indexes,
            validity=validity,
            nodata=value,
            block_height=int(dataset.block_shapes[0][0]),
            block_width=int(dataset.block_shapes[0][1]),
            overviews=tuple(factor for factor, _ in overviews),
            overview_shapes=tuple(shape for _, shape in overviews),
            size=info.size,
            fingerprint=info.version,
            requester_pays=raster.requester_pays,
            region=raster.region,
            flipped=placement.flipped,
            fills=fills,
            is_lossy=dataset.compression in _LOSSY,
        )
        scene = Scene(
            name=name,
            priority=ref.priority,
            grid=grid,
            bands=tuple(bands[data.index(i)] for i in indexes),
            dtype=dtype,
            source=source,
            provenance=ref.provenance,
        )
        if validity in ("alpha", "mask") or (validity == "all" and np.dtype(dtype).kind == "f"):
            findings = ()
        if dataset.crs is None:
            message = f"scene {name}: the file has no coordinate reference system, and that of the Item is taken"
            told = Finding(severity="info", code="crs-from-item", message=message, scene=name.partition("/")[0])
            findings = (*findings, told)
        if marked != alpha:
            colour = raster.bands[marked[0] - 1].common_name
            known = f"is marked as alpha in the file, and is {colour} by the Item"
            message = f"scene {name}: band {marked[0]} {known}: it is taken as data"
            told = Finding(severity="info", code="no-alpha", message=message, scene=name.partition("/")[0])
            findings = (*findings, told)
        return scene, (*findings, *compare_declared(raster.declared, scene, dataset), *_compare_scalings(dataset, scene))

    def _read_overviews(self, dataset: DatasetReader, raster: RasterRef, name: str) -> list[tuple[int, tuple[int, int]]]:
        """Factors and shapes of the overviews, from large to small; some writers round sizes up, some down."""
        found = []
        for index, factor in enumerate(dataset.overviews(1)):
            overview = self._gdal.open_overview(raster.href, name, index)
            (height, width), count = overview.shape, overview.count
            self._gdal.close(overview)
            uneven = abs(height / dataset.height - width / dataset.width) * max(height, width)
            if factor > 1 and uneven <= _UNEVEN and count == dataset.count:
                found.append((int(factor), (int(height), int(width))))
        return sorted(found)

    def _check_mask(self, path: str, grid: Grid, scene: str) -> None:
        with closing(self._gdal.open(path, scene)) as mask:
            if mask.shape != grid.shape:
                msg = (
                    f"scene {scene}: its mask {path} has {mask.height} x {mask.width} pixels, the scene has "
                    f"{grid.height} x {grid.width}; remove it or make it anew"
                )
                raise InputError(msg)


def _choose_indexes(
    dataset: DatasetReader, data: tuple[int, ...], bands: Sequence[Band], wanted: tuple[int | str, ...], scene: str
) -> tuple[int, ...]:
    """Bands that are wanted, 1-based; all data bands where none is named."""
    if not wanted:
        return data
    found: list[int] = []
    for name in wanted:
        candidates = _find_band(name, data, bands) if isinstance(name, str) else [i for i in dataset.indexes if i == name]
        if len(candidates) != 1:
            known = ", ".join(dict.fromkeys(word for band in bands for word in (band.name, band.common_name) if word))
            what = f"no band {name!r}" if not candidates else f"{len(candidates)} bands {name!r}"
            msg = f"scene {scene}: {redact_url(dataset.name)} has {what} (--inputs.bands): its bands are {known}"
            raise InputError(msg)
        found += candidates
    return tuple(found)


def _find_band(name: str, data: tuple[int, ...], bands: Sequence[Band]) -> list[int]:
    """1-based indexes of the bands that a name means: exactly, else as a colour, else as a number (``1``, ``band_1``)."""
    found = [i for i, band in zip(data, bands, strict=True) if name in (band.name, band.common_name)]
    found = found or [i for i, band in zip(data, bands, strict=True) if name.casefold() == find_label(band)]
    return found or [i for i in data if name in (str(i), f"band_{i}")]


def _fingerprint(file: Path) -> str:
    """SHA-256 of a file's beginning, its end, and pieces spread between: cheap, and as good as all of a compressed file.

    The tables of a compressed raster's blocks change wherever its pixels do, and they lie at either end.
    """
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        for place in range(_PIECES + 1):
            stream.seek(max(0, (size - _PIECE) * place // _PIECES))
            digest.update(stream.read(_PIECE))
    return digest.hexdigest()


def _read_dtype(dataset: DatasetReader, indexes: tuple[int, ...], scene: str) -> str:
    if not indexes:
        msg = f"scene {scene}: the raster has an alpha band and nothing else; name another asset"
        raise InputError(msg)
    if ColorInterp.palette in dataset.colorinterp:
        msg = (
            f"scene {scene}: the raster holds numbers of colours, not values; expand them, e.g. with gdal_translate -expand rgb"
        )
        raise InputError(msg)
    dtypes = sorted({str(dataset.dtypes[i - 1]) for i in indexes})
    if len(dtypes) != 1 or dtypes[0] not in DTYPES:
        msg = f"scene {scene}: the bands' type is {', '.join(dtypes)}; allowed is one of {', '.join(DTYPES)} for all bands"
        raise InputError(msg)
    return dtypes[0]


def has_mask(dataset: DatasetReader) -> bool:
    """Whether the file itself holds a mask for all bands."""
    return MaskFlags.per_dataset in dataset.mask_flag_enums[0] and MaskFlags.alpha not in dataset.mask_flag_enums[0]


def _read_nodata(
    dataset: DatasetReader, indexes: tuple[int, ...], given: Ranges | None, scene: str, dtype: str
) -> tuple[float | None, Ranges, tuple[Finding, ...]]:
    """The value of invalid pixels, None where the dtype has none such; ranges of more; a finding where nothing marks them."""
    declared = [dataset.nodatavals[i - 1] for i in indexes]
    ranges = given if given is not None else tuple((float(value), float(value)) for value in declared if value is not None)
    usable = [value for ends in ranges for value in _list_ends(ends, dtype)]
    if usable:
        own = tuple(ends for ends in ranges if ends[0] != ends[1] or ends[0] != usable[0]) if given is not None else ()
        huge = abs(usable[0]) >= _HUGE and np.dtype(dtype).kind == "f"  # its digits are not those of the pixels, often
        return usable[0], (*own, *((_find_huge(usable[0]),) if huge else ())), ()
    reason = f"a nodata value ({ranges[0][0]:g}) that {dtype} cannot hold" if ranges else "neither a nodata value nor a mask"
    message = (
        f"scene {scene} has {reason}: every pixel is taken as valid; if it has a border, give its value with --inputs.nodata"
    )
    return None, (), (Finding(severity="warning", code="no-nodata", message=message, scene=scene.partition("/")[0]),)


def _list_ends(ends: tuple[float, float], dtype: str) -> list[float]:
    """Ends of a range that the dtype has, the one at the end of an integer dtype first; of an infinite one the other."""
    low, high = ends
    kind = np.dtype(dtype)
    if low != high and kind.kind in "ui" and high >= np.iinfo(kind).max:
        low, high = float(np.iinfo(kind).max), low
    return [value for value in dict.fromkeys((low, high)) if is_representable(value, dtype)]


def _find_huge(value: float) -> tuple[float, float]:
    """Values of a sign that are no measured ones."""
    return (_HUGE, math.inf) if value > 0 else (-math.inf, -_HUGE)


def _take_declared(
    nodata: float | None, dtype: str, scene: str, findings: tuple[Finding, ...]
) -> tuple[float | None, tuple[Finding, ...]]:
    """The nodata value of the Item where the file says nothing, and a finding that says so."""
    if nodata is None or not is_representable(nodata, dtype):
        return None, findings
    message = f"scene {scene}: the file marks no invalid pixels, and the nodata value {nodata:g} of the Item is taken"
    return nodata, (Finding(severity="info", code="nodata-from-item", message=message, scene=scene.partition("/")[0]),)


def _name_bands(dataset: DatasetReader, data: tuple[int, ...], raster: RasterRef) -> tuple[Band, ...]:
    """The data bands, by the Item where it names each of them, else by the file's descriptions; a lone one by its asset."""
    if len(raster.bands) == dataset.count:
        named = tuple(raster.bands[i - 1] for i in data)
    elif len(raster.bands) == len(data):
        named = raster.bands
    else:
        described = [dataset.descriptions[i - 1] for i in data]
        unnamed = [f"band_{i}" for i in range(1, len(data) + 1)]
        if len(data) == 1 and raster.asset is not None and "." not in raster.asset:  # with a point it is a file's name
            unnamed = [" ".join(raster.asset.split())]
        named = tuple(Band(name=text or name, description=text) for text, name in zip(described, unnamed, strict=True))
    named = tuple(
        replace(band, name=told) if (told := dataset.descriptions[i - 1]) and is_placeholder(band.name) else band
        for i, band in zip(data, named, strict=True)
    )
    return tuple(_describe_band(dataset, i, band) for i, band in zip(data, named, strict=True))


def _describe_band(dataset: DatasetReader, index: int, band: Band) -> Band:
    """A band with what its file says of it besides, where the Item does not say it."""
    colour = dataset.colorinterp[index - 1].name
    told = dataset.units[index - 1] or ""
    unit = " ".join("".join(letter if letter.isprintable() else " " for letter in told[:_LONGEST_UNIT]).split())
    return replace(
        band,
        colour=colour if colour in _COLOURS else None,
        scaling=_read_scaling(dataset, index) if band.scaling is None else band.scaling,
        unit=band.unit or unit or None,
    )


def _read_scaling(dataset: DatasetReader, index: int) -> Scaling | None:
    """Scale and offset of a band as the file has them; None where they change nothing, or make no sense."""
    scaling = Scaling(scale=float(dataset.scales[index - 1]), offset=float(dataset.offsets[index - 1]))
    is_sane = math.isfinite(scaling.scale) and math.isfinite(scaling.offset) and scaling.scale != 0
    return scaling if is_sane and scaling != Scaling() else None


def _compare_scalings(dataset: DatasetReader, scene: Scene) -> tuple[Finding, ...]:
    """A finding where the scale and offset of the file are not those that count."""
    for index, band in zip(scene.source.band_indexes, scene.bands, strict=True):
        own = _read_scaling(dataset, index)
        if own is not None and band.scaling is not None and own != band.scaling:
            what = (
                f"scale {own.scale:g} and offset {own.offset:g} in the file, {band.scaling.scale:g} and {band.scaling.offset:g}"
            )
            message = f"scene {scene.name}: band {band.name} has {what} by the Item: those of the Item are taken"
            name = scene.name.partition("/")[0]
            return (Finding(severity="info", code="scaling-disagrees", message=message, scene=name),)
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """Where a raster lies, and how many bands of data it has."""

    grid: Grid
    """Its pixels."""
    bands: int
    """Number of its bands without alpha bands."""


def read_outline(href: str, name: str, access: Access) -> Outline:
    """Read where a raster lies, from its header; errors as of :func:`open_scene`.

    Parameters
    ----------
    href
        Absolute path or URL.
    name
        What messages call it.
    """
    gdal = GdalReader(access)
    with gdal.env(href):
        dataset = gdal.open(href, name)
        try:
            bands = sum(role != ColorInterp.alpha for role in dataset.colorinterp)
            return Outline(grid=read_placement(dataset, name).grid, bands=bands)
        finally:
            gdal.close(dataset)


def level_grid(scene: Scene, level: int | None) -> Grid:
    """The pixel grid of a scene's overview (0 is the finest), or its own for None."""
    if level is None:
        return scene.grid
    if scene.source.overview_shapes:
        height, width = scene.source.overview_shapes[level]
    else:
        factor = scene.source.overviews[level]
        height, width = math.ceil(scene.grid.height / factor), math.ceil(scene.grid.width / factor)
    return resize_grid(scene.grid, height, width)


def resize_grid(grid: Grid, height: int, width: int) -> Grid:
    """The same area in so many pixels."""
    return replace(
        grid,
        width=width,
        height=height,
        pixel_width=grid.pixel_width * grid.width / width,
        pixel_height=grid.pixel_height * grid.height / height,
    )


def unit_shape(scene: Scene, grid: Grid, level: int | None) -> tuple[int, int]:
    """What is read at once, (height, width): the file's own blocks, several strips together, or all of a small raster."""
    height, width = scene.source.block_height, scene.source.block_width
    if scene.parts:
        height, width = _COMPOSED_EDGE, _COMPOSED_EDGE
    if level is not None:
        height, width = max(height, _UNIT_ROWS), max(width, _UNIT_ROWS)
    if height < _UNIT_ROWS:
        height *= math.ceil(_UNIT_ROWS / height)
    if width < _UNIT_ROWS:
        width *= math.ceil(_UNIT_ROWS / width)
    height, width = min(height, grid.height), min(width, grid.width)
    size = height * width * len(scene.bands) * np.dtype(scene.dtype).itemsize
    if size > _MAX_UNIT_BYTES:
        msg = (
            f"scene {scene.name}: the file is stored in blocks of {height} x {width} pixels ({size / 2**20:.0f} MiB); "
            "store it in tiles, e.g. with rio cogeo create"
        )
        raise InputError(msg)
    return height, width
