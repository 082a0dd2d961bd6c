"""What is mosaicked: scenes as the input names them, and as they are once they are opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from processor.model.grid import Grid

__all__ = ["Band", "Declared", "Mask", "MaskRef", "Part", "Provenance", "RasterRef", "Scaling", "Scene", "SceneRef", "Source"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What stored values mean: physical value = scale * stored value + offset (STAC ``raster:scale``, ``raster:offset``)."""

    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What a band of a scene is called, and what its values mean.

    name: as the Item or the file names it, else ``band_1`` … (1-based).
    common_name: STAC ``eo:common_name`` (red, nir, …) or None.
    description: free text or None.
    scaling: None where the Item says nothing of it.
    """

    name: str
    common_name: str | None = None
    description: str | None = None
    scaling: Scaling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a scene's pixels are and how the file stores them.

    href: fsspec URL or absolute local path of the raster.
    asset: key of the STAC asset, or None for a plain file.
    band_indexes: 1-based indexes of the data bands in the file (an alpha band is not one of them).
    validity: what says which pixels are valid: a nodata value, an alpha band, a per-dataset mask, or nothing (all are).
    nodata: the value of invalid pixels when validity is "nodata" (may be NaN), else None.
    block_height, block_width: size of the file's own blocks, pixels.
    overviews: decimation factors of the file's overviews, ascending; empty where there are none.
    size: bytes of the file, or None where storage does not tell.
    fingerprint: tells whether the file was replaced: digest of samples of a local file's bytes, or what storage calls the
        version of a remote one (entity tag, generation, time of change); None where it does not tell.
    overview_shapes: (height, width) of those overviews in pixels, in the same order; empty: sizes are rounded up.
    requester_pays: whether its bucket lets those who read pay, and the Item says so.
    region: of its bucket, where the Item names it.
    """

    href: str
    asset: str | None
    band_indexes: tuple[int, ...]
    validity: Literal["nodata", "alpha", "mask", "all"]
    nodata: float | None
    block_height: int
    block_width: int
    overviews: tuple[int, ...]
    size: int | None = None
    overview_shapes: tuple[tuple[int, int], ...] = ()
    fingerprint: str | None = None
    requester_pays: bool = False
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is known of a scene beyond its pixels; STAC facts parsed once at the edge.

    self_href: href of the scene's Item (``derived_from``), or None for a plain file (then ``via`` the raster).
    collection: id of the Item's collection, or None.
    start, end: RFC 3339 datetimes in UTC, or None where unknown.
    properties: the Item's properties, as given (JSON values).
    """

    self_href: str | None = None
    collection: str | None = None
    start: str | None = None
    end: str | None = None
    properties: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What an Item says of a raster's file, to be compared with the file; None where it says nothing.

    shape: (height, width) in pixels.
    transform: affine coefficients (a, b, c, d, e, f).
    crs: authority code ("EPSG:32632") or WKT2.
    nodata: value of invalid pixels, maybe NaN.
    """

    shape: tuple[int, int] | None = None
    transform: tuple[float, float, float, float, float, float] | None = None
    crs: str | None = None
    nodata: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterRef:
    """A raster file that the input names and nobody has opened yet.

    href: absolute local path or URL.
    asset: key of the STAC asset, or None for a plain file.
    bands: what the Item says of the file's bands, in file order; empty where it says nothing.
    wanted: which bands are read, and in which order: 1-based indexes, or names to be found among the file's descriptions;
        empty: all of them.
    declared: what the Item says of the file.
    requester_pays, region: of the bucket, as the Item says.
    """

    href: str
    asset: str | None = None
    bands: tuple[Band, ...] = ()
    wanted: tuple[int | str, ...] = ()
    declared: Declared = Declared()
    requester_pays: bool = False
    region: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRef:
    """A raster that says which pixels of a scene are invalid.

    raster: its first band, or the one wanted, is read.
    invalid: values that mark invalid pixels.
    bits: numbers of bits (0 is the lowest) of which any that is set marks an invalid pixel.
    """

    raster: RasterRef
    invalid: tuple[int, ...] = ()
    bits: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRef:
    """A scene that the input names and nobody has opened yet.

    name: item id, or file name without extension; unique in a run.
    priority: position in the input, from 0.
    rasters: the files whose bands make the scene, stacked in this order; at least one.
    mask: what marks invalid pixels besides the files' own nodata and masks, or None.
    """

    name: str
    priority: int
    rasters: tuple[RasterRef, ...]
    mask: MaskRef | None = None
    provenance: Provenance = field(default_factory=Provenance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One input scene, opened and described, as the engine sees it.

    name: item id, or file name without extension; unique in a run.
    priority: position in the input; where scenes still overlap after clipping, the higher one wins.
    grid: its pixels; where it is composed, not necessarily those of any file.
    bands: one a data band.
    dtype: numpy dtype name of its values.
    source: the file that holds it; where it is composed, its first file, with overviews and blocks as they are read here.
    parts: the rasters it is composed of, in band order; empty where it is what ``source`` stores.
    mask: what marks further pixels as invalid, or None.
    """

    name: str
    priority: int
    grid: Grid
    bands: tuple[Band, ...]
    dtype: str
    source: Source
    provenance: Provenance = field(default_factory=Provenance)
    parts: tuple[Part, ...] = ()
    mask: Mask | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A raster that gives some bands of a composed scene.

    raster: as its file stores it, on its own grid and in its own CRS, maybe another than the scene's.
    conversions: for each of its bands what makes its stored values those of the scene, new = scale * stored + offset; empty:
        they are taken as they are.
    resampling: used where its pixels are not those of the scene.
    """

    raster: Scene
    conversions: tuple[Scaling, ...]
    resampling: Literal["nearest", "bilinear", "cubic"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A raster that marks invalid pixels, read nearest-neighbour: by values, by bits of which any is set, or both."""

    raster: Scene
    invalid: tuple[int, ...]
    bits: tuple[int, ...]
