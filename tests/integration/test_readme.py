"""Every command of the README, run in its order, as a newcomer would."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commands import call_command, make_items
from servers import ObjectServer

from processor.storage.reading import find_filesystem

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMAND = ".venv/bin/mosaic-processor"


def list_commands() -> list[str]:
    """The lines of the README's shell blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    return [line.partition("  #")[0].strip() for block in blocks for line in block.splitlines() if line.strip()]


def test_the_readme_needs_two_commands_to_start() -> None:
    targets = [line for line in list_commands() if line.startswith("make ")]
    assert targets == ["make demo", "make test"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^demo: .*\n\t@\$\(BIN\)/mosaic-processor demo$", makefile, flags=re.MULTILINE)
    assert re.search(r"^test: .*\n\t@\$\(BIN\)/pytest", makefile, flags=re.MULTILINE)


@pytest.mark.slow
def test_every_command_of_the_readme_does_what_it_says(tmp_path: Path) -> None:
    def run(line: str) -> None:
        words = line.replace(COMMAND, f"{shlex.quote(sys.executable)} -m processor.cli")
        finished = subprocess.run(["bash", "-c", words], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
        assert finished.returncode == 0, (line, finished.stderr)

    run(f"{COMMAND} demo")  # what `make demo` runs
    commands = [line for line in list_commands() if line.startswith(COMMAND) and "s3://" not in line]
    assert len(commands) >= 4
    for line in commands:
        run(line)
    named = re.findall(r"^\| `([^`]+)`", README, flags=re.MULTILINE)
    assert "harvest.json" in named
    for name in named:
        assert (tmp_path / "mosaics" / "harvest" / name).exists(), name


@pytest.mark.server
def test_the_example_on_s3_does_what_it_says(s3_server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export, line = (line for line in list_commands() if line.startswith("export") or "s3://" in line)
    items = make_items(tmp_path / "scenes")
    s3 = s3_server.access.of("s3://")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", str(s3.key))
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", str(s3.secret))
    filesystem = find_filesystem("s3://", s3_server.access)
    for bucket in ("example-scenes", "example-mosaics"):
        filesystem.mkdir(bucket)
    for path in items.parent.iterdir():
        filesystem.put_file(str(path), f"example-scenes/{path.name}")
    monkeypatch.setenv(*export.removeprefix("export ").split("=", 1))
    finished = call_command(*shlex.split(line)[1:], cwd=tmp_path, scratch=tmp_path / "scratch")
    assert finished.code == 0, finished.stderr
    for name in ("summer/mosaic.tif", "summer/summer.json", "collection.json"):
        assert filesystem.exists(f"example-mosaics/{name}"), name


def test_the_example_on_kubernetes_is_that_of_the_manifests() -> None:
    commands = [line for line in list_commands() if line.startswith("kubectl")]
    page = (ROOT / "k8s" / "README.md").read_text(encoding="utf-8")  # whose own test renders what is applied
    assert commands
    assert [line for line in commands if line not in page] == []


def test_every_link_of_the_readme_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []
