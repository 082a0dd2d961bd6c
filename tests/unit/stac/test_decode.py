"""Decoding documents with many Items."""

import json
import tracemalloc
from typing import Any

import pytest
from effort import examples
from hypothesis import given
from hypothesis import strategies as st

from stac.decode import Decoder, read_text

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4), max_leaves=20
)


@given(documents=st.lists(VALUES, min_size=1, max_size=4))
@examples(100)
def test_documents_are_what_json_says(documents: list[Any]) -> None:
    decoder = Decoder()
    for document in [*documents, *documents]:
        text = json.dumps(document)
        assert json.dumps(decoder.decode(text.encode())) == text  # 1 is no 1.0, 0.0 no -0.0, and keys keep their order


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_every_encoding_of_json_is_read(encoding: str) -> None:
    assert Decoder().decode('{"ü": "€"}'.encode(encoding)) == {"ü": "€"}


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe\xfa", b"[" * 100_000])
def test_what_is_no_json_is_an_error(data: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)):
        Decoder().decode(data)


def test_a_list_is_not_taken_for_its_text() -> None:
    assert Decoder().decode(b'{"a": [1], "b": "[1]", "c": [1]}') == {"a": [1], "b": "[1]", "c": [1]}


def make_item(number: int) -> dict[str, Any]:
    """An Item as those of Sentinel-2 are: most of it is the same in all."""
    root = "https://host.example/v1/collections/sentinel-2-l2a"
    bands = ("red", "green", "blue", "nir", "swir16", "scl", "visual", "aot")
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": f"S2A_33UUP_{number:06d}_0_L2A",
        "collection": "sentinel-2-l2a",
        "geometry": {"type": "Polygon", "coordinates": [[[13.0 + j / 97 + number / 1e5, 50.0 + j / 31] for j in range(5)]]},
        "properties": {"datetime": f"2024-06-01T10:{number % 60:02d}:31Z", "platform": "sentinel-2a", "instruments": ["msi"]},
        "links": [{"rel": rel, "href": f"{root}/items/{number}/{rel}", "type": "application/json"} for rel in ("self", "root")],
        "assets": {
            band: {
                "href": f"https://host.example/sentinel-s2-l2a-cogs/33/U/UP/2024/6/S2A_{number}/{band}.tif",
                "type": "image/tiff; application=geotiff; profile=cloud-optimized",
                "title": f"Band {band}",
                "roles": ["data", "reflectance"],
                "proj:shape": [10980, 10980],
                "proj:transform": [10, 0, 300000, 0, -10, 5600040],
                "bands": [{"name": band, "eo:common_name": band, "eo:center_wavelength": 0.49}],
            }
            for band in bands
        },
    }


def test_memory_is_at_most_four_times_the_bytes_of_a_document() -> None:
    data = json.dumps({"type": "FeatureCollection", "features": [make_item(number) for number in range(300)]}).encode()
    size = len(data)
    tracemalloc.start()
    try:
        kept = Decoder().parse(read_text(data))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(kept["features"]) == 300
    assert peak < 4 * size
