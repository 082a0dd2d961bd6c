"""What Jobs and pods say of themselves, and how a failure is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processor.errors import ConfigError, InputError, TransientError
from processor.execution.kubernetes.failure import Failure
from processor.execution.kubernetes.status import compress_indexes, expand_indexes, read_pod, read_state


def make_job(conditions: list[dict[str, Any]] | None = None, **status: Any) -> dict[str, Any]:
    metadata = {"name": "mosaic-render", "uid": "u", "resourceVersion": "7"}
    return {"metadata": metadata, "spec": {}, "status": {**status, **({"conditions": conditions} if conditions else {})}}


def make_pod(**status: Any) -> dict[str, Any]:
    labels = {"batch.kubernetes.io/job-completion-index": "3"}
    return {"metadata": {"name": "p", "uid": "v", "labels": labels, "ownerReferences": [{"uid": "u"}]}, "status": status}


def make_container(state: dict[str, Any], name: str = "mosaic") -> dict[str, Any]:
    return {"name": name, "state": state}


@pytest.mark.parametrize(
    ("conditions", "finished"),
    [
        ([], None),
        ([{"type": "FailureTarget", "status": "True"}], None),
        ([{"type": "SuccessCriteriaMet", "status": "True"}], None),
        ([{"type": "Failed", "status": "False"}], None),
        ([{"type": "FailureTarget", "status": "True"}, {"type": "Failed", "status": "True"}], "failed"),
        ([{"type": "Complete", "status": "True"}], "complete"),
    ],
)
def test_a_job_has_finished_when_its_pods_are_gone_too(conditions: list[dict[str, Any]], finished: str | None) -> None:
    assert read_state(make_job(conditions)).finished == finished


def test_a_job_without_status_has_not_begun() -> None:
    state = read_state({"metadata": {"name": "n", "uid": "u", "resourceVersion": "1"}})
    assert (state.finished, state.begun, state.active, state.factor, state.suspended) == (None, False, 0, 1, False)


def test_what_the_node_did_to_a_pod_explains_its_container() -> None:
    ended = {"terminated": {"exitCode": 137, "reason": "Error", "finishedAt": "2026-01-01T00:00:00Z"}}
    pod = read_pod(make_pod(reason="Evicted", message="too much", containerStatuses=[make_container(ended)]))
    assert (pod.exit_code, pod.reason, pod.message, pod.index) == (137, "Evicted", "too much", 3)


def test_the_container_that_counts_is_ours() -> None:
    states = [
        make_container({"terminated": {"exitCode": 0}}, "sidecar"),
        make_container({"terminated": {"exitCode": 13, "reason": "Error"}}),
    ]
    assert read_pod(make_pod(containerStatuses=states)).exit_code == 13


def test_a_pod_that_waits_says_why() -> None:
    waiting = {"waiting": {"reason": "ErrImagePull", "message": "no"}}
    assert read_pod(make_pod(containerStatuses=[make_container(waiting)])).reason == "ErrImagePull"
    unscheduled = [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3"}]
    assert read_pod(make_pod(conditions=unscheduled)).reason == "Unschedulable"


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("Container mosaic for pod m/p failed with exit code 13 matching FailJob rule at index 1", InputError),
        ("Container mosaic for pod m/p failed with exit code 2 matching FailJob rule at index 1", ConfigError),
        ("worded in another way", InputError),
    ],
)
def test_the_exit_code_is_known_even_when_all_pods_are_gone(message: str, kind: type[Exception]) -> None:
    condition = {"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": message}
    failure = Failure(job=read_state(make_job([condition])), pod=None, failed="", log=(), starved=None)
    error = failure.describe(phase="render", shards=9, place="n/j", again="task", resume="again")
    assert type(error) is kind
    assert str(error).endswith("to resume: again")


def test_a_long_list_of_shards_is_cut_short() -> None:
    condition = {"type": "Failed", "status": "True", "reason": "FailedIndexes", "message": "m"}
    failed = compress_indexes(range(0, 4000, 2))
    failure = Failure(job=read_state(make_job([condition])), pod=None, failed=failed, log=(), starved=None)
    error = failure.describe(phase="render", shards=4000, place="n/j", again="task", resume="again")
    assert isinstance(error, TransientError)
    assert ",… of 4000" in str(error)
    assert len(str(error)) < 400


@given(st.sets(st.integers(0, 300)))
def test_indexes_come_back_as_they_went(indexes: set[int]) -> None:
    assert expand_indexes(compress_indexes(indexes)) == indexes
