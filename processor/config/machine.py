"""How storage and clusters are reached: of the machine and the user, never of the data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from processor.model.options import Endpoint, Place, Secret, Section, Word, option

__all__ = ["Io", "Kubernetes"]


class Io(Section):
    """How storage is reached, by fsspec and GDAL alike; null: as the variables AWS_… and GOOGLE_… say."""

    raster_backend: Literal["auto", "gdal", "fsspec"] = option(
        "auto",
        "What reads rasters: GDAL (s3, gs, http, files) or fsspec (anything); auto: GDAL where it can.",
        example="fsspec",
        decisive=False,
    )
    retries: int = option(5, "How often a request is repeated that failed for now.", example=8, decisive=False, ge=0, le=20)
    timeout: float = option(
        60.0,
        "Time without a byte after which a request has failed.",
        example=20.0,
        unit="seconds",
        decisive=False,
        gt=0,
        le=3600,
    )
    s3_endpoint: Endpoint | None = option(
        None,
        "URL of an S3 server other than Amazon's (AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL).",
        example="http://127.0.0.1:8333",
        decisive=False,
    )
    s3_region: Word | None = option(
        None, "Region of the buckets (AWS_REGION, AWS_DEFAULT_REGION).", example="eu-central-1", decisive=False
    )
    s3_profile: Word | None = option(
        None, "Profile of the shared configuration (AWS_PROFILE).", example="mosaics", decisive=False
    )
    s3_access_key_id: Secret | None = option(
        None, "Key (AWS_ACCESS_KEY_ID); better left to the environment.", example="AKIAEXAMPLE", decisive=False, secret=True
    )
    s3_secret_access_key: Secret | None = option(
        None,
        "Its secret (AWS_SECRET_ACCESS_KEY); better left to the environment.",
        example="example",
        decisive=False,
        secret=True,
    )
    s3_session_token: Secret | None = option(
        None, "Token of temporary keys (AWS_SESSION_TOKEN).", example="example", decisive=False, secret=True
    )
    s3_anonymous: bool | None = option(
        None, "Do not sign requests: public buckets (AWS_NO_SIGN_REQUEST).", example=True, decisive=False
    )
    s3_requester_pays: bool | None = option(
        None,
        "Pay for what is read from buckets that ask for it (AWS_REQUEST_PAYER=requester); those whose Items "
        "say so are paid for anyway.",
        example=True,
        decisive=False,
    )
    s3_path_style: bool | None = option(
        None,
        "Name the bucket in the path, not the host (AWS_VIRTUAL_HOSTING=FALSE); null: where an endpoint is set.",
        example=True,
        decisive=False,
    )
    gs_endpoint: Endpoint | None = option(
        None,
        "URL of a GCS server other than Google's (STORAGE_EMULATOR_HOST).",
        example="http://127.0.0.1:4443",
        decisive=False,
    )
    gs_credentials: Place | None = option(
        None,
        "File of a service account (GOOGLE_APPLICATION_CREDENTIALS).",
        example="/etc/mosaic/service-account.json",
        decisive=False,
        path=True,
    )
    gs_anonymous: bool | None = option(
        None, "Do not sign requests: public buckets (GS_NO_SIGN_REQUEST).", example=True, decisive=False
    )
    gs_user_project: Word | None = option(
        None, "Project that pays for requests (GS_USER_PROJECT).", example="my-project", decisive=False
    )


class Kubernetes(Section):
    """The Jobs of `run --executor kubernetes`."""

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
    cpu: float = option(2.0, "Processors of a worker.", example=4.0, unit="cores", decisive=False, gt=0, le=256)
    retries_per_index: int = option(
        4, "How often a shard is repeated that failed for now.", example=8, decisive=False, ge=0, le=100
    )
    deadline: Annotated[int, Field(ge=60)] | None = option(
        None, "Time after which a phase has failed; null: chosen from the plan.", example=7200, unit="seconds", decisive=False
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
