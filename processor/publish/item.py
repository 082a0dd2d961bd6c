"""What a run publishes, made from what its phases found: artifacts, report, and the Item that describes them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapely import Geometry, MultiLineString, boundary, intersection, union_all

from processor.geotiff.cog.spec import CogSpec
from processor.geotiff.reader import read_decimated
from processor.model import Finding, Histogram, Scene
from processor.mosaic.fidelity import judge_scene_fidelity
from processor.mosaic.measure import mask_factor
from processor.mosaic.plan import Plan
from processor.mosaic.rendered import Rendered
from processor.mosaic.solve import Solution
from processor.process.memory import release_memory
from processor.publish.artifacts import (
    MOSAIC,
    SCENE_INDEX,
    ArtifactFile,
    RasterWriter,
    make_data_products,
    make_inputs_products,
    make_mosaic_products,
    make_names_products,
    make_report_products,
    write_headers,
)
from processor.publish.destination import Destination
from processor.publish.output_paths import Copy, make_copies, make_debug_copy
from processor.publish.register import Registration
from processor.redaction import clean_document
from processor.report.figures import PixelCounts, Preview, ReportInputs, SeamView
from processor.scenes.inputs import ResolvedInputs
from processor.stages.check_cells import Fidelity
from processor.stages.matching.match_figures import compute_match_figures
from processor.stages.measures import Measures
from processor.stages.seamlines.footprint import compute_footprint
from processor.stages.statistics import compute_histograms
from processor.storage.options import Access
from processor.storage.url import join_url
from processor.version import read_version
from stac.write.assets import MosaicBand, RasterMetadata
from stac.write.item import ItemPlaces, Processing, Rights, Summary, create_item
from stac.write.renders import create_classes

if TYPE_CHECKING:
    from processor.report.bundle import Drawings


_PREVIEW_EDGE = 1200
_SUMMARY = (
    "verdict",
    "coverage",
    "residual_before",
    "residual_after",
    "contrast",
    "gradient_excess",
    "seam_difference",
    "seam_difference_high",
    "disagreement",
    "illumination_trend",
    "contrast_kept",
    "fidelity_to_scenes",
    "fidelity",
    "misregistration",
    "warnings",
)


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
    references: tuple[Scene, ...] = ()
    """What the scenes are matched to, as opened."""
    checks: tuple[Scene, ...] = ()
    """What the mosaic is judged by, as opened."""
    registration: Registration = field(default_factory=Registration)
    """Where else the Item is made known."""
    inputs_table: bytes | None = None
    """The Items of the inputs as STAC GeoParquet, where that is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mosaic:
    """What the phases of a run made."""

    measures: Measures
    """What the first pass measured."""
    solution: Solution
    """What was done to the pixels."""
    rendered: Rendered | None
    """Blocks of the mosaic, and what was counted; None with merging off."""
    fidelity: tuple[Fidelity, ...]
    """How well the mosaic agrees with each check."""
    stage_rasters: tuple[ArtifactFile, ...]
    """Rasters of single scenes that were asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFiles:
    """Everything that is to be published."""

    artifacts: tuple[ArtifactFile, ...]
    """The files, in scratch."""
    copies: tuple[Copy, ...]
    """Files that are also wanted elsewhere."""
    item: dict[str, Any]
    """The Item that names them."""
    findings: tuple[Finding, ...]
    """Of all stages, warnings first."""


def make_item(destination: Destination, prepared: Prepared, mosaic: Mosaic, scratch: Path, write: RasterWriter) -> ItemFiles:
    """Make everything that is to be published; the mosaic is written to its place on the way.

    With merging off there is no mosaic and no report: every scene as it is after the last stage that is on.
    """
    plan, rendered = prepared.plan, mosaic.rendered
    findings = (*prepared.findings, *mosaic.solution.findings)
    data = chain(
        make_data_products(
            plan, mosaic.measures, mosaic.solution, scratch, digest=prepared.digest, inputs_table=prepared.inputs_table
        ),
        make_inputs_products(plan, scratch, created=destination.created),
    )
    if rendered is None:
        summary = Summary(footprint=union_all([scene.footprint for scene in mosaic.measures.scenes]))
        return _describe(destination, prepared, mosaic, scratch, (*mosaic.stage_rasters, *data), summary, findings)
    data = chain(make_names_products(plan, scratch), data)
    release_memory()  # what the passes held in large pieces, the report needs in small ones
    headers = write_headers(plan, rendered, scratch)
    inputs = _collect_report_inputs(prepared, mosaic, rendered, findings)
    with ThreadPoolExecutor(1, thread_name_prefix="describe") as pool:  # while bytes are copied, which leaves a processor idle
        drawing = pool.submit(_draw, inputs, headers, is_stack=plan.is_stack)
        making = pool.submit(lambda: tuple(data))
        rasters = make_mosaic_products(plan, rendered, headers, write, mosaic_url=destination.mosaic_url)
        artifacts = (*rasters, *mosaic.stage_rasters, *making.result())
        drawings, histograms = drawing.result()
    from processor.report.bundle import make_report  # noqa: PLC0415 - Pillow, which is not needed before

    report = make_report(
        replace(inputs, artifacts=tuple(file.artifact for file in artifacts if not file.is_copied_only)), drawings
    )
    summary = Summary(
        footprint=compute_footprint(rendered.mask, rendered.mask_grid),
        cell=mask_factor(plan.grid),
        properties={key: report.report["summary"][key] for key in _SUMMARY},
        owned=inputs.counts.owned,
    )
    artifacts = (*artifacts, *make_report_products(report, scratch))
    return _describe(destination, prepared, mosaic, scratch, artifacts, summary, report.findings, histograms)


def _describe(
    destination: Destination,
    prepared: Prepared,
    mosaic: Mosaic,
    scratch: Path,
    artifacts: tuple[ArtifactFile, ...],
    summary: Summary,
    findings: tuple[Finding, ...],
    histograms: tuple[Histogram | None, ...] = (),
) -> ItemFiles:
    """Write the Item for finished artifacts, without those that are only copied."""
    plan, output = prepared.plan, prepared.plan.config.output
    copies = (*make_copies(plan.config, plan.scenes, artifacts), *make_debug_copy(plan, mosaic.solution, scratch))
    artifacts = tuple(file for file in artifacts if not file.is_copied_only)
    item = create_item(
        item_id=prepared.item_id,
        scenes=plan.scenes,
        references=tuple(reference.scene for reference in plan.references),
        grid=plan.grid,
        artifacts=tuple(file.artifact for file in artifacts),
        rasters={
            file.artifact.key: RasterMetadata(
                bands=_describe_bands(plan, file.raster, histograms if file.artifact.key == MOSAIC else ()),
                grid=None if file.raster.grid == plan.grid else file.raster.grid,
                classes=tuple(create_classes(plan.scenes)) if file.artifact.key == SCENE_INDEX else (),
            )
            for file in artifacts
            if file.raster is not None
        },
        processing=Processing(
            created=destination.created, digest=prepared.digest, version=read_version(), stages=plan.methods.names
        ),
        summary=summary,
        places=ItemPlaces(
            self_href=destination.absolute_item_url,
            hrefs=output.hrefs,
            public_folder=None if output.public_url is None else join_url(output.public_url, prepared.item_id),
            parent=prepared.registration.parent,
            tiles=output.tiles_url,
        ),
        rights=Rights(
            license=output.license,
            providers=tuple(
                provider.model_dump(exclude_none=True, exclude_defaults=True) for provider in output.providers or ()
            ),
        ),
    )
    return ItemFiles(artifacts=artifacts, copies=copies, item=clean_document(item), findings=findings)


def _find_other_cuts(solution: Solution) -> Geometry:
    """Parts of the cells' borders whose cut does not follow what most of them do, or the differences where any does."""
    cuts = solution.seamlines.cutlines if solution.seamlines is not None else ()
    usual = "difference" if any(cut.follows == "difference" for cut in cuts) else "centre-line"
    odd = [cut for cut in cuts if cut.follows != usual]
    if not odd or solution.seamlines is None:
        return MultiLineString()
    polygons = {cell.scene: cell.polygon for cell in solution.seamlines.cells}
    reach = 64 * solution.seamlines.grid_size
    return union_all(
        [intersection(cut.line, boundary(polygons[name]).buffer(reach)) for cut in odd for name in (cut.first, cut.second)]
    )


def _list_views(plan: Plan, solution: Solution, rendered: Rendered) -> tuple[SeamView, ...]:
    """The close-ups with their pixels."""
    numbers = {scene.name: number for number, scene in enumerate(plan.scenes, start=1)}
    return tuple(
        SeamView(
            first=place.first,
            second=place.second,
            follows=place.follows,
            row=place.row,
            col=place.col,
            difference=place.difference,
            before=pixels.before,
            after=pixels.after,
            index=pixels.index,
            first_number=numbers[place.first],
            second_number=numbers[place.second],
        )
        for pixels in rendered.close_ups
        for place in (solution.close_ups[pixels.number],)
    )


def _find_ranks(plan: Plan, solution: Solution) -> dict[str, int]:
    """Places of the scenes, from 1, by name; nothing where they are not ranked."""
    places = solution.seamlines.places if solution.seamlines is not None else ()
    return {scene.name: place + 1 for scene, place in zip(plan.scenes, places, strict=True)} if places else {}


def _collect_report_inputs(
    prepared: Prepared, mosaic: Mosaic, rendered: Rendered, findings: tuple[Finding, ...]
) -> ReportInputs:
    """All that the report is made from, but for the artifacts."""
    plan, measures, solution = prepared.plan, mosaic.measures, mosaic.solution
    owned = rendered.counts[1:].tolist()
    pixels = rendered.statistics.count if plan.is_stack else sum(owned)
    return ReportInputs(
        item_id=prepared.item_id,
        version=read_version(),
        digest=prepared.digest,
        scenes=plan.scenes,
        whole={scene.name: scene.valid for scene in measures.scenes},
        overlaps=measures.overlaps,
        adjustments=solution.adjustments,
        corrections=solution.corrections,
        cells=solution.seamlines.cells if solution.seamlines is not None else (),
        ranks=_find_ranks(plan, solution),
        seam_views=_list_views(plan, solution, rendered),
        other_cuts=_find_other_cuts(solution),
        is_converted=bool(plan.references),
        grid=plan.grid,
        counts=PixelCounts(
            mosaic=pixels,
            union=pixels if measures.union is None else measures.union,
            fallback=rendered.filled,
            owned=dict(zip((scene.name for scene in plan.scenes), owned, strict=True)),
        ),
        statistics=rendered.statistics,
        steps=rendered.steps,
        fidelity=mosaic.fidelity,
        scene_fidelity=judge_scene_fidelity(plan, measures, rendered),
        coregistration=solution.coregistration,
        match=None
        if measures.matched is None
        else compute_match_figures(
            measures.matched,
            rendered.seam_blocks,
            [scene.name for scene in plan.scenes],
            solution.adjustments,
            solution.corrections,
            solution.agreement,
        ),
        findings=findings,
        config=plan.config,
        artifacts=(),
    )


def _draw(inputs: ReportInputs, headers: tuple[Path, Path], *, is_stack: bool) -> tuple[Drawings, tuple[Histogram | None, ...]]:
    """All pictures, and how values are spread, from headers: of the mosaic, and of the scene index or the observations."""
    from processor.report.bundle import draw_report  # noqa: PLC0415 - Pillow, which is not needed before

    (values, grid), (numbers, _) = (read_decimated(header, edge=_PREVIEW_EDGE) for header in headers)
    preview = Preview(values=values, valid=numbers[0] > 0, bounds=grid.bounds, scene_index=None if is_stack else numbers[0])
    return draw_report(inputs, preview), compute_histograms(preview.values, preview.valid)


def _describe_bands(plan: Plan, raster: CogSpec, histograms: tuple[Histogram | None, ...] = ()) -> tuple[MosaicBand, ...]:
    """Bands of a raster; those that are bands of the scenes have their common names."""
    known = {band.name: band for band in plan.describe_bands()}
    statistics, pixels = raster.statistics, raster.grid.width * raster.grid.height
    return tuple(
        MosaicBand(
            name=name or f"band_{position + 1}",
            common_name=known[name].common_name if name in known else None,
            description=known[name].description if name in known else None,
            scaling=known[name].scaling if name in known else None,
            unit=known[name].unit if name in known else None,
            dtype=raster.dtype,
            nodata=raster.nodata,
            minimum=None if statistics is None else float(statistics.minimum[position]),
            maximum=None if statistics is None else float(statistics.maximum[position]),
            mean=None if statistics is None else float(statistics.mean[position]),
            stddev=None if statistics is None else float(statistics.std[position]),
            valid_percent=None if statistics is None else 100 * statistics.count / pixels,
            histogram=histograms[position] if histograms else None,
        )
        for position, name in enumerate(raster.descriptions)
    )
