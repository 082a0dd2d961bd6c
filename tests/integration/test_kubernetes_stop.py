"""The coordinator is a process that Kubernetes stops: SIGTERM, and ten seconds."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import make_environment
from kubernetes_fake import Cluster, Works
from kubernetes_server import Fault, serve, write_kubeconfig

COORDINATOR = """
import sys
from processor.cli import commands as cli
from processor.cli import run as command
from processor.execution.kubernetes.coordinator import PhaseJob, run_phases
from processor.config.sections import Kubernetes

def run(options):
    job = PhaseJob(phase="render", tasks=4, shards=4, memory_bytes=2**29, scratch_bytes=2**30, deadline_seconds=10**8)
    run_phases([job], run_url="s3://bucket/run", settings=Kubernetes(image="mosaic:1", on_interrupt=sys.argv[1]))
    return ""

command.execute = run
sys.exit(cli.main(["run", "items.json", "--output", "out"]))
"""


@pytest.mark.parametrize(
    ("wish", "is_up", "left", "event"),
    [("leave", True, 1, "job-left"), ("delete", True, 0, "job-deleted"), ("delete", False, 1, "job-left")],
)
def test_sigterm_ends_the_coordinator_in_time_and_its_jobs_as_asked(
    tmp_path: Path, wish: str, is_up: bool, left: int, event: str
) -> None:
    cluster = Cluster(lambda _: Works(seconds=1e9))
    with serve(cluster) as server:
        if not is_up:
            server.faults.append(Fault(verb="delete", resource="jobs", kind="refuse", times=1000))
        environment = make_environment(tmp_path / "scratch", KUBECONFIG=str(write_kubeconfig(tmp_path / "config", server.url)))
        command = [sys.executable, "-c", COORDINATOR, wish]
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                start = time.monotonic()
                while ("watch", "jobs") not in cluster.used:
                    assert process.poll() is None, "it ended before it was stopped"
                    assert time.monotonic() < start + 300, "it never watched its Job"
                    time.sleep(0.01)
                process.send_signal(signal.SIGTERM)
                stopped = time.monotonic()
                _, stderr = process.communicate(timeout=300)
            finally:
                process.kill()
        assert time.monotonic() - stopped < 10 + (stopped - start)  # on a busy machine as much more as the start took
        assert process.returncode == 143
        assert len(cluster.jobs) == left
        assert [json.loads(line)["event"] for line in stderr.splitlines()][-2:] == [event, "interrupted"]
