"""The cells of four real scenes against those of the program users know, and against what that program gets wrong."""

from __future__ import annotations

from pathlib import Path

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from partitions import assert_partition

from processor.model import Grid
from processor.stages.seamlines.cells import solve_cells
from processor.stages.seamlines.footprint import compute_footprint
from processor.stages.seamlines.records import Seamlines

NGI = Path(__file__).parents[2].parent / "shared" / "data" / "ngi"
SCENES = ("ngi_1", "ngi_2", "ngi_3", "ngi_4")

pytestmark = pytest.mark.skipif(not NGI.is_dir(), reason=f"the reference scenes are not in {NGI}")


@pytest.fixture(scope="module")
def footprints() -> dict[str, shapely.Geometry]:
    """Outlines of the pixels that any band has a value in."""
    found = {}
    for name in SCENES:
        with rasterio.open(NGI / f"{name}.tif") as file:
            mask = (file.read() != file.nodata).any(axis=0)
            grid = Grid(
                crs=file.crs.to_wkt(),
                left=file.transform.c,
                top=file.transform.f,
                pixel_width=file.transform.a,
                pixel_height=-file.transform.e,
                width=file.width,
                height=file.height,
            )
        found[name] = compute_footprint(mask, grid)
        assert found[name].area == mask.sum() * grid.pixel_width * grid.pixel_height
    return found


@pytest.fixture(scope="module")
def seamlines(footprints: dict[str, shapely.Geometry]) -> Seamlines:
    """Cells with the defaults of the program users know."""
    return solve_cells(footprints, min_point_spacing=10.0, min_cut_length=0.0)


def test_cells_are_those_of_the_reference_but_for_its_gaps(seamlines: Seamlines) -> None:
    reference = geopandas.read_file(NGI / "reference" / "seamlines.gpkg", layer="seamlines")
    wanted = {row.image.removesuffix("_Global_Local_Align"): row.geometry for row in reference.itertuples()}
    gaps = shapely.difference(
        shapely.union_all([cell.polygon for cell in seamlines.cells]), shapely.union_all(list(wanted.values()))
    )

    for cell in seamlines.cells:
        differing = shapely.symmetric_difference(cell.polygon, wanted[cell.scene])
        assert shapely.difference(differing, gaps).area < 0.002 * wanted[cell.scene].area, cell.scene
        assert differing.area < 0.01 * wanted[cell.scene].area, cell.scene


def test_cells_have_no_gap_where_the_reference_has(seamlines: Seamlines, footprints: dict[str, shapely.Geometry]) -> None:
    assert_partition(seamlines, footprints)
    covered = shapely.union_all([cell.polygon for cell in seamlines.cells])
    assert covered.geom_type == "Polygon"
    assert not covered.interiors


def test_every_overlap_has_a_centre_line(seamlines: Seamlines) -> None:
    assert not seamlines.findings
    assert np.unique([(cut.first, cut.second) for cut in seamlines.cutlines], axis=0).shape == (6, 2)
