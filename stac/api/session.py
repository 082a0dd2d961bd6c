"""Requests to a STAC API: repeated while they fail for now, bounded, and with the token for nobody but the API."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urljoin, urlsplit

from processor.errors import ConfigError, InputError
from processor.storage.allowance import Allowance
from processor.storage.backends import limit_connecting
from processor.storage.networks import REFUSAL, Networks, PrivateAddressError, is_refusal, make_adapter
from processor.storage.retry import Backoff, RetryableError, repeat
from processor.storage.watch import watch_endpoint
from stac.decode import Decoder
from stac.documents import clean_text
from stac.hrefs import show_href

if TYPE_CHECKING:
    import requests


_MAX_ANSWER: Final = 64 << 20  # bytes
_MAX_REDIRECTS: Final = 5
_REPEATED: Final = frozenset({408, 425, 429})
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_KEEP_METHOD: Final = frozenset({307, 308})
_DENIED: Final = frozenset({401, 403})
_PORTS: Final[Mapping[str, int]] = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience(Backoff):
    """How long a request is tried."""

    retries: int = 5
    """How often it is repeated."""
    timeout: float = 60.0
    """Seconds without a byte after which it has failed."""
    longest: float = 60.0
    """Longest pause, seconds, also where the API asks for more with Retry-After."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API answered; ``reason`` has its words, in brackets, where it explains a failure."""

    status: int
    """HTTP status code."""
    body: bytes
    """Body as it came."""
    reason: str = ""
    """What the API says of a failure, in brackets; empty where it says nothing."""

    decoder: Decoder = field(default_factory=Decoder)
    """Of the body: that of all answers of an API, which are alike."""

    def decode(self) -> Any:
        """Give the JSON of the body; None where it holds none."""
        return _decode(self.body, self.decoder)


class RefusedError(InputError):
    """The API refuses a request, with a status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ApiSession:
    """Requests to one API; close it after use."""

    def __init__(
        self,
        url: str,
        *,
        option: Literal["--api", "--post"],
        token: str | None = None,
        token_name: str = "",
        patience: Patience | None = None,
        allowance: Allowance | None = None,
        find_keys: Callable[[str], Mapping[str, str]] | None = None,
        networks: Networks | None = None,
    ) -> None:
        """Take the URL of the landing page.

        Parameters
        ----------
        option
            What a user gave the URL with.
        token, token_name
            Bearer token, and the variable of the environment that it is from, or would be.
        allowance
            How much the API may answer in all, and for how long; None: there are only the bounds of a single answer.
        find_keys
            Headers with keys that a request to a URL gets, whatever host it is on; the token wins over them.
        networks
            Where requests may go besides public addresses and the API's own host, which is always asked.
        """
        import requests  # noqa: PLC0415 - a twentieth of a second to load: only for who searches or posts

        self._root = check_api_url(url, option=option)
        self._option = option
        self._patience = patience if patience is not None else Patience()
        self._token = token
        self._token_name = token_name
        self._allowance = allowance
        self._decoder = Decoder()
        self._find_keys = find_keys
        self._sent: set[str] = set()
        self._session = requests.Session()
        self._networks = (networks or Networks()).naming([url])
        adapter = make_adapter(self._networks)
        for scheme in _PORTS:
            self._session.mount(f"{scheme}://", adapter)
        self._session.auth = self._authorise  # set in any case, else a .netrc would be sent

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @property
    def root(self) -> str:
        """The API's URL without a last slash."""
        return self._root

    @property
    def name(self) -> str:
        """The API's URL for messages."""
        return show_href(self._root)

    def send(
        self,
        method: str,
        href: str,
        *,
        document: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a request and give the answer, a failure that repeating does not mend included.

        Parameters
        ----------
        method
            "GET", "POST" or "PUT"; repeating it must do no harm.
        href
            Absolute URL; where it is not the API's own, it gets no token.
        document
            JSON to send.
        parameters
            Of the query.

        Raises
        ------
        InputError
            The API refuses the token, sends the request to another host, or answers too much; or the URL is none.
        StorageError
            The API or the network failed at every attempt.
        """
        from requests import ConnectionError as Unreachable  # noqa: PLC0415 - see __init__
        from requests import RequestException, Timeout  # noqa: PLC0415
        from requests.exceptions import ChunkedEncodingError  # noqa: PLC0415

        shown, times = show_href(href), self._patience.retries

        def ask() -> tuple[Answer, float]:
            with self._follow(method, href, json=document, params=parameters, headers=headers) as response:
                wanted = _parse_retry_after(response.headers.get("Retry-After", ""))
                body = self._read(response, shown)
                return Answer(status=response.status_code, body=body, decoder=self._decoder), wanted

        def attempt() -> Answer:
            wanted = 0.0
            try:
                answer, wanted = ask() if self._allowance is None else self._allowance.within(ask, shown)
                status = answer.status
                if status not in _REPEATED and status < 500:
                    return self._explain(answer, method, shown)
                problem = f"status {status}{self._find_reason(answer.body)}"
            except (PrivateAddressError, Unreachable, Timeout, ChunkedEncodingError) as error:
                if is_refusal(error):
                    msg = f"{shown} {REFUSAL}"
                    raise InputError(msg) from None
                problem = type(error).__name__  # its text may hold the query, which may hold a key
            except RequestException as error:
                msg = f"{shown} cannot be asked ({type(error).__name__}): correct the URL of {self._option}"
                raise InputError(msg) from None
            msg = f"the STAC API {shown} failed {times + 1} times, lastly with {problem}: try again later"
            raise RetryableError(msg, wanted)

        with watch_endpoint(href, self._option, self._networks):
            return repeat(attempt, times=times, backoff=self._patience, error=RetryableError)

    def request(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Answer:
        """Send a request to a path below the landing page, quoted, beginning with "/" unless it is empty; as :meth:`send`."""
        return self.send(method, f"{self._root}{path}", document=document)

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._find_keys is not None:
            keys = self._find_keys(str(request.url))
            request.headers.update(keys)
            self._sent.update(keys.values())
        if self._token and is_same_api(self._root, str(request.url)):
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _follow(self, method: str, url: str, **content: Any) -> requests.Response:
        """Send a request, following redirects on the same host."""
        headers = {"Accept": "application/geo+json, application/json"} | dict(content.pop("headers") or {})
        waits = (limit_connecting(self._patience.timeout), self._patience.timeout)
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._session.request(
                method, url, headers=headers, timeout=waits, allow_redirects=False, stream=True, **content
            )
            place = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or place is None:
                return response
            response.close()
            target = urljoin(str(response.url), place)
            if not _is_upgrade(url, target) or not (method == "GET" or response.status_code in _KEEP_METHOD):
                where = f"{method} on to {show_href(target)}: give that API's URL to {self._option} if you trust it"
                msg = f"the STAC API {show_href(url)} sends {where}"
                raise InputError(msg)
            url = target
            content["params"] = None  # the place has them
        msg = f"the STAC API {show_href(url)} redirects {method} more than {_MAX_REDIRECTS} times: correct {self._option}"
        raise InputError(msg)

    def _read(self, response: requests.Response, shown: str) -> bytes:
        """Read an answer within what is left of the bounds."""
        body = bytearray()
        allowed = _MAX_ANSWER if self._allowance is None else min(_MAX_ANSWER, self._allowance.left)
        for chunk in response.iter_content(1 << 16):
            body += chunk
            if len(body) > allowed:
                msg = f"the STAC API {shown} answers with more than {allowed} bytes: ask for less, or correct {self._option}"
                raise InputError(msg)
        if self._allowance is not None:
            self._allowance.spend(len(body), shown)
        return bytes(body)

    def _explain(self, answer: Answer, method: str, shown: str) -> Answer:
        """Add the API's words, and refuse to go on where the API refuses whoever asks."""
        if answer.status < 400:
            return answer
        reason = self._find_reason(answer.body)
        if answer.status in _DENIED:
            how = f"{self._token_name} does not allow it" if self._token else f"put a bearer token in {self._token_name}"
            msg = f"the STAC API {shown} refuses {method} with status {answer.status}{reason}: {how}"
            raise RefusedError(msg, answer.status)
        return replace(answer, reason=reason)

    def _find_reason(self, body: bytes) -> str:
        """Give the API's own words for a failure, without the token should it repeat it."""
        document = _decode(body, self._decoder)
        if not isinstance(document, Mapping):
            return ""
        words = next((document[key] for key in ("description", "detail", "message", "title") if document.get(key)), "")
        text = str(words)
        for secret in sorted(
            {self._token or "", *self._sent, *(value.partition(" ")[2] for value in self._sent)}, key=len, reverse=True
        ):
            text = text.replace(secret, "…") if secret else text
        return f" ({clean_text(text)})" if words else ""


def check_api_url(url: str, *, option: str) -> str:
    """Check the URL of a landing page, and give it without its last slash.

    Raises
    ------
    ConfigError
        It is none.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in _PORTS and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or any(mark in url for mark in "@?# ") or not url.isprintable():
        msg = (
            f"{option} {show_href(url)} is not the URL of a STAC API: write https://host/path, without user, password or "
            "query; a token goes into the environment"
        )
        raise ConfigError(msg)
    return url.rstrip("/")


def is_same_api(url: str, other: str) -> bool:
    """Tell whether two URLs have one scheme, host and port, so that a token for one may go to the other."""
    return _find_origin(url) == _find_origin(other) is not None


def _is_upgrade(url: str, target: str) -> bool:
    """Tell whether a redirect stays: same scheme, host and port, or from http to https on the usual ports."""
    one, other = _find_origin(url), _find_origin(target)
    if one is None or other is None:
        return False
    return one == other or (one[0], one[2], other[0], other[2], one[1]) == ("http", 80, "https", 443, other[1])


def _find_origin(url: str) -> tuple[str, str, int] | None:
    """Give scheme, host and port of a URL; None where it has none."""
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[parts.scheme]
    except (ValueError, KeyError):
        return None
    return None if parts.hostname is None else (parts.scheme, parts.hostname, port)


def _decode(body: bytes, decoder: Decoder) -> Any:
    try:
        return decoder.decode(body) if body else None
    except (ValueError, RecursionError):
        return None


def _parse_retry_after(value: str) -> float:
    """Parse seconds or an HTTP date (RFC 9110, 10.2.3); 0 where it is neither."""
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
