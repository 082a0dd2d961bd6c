"""What killed runs leave at a destination, and who removes it: the next run that publishes there, when its Item is there.

Half-written files and locks of this machine are locked while somebody writes them, so that those of living runs are known.
Nobody can tell whether the writer of an upload to a bucket lives. So none is aborted but those of a run's own objects, and only
when they are complete: such an upload is a dead writer's, or one that can only fail.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from processor.errors import MosaicError
from processor.process.logs import log_event
from processor.redaction import redact_url
from processor.storage.atomic import remove_parts
from processor.storage.conditional import remove_lock
from processor.storage.reading import find_filesystem
from processor.storage.store import Store
from processor.storage.url import parse_writable_url, storage_errors

_LOGGER: Final = logging.getLogger(__name__)


def remove_leftovers(store: Store, *, folders: Iterable[str], files: Iterable[str], shared: Iterable[str]) -> None:
    """Remove what writers that were killed left; what cannot be looked at or removed stays, for a rule of the bucket.

    Parameters
    ----------
    folders
        Paths and URLs of folders whose objects are all of one run, and complete.
    files
        Those of single objects that are of it too.
    shared
        Those of documents that runs of other Items extend as well, at the same time.
    """
    for url in folders:
        place = parse_writable_url(url)
        if place.is_local:
            for folder, _, _ in os.walk(place.path):
                remove_parts(Path(folder))
        else:
            _abort_uploads(store, url, below=True)
    for url, is_own in [*((url, True) for url in files), *((url, False) for url in shared)]:
        place = parse_writable_url(url)
        if place.is_local:
            remove_parts(Path(place.path).parent)
            remove_lock(Path(place.path))
        elif is_own:
            _abort_uploads(store, url, below=False)


def _abort_uploads(store: Store, url: str, *, below: bool) -> None:
    """Abort unfinished uploads; whoever may write need not be allowed to list them."""
    place, name = parse_writable_url(url), redact_url(url)
    try:
        with storage_errors(url):
            count = place.backend().abort_uploads(find_filesystem(url, store.access), place.path, below=below)
    except MosaicError as error:
        message = f"unfinished uploads of killed runs were not looked for: {error}"
        log_event(_LOGGER, "uploads-unknown", message, level=logging.DEBUG, url=name)
    else:
        if count:
            message = f"aborted {count} unfinished upload{'' if count == 1 else 's'} of killed runs at {name}"
            log_event(_LOGGER, "uploads-aborted", message, url=name, uploads=count)
