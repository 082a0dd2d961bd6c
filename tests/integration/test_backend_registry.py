"""A storage backend from outside the package: registered in a few lines, it reads scenes and takes the mosaic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import pytest
from commands import CREATED, call_command, make_items, read_files
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from processor.config import iter_parameters
from processor.config.document import render_parameters_page
from processor.errors import ConfigError
from processor.model.options import Section, Word, option
from processor.storage import backends
from processor.storage.backends import BACKENDS, Backend, register
from processor.storage.store import Store
from stac.hrefs import resolve_href


class DummyOptions(Section):
    dummy_root: Word | None = option(None, "Folder that holds the objects (DUMMY_ROOT).", example="/srv/dummy", decisive=False)


class DummyFilesystem(DirFileSystem):
    protocol = "dummy"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return path.removeprefix("dummy://")

    def unstrip_protocol(self, name: str) -> str:
        return f"dummy://{name.removeprefix('dummy://')}"

    def _join(self, path: Any) -> Any:
        return super()._join(
            [self._strip_protocol(one) for one in path] if isinstance(path, list) else self._strip_protocol(path)
        )

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_: Any) -> None:
        with self.fs.open(self._join(path), "xb" if mode == "create" else "wb") as stream:
            stream.write(value)

    def put_file(self, lpath: str, rpath: str, mode: str = "overwrite", **_: Any) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes(), mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dummy(Backend):
    root: str | None = None

    protocols: ClassVar[tuple[str, ...]] = ("dummy",)
    title: ClassVar[str] = "a dummy"
    options: ClassVar[type[Section] | None] = DummyOptions
    prefix: ClassVar[str] = "dummy_"
    is_writable: ClassVar[bool] = True
    creates_streams: ClassVar[bool] = False

    @classmethod
    def resolve(cls, io: Section, environment: Mapping[str, str]) -> Self:
        return cls(root=cast("DummyOptions", io).dummy_root or environment.get("DUMMY_ROOT"))

    def make_filesystem(self, options: Mapping[str, Any]) -> Any:
        return DummyFilesystem(self.root, fs=LocalFileSystem(auto_mkdir=True), **options)


@pytest.fixture
def _registered() -> Iterator[None]:
    register(Dummy)
    yield
    BACKENDS.remove(Dummy)


@pytest.mark.usefixtures("_registered")
def test_a_mosaic_is_made_from_and_to_a_backend_of_another_package(tmp_path: Path) -> None:
    items = make_items(tmp_path / "in", edge=200)
    words = ("--item-id", "m", "--created", CREATED)
    plain = call_command("run", str(items), "--output", str(tmp_path / "plain"), *words, cwd=tmp_path, scratch=tmp_path / "s")
    assert plain.code == 0, plain.stderr
    place = ("dummy://in/items.json", "--output", "dummy://out", "--io.dummy_root", str(tmp_path))
    done = call_command("run", *place, *words, cwd=tmp_path, scratch=tmp_path / "s")
    assert done.code == 0, done.stderr
    files, expected = read_files(tmp_path / "out" / "m"), read_files(tmp_path / "plain" / "m")
    assert files["mosaic.tif"] == expected["mosaic.tif"]
    assert set(files) - {"traffic.json"} == set(expected)


@pytest.mark.usefixtures("_registered")
def test_configuration_page_and_documents_know_it() -> None:
    assert [one.path for one in iter_parameters() if one.section == "io"][-1] == "io.dummy_root"
    assert "`dummy_root`" in render_parameters_page()
    assert resolve_href("dummy://b/a.tif", base="/d/", is_remote=True, allow_local_files=False) == "dummy://b/a.tif"


def test_it_is_unknown_before() -> None:
    assert not [one for one in iter_parameters() if one.name == "dummy_root"]
    with pytest.raises(ConfigError, match="scheme 'dummy' is not supported"):
        Store().exists("dummy://a")


def test_protocols_and_prefixes_have_one_owner() -> None:
    class Thief(Dummy):
        protocols = ("s3",)

    class Namesake(Dummy):
        prefix = "s3_"

    for wrong, words in ((Thief, "a backend for s3:// already"), (Namesake, "must begin with its prefix 's3_'")):
        with pytest.raises(ValueError, match=words):
            register(wrong)
    assert all(backends.find_backend(name) is not None for name in ("S3", "gcs", "abfss", "file"))
