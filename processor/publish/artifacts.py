"""The files that a run publishes, made in scratch with their sizes and digests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from processor.config import Config, render_yaml
from processor.geotiff.cog.spec import CogProfile, CogSpec
from processor.geotiff.cog.tiles import TileSource
from processor.geotiff.cog.writer import HEADER_EDGE, MEDIA_TYPE, check_cog, write_cog_array, write_cog_header
from processor.geotiff.reader import RasterReader
from processor.model import Artifact, Grid
from processor.mosaic.plan import Plan
from processor.mosaic.rendered import Rendered, index_spec, mosaic_spec
from processor.mosaic.solve import Solution
from processor.mosaic.stage_outputs import stage_spec, write_stage_raster
from processor.process.threads import resolve_threads
from processor.redaction import clean_document
from processor.stages.files import BlockArchive, BlockRaster, DataFile, TextFile
from processor.stages.matching.block_maps_file import render_block_maps
from processor.stages.measures import Measures
from processor.storage.store import Written
from processor.vectors import write_seamlines
from processor.version import read_version
from stac.write.inputs import INPUTS, MOST_LINKS, create_inputs

if TYPE_CHECKING:
    from processor.report.bundle import ReportFiles


LOCK: Final = "config.yaml"
"""The file that says which run a folder belongs to; see :mod:`processor.publish.destination`."""

REPORT: Final = "report.json"
"""The quality report, for programs."""

PAGE: Final = "report.html"
"""The quality report, for people."""

OVERVIEW: Final = "overview.png"
"""The thumbnail."""

MOSAIC: Final = "mosaic"
"""Key of the mosaic, and its file's name without suffix."""

SCENE_INDEX: Final = "scene_index"
"""Key of the scene index, and its file's name without suffix."""

CELLS: Final = "seamlines.gpkg"
"""The cells."""


_NAMES: Final = ".aux.xml"  # after the name of the TIFF: where GDAL looks for what a TIFF cannot hold
_SCENE_INDEX: Final = "Scene index: which scene each pixel came from, numbered in name order from 1; 0 where there is none"
_OBSERVATIONS: Final = "Observations: of how many scenes each pixel was made; 0 where there is none"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFile:
    """What is published, and the local file that it is made of."""

    artifact: Artifact
    """What the Item says of it."""
    file: Path
    """Local file that holds it."""
    raster: CogSpec | None = None
    """What is in it, where it is a raster."""
    is_published: bool = False
    """Whether it is where it belongs already; then the file has only its head
    (:func:`processor.geotiff.cog.writer.write_cog_header`).
    """
    is_copied_only: bool = False
    """Whether it is not published, but only copied to where the user wants it."""


def make_product(
    file: Path,
    *,
    key: str,
    path: str,
    title: str,
    media_type: str = MEDIA_TYPE,
    roles: tuple[str, ...] = ("metadata",),
    written: Written | None = None,
    raster: CogSpec | None = None,
    scene: str | None = None,
) -> ArtifactFile:
    """Describe a finished file; it is read for its digest unless that is known."""
    if written is None:
        with file.open("rb") as opened:
            written = Written(size=file.stat().st_size, sha256=hashlib.file_digest(opened, "sha256").hexdigest())
    artifact = Artifact(
        key=key,
        path=path,
        media_type=media_type,
        title=title,
        roles=roles,
        size=written.size,
        sha256=written.sha256,
        scene=scene,
    )
    return ArtifactFile(artifact=artifact, file=file, raster=raster)


def list_fixed_paths(plan: Plan, *, mosaic_url: str | None = None) -> tuple[str, ...]:
    """Paths in the Item's folder that every run of a plan publishes besides the lock, as far as they are known before it."""
    rasters: tuple[str, ...] = ()
    if plan.methods.merge.is_on:
        index, mosaic = index_spec(plan), (f"{MOSAIC}.tif",) if mosaic_url is None else ()
        names = (f"{SCENE_INDEX}.tif{_NAMES}",) if index.colours else ()
        rasters = (*mosaic, f"{index.descriptions[0]}.tif", *names, OVERVIEW, REPORT, PAGE)
    return (*rasters, CELLS) if plan.methods.seamlines.is_on else rasters


RasterWriter = Callable[[str, CogSpec, TileSource], Written]
"""Writes a COG to the place where it is published, without a local copy: a path relative to the Item's folder, or absolute."""


def write_headers(plan: Plan, rendered: Rendered, scratch: Path) -> tuple[Path, Path]:
    """The headers of the mosaic and of the scene index, checked: both files without their large levels.

    Raises
    ------
    PermanentError
        One would be no valid COG.
    """
    mosaic, index = mosaic_spec(plan, statistics=rendered.statistics), index_spec(plan)
    headers = scratch / f"{MOSAIC}.tif", scratch / f"{index.descriptions[0]}.tif"
    for head, spec, blocks in ((headers[0], mosaic, rendered.mosaic), (headers[1], index, rendered.index)):
        write_cog_header(head, spec, blocks, edge=HEADER_EDGE)
        check_cog(head, strict=spec.overviews)
    return headers


def make_mosaic_products(
    plan: Plan, rendered: Rendered, headers: tuple[Path, Path], write: RasterWriter, *, mosaic_url: str | None = None
) -> tuple[ArtifactFile, ArtifactFile]:
    """The mosaic and the scene index, assembled from their blocks; published already, with their headers in scratch.

    The mosaic goes to ``mosaic_url`` or, without, to the Item's folder.
    """
    mosaic, index = mosaic_spec(plan, statistics=rendered.statistics), index_spec(plan)
    path = headers[0].name if mosaic_url is None else mosaic_url
    products = (
        make_product(
            headers[0],
            key=MOSAIC,
            path=path,
            title="Mosaic",
            roles=("data",),
            written=write(path, mosaic, rendered.mosaic.drain()),
            raster=mosaic,
        ),
        make_product(
            headers[1],
            key=headers[1].stem,
            path=headers[1].name,
            title=_OBSERVATIONS if plan.is_stack else _SCENE_INDEX,
            roles=("metadata", "data-mask"),
            written=write(headers[1].name, index, rendered.index.drain()),
            raster=index,
        ),
    )
    return replace(products[0], is_published=True), replace(products[1], is_published=True)


def make_names_products(plan: Plan, scratch: Path) -> Iterator[ArtifactFile]:
    """Names of the scenes beside a scene index with a colour table, as GDAL keeps names of a TIFF's values."""
    spec = index_spec(plan)
    if spec.colours:
        root = Element("PAMDataset")
        names = SubElement(SubElement(root, "PAMRasterBand", band="1"), "CategoryNames")
        for text in ("no scene", *(scene.title for scene in plan.scenes)):
            SubElement(names, "Category").text = "".join(letter if letter.isprintable() else " " for letter in text)
        yield _make_data_file(
            TextFile(
                key="scene_names",
                path=f"{SCENE_INDEX}.tif{_NAMES}",
                title="Names of the scenes in the scene index, for GDAL and QGIS",
                media_type="application/xml",
                text=tostring(root, encoding="unicode", xml_declaration=False) + "\n",
            ),
            scratch,
        )


def make_stage_products(
    plan: Plan, solution: Solution, reader: RasterReader, stage: str, scratch: Path, urls: Mapping[str, str] | None
) -> Iterator[ArtifactFile]:
    """Every scene as it is after a stage, to be published at its URL or, without, in the Item's folder."""
    method = plan.methods.find(stage).name
    folder = scratch / method
    folder.mkdir()
    threads = resolve_threads(plan.config.shared.tile_threads)
    # Beside a mosaic they are not what a reader of the Item is after.
    roles = ("intermediate",) if plan.methods.merge.is_on else ("data",)
    for position, scene in enumerate(plan.scenes):
        file = folder / f"{scene.name}.tif"
        written = write_stage_raster(plan, solution, reader, position, stage, file, threads=threads)
        yield make_product(
            file,
            key=f"{method}_{scene.name}",
            path=f"{method}/{file.name}" if urls is None else urls[scene.name],
            title=f"{scene.title} after {method}",
            roles=roles,
            written=written,
            raster=stage_spec(plan, solution, position, stage),
            scene=scene.title,
        )


def make_report_products(report: ReportFiles, scratch: Path) -> Iterator[ArtifactFile]:
    """The thumbnail and the quality report."""
    files = (
        ("overview", OVERVIEW, report.overview, "image/png", "Thumbnail", ("thumbnail", "overview")),
        ("report", REPORT, report.document, "application/json", "Quality report, for programs", ("metadata",)),
        ("report_page", PAGE, report.page, "text/html", "Quality report, for people", ("metadata",)),
    )
    for key, name, data, media_type, title, roles in files:
        file = scratch / name
        file.write_bytes(data)
        yield make_product(file, key=key, path=name, media_type=media_type, title=title, roles=roles)


def render_lock(config: Config, digest: str) -> str:
    """The configuration file as published: the digest in a comment, then all that decides the result."""
    head = f"# Made by mosaic-processor {read_version()}. Digest of inputs and configuration:\n# {digest}\n"
    return head + render_yaml(config)


def make_data_products(
    plan: Plan, measures: Measures, solution: Solution, scratch: Path, *, digest: str, inputs_table: bytes | None = None
) -> Iterator[ArtifactFile]:
    """Configuration, adjustments, block maps, seamlines and the table of the inputs: what the mosaic can be made again from."""
    text = render_lock(plan.config, digest)
    lock = TextFile(key="config", path=LOCK, title="Configuration as run", media_type="application/yaml", text=text)
    yield _make_data_file(lock, scratch)
    methods = plan.methods
    files = (
        *methods.matching_global.list_files(measures, solution.matching_global),
        *methods.matching_local.list_files(solution.matching_local),
    )
    for file in files:
        if isinstance(file, BlockRaster):
            yield _make_block_raster(file, plan, scratch)
        elif isinstance(file, BlockArchive):
            data = render_block_maps(file.local, file.reference, crs=plan.grid.crs)
            named = DataFile(key=file.key, path=file.path, title=file.title, media_type="application/zip", data=data)
            yield _make_data_file(named, scratch)
        else:
            yield _make_data_file(file, scratch)
    if solution.seamlines is not None:
        cells = scratch / CELLS
        write_seamlines(cells, solution.seamlines.cells, crs=plan.grid.crs, field=methods.seamlines.scene_field)
        yield make_product(
            cells,
            key="seamlines",
            path=cells.name,
            media_type="application/geopackage+sqlite3",
            title="Cells: the part of the mosaic that each scene owns",
        )
    if inputs_table is not None:
        table = scratch / "inputs.parquet"
        table.write_bytes(inputs_table)
        kind, title = "application/vnd.apache.parquet", "Items of the inputs, as STAC GeoParquet"
        yield make_product(table, key="inputs", path=table.name, media_type=kind, title=title)


def make_inputs_products(plan: Plan, scratch: Path, *, created: str) -> Iterator[ArtifactFile]:
    """The Items of all inputs, where there are more than the Item of the mosaic links to."""
    if len(plan.scenes) > MOST_LINKS:
        document = clean_document(create_inputs(plan.scenes, created=created))
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
        title = "Items of all inputs, an ItemCollection"
        listed = TextFile(key="inputs_items", path=INPUTS, title=title, media_type="application/geo+json", text=text)
        yield _make_data_file(listed, scratch)


def _make_data_file(content: TextFile | DataFile, scratch: Path) -> ArtifactFile:
    file = scratch / content.path
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content.data if isinstance(content, DataFile) else content.text.encode("utf-8"))
    return make_product(file, key=content.key, path=content.path, media_type=content.media_type, title=content.title)


def _make_block_raster(raster: BlockRaster, plan: Plan, scratch: Path) -> ArtifactFile:
    """A block map as a raster: one pixel a block of the whole canvas."""
    file = scratch / raster.path
    file.parent.mkdir(exist_ok=True)
    values, blocks = raster.blocks.expand().astype(np.float32), raster.blocks.grid
    grid = Grid(
        crs=plan.grid.crs,
        left=blocks.bounds.left,
        top=blocks.bounds.top,
        pixel_width=blocks.block_width,
        pixel_height=blocks.block_height,
        width=blocks.cols,
        height=blocks.rows,
    )
    spec = CogSpec(
        grid=grid,
        bands=values.shape[0],
        dtype="float32",
        nodata=float("nan"),
        profile=CogProfile(tile_size=64),
        descriptions=raster.bands or tuple(band.name for band in plan.scenes[0].bands),
    )
    written = write_cog_array(file, values, spec)
    product = make_product(file, key=raster.key, path=raster.path, title=raster.title, written=written, raster=spec)
    return replace(product, is_copied_only=not raster.is_published)
