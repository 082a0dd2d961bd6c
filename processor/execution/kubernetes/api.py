"""The few requests that the executor makes of a Kubernetes API: by the official client, repeated where they fail for now."""

from __future__ import annotations

import itertools
import json
import logging
import math
import ssl
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from processor.errors import ConfigError, TransientError
from processor.execution.kubernetes.jobs import Manifest
from processor.process.logs import log_event
from processor.storage.retry import Backoff, RetryableError, repeat

R = TypeVar("R")
_LOGGER = logging.getLogger(__name__)
_TIMEOUT: Final = (10, 30)  # seconds: to connect, to the first byte
_MISSING: Final = 404
_CONFLICT: Final = 409
_REFUSED: Final = (401, 403)
_FOR_NOW: Final = (0, 408, 429)
_QUOTA: Final = "exceeded quota"
_REFUSALS: Final = 3  # a Role that was applied a moment ago, or a token that is being renewed, takes seconds to count
_MERCY: Final = 60.0  # seconds: an API server that comes back refuses everybody until it has read its roles
_TOLD: Final = (3, 10)  # attempts after which a silent wait is explained: about 10 s and 4 minutes
_LAST_LINES: Final = 20
_MOST_PODS: Final = 200
_MOST_EVENTS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace(Backoff):
    """How patient the executor is; all in seconds."""

    first: float = 1.0
    """First pause between repeated requests, seconds; each further one is twice as long."""
    longest: float = 30.0
    """Longest pause between repeated requests, seconds."""
    patience: float = 900.0
    """After which requests that keep failing are given up."""
    watch: float = 60.0
    """Length of one watch; also how long a dead connection can go unnoticed."""
    look: float = 15.0
    """Length of one watch while no pod is at work, after which those that wait are asked why."""
    gone: float = 180.0
    """For which a deleted Job may linger."""
    grace: float = 180.0
    """For which a Job may outlive its own deadline."""
    queue: float = 7 * 86400.0
    """For which a Job may be suspended."""


class QuotaError(TransientError):
    """A quota is used up."""


def connect(namespace: str | None, environ: Mapping[str, str], pace: Pace) -> JobsApi:
    """Connect to the cluster that this runs in, or else to the one that the kubeconfig names.

    Parameters
    ----------
    namespace
        Of the Jobs; None: the pod's own, or the kubeconfig's.

    Raises
    ------
    ConfigError
        Where the client is not installed or no cluster is named.
    """
    try:
        from kubernetes import client, config  # noqa: PLC0415 - an extra
    except ImportError as error:
        msg = "--executor kubernetes needs the extra kubernetes: pip install 'mosaic-processor[kubernetes]'"
        raise ConfigError(msg) from error
    settings, load, file = client.Configuration(), _untyped(config), environ.get("KUBECONFIG")
    try:
        if "KUBERNETES_SERVICE_HOST" in environ:
            load.load_incluster_config(client_configuration=settings)
            own = environ.get("POD_NAMESPACE")
        else:
            load.load_kube_config(config_file=file, client_configuration=settings)
            own = load.list_kube_config_contexts(config_file=file)[1]["context"].get("namespace")
    except config.ConfigException as error:
        msg = f"no Kubernetes cluster to run in: {error}; run in a pod with a service account, or set KUBECONFIG"
        raise ConfigError(msg) from error
    settings.retries = False  # repeating is done here, where it is bounded
    api = client.ApiClient(settings)
    if settings.verify_ssl:
        api.rest_client.pool_manager.connection_pool_kw["ssl_context"] = _make_context(settings)
    return JobsApi(api, namespace or own or "default", pace)


def _make_context(settings: Any) -> ssl.SSLContext:
    """What certificates are checked by: as always, but for the form that Python 3.13 demands of a CA's own certificate.

    Clusters make their CA once and keep it for years: those of older EKS clusters lack what RFC 5280 asks for.
    """
    from urllib3.util.ssl_ import create_urllib3_context  # noqa: PLC0415 - comes with the client

    context = create_urllib3_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if not (settings.ssl_ca_cert or getattr(settings, "ca_cert_data", None)):  # else the connection reads those
        context.load_default_certs()
    return context


def _untyped(thing: Any) -> Any:
    """The same, for whose types the library has no one word in all its versions."""
    return thing


class JobsApi:
    """Jobs, pods and logs of one namespace.

    Parameters
    ----------
    client
        An ``ApiClient`` of the official library.
    namespace
        Of all that is asked for.
    pace
        How failing requests are repeated.
    """

    def __init__(self, client: Any, namespace: str, pace: Pace) -> None:
        from kubernetes.client import ApiException, BatchV1Api, CoreV1Api  # noqa: PLC0415 - an extra
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with it

        self.namespace = namespace
        self.pace = pace
        self._client = client
        self._batch = _untyped(BatchV1Api(client))
        self._core = _untyped(CoreV1Api(client))
        self._refusal = ApiException
        self._lost = (HTTPError, OSError)
        self._shaken = False  # whether the API ever failed otherwise than by refusing
        self._granted: set[str] = set()  # what it did for us before

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def find_job(self, name: str) -> Manifest | None:
        """A Job, or None."""
        return self._ask(
            f"get jobs {name}",
            lambda: self._fetch_json(self._batch.read_namespaced_job, name, self.namespace),
        )

    def create_job(self, manifest: Manifest) -> Manifest | None:
        """Create a Job; None where the name is taken, be it by an earlier attempt whose answer was lost.

        Raises
        ------
        QuotaError
            Where a quota refuses it.
        """

        def create() -> Manifest | None:
            try:
                return self._fetch_json(self._batch.create_namespaced_job, self.namespace, manifest)
            except self._refusal as error:
                if error.status == _CONFLICT:
                    return None
                if error.status in _REFUSED and _QUOTA in (why := self._explain(error)):
                    raise QuotaError(why) from error
                raise

        return self._ask(f"create jobs {manifest['metadata']['name']}", create, missing_is_wrong=True)

    def delete_job(self, name: str, uid: str | None = None, patience: float | None = None) -> None:
        """Delete a Job and its pods; one that is gone, or is another by now, is left alone.

        Parameters
        ----------
        uid
            Of the Job that is meant; None: whichever has the name.
        """
        body: Manifest = {"propagationPolicy": "Background", **({"preconditions": {"uid": uid}} if uid else {})}
        timeout = _TIMEOUT if patience is None else (patience, patience)

        def delete() -> None:
            try:
                self._fetch(self._batch.delete_namespaced_job, name, self.namespace, body=body, _request_timeout=timeout)
            except self._refusal as error:
                if error.status != _CONFLICT:
                    raise

        self._ask(f"delete jobs {name}", delete, patience)

    def watch_job(self, name: str, version: str, seconds: float) -> Generator[tuple[str, Manifest]]:
        """What happens to a Job after a version of it: event type and Job.

        Ends early, and without an error, where the connection is lost or the version too old (410 Gone): whoever waits reads
        the Job anew in either case, and that request says what is wrong if the API is.
        """
        from kubernetes.watch import Watch  # noqa: PLC0415 - an extra

        length = max(1, int(seconds))
        try:
            for event in _untyped(Watch)(return_type="object").stream(
                self._batch.list_namespaced_job,
                self.namespace,
                field_selector=f"metadata.name={name}",
                resource_version=version,
                timeout_seconds=length,
                _request_timeout=(_TIMEOUT[0], length + 10),
            ):
                if event is not None:  # a line that was cut short
                    yield event["type"], event["raw_object"]
        except (self._refusal, *self._lost, ValueError) as error:
            why = self._explain(error)
            self._shaken = True
            log_event(_LOGGER, "watch-lost", f"the watch of {name} was lost: {why}", level=logging.DEBUG, job=name)

    def find_pod(self, name: str) -> Manifest | None:
        """A pod, or None."""
        return self._ask(
            f"get pods {name}",
            lambda: self._fetch_json(self._core.read_namespaced_pod, name, self.namespace),
        )

    def list_pods(self, job: str, phase: str) -> list[Manifest]:
        """Pods of a Job in a phase of their life (Pending, Failed), 200 at most."""

        def ask() -> list[Manifest]:
            found = self._fetch_json(
                self._core.list_namespaced_pod,
                self.namespace,
                label_selector=f"batch.kubernetes.io/job-name={job}",
                field_selector=f"status.phase={phase}",
                limit=_MOST_PODS,
            )
            pods: list[Manifest] = found.get("items") or []
            return pods

        return self._ask("list pods", ask) or []

    def list_events(self, uid: str) -> list[Manifest]:
        """Events about an object, the oldest first; none where the API does not give them, which is no right that is needed."""
        try:
            found = self._fetch_json(
                self._core.list_namespaced_event, self.namespace, field_selector=f"involvedObject.uid={uid}", limit=_MOST_EVENTS
            )
        except (self._refusal, *self._lost) as error:
            log_event(_LOGGER, "no-events", f"events were not given: {self._explain(error)}", level=logging.DEBUG)
            return []
        return sorted(
            found.get("items") or [], key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or "")
        )

    def read_log(self, pod: str, container: str) -> str:
        """The last lines of a pod's log."""

        def ask() -> str:
            read = self._core.read_namespaced_pod_log
            return self._fetch(read, pod, self.namespace, container=container, tail_lines=_LAST_LINES).decode(errors="replace")

        return self._ask(f"get pods/log {pod}", ask) or ""

    def _fetch(self, request: Callable[..., Any], *arguments: Any, **options: Any) -> bytes:
        """What the API answers, as it came.

        The client's own models are left out: they refuse what a newer or older API says in other words, and take a log of one
        JSON line for an object.
        """
        response = request(*arguments, **{"_request_timeout": _TIMEOUT, "_preload_content": False, **options})
        try:
            data: bytes = response.data
        finally:
            response.release_conn()
        if response.status >= 400:
            error = self._refusal(status=response.status, reason=response.reason)
            error.body, error.headers = data.decode(errors="replace"), response.headers
            raise error
        return data

    def _fetch_json(self, request: Callable[..., Any], *arguments: Any, **options: Any) -> Manifest:
        answer: Manifest = json.loads(self._fetch(request, *arguments, **options))
        return answer

    def _ask(
        self, what: str, request: Callable[[], R | None], patience: float | None = None, *, missing_is_wrong: bool = False
    ) -> R | None:
        """Make a request until it is answered; None where there is no such thing (404), unless that is wrong.

        A refusal is final after a few attempts; after a minute where the API was in trouble before, or did the same for us.

        Raises
        ------
        ConfigError
            Where the API refuses, or its certificate is not to be trusted.
        StorageError
            Where it keeps failing.
        """
        limit, attempts = self.pace.patience if patience is None else patience, itertools.count()
        right, refusals = " ".join(what.split(" ")[:2]), _Refusals(self.pace.clock)

        def make() -> R | None:
            try:
                answer = request()
            except (self._refusal, *self._lost) as error:
                status = getattr(error, "status", 0) or 0
                if status == _MISSING and not missing_is_wrong:
                    return None
                why, attempt = self._explain(error), next(attempts)
                if _is_of_certificate(error):
                    raise _distrust(why) from error
                if status in _REFUSED:
                    is_for_now = refusals.bear(_MERCY if self._shaken or right in self._granted else 0.0)
                else:
                    is_for_now = status in _FOR_NOW or status >= 500
                    self._shaken = True
                    refusals.forget()
                if not is_for_now:
                    raise _refuse(what, self.namespace, why, status) from error
                level = logging.WARNING if attempt in _TOLD else logging.DEBUG
                log_event(_LOGGER, "api-failed", f"{what} failed for now: {why}", level=level, attempt=attempt + 1)
                msg = f"the Kubernetes API kept failing for {limit:.0f} s ({what}): {why}; try again later"
                asked = str((getattr(error, "headers", None) or {}).get("Retry-After") or "")
                raise RetryableError(msg, float(asked) if asked.isdigit() else 0.0) from error
            self._granted.add(right)
            return answer

        return repeat(make, seconds=limit, backoff=self.pace, error=RetryableError)

    def _explain(self, error: BaseException) -> str:
        """Why a request failed, in one line: what the API says, or what the network does."""
        if not isinstance(error, self._refusal):
            return f"{type(error).__name__}: {error}".replace("\n", " ")[:500]
        try:
            told = json.loads(error.body or "")["message"]
        except (ValueError, KeyError, TypeError):
            told = error.reason
        return f"{error.status} {told}".replace("\n", " ")[:500]


class _Refusals:
    """Refusals of a request since it last failed otherwise."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._count, self._begin = 0, math.inf

    def bear(self, seconds: float) -> bool:
        """Count one; whether to ask again, being patient for so many seconds."""
        self._count, self._begin = self._count + 1, min(self._begin, self._clock())
        return self._count <= _REFUSALS or self._clock() - self._begin < seconds

    def forget(self) -> None:
        """Begin anew."""
        self._count, self._begin = 0, math.inf


def _is_of_certificate(error: BaseException) -> bool:
    """Whether one side does not trust the other's certificate; the library tells it as a cause, a context or an argument."""
    chain: BaseException | None = error
    while chain is not None:
        told = [chain, *chain.args]
        reasons = [one.reason or "" for one in told if isinstance(one, ssl.SSLError)]
        if any("CERTIFICATE" in reason or "UNKNOWN_CA" in reason for reason in reasons):
            return True
        chain = chain.__cause__ or chain.__context__
    return False


def _distrust(why: str) -> ConfigError:
    return ConfigError(
        f"the certificates of the Kubernetes API and of this client do not go together: {why}; certificate-authority and the "
        "client's certificate in the kubeconfig (in a pod: ca.crt of its service account) must be this cluster's, and the name "
        "of the server one of those in its certificate"
    )


def _refuse(what: str, namespace: str, why: str, status: int) -> ConfigError:
    verb, _, rest = what.partition(" ")
    hint = f"; the service account needs the right to {verb} {rest.split(' ')[0]}" if status in _REFUSED else ""
    return ConfigError(f"the Kubernetes API refused to {what} in namespace {namespace}: {why}{hint}")
