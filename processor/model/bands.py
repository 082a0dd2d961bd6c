"""What bands are called: names that say a colour, and file names that say which band a file holds.

Sources of the numbers: USGS, Landsat Collection 2 (https://www.usgs.gov/landsat-missions); ESA, Sentinel-2 MSI user guide;
NASA, HLS user guide 2.0; INPE, CBERS-4, CBERS-4A and Amazonia-1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from processor.model.scene import Band, Scene

COMMON_NAMES: Final = frozenset(
    {
        *("pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071", "rededge075", "rededge078"),
        *("nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir", "lwir11", "lwir12"),
    }
)
"""Common names of bands in STAC's eo v2.0.0, whose schema refuses others."""

_LANDSAT_8: Final[Mapping[str, str]] = {
    "1": "coastal",
    "2": "blue",
    "3": "green",
    "4": "red",
    "5": "nir08",
    "6": "swir16",
    "7": "swir22",
    "8": "pan",
    "9": "cirrus",
    "10": "lwir11",
    "11": "lwir12",
}
_LANDSAT_5: Final[Mapping[str, str]] = {"1": "blue", "2": "green", "3": "red", "4": "nir08", "5": "swir16", "7": "swir22"}
_SENTINEL_2: Final[Mapping[str, str]] = {
    "1": "coastal",
    "2": "blue",
    "3": "green",
    "4": "red",
    "5": "rededge071",
    "6": "rededge075",
    "7": "rededge078",
    "8": "nir",
    "8A": "nir08",
    "9": "nir09",
    "10": "cirrus",
    "11": "swir16",
    "12": "swir22",
}
_PRODUCTS: Final[tuple[tuple[re.Pattern[str], Mapping[str, str]], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), numbers)
    for pattern, numbers in (
        (r"(^|[^a-z0-9])(HLS[._]L30|L[CO]0?[89]|ga_ls[89])", _LANDSAT_8),
        (r"(^|[^a-z0-9])(L[TEM]0?[457]|ga_ls[57])", _LANDSAT_5),
        (r"(^|[^a-z0-9])((HLS[._]S30|S2[ABCD]|T[0-9]{2}[A-Z]{3})([^a-z0-9]|$)|ga_s2)", _SENTINEL_2),
        (r"(^|[^a-z0-9])CBERS[-_0-9A]*WPM", {"0": "pan", "1": "blue", "2": "green", "3": "red", "4": "nir"}),
        (r"(^|[^a-z0-9])CBERS[-_0-9A]*PAN10M", {"2": "green", "3": "red", "4": "nir"}),
        (r"(^|[^a-z0-9])CBERS[-_0-9A]*MUX", {"5": "blue", "6": "green", "7": "red", "8": "nir"}),
        (r"(^|[^a-z0-9])CBERS[-_0-9A]*A?WFI", {"13": "blue", "14": "green", "15": "red", "16": "nir"}),
        (r"(^|[^a-z0-9])AMAZONIA[-_0-9]*WFI", {"1": "blue", "2": "green", "3": "red", "4": "nir"}),
    )
)
_UNKNOWN_PRODUCT: Final[Mapping[str, str]] = {"02": "blue", "03": "green", "04": "red"}  # of all that number with two digits
_ALIASES: Final[Mapping[str, str]] = {"panchromatic": "pan", "swir1": "swir16", "swir2": "swir22", "re": "rededge"}
_POLARISATIONS: Final = ("hh", "hv", "vh", "vv")
_NUMBERED: Final = re.compile(r"(?:(?:SR|ST)_)?B(?:AND)?[_-]?(?P<number>[0-9]{1,2}A?)(?:_VCID_[12])?", re.IGNORECASE)
_QUANTITY: Final = re.compile(r"[-_. ](SR|ST)$")  # surface reflectance and temperature of one Landsat scene
_WORDS: Final = "|".join(
    sorted({*COMMON_NAMES, *_ALIASES, *_POLARISATIONS, "rededge1", "rededge2", "rededge3"}, key=len, reverse=True)
)
_TOKEN: Final = re.compile(
    rf"(?P<before>(?:.*[-_. ])?)(?P<token>{_NUMBERED.pattern}|{_WORDS})(?:[-_][0-9]{{1,3}}m)?(?P<after>(?:[-_. ].*)?)",
    re.IGNORECASE,
)
_SEPARATORS: Final = "-_. "
_FIRST: Final = ("red", "green", "blue")  # as screens have them


@dataclass(frozen=True, slots=True, kw_only=True)
class BandOfFile:
    """The band that a file holds, as its name says."""

    scene: str
    """What is left of the name, "" where that is nothing: files of one scene share it."""
    stem: str
    """What stands before the band in the name, without separators at its end."""
    label: str
    """What the name calls the band, such as ``B02`` or ``red``."""
    common_name: str | None
    """STAC ``eo:common_name`` that the label has in this product, or None."""

    @property
    def order(self) -> tuple[int, int, str]:
        """Key that sorts bands: red, green and blue first where they are called so, else by number, else by name."""
        word = self.label.casefold()
        if word in _FIRST:
            return 0, _FIRST.index(word), word
        number = re.search(r"[0-9]+", word)
        return 1, int(number[0]) if number else 100, word


def parse_file_name(stem: str, *, folder: str = "") -> BandOfFile | None:
    """Find the band in the name of a file, without its suffix; the last one where there are several.

    Parameters
    ----------
    stem
        Of the file's name.
    folder
        Name of its folder, which may say what product it is where the file's name does not.

    Returns
    -------
    None where no part of the name is called as a band is.

    Examples
    --------
    >>> parse_file_name("LC09_L2SP_191026_20230720_02_T1_SR_B4")
    BandOfFile(scene='LC09_L2SP_191026_20230720_02_T1', stem='LC09_L2SP_191026_20230720_02_T1', label='B4', common_name='red')
    """
    found = _TOKEN.fullmatch(stem)
    if found is None:
        return None
    before, after, label = _QUANTITY.sub("", found["before"].rstrip(_SEPARATORS)), found["after"], found["token"]
    return BandOfFile(
        scene=f"{before}{after}" if before else after.lstrip(_SEPARATORS),
        stem=before,
        label=label,
        common_name=find_colour(label, product=f"{folder} {stem}"),
    )


def find_colour(name: str, *, product: str = "") -> str | None:
    """The common name that a band's name says, or None.

    Parameters
    ----------
    name
        Such as ``Red``, ``B04`` or ``SR_B4``.
    product
        Text that names the product. Without one, of numbers only B02, B03 and B04 say a colour: all products that write two
        digits mean blue, green and red by them.

    Examples
    --------
    >>> [find_colour(name) for name in ("Red", "B04", "B4", "band_1")]
    ['red', 'red', None, None]
    >>> find_colour("B3", product="LT05_L1TP_191026_19900720_20200915_02_T1")
    'red'
    """
    word = name.strip().casefold().removeprefix("nbart_").removeprefix("nbar_")  # of Geoscience Australia
    word = _ALIASES.get(word, word)
    if word in COMMON_NAMES:
        return word
    numbered = _NUMBERED.fullmatch(name.strip())
    if numbered is None:
        return None
    number = numbered["number"].upper()
    for pattern, numbers in _PRODUCTS:
        if pattern.search(product):
            return numbers.get(number.lstrip("0") or "0")
    return _UNKNOWN_PRODUCT.get(number)


def is_placeholder(name: str) -> bool:
    """Whether a name is one that stands where none is given, as ``band_1``."""
    return name.startswith("band_") and name.removeprefix("band_").isdigit()


def find_label(band: Band) -> str | None:
    """What kind of band this is: its common name, what its own name says, or its colour in the file; None where unknown."""
    return band.common_name or find_colour(band.name) or band.colour


def merge_bands(scenes: Sequence[Scene]) -> tuple[Band, ...]:
    """Merge the bands of all scenes, by position.

    Parameters
    ----------
    scenes
        All inputs, of as many bands each; at least one.

    Returns
    -------
    Names of the first scene; common name, colour and unit where no two scenes differ; description and scaling where all agree.
    """
    return tuple(_merge_band(bands) for bands in zip(*(scene.bands for scene in scenes), strict=True))


def _merge_band(bands: Sequence[Band]) -> Band:
    first = bands[0]
    return Band(
        name=first.name,
        common_name=_find_only(band.common_name for band in bands),
        colour=_find_only(band.colour for band in bands),
        description=first.description if all(band.description == first.description for band in bands) else None,
        scaling=first.scaling if all(band.scaling == first.scaling for band in bands) else None,
        unit=_find_only(band.unit for band in bands),
    )


def _find_only(texts: Iterable[str | None]) -> str | None:
    """The one text that is said; None where several are, or none."""
    said = {text for text in texts if text is not None}
    return said.pop() if len(said) == 1 else None


def choose_shown(bands: Sequence[Band]) -> tuple[tuple[int, int, int], bool]:
    """Positions of the bands that a picture shows as red, green and blue, and whether they are these.

    Without such names the colours that files say of their bands count; else the first three, or the first alone.
    """
    natural = find_natural([band.common_name or find_colour(band.name) for band in bands])
    by_file = find_natural([band.colour for band in bands])
    return natural or by_file or ((0, 1, 2) if len(bands) >= 3 else (0, 0, 0)), natural is not None


def find_natural(names: Sequence[str | None]) -> tuple[int, int, int] | None:
    """Positions of red, green and blue among common names; None where one of them is missing."""
    if not {*_FIRST} <= {*names}:
        return None
    return names.index("red"), names.index("green"), names.index("blue")
