"""What the engine asks of seamline methods."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from shapely import Geometry

from processor.model.options import Section
from processor.stages.matching.pair_difference import Radiometry
from processor.stages.measures import Measures
from processor.stages.method import Footprints, Need, OptionsT, StageMethod
from processor.stages.seamlines.partition import Run
from processor.stages.seamlines.rank import RankExpression
from processor.stages.seamlines.records import Seamlines


class SeamlineMethod(StageMethod[OptionsT], ABC):
    """Divides the union of the scenes' footprints into cells, one a scene."""

    @property
    def footprints(self) -> Footprints | None:
        """The user's, instead of those of the valid pixels."""
        return None

    @property
    def area(self) -> Geometry | None:
        """Area of interest, CRS units, where the cells end; None: there is none."""
        return None

    @property
    def scene_field(self) -> str:
        """Field of the published cells that holds the scene's name."""
        return "image"

    @property
    def layers_url(self) -> str | None:
        """Where the user wants a GeoPackage of :meth:`list_layers`; None: nowhere."""
        return None

    @property
    def rank(self) -> RankExpression | None:
        """Whose pixels win where scenes cover one another; None: nothing says it."""
        return None

    def list_needs(self, scenes: Collection[str]) -> frozenset[Need]:
        """Outlines of the valid pixels, unless the user gives them."""
        del scenes
        return frozenset() if self.footprints is not None else frozenset({"footprints"})

    @abstractmethod
    def solve(
        self,
        footprints: Mapping[str, Geometry],
        measures: Measures,
        radiometry: Radiometry,
        *,
        places: Sequence[int] | None,
        run: Run,
    ) -> Seamlines | None:
        """Decide the cells, before they are cut by the area of interest.

        Parameters
        ----------
        footprints
            By scene, CRS units.
        measures
            Of the raw scenes.
        radiometry
            What matching makes of them.
        places
            Of the scenes in name order, from :attr:`rank`: the pixels of a lesser one win; None where nothing ranks them.
        run
            As ``map``, or the map of a pool.
        """

    def list_layers(self, seamlines: Seamlines) -> dict[str, Sequence[tuple[Geometry, str]]]:
        """Layers that show how the seamlines came about, each feature with its name."""
        del seamlines
        return {}


class NoSeamlines(SeamlineMethod[Section]):
    """The stage is off: there are no cells."""

    is_on: ClassVar[bool] = False

    def list_needs(self, scenes: Collection[str]) -> frozenset[Need]:
        """Nothing."""
        del scenes
        return frozenset()

    def solve(
        self,
        footprints: Mapping[str, Geometry],
        measures: Measures,
        radiometry: Radiometry,
        *,
        places: Sequence[int] | None,
        run: Run,
    ) -> Seamlines | None:
        """No cells."""
        del footprints, measures, radiometry, places, run
        return None
