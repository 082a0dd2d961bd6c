"""Options of the methods of radiometric matching."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from processor.model.options import Choice, Paths, Place, Section, VectorMask, Word, option
from processor.stages.options import OUTPUT_IMAGES, VECTOR_MASK

_STAGE_OVERVIEWS = "Give this stage's kept rasters overviews."
BlockCount = Annotated[int, Field(ge=1, le=1_000_000)]


class GlobalRegressionOptions(Section):
    """Stage 1: a gain and an offset for each scene and band, solved over all overlaps at once."""

    output_images: Paths | None = option(None, OUTPUT_IMAGES, example="global/$.tif", path=True)
    vector_mask: VectorMask | None = option(
        None, VECTOR_MASK.format("count for the statistics"), example="[exclude, clouds.gpkg, scene]", reads="region"
    )
    estimate_stats: bool = option(
        True,
        "Take statistics, block means and footprints from overviews where a source has any; exact where it has none. "
        "On sample scenes read at a half and a quarter of their size, gains moved by less than 0.5 %.",
        example=False,
    )
    specify_model_images: tuple[Choice, tuple[Word, ...]] | None = option(
        None,
        "Scenes that pull on the model: (include or exclude, names); the others are fitted to them.",
        example="[include, [scene_1]]",
    )
    custom_mean_factor: float = option(
        1.0, "Weight of the overlaps' means in the solve.", example=2.0, ge=0, allow_inf_nan=False
    )
    custom_std_factor: float = option(
        1.0, "Weight of the overlaps' standard deviations in the solve.", example=0.5, ge=0, allow_inf_nan=False
    )
    save_adjustments: Place | None = option(
        None, "Write statistics and adjustments to this JSON file too.", example="adjustments.json", path=True
    )
    load_adjustments: Place | None = option(
        None,
        "Take the statistics of the scenes in this JSON file from it; the model is solved again.",
        example="adjustments.json",
        reads="adjustments",
    )
    build_overviews: bool = option(False, _STAGE_OVERVIEWS, example=True)


class RobustRegressionOptions(Section):
    """Stage 1: a gain and an offset for each scene and band, from blocks where the scenes agree: no clouds, no change."""

    output_images: Paths | None = option(None, OUTPUT_IMAGES, example="global/$.tif", path=True)
    vector_mask: VectorMask | None = option(
        None, VECTOR_MASK.format("count for the statistics"), example="[exclude, clouds.gpkg, scene]", reads="region"
    )
    estimate_stats: bool = option(
        True, "Take statistics and footprints from overviews where a source has any; exact where it has none.", example=False
    )
    offsets: bool = option(
        True, "Solve for offsets beside gains; false for scenes whose light varies within them.", example=False
    )
    specify_model_images: tuple[Choice, tuple[Word, ...]] | None = option(
        None,
        "Scenes that keep their radiometry: (include or exclude, names); the others are fitted to them.",
        example="[include, [scene_1]]",
    )
    save_adjustments: Place | None = option(
        None, "Write statistics and adjustments to this JSON file too.", example="adjustments.json", path=True
    )
    load_adjustments: Place | None = option(
        None,
        "Take the statistics of the scenes in this JSON file from it; the model is solved again.",
        example="adjustments.json",
        reads="adjustments",
    )
    load_blocks: Place | None = option(
        None,
        "Take the matched blocks of the scenes in this file (matched_blocks.npz of a run) from it; the model is solved again.",
        example="matched_blocks.npz",
        reads="matched blocks",
    )
    build_overviews: bool = option(False, _STAGE_OVERVIEWS, example=True)


class SurfaceAdjustmentOptions(Section):
    """Stage 2: a smooth surface for each scene and band, all solved at once over all overlaps, as little as they need."""

    output_images: Paths | None = option(None, OUTPUT_IMAGES, example="local/$.tif", path=True)
    control_points: int = option(5, "Control points of a surface down and across, bilinear between.", example=9, ge=2, le=17)
    correction: Literal["multiplicative", "additive"] = option(
        "multiplicative", "multiplicative: for light, vignette and gain; additive: for haze.", example="additive"
    )
    smoothness: float | None = option(
        None,
        "Weight against the bending of surfaces, relative to the blocks; null: 0.3, or 0.03 after illumination or where "
        "references hold the levels.",
        example=0.1,
        ge=0,
        allow_inf_nan=False,
    )
    ridge: float | None = option(
        None,
        "Weight against any correction at all, relative to the blocks; null: 0.01, or 0.05 after illumination, or 0.001 where "
        "references hold the levels.",
        example=0.02,
        gt=0,
        allow_inf_nan=False,
    )
    illumination: Literal["shared"] | None = option(
        None,
        "shared: gains, and light that varies alike with the position in all scenes of a group, are solved for first; for "
        "aerial and drone scenes, with methods.matching_global_method null.",
        example="shared",
    )
    group_by: Word = option(
        "platform",
        "What scenes that share their illumination have in common: platform (with the instruments), all, or a property of the "
        "Items.",
        example="all",
    )
    kernel: int | None = option(
        3,
        "Blocks a side of the kernels in which gain and offset are fitted to references; null: they have surfaces alone.",
        example=5,
        ge=3,
        le=65,
    )
    save_surfaces: Place | None = option(None, "Write the surfaces to this JSON file too.", example="surfaces.json", path=True)
    load_surfaces: Place | None = option(
        None,
        "Take the surfaces of the scenes in this JSON file from it; the other scenes are fitted to them.",
        example="surfaces.json",
        reads="surfaces",
    )
    build_overviews: bool = option(False, _STAGE_OVERVIEWS, example=True)

    @field_validator("kernel")
    @classmethod
    def _check_kernel(cls, value: int | None) -> int | None:
        if value is not None and value % 2 == 0:
            msg = "an odd number, so that a kernel has a block in its middle"
            raise ValueError(msg)
        return value


class LocalBlockAdjustmentOptions(Section):
    """Stage 2: each scene is drawn to the reference map of block means."""

    output_images: Paths | None = option(None, OUTPUT_IMAGES, example="local/$.tif", path=True)
    vector_mask: VectorMask | None = option(
        None, VECTOR_MASK.format("count for the block means"), example="[include, land.gpkg]", reads="region"
    )
    number_of_blocks: BlockCount | tuple[BlockCount, BlockCount] | Literal["coefficient_of_variation"] = option(
        100, "Blocks a scene, or (rows, columns) of the whole canvas, or chosen from the scenes' contrast.", example="[20, 30]"
    )
    alpha: float = option(1.0, 'Factor of the corrections "gamma" and "offset".', example=0.98, gt=0, allow_inf_nan=False)
    correction_method: Literal["gamma", "linear", "offset"] = option(
        "offset", "linear: y = x P; gamma: y = alpha x^P; offset: y = alpha (x + c)^P - c.", example="linear"
    )
    save_block_maps: tuple[Place, Place] | None = option(
        None,
        "Write the block maps as GeoTIFFs to these files: (reference, local with $ for the scene).",
        example="[reference.tif, local_$.tif]",
        path=True,
    )
    load_block_maps: tuple[Place | None, tuple[Place, ...] | None] | None = option(
        None,
        "Use these block maps, archives or rasters whose names contain the scene's: (reference or null, local maps or null).",
        example="[reference.tif, null]",
        reads="block maps",
    )
    override_bounds_canvas_coords: tuple[float, float, float, float] | None = option(
        None,
        "Canvas of the blocks instead of the union of the scenes: (left, bottom, right, top).",
        example="[300000, 5000000, 320000, 5020000]",
        unit="CRS units",
    )
    build_overviews: bool = option(False, _STAGE_OVERVIEWS, example=True)

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
