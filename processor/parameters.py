"""The parameters: one frozen model of everything that can be configured, with unit, default and an example each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

__all__ = [
    "OPERATIONAL",
    "PLACES",
    "SECRETS",
    "Config",
    "Inputs",
    "Io",
    "MaskSetting",
    "Parameter",
    "VectorMask",
    "iter_parameters",
]

#: Parameters that change time, memory or place but never a byte of the result.
OPERATIONAL = frozenset(
    {
        "inputs.allow_local_files",
        "inputs.max_scenes",
        "inputs.sign",
        "shared.temp_dir",
        "shared.delete_temp_dir",
        "shared.debug_logs",
        "shared.memory",
        "shared.cache",
        "shared.window_size",
        "shared.image_threads",
        "shared.io_threads",
        "shared.tile_threads",
        "shared.save_as_cog",
        "io.raster_backend",
        "io.retries",
        "io.timeout",
        "io.s3_endpoint",
        "io.s3_region",
        "io.s3_profile",
        "io.s3_access_key_id",
        "io.s3_secret_access_key",
        "io.s3_session_token",
        "io.s3_anonymous",
        "io.s3_requester_pays",
        "io.s3_path_style",
        "io.gs_endpoint",
        "io.gs_credentials",
        "io.gs_anonymous",
        "io.gs_user_project",
        "kubernetes.namespace",
        "kubernetes.image",
        "kubernetes.service_account",
        "kubernetes.shards",
        "kubernetes.cpu",
        "kubernetes.retries_per_index",
        "kubernetes.deadline",
        "kubernetes.keep_finished",
        "kubernetes.on_interrupt",
        "kubernetes.queue",
    }
)

#: Parameters whose value is never shown: not in messages, logs, documents.
SECRETS = frozenset({"io.s3_access_key_id", "io.s3_secret_access_key", "io.s3_session_token"})

#: Names of parameters whose value is a place in storage: a document from elsewhere may not set them.
PLACES = frozenset(
    {
        "temp_dir",
        "output_images",
        "vector_mask",
        "save_adjustments",
        "load_adjustments",
        "save_block_maps",
        "load_block_maps",
        "output_mask",
        "aoi_path",
        "debug_vectors_path",
        "gs_credentials",
    }
)

Threads = Annotated[int, Field(ge=1, le=1024)] | Literal["cpu", "auto"] | None
Resolution = Literal["highest", "average", "lowest"]
Dtype = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
Word = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Place = Annotated[str, StringConstraints(min_length=1, max_length=8192), WithJsonSchema({"type": "string", "format": "path"})]


def _split_words(value: Any) -> Any:
    """Words between commas."""
    return tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else value


Words = Annotated[tuple[Word, ...], Field(min_length=1, max_length=256), BeforeValidator(_split_words)]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=8192)]  # see SECRETS
Endpoint = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+/?$", max_length=2048)]
Paths = Place | tuple[Place, ...]
Choice = Literal["include", "exclude"]
VectorMask = tuple[Choice, Place] | tuple[Choice, Place, Word]

_OUTPUT_IMAGES = (
    "Where to keep this stage's rasters: a folder, a list of files in input order, or a file name with $ for the scene."
)
_STAGE_OVERVIEWS = "Give this stage's kept rasters overviews."
_VECTOR_MASK = "Pixels that {0}: (include or exclude, vector file[, field whose value names the scene])."


class _Section(BaseModel):
    """A section: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth(cls, value: Any, info: ValidationInfo) -> Any:
        """A switch is no number: without this, true would count as 1."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and annotation is not bool and not {bool, True} & set(get_args(annotation)):
            msg = "true and false are no value of this parameter"
            raise ValueError(msg)
        return value


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


class Inputs(_Section):
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


class Shared(_Section):
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


class Methods(_Section):
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


class GlobalRegression(_Section):
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


class LocalBlockAdjustment(_Section):
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


class AlignRasters(_Section):
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


class VoronoiCenterSeamline(_Section):
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


class MaskRasters(_Section):
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


class MergeRasters(_Section):
    """Stage 6: the mosaic."""

    resolution: Resolution = Field(
        default="highest",
        description="Pixel size of the mosaic where the scenes were not aligned.",
        examples=["average"],
    )
    build_overviews: bool = Field(default=True, description="Overviews by averaging, down to one block.", examples=[False])


class Output(_Section):
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


class Io(_Section):
    """How storage is reached, by fsspec and GDAL alike; null: as the variables AWS_… and GOOGLE_… say."""

    raster_backend: Literal["auto", "gdal", "fsspec"] = Field(
        default="auto",
        description="What reads rasters: GDAL (s3, gs, http, files) or fsspec (anything); auto: GDAL where it can.",
        examples=["fsspec"],
    )
    retries: int = Field(
        default=5, ge=0, le=20, description="How often a request is repeated that failed for now.", examples=[8]
    )
    timeout: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Time without a byte after which a request has failed.",
        json_schema_extra={"unit": "seconds"},
        examples=[20.0],
    )
    s3_endpoint: Endpoint | None = Field(
        default=None,
        description="URL of an S3 server other than Amazon's (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL).",
        examples=["http://127.0.0.1:8333"],
    )
    s3_region: Word | None = Field(
        default=None, description="Region of the buckets (AWS_REGION, AWS_DEFAULT_REGION).", examples=["eu-central-1"]
    )
    s3_profile: Word | None = Field(
        default=None, description="Profile of the shared configuration (AWS_PROFILE).", examples=["mosaics"]
    )
    s3_access_key_id: Secret | None = Field(
        default=None, description="Key (AWS_ACCESS_KEY_ID); better left to the environment.", examples=["AKIAEXAMPLE"]
    )
    s3_secret_access_key: Secret | None = Field(
        default=None, description="Its secret (AWS_SECRET_ACCESS_KEY); better left to the environment.", examples=["example"]
    )
    s3_session_token: Secret | None = Field(
        default=None, description="Token of temporary keys (AWS_SESSION_TOKEN).", examples=["example"]
    )
    s3_anonymous: bool | None = Field(
        default=None, description="Do not sign requests: public buckets (AWS_NO_SIGN_REQUEST).", examples=[True]
    )
    s3_requester_pays: bool | None = Field(
        default=None,
        description="Pay for what is read from buckets that ask for it (AWS_REQUEST_PAYER=requester); those whose Items "
        "say so are paid for anyway.",
        examples=[True],
    )
    s3_path_style: bool | None = Field(
        default=None,
        description="Name the bucket in the path, not the host (AWS_VIRTUAL_HOSTING=FALSE); null: where an endpoint is set.",
        examples=[True],
    )
    gs_endpoint: Endpoint | None = Field(
        default=None,
        description="URL of a GCS server other than Google's (STORAGE_EMULATOR_HOST).",
        examples=["http://127.0.0.1:4443"],
    )
    gs_credentials: Place | None = Field(
        default=None,
        description="File of a service account (GOOGLE_APPLICATION_CREDENTIALS).",
        examples=["/etc/mosaic/service-account.json"],
    )
    gs_anonymous: bool | None = Field(
        default=None, description="Do not sign requests: public buckets (GS_NO_SIGN_REQUEST).", examples=[True]
    )
    gs_user_project: Word | None = Field(
        default=None, description="Project that pays for requests (GS_USER_PROJECT).", examples=["my-project"]
    )


class Kubernetes(_Section):
    """The Jobs of `run --executor kubernetes`."""

    namespace: Word | None = Field(
        default=None,
        description="Namespace of the Jobs; null: the coordinator's own, or the kubeconfig's.",
        examples=["mosaics"],
    )
    image: Word | None = Field(
        default=None,
        description="Image of the workers; null: the coordinator's own.",
        examples=["registry.example.org/mosaic-processor:0.1.0"],
    )
    service_account: Word = Field(
        default="mosaic-worker",
        description="Service account of the workers; it needs no right but to storage.",
        examples=["reader"],
    )
    shards: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        default=None, description="Pods of a phase, at most; null: chosen from the plan.", examples=[20]
    )
    cpu: float = Field(
        default=2.0, gt=0, le=256, description="Processors of a worker.", json_schema_extra={"unit": "cores"}, examples=[4.0]
    )
    retries_per_index: int = Field(
        default=4, ge=0, le=100, description="How often a shard is repeated that failed for now.", examples=[8]
    )
    deadline: Annotated[int, Field(ge=60)] | None = Field(
        default=None,
        description="Time after which a phase has failed; null: chosen from the plan.",
        json_schema_extra={"unit": "seconds"},
        examples=[7200],
    )
    keep_finished: int = Field(
        default=3600,
        ge=0,
        description="Time for which finished Jobs are kept, for their logs.",
        json_schema_extra={"unit": "seconds"},
        examples=[600],
    )
    on_interrupt: Literal["leave", "delete"] = Field(
        default="leave",
        description="What becomes of the Jobs when the coordinator is stopped: a rerun finds those that are left.",
        examples=["delete"],
    )
    queue: Word | None = Field(default=None, description="Queue of Kueue that admits the Jobs.", examples=["mosaics"])


class Config(BaseSettings):
    """Everything that can be configured, by section."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix="MOSAIC_", env_nested_delimiter="__")

    inputs: Inputs = Inputs()
    shared: Shared = Shared()
    methods: Methods = Methods()
    global_regression: GlobalRegression = GlobalRegression()
    local_block_adjustment: LocalBlockAdjustment = LocalBlockAdjustment()
    align_rasters: AlignRasters = AlignRasters()
    voronoi_center_seamline: VoronoiCenterSeamline = VoronoiCenterSeamline()
    mask_rasters: MaskRasters = MaskRasters()
    merge_rasters: MergeRasters = MergeRasters()
    output: Output = Output()
    io: Io = Io()
    kubernetes: Kubernetes = Kubernetes()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but what the caller passes: :func:`load_config` merges the sources, so building a Config reads nothing."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of the model, as documentation and the command line show it."""

    section: str
    name: str
    field: FieldInfo

    @property
    def path(self) -> str:
        """``section.name``."""
        return f"{self.section}.{self.name}"

    @property
    def unit(self) -> str | None:
        """Unit of the value, or None."""
        extra = self.field.json_schema_extra
        return str(extra["unit"]) if isinstance(extra, dict) and "unit" in extra else None


def iter_parameters() -> Iterator[Parameter]:
    """Every parameter, in the order of the model."""
    for section, info in Config.model_fields.items():
        model = info.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            for name, parameter in model.model_fields.items():
                yield Parameter(section=section, name=name, field=parameter)
