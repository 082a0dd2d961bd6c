"""The result of a run, made from what the two passes found: the files to publish and the Item that describes them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapely import union_all

from processor.geotiff.cog.spec import CogSpec
from processor.geotiff.reader import read_decimated
from processor.model import Finding
from processor.mosaic.measure import Measures
from processor.mosaic.passes import Rendered
from processor.mosaic.plan import Plan
from processor.mosaic.solve import Solution
from processor.process.memory import release_memory
from processor.publish.artifacts import (
    Product,
    RasterWriter,
    make_data_products,
    make_inputs_product,
    make_mosaic_products,
    make_report_products,
    write_heads,
)
from processor.publish.output_paths import Copy, make_copies, make_debug_copy
from processor.publish.register import Announcement
from processor.report.figures import PixelCounts, Preview, RunFacts
from processor.scenes.inputs import ResolvedInputs
from processor.stages.seamlines.voronoi_center_seamline import compute_footprint
from processor.storage.options import Access
from processor.storage.url import join_url
from processor.version import read_version
from stac.write.assets import MosaicBand, RasterMetadata
from stac.write.item import ItemPlaces, create_item
from stac.write.sensors import merge_bands

if TYPE_CHECKING:
    from processor.report.bundle import Drawings, ReportFiles

__all__ = ["Prepared", "Result", "Stamp", "describe_mosaic", "describe_scenes"]

_PREVIEW_EDGE = 1200
_SUMMARY = ("coverage", "residual_before", "residual_after", "contrast", "warnings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A planned run, before any pixel is read."""

    plan: Plan
    """What is decided before a pixel is read."""
    digest: str
    """Digest of inputs, configuration and version, lower-case hexadecimal."""
    item_id: str
    """Id of the Item."""
    findings: tuple[Finding, ...]
    """What opening and planning brought to light."""
    access: Access = field(default_factory=Access)
    """How storage is reached."""
    inputs: ResolvedInputs | None = None
    """What INPUT turned out to be; None where nobody needs to know."""
    announcement: Announcement = field(default_factory=Announcement)
    """Where else the Item is made known."""
    inputs_table: bytes | None = None
    """The Items of the inputs as STAC GeoParquet, where that is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What an Item says of its making that does not follow from inputs and configuration."""

    created: str
    """RFC 3339 time."""
    self_href: str
    """Absolute path or URL that the Item will have."""
    mosaic_url: str | None = None
    """Absolute path or URL of the mosaic where it is not to be in the Item's folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that is to be published."""

    products: tuple[Product, ...]
    """The files, in scratch."""
    copies: tuple[Copy, ...]
    """Files that are also wanted elsewhere."""
    item: dict[str, Any]
    """The Item that names them."""
    findings: tuple[Finding, ...]
    """Of all stages, warnings first."""


def describe_mosaic(
    prepared: Prepared,
    measures: Measures,
    solution: Solution,
    rendered: Rendered,
    rasters: tuple[Product, ...],
    scratch: Path,
    write: RasterWriter,
    stamp: Stamp,
    findings: tuple[Finding, ...],
) -> Result:
    """The mosaic, written to its place, and everything beside it."""
    plan = prepared.plan
    release_memory()  # what the passes held in large pieces, the report needs in small ones
    heads = write_heads(plan, rendered, scratch)
    facts = _collect_facts(prepared, measures, solution, rendered, findings)
    with ThreadPoolExecutor(1, thread_name_prefix="describe") as pool:  # while bytes are copied, which leaves a processor idle
        drawing = pool.submit(_draw, facts, heads)
        making = pool.submit(_make_data, prepared, measures, solution, scratch)
        mosaic, index = make_mosaic_products(plan, rendered, heads, write, mosaic_url=stamp.mosaic_url)
        data = (mosaic, index, *rasters, *making.result())
        drawings = drawing.result()
    report = _report(replace(facts, artifacts=tuple(product.artifact for product in data)), drawings)
    products = (*data, *make_report_products(report, scratch))
    summary = report.report["summary"]
    item = create_item(
        item_id=prepared.item_id,
        scenes=plan.scenes,
        grid=plan.grid,
        footprint=compute_footprint(rendered.mask, rendered.mask_grid),
        artifacts=tuple(product.artifact for product in products),
        rasters=_describe_rasters(plan, products),
        created=stamp.created,
        digest=prepared.digest,
        version=read_version(),
        stages=plan.methods.names,
        properties={key: summary[key] for key in _SUMMARY},
        owned=facts.counts.owned,
        places=_find_places(prepared, stamp),
    )
    copies = (*make_copies(plan.config, plan.scenes, products), *make_debug_copy(plan, solution, scratch))
    return Result(products=products, copies=copies, item=item, findings=report.findings)


def _make_data(prepared: Prepared, measures: Measures, solution: Solution, scratch: Path) -> tuple[Product, ...]:
    """What the mosaic can be made again from."""
    products = tuple(make_data_products(prepared.plan, measures, solution, scratch, digest=prepared.digest))
    if prepared.inputs_table is None:
        return products
    return (*products, make_inputs_product(prepared.inputs_table, scratch))


def _collect_facts(
    prepared: Prepared,
    measures: Measures,
    solution: Solution,
    rendered: Rendered,
    findings: tuple[Finding, ...],
) -> RunFacts:
    """All that the report is made from, but for the artifacts."""
    plan = prepared.plan
    owned = rendered.counts[1:].tolist()
    return RunFacts(
        item_id=prepared.item_id,
        version=read_version(),
        digest=prepared.digest,
        scenes=plan.scenes,
        whole={scene.name: scene.valid for scene in measures.scenes},
        overlaps=measures.overlaps,
        adjustments=solution.adjustments,
        corrections=solution.corrections,
        cells=solution.seamlines.cells if solution.seamlines is not None else (),
        grid=plan.grid,
        counts=PixelCounts(
            mosaic=sum(owned),
            union=sum(owned) if measures.union is None else measures.union,
            fallback=rendered.filled,
            owned=dict(zip((scene.name for scene in plan.scenes), owned, strict=True)),
        ),
        statistics=rendered.statistics,
        findings=findings,
        config=plan.config,
        artifacts=(),
    )


def _draw(facts: RunFacts, heads: tuple[Path, Path]) -> Drawings:
    """Draw all pictures, from the heads of the mosaic and of the scene index."""
    from processor.report.bundle import draw_report  # noqa: PLC0415 - Pillow, which is not needed before

    return draw_report(facts, _read_preview(*heads))


def _report(facts: RunFacts, drawings: Drawings) -> ReportFiles:
    from processor.report.bundle import make_report  # noqa: PLC0415 - as above

    return make_report(facts, drawings)


def _read_preview(mosaic: Path, index: Path) -> Preview:
    values, grid = read_decimated(mosaic, edge=_PREVIEW_EDGE)
    numbers, _ = read_decimated(index, edge=_PREVIEW_EDGE)
    return Preview(values=values, valid=numbers[0] > 0, bounds=grid.bounds, scene_index=numbers[0])


def describe_scenes(
    prepared: Prepared,
    measures: Measures,
    solution: Solution,
    rasters: tuple[Product, ...],
    scratch: Path,
    stamp: Stamp,
    findings: tuple[Finding, ...],
) -> Result:
    """With merging off: every scene as it is after the last stage that is on, and what it was made with."""
    plan = prepared.plan
    products = (*rasters, *_make_data(prepared, measures, solution, scratch))
    item = create_item(
        item_id=prepared.item_id,
        scenes=plan.scenes,
        grid=plan.grid,
        footprint=union_all([scene.footprint for scene in measures.scenes]),
        artifacts=tuple(product.artifact for product in products),
        rasters=_describe_rasters(plan, products),
        created=stamp.created,
        digest=prepared.digest,
        version=read_version(),
        stages=plan.methods.names,
        places=_find_places(prepared, stamp),
    )
    copies = (*make_copies(plan.config, plan.scenes, products), *make_debug_copy(plan, solution, scratch))
    return Result(products=products, copies=copies, item=item, findings=findings)


def _describe_rasters(plan: Plan, products: Sequence[Product]) -> dict[str, RasterMetadata]:
    """Bands and grids of the published rasters, by key."""
    return {
        product.artifact.key: RasterMetadata(
            bands=_describe_bands(plan, product.raster),
            grid=None if product.raster.grid == plan.grid else product.raster.grid,
        )
        for product in products
        if product.raster is not None
    }


def _describe_bands(plan: Plan, raster: CogSpec) -> tuple[MosaicBand, ...]:
    """Bands of a raster; those that are bands of the scenes have their common names."""
    known = {band.name: band for band in merge_bands(plan.scenes)}
    statistics, pixels = raster.statistics, raster.grid.width * raster.grid.height
    return tuple(
        MosaicBand(
            name=name or f"band_{position + 1}",
            common_name=known[name].common_name if name in known else None,
            description=known[name].description if name in known else None,
            scaling=known[name].scaling if name in known else None,
            dtype=raster.dtype,
            nodata=raster.nodata,
            minimum=None if statistics is None else float(statistics.minimum[position]),
            maximum=None if statistics is None else float(statistics.maximum[position]),
            mean=None if statistics is None else float(statistics.mean[position]),
            stddev=None if statistics is None else float(statistics.std[position]),
            valid_percent=None if statistics is None else 100 * statistics.count / pixels,
        )
        for position, name in enumerate(raster.descriptions)
    )


def _find_places(prepared: Prepared, stamp: Stamp) -> ItemPlaces:
    """Where the Item is, what it belongs to, and how it names its files."""
    output = prepared.plan.config.output
    public = None if output.public_url is None else join_url(output.public_url, prepared.item_id)
    return ItemPlaces(self_href=stamp.self_href, hrefs=output.hrefs, public_folder=public, parent=prepared.announcement.parent)
