"""The Jobs that the executor asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from kubernetes_fake import find_problem

from processor.config.general import Kubernetes
from processor.execution.kubernetes.jobs import PhaseJob, Worker, build_job, name_job, read_worker

MIB = 2**20
RUN = "s3://bucket/mosaics/summer"
JOB = PhaseJob(phase="render", tasks=40, shards=12, memory_bytes=700 * MIB, scratch_bytes=1000 * MIB, deadline_seconds=3600)

COORDINATOR: dict[str, Any] = {
    "metadata": {
        "labels": {"team": "maps", "batch.kubernetes.io/job-name": "c", "app.kubernetes.io/name": "x"},
        "annotations": {"example.org/note": "kept", "kueue.x-k8s.io/queue-name": "q"},
    },
    "spec": {
        "serviceAccountName": "mosaic-coordinator",
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "registry"}],
        "securityContext": {"runAsUser": 10001, "runAsGroup": 10001, "fsGroup": 10001, "sysctls": []},
        "containers": [
            {"name": "sidecar", "image": "other"},
            {
                "name": "mosaic",
                "image": "mosaic:1",
                "env": [{"name": "HOME", "value": "/root"}, {"name": "AWS_REGION", "value": "eu"}],
                "envFrom": [{"secretRef": {"name": "storage"}}],
                "volumeMounts": [
                    {"name": "scratch", "mountPath": "/scratch"},
                    {"name": "ca", "mountPath": "/etc/ca", "readOnly": True},
                    {"name": "node", "mountPath": "/node"},
                ],
            },
        ],
        "volumes": [
            {"name": "scratch", "emptyDir": {}},
            {"name": "ca", "configMap": {"name": "ca"}},
            {"name": "node", "hostPath": {"path": "/"}},
            {"name": "unused", "secret": {"secretName": "unused"}},
        ],
    },
}


def make_worker(template: dict[str, Any] | None = None, **settings: Any) -> Worker:
    worker = read_worker(template, Kubernetes(**({"image": "mosaic:1"} | settings)))
    assert worker is not None
    return worker


def build(job: PhaseJob = JOB, worker: Worker | None = None, factor: int = 1, **settings: Any) -> dict[str, Any]:
    return build_job(job, worker or make_worker(), Kubernetes(**settings), run_url=RUN, factor=factor)


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["template"]["spec"])


@pytest.mark.parametrize("template", [None, COORDINATOR])
@pytest.mark.parametrize("settings", [{}, {"queue": "mosaics", "cpu": 0.5, "deadline": 60}])
def test_jobs_use_documented_fields_and_meet_the_apis_rules(template: Any, settings: dict[str, Any]) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="the lowest lock has no linters")
    job = build(worker=make_worker(template), **settings)
    kubernetes_validate.validate(job, "1.31", strict=True)
    assert find_problem(job) == ""


@pytest.mark.parametrize("template", [None, COORDINATOR])
def test_pods_have_no_more_rights_than_work_needs(template: Any) -> None:
    pod = pod_of(build(worker=make_worker(template)))
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["serviceAccountName"] == "mosaic-worker", "never the coordinator's own"
    assert pod["restartPolicy"] == "Never"
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "fsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")} == {"/scratch"}


def test_exit_codes_decide_what_a_failure_means_and_disruption_is_asked_first() -> None:
    first, second = build()["spec"]["podFailurePolicy"]["rules"]
    assert first == {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    assert second["action"] == "FailJob"
    assert second["onExitCodes"] == {"containerName": "mosaic", "operator": "In", "values": [2, 13, 70]}


def test_memory_scratch_and_deadline_come_from_the_plan() -> None:
    job = build()
    pod = pod_of(job)
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "1500m", "memory": "700Mi", "ephemeral-storage": "1256Mi"},
        "limits": {"memory": "700Mi", "ephemeral-storage": "1256Mi"},
    }
    assert pod["volumes"][-1] == {"name": "mosaic-scratch", "emptyDir": {"sizeLimit": "1000Mi"}}
    assert job["spec"]["activeDeadlineSeconds"] == 3600


def test_processors_are_limited_where_that_is_asked_for() -> None:
    resources = pod_of(build(cpu_limit=2.5))["containers"][0]["resources"]
    assert (resources["requests"]["cpu"], resources["limits"]["cpu"]) == ("1500m", "2500m")
    with pytest.raises(ValueError, match=r"less than the 1\.5 processors"):
        Kubernetes(cpu_limit=1.0)


def test_a_raised_job_is_the_one_that_is_wanted() -> None:
    plain, raised = build(), build(factor=2)
    assert raised["metadata"]["annotations"] == plain["metadata"]["annotations"] | {"mosaic-processor/factor": "2"}
    assert pod_of(raised)["containers"][0]["resources"]["limits"]["memory"] == "1400Mi"


@pytest.mark.parametrize(
    ("change", "settings"),
    [({"memory_bytes": 800 * MIB}, {}), ({"shards": 6}, {}), ({}, {"cpu": 4.0}), ({}, {"retries_per_index": 9})],
)
def test_a_job_that_would_be_made_otherwise_has_another_digest(change: dict[str, int], settings: dict[str, Any]) -> None:
    other = build(replace(JOB, **change), **settings)
    assert other["metadata"]["annotations"] != build()["metadata"]["annotations"]
    assert other["metadata"]["name"] == build()["metadata"]["name"]


def test_workers_take_over_what_is_everyones_and_leave_what_is_the_coordinators() -> None:
    worker = make_worker(COORDINATOR)
    assert worker.env == ({"name": "AWS_REGION", "value": "eu"},)
    assert worker.env_from == ({"secretRef": {"name": "storage"}},)
    assert worker.mounts == ({"name": "ca", "mountPath": "/etc/ca", "readOnly": True},)
    assert worker.volumes == ({"name": "ca", "configMap": {"name": "ca"}},)
    assert worker.pod == {"tolerations": [{"key": "spot", "operator": "Exists"}], "imagePullSecrets": [{"name": "registry"}]}
    assert worker.labels == {"team": "maps"}
    assert worker.annotations == {"example.org/note": "kept"}


def test_the_image_is_the_coordinators_unless_another_is_asked_for() -> None:
    assert make_worker(COORDINATOR, image=None).image == "mosaic:1"
    assert make_worker(COORDINATOR, image="mosaic:2").image == "mosaic:2"
    assert read_worker(None, Kubernetes()) is None


def test_names_follow_from_the_run_and_fit_a_label_with_any_index() -> None:
    names = {name_job(url, phase) for url in (RUN, RUN + "2") for phase in ("measure", "assemble")}
    assert len(names) == 4
    assert all(len(f"{name}-99999") <= 63 for name in names)
    assert name_job(RUN, "measure") == name_job(RUN, "measure")


@pytest.mark.parametrize("change", [{"tasks": -1}, {"shards": 0}, {"memory_bytes": 0}, {"deadline_seconds": 0}])
def test_figures_that_make_no_sense_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="phase render"):
        replace(JOB, **change)
