"""The command in a process of its own: what it reads, what it prints where, and how it ends."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import COMMAND, CREATED, keeping_process_state, make_environment, make_items, read_files, run_command
from scenes import LEFT, gradient_truth, write_scene

from processor.cli.commands import main


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("scenes"))


class Shell:
    """Calls the command in this process, in a folder of the test."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch
        self.code = 0
        self.events: list[dict[str, Any]] = []
        monkeypatch.chdir(folder)
        monkeypatch.setenv("TMPDIR", str(folder))

    def call(self, *arguments: str, stdin: bytes | None = None) -> str:
        """Call it and give what it printed."""
        if stdin is not None:
            self._monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self.code = main(arguments)
        printed = self._capsys.readouterr()
        self.events = [json.loads(line) for line in printed.err.splitlines()]
        return printed.out

    def plan(self, *inputs: str, options: tuple[str, ...] = (), stdin: bytes | None = None) -> Any:
        """Plan a run and give the plan."""
        text = self.call("run", *inputs, "--output", "out", "--dry-run", *options, stdin=stdin)
        assert self.code == 0, self.events
        return yaml.safe_load(text)

    def refuse(self, *arguments: str) -> str:
        """Call it, be refused, and give the reason."""
        assert self.call("run", "--output", "out", "--dry-run", *arguments) == ""
        assert self.events[-1]["level"] == "error"
        assert self.events[-1]["exit_code"] == self.code
        return str(self.events[-1]["message"])


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Shell]:
    for name in [name for name in os.environ if name.startswith("MOSAIC_") or name == "SOURCE_DATE_EPOCH"]:
        monkeypatch.delenv(name)
    with keeping_process_state():
        yield Shell(tmp_path, capsys, monkeypatch)


def list_names(plan: Any) -> list[str]:
    return [scene["name"] for scene in plan["scenes"]["first"]]


def test_a_plan_says_what_will_be_made_and_what_it_costs_and_writes_nothing(shell: Shell, items: Path, tmp_path: Path) -> None:
    text = shell.call("run", str(items), "--output", "out", "--item-id", "m", "--dry-run")
    plan = yaml.safe_load(text)
    assert plan["item"] == f"{tmp_path}/out/m/m.json"
    assert plan["stages"][0] == "global_regression"
    assert plan["scenes"]["count"] == 3
    assert plan["overlaps"] == {"count": 3, "first": [["a", "b"], ["a", "c"], ["b", "c"]]}
    assert (plan["grid"]["width"], plan["grid"]["height"], plan["grid"]["bands"]) == (400, 400, 2)
    assert plan["tasks"] == {"measure": 1, "render": 1}
    pixels = 3 * 240 * 240
    assert plan["estimate"]["decoded_bytes_read_at_most"] == 2 * pixels * 2 * 2
    stored = sum(path.stat().st_size for path in items.parent.glob("*.tif"))
    assert plan["estimate"]["stored_bytes_read_at_most"] == 2 * stored
    assert plan["estimate"]["scratch_bytes_at_most"] == pytest.approx(2 * 400 * 400 * 5 * 4 / 3, abs=100)
    assert f"stored_bytes_read_at_most: {2 * stored}  # {2 * stored / 1e6:.1f} MB\n" in text
    assert [event["event"] for event in shell.events] == ["pass-finished", "planned"]
    assert list(tmp_path.iterdir()) == []


def test_input_is_a_collection_a_folder_a_pattern_or_rasters(shell: Shell, items: Path) -> None:
    folder = items.parent
    assert list_names(shell.plan(str(items))) == ["a", "b", "c"]
    assert list_names(shell.plan(str(folder))) == ["a", "b", "c"]
    assert list_names(shell.plan(f"{folder}/[bc].tif")) == ["b", "c"]
    assert list_names(shell.plan(f"{folder}/c.tif", f"{folder}/a.tif")) == ["a", "c"]
    assert shell.plan(f"{folder}/c.tif")["scenes"]["count"] == 1


def test_a_collection_on_standard_input_starts_from_the_working_folder(
    shell: Shell, items: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(items.parent)
    assert list_names(shell.plan("-", "--inputs.allow_local_files", stdin=items.read_bytes())) == ["a", "b", "c"]


def test_flags_win_over_the_environment_that_over_the_file_that_over_the_defaults(
    shell: Shell, items: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count_blocks(*options: str) -> int:
        grid = shell.plan(str(items), options=options)["grid"]
        return int(grid["block_rows"] * grid["block_cols"])

    assert count_blocks() > 200
    config = tmp_path / "config.yaml"
    config.write_text("local_block_adjustment:\n  number_of_blocks: [5, 4]\n")
    assert count_blocks("--config", "config.yaml") == 20
    monkeypatch.setenv("MOSAIC_LOCAL_BLOCK_ADJUSTMENT__NUMBER_OF_BLOCKS", "[3, 2]")
    assert count_blocks("--config", "config.yaml") == 6
    assert count_blocks("--config", "config.yaml", "--local-block-adjustment.number-of-blocks", "[2, 1]") == 2


def test_the_published_configuration_can_be_given_again(shell: Shell, items: Path) -> None:
    options = (
        "--output.compression",
        "zstd",
        "--align_rasters.tap=false",
        "--local_block_adjustment.number_of_blocks",
        "[4, 3]",
    )
    first = shell.plan(str(items), options=options)
    shell.call("run", str(items), "--output", "out", "--item-id", "m", *options)
    assert shell.code == 0
    again = shell.plan(str(items), options=("--config", "out/m/config.yaml"))
    assert again["digest"] == first["digest"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["nowhere.json"], 13, "no such file or folder"),
        (["."], 13, "holds no .tif"),
        (["*.tif"], 13, "matches no file"),
        (["broken.json"], 13, "not JSON"),
        (["broken.tif"], 13, "scene broken"),
        (["scenes.json", "--config", "broken.yaml"], 2, "broken.yaml is not YAML"),
        (["scenes.json", "--config", "list.yaml"], 2, "must be a mapping"),
        (["scenes.json", "--config", "typo.yaml"], 2, "shared.chache"),
        (["scenes.json", "--shared.temp_dir", "broken.json/x"], 0, ""),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(
    arguments: list[str], code: int, said: str, shell: Shell, items: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "broken.yaml").write_text("shared: [")
    (tmp_path / "list.yaml").write_text("- shared")
    (tmp_path / "typo.yaml").write_text("shared: {chache: 1}")
    collection = json.loads(items.read_text())
    for feature in collection["features"]:
        feature["assets"]["image"]["href"] = str(items.parent / feature["assets"]["image"]["href"])
    (tmp_path / "scenes.json").write_text(json.dumps(collection))
    if arguments == ["broken.tif"]:
        (tmp_path / "broken.tif").write_bytes(b"II*\0nothing")
    if code == 0:  # a plan needs no scratch folder
        assert shell.plan(*arguments)
        return
    assert said in shell.refuse(*arguments)
    assert shell.code == code


def test_a_scratch_folder_that_cannot_be_made_is_refused(shell: Shell, items: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    shell.call("run", str(items), "--output", "out", "--shared.temp_dir", "file/scratch")
    assert shell.code == 2
    assert "--shared.temp_dir" in shell.events[-1]["message"]
    assert not (tmp_path / "out").exists()


def test_a_damaged_scene_ends_the_run_with_code_13_and_leaves_nothing(shell: Shell, tmp_path: Path) -> None:
    """At its end, which nobody looks at before the run is planned."""
    for name, left in (("a", 0), ("b", 600)):
        path = write_scene(tmp_path / f"{name}.tif", gradient_truth(1200, 1200), dtype="uint16", left=LEFT + left)
        data = path.read_bytes()
        path.write_bytes(data[: len(data) * 31 // 32] if name == "b" else data)
    assert shell.call("run", "*.tif", "--output", "out", "--shared.temp_dir", "scratch") == ""
    assert shell.code == 13
    assert "scene b" in shell.events[-1]["message"]
    assert not (tmp_path / "out").exists()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_run_prints_one_collection_on_stdout_and_only_json_lines_on_stderr(items: Path, tmp_path: Path) -> None:
    finished = run_command(
        "run", str(items), "--output", "out", "--item-id", "m", "--created", CREATED, cwd=tmp_path, scratch=tmp_path / "scratch"
    )
    assert finished.code == 0, finished.stderr
    assert finished.stdout.count("\n") == 1
    assert finished.item["id"] == "m"
    published = json.loads((tmp_path / "out" / "m" / "m.json").read_text())
    assert finished.item["properties"] == published["properties"]
    assert finished.item["properties"]["created"] == CREATED
    names = [(event["event"], event.get("stage")) for event in finished.events if event["level"] == "info"]
    assert names[:8] == [
        ("pass-finished", "open"),
        ("planned", None),
        ("pass-finished", "measure"),
        ("solved", None),
        ("pass-finished", "render"),
        ("assembling", None),  # the mosaic
        ("assembling", None),  # the scene index
        ("publishing", None),
    ]
    assert names[-1] == ("published", None)
    assert {event.get("run") for event in finished.events[2:]} == {"m"}
    assert list((tmp_path / "scratch").iterdir()) == []


def test_one_process_feeds_another(items: Path, tmp_path: Path) -> None:
    """What a run prints is an input: its hrefs are absolute, and the Item's own asset can be read."""
    place = {"cwd": tmp_path, "scratch": tmp_path / "scratch"}
    first = run_command("run", str(items), "--output", "out", "--item-id", "first", **place)
    assert first.code == 0, first.stderr
    options = ("--output", "out", "--inputs.asset", "mosaic", "--inputs.allow_local_files", "--dry-run")
    second = run_command("run", "-", *options, stdin=first.stdout.encode(), **place)
    assert second.code == 0, second.stderr
    assert list_names(yaml.safe_load(second.stdout)) == ["first"]


def test_a_terminal_shows_a_bar_for_each_pass_and_where_the_files_are(items: Path, tmp_path: Path) -> None:
    controller, terminal = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "run", str(items), "--output", "out", "--item-id", "m"],
        cwd=tmp_path,
        env=make_environment(tmp_path / "scratch", TERM="xterm", COLUMNS="110"),
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    pieces = []
    with os.fdopen(controller, "rb", buffering=0) as screen:
        try:
            while piece := screen.read(4096):
                pieces.append(piece)
        except OSError:  # how Linux says that the other side has gone
            pass
    assert process.wait(timeout=10) == 0
    shown = b"".join(pieces).decode()
    for text in ("open", "measure", "render", "100 %", "Mpx/s", "left", "planned 3 scenes with 3 overlaps on 400 x 400 pixels"):
        assert text in shown
    for name in ("m.json", "mosaic.tif", "overview.png", "report.html"):
        assert f"{tmp_path}/out/m/{name}" in shown
    assert '"FeatureCollection"' not in shown
    assert '{"time"' not in shown


def test_the_installed_command_is_this_one(tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("mosaic-processor")
    finished = run_command("--version", cwd=tmp_path, scratch=tmp_path, program=[str(command)])
    assert finished.code == 0
    assert finished.stdout.startswith("mosaic-processor ")
    assert read_files(tmp_path) == {}
