"""What one process works with: a scratch folder, one reader of scenes for all passes, memory, and somebody who watches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from processor.geotiff.gdal import is_remote
from processor.geotiff.range_cache import RangeCache
from processor.geotiff.reader import RasterReader
from processor.mosaic.budget import Allotment, allot_memory, estimate_scratch
from processor.mosaic.plan import Plan
from processor.process.progress import Tracker
from processor.publish.item import Prepared
from processor.publish.output_paths import find_kept_stages
from processor.report.traffic import PassTraffic
from processor.storage.options import Access
from processor.storage.scratch import ending_passes, find_room, scratch_folder


@dataclass(slots=True, kw_only=True)
class Workbench:
    """What the tasks of one process share; made by :func:`open_workbench`."""

    scratch: Path
    """Folder of scratch files, which goes with the workbench."""
    tracker: Tracker
    """Watches the passes."""
    allotment: Allotment
    """How memory is shared out."""
    access: Access
    """How storage is reached."""
    cache: RangeCache | None = None
    """What was read over the network, for the passes that follow; None: nothing is kept."""
    _stack: ExitStack = field(default_factory=ExitStack)
    _reader: RasterReader | None = None
    _traffic: PassTraffic | None = None

    @contextmanager
    def reading(self, name: str) -> Iterator[RasterReader]:
        """Read scenes in a pass, whose requests are counted and logged at its end.

        The reader stays open for the passes that follow, until :meth:`close`.
        """
        if self._reader is None or self._traffic is None:
            reader = RasterReader(cache_bytes=self.allotment.cache_bytes, access=self.access, range_cache=self.cache)
            self._reader = self._stack.enter_context(reader)
            self._traffic = PassTraffic(reader.count_traffic)
        with self._traffic.counting(name), ending_passes():
            yield self._reader

    def close(self) -> None:
        """Close the reader: nothing is read any more."""
        self._reader = None
        self._stack.close()

    def render_traffic(self) -> bytes | None:
        """``traffic.json``; None where nothing was read over the network."""
        return None if self._traffic is None else self._traffic.render()


@contextmanager
def open_workbench(prepared: Prepared, tracker: Tracker, *, passes: int = 1) -> Iterator[Workbench]:
    """Set up a workbench, for one phase or for the whole run; its scratch files and its reader go with the block.

    Parameters
    ----------
    passes
        Passes over the pixels that this process makes. With more than one, what is read over the network is kept for the next.

    Raises
    ------
    ConfigError
        No scratch folder can be made where it should be.
    """
    plan, shared = prepared.plan, prepared.plan.config.shared
    with ExitStack() as stack:
        scratch = stack.enter_context(scratch_folder(shared.temp_dir, keep=not shared.delete_temp_dir))
        room = 0
        rasters = [part.raster for scene in plan.scenes for part in scene.parts]
        rasters += [scene for scene in plan.scenes if not scene.parts]
        if passes > 1 and any(is_remote(raster.source.href) for raster in rasters):
            room = find_room(scratch, shared.disk_cache, estimate_scratch(plan))
        cache = stack.enter_context(RangeCache(scratch / "read.ranges", room=room)) if room else None
        bench = Workbench(scratch=scratch, tracker=tracker, allotment=allot_memory(plan), access=prepared.access, cache=cache)
        stack.callback(bench.close)
        yield bench


def count_passes(plan: Plan) -> int:
    """How often a whole run reads pixels at full resolution."""
    measures, renders = "measure" in plan.phases and None in plan.levels, "render" in plan.phases
    return measures + renders + len(find_kept_stages(plan.config, plan.scenes))
