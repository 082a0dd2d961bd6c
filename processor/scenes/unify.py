"""Unify scenes: one CRS, one unit for each band, the bands of several files stacked. No pixel is read here.

A scene that needs none of this stays as its file stores it. Any other becomes a composed scene: the reader warps, converts and
stacks its pixels, so that the stages see no difference.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from pyproj.exceptions import CRSError as ProjCRSError
from rasterio.crs import CRS
from rasterio.errors import CRSError

from processor.config import Config
from processor.config.methods import choose_methods
from processor.errors import ConfigError, InputError
from processor.geotiff.open import OpenedScene
from processor.model import Band, Bounds, Finding, Grid, Part, Scaling, Scene, Source
from processor.scenes.bands import list_bands, match_bands
from processor.stages.align.align_rasters import choose_target
from processor.stages.align.options import AlignRastersOptions
from processor.stages.align.rotated import find_upright_crs
from processor.stages.align.warp import compute_pixel_ratio, find_turn, project_bounds

_SAME_AREA = 0.9  # share of the largest file's area that files of one scene have in common, at least
_SHOWN = 10  # scenes in a message
_MUCH_FINER = 1.1  # times as many pixels along an edge as the mosaic
_NAMED = 5  # scenes that are named as losing detail
_SHORT = 16  # bits of integers whose sums and differences int32 holds


@dataclass(frozen=True, slots=True, kw_only=True)
class UnifiedScenes:
    """The scenes as the stages see them."""

    scenes: tuple[Scene, ...]
    """In the order of the input."""
    findings: tuple[Finding, ...]
    """Which scenes are warped or converted, and which declare no scaling."""


def unify_scenes(opened: Sequence[OpenedScene], config: Config) -> UnifiedScenes:
    """Unify scenes.

    - CRS: ``align_rasters.crs``, else the CRS of most scenes; in a tie, that of the first scene by name. A scene in another CRS
      is warped onto the grid of the mosaic while it is read.
    - Bands: stacked in the configured order, on the grid of the scene's finest file, and matched by name (:func:`match_bands`).
    - Units: where ``raster:scale`` and ``raster:offset`` differ between scenes, values are converted to the scaling of most
      scenes. Where no scene declares a scaling, values are taken to be comparable.
    - Longitudes: where scenes lie on both sides of the antimeridian, or of the end of a map such as web Mercator's, those east
      of it are shifted by a turn around the Earth.
    - Pixel size: that of the scenes in the mosaic's CRS, as ``align_rasters.resolution`` has it; warped scenes get it too.

    Raises
    ------
    InputError
        If a scene cannot be projected to the CRS, the files of one scene differ in CRS, or bands would be mixed.
    ConfigError
        If ``align_rasters.crs`` is no CRS.
    """
    matched = match_bands(opened, is_chosen=config.inputs.bands is not None or config.inputs.assets is not None)
    opened = matched.opened
    apart = _compare_areas(opened)
    methods = choose_methods(config)
    crs = _choose_crs(opened, config.of(AlignRastersOptions).crs)
    units = _choose_units(opened)
    opened, bases = _unwrap(opened, [_find_base(scene, crs) for scene in opened], crs)
    # Grid of the mosaic, as far as it is known yet; warped scenes are put on it, and decide nothing where others are there.
    own_sizes = [
        base if isinstance(base, Grid) else _size_warped(scene, base, crs) for scene, base in zip(opened, bases, strict=True)
    ]
    native = [base for base in bases if isinstance(base, Grid)]
    canvas = reduce(Bounds.union, map(_bounds_of, bases))
    tap = methods.align.tap
    grid = choose_target(
        native or own_sizes, canvas, crs, resolution=methods.resolution, tap=tap if native else tap is None or tap
    )
    findings: list[Finding] = [*_find_coarsened(opened, own_sizes, grid, config)] if native else []
    scenes = []
    for scene, base in zip(opened, bases, strict=True):
        own = base if isinstance(base, Grid) else grid.subgrid(grid.window_touching(base))
        if not isinstance(base, Grid):
            message = f"scene {_name(scene)} is warped from {name_crs(scene.scene.grid.crs)} to {name_crs(crs)}"
            findings.append(Finding(severity="info", code="warped", message=message, scene=_name(scene)))
        conversions = [units.convert(band, position) for position, band in enumerate(list_bands(scene))]
        if any(conversion is not None for conversion in conversions):
            message = f"scene {_name(scene)}: its values are converted to the scale and offset that most scenes have"
            findings.append(Finding(severity="info", code="rescaled", message=message, scene=_name(scene)))
        scenes.append(_compose(scene, own, units, conversions, methods.align.resampling))
    warped = len(opened) - len(native)
    if warped:
        message = (
            f"{warped} of {len(opened)} scenes resampled ({methods.align.resampling}): they are warped to {name_crs(crs)}; "
            "scenes in the mosaic's CRS are not, which --align_rasters.crs chooses"
        )
        findings.append(Finding(severity="info", code="resampled", message=message, stage=methods.align.name or None))
    return UnifiedScenes(scenes=tuple(scenes), findings=(*matched.findings, *apart, *findings, *units.findings))


def _name(scene: OpenedScene) -> str:
    return scene.scene.name.partition("/")[0]


# Where scenes lie


def _choose_crs(opened: Sequence[OpenedScene], wanted: str | None) -> str:
    """WKT2 of the CRS of the mosaic."""
    if wanted is not None:
        try:
            return str(CRS.from_user_input(wanted).to_wkt(version="WKT2_2019"))
        except CRSError as error:
            msg = f"align_rasters.crs = {wanted!r} is no CRS ({error}); give a code such as EPSG:32632"
            raise ConfigError(msg) from error
    kinds: list[tuple[CRS, str, int]] = []
    for scene in sorted(opened, key=_name):
        text = find_upright_crs(scene.scene.grid.crs)
        crs = CRS.from_wkt(text)
        position = next((i for i, (known, same, _) in enumerate(kinds) if text == same or known == crs), None)
        if position is None:
            kinds.append((crs, text, 1))
        else:
            kinds[position] = (*kinds[position][:2], kinds[position][2] + 1)
    return max(kinds, key=lambda kind: kind[2])[1]  # the first of the largest


def _is_same(crs: str, other: str) -> bool:
    return crs == other or bool(CRS.from_wkt(crs) == CRS.from_wkt(other))


def _compare_areas(opened: Sequence[OpenedScene]) -> tuple[Finding, ...]:
    """A finding where the files of a scene cover different areas: the scene has a pixel only where all of them have one.

    Raises
    ------
    InputError
        If they have no place in common.
    """
    short: list[tuple[OpenedScene, float]] = []
    for scene in opened:
        bounds = [raster.grid.bounds for raster in scene.rasters if _is_same(raster.grid.crs, scene.scene.grid.crs)]
        if len(bounds) < 2:
            continue
        common: Bounds | None = bounds[0]
        for other in bounds[1:]:
            common = None if common is None else common.intersection(other)
        share = 0.0 if common is None else common.width * common.height / max(own.width * own.height for own in bounds)
        if share == 0.0:
            assets = ", ".join(str(raster.source.asset) for raster in scene.rasters)
            msg = (
                f"scene {_name(scene)}: its files {assets} have no place in common, so that they are no bands of one scene; if "
                "they are tiles of it, give each as an Item of its own, or as files"
            )
            raise InputError(msg)
        if share < _SAME_AREA:
            short.append((scene, share))
    if not short:
        return ()
    (first, share), rest = short[0], [_name(scene) for scene, _ in short[1:]]
    assets = ", ".join(str(raster.source.asset) for raster in first.rasters)
    more = f"; so do those of {len(rest):,} more scenes: {', '.join(rest[:_SHOWN])}" if rest else ""
    message = (
        f"the files {assets} of scene {_name(first)} cover different areas: all of them cover {share:.0%} of what the largest "
        f"covers{more}; if they are tiles and no bands, give each as an Item of its own, or as files"
    )
    return (Finding(severity="warning", code="areas-differ", message=message, scene=_name(first)),)


def _find_base(scene: OpenedScene, crs: str) -> Grid | Bounds:
    """Grid of the scene's finest file; its bounds in the mosaic's CRS where the file is in another."""
    finest = min(scene.rasters, key=lambda raster: raster.grid.pixel_width * raster.grid.pixel_height)
    upright = find_upright_crs(finest.grid.crs)
    other = next((raster for raster in scene.rasters if not _is_same(find_upright_crs(raster.grid.crs), upright)), None)
    if other is not None:
        assets = f"{finest.source.asset} and {other.source.asset}"
        msg = f"scene {_name(scene)}: its files {assets} are in different CRSs; leave one out"
        raise InputError(msg)
    if _is_same(finest.grid.crs, crs):
        return replace(finest.grid, crs=crs)
    try:
        return project_bounds(finest.grid, crs)
    except (ValueError, ProjCRSError) as error:
        msg = f"scene {_name(scene)}: {error}; leave it out, or choose another CRS with --align_rasters.crs"
        raise InputError(msg) from error


def _size_warped(scene: OpenedScene, bounds: Bounds, crs: str) -> Grid:
    """Pixel size of a warped scene, as a grid of one pixel at the upper left of its bounds in the mosaic's CRS.

    Rotated grids of the mosaic's CRS and projected CRSs with the same linear unit keep the scene's own pixel size, so that
    neighbouring UTM zones get exactly the same. Otherwise it follows from the ratio of pixel sizes at the scene, to 6
    significant digits.
    """
    own = min((raster.grid for raster in scene.rasters), key=lambda grid: grid.pixel_width * grid.pixel_height)
    width, height = own.pixel_width, own.pixel_height
    ours, theirs = CRS.from_wkt(find_upright_crs(own.crs)), CRS.from_wkt(crs)
    if ours != theirs and not (ours.is_projected and theirs.is_projected and ours.linear_units == theirs.linear_units):
        whole = Grid(
            crs=crs,
            left=bounds.left,
            top=bounds.top,
            pixel_width=bounds.width / own.width,
            pixel_height=bounds.height / own.height,
            width=own.width,
            height=own.height,
        )
        rows, cols = compute_pixel_ratio(own, whole)
        edge = math.sqrt(whole.pixel_width / max(cols, 1e-12) * whole.pixel_height / max(rows, 1e-12))
        width = height = float(f"{edge:.6g}")
    return Grid(crs=crs, left=bounds.left, top=bounds.top, pixel_width=width, pixel_height=height, width=1, height=1)


def _find_coarsened(opened: Sequence[OpenedScene], sizes: Sequence[Grid], grid: Grid, config: Config) -> tuple[Finding, ...]:
    """Name the warped scenes that lose detail to the pixels of the others."""
    if choose_methods(config).resolution != "highest":
        return ()
    fine = [
        (_name(scene), size)
        for scene, size in zip(opened, sizes, strict=True)
        if max(grid.pixel_width / size.pixel_width, grid.pixel_height / size.pixel_height) > _MUCH_FINER
    ]
    if not fine:
        return ()
    names = ", ".join(name for name, _ in fine[:_NAMED]) + (f" and {len(fine) - _NAMED} more" if len(fine) > _NAMED else "")
    message = (
        f"{len(fine)} of {len(opened)} scenes in other CRSs have finer pixels than the scenes in {name_crs(grid.crs)}, whose "
        f"{grid.pixel_width:.6g} the mosaic has: {names} ({fine[0][1].pixel_width:.6g} there); to keep their detail choose "
        "their CRS with --align_rasters.crs, or mosaic them by themselves"
    )
    return (Finding(severity="warning", code="coarsened", message=message),)


def _unwrap(
    opened: Sequence[OpenedScene], bases: Sequence[Grid | Bounds], crs: str
) -> tuple[list[OpenedScene], list[Grid | Bounds]]:
    """Shift scenes at the beginning of the mosaic's map by a turn around the Earth where that brings all scenes together."""
    turn = find_turn(crs)
    if turn is None or not _is_split([_bounds_of(base) for base in bases], turn):
        return list(opened), list(bases)
    scenes: list[OpenedScene] = []
    moved: list[Grid | Bounds] = []
    for scene, base in zip(opened, bases, strict=True):
        if base.left >= 0:
            scenes.append(scene)
            moved.append(base)
        elif isinstance(base, Bounds):  # its pixels stay where they are in their own CRS
            scenes.append(scene)
            moved.append(replace(base, left=base.left + turn, right=base.right + turn))
        else:
            scenes.append(_move(scene, crs, turn))
            moved.append(replace(base, left=base.left + turn))
    return scenes, moved


def _move(scene: OpenedScene, crs: str, turn: float) -> OpenedScene:
    """A scene whose files lie so much farther in x, those in the CRS that this is of."""

    def move(raster: Scene) -> Scene:
        is_of = _is_same(raster.grid.crs, crs)
        return replace(raster, grid=replace(raster.grid, left=raster.grid.left + turn)) if is_of else raster

    mask = None if scene.mask is None else replace(scene.mask, raster=move(scene.mask.raster))
    return replace(scene, rasters=tuple(move(raster) for raster in scene.rasters), mask=mask)


def _is_split(bounds: Sequence[Bounds], turn: float) -> bool:
    """Whether bounds lie at both ends of a map, close to one another on the Earth."""
    left, right = min(b.left for b in bounds), max(b.right for b in bounds)
    moved = [b.left + turn if b.left < 0 else b.left for b in bounds]
    ends = [start + b.width for start, b in zip(moved, bounds, strict=True)]
    return right - left > turn / 2 and max(ends) - min(moved) < right - left


def _bounds_of(base: Grid | Bounds) -> Bounds:
    return base.bounds if isinstance(base, Grid) else base


# What values mean


@dataclass(frozen=True, slots=True, kw_only=True)
class _Units:
    """The common unit of each band."""

    scalings: tuple[Scaling | None, ...]
    """One a band; None where no scene declares one, and nothing is converted."""
    dtypes: tuple[str | None, ...]
    """One a band: dtype of a scene that stores the band with this scaling."""
    findings: tuple[Finding, ...]

    def convert(self, band: Band, position: int) -> Scaling | None:
        """Scaling from a band's stored values to the common unit; None where they are in it already."""
        target = self.scalings[position] if position < len(self.scalings) else None
        own = band.scaling
        if target is None or own is None or own == target:
            return None
        return Scaling(scale=own.scale / target.scale, offset=(own.offset - target.offset) / target.scale)


def _choose_units(opened: Sequence[OpenedScene]) -> _Units:
    """Scaling of each band that most scenes have; in a tie, that of the first scene by name."""
    ordered = sorted(opened, key=_name)
    count = min(len(list_bands(scene)) for scene in ordered)
    scalings: list[Scaling | None] = []
    dtypes: list[str | None] = []
    silent: list[str] = []
    for position in range(count):
        known = [(band.scaling, scene) for scene in ordered for band in list_bands(scene)[position : position + 1]]
        declared = Counter(scaling for scaling, _ in known if scaling is not None)
        if not declared:
            scalings.append(None)
            dtypes.append(None)
            continue
        target = declared.most_common(1)[0][0]
        owner = next(scene for scaling, scene in known if scaling == target)
        scalings.append(target)
        dtypes.append(owner.scene.dtype)
        silent += [_name(scene) for scaling, scene in known if scaling is None]
    names = sorted(set(silent))
    findings = _compare_unit_names(ordered, count)
    if names:
        message = (
            f"{len(names)} of {len(ordered)} scenes declare no scale and offset where others do ({names[0]} is "
            "one): their values are taken to be in the unit of the others; correct the Items or files if they are not"
        )
        findings = (*findings, Finding(severity="warning", code="scaling-missing", message=message))
    return _Units(scalings=tuple(scalings), dtypes=tuple(dtypes), findings=findings)


def _compare_unit_names(ordered: Sequence[OpenedScene], count: int) -> tuple[Finding, ...]:
    """A finding where scenes give a band in different units, which no scale and offset brings together."""
    for position in range(count):
        known = {band.unit: scene for scene in reversed(ordered) if (band := list_bands(scene)[position]).unit is not None}
        if len(known) > 1:
            (unit, scene), (other, second) = sorted(known.items(), key=lambda pair: _name(pair[1]))[:2]
            message = (
                f"band {position + 1} is in {unit!r} in scene {_name(scene)} and in {other!r} in {_name(second)}: values are "
                "not converted; leave out one of them, or convert it"
            )
            return (Finding(severity="warning", code="units-differ", message=message),)
    return ()


def name_crs(wkt: str) -> str:
    """What a message calls a CRS: its authority code, or its name."""
    crs = CRS.from_wkt(wkt)
    authority = crs.to_authority()
    return ":".join(authority) if authority else wkt.split('"')[1]


# The unified scene


def _compose(
    scene: OpenedScene,
    grid: Grid,
    units: _Units,
    conversions: Sequence[Scaling | None],
    resampling: str,
) -> Scene:
    """The unified scene; as its one file stores it where nothing has to be done."""
    first = scene.scene
    bands = tuple(
        replace(band, scaling=units.scalings[position] if position < len(units.scalings) else band.scaling)
        for position, band in enumerate(list_bands(scene))
    )
    if len(scene.rasters) == 1 and scene.mask is None and not any(conversions) and _is_same(first.grid.crs, grid.crs):
        return replace(first, bands=bands, grid=grid)
    parts = []
    start = 0
    for raster in scene.rasters:
        own = conversions[start : start + len(raster.bands)]
        start += len(raster.bands)
        converted = tuple(conversion or Scaling() for conversion in own) if any(own) else ()
        parts.append(Part(raster=_as_part(raster, grid), conversions=converted, resampling=resampling))  # type: ignore[arg-type]
    dtypes = [raster.dtype for raster in scene.rasters]
    dtypes += [dtype for conversion, dtype in zip(conversions, units.dtypes, strict=False) if conversion and dtype]
    mask = None if scene.mask is None else replace(scene.mask, raster=_as_part(scene.mask.raster, grid))
    stored = str(np.result_type(*dtypes))
    wide = _widen(stored, [part for part in parts if part.conversions])
    return Scene(
        name=_name(scene),
        priority=first.priority,
        grid=grid,
        bands=bands,
        dtype=wide,
        stored_dtype=None if wide == stored else stored,
        source=_describe_source(scene, grid),
        provenance=first.provenance,
        parts=tuple(parts),
        mask=mask,
        band_rule=first.band_rule,
    )


def _widen(dtype: str, parts: Sequence[Part]) -> str:
    """A dtype that holds all converted values, so that what lies beyond the files' own is matched before it is clipped."""
    if np.dtype(dtype).kind not in "ui":
        return dtype
    limits = np.iinfo(dtype)
    for part in parts:
        own = np.iinfo(np.dtype(part.raster.dtype).name)
        for conversion in part.conversions:
            values = [end * conversion.scale + conversion.offset for end in (float(own.min), float(own.max))]
            if min(values) < limits.min or max(values) > limits.max:
                return "int32" if limits.bits <= _SHORT else "float64"
    return dtype


def _as_part(raster: Scene, grid: Grid) -> Scene:
    """A file of a composed scene. Equal CRSs get the same WKT, so that texts can be compared."""
    name = raster.name if "/" in raster.name else f"{raster.name}/{raster.source.asset or 'file'}"
    crs = grid.crs if _is_same(raster.grid.crs, grid.crs) else raster.grid.crs
    return replace(raster, name=name, grid=replace(raster.grid, crs=crs))


def _describe_source(scene: OpenedScene, grid: Grid) -> Source:
    """Source of a composed scene: that of its first file, with usable overviews and a fingerprint of all files."""
    first = scene.scene
    rasters = [*scene.rasters, *([] if scene.mask is None else [scene.mask.raster])]
    sizes = [raster.source.size for raster in rasters]
    versions = [raster.source.fingerprint for raster in rasters]
    known = None not in versions
    levels = tuple(factor for factor in first.source.overviews if min(grid.width, grid.height) >= factor)
    shapes = tuple((math.ceil(grid.height / factor), math.ceil(grid.width / factor)) for factor in levels)
    if replace(first.grid, crs=grid.crs) == grid and levels == first.source.overviews:
        shapes = first.source.overview_shapes
    return replace(
        first.source,
        validity="mask",
        overviews=levels,
        overview_shapes=shapes,
        size=None if None in sizes else sum(size for size in sizes if size is not None),
        fingerprint=hashlib.sha256(repr(versions).encode()).hexdigest() if known else None,
    )
