"""Web servers and Hugging Face: read only.

Behind a login: a header or a bearer token goes to the hosts that it is bound to, a password of a netrc file to its machine, and
neither to any other, not along a redirect either. GDAL reads nothing here: it would send headers on to wherever a server
redirects, and follow it into private networks (:mod:`processor.storage.networks`).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from io import UnsupportedOperation
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self, cast
from urllib.parse import urlsplit

from pydantic import BeforeValidator

from processor.errors import ConfigError
from processor.model.options import Secret, Section, Words
from processor.storage.backends.base import Backend, access_option, find_status, limit_connecting, read_variable
from processor.storage.networks import Networks, find_proxy, make_client_factory

_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
_HEADER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:[ \t]*([^\r\n\0]*)")
_NEXT_HEADER: Final = re.compile(r",(?=[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*:)|[\r\n]+")
_LOOPBACK: Final = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")
_HOST: Final = re.compile(r"(https?://)?([A-Za-z0-9._-]+|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?/?")
_DENIED: Final = frozenset({401, 403})
_GONE: Final = frozenset({404, 410})
_PART: Final = 206


def _join_headers(value: Any) -> Any:
    """Headers as text, also of a mapping of names to values, which a file of YAML makes of one."""
    if isinstance(value, Mapping):
        return "\n".join(f"{name}: {text}" for name, text in value.items())
    return value


Headers = Annotated[Secret, BeforeValidator(_join_headers)]


class HttpOptions(Section):
    """Options of web servers."""

    http_hosts: Words | None = access_option(
        "Hosts that http_headers and http_bearer go to, and no others: host, host:port or http://host; null: those that you "
        "name yourself, in INPUT, --api or --reference, and the one that a document of this machine leads to.",
        example="data.example.org",
    )
    http_headers: Headers | None = access_option(
        "Headers for these hosts, with commas or line ends between them (GDAL_HTTP_HEADERS); better left to the environment.",
        example="X-Api-Key: example",
        secret=True,
    )
    http_bearer: Secret | None = access_option(
        "Bearer token for these hosts (GDAL_HTTP_BEARER); better left to the environment.", example="example", secret=True
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKeys:
    """What is sent to which host; its representation holds a digest in place of keys."""

    headers: tuple[tuple[str, str], ...] = ()
    """Names and values."""
    hosts: tuple[str, ...] | None = None
    """Origins that the headers go to, as ``https://host:443``; None: nobody has said."""
    netrc_path: str | None = None
    """File of passwords, one a machine, or None."""

    def __repr__(self) -> str:
        """Equal for equal keys: clients that were made are found again by it."""
        told = repr((self.headers, self.hosts, self.netrc_path))
        return f"HostKeys({hashlib.sha256(told.encode()).hexdigest()[:16]})"

    def find(self, url: str) -> dict[str, str]:
        """Headers that a request to a URL gets; empty where it gets none."""
        origin = find_origin(url)
        if origin is None:
            return {}
        if self.headers and self.hosts is not None and origin in self.hosts:
            return dict(self.headers)
        login = None if self.netrc_path is None else _read_netrc(self.netrc_path).get(str(urlsplit(url).hostname))
        if login is None:
            return {}
        return {"Authorization": "Basic " + base64.b64encode(":".join(login).encode()).decode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Http(Backend):
    """Web servers and signed URLs; the query of a URL may be a signature."""

    keys: HostKeys = HostKeys()
    """What is sent to which host."""
    networks: Networks = field(default_factory=Networks)
    """Which addresses are requested."""

    protocols: ClassVar[tuple[str, ...]] = ("http", "https")
    title: ClassVar[str] = "a web server"
    options: ClassVar[type[Section] | None] = HttpOptions
    prefix: ClassVar[str] = "http_"

    @classmethod
    def resolve(cls, io: Section, environment: Mapping[str, str]) -> Self:
        """From ``GDAL_HTTP_HEADERS`` and ``GDAL_HTTP_BEARER``, and the netrc file of curl."""
        given = cast("HttpOptions", io)
        headers = _parse_headers(given.http_headers or read_variable(environment, "GDAL_HTTP_HEADERS") or "")
        bearer = given.http_bearer or read_variable(environment, "GDAL_HTTP_BEARER")
        if bearer is not None:
            headers = [*(pair for pair in headers if pair[0].lower() != "authorization"), ("Authorization", f"Bearer {bearer}")]
        if not all(value.isprintable() and value.isascii() for _, value in headers):
            msg = "io.http_headers and io.http_bearer hold printable ASCII alone: correct the header"
            raise ConfigError(msg)
        hosts = None if given.http_hosts is None else tuple(origin for host in given.http_hosts for origin in _parse_host(host))
        return cls(keys=HostKeys(headers=tuple(headers), hosts=hosts, netrc_path=_find_netrc(environment)))

    def for_hosts(self, urls: Sequence[str]) -> Self:
        """The same where headers are bound to the hosts of URLs, unless it was said which hosts they are for."""
        if not self.keys.headers or self.keys.hosts is not None:
            return self
        origins = dict.fromkeys(origin for origin in map(find_origin, urls) if origin is not None)
        return replace(self, keys=replace(self.keys, hosts=tuple(origins))) if origins else self

    def fsspec_options(self, *, retries: int, timeout: float) -> dict[str, Any]:
        """Time-outs, keys and the rule of private networks; fsspec repeats nothing."""
        del retries
        from aiohttp import ClientTimeout  # noqa: PLC0415 - takes a while to import, and only http needs it

        waits = ClientTimeout(total=None, sock_connect=limit_connecting(timeout), sock_read=timeout)
        options: dict[str, Any] = {"timeout": waits}
        options["request_class"] = _make_request_class(self.keys, self.networks)
        return {"client_kwargs": options, "get_client": make_client_factory(self.networks)}

    def find_endpoint(self, url: str) -> str | None:
        """Its own host."""
        return url

    def read_range(self, filesystem: Any, path: str, start: int, end: int) -> bytes:
        """No more than was asked for, whatever the server sends."""
        from fsspec.asyn import sync  # noqa: PLC0415 - the configuration knows backends, and reaches nothing

        return bytes(sync(filesystem.loop, _read_range, filesystem, path, start, end))

    def foreign_errors(self) -> tuple[type[Exception], ...]:
        """Those of aiohttp."""
        from aiohttp import ClientError  # noqa: PLC0415 - as above

        return (ClientError,)

    @property
    def hint(self) -> str:
        """The options to look at: of keys that no host got, too."""
        return (
            "--io.http_hosts, --io.http_bearer, --io.http_headers; GDAL_HTTP_BEARER, GDAL_HTTP_HEADERS and a netrc file count"
        )

    def is_denied(self, error: Exception) -> bool:
        """Whether a server says so."""
        return find_status(error) in _DENIED


@dataclass(frozen=True, slots=True, kw_only=True)
class HuggingFace(Backend):
    """Data sets of the hub, where its package is installed."""

    protocols: ClassVar[tuple[str, ...]] = ("hf",)
    title: ClassVar[str] = "Hugging Face"


def find_origin(url: str) -> str | None:
    """Scheme, host and port of a URL of a web server, such as ``https://host:443``; None of any other."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme.lower())
    except ValueError:
        return None
    return None if port is None or not parts.hostname else f"{parts.scheme.lower()}://{parts.hostname}:{port}"


def _parse_host(text: str) -> list[str]:
    """Origins that a host means: over TLS unless it says otherwise, and of this machine without it, too."""
    match = _HOST.fullmatch(text)
    if match is None:
        msg = f"io.http_hosts {text[:80]!r} is no host: write data.example.org, data.example.org:8443 or http://127.0.0.1:8000"
        raise ConfigError(msg)
    schemes = [match[1]] if match[1] else ["https://"]
    if not match[1] and _LOOPBACK.fullmatch(match[2].strip("[]")):
        schemes.append("http://")
    return [origin for scheme in schemes if (origin := find_origin(f"{scheme}{match[2]}{match[3] or ''}"))]


def _parse_headers(text: str) -> list[tuple[str, str]]:
    """Headers as GDAL has them, with commas or line ends between them."""
    pairs = []
    for line in filter(None, (piece.strip().strip('"') for piece in _NEXT_HEADER.split(text))):
        match = _HEADER.fullmatch(line)
        if match is None:
            msg = "io.http_headers (GDAL_HTTP_HEADERS) is no header: write 'Name: value', or several with commas between them"
            raise ConfigError(msg)
        pairs.append((match[1], match[2].strip()))
    return pairs


def _find_netrc(environment: Mapping[str, str]) -> str | None:
    """The netrc file of curl and GDAL, if there is one."""
    if environment.get("GDAL_HTTP_NETRC", "YES").upper() in {"NO", "FALSE", "OFF", "0"}:
        return None
    named = read_variable(environment, "GDAL_HTTP_NETRC_FILE", "NETRC")
    home = environment.get("HOME")
    path = Path(named) if named else None if not home else Path(home, ".netrc")
    return str(path) if path is not None and path.is_file() else None


async def _read_range(filesystem: Any, url: str, start: int, end: int) -> bytes:
    """As fsspec's ``cat_file``, which reads all that comes: some servers send whole files, and a hostile one has no end."""
    session = await filesystem.set_session()
    headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
    async with session.get(filesystem.encode_url(url), headers=headers) as answer:
        if answer.status in _GONE:
            raise FileNotFoundError(url)
        answer.raise_for_status()
        if start and answer.status != _PART:
            msg = "it sends no parts of files: fetch the file"
            raise UnsupportedOperation(msg)
        pieces, missing = [], end - start
        while missing and (piece := await answer.content.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)


@cache
def _read_netrc(path: str) -> Mapping[str, tuple[str, str]]:
    """User and password by machine; no machine is everybody."""
    try:
        hosts = netrc(path).hosts
    except (NetrcParseError, OSError, UnicodeDecodeError) as error:
        msg = f"the netrc file {path} cannot be read ({type(error).__name__}): correct it, or set GDAL_HTTP_NETRC=NO"
        raise ConfigError(msg) from None
    return {machine: (login, password or "") for machine, (login, _, password) in hosts.items() if machine != "default"}


@cache
def _make_request_class(keys: HostKeys, networks: Networks) -> type:
    """Aiohttp's request, one of which it makes for every hop of a redirect, with the keys of its host and no other's."""
    from aiohttp import BasicAuth, ClientRequest  # noqa: PLC0415 - as above

    def start(self: Any, method: str, url: Any, **options: Any) -> None:
        networks.check_literal(url.raw_host or "", url.port or 0)
        proxy = find_proxy(str(url))
        if proxy is not None:
            address = type(url)(proxy)
            options |= {"proxy": address.with_user(None), "proxy_auth": BasicAuth.from_url(address)}
        ClientRequest.__init__(self, method, url, **options)
        own = keys.find(str(url))
        for name in own:
            self.headers.pop(name, None)
        self.headers.update(own)

    # Its name tells clients with other keys apart: fsspec finds filesystems again by their options' representations.
    return type(f"Request{keys!r}{networks!r}", (ClientRequest,), {"__init__": start})
