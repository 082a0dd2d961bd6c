"""Options of the seamline methods."""

from __future__ import annotations

from pydantic import field_validator

from processor.model.options import Place, Section, Word, option
from processor.stages.seamlines.rank import parse_rank


class SeamlineOptions(Section):
    """What all methods of stage 4 can be told."""

    output_mask: Place | None = option(None, "Write the cells to this vector file too.", example="seamlines.gpkg", path=True)
    aoi_path: Place | None = option(
        None, "Area of interest, a vector file: the cells end there.", example="aoi.gpkg", reads="area"
    )
    vector_mask: tuple[Place, Word] | None = option(
        None,
        "Footprints to use instead of the valid pixels': (vector file, field whose value names the scene).",
        example="[footprints.gpkg, scene]",
        reads="footprints",
    )
    debug_vectors_path: Place | None = option(
        None,
        "Write a GeoPackage with the layers emp_outline, intersections, voronoi_seeds, voronoi_cells and cutlines.",
        example="debug.gpkg",
        path=True,
    )
    image_field_name: Word = option("image", "Field of the seamlines that holds the scene's name.", example="scene")

    rank: Word | None = option(
        None,
        "Whose pixels win where scenes cover one another: an expression of their Items' properties, valid_share and agreement, "
        "of which the least wins, such as \"eo:cloud_cover + abs(datetime - '2024-06-15')\"; equal ones are cut.",
        example="eo:cloud_cover",
    )

    @field_validator("rank")
    @classmethod
    def _check_rank(cls, value: str | None) -> str | None:
        if value is not None:
            parse_rank(value)
        return value

    @field_validator("output_mask", "debug_vectors_path")
    @classmethod
    def _check_format(cls, value: str | None) -> str | None:
        if value is not None and not value.lower().endswith(".gpkg"):
            msg = "a GeoPackage is written, so its name must end in .gpkg"
            raise ValueError(msg)
        return value


class VoronoiCenterSeamlineOptions(SeamlineOptions):
    """Stage 4: the cells of the scenes, along the centre lines of their overlaps."""

    min_point_spacing: float = option(
        10.0,
        "Distance between the seeds along an overlap's outline, which has 64 to 2048 of them in any case.",
        example=50.0,
        unit="CRS units",
        gt=0,
        allow_inf_nan=False,
    )
    min_cut_length: float = option(
        0.0, "Shortest Voronoi edge that a cut may follow.", example=5.0, unit="CRS units", ge=0, allow_inf_nan=False
    )


class LeastDifferenceSeamlineOptions(SeamlineOptions):
    """Stage 4: the cells of the scenes, along the paths on which the matched scenes differ least."""

    obstacles: Place | None = option(
        None,
        "Things that cuts go around where there is a way, such as buildings: a vector file.",
        example="buildings.gpkg",
        reads="obstacles",
    )
    avoid: Place | None = option(
        None,
        "Where cuts do not go while there is another way: a raster that is not 0 there.",
        example="clouds.tif",
        reads="mask",
    )
