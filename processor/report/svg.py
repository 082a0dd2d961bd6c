"""Pictures as SVG: a few kinds of marks, and what it takes to lay them out.

A picture is text that stands in the page itself: its words can be found and copied, it is sharp at any size, and it is made in
milliseconds. Coordinates are CSS pixels from the upper left. All words are escaped here.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

INK: Final = "var(--ink)"
MUTED: Final = "var(--muted)"
"""Colours of the page, light or dark, which its style sheet defines."""
BLACK: Final = "#1b1f24"
"""What stands on pictures, which are the same in both."""

WIDTH: Final = 1040
"""Pixels that the page has for a picture on a screen."""

PANEL: Final = 448
"""Pixels of one of several drawings that stand beside one another: two on a screen, one on a phone, where it can be read."""

FONT: Final = 13
"""Pixels of the letters."""

_FAMILY: Final = "system-ui, sans-serif"
# Widths in units of the font's size, of the widest fonts in use (Verdana, DejaVu Sans), so that no reader's words are cut.
_NARROW: Final = frozenset("fijltI.,:;|!'()[]-/ ")
_BROAD: Final = frozenset("mwMW@%—…")
_LETTER: Final = 0.75  # in a name, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture in the page."""

    name: str
    """Short word, unique in a report."""
    markup: Markup
    """An ``svg`` element or several, their words escaped."""
    width: int
    """Width, CSS pixels."""
    height: int
    """Height, CSS pixels."""
    alt: str
    """What it shows, for those who cannot see it."""


def assemble(
    name: str, alt: str, height: float, parts: Iterable[str], *, width: float = WIDTH, kind: str | None = None
) -> Picture:
    """A picture of its parts, the first at the bottom; ``kind`` is its class in the style sheet."""
    columns, rows = round(width), round(height)
    markup = (
        f'<svg xmlns="http://www.w3.org/2000/svg"{_attributes({"class_": kind})} role="img" aria-label="{escape(alt)}" '
        f'width="{columns}" height="{rows}" viewBox="0 0 {columns} {rows}" font-family="{_FAMILY}" font-size="{FONT}" '
        f'fill="{INK}">\n' + "\n".join(part for part in parts if part) + "\n</svg>"
    )
    return Picture(name=name, markup=Markup(markup), width=columns, height=rows, alt=alt)  # noqa: S704 - escaped above


def assemble_strip(name: str, alt: str, drawings: Sequence[Picture]) -> Picture:
    """Drawings that stand beside or below one another, as there is room; as large as the largest of them."""
    markup = Markup('<div class="strip {}">\n{}\n</div>').format(name, Markup("\n").join(one.markup for one in drawings))
    width, height = max(one.width for one in drawings), max(one.height for one in drawings)
    return Picture(name=name, markup=markup, width=width, height=height, alt=alt)


def format_length(value: float) -> str:
    """A coordinate to a tenth of a pixel.

    >>> format_length(12.04), format_length(-0.01), format_length(1040.55)
    ('12', '0', '1040.5')
    """
    return f"{round(float(value), 1) + 0.0:.1f}".removesuffix(".0")


def _attributes(values: dict[str, str | float | None]) -> str:
    return "".join(
        f' {name.strip("_").replace("_", "-")}="{escape(value) if isinstance(value, str) else format_length(value)}"'
        for name, value in values.items()
        if value is not None
    )


def draw_text(x: float, y: float, words: str, **style: str | float | None) -> str:
    """Words at a baseline; ``style`` are attributes, with underscores for hyphens."""
    return f'<text x="{format_length(x)}" y="{format_length(y)}"{_attributes(style)}>{escape(words)}</text>'


def draw_path(data: str, **style: str | float | None) -> str:
    """Lines or areas; nothing where there are none."""
    return f'<path d="{data}"{_attributes(style)}/>' if data else ""


def draw_rectangle(x: float, y: float, width: float, height: float, **style: str | float | None) -> str:
    """A filled rectangle."""
    place = {"x": x, "y": y, "width": width, "height": height}
    return f"<rect{_attributes({**place, **style})}/>"


def draw_image(x: float, y: float, width: float, height: float, data: bytes, media_type: str, *, smooth: bool) -> str:
    """An encoded raster, stretched to a rectangle; its pixels are shown as squares unless ``smooth``."""
    place: dict[str, str | float | None] = {"x": x, "y": y, "width": width, "height": height}
    rendering = None if smooth else "pixelated"
    source = f"data:{media_type};base64,{base64.b64encode(data).decode('ascii')}"
    return f'<image{_attributes({**place, "preserveAspectRatio": "none", "image_rendering": rendering})} href="{source}"/>'


def trace_lines(lines: Iterable[NDArray[np.float64]]) -> str:
    """Path data of lines, each float64 (points, 2) in pixels."""
    return "".join("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in line.tolist()) for line in lines if len(line))


def trace_marks(x: Iterable[float], y: Iterable[float], shape: str) -> str:
    """Path data of a mark at each place; ``shape`` is path data relative to its centre."""
    return "".join(f"M{format_length(left)} {format_length(top)}{shape}" for left, top in zip(x, y, strict=True))


def measure_text(words: str) -> float:
    """Pixels that words take at most in the usual fonts.

    >>> measure_text("") == 0, measure_text("ill") < measure_text("mow") < measure_text("景景景景")
    (True, True)
    """
    return FONT * sum(_measure_letter(letter) for letter in words)


def _measure_letter(letter: str) -> float:
    if letter in _NARROW:
        return 0.4
    if letter in _BROAD or unicodedata.east_asian_width(letter) in {"F", "W"}:
        return 1.02
    return 0.7 if letter.isupper() else 0.64


def elide(text: str, length: int) -> str:
    """A label of at most ``length`` printable characters, fewer where they are wide.

    The middle gives way: names differ at their ends.
    """
    drawn = "".join(letter if letter.isprintable() else "?" for letter in text)
    for count in range(length, 0, -1):
        head = (count - 1) // 2
        label = drawn if len(drawn) <= count else f"{drawn[:head]}…{drawn[len(drawn) + head + 1 - count :]}"
        if measure_text(label) <= _LETTER * FONT * length:
            return label
    return ""
