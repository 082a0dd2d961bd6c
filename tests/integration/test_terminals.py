"""What names in documents and files can do to who reads the log: nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from commands import call_command, make_items
from outcomes import leaving_out_drawings

TITLE, C1, BIDI, LINE = "\x1b]0;owned\x07", "\x9b2Jcleared", "\u202egnp.exe\u2066", "\nerror: forged\u2028line\x85next\rback"
HOSTILE = TITLE + C1 + BIDI + LINE
OBEYED = ("\x1b]", "\x07", "\x9b", "\u202e", "\u2066", "\u2028", "\x85", "\rback", "\nerror: forged")


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("terminals"), edge=60)


def rename_id(features: list[dict[str, Any]]) -> None:
    features[0]["id"] = HOSTILE


def rename_title(features: list[dict[str, Any]]) -> None:
    features[0]["properties"]["title"] = features[0]["assets"]["image"]["title"] = HOSTILE


def rename_href(features: list[dict[str, Any]]) -> None:
    features[0]["assets"]["image"]["href"] = f"./{HOSTILE}.tif"


def rename_assets(features: list[dict[str, Any]]) -> None:
    asset = features[0]["assets"]["image"]
    features[0]["assets"] = {HOSTILE: asset, f"{HOSTILE} 2": asset}


def rename_bands(features: list[dict[str, Any]]) -> None:
    for feature in features:
        feature["assets"]["image"]["bands"][0]["name"] = HOSTILE


def rename_type(features: list[dict[str, Any]]) -> None:
    features[0]["type"] = HOSTILE


def rename_crs(features: list[dict[str, Any]]) -> None:
    features[0]["properties"]["proj:code"] = HOSTILE


@pytest.mark.parametrize("on_terminal", [True, False])
@pytest.mark.parametrize(
    ("rename", "words"),
    [
        (rename_id, ()),
        (rename_id, ("--dry-run",)),
        (rename_title, ()),
        (rename_href, ()),
        (rename_assets, ()),
        (rename_bands, ("--inputs.bands", "nowhere")),
        (rename_type, ()),
        (rename_crs, ()),
        (rename_id, (f"--{HOSTILE}",)),
        (rename_id, ("--item-id", HOSTILE)),
        (rename_id, ("--shared.cache", HOSTILE)),
        (rename_id, ("--config", f"{HOSTILE.replace('/', '')}.yaml")),
        (rename_id, ("--mask_rasters.vector_mask", f"[include, '{C1}{BIDI}.gpkg']")),
    ],
)
def test_no_name_reaches_a_terminal_or_the_log_as_more_than_text(
    rename: Callable[[list[dict[str, Any]]], None], words: tuple[str, ...], on_terminal: bool, items: Path, tmp_path: Path
) -> None:
    document = json.loads(items.read_text())
    rename(document["features"])
    for path in items.parent.glob("*.tif"):
        shutil.copy(path, tmp_path)
    (tmp_path / "led.json").write_text(json.dumps(document))
    with leaving_out_drawings():
        done = call_command(
            "run", "led.json", "--output", "out", *words, cwd=tmp_path, scratch=tmp_path / "scratch", on_terminal=on_terminal
        )
    assert done.code in {0, 2, 13}, done.stderr
    if not on_terminal:
        assert done.events
    told = done.stderr + (done.stdout if on_terminal else "")
    assert not [mark for mark in OBEYED if mark in told], told
