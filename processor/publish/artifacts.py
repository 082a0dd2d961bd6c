"""The files that a run publishes, made in scratch with their sizes and digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from processor.config import Config, render_yaml
from processor.geotiff.cog.writer import (
    HEAD_EDGE,
    MEDIA_TYPE,
    BlockSource,
    CogProfile,
    CogSpec,
    check_cog,
    write_cog_array,
    write_cog_head,
)
from processor.geotiff.reader import RasterReader
from processor.model import Artifact, BlockMap, Grid
from processor.mosaic.measure import Measures
from processor.mosaic.passes import Rendered, index_spec, mosaic_spec
from processor.mosaic.plan import Plan
from processor.mosaic.solve import Solution, join_statistics
from processor.mosaic.stage_outputs import Stage, stage_spec, write_stage_raster
from processor.process.threads import resolve_threads
from processor.stages.matching.adjustments_file import render_adjustments
from processor.storage.store import Written, iter_file
from processor.vectors import write_seamlines
from processor.version import read_version

if TYPE_CHECKING:
    from processor.report.bundle import ReportFiles

__all__ = [
    "CLAIM",
    "REPORT",
    "Product",
    "RasterWriter",
    "block_map_grid",
    "make_data_products",
    "make_inputs_product",
    "make_mosaic_products",
    "make_product",
    "make_report_products",
    "make_stage_products",
    "render_claim",
    "write_heads",
]

CLAIM: Final = "config.yaml"
"""The file that says which run a folder belongs to; see :mod:`processor.publish.destination`."""

REPORT: Final = "report.json"
"""The quality report, for programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """What is published, and the local file that it is made of."""

    artifact: Artifact
    file: Path
    raster: CogSpec | None = None
    """What is in it, where it is a raster."""
    is_published: bool = False
    """Whether it is where it belongs already; then the file has only its head
    (:func:`processor.geotiff.cog.writer.write_cog_head`).
    """


def make_product(
    file: Path,
    *,
    key: str,
    path: str,
    media_type: str,
    title: str,
    roles: tuple[str, ...],
    written: Written | None = None,
    raster: CogSpec | None = None,
    is_published: bool = False,
) -> Product:
    """Describe a finished file; it is read for its digest unless that is known."""
    known = written if written is not None else _digest(file)
    artifact = Artifact(
        key=key, path=path, media_type=media_type, title=title, roles=roles, size=known.size, sha256=known.sha256
    )
    return Product(artifact=artifact, file=file, raster=raster, is_published=is_published)


def _digest(file: Path) -> Written:
    digest, size = hashlib.sha256(), 0
    for piece in iter_file(file):
        digest.update(piece)
        size += len(piece)
    return Written(size=size, sha256=digest.hexdigest())


class RasterWriter(Protocol):
    """Writes a raster to the place where it is published, without a local copy."""

    def __call__(self, path: str, spec: CogSpec, blocks: BlockSource) -> Written:
        """Write a COG at a path relative to the Item's folder, or absolute; size and digest."""
        ...


def write_heads(plan: Plan, rendered: Rendered, scratch: Path) -> tuple[Path, Path]:
    """The heads of the mosaic and of the scene index, checked: both files without their large levels.

    Raises
    ------
    PermanentError
        One would be no valid COG.
    """
    mosaic, index = mosaic_spec(plan, statistics=rendered.statistics), index_spec(plan)
    heads = scratch / "mosaic.tif", scratch / "scene_index.tif"
    for head, spec, blocks in ((heads[0], mosaic, rendered.mosaic), (heads[1], index, rendered.index)):
        write_cog_head(head, spec, blocks, edge=HEAD_EDGE)
        check_cog(head, strict=spec.overviews)
    return heads


def make_mosaic_products(
    plan: Plan, rendered: Rendered, heads: tuple[Path, Path], write: RasterWriter, *, mosaic_url: str | None = None
) -> tuple[Product, Product]:
    """The mosaic and the scene index, assembled from their blocks; published already, with their heads in scratch.

    The mosaic goes to ``mosaic_url`` or, without, to the Item's folder.
    """
    mosaic, index = mosaic_spec(plan, statistics=rendered.statistics), index_spec(plan)
    path = "mosaic.tif" if mosaic_url is None else mosaic_url
    return (
        make_product(
            heads[0],
            key="mosaic",
            path=path,
            media_type=MEDIA_TYPE,
            title="Mosaic",
            roles=("data",),
            written=write(path, mosaic, rendered.mosaic.drain()),
            raster=mosaic,
            is_published=True,
        ),
        make_product(
            heads[1],
            key="scene_index",
            path=heads[1].name,
            media_type=MEDIA_TYPE,
            title="Scene index: which scene each pixel came from, numbered in name order from 1; 0 where there is none",
            roles=("metadata", "data-mask"),
            written=write(heads[1].name, index, rendered.index.drain()),
            raster=index,
            is_published=True,
        ),
    )


def make_stage_products(
    plan: Plan, solution: Solution, reader: RasterReader, stage: Stage, scratch: Path, urls: Mapping[str, str] | None
) -> Iterator[Product]:
    """Every scene as it is after a stage, to be published at its URL or, without, in the Item's folder."""
    folder = scratch / stage
    folder.mkdir()
    threads = resolve_threads(plan.config.shared.tile_threads)
    # Beside a mosaic they are not what a reader of the Item is after.
    roles = ("data",) if plan.config.methods.merge_method is None else ("intermediate",)
    for position, scene in enumerate(plan.scenes):
        file = folder / f"{scene.name}.tif"
        written = write_stage_raster(plan, solution, reader, position, stage, file, threads=threads)
        yield make_product(
            file,
            key=f"{stage}_{scene.name}",
            path=f"{stage}/{file.name}" if urls is None else urls[scene.name],
            media_type=MEDIA_TYPE,
            title=f"{scene.name} after {stage}",
            roles=roles,
            written=written,
            raster=stage_spec(plan, position, stage),
        )


def make_report_products(report: ReportFiles, scratch: Path) -> Iterator[Product]:
    """The thumbnail and the quality report."""
    files = (
        ("overview", "overview.png", report.overview, "image/png", "Thumbnail", ("thumbnail", "overview")),
        ("report", REPORT, report.document, "application/json", "Quality report, for programs", ("metadata",)),
        ("report_page", "report.html", report.page, "text/html", "Quality report, for people", ("metadata",)),
    )
    for key, name, data, media_type, title, roles in files:
        file = scratch / name
        file.write_bytes(data)
        yield make_product(file, key=key, path=name, media_type=media_type, title=title, roles=roles)


def make_inputs_product(table: bytes, scratch: Path) -> Product:
    """The Items of the inputs, as one table."""
    file = scratch / "inputs.parquet"
    file.write_bytes(table)
    title = "Items of the inputs, as STAC GeoParquet"
    return make_product(
        file, key="inputs", path=file.name, media_type="application/vnd.apache.parquet", title=title, roles=("metadata",)
    )


def render_claim(config: Config, digest: str) -> str:
    """The configuration file as published: the digest in a comment, then all that decides the result."""
    head = f"# Made by mosaic-processor {read_version()}. Digest of inputs and configuration:\n# {digest}\n"
    return head + render_yaml(config)


def make_data_products(plan: Plan, measures: Measures, solution: Solution, scratch: Path, *, digest: str) -> Iterator[Product]:
    """Configuration, adjustments, block maps and seamlines: what the mosaic can be made again from."""
    yield _make_text(
        scratch / CLAIM,
        render_claim(plan.config, digest),
        key="config",
        media_type="application/yaml",
        title="Configuration as run",
        roles=("metadata",),
    )
    if plan.config.methods.matching_global_method is not None:
        whole, overlaps = join_statistics(plan, measures)
        adjustments = sorted((*solution.adjustments, *solution.others), key=lambda adjustment: adjustment.scene)
        yield _make_text(
            scratch / "adjustments.json",
            render_adjustments(adjustments, whole, overlaps),
            key="adjustments",
            media_type="application/json",
            title="Scale and offset of each scene and band, and the statistics they follow from",
            roles=("metadata",),
        )
    if solution.reference is not None:
        folder = scratch / "block_maps"
        folder.mkdir()
        yield _make_block_map(folder / "reference.tif", plan, solution.reference, "block_map_reference", "Reference block map")
        for local in solution.local_maps:
            title = f"Local block map of {local.name}"
            yield _make_block_map(folder / f"local_{local.name}.tif", plan, local, f"block_map_local_{local.name}", title)
    if solution.seamlines is not None:
        file = scratch / "seamlines.gpkg"
        field = plan.config.voronoi_center_seamline.image_field_name
        write_seamlines(file, solution.seamlines.cells, crs=plan.grid.crs, field=field)
        yield make_product(
            file,
            key="seamlines",
            path=file.name,
            media_type="application/geopackage+sqlite3",
            title="Cells: the part of the mosaic that each scene owns",
            roles=("metadata",),
        )


def _make_text(file: Path, text: str, *, key: str, media_type: str, title: str, roles: tuple[str, ...]) -> Product:
    file.write_text(text, encoding="utf-8")
    return make_product(file, key=key, path=file.name, media_type=media_type, title=title, roles=roles)


def block_map_grid(plan: Plan, block_map: BlockMap) -> Grid:
    """The pixel grid of a block map's file: one pixel a block of the whole canvas."""
    blocks = block_map.grid
    return Grid(
        crs=plan.grid.crs,
        left=blocks.bounds.left,
        top=blocks.bounds.top,
        pixel_width=blocks.block_width,
        pixel_height=blocks.block_height,
        width=blocks.cols,
        height=blocks.rows,
    )


def _make_block_map(file: Path, plan: Plan, block_map: BlockMap, key: str, title: str) -> Product:
    values = block_map.expand().astype(np.float32)
    spec = CogSpec(
        grid=block_map_grid(plan, block_map),
        bands=values.shape[0],
        dtype="float32",
        nodata=float("nan"),
        profile=CogProfile(blocksize=64),
        descriptions=tuple(band.name for band in plan.scenes[0].bands),
    )
    written = write_cog_array(file, values, spec)
    return make_product(
        file,
        key=key,
        path=f"block_maps/{file.name}",
        media_type=MEDIA_TYPE,
        title=title,
        roles=("metadata",),
        written=written,
        raster=spec,
    )
