"""How storage and clusters are reached: of the machine and the user, never of the data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from processor.model.options import Endpoint, Place, Secret, Section, Word

__all__ = ["Io", "Kubernetes"]


class Io(Section):
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


class Kubernetes(Section):
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
