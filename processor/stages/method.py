"""A method as it is chosen for a run: with its options, and with what the user's own files say.

Each stage's folder has a module ``method`` with the class that its methods derive from; it says what the engine asks of them.
A stage that is off is a method too, one that asks for nothing and changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Generic, Literal, TypeVar

from shapely import Geometry

from processor.model import BlockGrid, BlockMap
from processor.model.options import Paths, Section

Need = Literal["moments", "blocks", "footprints", "matched_blocks", "fine_blocks", "shifts"]
"""What has to be measured: moments of scenes and overlaps, sums of blocks of the scenes, outlines of the valid pixels, moments
of the blocks of pairs, the same in blocks of a few pixels (which need the former), how far pairs lie beside one another.
"""

OptionsT = TypeVar("OptionsT", bound=Section)
_Contents = TypeVar("_Contents")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Region:
    """The pixels that a vector mask allows."""

    is_included: bool
    """Whether they are those inside the geometries, or those outside."""
    geometries: Mapping[str, Geometry]
    """In CRS units, by scene; a scene without one has nothing inside."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Footprints:
    """Outlines of the scenes that are used instead of those of their valid pixels."""

    geometries: Mapping[str, Geometry]
    """In CRS units, one for each scene."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlockMaps:
    """Block maps of another run, all on one grid; at least one."""

    grid: BlockGrid
    """Block grid of all of them."""
    reference: BlockMap | None
    """Reference block map, or None."""
    local: Mapping[str, BlockMap]
    """Of input scenes under their names, of others under their files'."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FileContents:
    """What the user's own files say to a method."""

    by_option: Mapping[str, object] = field(default_factory=dict)
    """By the name of the option that names the file."""

    def get(self, option: str, kind: type[_Contents]) -> _Contents | None:
        """What the file of an option says, or None where there is none."""
        found = self.by_option.get(option)
        return found if isinstance(found, kind) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedCopy:
    """A published file that the user wants under a name of his own too."""

    option: str
    """That asks for it."""
    key: str
    """Of the published file."""
    url: str
    """Path or URL that it is copied to."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StageMethod(Generic[OptionsT]):
    """What all methods have in common."""

    name: str
    """As registered."""
    options: OptionsT
    """Options of the method's section."""
    files: FileContents = field(default_factory=FileContents)
    """What the user's own files say."""

    is_on: ClassVar[bool] = True
    """False for what stands for a stage that is off."""
    records: ClassVar[tuple[type, ...]] = ()
    """Dataclasses in its solution that other modules do not know: what tasks hand to one another may hold them."""
    pixel_bytes: ClassVar[int] = 0
    """Bytes for each pixel of a window that it holds while the window is rendered, beside the pixels themselves."""

    @property
    def output_images(self) -> Paths | None:
        """Where to keep the scenes' rasters after this stage; None: nowhere."""
        return None

    @property
    def has_overviews(self) -> bool:
        """Whether these rasters get overviews."""
        return True

    def list_needs(self, scenes: Collection[str]) -> frozenset[Need]:
        """What has to be measured of the scenes of these names."""
        del scenes
        return frozenset()

    def list_copies(self, scenes: Sequence[str]) -> Iterator[WantedCopy]:
        """Published files that are also wanted elsewhere."""
        del scenes
        yield from ()
