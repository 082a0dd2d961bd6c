"""The executor against a fake cluster, over HTTP, in the cluster's own time."""

from __future__ import annotations

import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from kubernetes_fake import NAMESPACE, NEEDED_RIGHTS, Cluster, Fails, PodRun, Stuck, Works
from kubernetes_server import TOKEN, Fault, Outage, Server, serve, write_kubeconfig

from processor.config.general import Kubernetes
from processor.errors import ConfigError, InputError, MosaicError, TransientError
from processor.execution.kubernetes.api import JobsApi, connect
from processor.execution.kubernetes.coordinator import PhaseProgress, run_phases
from processor.execution.kubernetes.jobs import PhaseJob
from processor.execution.kubernetes.phase_jobs import _Watch
from processor.process.progress import LogProgress

RUN = "s3://bucket/mosaics/summer"
RESUME = "run the same command again"
MIB = 2**20
CENTURY = timedelta(days=36500)


def phase(name: str, tasks: int = 7, shards: int = 7, **figures: int) -> PhaseJob:
    values = {"memory_bytes": 512 * MIB, "scratch_bytes": 2048 * MIB, "deadline_seconds": 3600} | figures
    return PhaseJob(phase=name, tasks=tasks, shards=shards, **values)


PHASES = [phase("measure"), phase("solve", 1, 1), phase("render"), phase("assemble", 1, 1)]
NAMES = [job.phase for job in PHASES]


@dataclass(kw_only=True)
class World:
    """A cluster, a connection to it, and what a coordinator was told."""

    server: Server
    cluster: Cluster
    kubeconfig: Path
    told: list[PhaseProgress] = field(default_factory=list)

    def connect(self, **pace: float) -> JobsApi:
        return connect(None, {"KUBECONFIG": str(self.kubeconfig)}, replace(self.cluster.pace, **pace))

    def run(
        self,
        jobs: list[PhaseJob] = PHASES,
        settings: dict[str, Any] | None = None,
        pace: dict[str, float] | None = None,
        **more: Any,
    ) -> None:
        """Be a coordinator, from its start to its end."""
        api = self.connect(**(pace or {}))
        try:
            run_phases(
                jobs,
                run_url=RUN,
                settings=Kubernetes(**({"image": "mosaic:1"} | (settings or {}))),
                api=api,
                **({"environ": {}, "on_progress": self.told.append} | more),
            )
        finally:
            api.close()

    def job(self, name: str) -> dict[str, Any]:
        """The Job of a phase."""
        (job,) = (job for job in self.cluster.jobs.values() if job["metadata"]["name"].endswith(f"-{name}"))
        return job

    def count_runs(self, name: str) -> dict[int, int]:
        """How often each index of a phase ran."""
        indexes = [run.index for run in self.cluster.runs if run.phase == name]
        return {index: indexes.count(index) for index in sorted(set(indexes))}

    def suspend(self, name: str, *, suspended: bool) -> None:
        self.cluster.suspend(self.job(name)["metadata"]["name"], suspended=suspended)

    def memory(self) -> list[str]:
        return [_requests(manifest)["memory"] for manifest in self.cluster.created]


def _requests(manifest: dict[str, Any]) -> dict[str, str]:
    return dict(manifest["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"])


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    cluster = Cluster()
    with serve(cluster) as server:
        yield World(server=server, cluster=cluster, kubeconfig=write_kubeconfig(tmp_path / "config", server.url))


def script(**ends: Any) -> Callable[[PodRun], Any]:
    """Pods of a phase end as a list says, attempt by attempt, the last for all that follow; an index may have its own."""

    def program(run: PodRun) -> Any:
        plan = ends.get(f"{run.phase}_{run.index}", ends.get(run.phase, [Works()]))
        return plan[min(run.attempt, len(plan) - 1)]

    return program


class Stopped(BaseException):
    """A signal, as the command line makes one an exception."""


def stop_in(name: str, done: int = 0) -> Callable[[PhaseProgress], None]:
    """Stop the coordinator while pods of a phase are at work."""

    def tell(progress: PhaseProgress) -> None:
        if progress.phase == name and progress.active and progress.done >= done:
            raise Stopped

    return tell


# ---- success


def test_phases_are_done_one_after_the_other_and_each_shard_once(world: World) -> None:
    world.run()
    assert [run.phase for run in world.cluster.runs] == sorted((run.phase for run in world.cluster.runs), key=NAMES.index)
    assert {name: world.count_runs(name) for name in NAMES} == {
        job.phase: dict.fromkeys(range(job.shards), 1) for job in PHASES
    }


def test_exactly_the_documented_rights_are_used(world: World) -> None:
    world.cluster.program = script(measure_3=[Fails(code=1)], solve=[Works()])
    with pytest.raises(TransientError):
        world.run()
    world.cluster.accounts.clear()
    with pytest.raises(ConfigError):
        world.run()
    world.cluster.accounts.add("mosaic-worker")
    world.cluster.program = script()
    world.run(is_done=lambda _: False)
    assert world.cluster.used == NEEDED_RIGHTS - {("get", "pods")}, "the coordinator's own pod is looked up only in a pod"


def test_progress_rises_to_all_shards(world: World) -> None:
    world.cluster.program = lambda run: Works(seconds=10.0 + run.index)
    world.run([phase("measure")])
    done = [told.done for told in world.told]
    assert sorted(done) == done
    assert set(done) == set(range(8))
    assert world.told[-1] == PhaseProgress(phase="measure", job=world.told[0].job, shards=7, done=7, failed=0, active=0)


def test_a_phase_without_tasks_or_with_all_results_is_skipped(world: World) -> None:
    world.run([phase("measure"), phase("blocks", tasks=0), phase("render")], is_done=lambda job: job.phase == "measure")
    assert [run.phase for run in world.cluster.runs] == ["render"] * 7


# ---- failures of pods


def test_only_the_shard_that_failed_is_repeated(world: World) -> None:
    world.cluster.program = script(measure_3=[Fails(code=1), Fails(code=137), Works()])
    world.run()
    assert world.count_runs("measure") == {0: 1, 1: 1, 2: 1, 3: 3, 4: 1, 5: 1, 6: 1}
    assert max(told.failed for told in world.told) == 0


def test_preemption_is_no_failure_however_often_it_comes(world: World) -> None:
    world.cluster.program = script(render=[*[Fails(code=13, disrupted=True)] * 20, Works()])
    world.run(settings={"retries_per_index": 0})
    assert world.count_runs("render") == dict.fromkeys(range(7), 21)


def test_a_permanent_failure_names_shard_log_and_resuming_command(world: World) -> None:
    log = '{"level": "info", "message": "read the plan"}\n' * 30
    log += '{"level": "error", "event": "refused", "message": "scene ngi_3: band 2 is missing \\u001b[31m"}\nTraceback\n'
    world.cluster.program = script(measure_3=[Fails(code=13, log=log)], measure=[Works(seconds=60)])
    with pytest.raises(InputError) as caught:
        world.run()
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(f"measure failed: Job {NAMESPACE}/mosaic-")
    assert lines[0].endswith("; failed shards 3 of 7")
    assert "(shard 3) ended with exit code 13; its last lines:" in lines[1]
    assert lines[-4] == "  | error: scene ngi_3: band 2 is missing  [31m"
    assert lines[-3] == "  | Traceback"
    assert len([line for line in lines if line.startswith("  | ")]) == 20
    assert lines[-2].endswith(f"mosaic-processor task measure --run {RUN} --shards 7 --index 3")
    assert lines[-1].endswith(f"what was done is kept; to resume: {RESUME}")
    assert world.count_runs("measure")[3] == 1, "trying again is useless"
    assert not world.count_runs("solve")


def test_a_refused_configuration_is_an_error_of_usage(world: World) -> None:
    world.cluster.program = script(solve=[Fails(code=2, log="no such option")])
    with pytest.raises(ConfigError, match=r"(?s)solve failed.*exit code 2.*\| no such option.*configuration is mended"):
        world.run()


def test_a_shard_that_keeps_failing_ends_the_phase_and_a_rerun_resumes(world: World) -> None:
    world.cluster.program = script(render_5=[Fails(code=1, log="s3 says 503")])
    with pytest.raises(TransientError, match=r"(?s)MaxFailedIndexesExceeded.*failed shards 5 of 7.*\| s3 says 503"):
        world.run()
    assert world.count_runs("render")[5] == 5
    before = dict(world.count_runs("measure"))
    world.cluster.program = script()
    world.run()
    assert world.count_runs("measure") == before, "a phase that is done is not repeated"
    assert world.count_runs("assemble") == {0: 1}


def test_one_bad_shard_of_many_does_not_stop_the_others(world: World) -> None:
    world.cluster.program = script(render_5=[Fails(code=1)])
    with pytest.raises(TransientError, match=r"FailedIndexes.*failed shards 5 of 40"):
        world.run([phase("render", tasks=40, shards=40)])
    assert world.job("render")["status"]["completedIndexes"] == "0-4,6-39"


def told(caplog: pytest.LogCaptureFixture, event: str) -> list[str]:
    """What was logged of an event."""
    return [record.getMessage() for record in caplog.records if getattr(record, "event", "") == event]


def test_a_shard_that_fails_is_told_of_while_it_fails(world: World, caplog: pytest.LogCaptureFixture) -> None:
    log = '{"level": "info", "message": "read the plan"}\n{"level": "error", "message": "scene b: no route\\u001b[31m"}\n'
    world.cluster.program = script(measure_3=[Fails(code=1, log=log), Fails(code=1, log=log), Works()])
    seen: list[int] = []
    world.run([phase("measure")], on_progress=lambda _: seen.append(len(told(caplog, "shards-failed"))))
    assert told(caplog, "shards-failed") == [
        "measure: 0 of 7 done, shard 3 failed once: exit code 1: error: scene b: no route [31m",
        "measure: 6 of 7 done, shard 3 failed twice: exit code 1: error: scene b: no route [31m",
    ]
    assert seen[-1] == 2, "before the phase is done"
    assert seen[1] == 0


def test_many_shards_that_fail_are_told_of_by_few_lines(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """At their end the error does."""
    world.cluster.program = lambda run: Fails(code=1, seconds=1 + run.index / 10, log=f"no {run.index % 2}")
    with pytest.raises(TransientError, match="failed shards"):
        world.run([phase("measure", 9, 9)])
    lines = told(caplog, "shards-failed")
    assert lines[0] == "measure: 0 of 9 done, shard 0 failed once: exit code 1: no 0"
    again = "measure: 0 of 9 done, shards 0-8 failed: exit code 1: no 0"  # where the first one's second try has failed by then
    assert lines[1] in {again, again.replace("0-8", "1-8")}
    assert len(lines) < world.cluster.clock() / 10 + 1


def test_pods_that_the_cluster_takes_away_are_not_told_of_as_failures(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.cluster.program = script(measure_1=[Fails(code=143, disrupted=True), Fails(code=1), Works()])
    world.run([phase("measure")])
    assert [line.partition(", ")[2] for line in told(caplog, "shards-failed")] == ["shard 1 failed once: exit code 1"]


def test_each_phase_has_a_line_at_its_start_and_each_failure_one_before_the_next_job(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    killed = Fails(code=137, reason="OOMKilled")
    world.cluster.program = script(measure_3=[killed, Works()], solve=[killed])
    with pytest.raises(TransientError, match="solve failed"):
        world.run()
    begun = ["phase-started", "job-created"]
    raised = ["shards-failed", "shards-failed", "estimate-raised", "job-created"]
    events = [getattr(record, "event", "") for record in caplog.records if record.name.startswith("processor.")]
    assert events[:7] == [*begun, "shards-failed", "phase-finished", *begun, "shards-failed"]
    assert events[6:14] == [*raised, *raised]
    assert told(caplog, "phase-started")[0] == f"measure: began, 7 shards in Job {world.told[0].job}"


def test_the_clock_of_a_phase_runs_from_its_start(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.cluster.program = script(measure=[Works(seconds=40)])
    watch = _Watch(LogProgress(clock=world.cluster.clock))
    world.run([phase("measure"), phase("solve", 1, 1)], on_progress=watch.update)
    watch.close()
    assert told(caplog, "pass-finished") == [
        "measure: 7 shards done in 40.0 s (0.2 shards/s)",
        "solve: 1 shards done in 10.0 s (0.1 shards/s)",
    ]


def test_memory_is_raised_early_and_for_later_phases_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def program(run: PodRun) -> Any:
        return Fails(code=137, reason="OOMKilled") if _requests(run.job)["memory"] == "512Mi" else Works()

    world.cluster.program = program
    world.run([phase("measure", 1, 1), phase("render"), phase("assemble", 1, 1)])
    assert world.memory() == ["512Mi", "1024Mi", "1024Mi", "1024Mi"]
    assert world.count_runs("measure") == {0: 2 + 1}
    assert world.cluster.clock() < 60
    assert told(caplog, "estimate-raised") == ["measure: pods lacked memory; this and later phases get 2 times the estimate"]
    assert told(caplog, "shards-failed")[0] == "measure: 0 of 1 done, shard 0 failed once: it lacked memory (OOMKilled)"


def test_memory_is_raised_at_once_where_several_shards_lack_it(world: World) -> None:
    def program(run: PodRun) -> Any:
        return Fails(code=137, reason="OOMKilled") if _requests(run.job)["memory"] == "512Mi" else Works(seconds=1)

    world.cluster.program = program
    world.run([phase("measure")])
    assert world.cluster.clock() < 10
    assert world.count_runs("measure") == dict.fromkeys(range(7), 2)


def test_memory_is_raised_where_pods_are_killed_for_it(world: World) -> None:
    killed = Fails(code=137, reason="OOMKilled")

    def program(run: PodRun) -> Any:
        return killed if run.phase == "render" and run.index == 2 and _requests(run.job)["memory"] != "2048Mi" else Works()

    world.cluster.program = program
    world.run([phase("render")])
    assert world.memory() == ["512Mi", "1024Mi", "2048Mi"]
    assert [_requests(job)["ephemeral-storage"] for job in world.cluster.created] == ["2304Mi", "4352Mi", "8448Mi"]


def test_a_restarted_coordinator_goes_on_from_raised_memory(world: World) -> None:
    world.cluster.program = script(render=[Fails(code=137, reason="OOMKilled")])

    def stop(progress: PhaseProgress) -> None:
        if world.memory() == ["512Mi", "1024Mi"] and progress.active:
            raise Stopped

    with pytest.raises(Stopped):
        world.run([phase("render")], on_progress=stop)
    with pytest.raises(TransientError, match=r"(?s)exit code 137, OOMKilled"):
        world.run([phase("render")])
    assert world.memory() == ["512Mi", "1024Mi", "2048Mi"], "neither begun anew nor raised twice, nor for ever"


def test_scratch_is_raised_where_pods_are_evicted_for_it(world: World) -> None:
    evicted = Fails(code=137, pod_reason="Evicted")

    def program(run: PodRun) -> Any:
        volumes = run.job["spec"]["template"]["spec"]["volumes"]
        return evicted if volumes[-1]["emptyDir"]["sizeLimit"] == "2048Mi" else Works()

    world.cluster.program = program
    world.run([phase("render")])
    assert len(world.cluster.created) == 2


def test_an_old_kill_for_memory_does_not_hide_what_failed(world: World) -> None:
    world.cluster.program = script(
        render_1=[Fails(code=137, reason="OOMKilled"), Works()], render_5=[Fails(code=1, log="no route")]
    )
    with pytest.raises(TransientError, match=r"(?s)shard 5\).*\| no route"):
        world.run([phase("render")])
    assert len(world.cluster.created) == 1


def test_a_phase_that_outlives_its_deadline_fails_and_says_how_to_give_more(world: World) -> None:
    world.cluster.program = script(measure=[Works(seconds=4000)])
    with pytest.raises(TransientError, match=r"(?s)DeadlineExceeded.*--kubernetes.deadline"):
        world.run()
    assert world.cluster.clock() == pytest.approx(3600)


def test_a_preempted_pod_does_not_hide_what_failed(world: World) -> None:
    preempted = Fails(code=143, seconds=500, log="stopped", disrupted=True)
    world.cluster.program = script(
        measure_1=[preempted, Works(seconds=4000)], measure_2=[Fails(code=1, log="no route"), Works(seconds=4000)]
    )
    with pytest.raises(TransientError, match=r"(?s)DeadlineExceeded.*shard 2\).*\| no route"):
        world.run()


def test_a_log_that_is_gone_does_not_hide_the_failure(world: World) -> None:
    world.cluster.program = script(measure_3=[Fails(code=13)])
    world.server.faults.append(Fault(verb="get", resource="pods/log", kind="refuse", status=403, times=9, message="no logs"))
    with pytest.raises(InputError, match=r"(?s)exit code 13.*no log:.*no logs"):
        world.run()


# ---- the coordinator is stopped, and comes back


@pytest.mark.parametrize("name", NAMES)
def test_a_restarted_coordinator_finds_the_job_that_runs(world: World, name: str) -> None:
    with pytest.raises(Stopped):
        world.run(on_progress=stop_in(name))
    world.run()
    assert {name: world.count_runs(name) for name in NAMES} == {
        job.phase: dict.fromkeys(range(job.shards), 1) for job in PHASES
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_restarted_coordinator_finds_the_job_that_finished(world: World, name: str) -> None:
    with pytest.raises(Stopped):
        world.run(on_progress=stop_in(name))
    world.cluster.sleep(600)
    done = {job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] for job in world.cluster.jobs.values()}
    world.run(is_done=lambda job: job.phase in done)
    assert all(set(world.count_runs(name).values()) == {1} for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_restarted_coordinator_replaces_the_job_that_failed(world: World, name: str) -> None:
    world.cluster.program = script(**{name: [Fails(code=1)]})
    with pytest.raises(Stopped):
        world.run(on_progress=stop_in(name))
    world.cluster.sleep(1000)
    assert world.job(name)["status"]["failedIndexes"]
    world.cluster.program = script()
    world.run()
    assert [job["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] for job in world.cluster.created] == [
        *NAMES[: NAMES.index(name) + 1],
        *NAMES[NAMES.index(name) :],
    ]


def test_a_job_that_succeeded_is_run_again_where_its_results_are_gone(world: World) -> None:
    world.run([phase("measure")])
    world.run([phase("measure")], is_done=lambda _: False)
    assert world.count_runs("measure") == dict.fromkeys(range(7), 2)


def test_a_job_that_was_made_otherwise_is_replaced(world: World) -> None:
    with pytest.raises(Stopped):
        world.run(on_progress=stop_in("measure"))
    world.run([phase("measure")], {"image": "mosaic:2"})
    assert [job["spec"]["template"]["spec"]["containers"][0]["image"] for job in world.cluster.created] == [
        "mosaic:1",
        "mosaic:2",
    ]


def test_another_runs_job_is_not_touched(world: World) -> None:
    with pytest.raises(Stopped):
        world.run(on_progress=stop_in("measure"))
    world.job("measure")["metadata"]["annotations"]["mosaic-processor/run-url"] = "s3://bucket/other"
    with pytest.raises(ConfigError, match="is not of this run"):
        world.run()
    assert len(world.cluster.jobs) == 1


@pytest.mark.parametrize(("wish", "left"), [("leave", 1), ("delete", 0)])
def test_what_is_left_behind_when_stopped_is_for_the_user_to_say(world: World, wish: str, left: int) -> None:
    world.cluster.program = script(measure=[Works(seconds=1800)])
    with pytest.raises(Stopped):
        world.run(settings={"on_interrupt": wish}, on_progress=stop_in("measure"))
    assert len(world.cluster.jobs) == left
    assert bool(world.cluster.pods) == bool(left)


def test_a_stopped_coordinator_does_not_wait_for_an_api_that_is_down(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.server.faults.append(Fault(verb="delete", resource="jobs", kind="refuse", times=99))
    with pytest.raises(Stopped):
        world.run(settings={"on_interrupt": "delete"}, on_progress=stop_in("measure"))
    stopped = world.cluster.clock()
    assert stopped < 10 + 4
    assert f"kubectl -n {NAMESPACE} delete job mosaic-" in caplog.text


# ---- what others do to a Job


def test_a_job_that_somebody_deleted_is_made_again(world: World) -> None:
    world.cluster.at(5, lambda: world.cluster.delete_job(world.job("measure")["metadata"]["name"]))
    world.run()
    assert world.count_runs("measure") == dict.fromkeys(range(7), 2)


def test_a_job_that_is_deleted_again_and_again_is_given_up(world: World) -> None:
    for moment in (5, 15, 25):
        world.cluster.at(moment, lambda: world.cluster.delete_job(world.job("measure")["metadata"]["name"]))
    world.cluster.program = script(measure=[Works(seconds=30)])
    with pytest.raises(TransientError, match=r"deleted 3 times while it ran; to resume: run the same command again"):
        world.run()


def test_a_job_that_is_being_deleted_is_waited_for_but_not_for_ever(world: World) -> None:
    world.cluster.program = script(measure=[Fails(code=1)])
    for linger, words in ((60, "failed shards"), (60, "failed shards"), (10_000, "was deleted but does not go away")):
        world.cluster.linger = linger
        with pytest.raises(TransientError, match=words):
            world.run()
    assert len(world.cluster.created) == 2


@pytest.mark.parametrize("turns", [{3 * 3600: False}, {10: False, 500: True, 9000: False}])
def test_a_queue_may_take_its_time_or_a_job_back_and_the_deadline_counts_from_then(
    world: World, turns: dict[int, bool]
) -> None:
    for moment, suspended in turns.items():
        turn = partial(world.suspend, "measure", suspended=suspended)
        world.cluster.at(moment, turn)
    world.cluster.program = script(measure=[Works(seconds=3000)])
    world.run([phase("measure")], {"queue": "mosaics"})
    (created,) = world.cluster.created
    assert created["spec"]["suspend"] is True
    assert created["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "mosaics"
    assert world.cluster.clock() == pytest.approx(max(turns) + 3000)


@pytest.mark.parametrize(("settings", "begin"), [({}, 0), ({"queue": "mosaics"}, 3 * 3600)])
def test_a_job_that_outlives_its_own_deadline_is_not_waited_for_for_ever(
    world: World, settings: dict[str, Any], begin: float
) -> None:
    world.cluster.ends_late_jobs = False
    world.cluster.program = script(measure=[Works(seconds=1e9)])
    if begin:
        world.cluster.at(begin, lambda: world.suspend("measure", suspended=False))
    with pytest.raises(TransientError, match="outlived its own deadline; to resume"):
        world.run([phase("measure")], settings)
    assert begin + 3600 < world.cluster.clock() <= begin + 3600 + 180 + 60


def test_a_queue_that_never_admits_is_an_error_after_a_week(world: World) -> None:
    with pytest.raises(TransientError, match="still suspended: its queue does not admit it; to resume"):
        world.run([phase("measure")], {"queue": "mosaics"}, pace={"watch": 7200})
    assert world.cluster.clock() == pytest.approx(7 * 86400, rel=0.01)


# ---- pods that do not begin


NO_IMAGE = Stuck(reason="ImagePullBackOff", message='Back-off pulling image "mosaic:1": not found')
NO_SECRET = Stuck(reason="CreateContainerConfigError", message='secret "storage" not found')
TOO_LARGE = Stuck(
    reason="Unschedulable",
    message="0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 Preemption is not helpful for "
    "scheduling.",
    scheduled=False,
)
BUSY = Stuck(
    reason="Unschedulable",
    message="0/3 nodes are available: 3 Insufficient memory. preemption: 0/3 nodes are available: 3 No preemption victims "
    "found for incoming pod.",
    scheduled=False,
)
TAINTED = Stuck(
    reason="Unschedulable",
    message="0/1 nodes are available: 1 node(s) had untolerated taint(s). preemption: 0/1 nodes are available: 1 Preemption is "
    "not helpful for scheduling.",
    scheduled=False,
)
SCALING = replace(TOO_LARGE, events=(("TriggeredScaleUp", "pod triggered scale-up: [{pool 0->1 (max: 9)}]"),))
UNMOUNTED = Stuck(
    reason="ContainerCreating",
    message="",
    events=(("FailedMount", 'MountVolume.SetUp failed for "ca": configmap "ca" not found'),),
)


@pytest.mark.parametrize(
    ("stuck", "reason", "advice", "kind"),
    [
        (NO_IMAGE, "ImagePullBackOff", "is --kubernetes.image right", ConfigError),
        (replace(NO_IMAGE, message="dial tcp: i/o timeout"), "ImagePullBackOff", "is --kubernetes.image right", TransientError),
        (NO_SECRET, "CreateContainerConfigError", "workers refer to the Secrets", ConfigError),
        (TOO_LARGE, "Unschedulable", "--kubernetes.cpu says what a worker asks for", ConfigError),
        (TAINTED, "Unschedulable", "workers have the tolerations", TransientError),
        (UNMOUNTED, "FailedMount", "workers refer to the Secrets", ConfigError),
    ],
)
def test_pods_that_cannot_begin_are_explained_soon_and_end_the_run_early(
    world: World, stuck: Stuck, reason: str, advice: str, kind: type[MosaicError], caplog: pytest.LogCaptureFixture
) -> None:
    moments: list[float] = []
    tell = caplog.handler.emit
    caplog.handler.emit = lambda record: (moments.append(world.cluster.clock()), tell(record))  # type: ignore[method-assign]
    world.cluster.program = script(measure=[stuck])
    with pytest.raises(
        kind, match=rf"no pod of Job {NAMESPACE}/.* began for 300 s: 7 of 7 pending pods wait: {reason}: "
    ) as caught:
        world.run()
    assert type(caught.value) is kind
    assert advice in str(caught.value)
    assert "--kubernetes.deadline" not in str(caught.value)
    (line,) = told(caplog, "pods-pending")
    assert advice in line
    assert moments[0] <= 15
    assert world.cluster.clock() == pytest.approx(15 + 300)


@pytest.mark.parametrize(("stuck", "reason"), [(BUSY, "Unschedulable"), (SCALING, "ScalingUp")])
def test_pods_that_may_begin_yet_are_waited_for_until_the_deadline_which_tells_why(
    world: World, stuck: Stuck, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    world.cluster.program = script(measure=[stuck])
    with pytest.raises(
        TransientError, match=rf"DeadlineExceeded.*\n.*no more time: 7 of 7 pending pods wait: {reason}"
    ) as caught:
        world.run([phase("measure", deadline_seconds=900)])
    assert "--kubernetes.deadline" not in str(caught.value)
    assert len(told(caplog, "pods-pending")) == 1, "once, not with each look"
    assert world.cluster.clock() == pytest.approx(900)


def test_how_long_pods_may_wait_is_for_the_user_to_say(world: World) -> None:
    world.cluster.program = script(measure=[NO_IMAGE])
    with pytest.raises(ConfigError, match=r"began for 60 s.*--kubernetes.pending_limit waits longer"):
        world.run(settings={"pending_limit": 60})
    assert world.cluster.clock() == pytest.approx(15 + 60)
    with pytest.raises(TransientError, match=r"(?s)DeadlineExceeded.*ImagePullBackOff"):
        world.run([phase("measure", deadline_seconds=900)], {"pending_limit": None})


def test_pending_pods_are_counted_by_reason_not_by_what_each_says(world: World, caplog: pytest.LogCaptureFixture) -> None:
    def program(run: PodRun) -> Any:
        reason = "ErrImagePull" if run.index % 2 else "ImagePullBackOff"
        return BUSY if run.index == 6 else Stuck(reason=reason, message=f"pod {run.index}: a\x1bb")

    world.cluster.program = program
    with pytest.raises(TransientError, match="DeadlineExceeded"):
        world.run([phase("measure", deadline_seconds=900)])
    (line,) = told(caplog, "pods-pending")
    assert "6 of 7 pending pods wait: ImagePullBackOff: pod 0: a b" in line


def test_a_pod_that_waits_ends_nothing_while_others_work(world: World) -> None:
    world.cluster.program = script(measure_3=[NO_IMAGE], measure=[Works(seconds=1000)])
    with pytest.raises(ConfigError, match="1 of 1 pending pods wait"):
        world.run()
    assert world.cluster.clock() == pytest.approx(1000 + 15 + 300, abs=60)


def test_pods_without_an_account_are_explained_and_end_the_run_early(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.cluster.accounts.clear()
    with pytest.raises(
        ConfigError, match=r"no pod could be created: .*is there a service account mosaic-worker\? --kubernetes"
    ):
        world.run()
    assert len(told(caplog, "pods-pending")) == 1
    assert world.cluster.clock() == pytest.approx(15 + 300)


def test_pods_that_cannot_be_created_are_explained_without_events_too(world: World) -> None:
    world.cluster.rights.remove(("list", "events"))
    world.cluster.accounts.clear()
    with pytest.raises(TransientError, match=r"no pod could be created: is there a service account mosaic-worker .*cpu_limit"):
        world.run()
    assert world.cluster.clock() == pytest.approx(15 + 300)


def test_a_quota_of_processors_asks_for_a_limit_and_workers_can_have_one(world: World) -> None:
    world.cluster.quota = {"limits.cpu": 8}
    with pytest.raises(ConfigError, match=r"must specify limits.cpu for: mosaic; --kubernetes.cpu_limit gives workers"):
        world.run()
    world.run(settings={"cpu_limit": 2.5})
    assert {
        job["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"] for job in world.cluster.created[1:]
    } == {"2500m"}
    world.cluster.quota = {"limits.cpu": 2}
    with pytest.raises(ConfigError, match=r"exceeded quota: .*limited: limits.cpu=2; --kubernetes.cpu_limit and"):
        world.run([phase("render")], {"cpu_limit": 2.5}, is_done=lambda _: False)


def test_a_quota_of_jobs_that_the_runs_own_fill_is_no_obstacle(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.cluster.quota = {"count/jobs.batch": 2}
    world.run()
    assert [line.split(",")[0].rpartition("-")[2] for line in told(caplog, "job-deleted")] == ["measure", "solve"]


@pytest.mark.parametrize(("limit", "kind"), [(1, TransientError), (0, ConfigError)])
def test_a_quota_of_jobs_that_stays_used_up_is_explained_and_ends_the_run_early(
    world: World, limit: int, kind: type[MosaicError], caplog: pytest.LogCaptureFixture
) -> None:
    world.cluster.jobs |= {"other": {"metadata": {"name": "other", "uid": "u"}, "spec": {}}} if limit else {}
    world.cluster.quota = {"count/jobs.batch": limit}
    with pytest.raises(
        kind, match=r"was refused for 300 s: 403 .*exceeded quota.*; finished Jobs count, too: --kubernetes.keep_f"
    ):
        world.run()
    assert len(told(caplog, "job-refused")) == 1
    assert 300 <= world.cluster.clock() < 340


def test_the_pause_before_a_shard_is_repeated_is_not_taken_for_a_quota(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.cluster.program = script(solve=[Fails(code=1), Fails(code=1), Fails(code=1), Fails(code=1), Works()])
    world.run()
    assert "no pod could be created" not in caplog.text


# ---- the network, and the API


def test_watches_that_expire_are_begun_anew(world: World) -> None:
    world.cluster.program = script(measure=[Works(seconds=600)])
    world.server.faults.append(Fault(verb="watch", resource="jobs", kind="expire", times=5))
    for moment in (100, 300, 500):
        world.cluster.at(moment, world.cluster.forget_history)
    world.run()
    assert world.count_runs("measure") == dict.fromkeys(range(7), 1)


@pytest.mark.parametrize("kind", ["cut", "lose", "refuse"])
def test_watches_that_break_are_begun_anew(world: World, kind: Any) -> None:
    world.cluster.program = script(measure=[Works(seconds=600)])
    world.server.faults.append(Fault(verb="watch", resource="jobs", kind=kind, times=20))
    world.run()
    assert world.count_runs("measure") == dict.fromkeys(range(7), 1)
    assert world.server.asked.count(("watch", "jobs")) < 60, "an API in trouble is not asked without pause"


@pytest.mark.parametrize("kind", ["lose", "lose-answer", "refuse"])
@pytest.mark.parametrize(("verb", "resource"), sorted(NEEDED_RIGHTS - {("watch", "jobs"), ("get", "pods"), ("list", "events")}))
def test_requests_that_fail_for_now_are_repeated_and_nothing_is_done_twice(
    world: World, verb: str, resource: str, kind: Any
) -> None:
    world.cluster.program = script(measure_3=[Fails(code=1)])
    with pytest.raises(TransientError, match="failed shards 3"):
        world.run()
    world.cluster.program = script(measure_3=[Stuck(reason="ImagePullBackOff", message="no such image")])
    world.server.faults.append(Fault(verb=verb, resource=resource, kind=kind, times=3))
    with pytest.raises(ConfigError, match="ImagePullBackOff"):
        world.run()
    assert len(world.cluster.created) == 2


def test_an_api_that_asks_for_patience_gets_it(world: World) -> None:
    world.server.faults.append(Fault(verb="create", resource="jobs", kind="refuse", status=429, retry_after=20, times=2))
    world.run([phase("solve", 1, 1)])
    assert world.cluster.clock() == pytest.approx(20 + 20 + 10)


def test_an_api_that_stays_down_is_a_transient_failure_and_is_told_of(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.server.faults.append(Fault(verb="get", resource="jobs", kind="refuse", status=500, times=10_000))
    with pytest.raises(TransientError, match=r"kept failing for 900 s \(get jobs mosaic-.*\): 500 the server is down for now"):
        world.run()
    assert 800 < world.cluster.clock() <= 900
    assert "failed for now" in caplog.text


@pytest.mark.parametrize(
    ("verb", "resource"), sorted(NEEDED_RIGHTS - {("watch", "jobs"), ("get", "pods"), ("get", "pods/log"), ("list", "events")})
)
def test_a_missing_right_is_named(world: World, verb: str, resource: str) -> None:
    world.cluster.program = script(measure_3=[Fails(code=1)])
    if verb == "delete":
        with pytest.raises(TransientError):
            world.run()
    world.cluster.rights.remove((verb, resource))
    with pytest.raises(ConfigError, match=rf"refused to {verb} {resource}.*needs the right to {verb} {resource}"):
        world.run()


def test_a_right_that_comes_a_moment_later_is_waited_for(world: World) -> None:
    world.cluster.rights.remove(("create", "jobs"))
    world.cluster.at(2, lambda: world.cluster.rights.add(("create", "jobs")))
    world.run()


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_right_after_an_outage_is_not_final(world: World, status: int) -> None:
    world.cluster.program = script(measure=[Works(seconds=300)])
    world.server.plan_outage(Outage(begin=100, down=20, refusing=40, status=status))
    world.run([phase("measure")])
    assert world.count_runs("measure") == dict.fromkeys(range(7), 1)


def test_a_refusal_of_what_was_granted_before_is_borne_for_a_minute(world: World) -> None:
    """Behind several API servers an outage of one shows as nothing else."""
    world.server.plan_outage(Outage(begin=300, down=0, refusing=40))
    world.cluster.program = script(measure=[Works(seconds=300)])
    world.run()
    assert world.count_runs("render") == dict.fromkeys(range(7), 1)


def test_refusals_that_last_are_final_a_minute_after_an_outage(world: World) -> None:
    world.cluster.program = script(measure=[Works(seconds=3000)])
    world.server.plan_outage(Outage(begin=100, down=20, refusing=10_000))
    with pytest.raises(ConfigError, match=r"refused to get jobs .*: 403 .*needs the right to get jobs"):
        world.run()
    assert 100 + 20 + 60 <= world.cluster.clock() < 100 + 20 + 60 + 60


def test_refusals_are_counted_apart_from_other_failures(world: World) -> None:
    world.cluster.rights.remove(("create", "jobs"))
    world.server.faults.append(Fault(verb="get", resource="jobs", kind="refuse", status=500, times=5))
    world.cluster.at(40 + 31, lambda: world.cluster.rights.add(("create", "jobs")))
    world.run([phase("measure")])


def test_a_quota_that_is_used_up_is_waited_for(world: World) -> None:
    told = 'jobs.batch "x" is forbidden: exceeded quota: jobs, requested: 1, used: 5, limited: 5'
    world.server.faults.append(Fault(verb="create", resource="jobs", kind="refuse", status=403, message=told, times=8))
    world.run([phase("measure")])
    assert len(world.cluster.created) == 1


def test_a_namespace_that_is_not_there_is_named_at_once(world: World) -> None:
    api = world.connect()
    api.namespace = "elsewhere"
    with pytest.raises(ConfigError, match=r"refused to create jobs .* in namespace elsewhere"):
        run_phases(PHASES, run_url=RUN, settings=Kubernetes(image="mosaic:1"), api=api, environ={})
    api.close()
    assert world.cluster.clock() == 0


def test_a_token_that_does_not_count_is_an_error_that_does_not_tell_it(world: World) -> None:
    write_kubeconfig(world.kubeconfig, world.server.url, token="stale-" + TOKEN)
    with pytest.raises(ConfigError, match="401 Unauthorized") as caught:
        world.run()
    assert TOKEN not in str(caught.value)


def test_a_job_that_the_api_finds_invalid_is_refused(world: World) -> None:
    with pytest.raises(ConfigError, match=r"422 .*is invalid"):
        world.run([phase("Not_A_Label")])


# ---- connecting


def make_certificates(folder: Path, *, in_form: bool) -> tuple[Path, Path]:
    """A CA's certificate and, in one file, a key and a certificate that it signed for 127.0.0.1.

    in_form: whether the CA's own says what its key is for, as RFC 5280 asks.
    """
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer, begin = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")]), datetime(2020, 1, 1, tzinfo=UTC)

    def certify(name: x509.Name, of: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder(issuer, name, of.public_key(), x509.random_serial_number(), begin, begin + CENTURY)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, (x509.BasicConstraints, x509.KeyUsage)))
        return builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    no = dict.fromkeys(("content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False)
    no |= dict.fromkeys(("digital_signature", "crl_sign", "encipher_only", "decipher_only"), False)
    usage = [x509.KeyUsage(key_cert_sign=True, **no)] if in_form else []
    its_key = x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key())
    by = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(its_key)
    here = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    server = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ca, both = folder / "ca.pem", folder / "both.pem"
    ca.write_bytes(certify(issuer, ca_key, x509.BasicConstraints(ca=True, path_length=None), its_key, *usage))
    both.write_bytes(key.private_bytes(*form) + certify(server, key, here, by))
    return ca, both


def test_a_ca_of_an_older_cluster_is_taken_where_python_is_strict(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("urllib3.util.ssl_.sys", SimpleNamespace(version_info=(3, 13)))  # whatever runs this test
    ca, both = make_certificates(tmp_path, in_form=False)
    with serve(world.cluster, certificate=both) as server:
        write_kubeconfig(world.kubeconfig, server.url, ca=ca)
        world.run([phase("measure")])
    strict = ssl.create_default_context(cafile=ca)
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        serve(world.cluster, certificate=both) as server,
        pytest.raises(urllib.error.URLError, match="key usage"),
    ):
        urllib.request.urlopen(server.url, context=strict)  # noqa: S310 - a server of this test


@pytest.mark.parametrize("trusts", ["another", "the system's"])
def test_a_certificate_that_is_not_trusted_is_final_at_once_and_says_what_to_look_at(
    world: World, tmp_path: Path, trusts: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    ca = make_certificates(other, in_form=True)[0] if trusts == "another" else None
    with serve(world.cluster, certificate=make_certificates(tmp_path, in_form=True)[1]) as server:
        write_kubeconfig(world.kubeconfig, server.url, ca=ca)
        with pytest.raises(ConfigError, match=r"(?i)certificate.verify.failed.*; certificate-authority .* in the kubeconfig"):
            world.run()
    assert world.cluster.clock() == 0


@pytest.mark.parametrize("environ", [{"KUBECONFIG": "/nowhere"}, {"KUBERNETES_SERVICE_HOST": "1.2.3.4"}])
def test_without_a_cluster_or_a_token_in_a_pod_the_error_says_what_to_do(
    environ: dict[str, str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (environ | {"KUBERNETES_SERVICE_PORT": "1"}).items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"no Kubernetes cluster to run in: .*a service account, or set KUBECONFIG"):
        connect(None, environ, world.cluster.pace)


@pytest.mark.parametrize(("wish", "expected"), [(None, NAMESPACE), ("elsewhere", "elsewhere")])
def test_the_namespace_is_the_kubeconfigs_unless_another_is_asked_for(world: World, wish: str | None, expected: str) -> None:
    api = connect(wish, {"KUBECONFIG": str(world.kubeconfig)}, world.cluster.pace)
    api.close()
    assert api.namespace == expected


def test_without_the_extra_the_error_says_how_to_install_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "kubernetes", None)
    with pytest.raises(ConfigError, match=r"pip install 'mosaic-processor\[kubernetes\]'"):
        connect(None, {}, world.cluster.pace)


def test_outside_of_a_pod_an_image_is_needed(world: World) -> None:
    with pytest.raises(ConfigError, match=r"--kubernetes\.image"):
        world.run(settings={"image": None})


def test_errors_are_of_this_project_whatever_the_api_says(world: World) -> None:
    world.server.faults.append(Fault(verb="create", resource="jobs", kind="refuse", status=418, message="a\nteapot"))
    with pytest.raises(MosaicError, match="a teapot"):
        world.run()


# ---- in a pod


def _be_in_a_pod(world: World) -> dict[str, str]:
    """Put a coordinator's Job and pod there; what its environment says."""
    container = {
        "name": "mosaic",
        "image": "registry.example.org/mosaic:3",
        "env": [
            {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "MOSAIC_KUBERNETES__QUEUE", "value": "q"},
            {"name": "AWS_REGION", "value": "eu-central-1"},
        ],
        "envFrom": [{"secretRef": {"name": "storage", "optional": True}}],
    }
    template = {"metadata": {"labels": {"team": "maps", "job-name": "x"}}, "spec": {"containers": [container]}}
    coordinator = {"metadata": {"name": "coordinator", "uid": "u1"}, "spec": {"template": template}}
    world.cluster.jobs["coordinator"] = coordinator
    owners = [{"apiVersion": "batch/v1", "kind": "Job", "name": "coordinator", "uid": "u1"}]
    world.cluster.add_pod({"metadata": {"name": "coordinator-abc", "uid": "u2", "labels": {}, "ownerReferences": owners}})
    return {"POD_NAME": "coordinator-abc", "POD_NAMESPACE": NAMESPACE}


def test_workers_take_over_image_secrets_and_owner_from_the_coordinator(world: World) -> None:
    world.run(settings={"image": None}, environ=_be_in_a_pod(world))
    job = world.cluster.created[0]
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.example.org/mosaic:3"
    assert container["envFrom"] == [{"secretRef": {"name": "storage", "optional": True}}]
    names = [entry["name"] for entry in container["env"]]
    assert "AWS_REGION" in names
    assert not {"POD_NAME", "MOSAIC_KUBERNETES__QUEUE"} & set(names)
    assert job["metadata"]["ownerReferences"] == [{"apiVersion": "batch/v1", "kind": "Job", "name": "coordinator", "uid": "u1"}]
    assert job["spec"]["template"]["metadata"]["labels"]["team"] == "maps"
    assert world.cluster.used >= NEEDED_RIGHTS - {("delete", "jobs"), ("list", "pods"), ("get", "pods/log"), ("list", "events")}


def test_a_coordinator_whose_pod_is_not_found_is_told_so(world: World) -> None:
    with pytest.raises(ConfigError, match=r"no pod other .* POD_NAME and POD_NAMESPACE must name"):
        world.run(settings={"image": None}, environ={"POD_NAME": "other", "POD_NAMESPACE": NAMESPACE})


def test_nothing_of_a_token_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    world.server.faults.append(Fault(verb="get", resource="jobs", kind="refuse", status=500, times=3))
    world.run([phase("measure")])
    assert TOKEN not in caplog.text
