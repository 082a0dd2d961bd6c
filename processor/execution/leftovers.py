"""What killed attempts at a run left, removed when its Item is there, by whichever process sees that."""

from __future__ import annotations

from processor.publish.destination import Destination
from processor.publish.item import Prepared
from processor.publish.output_paths import list_output_places
from processor.storage.leftovers import remove_leftovers
from processor.storage.scratch import remove_dead_scratch


def clean_up(destination: Destination, prepared: Prepared, *, work: str | None) -> None:
    """Remove scratch of dead processes, and what they left half-written where this run publishes.

    Parameters
    ----------
    work
        Path or URL of the folder of the run's tasks; None: it has none.
    """
    config = prepared.plan.config
    remove_dead_scratch(config.shared.temp_dir)
    places = list_output_places(config, prepared.plan.scenes, mosaic_url=destination.mosaic_url)
    remove_leftovers(
        destination.store,
        folders=[destination.folder, *([] if work is None else [work])],
        files=[url for _, url in places],
        shared=[url for url, _ in prepared.registration.list_places() if url is not None],
    )
