"""INPUT from the local disk."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from processor.config import Inputs
from processor.errors import InputError
from processor.model.names import safe_name
from processor.scenes.inputs import ResolvedInputs, read_inputs

NGI = Path(__file__).parents[2].parent / "shared" / "data" / "ngi" / "items.json"
ITEM = {
    "type": "Feature",
    "stac_version": "1.1.0",
    "id": "scene",
    "properties": {"datetime": "2020-01-01T00:00:00Z"},
    "links": [{"rel": "self", "href": "./scene.json"}],
    "assets": {"image": {"href": "../a.tif", "type": "image/tiff"}},
}


def read(*arguments: str | Path) -> ResolvedInputs:
    return read_inputs([str(argument) for argument in arguments], stdin=None, inputs=Inputs())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make a folder with two GeoTIFFs and what usually lies around."""
    for name in ("b.tif", "a.TIF", "a.TIF.aux.xml", ".hidden.tif", "sub/c.tiff", "sub/items.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"II*\0")
    (tmp_path / "sub" / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [ITEM]}))
    return tmp_path


def test_item_collection_names_files_beside_it(folder: Path) -> None:
    (ref,) = read(folder / "sub" / "items.json").refs
    assert ref.rasters[0].href == str(folder / "a.tif")
    assert ref.provenance.self_href == str(folder / "sub" / "scene.json")


def test_file_url_with_percent_signs_is_a_local_path(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    (tmp_path / "a b" / "items.json").write_text(json.dumps(ITEM))
    (ref,) = read((tmp_path / "a b" / "items.json").as_uri()).refs
    assert ref.rasters[0].href == str(tmp_path / "a.tif")


def test_relative_paths_start_from_the_working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "sub")
    expected = [str(folder / "sub" / "c.tiff"), str(folder / "b.tif")]
    assert [ref.rasters[0].href for ref in read("c.tiff", "../b.tif").refs] == expected
    assert [ref.rasters[0].href for ref in read("../*.tif").refs] == [str(folder / "b.tif")]
    assert [ref.rasters[0].href for ref in read(".").refs] == [str(folder / "sub" / "c.tiff")]


def test_folder_gives_its_geotiffs_by_name(folder: Path) -> None:
    resolved = read(folder)
    assert [(ref.name, ref.priority, ref.rasters[0].href) for ref in resolved.refs] == [
        ("a", 0, str(folder / "a.TIF")),
        ("b", 1, str(folder / "b.tif")),
    ]
    assert resolved.document is None
    assert resolved.description == f"folder {folder}"


def test_pattern_gives_its_geotiffs_by_name(folder: Path) -> None:
    assert [ref.name for ref in read(folder / "**" / "*").refs] == ["a", "b", "c"]
    assert [ref.name for ref in read(folder / "[b-z]*.tif").refs] == ["b"]


def test_existing_file_is_not_taken_for_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "items[1].json").write_text(json.dumps(ITEM))
    assert [ref.name for ref in read(tmp_path / "items[1].json").refs] == ["scene"]


@pytest.mark.parametrize(
    ("names", "argument", "reason"),
    [
        ([], ".", "holds no .tif or .tiff file: give an ItemCollection"),
        (["items.json"], ".", "but items.json: give that file itself"),
        (["sub/a.tif"], ".", "/**/*.tif'"),
        (["a.txt"], "*.tif", "matches no file"),
        (["a.txt"], "a*", "matches 1 files, none of them a .tif"),
        ([], "a**b", "cannot be used|matches no file"),
        ([], "a.tif", "no such file or folder"),
        (["scene"], "scene", "is a TIFF: give it a name that ends in .tif"),
    ],
)
def test_input_without_geotiffs_is_refused_with_a_hint(tmp_path: Path, names: list[str], argument: str, reason: str) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"II*\0")
    with pytest.raises(InputError, match=reason if "|" in reason else re.escape(reason)):
        read(tmp_path / argument)


def test_mixed_arguments_are_refused(folder: Path) -> None:
    raster = folder / "b.tif"
    for other, reason in [
        (folder / "sub", "give one folder or pattern alone"),
        (folder / "*.tif", "give one folder or pattern alone"),
        (folder / "a.TIF.aux.xml", "does not end in .tif"),
        (folder / "c.tif", "no such file"),
    ]:
        with pytest.raises(InputError, match=reason):
            read(raster, other)


def test_files_of_one_name_are_called_after_their_folders_too(folder: Path) -> None:
    (folder / "sub" / "b.tif").write_bytes(b"II*\0")
    resolved = read(folder / "b.tif", folder / "sub" / "b.tif")
    assert [ref.name for ref in resolved.refs] == [f"{safe_name(folder.name)}_b", "sub_b"]
    with pytest.raises(InputError, match=re.escape(f"files {folder / 'b.tif'} and {folder / 'b.tif'}")):
        read(folder / "b.tif", folder / "b.tif")


@pytest.mark.skipif(not NGI.is_file(), reason="the shared scenes are not here")
def test_shared_scenes_are_found() -> None:
    resolved = read(NGI)
    assert [ref.name for ref in resolved.refs] == ["ngi_1", "ngi_2", "ngi_3", "ngi_4"]
    assert all(Path(ref.rasters[0].href).is_file() for ref in resolved.refs)
    assert [band.common_name for band in resolved.refs[0].rasters[0].bands] == ["red", "green", "blue"]
