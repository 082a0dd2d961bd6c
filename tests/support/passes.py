"""The passes over the pixels in this process, without a report and without publishing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from processor.execution import passes
from processor.execution.task_store import LocalStore
from processor.execution.workbench import Workbench
from processor.geotiff.range_cache import RangeCache
from processor.mosaic.budget import allot_memory
from processor.mosaic.plan import Plan
from processor.mosaic.rendered import Rendered
from processor.mosaic.solve import Solution
from processor.process.progress import Silent
from processor.stages.measures import Measures
from processor.storage.options import Access


@contextmanager
def open_bench(
    plan: Plan,
    scratch: Path = Path(),
    *,
    cache_bytes: int = 10**8,
    threads: int | None = None,
    access: Access | None = None,
    range_cache: RangeCache | None = None,
) -> Iterator[Workbench]:
    """A workbench with a scratch folder and a cache of one's own."""
    allotment = replace(allot_memory(plan), cache_bytes=cache_bytes)
    if threads is not None:
        allotment = replace(allotment, measure_threads=threads, render_threads=threads)
    bench = Workbench(scratch=scratch, tracker=Silent(), allotment=allotment, access=access or Access(), cache=range_cache)
    try:
        yield bench
    finally:
        bench.close()


def measure_and_solve(plan: Plan, bench: Workbench) -> tuple[Measures, Solution]:
    """The first pass, and what follows from it."""
    store = LocalStore(plan=plan)
    for phase in plan.phases[: plan.phases.index("solve")]:
        passes.measure(plan, store, phase, store.find_missing(phase), bench)
    passes.solve(plan, store)
    return store.get_solution()


@contextmanager
def render_mosaic(plan: Plan, measures: Measures, solution: Solution, bench: Workbench) -> Iterator[Rendered]:
    """The second pass; the blocks are open within the block."""
    store = LocalStore(plan=plan)
    store.put_solution(measures, solution)
    passes.render(plan, store, store.find_missing("render"), bench)
    try:
        rendered = store.get_mosaic(Silent())
        assert rendered is not None
        yield rendered
    finally:
        store.close()
