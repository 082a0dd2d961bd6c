"""Reading pictures of the report back: their marks and words."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as ET

from processor.report.svg import Picture


def find_marks(picture: Picture, kind: str) -> Iterator[ET.Element]:
    """Elements of a kind in a picture, the first drawn first; "svg" is the picture itself."""
    root = ET.fromstring(picture.markup)  # noqa: S314 - the project's own markup
    return root.iter(f"{{http://www.w3.org/2000/svg}}{kind}")
