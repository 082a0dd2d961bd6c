"""The Python function: keywords, defaults and results of ``pipeline()`` in spectralmatch 1.2.1, mapped onto a run."""

from __future__ import annotations

import inspect
import json
import logging
import os
import re
import reprlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

import numpy as np

from processor.config import Parameter, flat_name, iter_parameters, load_config
from processor.config.presets import PRESETS, SPECTRALMATCH
from processor.errors import ConfigError, PermanentError, TransientError
from processor.execution.run import Request, execute, prepare
from processor.model.names import safe_name
from processor.mosaic.budget import find_cache_bytes
from processor.mosaic.plan import Plan
from processor.mosaic.stage_outputs import find_last_stage
from processor.process.progress import LogProgress, Silent
from processor.process.threads import resolve_threads
from processor.publish.output_paths import find_kept_stages
from processor.redaction import cut_causes
from stac.api.request import SearchRequest

_LONGEST_ID: Final = 200  # characters


class Document(Protocol):
    """An ItemCollection as an object of a library, such as pystac."""

    def to_dict(self) -> dict[str, Any]:
        """Return the decoded JSON."""
        ...


def pipeline(
    shared_input_images: str | Path | Sequence[str | Path] | Mapping[str, Any] | Document | SearchRequest,
    shared_output_image_path: str | Path,
    **parameters: Any,
) -> dict[str, Any]:
    """Make a mosaic.

    A folder beside the mosaic, named after it without the extension, gets the STAC Item, the report and all artifacts. Existing
    files of these names are replaced. No parameter is read from the environment. Where no preset is named, it is spectralmatch.

    Parameters
    ----------
    shared_input_images
        A folder, a glob, a list of paths, the path or URL of an ItemCollection, or an ItemCollection itself: decoded JSON, or
        an object with ``to_dict``, such as pystac's; its relative hrefs start from the working folder. Or a search on a STAC
        API, ``stac.api.request.SearchRequest``.
    shared_output_image_path
        Path or URL of the mosaic, a .tif.
    **parameters
        Parameters by their flat names, such as ``local_block_adjustment_alpha``; ``docs/parameters.md`` lists all.

    Returns
    -------
    output: path or URL of the mosaic; with merging off, the list of the last stage's rasters in input order.
    temp_dir: the folder for scratch files that was asked for, or None.
    num_input_images: number of scenes.
    start_time, end_time: ISO 8601, seconds. duration_seconds: float.
    resolved_shared_cache: GB, or None. resolved_shared_image_threads, resolved_shared_io_threads,
    resolved_shared_tile_threads: numbers.
    item: path or URL of the Item.

    Raises
    ------
    ConfigError
        An unknown keyword, a wrong type, a value out of range, or stages that cannot be combined. Raised before any pixel is
        read; the message names the parameter, the value and what is allowed.
    InputError
        A scene, an Item or the ItemCollection cannot be used.
    StorageError
        Storage or the network failed; trying again may help.
    """
    started, clock = datetime.now(UTC), time.monotonic()
    with _naming_keywords():
        config = load_config(flags=_name_parameters(parameters), environment={})
        mosaic, folder, item_id = _split_output(shared_output_image_path)
        inputs, document = _find_inputs(shared_input_images)
        request = Request(
            inputs=inputs,
            destination=folder,
            item_id=item_id,
            overwrite=True,
            created=started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            stdin=document,
            mosaic_url=mosaic,
            preset_by_default=SPECTRALMATCH,
        )
        prepared = prepare(request, config)
        plan = prepared.plan
        with _showing_tasks(wanted=plan.config.shared.debug_logs):
            outcome = execute(request, prepared, LogProgress() if plan.config.shared.debug_logs else Silent())
    shared = plan.config.shared
    cache = find_cache_bytes(shared.cache)
    return {
        "output": mosaic if "mosaic" in outcome.item["assets"] else _list_rasters(plan, outcome.folder),
        "temp_dir": shared.temp_dir,
        "num_input_images": len(plan.scenes),
        "start_time": started.isoformat(timespec="seconds"),
        "end_time": datetime.now(UTC).isoformat(timespec="seconds"),
        "duration_seconds": time.monotonic() - clock,
        "resolved_shared_cache": cache / 1e9 if cache else None,
        "resolved_shared_image_threads": resolve_threads(shared.image_threads, auto=8),
        "resolved_shared_io_threads": resolve_threads(shared.io_threads, auto=4),
        "resolved_shared_tile_threads": resolve_threads(shared.tile_threads),
        "item": f"{outcome.folder}/{outcome.item['id']}.json",
    }


def _list_keywords() -> dict[str, str]:
    """Every parameter as ``section.name``, by its keyword."""
    return {flat_name(parameter): parameter.path for parameter in iter_parameters()}


@contextmanager
def _naming_keywords() -> Iterator[None]:
    """Name parameters in error messages by their keywords; no cause of an error tells a secret that its message hides."""
    try:
        yield
    except TransientError as error:
        cut_causes(error)
        raise
    except PermanentError as error:
        cut_causes(error)
        keywords = {path: flat for flat, path in _list_keywords().items()}
        paths = "|".join(re.escape(path) for path in sorted(keywords, reverse=True))
        message = re.sub(rf"(?<![\w.-])(?:--)?({paths})(?!\w)", lambda found: keywords[found[1]], str(error))
        message = re.sub(r"^--output ", "shared_output_image_path in ", message)
        if message == str(error):
            raise
        raise type(error)(message) from error


@contextmanager
def _showing_tasks(*, wanted: bool) -> Iterator[None]:
    """Log single tasks where wanted: to the caller's handlers, or to standard error where there are none."""
    logger = logging.getLogger("processor")
    level, handler = logger.level, logging.StreamHandler()
    is_silent = not logger.hasHandlers()
    if wanted:
        logger.setLevel(logging.DEBUG)
        if is_silent:
            logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


def _make_signature() -> inspect.Signature:
    """Signature with every parameter as a keyword and its default, for help() and editors."""
    known, kind = list(inspect.signature(pipeline).parameters.values())[:2], inspect.Parameter.KEYWORD_ONLY
    known += [
        inspect.Parameter(flat_name(parameter), kind, default=_find_default(parameter), annotation=parameter.field.annotation)
        for parameter in iter_parameters()
    ]
    return inspect.Signature(known, return_annotation=dict[str, Any])


def _find_default(parameter: Parameter) -> Any:
    """The default of a keyword: that of spectralmatch."""
    return PRESETS[SPECTRALMATCH].values.get(parameter.section, {}).get(parameter.name, parameter.field.default)


def _name_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Values by ``section.name``."""
    known = _list_keywords()
    for name in parameters:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            msg = f"pipeline() has no keyword {name}{hint}"
            raise ConfigError(msg)
    return {known[name]: _as_plain(value) for name, value in parameters.items()}


def _as_plain(value: Any) -> Any:
    """Paths as text, and numbers of numpy as those of Python, also in tuples and lists."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    return [_as_plain(member) for member in value] if isinstance(value, list | tuple) else value


def _split_output(path: object) -> tuple[str, str, str]:
    """Path or URL of the mosaic, its folder, and the id of its Item."""
    mosaic = os.fspath(path) if isinstance(path, str | os.PathLike) else ""
    folder, _, name = mosaic.rpartition("/")
    stem, suffix = PurePosixPath(name).stem, PurePosixPath(name).suffix
    if suffix.lower() not in {".tif", ".tiff"}:
        msg = f"shared_output_image_path = {path!r}: path or URL of the mosaic, which must end in .tif"
        raise ConfigError(msg)
    item_id = safe_name(stem).lstrip("._-")[:_LONGEST_ID]
    return mosaic, folder or ("/" if mosaic.startswith("/") else "."), item_id or "mosaic"


def _find_inputs(images: object) -> tuple[tuple[str, ...] | SearchRequest, bytes | None]:
    """Arguments of a run, and the ItemCollection where the caller passed the document itself."""
    if isinstance(images, SearchRequest):
        return images, None
    document = images.to_dict() if hasattr(images, "to_dict") else images
    if isinstance(document, Mapping):
        try:
            return ("-",), json.dumps(document).encode()
        except (TypeError, ValueError) as error:
            msg = f"shared_input_images = {reprlib.repr(images)}: an ItemCollection must hold JSON values only ({error})"
            raise ConfigError(msg) from error
    paths = [images] if isinstance(images, str | os.PathLike) else images
    if isinstance(paths, list | tuple) and paths and all(isinstance(path, str | os.PathLike) for path in paths):
        return tuple(os.fspath(path) for path in paths), None
    msg = f"shared_input_images = {reprlib.repr(images)}: a folder, a glob, a list of paths, or an ItemCollection"
    raise ConfigError(msg)


def _list_rasters(plan: Plan, folder: str) -> list[str]:
    """Paths or URLs of the last stage's rasters, in input order; empty where no stage writes any."""
    last = find_last_stage(plan.methods)
    output = next((output for output in find_kept_stages(plan.config, plan.scenes) if output.stage == last), None)
    if output is None:
        return []
    names = [scene.name for scene in sorted(plan.scenes, key=lambda scene: scene.priority)]
    return [f"{folder}/{output.method}/{name}.tif" if output.urls is None else output.urls[name] for name in names]


setattr(pipeline, "__signature__", _make_signature())  # noqa: B010 - functions have no such attribute for type checkers
