"""Opening all scenes of a run, and leaving out those of which nothing can be read; decided once, and recorded in the plan.

Headers come first, so that what makes no sense is refused before a pixel is read; then a few pixels of each scene
are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from processor.config import Config
from processor.errors import InputError, UnreadableError
from processor.geotiff.open import OpenedScene, open_scene
from processor.geotiff.reader import RasterReader
from processor.model import Finding, Scene, SceneRef
from processor.model.findings import merge_findings
from processor.model.options import list_ranges
from processor.mosaic.plan import Plan
from processor.mosaic.probing import describe_doubtful, describe_empty, drop_overviews, find_clipped, find_doubtful, find_empty
from processor.process.progress import Silent, Tracker
from processor.process.threads import map_ordered, resolve_threads
from processor.scenes.fill import mark_fill
from processor.scenes.unify import UnifiedScenes, unify_scenes
from processor.storage.options import Access

_NAMED: Final = 100  # scenes that an error names
ONCE: Final = ("no-nodata", "scaling-disagrees")
"""Codes of findings that are alike in many scenes: one a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedScenes:
    """The scenes of a run."""

    opened: tuple[OpenedScene, ...]
    """As their headers and Items describe them, in the order of the input, without those that are left out."""
    unified: UnifiedScenes
    """The same as the stages see them."""
    left_out: tuple[Finding, ...]
    """Which are left out, and why."""
    noticed: tuple[Finding, ...] = ()
    """What their pixels brought to light besides."""

    @property
    def scenes(self) -> tuple[Scene, ...]:
        """As the stages see them, in the order of the input."""
        return self.unified.scenes

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What opening and unifying them brought to light, and which are left out."""
        described = merge_findings((finding for scene in self.opened for finding in scene.findings), ONCE)
        return (*self.left_out, *described, *self.unified.findings, *self.noticed)


def open_scenes(refs: Sequence[SceneRef], config: Config, access: Access, tracker: Tracker | None = None) -> OpenedScenes:
    """Open and unify scenes, several at once, by their headers alone.

    Left out are as many scenes that storage does not have or does not give as ``inputs.skip_unreadable`` allows.

    Raises
    ------
    UnreadableError
        More of them cannot be read; all are named.
    InputError, ConfigError, StorageError
        As :func:`processor.geotiff.open.open_scene` and :func:`processor.scenes.unify.unify_scenes`.
    """
    rule, custom = config.inputs.validity, config.shared.custom_nodata_value
    nodata = custom if config.inputs.nodata is None else list_ranges(config.inputs.nodata)

    def attempt(ref: SceneRef) -> OpenedScene | UnreadableError:
        try:
            return open_scene(ref, nodata=nodata, validity=rule, access=access)
        except UnreadableError as error:
            return error

    watch = Silent() if tracker is None else tracker
    attempts = map_ordered(attempt, refs, threads=_count_threads(config))
    tried = list(watch.track(attempts, name="open", total=len(refs), amount=lambda _: 1.0, unit="scenes"))
    opened = tuple(one for one in tried if isinstance(one, OpenedScene))
    failed = {ref.name: one for ref, one in zip(refs, tried, strict=True) if isinstance(one, UnreadableError)}
    left_out = _skip(failed, config.inputs.skip_unreadable, len(refs))
    return OpenedScenes(opened=opened, unified=unify_scenes(opened, config), left_out=left_out)


def probe_scenes(known: OpenedScenes, config: Config, access: Access) -> OpenedScenes:
    """Look at some pixels of opened scenes: fill that nobody declared is marked, and scenes without a valid pixel are left out.

    Returns
    -------
    The same object where nothing was found.

    Raises
    ------
    InputError, StorageError
        A scene cannot be read, or none is left.
    """
    threads = _count_threads(config)
    with RasterReader(cache_bytes=0, access=access, forgets=False) as reader:
        opened = list(map_ordered(lambda one: mark_fill(one, reader), known.opened, threads=threads))
        is_new = any(one is not before for one, before in zip(opened, known.opened, strict=True))
        unified = unify_scenes(opened, config) if is_new else known.unified
        empty = find_empty(unified.scenes, reader, threads=threads)
    if empty:
        opened = [scene for scene, own in zip(opened, unified.scenes, strict=True) if own.name not in empty]
        if not opened:
            named = ", ".join(sorted(empty)[:_NAMED])
            msg = f"scene {named}: no valid pixel; give other scenes, or correct their nodata value or mask"
            raise InputError(msg)
        unified = unify_scenes(opened, config)
    with RasterReader(cache_bytes=0, access=access, forgets=False) as reader:
        beyond = find_clipped(unified.scenes, reader, threads=threads)
    if not is_new and not empty and not beyond:
        return known
    return OpenedScenes(
        opened=tuple(opened), unified=unified, left_out=(*known.left_out, *describe_empty(empty)), noticed=tuple(beyond)
    )


def _count_threads(config: Config) -> int:
    return resolve_threads(config.shared.image_threads, auto=8)


def _skip(failed: dict[str, UnreadableError], allowed: float | None, total: int) -> tuple[Finding, ...]:
    """Findings that name the scenes that are left out because they cannot be read."""
    if not failed:
        return ()
    most = 0 if allowed is None else int(allowed) if isinstance(allowed, int) else allowed * total
    if len(failed) > most or len(failed) == total:
        first = next(iter(failed.values()))
        if len(failed) == 1:
            raise first
        named = ", ".join(list(failed)[:_NAMED]) + (f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else "")
        msg = (
            f"{len(failed)} of {total} scenes cannot be read: {named}; the first: {first}; --skip-unreadable {len(failed)} "
            "leaves them out"
        )
        raise UnreadableError(msg) from first
    return tuple(
        Finding(severity="warning", code="scene-unreadable", scene=name, message=f"{error}; the scene is left out")
        for name, error in failed.items()
    )


def trust_overviews(plan: Plan, access: Access) -> tuple[frozenset[str], tuple[Finding, ...]]:
    """Names of the scenes of a plan whose overviews are of other pixels than their own, and a finding that says so.

    Raises
    ------
    InputError, StorageError
        A scene cannot be read.
    """
    with RasterReader(cache_bytes=0, access=access, forgets=False) as reader:
        reasons = find_doubtful(plan, reader, threads=_count_threads(plan.config))
    return frozenset(reasons), describe_doubtful(reasons)


def without_overviews(scenes: Sequence[Scene], names: frozenset[str]) -> tuple[Scene, ...]:
    """The same scenes, those of some names without their overviews."""
    return tuple(drop_overviews(scene) if scene.name in names else scene for scene in scenes)
