"""Scratch files of this process: a folder that goes with it, enough room, and readers that outlive nothing.

A folder has a file that its process holds a lock on. Where nobody does, the process was killed, and the next run removes the
folder: locks go with the process that has them, and are seen by all containers that share the place.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, Literal

from processor.errors import ConfigError
from processor.process.logs import log_event
from processor.storage.locks import is_same_file, lock_file

_LOGGER = logging.getLogger(__name__)
_PREFIX: Final = "mosaic-processor-"
_OURS: Final = re.compile(f"{_PREFIX}[0-9a-f]{{16}}")  # none that is to be kept
_LOCK: Final = "owner.lock"
_MOST_KEPT: Final = 8 * 10**9  # bytes, unless it is set: a pod's limit is not the disk's


@contextmanager
def scratch_folder(parent: str | None = None, *, keep: bool = False) -> Iterator[Path]:
    """A new folder for scratch files, removed at the end unless it is to be kept; those of killed processes go before.

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
            remove_dead_scratch(parent)
            place = Path(tempfile.gettempdir() if parent is None else parent)
            while True:
                folder = place / f"{_PREFIX}{'kept-' if keep else ''}{secrets.token_hex(8)}"
                if not keep:  # before the folder is there, so that no signal comes between
                    stack.callback(shutil.rmtree, folder, ignore_errors=True)
                folder.mkdir(mode=0o700)
                if keep or _take(folder, stack):
                    break
        except OSError as error:
            name = tempfile.gettempdir() if parent is None else parent
            msg = f"cannot make a scratch folder in {name} ({error.strerror}); name a writable one with --shared.temp_dir"
            raise ConfigError(msg) from error
        yield folder
    if keep:
        log_event(_LOGGER, "scratch-kept", f"scratch files are kept in {folder}", folder=str(folder))


def remove_dead_scratch(parent: str | None) -> None:
    """Remove the scratch folders of this user's processes that were killed; what cannot be looked at or removed stays.

    Parameters
    ----------
    parent
        Where they are; None: where this machine has its scratch files.
    """
    if sys.platform == "win32":  # where a lock tells nothing
        return
    place, count = tempfile.gettempdir() if parent is None else parent, 0
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if _OURS.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError):  # another run may be removing it
                    is_own = entry.stat(follow_symlinks=False).st_uid == os.geteuid()
                    count += is_own and _remove_if_dead(Path(entry.path))
    if count:
        message = f"removed {count} scratch folder{'' if count == 1 else 's'} of killed runs from {place}"
        log_event(_LOGGER, "scratch-removed", message, folders=count)


def _take(folder: Path, stack: ExitStack) -> bool:
    """Lock a new folder; False where another run took it for a dead one's before that, and removed it."""
    try:
        stream: BinaryIO = stack.enter_context((folder / _LOCK).open("xb"))
    except FileNotFoundError:
        return False
    try:
        is_locked = lock_file(stream)
    except OSError:  # a file system without locks, where no run can tell who is dead: all leave it
        return True
    return is_locked and is_same_file(folder / _LOCK, stream)


def _remove_if_dead(folder: Path) -> bool:
    """Remove a scratch folder, if nobody holds its lock, and tell whether it was so; OSError where that cannot be told."""
    try:
        stream = (folder / _LOCK).open("r+b")
    except FileNotFoundError:  # killed before it had one: then it is empty
        folder.rmdir()
        return True
    with stream:
        is_dead = lock_file(stream)
        if is_dead:
            shutil.rmtree(folder, ignore_errors=True)
    return is_dead


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
