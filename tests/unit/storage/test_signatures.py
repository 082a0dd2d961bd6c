"""When signed URLs end, as they say themselves."""

from __future__ import annotations

import pytest

from processor.storage.url import find_end


@pytest.mark.parametrize(
    ("query", "end"),
    [
        ("X-Amz-Date=20240601T000000Z&X-Amz-Expires=3600&X-Amz-Signature=x", "2024-06-01T01:00:00+00:00"),
        ("X-Goog-Date=20240601T000000Z&X-Goog-Expires=60&X-Goog-Signature=x", "2024-06-01T00:01:00+00:00"),
        ("st=2024-05-31&se=2024-06-01T10%3A00%3A00Z&sig=x", "2024-06-01T10:00:00+00:00"),
        ("se=2024-06-01&sig=x", "2024-06-01T00:00:00+00:00"),
        ("Expires=1717200000&Signature=x", "2024-06-01T00:00:00+00:00"),
        ("Expires=never&Signature=x", None),
        ("se=soon&sig=x", None),
        ("se=2024-06-01", None),
        ("X-Amz-Date=20240601T000000Z&X-Amz-Expires=" + "9" * 30, None),
        ("", None),
    ],
)
def test_a_signature_says_when_it_ends(query: str, end: str | None) -> None:
    found = find_end(f"https://host/a.tif?{query}")
    assert (None if found is None else found.isoformat()) == end
    assert find_end(f"s3://bucket/a.tif?{query}") is None
