"""The bounds that ``docs/security.md`` states are those of the code."""

import re
from pathlib import Path

import pytest

from processor import vector_files
from processor.cli import flags
from processor.config import iter_parameters, plain_yaml
from processor.geotiff import open as opening
from processor.model import crs_text
from processor.mosaic import planning
from processor.scenes import user_files
from processor.stages.matching import file_checks
from processor.stages.seamlines import rank
from stac import hrefs
from stac.api import pages, session
from stac.read import walk

PAGE = (Path(__file__).parents[2] / "docs" / "security.md").read_text(encoding="utf-8")
BOUNDS = dict(re.findall(r"^\| (.+?) \| (.+?) \| [^|]*\|$", PAGE.partition("## Bounds")[2].partition("\n## ")[0], re.MULTILINE))
OPTIONS = {parameter.path: parameter.field.default for parameter in iter_parameters()}
MIB = 1 << 20


def find(start: str) -> str:
    """What the page says of a thing whose row begins so."""
    (said,) = (said for what, said in BOUNDS.items() if what.startswith(start))
    return said


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("documents of an input", f"{OPTIONS['inputs.max_bytes'] // MIB} MiB"),
        ("time until they are there", f"{OPTIONS['inputs.max_seconds']:,.0f} s"),
        ("scenes", f"{OPTIONS['inputs.max_scenes']:,}"),
        ("catalogues", f"{walk._MAX_CATALOGS:,}, {walk._MAX_DEPTH}, {walk.MAX_LINKED_BYTES // MIB} MiB"),
        ("an answer", f"{session._MAX_ANSWER // MIB} MiB, {pages._IDLE_PAGES}, {session._MAX_REDIRECTS}"),
        ("canvas", f"{planning._MAX_EMPTINESS:,} "),
        ("one block", f"{opening._MAX_UNIT_BYTES // MIB} MiB"),
        ("vector files", f"{vector_files._MAX_BYTES // (1 << 30)} GiB, {vector_files.MOST_FEATURES:,}"),
        (
            "files of statistics",
            f"{user_files._MAX_BYTES // MIB // 1024} GiB; {file_checks._MOST_CONTAINERS:,} lists, {file_checks._MOST_VALUES:,}",
        ),
        ("configuration", f"{flags._MAX_CONFIG_BYTES // MIB} MiB, {plain_yaml._MOST_DEPTH}, {plain_yaml._MOST_BITS:,} bits"),
        ("text of a CRS", f"{crs_text._MOST_CHARACTERS:,}, {rank._MOST_CHARACTERS:,}, {hrefs.MAX_HREF_LENGTH:,} characters"),
        ("time without a byte", f"{OPTIONS['io.timeout']:.0f} s, {OPTIONS['io.retries']}"),
    ],
)
def test_a_bound_is_what_the_page_says(row: str, said: str) -> None:
    assert said in find(row)


def test_pixels_are_bounded_as_the_page_says() -> None:
    assert find("pixels of a mosaic") == "10¹²"
    assert OPTIONS["output.max_pixels"] == 10**12
