"""The parameters: one frozen model of everything that can be configured, with unit, default and an example each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from processor.config.general import Inputs, MaskSetting, Output, Shared
from processor.config.machine import Io, Kubernetes
from processor.config.stages import (
    AlignRasters,
    GlobalRegression,
    LocalBlockAdjustment,
    MaskRasters,
    MergeRasters,
    Methods,
    VoronoiCenterSeamline,
)
from processor.model.options import VectorMask

__all__ = [
    "OPERATIONAL",
    "PLACES",
    "SECRETS",
    "Config",
    "Inputs",
    "Io",
    "Kubernetes",
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
