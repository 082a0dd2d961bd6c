"""Opening what storage does not give."""

from __future__ import annotations

import pytest

from processor.errors import InputError, UnreadableError
from processor.geotiff import open as module
from processor.geotiff.open import open_scene
from processor.model import Provenance, RasterRef, SceneRef
from processor.storage.backends import S3
from processor.storage.options import Access

ENDPOINT = "https://minio.example.org"


@pytest.fixture(autouse=True)
def _denied(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(self: object, ref: object, raster: RasterRef, name: str, *, is_mask: bool) -> None:
        del self, ref, is_mask
        msg = f"scene {name}: access to {raster.href} is denied"
        raise UnreadableError(msg) if raster.href.startswith("s3") else InputError(msg)

    monkeypatch.setattr(module._Opener, "_open", deny)


def make_ref(**more: object) -> SceneRef:
    raster = RasterRef(href="s3://bucket/a.tif", **more)  # type: ignore[arg-type]
    return SceneRef(name="a", priority=0, rasters=(raster,), provenance=Provenance())


def test_a_server_that_the_item_names_is_offered_where_none_is_set() -> None:
    with pytest.raises(UnreadableError, match=f"is denied; its Item says .* --io.s3_endpoint {ENDPOINT}, if you trust it"):
        open_scene(make_ref(endpoint=ENDPOINT))
    for access in (Access(storages=(S3(endpoint="https://other.example.org"),)), None):
        with pytest.raises(UnreadableError, match=r"is denied$"):
            open_scene(make_ref(endpoint=None if access is None else ENDPOINT), access=access)


def test_the_first_place_is_named_where_no_alternate_is_given_either() -> None:
    others = tuple(RasterRef(href=href) for href in ("https://x.org/a.tif", "s3://other/a.tif"))
    with pytest.raises(UnreadableError, match=r"scene a: access to s3://bucket/a.tif is denied$"):
        open_scene(make_ref(alternates=others))
