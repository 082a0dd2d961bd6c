"""Every command of docs/stac.md: what is on this machine runs as it stands, what is elsewhere is understood."""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from commands import Finished, call_command, make_items
from outcomes import leaving_out_drawings

from processor.cli import commands as cli
from processor.cli.flags import read_config
from processor.cli.search_flags import read_search

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "stac.md"
if not PAGE.is_file():
    pytest.skip("the page is in the repository's docs", allow_module_level=True)
TEXT = PAGE.read_text(encoding="utf-8")


def list_blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", TEXT, flags=re.DOTALL)


COMMANDS = [line for block in list_blocks("sh") for line in block.splitlines()]
ELSEWHERE = re.compile(r"--api|--post|s3://")


def parse(line: str) -> tuple[list[str], str | None, str | None]:
    """Arguments, and the files of standard input and output."""
    words = shlex.split(line)
    assert words.pop(0) == "mosaic-processor"
    files = {mark: words.pop(words.index(mark) + 1) if mark in words else None for mark in "<>"}
    return [word for word in words if word not in "<>"], files["<"], files[">"]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {})
    arguments, _, _ = parse(line)
    options = cli.build_parser().parse_args(arguments)
    read_config(options, environment={})
    assert (read_search(options) is not None) == ("--api" in arguments)
    assert bool(options.input) == ("--api" not in arguments)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page speaks of: scenes, a payload, staged folders."""
    folder = tmp_path_factory.mktemp("page")
    items = make_items(folder / "scenes", edge=60)
    document = json.loads(items.read_text())
    (payload,) = list_blocks("json")
    features = [json.loads(json.dumps(feature).replace("./", f"{folder}/scenes/")) for feature in document["features"]]
    (folder / "payload.json").write_text(json.dumps({**json.loads(payload), "features": features}))
    for number, feature in enumerate(document["features"][:2], start=1):
        own = folder / f"staged-{number}"
        own.mkdir()
        shutil.copy(folder / "scenes" / f"{feature['id']}.tif", own)
        (own / "item.json").write_text(json.dumps(feature))
        links = [{"rel": "item", "href": "item.json"}]
        (own / "catalog.json").write_text(json.dumps({"type": "Catalog", "id": "c", "links": links}))
    return folder


@pytest.fixture(scope="module")
def finished(folder: Path) -> dict[str, Finished]:
    """Every command that needs nothing from elsewhere, run in the page's order."""
    done = {}
    with pytest.MonkeyPatch.context() as patch, leaving_out_drawings():
        for line in COMMANDS:
            if ELSEWHERE.search(line):
                continue
            arguments, stdin, stdout = parse(line)
            if stdin is not None:
                patch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO((folder / stdin).read_bytes())))
            done[line] = call_command(*arguments, cwd=folder, scratch=folder / "scratch")
            if stdout is not None:
                (folder / stdout).write_text(done[line].stdout)
    return done


def test_every_command_on_this_machine_does_its_work(finished: dict[str, Finished], folder: Path) -> None:
    assert len(finished) >= 8
    assert {line: (each.code, each.stderr) for line, each in finished.items() if each.code != 0} == {}
    items = {path.parent.name for path in (folder / "mosaics").glob("*/*.json") if path.stem == path.parent.name}
    assert items == {"june", "picture", "stacked", "turned", "absolute", "shown", "payload"}
    collection = json.loads((folder / "shelf" / "collection.json").read_text())
    assert [link["href"] for link in collection["links"] if link["rel"] == "item"] == ["./june/june.json", "./july/july.json"]
    assert (folder / "mosaics" / "absolute" / "inputs.parquet").is_file()
    updated = json.loads((folder / "updated.json").read_text())
    assert updated["process"] == json.loads(list_blocks("json")[0])["process"]
    assert (folder / "catalog.json").is_file()


def test_the_item_has_every_field_of_the_page_or_a_reason_not_to(finished: dict[str, Finished]) -> None:
    """Fields that the scenes do not tell, or that are of other grids and places, are absent."""
    assert finished
    rows = re.findall(r"^\| ((?:`|asset|link).*?) \| ", TEXT.partition("## What the Item holds")[2], flags=re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z:_0-9]+)`", row)}
    words = ("--output.hrefs absolute", "--output.tiles_url")
    made: list[dict[str, Any]] = [each.item for line, each in finished.items() if any(word in line for word in words)]
    found = {key for item in made for key in (*item, *item["properties"], *(link["rel"] for link in item["links"]))}
    found |= {key for item in made for asset in item["assets"].values() for key in asset}
    found |= {key for item in made for band in item["assets"]["mosaic"]["bands"] for key in band}
    found |= {key for item in made for link in item["links"] for key in link}
    untold = {"platform", "instruments", "constellation", "grid:code", "processing:level", "via", "mosaic:scene"}
    of_blocks = ("seam_difference", "seam_difference_high", "disagreement", "illumination_trend")
    untold |= {f"mosaic:{name}" for name in (*of_blocks, "fidelity", "misregistration")}
    untold |= {"eo:cloud_cover", "view:off_nadir", "view:sun_elevation", "view:sun_azimuth", "proj:wkt2", "proj:projjson"}
    assert named - found <= untold
    assert {name for name in found if name.startswith(("mosaic:", "processing:", "file:"))} <= named


def test_the_python_example_names_what_there_is() -> None:
    (example,) = list_blocks("python")
    scope: dict[str, Any] = {}
    exec(example.rpartition("pipeline(")[0], scope)  # noqa: S102 - the page's own words, without the run
    assert scope["search"].collections == ("plots",)


def test_every_link_of_the_page_leads_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert [target for target in targets if "://" not in target and not (PAGE.parent / target).exists()] == []
