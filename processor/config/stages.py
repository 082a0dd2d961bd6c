"""The six stages."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from processor.model.options import Choice, Paths, Place, Resolution, Section, VectorMask, Word

__all__ = [
    "AlignRasters",
    "GlobalRegression",
    "LocalBlockAdjustment",
    "MaskRasters",
    "MergeRasters",
    "Methods",
    "VoronoiCenterSeamline",
]

_OUTPUT_IMAGES = (
    "Where to keep this stage's rasters: a folder, a list of files in input order, or a file name with $ for the scene."
)
_STAGE_OVERVIEWS = "Give this stage's kept rasters overviews."
_VECTOR_MASK = "Pixels that {0}: (include or exclude, vector file[, field whose value names the scene])."


class Methods(Section):
    """Which stages run; null switches one off."""

    matching_global_method: Literal["global_regression"] | None = Field(
        default="global_regression", description="Global gain and offset of each scene and band.", examples=["null"]
    )
    matching_local_method: Literal["local_block_adjustment"] | None = Field(
        default="local_block_adjustment", description="Local correction on a grid of blocks.", examples=["null"]
    )
    align_method: Literal["align_rasters"] | None = Field(
        default="align_rasters", description="Resampling of the scenes onto one grid.", examples=["null"]
    )
    seamline_method: Literal["voronoi_center_seamline"] | None = Field(
        default="voronoi_center_seamline", description="Seamlines between overlapping scenes.", examples=["null"]
    )
    clip_method: Literal["mask_rasters"] | None = Field(
        default="mask_rasters", description="Cut of each scene by its cell.", examples=["null"]
    )
    merge_method: Literal["merge_rasters"] | None = Field(
        default="merge_rasters", description="One raster from all scenes.", examples=["null"]
    )


class GlobalRegression(Section):
    """Stage 1: a gain and an offset for each scene and band, solved over all overlaps at once."""

    output_images: Paths | None = Field(default=None, description=_OUTPUT_IMAGES, examples=["global/$.tif"])
    vector_mask: VectorMask | None = Field(
        default=None,
        description=_VECTOR_MASK.format("count for the statistics"),
        examples=["[exclude, clouds.gpkg, scene]"],
    )
    estimate_stats: bool = Field(
        default=True,
        description=(
            "Take statistics, block means and footprints from overviews where a source has any; exact where it has none. "
            "On sample scenes read at a half and a quarter of their size, gains moved by less than 0.5 %."
        ),
        examples=[False],
    )
    specify_model_images: tuple[Choice, tuple[Word, ...]] | None = Field(
        default=None,
        description="Scenes that pull on the model: (include or exclude, names); the others are fitted to them.",
        examples=["[include, [scene_1]]"],
    )
    custom_mean_factor: float = Field(
        default=1.0, ge=0, allow_inf_nan=False, description="Weight of the overlaps' means in the solve.", examples=[2.0]
    )
    custom_std_factor: float = Field(
        default=1.0,
        ge=0,
        allow_inf_nan=False,
        description="Weight of the overlaps' standard deviations in the solve.",
        examples=[0.5],
    )
    save_adjustments: Place | None = Field(
        default=None, description="Write statistics and adjustments to this JSON file too.", examples=["adjustments.json"]
    )
    load_adjustments: Place | None = Field(
        default=None,
        description="Take the statistics of the scenes in this JSON file from it; the model is solved again.",
        examples=["adjustments.json"],
    )
    build_overviews: bool = Field(default=False, description=_STAGE_OVERVIEWS, examples=[True])


BlockCount = Annotated[int, Field(ge=1, le=1_000_000)]


class LocalBlockAdjustment(Section):
    """Stage 2: each scene is drawn to the reference map of block means."""

    output_images: Paths | None = Field(default=None, description=_OUTPUT_IMAGES, examples=["local/$.tif"])
    vector_mask: VectorMask | None = Field(
        default=None, description=_VECTOR_MASK.format("count for the block means"), examples=["[include, land.gpkg]"]
    )
    number_of_blocks: BlockCount | tuple[BlockCount, BlockCount] | Literal["coefficient_of_variation"] = Field(
        default=100,
        description="Blocks a scene, or (rows, columns) of the whole canvas, or chosen from the scenes' contrast.",
        examples=["[20, 30]"],
    )
    alpha: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description='Factor of the corrections "gamma" and "offset".',
        examples=[0.98],
    )
    correction_method: Literal["gamma", "linear", "offset"] = Field(
        default="offset",
        description="linear: y = x P; gamma: y = alpha x^P; offset: y = alpha (x + c)^P - c.",
        examples=["linear"],
    )
    save_block_maps: tuple[Place, Place] | None = Field(
        default=None,
        description="Write the block maps to these files too: (reference, local with $ for the scene).",
        examples=["[reference.tif, local_$.tif]"],
    )
    load_block_maps: tuple[Place | None, tuple[Place, ...] | None] | None = Field(
        default=None,
        description="Use these block maps: (reference or null, local maps or null); a local map's name contains its scene's.",
        examples=["[reference.tif, null]"],
    )
    override_bounds_canvas_coords: tuple[float, float, float, float] | None = Field(
        default=None,
        description="Canvas of the blocks instead of the union of the scenes: (left, bottom, right, top).",
        json_schema_extra={"unit": "CRS units"},
        examples=["[300000, 5000000, 320000, 5020000]"],
    )
    build_overviews: bool = Field(default=False, description=_STAGE_OVERVIEWS, examples=[True])

    @field_validator("load_block_maps")
    @classmethod
    def _check_maps(cls, value: tuple[str | None, tuple[str, ...] | None] | None) -> Any:
        if value is not None and value[0] is None and not value[1]:
            msg = "a reference map, local maps, or both"
            raise ValueError(msg)
        return value

    @field_validator("save_block_maps")
    @classmethod
    def _check_template(cls, value: tuple[str, str] | None) -> Any:
        if value is not None and "$" not in value[1]:
            msg = "the name of the local maps needs a $ for the scene"
            raise ValueError(msg)
        return value

    @field_validator("override_bounds_canvas_coords")
    @classmethod
    def _check_bounds(cls, value: tuple[float, float, float, float] | None) -> Any:
        if value is not None and not (value[0] < value[2] and value[1] < value[3]):
            msg = "left < right and bottom < top"
            raise ValueError(msg)
        return value


class AlignRasters(Section):
    """Stage 3: one pixel grid for all scenes."""

    output_images: Paths | None = Field(default=None, description=_OUTPUT_IMAGES, examples=["aligned/$.tif"])
    resampling_method: Literal["nearest", "bilinear", "cubic"] = Field(
        default="bilinear", description="How a scene whose grid does not agree is resampled.", examples=["cubic"]
    )
    tap: bool = Field(
        default=True, description="Snap the bounds outward to whole multiples of the pixel size.", examples=[False]
    )
    resolution: Resolution = Field(
        default="highest", description="Pixel size: the smallest, the mean or the largest of the scenes'.", examples=["lowest"]
    )
    crs: Word | None = Field(
        default=None,
        description="CRS of the mosaic, an authority's code; null: the scenes', the commonest where they differ.",
        examples=["EPSG:32632"],
    )


class VoronoiCenterSeamline(Section):
    """Stage 4: the cells of the scenes."""

    output_mask: Place | None = Field(
        default=None, description="Write the cells to this vector file too.", examples=["seamlines.gpkg"]
    )
    aoi_path: Place | None = Field(
        default=None, description="Area of interest, a vector file: the cells end there.", examples=["aoi.gpkg"]
    )
    vector_mask: tuple[Place, Word] | None = Field(
        default=None,
        description="Footprints to use instead of the valid pixels': (vector file, field whose value names the scene).",
        examples=["[footprints.gpkg, scene]"],
    )
    debug_vectors_path: Place | None = Field(
        default=None,
        description="Write a GeoPackage with the layers emp_outline, intersections, voronoi_seeds, voronoi_cells and cutlines.",
        examples=["debug.gpkg"],
    )
    min_point_spacing: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="Distance between the seeds along an overlap's outline, which has 64 to 2048 of them in any case.",
        json_schema_extra={"unit": "CRS units"},
        examples=[50.0],
    )
    min_cut_length: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Shortest Voronoi edge that a cut may follow.",
        json_schema_extra={"unit": "CRS units"},
        examples=[5.0],
    )
    image_field_name: Word = Field(
        default="image", description="Field of the seamlines that holds the scene's name.", examples=["scene"]
    )


class MaskRasters(Section):
    """Stage 5: scenes cut by their cells."""

    output_images: Paths | None = Field(default=None, description=_OUTPUT_IMAGES, examples=["clipped/$.tif"])
    vector_mask: VectorMask | None = Field(
        default=None,
        description=_VECTOR_MASK.format("are kept, instead of the cells"),
        examples=["[include, parcels.gpkg, scene]"],
    )
    include_touched_pixels: bool = Field(
        default=False,
        description="Keep every pixel that the cell touches, not just those whose centre is in it.",
        examples=[True],
    )


class MergeRasters(Section):
    """Stage 6: the mosaic."""

    resolution: Resolution = Field(
        default="highest",
        description="Pixel size of the mosaic where the scenes were not aligned.",
        examples=["average"],
    )
    build_overviews: bool = Field(default=True, description="Overviews by averaging, down to one block.", examples=[False])
