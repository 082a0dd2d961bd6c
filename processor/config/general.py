"""Which pixels are read, what concerns every stage, and what is published."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from processor.model.options import Dtype, Place, Section, Threads, Word, Words

__all__ = ["Inputs", "MaskSetting", "Output", "Shared"]


class MaskSetting(BaseModel):
    """The asset of each Item that says which pixels are invalid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: Word
    invalid: Annotated[tuple[Annotated[int, Field(ge=0, le=65535)], ...], Field(max_length=65536)] = ()
    bits: Annotated[tuple[Annotated[int, Field(ge=0, le=15)], ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _check_marks(self) -> MaskSetting:
        if not self.invalid and not self.bits:
            msg = "a mask needs invalid (values) or bits that mark invalid pixels"
            raise ValueError(msg)
        return self


class Inputs(Section):
    """Which pixels of the Items are read."""

    asset: Word | None = Field(
        default=None,
        description="Key of the STAC asset to read; needed where an Item has several raster assets.",
        examples=["visual"],
    )
    assets: Words | None = Field(
        default=None,
        description="Keys of STAC assets whose bands are stacked in this order, where an Item has one asset a band.",
        examples=["red,green,blue,nir"],
    )
    bands: Words | None = Field(
        default=None,
        description="Bands to read, in this order, by name or common name; looked for in all assets, or those chosen.",
        examples=["nir,red,green"],
    )
    mask: MaskSetting | None = Field(
        default=None,
        description="Asset whose values, or bits of which any is set, mark invalid pixels: {asset, invalid, bits}.",
        examples=["{asset: SCL, invalid: [0, 1, 3, 8, 9, 10]}"],
    )
    sign: Literal["planetary-computer"] | None = Field(
        default=None,
        description="Sign the hrefs of this catalogue; needs the extra of that name.",
        examples=["planetary-computer"],
    )
    allow_local_files: bool = Field(
        default=False,
        description="Let an ItemCollection that was read from a URL name files of this machine.",
        examples=[True],
    )
    max_scenes: int = Field(
        default=20_000, ge=1, description="Refuse an ItemCollection with more scenes than this.", examples=[500]
    )


class Shared(Section):
    """What concerns every stage."""

    temp_dir: Place | None = Field(
        default=None, description="Folder for scratch files; null: made and removed.", examples=["/scratch"]
    )
    delete_temp_dir: bool = Field(default=True, description="Remove this run's scratch files at the end.", examples=[False])
    debug_logs: bool = Field(default=False, description="Log every task, not just the passes.", examples=[True])
    memory: Annotated[float, Field(ge=0.25, allow_inf_nan=False)] | Literal["auto"] = Field(
        default="auto",
        description=(
            "Memory that the passes over the pixels keep to, by smaller windows, fewer of them at once and a smaller cache; "
            "auto: 0.256 and 0.064 for each of tile_threads, or more where one window needs more."
        ),
        json_schema_extra={"unit": "GB"},
        examples=[2],
    )
    cache: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] | None = Field(
        default="auto",
        description="Memory for decoded source blocks; auto: what shared.memory leaves, at most 0.125, null: none are kept.",
        json_schema_extra={"unit": "GB"},
        examples=[0.5],
    )
    disk_cache: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] | None = Field(
        default="auto",
        description=(
            "Scratch space for what the first pass reads over the network, so that the second need not; auto: what is free "
            "there, at most 8, null: none."
        ),
        json_schema_extra={"unit": "GB"},
        examples=[20],
    )
    custom_nodata_value: float | None = Field(
        default=None,
        description="Value of invalid pixels in the inputs and the outputs; null: read from the inputs.",
        json_schema_extra={"unit": "source units"},
        examples=[0],
    )
    window_size: int = Field(
        default=1024,
        ge=16,
        le=16384,
        multiple_of=16,
        description=(
            "Edge of the windows in which pixels are computed, rounded down to 512, 1024, 2048 …, at least 512; smaller where "
            "shared.memory does not allow for it."
        ),
        json_schema_extra={"unit": "pixels, a multiple of 16"},
        examples=[2048],
    )
    image_threads: Threads = Field(
        default="auto", description="Scenes opened at once; auto: 8, cpu: one a processor, null: 1.", examples=[16]
    )
    io_threads: Threads = Field(
        default="auto", description="Objects uploaded at once; auto: 4, cpu: one a processor, null: 1.", examples=[8]
    )
    tile_threads: Threads = Field(
        default="auto", description="Windows computed at once; auto and cpu: one a processor, null: 1.", examples=[2]
    )
    calculation_dtype: Literal["float32", "float64"] = Field(
        default="float32", description="Type in which corrections are computed.", examples=["float64"]
    )
    output_dtype: Dtype | None = Field(
        default=None, description="Type of the mosaic's pixels; null: the inputs'.", examples=["uint16"]
    )
    save_as_cog: bool = Field(
        default=False, description="Kept for scripts that set it: rasters are written as COG either way.", examples=[True]
    )


class Output(Section):
    """What is published, and how rasters are stored."""

    artifacts: Literal["standard", "full"] = Field(
        default="standard",
        description="full: also each scene after every stage, under the stage's name.",
        examples=["full"],
    )
    compression: Literal["deflate", "zstd", "lzw", "none"] = Field(
        default="deflate", description="Codec of the COGs' blocks.", examples=["zstd"]
    )
    level: Annotated[int, Field(ge=1, le=22)] | None = Field(
        default=None,
        description="Effort of the codec (deflate 1 to 12, zstd 1 to 22); null: 1 for both.",
        examples=[6],
    )
    predictor: bool = Field(default=True, description="Difference neighbouring pixels before packing.", examples=[False])
    hrefs: Literal["relative", "absolute"] = Field(
        default="relative",
        description="How the Item names its files; relative ones let the folder be moved.",
        examples=["absolute"],
    )
    public_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#@]+$", max_length=2048)] | None = Field(
        default=None,
        description="Where the folder of --output can be read over HTTP; the Item then names its files there too (alternate).",
        examples=["https://data.example.org/mosaics"],
    )
    inputs_geoparquet: bool = Field(
        default=False,
        description="Publish the Items of the inputs as STAC GeoParquet too; needs the extra of that name.",
        examples=[True],
    )
    catalog: bool = Field(
        default=False, description="Write a catalog.json that links to the Item into the folder of --output.", examples=[True]
    )

    @field_validator("level")
    @classmethod
    def _check_level(cls, value: int | None, info: Any) -> int | None:
        codec = info.data.get("compression")
        if value is not None and codec == "deflate" and value > 12:
            msg = "deflate has levels 1 to 12"
            raise ValueError(msg)
        return value
