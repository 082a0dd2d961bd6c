"""Copies that a user asks for replace nothing that a run reads or publishes, and nothing that is no file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import geopandas
import pytest
from commands import Finished, call_command, make_items, read_files
from effort import crossed
from outcomes import leaving_out_drawings
from shapely import box

USAGE = 2
OPTIONS = {
    "save_adjustments": "--global_regression.save_adjustments={}",
    "save_block_maps": "--local_block_adjustment.save_block_maps=[{}, '{}.$.tif']",
    "output_mask": "--voronoi_center_seamline.output_mask={}",
    "debug_vectors_path": "--voronoi_center_seamline.debug_vectors_path={}",
    "output_images": "--align_rasters.output_images=[{}, x1.tif, x2.tif]",
}
SUFFIXES = {"output_mask": ".gpkg", "debug_vectors_path": ".gpkg", "save_block_maps": ".tif", "output_images": ".tif"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_items(tmp_path_factory.mktemp("copies"), edge=60).parent


class Folder:
    """A folder with all that a run reads, under names with every suffix."""

    def __init__(self, made: Path, path: Path) -> None:
        self.path = path
        shutil.copytree(made, path / "in")
        geopandas.GeoDataFrame(geometry=[box(500_000, 5_299_800, 500_200, 5_300_000)], crs=32633).to_file(path / "aoi.gpkg")
        (path / "c.yaml").write_text("local_block_adjustment: {alpha: 0.9}\n")

    def run(self, *words: str) -> Finished:
        """Run with everything."""
        given = ("--output", "out", "--item-id", "m", "--config", "c.yaml", "--voronoi_center_seamline.aoi_path", "aoi.gpkg")
        with leaving_out_drawings():
            return call_command("run", "in/items.json", *given, *words, cwd=self.path, scratch=self.path / "scratch")

    def refuse(self, *words: str) -> str:
        """Run, which has to be refused before anything is written; what it says."""
        before = read_files(self.path)
        done = self.run(*words)
        after = {path: data for path, data in read_files(self.path).items() if not path.startswith("scratch/")}
        assert done.code == USAGE, done.stderr
        assert after == before
        assert "pass-finished" not in [event["event"] for event in done.events if event.get("stage") != "open"]
        return str(done.events[-1]["message"])


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Folder:
    return Folder(made, tmp_path / "here")


def spell_plain(path: Path) -> str:
    return str(path)


def spell_relative(path: Path) -> str:
    return os.path.relpath(path, path.parents[1])


def spell_dots(path: Path) -> str:
    return f"{path.parent}/./x/../{path.name}"


def spell_upper(path: Path) -> str:
    return str(path.with_name(path.name.upper().replace(path.suffix.upper(), path.suffix)))


def spell_file_url(path: Path) -> str:
    return f"file://{path}"


def spell_symlink(path: Path) -> str:
    link = path.parents[1] / f"link{path.suffix}"
    link.symlink_to(path)
    return str(link)


def spell_linked_folder(path: Path) -> str:
    link = path.parents[1] / "linked"
    link.symlink_to(path.parent)
    return str(link / path.name)


def spell_hard_link(path: Path) -> str:
    link = path.parents[1] / f"hard{path.suffix}"
    link.hardlink_to(path)
    return str(link)


SPELLINGS = (
    spell_plain, spell_relative, spell_dots, spell_upper, spell_file_url, spell_symlink, spell_linked_folder, spell_hard_link
)  # fmt: skip
READ = {".json": "in/items.json", ".gpkg": "aoi.gpkg", ".tif": "in/a.tif"}


@crossed("option spell", tuple(OPTIONS), SPELLINGS)
def test_no_copy_replaces_what_the_run_reads(option: str, spell: Callable[[Path], str], folder: Folder) -> None:
    target = folder.path / READ[SUFFIXES.get(option, ".json")]
    if target.parent == folder.path:  # spellings need a folder above
        shutil.move(target, folder.path / "in" / target.name)
        (folder.path / target.name).symlink_to(folder.path / "in" / target.name)
        target = folder.path / "in" / target.name
    assert "is the place of" in folder.refuse(OPTIONS[option].format(spell(target), "y"))


@pytest.mark.parametrize("name", ["in/items.json", "in/b.tif", "c.yaml", "aoi.gpkg"])
@pytest.mark.parametrize("item_id", [("--item-id", "m"), ()])
def test_no_copy_replaces_document_scene_configuration_or_vector_file(
    name: str, item_id: tuple[str, ...], folder: Folder
) -> None:
    message = folder.refuse(f"--global_regression.save_adjustments={name}", *item_id)
    assert message.startswith(f"global_regression.save_adjustments: {name} is the place of")


@pytest.mark.parametrize(
    "place",
    [
        "out/m/mosaic.tif", "out/m/m.json", "out/m/report.json", "out/m/report.html", "out/m/config.yaml", "out/m/new.json",
        "out/m/block_maps/a.tif", "out/M/MOSAIC.TIF", "out/x/../m/adjustments.json", "out/.work/x.json", "out/m",
    ],
)  # fmt: skip
def test_no_copy_goes_where_the_run_publishes(place: str, folder: Folder) -> None:
    assert (
        "the Item's folder" in (message := folder.refuse(f"--global_regression.save_adjustments={place}")) or "tasks" in message
    )


@pytest.mark.parametrize("name", ["collection.json", "catalog.json"])
def test_no_copy_replaces_what_the_item_is_listed_in(name: str, folder: Folder) -> None:
    words = ("--collection", "c") if name == "collection.json" else ("--output.catalog", "true")
    assert "is the place of the" in folder.refuse(f"--global_regression.save_adjustments=out/{name}", *words)


def test_two_copies_need_two_places(folder: Folder) -> None:
    message = folder.refuse(
        "--voronoi_center_seamline.output_mask=x.gpkg", "--voronoi_center_seamline.debug_vectors_path=X.gpkg"
    )
    assert "is the place of voronoi_center_seamline.output_mask too" in message


def make_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def link_nowhere(path: Path) -> Path:
    path.symlink_to("nowhere")
    return path


def link_to_itself(path: Path) -> Path:
    path.symlink_to(path)
    return path


def link_to_device(path: Path) -> Path:
    path.symlink_to("/dev/null")
    return path


KINDS = (make_pipe, make_folder, link_nowhere, link_to_itself, link_to_device)


@crossed("option make", tuple(OPTIONS), KINDS)
def test_no_copy_replaces_what_is_no_file(option: str, make: Callable[[Path], Path], folder: Folder) -> None:
    suffix = SUFFIXES.get(option, ".json")
    place = make(folder.path / f"odd{suffix}")
    message = folder.refuse(OPTIONS[option].format(place, "y"))
    assert str(place) in message
    assert place.is_symlink() or not place.is_file()


@pytest.mark.parametrize("place", ["x" * 240, "x" * 300, "a\0b", "in/", "in", f"{'y' * 300}/x.json"])
def test_names_that_cannot_be_are_refused(place: str, folder: Folder) -> None:
    done = folder.run(f"--global_regression.save_adjustments={json.dumps(place)}")
    assert done.code == USAGE, done.stderr
    assert not (folder.path / "out").exists()


def test_a_regular_file_is_replaced_and_a_new_one_made(folder: Folder) -> None:
    (folder.path / "old.json").write_text("{}")
    done = folder.run(
        "--global_regression.save_adjustments=old.json", "--voronoi_center_seamline.output_mask=sub/new.gpkg", "--item-id", "m"
    )
    assert done.code == 0, done.stderr
    published = folder.path / "out" / "m"
    assert (folder.path / "old.json").read_bytes() == (published / "adjustments.json").read_bytes()
    assert (folder.path / "sub" / "new.gpkg").read_bytes() == (published / "seamlines.gpkg").read_bytes()


@pytest.mark.parametrize("name", ["items.json", "a.tif"])
def test_a_run_does_not_publish_over_its_own_inputs(name: str, folder: Folder) -> None:
    shutil.copytree(folder.path / "in", folder.path / "out" / "m")
    inputs = ("out/m/items.json",) if name == "items.json" else ("out/m/a.tif", "out/m/b.tif")
    with leaving_out_drawings():
        done = call_command(
            "run", *inputs, "--output", "out", "--item-id", "m", "--overwrite", cwd=folder.path, scratch=folder.path / "scratch"
        )
    assert done.code == USAGE
    assert "is in the folder that this run publishes in" in done.events[-1]["message"]
