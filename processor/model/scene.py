"""What is mosaicked: scenes as the input names them, and as they are once they are opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from processor.model.grid import Grid

BandRule = Literal["any", "all", "band"]
"""Where a pixel is invalid: where any band is, where all bands are, or each band by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """What stored values mean: physical value = scale * stored value + offset (STAC ``raster:scale``, ``raster:offset``)."""

    scale: float = 1.0
    """Physical units for one stored unit; not 0."""
    offset: float = 0.0
    """Physical value of a stored 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What a band of a scene is called, and what its values mean."""

    name: str
    """As the Item or the file names it, else ``band_1`` … (1-based)."""
    common_name: str | None = None
    """STAC ``eo:common_name`` (red, nir, …) or None."""
    colour: str | None = None
    """Colour interpretation of the file, such as "red", or None where it says none."""
    description: str | None = None
    """Free text or None."""
    scaling: Scaling | None = None
    """None where neither the Item nor the file says anything of it."""
    unit: str | None = None
    """Unit of the physical values as the Item or the file writes it, or None."""

    @property
    def label(self) -> str:
        """Its common name, or its own where it has none."""
        return self.common_name or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where a scene's pixels are and how the file stores them."""

    href: str
    """Fsspec URL or absolute local path of the raster."""
    asset: str | None
    """Key of the STAC asset, or None for a plain file."""
    band_indexes: tuple[int, ...]
    """1-based indexes of the data bands in the file (an alpha band is not one of them)."""
    validity: Literal["nodata", "alpha", "mask", "all"]
    """What says which pixels are valid: a nodata value, an alpha band, a per-dataset mask, or nothing (all are)."""
    nodata: float | None
    """The value of invalid pixels when validity is "nodata" (may be NaN), else None."""
    block_height: int
    """Rows of a tile or strip of the file, pixels."""
    block_width: int
    """Columns of a tile or strip of the file, pixels."""
    overviews: tuple[int, ...]
    """Decimation factors of the file's overviews, ascending; empty where there are none."""
    size: int | None = None
    """Bytes of the file, or None where storage does not tell."""
    overview_shapes: tuple[tuple[int, int], ...] = ()
    """(height, width) of those overviews in pixels, in the same order; empty: sizes are rounded up."""
    fingerprint: str | None = None
    """Tells whether the file was replaced: digest of samples of a local file's bytes, or what storage calls the version of a
    remote one (entity tag, generation, time of change); None where it does not tell.
    """
    requester_pays: bool = False
    """True where the Item says that readers of the bucket pay for the traffic."""
    region: str | None = None
    """Region of the bucket as the Item says, or None."""
    flipped: tuple[bool, bool] = (False, False)
    """(rows, columns): whether the file stores them from south to north, or from east to west; the grid is north-up even so."""
    fills: tuple[tuple[float, float], ...] = ()
    """Further values of invalid pixels when there is a nodata value: ranges, both ends included, maybe infinite."""
    is_lossy: bool = False
    """Whether pixels are stored with losses (JPEG, WebP)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """What is known of a scene beyond its pixels; STAC facts parsed once at the edge."""

    self_href: str | None = None
    """Href of the scene's Item (``derived_from``), or None for a plain file (then ``via`` the raster)."""
    collection: str | None = None
    """Id of the Item's collection, or None."""
    start: str | None = None
    """Start of the acquisition, RFC 3339 in UTC, or None where unknown."""
    end: str | None = None
    """End of the acquisition, RFC 3339 in UTC, or None where unknown."""
    properties: Mapping[str, Any] = field(default_factory=dict)
    """The Item's properties, as given (JSON values)."""
    title: str | None = None
    """Id of the Item, or name of the file without its suffix, where the scene's name is another one; else None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """What an Item says of a raster's file, to be compared with the file; None where it says nothing."""

    shape: tuple[int, int] | None = None
    """(height, width) in pixels."""
    transform: tuple[float, float, float, float, float, float] | None = None
    """Affine coefficients (a, b, c, d, e, f)."""
    crs: str | None = None
    """Authority code ("EPSG:32632") or WKT2."""
    nodata: float | None = None
    """Value of invalid pixels, maybe NaN."""
    unusable: tuple[str, ...] = ()
    """Fields that could not be used, each with its value, for a finding."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterRef:
    """A raster file that the input names and nobody has opened yet."""

    href: str
    """Absolute local path or URL."""
    asset: str | None = None
    """Key of the STAC asset, or None for a plain file."""
    bands: tuple[Band, ...] = ()
    """What the Item says of the file's bands, in file order; empty where it says nothing."""
    wanted: tuple[int | str, ...] = ()
    """Which bands are read, and in which order: 1-based indexes, or names to be found among the file's descriptions; empty: all
    of them.
    """
    declared: Declared = Declared()
    """What the Item says of the file."""
    requester_pays: bool = False
    """True where the Item says that readers of the bucket pay for the traffic."""
    region: str | None = None
    """Region of the bucket as the Item says, or None."""
    endpoint: str | None = None
    """URL of the S3 server that the Item says the bucket is on, offered and never used unasked; None: Amazon's, or unsaid."""
    alternates: tuple[RasterRef, ...] = ()
    """The same file elsewhere, to be read where storage does not give it; they have none themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRef:
    """A raster that says which pixels of a scene are invalid."""

    raster: RasterRef
    """Its one band, or the one wanted, is read."""
    invalid: tuple[int, ...]
    """Values that mark invalid pixels."""
    bits: tuple[int, ...]
    """Numbers of bits (0 is the lowest) of which any that is set marks an invalid pixel."""
    valid: tuple[int, ...] = ()
    """Values that mark valid pixels, all others being invalid; empty: nothing is said by them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRef:
    """A scene that the input names and nobody has opened yet."""

    name: str
    """Item id, or file name without extension, made a safe file name; unique in a run."""
    priority: int
    """Position in the input, from 0."""
    rasters: tuple[RasterRef, ...]
    """The files whose bands make the scene, stacked in this order; at least one."""
    mask: MaskRef | None = None
    """What marks invalid pixels besides the files' own nodata and masks, or None."""
    provenance: Provenance = field(default_factory=Provenance)
    """What the Item says of the scene beyond its pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One input scene, opened and described, as the engine sees it."""

    name: str
    """Item id, or file name without extension, made a safe file name; unique in a run."""
    priority: int
    """Position in the input; where scenes still overlap after clipping, the higher one wins."""
    grid: Grid
    """Its pixels; where it is composed, not necessarily those of any file."""
    bands: tuple[Band, ...]
    """Name and meaning of each data band, in the order of the pixels' first axis."""
    dtype: str
    """Numpy dtype name of its values."""
    source: Source
    """The file that holds it; where it is composed, its first file, with overviews and blocks as they are read here."""
    provenance: Provenance = field(default_factory=Provenance)
    """What the Item says of the scene beyond its pixels."""
    parts: tuple[Part, ...] = ()
    """The rasters it is composed of, in band order; empty where it is what ``source`` stores."""
    mask: Mask | None = None
    """What marks further pixels as invalid, or None."""
    band_rule: BandRule = "all"
    """Where pixels are invalid that hold nodata in some bands and values in others; statistics leave them out either way."""
    stored_dtype: str | None = None
    """Numpy dtype name of its files' values, where converted ones may lie beyond it and ``dtype`` is wider; None: the same."""

    @property
    def title(self) -> str:
        """Id of its Item, or what its file is called: for people, and for who looks for it elsewhere."""
        return self.provenance.title or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A raster that gives some bands of a composed scene."""

    raster: Scene
    """As its file stores it, on its own grid and in its own CRS, maybe another than the scene's."""
    conversions: tuple[Scaling, ...]
    """For each of its bands what makes its stored values those of the scene, new = scale * stored + offset; empty: they are
    taken as they are.
    """
    resampling: Literal["nearest", "bilinear", "cubic"]
    """Used where its pixels are not those of the scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """A raster that marks invalid pixels, read nearest-neighbour: by values, by bits of which any is set, or both."""

    raster: Scene
    """Single-band raster of the mask, on its own grid and in its own CRS."""
    invalid: tuple[int, ...]
    """Values of the mask that mark a pixel as invalid."""
    bits: tuple[int, ...]
    """Bits of the mask (0 is the lowest); a pixel is invalid where any of them is set."""
    valid: tuple[int, ...] = ()
    """Values of the mask that mark a pixel as valid, all others being invalid; empty: nothing is said by them."""
