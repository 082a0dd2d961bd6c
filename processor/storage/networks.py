"""Requests into private networks: one rule for every client that documents from elsewhere can make ask for something.

What a document from a URL names is requested from public addresses alone, and so is what a server redirects to. An address of a
private network is requested where whoever runs this program named its host: on the command line, in the configuration, or in a
document of this machine. A document that came from such a host may name that host, too. What is checked is the address that is
connected to, so that names that change their address (DNS rebinding) gain nothing.

Object storage is reached by the endpoints that are configured, whatever a document says.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

if TYPE_CHECKING:
    from requests.adapters import HTTPAdapter

REFUSAL: Final = (
    "is not requested: it leads into a private network or nowhere, and a document from elsewhere may not name what is there; "
    "correct it, or set --inputs.allow_private_networks true if you trust the document"
)
"""What messages say of all that is refused, whether something is there or not."""

_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}
_OF_CLOUDS: Final = (ip_network("168.63.129.16/32"), ip_network("192.0.0.0/24"))  # services of a machine: Azure's, Oracle's
_HOLDING_IPV4: Final = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"), ip_network("::/96"))  # NAT64, old mappings
_UNKNOWN: Final = frozenset(
    getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)
)


class PrivateAddressError(OSError):
    """A request was not made."""

    def __init__(self) -> None:
        super().__init__(REFUSAL)


def is_refusal(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is that a request was not made."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, PrivateAddressError):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """Where requests may go besides public addresses."""

    named: tuple[tuple[str, int], ...] = ()
    """Hosts and ports that whoever runs this program named, sorted."""
    is_open: bool = False
    """Whether they may go anywhere."""

    def naming(self, urls: Iterable[str]) -> Networks:
        """The same with the hosts of URLs of web servers; at the usual ports, with and without TLS."""
        found = {place for url in urls if (place := _find_place(url)) is not None}
        return replace(self, named=tuple(sorted(found.union(self.named))))

    def opened(self, *, everywhere: bool) -> Networks:
        """The same, or without any rule."""
        return replace(self, is_open=self.is_open or everywhere)

    def check(self, host: str, port: int, addresses: Iterable[str]) -> None:
        """Refuse a host of which an address is private.

        Raises
        ------
        PrivateAddressError
            In equal words whatever is there.
        """
        if not self.knows(host, port) and not all(map(is_public, addresses)):
            raise PrivateAddressError

    def check_literal(self, host: str, port: int) -> None:
        """Refuse a host that is written as a private address, in whatever form the system takes for one; errors as above.

        Names pass: they are checked where they are resolved.
        """
        if self.knows(host, port):
            return
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except OSError:
            return
        self.check(host, port, [str(entry[4][0]) for entry in found])

    def knows(self, host: str, port: int) -> bool:
        """Whether a host was named, or need not be."""
        return self.is_open or (_plain(host), 443 if port in _PORTS.values() else port) in self.named

    def judge(self, host: str, port: int, error: OSError) -> OSError:
        """The error for a host that has no address: of one that nobody named it is the same as for a private address."""
        unknown = isinstance(error, socket.gaierror) and error.errno in _UNKNOWN
        return PrivateAddressError() if unknown and not self.knows(host, port) else error


def is_public(address: str) -> bool:
    """Whether an address is one of the internet; one that holds another (mapped, 6to4, Teredo, NAT64) if both are.

    Examples
    --------
    >>> is_public("9.9.9.9"), is_public("::ffff:10.0.0.1"), is_public("fd00::1"), is_public("169.254.169.254")
    (True, False, False, False)
    """
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        held = found.ipv4_mapped or found.sixtofour or (found.teredo or (None, None))[1]
        if held is None and any(found in network for network in _HOLDING_IPV4):
            held = IPv4Address(int(found) & 0xFFFFFFFF)
        if held is not None:
            return is_public(str(held))
        if found.is_site_local:
            return False
    return found.is_global and not found.is_multicast and not any(found in network for network in _OF_CLOUDS)


def find_proxy(url: str) -> str | None:
    """URL of the proxy that the environment names for a URL, as curl reads it; None where there is none that speaks HTTP."""
    parts = urlsplit(url)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy or not parts.hostname or proxy_bypass(parts.hostname):
        return None
    proxy = proxy if "://" in proxy else f"http://{proxy}"
    return proxy if proxy.startswith(("http://", "https://")) else None


@cache
def make_client_factory(networks: Networks) -> Callable[..., Any]:
    """Function of fsspec that makes a client of aiohttp, whose connections keep to the rule."""

    async def get_client(**options: Any) -> Any:
        from aiohttp import ClientSession, TCPConnector, ThreadedResolver  # noqa: PLC0415 - takes a while to import
        from aiohttp.abc import AbstractResolver  # noqa: PLC0415

        class Resolver(AbstractResolver):
            """Addresses that may be connected to."""

            def __init__(self) -> None:
                self._inner = ThreadedResolver()

            async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> Any:
                try:
                    found = await self._inner.resolve(host, port, family)
                except OSError as error:
                    raise networks.judge(host, port, error) from error
                if (_plain(host), port) not in _list_proxies():
                    networks.check(host, port, [entry["host"] for entry in found])
                return found

            async def close(self) -> None:
                await self._inner.close()

        return ClientSession(connector=TCPConnector(resolver=Resolver()), **options)

    return get_client


def make_adapter(networks: Networks) -> HTTPAdapter:
    """Adapter of requests whose connections keep to the rule; those to a proxy are the proxy's."""
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - only for who searches or posts
    from urllib3.connection import HTTPConnection, HTTPSConnection  # noqa: PLC0415
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool  # noqa: PLC0415

    def connect(connection: HTTPConnection, make: Callable[[], socket.socket]) -> socket.socket:
        host, port = connection.host, int(connection.port or 0)
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise networks.judge(host, port, error) from error
        networks.check(host, port, [str(entry[4][0]) for entry in found])
        made = make()
        try:
            networks.check(host, port, [made.getpeername()[0]])  # it may have another address by now
        except PrivateAddressError:
            made.close()
            raise
        return made

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self, super()._new_conn)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return connect(self, super()._new_conn)

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options)
            pools = {"http": (HTTPConnectionPool, Plain), "https": (HTTPSConnectionPool, Secure)}
            made = {scheme: type("Pool", (base,), {"ConnectionCls": kind}) for scheme, (base, kind) in pools.items()}
            self.poolmanager.pool_classes_by_scheme = made

        def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
            parts = urlsplit(str(request.url))
            networks.check_literal(parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0))
            return super().send(request, *arguments, **options)

    return Adapter()


def _find_place(url: str) -> tuple[str, int] | None:
    """Host and port of a URL of a web server; 443 stands for both usual ports."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme.lower())
    except ValueError:
        return None
    if port is None or not parts.hostname or parts.scheme.lower() not in _PORTS:
        return None
    return _plain(parts.hostname), 443 if port in _PORTS.values() else port


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _list_proxies() -> set[tuple[str, int]]:
    """Hosts and ports of the environment's proxies, which connections are made to."""
    found = (urlsplit(proxy if "://" in proxy else f"http://{proxy}") for proxy in getproxies().values())
    return {(_plain(parts.hostname), parts.port or _PORTS.get(parts.scheme, 0)) for parts in found if parts.hostname}
