"""How clusters are reached: of the machine and the user, never of the data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from processor.model.options import Section, Word, option

__all__ = ["Kubernetes"]


class Kubernetes(Section):
    """The Jobs of `run --executor kubernetes`."""

    namespace: Word | None = option(
        None, "Namespace of the Jobs; null: the coordinator's own, or the kubeconfig's.", example="mosaics", decisive=False
    )
    image: Word | None = option(
        None,
        "Image of the workers; null: the coordinator's own.",
        example="registry.example.org/mosaic-processor:0.1.0",
        decisive=False,
    )
    service_account: Word = option(
        "mosaic-worker", "Service account of the workers; it needs no right but to storage.", example="reader", decisive=False
    )
    shards: Annotated[int, Field(ge=1, le=100_000)] | None = option(
        None, "Pods of a phase, at most; null: chosen from the plan.", example=20, decisive=False
    )
    cpu: float = option(2.0, "Processors of a worker.", example=4.0, unit="cores", decisive=False, gt=0, le=256)
    retries_per_index: int = option(
        4, "How often a shard is repeated that failed for now.", example=8, decisive=False, ge=0, le=100
    )
    deadline: Annotated[int, Field(ge=60)] | None = option(
        None, "Time after which a phase has failed; null: chosen from the plan.", example=7200, unit="seconds", decisive=False
    )
    keep_finished: int = option(
        3600, "Time for which finished Jobs are kept, for their logs.", example=600, unit="seconds", decisive=False, ge=0
    )
    on_interrupt: Literal["leave", "delete"] = option(
        "leave",
        "What becomes of the Jobs when the coordinator is stopped: a rerun finds those that are left.",
        example="delete",
        decisive=False,
    )
    queue: Word | None = option(None, "Queue of Kueue that admits the Jobs.", example="mosaics", decisive=False)
