"""Reference images: rasters of known radiometry, mostly of another sensor and much coarser, to which scenes are matched.

They are never painted. A reference stays on its own grid and in its own CRS, and is compared with a scene in blocks of its own
pixels, of one or of as many as a block needs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
from pyproj.exceptions import CRSError
from rasterio.crs import CRS

from processor.config.general import Check, Reference
from processor.errors import InputError
from processor.geotiff.open import OpenedScene, open_scene
from processor.geotiff.reader import RasterReader
from processor.model import Band, Bounds, Finding, Grid, Part, Scene, Window
from processor.model.bands import find_label
from processor.model.options import list_ranges
from processor.process.threads import map_ordered
from processor.scenes.fill import mark_fill
from processor.scenes.inputs import read_inputs
from processor.stages.align.warp import compute_pixel_ratio, find_turn, project_bounds
from processor.storage.options import Access
from processor.storage.store import Store

REFERENCE_PREFIX: Final = "reference:"
"""What names of references begin with, so that none is a scene's."""

_NEARLY: Final = 0.01  # of a pixel: one that is finer by this is not too fine
_AROUND: Final = 2  # pixels around the mosaic


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Images of a section of the configuration."""

    scenes: tuple[Scene, ...] = ()
    """With the bands of the scenes, in name order."""
    findings: tuple[Finding, ...] = ()
    """What reading them brought to light, such as a page of Items that is not the last."""
    named: tuple[str, ...] = ()
    """URLs that documents of this machine lead to, as :attr:`processor.scenes.inputs.ResolvedInputs.named`."""


def read_references(setting: Reference, scenes: Sequence[Scene], access: Access, *, threads: int) -> Known:
    """Open the references that the configuration names; errors and result: :func:`open_known` and :func:`unify_references`."""
    opened, known = open_known(setting, access, section="reference", threads=threads)
    return replace(known, scenes=unify_references(opened, scenes, setting.bands))


def open_known(
    setting: Reference | Check, access: Access, *, section: Literal["reference", "check"], threads: int
) -> tuple[list[OpenedScene], Known]:
    """Open the images that a section of the configuration names, and say what reading them brought to light, without scenes.

    Raises
    ------
    InputError
        They cannot be read.
    StorageError
        Storage or the network failed.
    """
    if setting.images is None:
        return [], Known()
    images = (setting.images,) if isinstance(setting.images, str) else setting.images
    try:
        resolved = read_inputs(images, stdin=None, inputs=setting, store=Store(access=access))
    except InputError as error:  # its options have the names of those of the inputs
        text = str(error).replace("inputs.", f"{section}.")
        raise InputError(text.replace(f"{section}.allow_private_networks", "inputs.allow_private_networks")) from error
    access = access.allowing(resolved.named)
    nodata = None if setting.nodata is None else list_ranges(setting.nodata)
    with RasterReader(cache_bytes=0, access=access, forgets=False) as reader:
        opening = map_ordered(
            lambda ref: mark_fill(open_scene(ref, nodata=nodata, access=access), reader), resolved.refs, threads=threads
        )
        found = list(opening)
    told = (*resolved.findings, *(finding for scene in found for finding in scene.findings))
    texts = (finding.message.replace("--inputs.", f"--{section}.") for finding in told)
    findings = tuple(replace(finding, message=f"{section}: {text}") for finding, text in zip(told, texts, strict=True))
    return found, Known(findings=findings, named=resolved.named)


def unify_references(
    opened: Sequence[OpenedScene], scenes: Sequence[Scene], names: Sequence[str] | None = None
) -> tuple[Scene, ...]:
    """Give references the bands of the scenes, in their order.

    They are those of the names given (common names, names, or numbers from 1); without, bands are matched by common name where
    all have one, else by name, else by the colours that names and files say, else by position where there are equally many.

    Returns
    -------
    In name order, on their own grids and in their own CRSs and units.

    Raises
    ------
    InputError
        Bands of the scenes are missing in a reference, or its files lie in different CRSs.
    """
    unified = (unify_known(reference, scenes[0], names, section="reference") for reference in opened)
    found = sorted(unified, key=lambda reference: reference.name)
    dtypes = {reference.dtype for reference in found}
    scalings = {tuple(band.scaling for band in reference.bands) for reference in found}
    if len(dtypes) > 1 or len(scalings) > 1:
        msg = "the references are in different units: give such as have one dtype, raster:scale and raster:offset"
        raise InputError(msg)
    return tuple(found)


def unify_known(
    opened: OpenedScene, scene: Scene, names: Sequence[str] | None, *, section: Literal["reference", "check"]
) -> Scene:
    """Give one image the bands of a scene; its name begins with the section. As :func:`unify_references`."""
    name = opened.scene.name.partition("/")[0]
    finest = min(opened.rasters, key=lambda raster: raster.grid.pixel_width * raster.grid.pixel_height)
    if any(CRS.from_wkt(raster.grid.crs) != CRS.from_wkt(finest.grid.crs) for raster in opened.rasters):
        msg = f"{section} {name}: its files are in different CRSs; give one of them"
        raise InputError(msg)
    known = [(raster, position) for raster in opened.rasters for position in range(len(raster.bands))]
    bands = [raster.bands[band] for raster, band in known]
    if names is not None:
        bands = [replace(band, common_name=_call_band(number, band, names)) for number, band in enumerate(bands)]
        wanted: Sequence[Band] = [Band(name=text, common_name=text) for text in names]
    else:
        wanted = scene.bands
    if len(wanted) != len(scene.bands):
        msg = f"{section}.bands names {len(wanted)} bands, and the scenes have {len(scene.bands)}: name one for each"
        raise InputError(msg)
    chosen = [known[number] for number in _match_bands(bands, wanted, f"{section} {name}", by_position=names is None)]
    parts = tuple(
        Part(
            raster=replace(
                raster,
                name=f"{section}:{name}/{position}",
                bands=(raster.bands[band],),
                source=replace(raster.source, band_indexes=(raster.source.band_indexes[band],)),
            ),
            conversions=(),
            resampling="bilinear",
        )
        for position, (raster, band) in enumerate(chosen)
    )
    return Scene(
        name=f"{section}:{name}",
        priority=opened.scene.priority,
        grid=finest.grid,
        bands=tuple(raster.bands[band] for raster, band in chosen),
        dtype=str(np.result_type(*(raster.dtype for raster, _ in chosen))),
        source=replace(opened.scene.source, overviews=(), overview_shapes=()),
        provenance=opened.scene.provenance,
        parts=parts,
        mask=opened.mask,
        band_rule=opened.scene.band_rule,
    )


def _call_band(number: int, band: Band, names: Sequence[str]) -> str | None:
    """The one of some names that means a band, or None."""
    return next((text for text in names if text in {band.common_name, band.name, str(number + 1)}), None)


def _match_bands(bands: Sequence[Band], wanted: Sequence[Band], name: str, *, by_position: bool) -> list[int]:
    """Position of each wanted band among those of an image; the name begins with its section."""
    keys: tuple[Callable[[Band], str | None], ...] = (lambda band: band.common_name, lambda band: band.name, find_label)
    for key in keys:
        positions = {key(band): position for position, band in reversed(list(enumerate(bands)))}
        if all(key(band) is not None and key(band) in positions for band in wanted):
            return [positions[key(band)] for band in wanted]
    if by_position and len(bands) == len(wanted) and not any(map(_contradict, bands, wanted)):
        return list(range(len(bands)))
    msg = (
        f"{name} has bands {', '.join(band.name for band in bands)}, and what is wanted are "
        f"{', '.join(band.common_name or band.name for band in wanted)}: name its bands for those of the scenes with "
        f"--{name.partition(' ')[0]}.bands"
    )
    raise InputError(msg)


def _contradict(band: Band, wanted: Band) -> bool:
    """Whether two bands say that they are of different colours."""
    return None not in {band.common_name, wanted.common_name} and band.common_name != wanted.common_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Where a reference lies on a mosaic."""

    scene: Scene
    """The part of it that meets the mosaic, on its own grid, or on one of its pixels joined where they are too fine."""
    bounds: Bounds
    """What it covers, at least, in the mosaic's CRS."""
    pixel: tuple[float, float]
    """Height and width of a pixel in the middle of the mosaic, pixels of the mosaic."""


def place_reference(reference: Scene, grid: Grid, measured: float) -> Placed | None:
    """Find the part of a reference that meets a mosaic.

    Parameters
    ----------
    reference
        On its own grid.
    grid
        Of the mosaic.
    measured
        Edge of the coarsest measured pixels of the scenes, in pixels of the mosaic: the reference's are no finer.

    Returns
    -------
    None where it lies beside the mosaic.

    Raises
    ------
    InputError
        The mosaic has no place in its CRS.
    """
    same = CRS.from_wkt(reference.grid.crs) == CRS.from_wkt(grid.crs)
    own = replace(reference.grid, crs=grid.crs) if same else reference.grid
    try:
        outline = grid.bounds if same else project_bounds(grid, own.crs)
        down, across = grid.pixel_height / own.pixel_height, grid.pixel_width / own.pixel_width
        if not same:
            down, across = compute_pixel_ratio(own, grid)
    except (ValueError, CRSError) as error:
        msg = f"{reference.name}: {error}; give one whose CRS reaches to the scenes"
        raise InputError(msg) from error
    window = _find_window(own, outline)
    if window is None:
        return None
    joined = max(1, math.ceil(measured * max(down, across) - _NEARLY))
    place = _join_pixels(own.subgrid(window), joined)
    parts = tuple(
        replace(part, raster=replace(part.raster, grid=replace(part.raster.grid, crs=grid.crs)) if same else part.raster)
        for part in reference.parts
    )
    try:
        bounds = (place.bounds if same else project_bounds(place, grid.crs)).intersection(grid.bounds)
    except ValueError:  # beyond the mosaic it may reach to where that CRS has no place
        bounds = grid.bounds
    if bounds is None:
        return None
    return Placed(scene=replace(reference, grid=place, parts=parts), bounds=bounds, pixel=(joined / down, joined / across))


def _find_window(own: Grid, outline: Bounds) -> Window | None:
    """Pixels of a reference in an outline of its CRS and some around; a whole turn around the Earth does not matter."""
    whole = find_turn(own.crs)
    turns = (0.0,) if whole is None else (-whole, 0.0, whole)
    shifted = (replace(outline, left=outline.left + turn, right=outline.right + turn) for turn in turns)
    windows = [own.window_touching(shared) for one in shifted if (shared := one.intersection(own.bounds)) is not None]
    if not windows:
        return None
    row, col = max(0, min(w.row for w in windows) - _AROUND), max(0, min(w.col for w in windows) - _AROUND)
    end = min(own.height, max(w.row_end for w in windows) + _AROUND), min(own.width, max(w.col_end for w in windows) + _AROUND)
    return Window(row=row, col=col, height=end[0] - row, width=end[1] - col)


def _join_pixels(grid: Grid, number: int) -> Grid:
    """A grid of pixels that are some of another's, a square of so many each; the last may reach beyond it."""
    return replace(
        grid,
        pixel_width=grid.pixel_width * number,
        pixel_height=grid.pixel_height * number,
        width=math.ceil(grid.width / number),
        height=math.ceil(grid.height / number),
    )
