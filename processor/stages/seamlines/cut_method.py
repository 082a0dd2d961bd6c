"""What methods that cut overlaps have in common: the user's files, and the layers that show how cuts came about."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

from shapely import Geometry, MultiLineString, MultiPoint

from processor.stages.method import Footprints, Need, WantedCopy
from processor.stages.seamlines.method import SeamlineMethod
from processor.stages.seamlines.options import SeamlineOptions
from processor.stages.seamlines.rank import RankExpression, parse_rank
from processor.stages.seamlines.records import Seamlines

CutOptionsT = TypeVar("CutOptionsT", bound=SeamlineOptions)


class CutMethod(SeamlineMethod[CutOptionsT]):
    """Cuts overlaps, and divides the union of the footprints by the cuts."""

    @property
    def footprints(self) -> Footprints | None:
        """Of ``vector_mask``."""
        return self.files.get("vector_mask", Footprints)

    @property
    def area(self) -> Geometry | None:
        """Of ``aoi_path``."""
        return self.files.get("aoi_path", Geometry)

    @property
    def scene_field(self) -> str:
        """As configured."""
        return self.options.image_field_name

    @property
    def rank(self) -> RankExpression | None:
        """As configured."""
        return None if self.options.rank is None else parse_rank(self.options.rank)

    def list_needs(self, scenes: Collection[str]) -> frozenset[Need]:
        """Moments of matched blocks too, where the agreement of the scenes ranks them."""
        needs = super().list_needs(scenes)
        return needs | {"matched_blocks"} if self.rank is not None and "agreement" in self.rank.names else needs

    @property
    def layers_url(self) -> str | None:
        """As configured."""
        return self.options.debug_vectors_path

    def list_copies(self, scenes: Sequence[str]) -> Iterator[WantedCopy]:
        """The cells, and the layers that show how they came about."""
        del scenes
        for option, key, url in (
            ("output_mask", "seamlines", self.options.output_mask),
            ("debug_vectors_path", "layers", self.options.debug_vectors_path),
        ):
            if url is not None:
                yield WantedCopy(option=option, key=key, url=url)

    def list_layers(self, seamlines: Seamlines) -> dict[str, Sequence[tuple[Geometry, str]]]:
        """Layers by the names that spectralmatch 1.2.1 gives them."""
        traces = [(cut.trace, f"{cut.first} | {cut.second}") for cut in seamlines.cutlines if cut.trace is not None]
        return {
            "emp_outline": [
                (footprint, cell.scene)
                for cell, footprint in zip(seamlines.cells, seamlines.footprints, strict=True)
                if not footprint.is_empty
            ],
            "intersections": [(trace.intersection, name) for trace, name in traces],
            "voronoi_seeds": [(MultiPoint(trace.seeds), name) for trace, name in traces],
            "voronoi_cells": [(MultiLineString([*trace.voronoi_edges.reshape(-1, 2, 2)]), name) for trace, name in traces],
            "cutlines": [(cut.line, f"{cut.first} | {cut.second}") for cut in seamlines.cutlines],
        }
