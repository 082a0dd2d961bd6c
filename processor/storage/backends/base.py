"""What a storage backend is: its URLs, options, clients, GDAL settings, conditional writes and errors, in one class."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Final, Literal, Self, cast
from urllib.parse import urlsplit

from processor.model.options import Section, option

access_option = partial(option, None, decisive=False)
"""Declare an option that says how storage is reached: left open by default, and no byte of the result depends on it."""

Failure = Literal["taken", "missing", "denied", "refused", "for now"]
"""What an error of storage means: all but the last are permanent."""

LONGEST_CONNECTING: Final = 10.0
"""Seconds that a connection may take, whatever a server may take to answer: then nobody is there, or the port is dropped."""

_TRUE: Final = frozenset({"1", "yes", "true", "on"})
_DENIED: Final = frozenset({401, 403})
_GONE: Final = frozenset({404, 410})
_PRECONDITION_FAILED: Final = 412
_NO_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.ELOOP})  # of no file, and never will be


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A kind of storage; an instance is how it is reached, made from options and environment.

    The methods here hold for what fsspec reads by its own defaults. ``filesystem`` is fsspec's, ``path`` the name it gives.
    """

    protocols: ClassVar[tuple[str, ...]]
    """Schemes of its URLs; the first is its name."""
    title: ClassVar[str]
    """For people, as in "Object in S3"."""
    options: ClassVar[type[Section] | None] = None
    """Its options of the section ``io``, or None."""
    prefix: ClassVar[str] = ""
    """What the names of its options begin with."""
    is_local: ClassVar[bool] = False
    """Whether URLs are paths of this machine, which need neither fsspec nor GDAL's network."""
    is_writable: ClassVar[bool] = False
    """Whether folders are listed and objects written, not only read."""
    is_followed: ClassVar[bool] = True
    """Whether documents may name its URLs; otherwise only the command line does."""
    names_account: ClassVar[bool] = False
    """Whether the authority of a URL may be ``container@account``."""
    is_steady: ClassVar[bool] = False
    """Whether its failures do not pass by themselves, so that nothing is tried again."""
    repeats: ClassVar[bool] = False
    """Whether its client repeats single requests."""
    has_keys: ClassVar[bool] = False
    """Whether GDAL needs keys from here (:meth:`gdal_keys`)."""
    creates_streams: ClassVar[bool] = True
    """Whether its files can be opened for writing with mode "xb" and a media type."""
    gdal_prefix: ClassVar[str | None] = None
    """What GDAL puts before bucket and key, such as ``/vsis3/``; None: it does not read them."""
    version_key: ClassVar[str | None] = None
    """What fsspec's details call the version that :meth:`replace` compares; None: the bytes are compared in this process."""

    @classmethod
    def resolve(cls, io: Section, environment: Mapping[str, str]) -> Self:
        """Fill in from the environment what the section ``io``, which has these :attr:`options`, leaves open.

        Raises
        ------
        ConfigError
            Options contradict each other.
        """
        del io, environment
        return cls()

    def for_url(self, url: str) -> Self:
        """The same for a URL that says more, such as an account."""
        del url
        return self

    def for_bucket(self, *, requester_pays: bool, region: str | None) -> Self:
        """The same for a bucket of which an Item says more."""
        del requester_pays, region
        return self

    def for_hosts(self, urls: Sequence[str]) -> Self:
        """The same where keys may go to the hosts of URLs, unless it was said which hosts they are for."""
        del urls
        return self

    def fsspec_options(self, *, retries: int, timeout: float) -> dict[str, Any]:
        """Options of fsspec's filesystem: how often a request is repeated, and the seconds without a byte that it may last."""
        del retries, timeout
        return {}

    def find_endpoint(self, url: str) -> str | None:
        """URL of the server that a URL is asked of; None where there is none, or only the client knows it."""
        del url
        return None

    def make_filesystem(self, options: Mapping[str, Any]) -> Any:  # fsspec has no types
        """Make, or find again, fsspec's filesystem; ImportError where the package that speaks the protocol is missing."""
        import fsspec  # noqa: PLC0415 - the configuration knows backends, and reaches nothing

        return fsspec.filesystem(self.protocols[0], **options)

    def read_range(self, filesystem: Any, path: str, start: int, end: int) -> bytes:
        """Bytes of an object from ``start`` to ``end``; others only where that is all that there is."""
        return bytes(filesystem.cat_file(path, start=start, end=end))

    def gdal_path(self, url: str) -> str | None:
        """The name under which GDAL reads a URL itself; None where only fsspec does."""
        parts = urlsplit(url)
        return None if self.gdal_prefix is None else f"{self.gdal_prefix}{parts.netloc.partition('@')[0]}{parts.path}"

    def gdal_options(self) -> dict[str, str]:
        """Configuration options of GDAL, without keys."""
        return {}

    def gdal_keys(self) -> dict[str, str]:
        """The keys that GDAL signs requests with, current ones; empty where requests are not signed.

        Raises
        ------
        InputError
            If there are none.
        ConfigError
            If the options cannot be used.
        """
        return {}

    def check_writable(self, filesystem: Any, path: str) -> None:
        """Fail as a write of this object would, and leave nothing behind; nothing is asked where that cannot be known."""

    def upload_options(self, part_size: int) -> dict[str, Any]:
        """Arguments of ``put_file`` such that it sends parts of so many bytes, four at once."""
        del part_size
        return {}

    def media_type(self, content_type: str) -> dict[str, Any]:
        """Arguments of ``pipe_file``, ``put_file`` and ``open`` that name the media type."""
        del content_type
        return {}

    def abort_uploads(self, filesystem: Any, path: str, *, below: bool) -> int:
        """Abort and count unfinished uploads of an object, or of all below a folder; not those that end by themselves."""
        del filesystem, path, below
        return 0

    def replace(self, filesystem: Any, path: str, data: bytes, version: str, content_type: str) -> bool:
        """Replace an object while it has a version (see :attr:`version_key`), and tell whether it had."""
        raise NotImplementedError

    def foreign_errors(self) -> tuple[type[Exception], ...]:
        """Errors of its client that are no OSError."""
        return ()

    def is_denied(self, error: Exception) -> bool:
        """Whether an error that has no HTTP status says that access is denied."""
        del error
        return False

    def is_missing(self, error: Exception) -> bool:
        """Whether an error that is no FileNotFoundError says that there is no such object."""
        del error
        return False

    def describe(self, error: Exception) -> str:
        """What an error says, for a message."""
        return str(error)

    @property
    def hint(self) -> str:
        """The options to look at, as flags."""
        return f"--io.{self.prefix}…"

    def explain(self, error: Exception) -> Failure:
        """What an error of its client means."""
        if isinstance(error, FileNotFoundError) and isinstance(error.__cause__, Exception) and not is_absence(error):
            error = error.__cause__
        status = find_status(error)
        if isinstance(error, FileExistsError) or status == _PRECONDITION_FAILED:
            return "taken"
        number = error.errno if isinstance(error, OSError) else None
        is_missing = isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError) or number in _NO_NAME
        if is_missing or self.is_missing(error):
            return "missing"
        if isinstance(error, PermissionError) or number == errno.EROFS or status in _DENIED or self.is_denied(error):
            return "denied"
        return "refused" if isinstance(error, ValueError) else "for now"


def limit_connecting(timeout: float) -> float:
    """Seconds that a connection may take where a request may be without a byte for ``timeout`` seconds."""
    return min(timeout, LONGEST_CONNECTING)


def is_absence(error: FileNotFoundError) -> bool:
    """Whether "not found" means that; fsspec says it of any failure over HTTP, with the failure as its cause."""
    cause = error.__cause__
    return not isinstance(cause, Exception) or isinstance(cause, FileNotFoundError) or find_status(cause) in _GONE


def find_status(error: Exception) -> int | None:
    """Find the HTTP status behind an error of a client, or of the error that caused it."""
    for origin in (error, error.__cause__):
        for attribute in ("status", "status_code", "code"):
            value = getattr(origin, attribute, None)
            if isinstance(value, int):
                return value
        response = getattr(origin, "response", None)
        if isinstance(response, Mapping):
            return cast("int | None", response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
    return None


def read_variable(environment: Mapping[str, str], *names: str) -> str | None:
    """The first of some variables that is set and not empty."""
    return next((environment[name] for name in names if environment.get(name)), None)


def choose_switch(setting: bool | None, text: str) -> bool:
    """A switch as it is set, or else as a variable says."""
    return text.lower() in _TRUE if setting is None else setting
