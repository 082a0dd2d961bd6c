"""Runs the built image as a cluster would, from and to a real S3 server; called by ``.ci/image``, not by pytest.

python .ci/check_image.py IMAGE [option of podman ...]
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from servers import KEY, SECRET, ObjectServer, run_s3

from processor.version import read_version

ROOT = Path(__file__).parents[1]
NGI = ROOT.parent / "shared" / "data" / "ngi"
CREATED = "2026-01-31T12:00:00Z"
MEMORY = "1g"
HARDENING = (
    *("--runtime", "/usr/sbin/runc"),  # Debian's crun fails where cgroups are of the first version
    *(
        "--network",
        "host",
        "--read-only",
        "--read-only-tmpfs=false",
        "--cap-drop",
        "ALL",
        "--security-opt",
        "no-new-privileges",
    ),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"),
)


def tell(text: str) -> None:
    sys.stdout.write(f"   {text}\n")
    sys.stdout.flush()


class Podman:
    """The image, by podman."""

    def __init__(self, image: str, options: Sequence[str]) -> None:
        self.image = image
        self.base = ["podman", *options, "--cgroup-manager", "cgroupfs"]

    def call(self, *words: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.base, *words], text=True, capture_output=True, check=False, timeout=120, **more)

    def command(self, *arguments: str, name: str, options: Sequence[str] = ()) -> list[str]:
        """What runs the image with arguments."""
        base = [*self.base, "run", "--rm", "--name", name, *HARDENING, "--memory", MEMORY, "--memory-swap", MEMORY]
        return [*base, *options, self.image, *arguments]

    def read_size(self) -> int:
        """Bytes of the image as it lies on a node."""
        return int(self.call("image", "inspect", "--format", "{{.Size}}", self.image).stdout)

    def measure_packed(self) -> int:
        """Bytes of the image as it is pulled, about: gzip at its fastest, which takes a while."""
        with subprocess.Popen([*self.base, "image", "save", self.image], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            counter = _Counter()
            with gzip.GzipFile(fileobj=counter, mode="wb", compresslevel=1) as packed:  # type: ignore[call-overload]
                while data := process.stdout.read(1 << 22):
                    packed.write(data)
        return counter.count


class _Counter:
    count = 0

    def write(self, data: bytes) -> int:
        self.count += len(data)
        return len(data)

    def flush(self) -> None:
        pass


def check_labels(podman: Podman) -> None:
    found = json.loads(podman.call("image", "inspect", podman.image).stdout)[0]["Config"]
    assert found["User"] == "10001:10001", found["User"]
    labels = found["Labels"]
    assert labels["org.opencontainers.image.version"] == read_version(), labels
    assert {"title", "description", "revision", "licenses"} <= {key.rpartition(".")[2] for key in labels}, labels


def check_limits(podman: Podman) -> None:
    """What the process may do is what was asked for, not merely asked for."""
    probe = (
        "import os, pathlib\n"
        "status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
        "assert os.getuid() == os.getgid() == 10001\n"
        "assert int(status['CapEff'], 16) == int(status['CapBnd'], 16) == 0, status\n"
        "assert status['NoNewPrivs'].strip() == '1' and status['Seccomp'].strip() == '2', status\n"
        "limits = [pathlib.Path('/sys/fs/cgroup', name) for name in ('memory.max', 'memory/memory.limit_in_bytes')]\n"
        "assert [int(path.read_text()) for path in limits if path.exists()] == [2**30]\n"
        "pathlib.Path('/scratch/probe').write_text('x')\n"
        "import kubernetes.client, planetary_computer, rustac\n"  # the extras
        "for place in ('/', '/opt/mosaic', '/tmp', '/var/tmp'):\n"
        "    try: pathlib.Path(place, 'probe').write_text('x')\n"
        "    except OSError: continue\n"
        "    raise SystemExit(f'{place} can be written to')\n"
    )
    done = podman.call(
        *podman.command("-c", probe, name="mosaic-probe", options=("--entrypoint", "python"))[len(podman.base) :]
    )
    assert done.returncode == 0, done.stderr
    tell(f"user 10001, read-only root, no capability, no new privileges, seccomp, {MEMORY} of memory by cgroup: held")


def check_mosaic(podman: Podman, server: ObjectServer, arguments: Sequence[str], environment: dict[str, str]) -> None:
    """The image's mosaic is that of this folder, byte for byte."""
    begin = time.monotonic()
    done = podman.call(
        *podman.command(*arguments, name="mosaic-run", options=pass_on(environment))[len(podman.base) :], env=environment
    )
    assert done.returncode == 0, done.stderr[-4000:]
    took = time.monotonic() - begin
    (item,) = json.loads(done.stdout)["features"]
    (coverage,) = (value for key, value in item["properties"].items() if key.endswith("coverage"))
    assert coverage == 1, coverage
    made = server.get_folder("mosaics/image")
    assert made, "nothing was published"
    here = [word.replace("mosaics", "here") for word in arguments]
    command = [sys.executable, "-m", "processor.cli", *here]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)
    own = server.get_folder("here/image")
    differing = [name for name in sorted(made.keys() | own.keys()) if made.get(name) != own.get(name)]
    assert "mosaic.tif" in made
    assert "mosaic.tif" not in differing, "the image's mosaic differs from this folder's"
    tell(f"mosaic of {NGI.name} from and to S3 in {took:.1f} s, {len(made)} files")
    tell(f"other than what this folder's code makes: {', '.join(differing) or 'none'}")


def check_stop(podman: Podman, arguments: Sequence[str], environment: dict[str, str]) -> None:
    """SIGTERM ends a run that is at work within ten seconds, with the exit code that says so."""
    command = podman.command(*arguments, "--overwrite", name="mosaic-stop", options=pass_on(environment))
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first, "it ended before it said anything"
        threading.Thread(target=process.stderr.read, daemon=True).start()
        begin = time.monotonic()
        stopped = podman.call("stop", "--time", "10", "mosaic-stop")
        process.wait(30)
        took = time.monotonic() - begin
    assert stopped.returncode == 0, stopped.stderr
    assert process.returncode == 143, process.returncode
    assert took < 10, took
    tell(f"SIGTERM in the middle of a run: exit code 143 after {took:.1f} s")


def pass_on(environment: dict[str, str]) -> list[str]:
    """Options that hand variables on by name, so that no key stands on a command line."""
    return [word for name in environment if name.startswith("AWS_") and name != "AWS_CA_BUNDLE" for word in ("--env", name)]


@contextmanager
def started(folder: Path) -> Iterator[tuple[ObjectServer, dict[str, str]]]:
    """An S3 server with the scenes, and the environment that reaches it."""
    with run_s3(folder / "s3") as server:
        server.put_folder(NGI, "ngi")
        yield (
            server,
            {
                **{name: text for name, text in os.environ.items() if not name.startswith(("AWS_", "MOSAIC_"))},
                "AWS_ACCESS_KEY_ID": KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_ENDPOINT_URL": server.endpoint,
                "AWS_REGION": "us-east-1",
            },
        )


def main(image: str, *options: str) -> None:
    podman = Podman(image, options)
    check_labels(podman)
    check_limits(podman)
    if NGI.is_dir():
        with tempfile.TemporaryDirectory() as folder, started(Path(folder)) as (server, environment):
            place = ("--output", f"{server.base}/mosaics", "--item-id", "image", "--created", CREATED)
            arguments = ("run", f"{server.base}/ngi/items.json", *place)
            check_mosaic(podman, server, arguments, environment)
            check_stop(podman, arguments, environment)
    else:
        tell(f"skipped the mosaic and SIGTERM: {NGI} is not there")
    tell(f"size on a node: {podman.read_size() / 1e6:.0f} MB")
    if os.environ.get("IMAGE_PACKED") == "1":
        tell(f"size to pull: {podman.measure_packed() / 1e6:.0f} MB")


if __name__ == "__main__":
    main(*sys.argv[1:])
