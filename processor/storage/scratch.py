"""Scratch files of this process: a folder that goes with it, enough room, and readers that outlive nothing."""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final, Literal

from processor.errors import ConfigError
from processor.process.logs import log_event

_LOGGER = logging.getLogger(__name__)
_PREFIX: Final = "mosaic-processor-"
_MOST_KEPT: Final = 8 * 10**9  # bytes, unless it is set: a pod's limit is not the disk's


@contextmanager
def scratch_folder(parent: str | None, *, keep: bool = False) -> Iterator[Path]:
    """A new folder for scratch files, removed at the end unless it is to be kept.

    Parameters
    ----------
    parent
        Where it is made; None: where this machine has its scratch files.

    Raises
    ------
    ConfigError
        It cannot be made where it should be.
    """
    with ExitStack() as stack:
        try:
            if parent is not None:
                Path(parent).mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.gettempdir() if parent is None else parent) / f"{_PREFIX}{secrets.token_hex(8)}"
            if not keep:  # before the folder is there, so that no signal comes between
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
        except OSError as error:
            place = tempfile.gettempdir() if parent is None else parent
            msg = f"cannot make a scratch folder in {place} ({error.strerror}); name a writable one with --shared.temp_dir"
            raise ConfigError(msg) from error
        yield folder
    if keep:
        log_event(_LOGGER, "scratch-kept", f"scratch files are kept in {folder}", folder=str(folder))


def find_room(scratch: Path, setting: float | Literal["auto"] | None, needed: int) -> int:
    """Bytes that may be kept in a folder beside those that are needed there, as ``shared.disk_cache`` says."""
    if setting is None:
        return 0
    if not isinstance(setting, str):
        return round(setting * 10**9)
    return max(0, min(_MOST_KEPT, shutil.disk_usage(scratch).free - needed))


def warn_of_space(scratch: Path, needed: int) -> None:
    """Warn where a folder may not have room enough, bytes."""
    free = shutil.disk_usage(scratch).free
    if free < needed:
        message = (
            f"scratch files may need {needed / 1e9:.1f} GB and {scratch.parent} has {free / 1e9:.1f} GB free; "
            "name a folder with more room with --shared.temp_dir if the run fails"
        )
        log_event(_LOGGER, "scratch-short", message, level=logging.WARNING, bytes_needed=needed, bytes_free=free)


@contextmanager
def ending_passes() -> Iterator[None]:
    """Where an exception leaves a pass between two results, end it now: its tasks read files that are closed next."""
    try:
        yield
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)
        raise
