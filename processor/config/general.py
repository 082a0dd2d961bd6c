"""Which pixels are read, what concerns every stage, what is published, and how clusters are reached."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator

from processor.model.options import Dtype, Numbers, Paths, Place, Section, Threads, Word, Words, option

_MaskValues = Annotated[tuple[Annotated[int, Field(ge=0, le=65535)], ...], Field(max_length=65536)]
"""Values of a mask's pixels."""


class MaskSetting(BaseModel):
    """The asset of each Item that says which pixels are invalid."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    asset: Word
    band: Annotated[int, Field(ge=1, le=65535)] | Word | None = None
    invalid: _MaskValues = ()
    valid: _MaskValues = ()
    bits: Annotated[tuple[Annotated[int, Field(ge=0, le=15)], ...], Field(max_length=16)] = ()

    @model_validator(mode="after")
    def _check_marks(self) -> MaskSetting:
        if not self.invalid and not self.bits and not self.valid:
            msg = "a mask needs invalid (values) or bits that mark invalid pixels, or valid (values)"
            raise ValueError(msg)
        if self.invalid and self.valid:
            msg = "a mask has invalid values or valid ones, not both"
            raise ValueError(msg)
        return self


License = Annotated[str, StringConstraints(pattern=r"^(https?://[^\s@]+|[A-Za-z0-9.+-]+)$", max_length=2048)]


class Provider(BaseModel):
    """Who made a mosaic, or gives it away."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Word
    roles: tuple[Literal["licensor", "producer", "processor", "host"], ...] = ()
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$", max_length=2048)] | None = None
    description: Annotated[str, StringConstraints(min_length=1, max_length=4096)] | None = None


class Inputs(Section):
    """Which pixels of the Items are read."""

    asset: Word | None = option(
        None,
        "STAC asset to read where an Item has several: its key, role:data, title:…, type:image/tiff or a pattern such as "
        "*_GEC; of files with one band each, the band as their names call it.",
        example="visual",
    )
    assets: Words | None = option(
        None,
        "STAC assets, or files with one band each, whose bands are stacked in this order; named as asset says.",
        example="red,green,blue,nir",
    )
    bands: Words | None = option(
        None,
        "Bands to read, in this order, by name, common name or colour; looked for in all assets, or those chosen, and in files "
        "without Items, where a number counts from 1.",
        example="nir,red,green",
    )
    mask: MaskSetting | None = option(
        None,
        "Asset, or file beside a scene's with this word in its name, and its band where it has several, whose values or bits "
        "mark invalid pixels: {asset, band, invalid | valid | bits}.",
        example="{asset: SCL, invalid: [0, 1, 3, 8, 9, 10]}",
    )
    sign: Literal["planetary-computer"] | None = option(
        None, "Sign the hrefs of this catalogue; needs the extra of that name.", example="planetary-computer", decisive=False
    )
    alternate: Word | None = option(
        None,
        "Key of the alternate to read where an asset has it, such as s3 or https; null: the asset's own href. Where storage "
        "does not give the one, the others are tried.",
        example="s3",
        decisive=False,
    )
    allow_local_files: bool = option(
        False,
        "Let an ItemCollection from a URL or standard input name files of this machine.",
        example=True,
        decisive=False,
        trust="limit",
    )
    max_scenes: int = option(
        20_000, "Refuse an ItemCollection with more scenes than this.", example=500, decisive=False, trust="limit", ge=1
    )
    max_bytes: int = option(
        128 << 20,
        "Refuse an ItemCollection, all documents of a catalogue or all answers of a search with more bytes than this.",
        example=512 << 20,
        unit="bytes",
        decisive=False,
        trust="limit",
        ge=1,
        le=1 << 40,
    )
    max_seconds: float = option(
        1800.0,
        "Time for all documents that say what is read, after which a server that gives little, or never ends, has failed.",
        example=120.0,
        unit="seconds",
        decisive=False,
        trust="limit",
        gt=0,
        le=604_800,
    )


class SceneInputs(Inputs):
    """The scenes of the mosaic, of which more has to be said than of images that are only compared with."""

    validity: Literal["any", "all", "band"] | None = option(
        None,
        "Where a pixel is invalid: any: where any band holds nodata; all: where all bands do, so that nodata in one is a value "
        "of the mosaic; band: in those bands alone. Statistics take pixels that all bands have. null: any where bands are "
        "from several files, all where they are in one.",
        example="any",
    )
    nodata: Numbers | None = option(
        None,
        "Values of invalid pixels in the inputs, instead of what files and Items say: a number, a range, or several. The "
        "mosaic's is shared.custom_nodata_value, or the first of these.",
        example="253..255",
        unit="source units",
    )
    allow_private_networks: bool = option(
        False,
        "Let documents that were read from a URL name addresses of private networks, of this machine too; also those of "
        "references and checks.",
        example=True,
        decisive=False,
        trust="limit",
    )
    skip_unreadable: Annotated[int, Field(ge=0)] | Annotated[float, Field(gt=0, lt=1)] | None = option(
        None,
        "Scenes that may be left out, as a number or a share of all, because storage has no such file or denies it; a finding "
        "names them. null: none.",
        example=2,
        decisive=False,
    )


class Reference(Inputs):
    """Images of known radiometry, which hold the levels of all scenes and are never painted; read as the inputs are."""

    images: Paths | None = option(
        None,
        "ItemCollection, catalogue, folder, pattern or rasters, in any CRS, mostly of a coarser sensor; the mosaic has "
        "their units. Bands are matched by common name, or as bands says.",
        example="sentinel2.tif",
        path=True,
    )
    nodata: Numbers | None = option(None, "Values of invalid pixels, instead of what the files say.", example=0)
    weight: float = option(
        1.0, "Weight of the blocks of references against those of overlaps.", example=0.5, gt=0, allow_inf_nan=False
    )


class Check(Inputs):
    """Images that the finished mosaic is judged by, of known radiometry and never fitted; read as the inputs are."""

    images: Paths | None = option(
        None,
        "ItemCollection, catalogue, folder, pattern or rasters, in any CRS, of another sensor than the references: the report "
        "says how much of them the mosaic explains. Bands are matched by common name, or as bands says.",
        example="landsat8.tif",
        path=True,
    )
    nodata: Numbers | None = option(None, "Values of invalid pixels, instead of what the files say.", example=0)


class Shared(Section):
    """What concerns every stage."""

    temp_dir: Place | None = option(
        None, "Folder for scratch files; null: made and removed.", example="/scratch", decisive=False, path=True
    )
    delete_temp_dir: bool = option(
        True, "Remove this run's scratch files at the end.", example=False, decisive=False, trust="machine"
    )
    debug_logs: bool = option(False, "Log every task, not just the passes.", example=True, decisive=False, trust="machine")
    memory: Annotated[float, Field(ge=0.25, allow_inf_nan=False)] | Literal["auto"] = option(
        "auto",
        "Memory that the passes over the pixels keep to, by smaller windows, fewer of them at once and a smaller cache; "
        "auto: 0.256 and 0.064 for each of tile_threads, or more where one window needs more.",
        example=2,
        unit="GB",
        decisive=False,
        trust="machine",
    )
    cache: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] | None = option(
        "auto",
        "Memory for decoded source blocks; auto: what shared.memory leaves, at most 0.125, null: none are kept.",
        example=0.5,
        unit="GB",
        decisive=False,
        trust="machine",
    )
    disk_cache: Annotated[float, Field(gt=0, allow_inf_nan=False)] | Literal["auto"] | None = option(
        "auto",
        "Scratch space for what the first pass reads over the network, so that the second need not: exact statistics then "
        "take less than half the bytes and a quarter of the requests; auto: what is free there, at most 8, null: none.",
        example=20,
        unit="GB",
        decisive=False,
        trust="machine",
    )
    custom_nodata_value: float | None = option(
        None,
        "Value of invalid pixels in the inputs and the outputs; null: read from the inputs.",
        example=0,
        unit="source units",
    )
    window_size: int = option(
        1024,
        "Edge of the windows in which pixels are computed, rounded down to 512, 1024, 2048 …, at least 512; smaller where "
        "shared.memory does not allow for it.",
        example=2048,
        unit="pixels, a multiple of 16",
        decisive=False,
        trust="machine",
        ge=16,
        le=16384,
        multiple_of=16,
    )
    image_threads: Threads = option(
        "auto", "Scenes opened at once; auto: 8, cpu: one a processor, null: 1.", example=16, decisive=False, trust="machine"
    )
    io_threads: Threads = option(
        "auto", "Objects uploaded at once; auto: 4, cpu: one a processor, null: 1.", example=8, decisive=False, trust="machine"
    )
    tile_threads: Threads = option(
        "auto", "Windows computed at once; auto and cpu: one a processor, null: 1.", example=2, decisive=False, trust="machine"
    )
    calculation_dtype: Literal["float32", "float64"] = option(
        "float32", "Type in which corrections are computed.", example="float64"
    )
    output_dtype: Dtype | None = option(None, "Type of the mosaic's pixels; null: the inputs'.", example="uint16")
    save_as_cog: bool = option(
        False, "Kept for scripts that set it: rasters are written as COG either way.", example=True, decisive=False
    )

    @field_validator("temp_dir")
    @classmethod
    def _check_temp_dir(cls, value: str | None) -> str | None:
        if value is not None and "://" in value:
            msg = "scratch files are on this machine: give the path of a folder"
            raise ValueError(msg)
        return value


class Output(Section):
    """What is published, and how rasters are stored."""

    artifacts: Literal["standard", "full"] = option(
        "standard", "full: also each scene after every stage, under the stage's name.", example="full"
    )
    compression: Literal["deflate", "zstd", "lzw", "none"] = option("deflate", "Codec of the COGs' blocks.", example="zstd")
    level: Annotated[int, Field(ge=1, le=22)] | None = option(
        None, "Effort of the codec (deflate 1 to 12, zstd 1 to 22); null: 1 for both.", example=6
    )
    predictor: bool = option(True, "Difference neighbouring pixels before packing.", example=False)
    hrefs: Literal["relative", "absolute"] = option(
        "relative", "How the Item names its files; relative ones let the folder be moved.", example="absolute"
    )
    public_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#@]+$", max_length=2048)] | None = option(
        None,
        "Where the folder of --output can be read over HTTP; the Item then names its files there too (alternate).",
        example="https://data.example.org/mosaics",
    )
    tiles_url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s@]+$", max_length=2048)] | None = option(
        None,
        "Tiles of a server that shows the mosaic, with {z}, {x}, {y}, and {id} or, for URLs below public_url, {item} and "
        "{mosaic}; the Item then links to them (xyz).",
        example="https://tiles.example.org/{id}/{z}/{x}/{y}.png",
    )
    license: License | None = option(
        None,
        "License of the mosaic, for the Item and a new Collection: an SPDX identifier, or the URL of its text.",
        example="CC-BY-4.0",
    )
    providers: Annotated[tuple[Provider, ...], Field(max_length=20)] | None = option(
        None,
        "Who made the mosaic, for the Item and a new Collection: {name, roles, url, description} of each.",
        example="[{name: Example Agency, roles: [producer, licensor]}]",
    )
    inputs_geoparquet: bool = option(
        False, "Publish the Items of the inputs as STAC GeoParquet too; needs the extra of that name.", example=True
    )
    max_pixels: int = option(
        1_000_000_000_000,
        "Refuse, before a pixel is read, a mosaic or a canvas at the scenes' finest resolution with more pixels than this.",
        example=1_000_000,
        decisive=False,
        trust="limit",
        ge=1,
        le=2**42,
    )
    catalog: bool = option(False, "Write a catalog.json that links to the Item into the folder of --output.", example=True)

    @field_validator("tiles_url")
    @classmethod
    def _check_tiles(cls, value: str | None, info: Any) -> str | None:
        if value is not None and not all(place in value for place in ("{z}", "{x}", "{y}")):
            msg = "a template of tiles has {z}, {x} and {y}"
            raise ValueError(msg)
        if value is not None and info.data.get("public_url") is None and ("{item}" in value or "{mosaic}" in value):
            msg = "{item} and {mosaic} are URLs below public_url, so name that too"
            raise ValueError(msg)
        return value

    @field_validator("level")
    @classmethod
    def _check_level(cls, value: int | None, info: Any) -> int | None:
        codec = info.data.get("compression")
        if value is not None and codec == "deflate" and value > 12:
            msg = "deflate has levels 1 to 12"
            raise ValueError(msg)
        return value


class Kubernetes(Section):
    """The Jobs of `run --executor kubernetes`."""

    trust = "machine"

    namespace: Word | None = option(
        None, "Namespace of the Jobs; null: the coordinator's own, or the kubeconfig's.", example="mosaics", decisive=False
    )
    image: Word | None = option(
        None,
        "Image of the workers; null: the coordinator's own.",
        example="registry.example.org/mosaic-processor:0.1.0",
        decisive=False,
    )
    service_account: Word = option(
        "mosaic-worker", "Service account of the workers; it needs no right but to storage.", example="reader", decisive=False
    )
    shards: Annotated[int, Field(ge=1, le=100_000)] | None = option(
        None, "Pods of a phase, at most; null: chosen from the plan.", example=20, decisive=False
    )
    cpu: float = option(
        1.5,
        "Processors that a worker asks for; it has a thread for each that is begun.",
        example=4.0,
        unit="cores",
        decisive=False,
        gt=0,
        le=256,
    )
    cpu_limit: Annotated[float, Field(gt=0, le=256)] | None = option(
        None,
        "Most processors that a worker may use, as quotas of limits.cpu ask for; null: those that idle on its node, too.",
        example=8.0,
        unit="cores",
        decisive=False,
    )
    retries_per_index: int = option(
        4, "How often a shard is repeated that failed for now.", example=8, decisive=False, ge=0, le=100
    )
    deadline: Annotated[int, Field(ge=60)] | None = option(
        None, "Time after which a phase has failed; null: chosen from the plan.", example=7200, unit="seconds", decisive=False
    )
    pending_limit: Annotated[int, Field(ge=15)] | None = option(
        300,
        "Time after which a phase has failed whose pods cannot begin for a reason that does not pass by itself, such as a "
        "misspelt image; null: its deadline.",
        example=1800,
        unit="seconds",
        decisive=False,
    )
    keep_finished: int = option(
        3600, "Time for which finished Jobs are kept, for their logs.", example=600, unit="seconds", decisive=False, ge=0
    )
    on_interrupt: Literal["leave", "delete"] = option(
        "leave",
        "What becomes of the Jobs when the coordinator is stopped: a rerun finds those that are left.",
        example="delete",
        decisive=False,
    )
    queue: Word | None = option(None, "Queue of Kueue that admits the Jobs.", example="mosaics", decisive=False)

    @field_validator("cpu_limit")
    @classmethod
    def _check_limit(cls, value: float | None, info: Any) -> float | None:
        cpu = info.data.get("cpu")
        if value is not None and cpu is not None and value < cpu:
            msg = f"a worker cannot be limited to less than the {cpu:g} processors (kubernetes.cpu) that it asks for"
            raise ValueError(msg)
        return value
