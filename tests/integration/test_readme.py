"""Every command of the README, run in its order, as a newcomer would."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

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
    commands = [line for line in list_commands() if line.startswith(COMMAND)]
    assert len(commands) >= 4
    for line in commands:
        run(line)
    named = re.findall(r"^\| `([^`]+)`", README, flags=re.MULTILINE)
    assert "harvest.json" in named
    for name in named:
        assert (tmp_path / "mosaics" / "harvest" / name).exists(), name


def test_every_link_of_the_readme_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", README)
    assert [target for target in targets if "://" not in target and not (ROOT / target).exists()] == []
