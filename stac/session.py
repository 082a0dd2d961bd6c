"""Requests to a STAC API that are repeated while they fail for now, and never carry the token to another host."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests

from processor.errors import ConfigError, InputError, StorageError
from stac.hrefs import show_href

__all__ = ["TOKEN", "Answer", "ApiSession", "Patience", "check_api_url"]

TOKEN: Final = "STAC_API_TOKEN"  # noqa: S105 - the name of a variable
"""Environment variable that holds the bearer token of the API."""

_MAX_ANSWER: Final = 64 * 2**20  # bytes
_MAX_REDIRECTS: Final = 5
_MAX_TEXT: Final = 300
_REPEATED: Final = frozenset({408, 425, 429})
_REDIRECTS: Final = frozenset({301, 302, 307, 308})
_KEEP_METHOD: Final = frozenset({307, 308})
_DENIED: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a request is tried.

    retries: how often it is repeated.
    timeout: seconds without a byte after which it has failed.
    first_delay: seconds before the first repetition; each further one waits twice as long.
    longest_delay: seconds, also where the API asks for more with Retry-After.
    sleep: waits for seconds.
    draw: gives a random number from 0 to 1, which half of a delay is multiplied by, so that runs that failed together do not
        come back together.
    """

    retries: int = 5
    timeout: float = 60.0
    first_delay: float = 0.5
    longest_delay: float = 60.0
    sleep: Callable[[float], object] = time.sleep
    draw: Callable[[], float] = random.random


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the API answered: the status, the JSON (None where there is none), and its words where it explains a failure."""

    status: int
    document: Any
    reason: str


class ApiSession:
    """Requests to one API; close it after use."""

    def __init__(self, url: str, patience: Patience) -> None:
        """Take the URL of the landing page, and the token from the environment."""
        self._root = check_api_url(url)
        self._patience = patience
        self._token = os.environ.get(TOKEN, "").strip()
        self._session = requests.Session()
        self._session.auth = self._authorise  # set in any case, else a .netrc would be sent

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    @property
    def name(self) -> str:
        """The API's URL for messages."""
        return show_href(self._root)

    def request(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Answer:
        """Send a request and give the answer, a failure that repeating does not mend included.

        Parameters
        ----------
        method
            "GET", "POST" or "PUT".
        path
            Below the landing page, quoted; begins with "/" unless it is empty.
        document
            JSON to send.

        Raises
        ------
        InputError
            The API refuses the token, sends the request elsewhere, or does not speak JSON.
        StorageError
            The API or the network failed at every attempt.
        """
        problem = ""
        for attempt in range(self._patience.retries + 1):
            wanted = None
            try:
                response = self._send(method, f"{self._root}{path}", document)
                with response:
                    answer = self._read(response)
                if response.status_code not in _REPEATED and response.status_code < 500:
                    self._check_allowed(answer, method)
                    return answer
                problem = f"status {answer.status}{answer.reason}"
                wanted = _parse_retry_after(response.headers.get("Retry-After"))
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                problem = self._clean(f"{type(error).__name__}: {error}")
            except requests.RequestException as error:
                msg = f"{self.name}: {method} cannot be sent ({self._clean(str(error))}): correct the URL of --post"
                raise InputError(msg) from error
            if attempt < self._patience.retries:
                self._patience.sleep(self._find_delay(attempt, wanted))
        msg = f"{self.name}: {method} {path or '/'} failed {self._patience.retries + 1} times, lastly with {problem}; try again"
        raise StorageError(msg)

    def _authorise(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._token:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def _send(self, method: str, url: str, document: Mapping[str, Any] | None) -> requests.Response:
        """Send a request, following redirects on the same host."""
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._session.request(
                method,
                url,
                json=document,
                headers={"Accept": "application/json, application/geo+json"},
                timeout=self._patience.timeout,
                allow_redirects=False,
                stream=True,
            )
            place = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or place is None:
                return response
            response.close()
            target = urljoin(url, place)
            if not _is_same_host(url, target) or not (method == "GET" or response.status_code in _KEEP_METHOD):
                msg = f"{self.name} sends {method} on to {show_href(target)}: give that API's URL to --post if you trust it"
                raise InputError(msg)
            url = target
        msg = f"{self.name} redirects {method} more than {_MAX_REDIRECTS} times: correct the URL of --post"
        raise InputError(msg)

    def _read(self, response: requests.Response) -> Answer:
        body = bytearray()
        for chunk in response.iter_content(2**16):
            body += chunk
            if len(body) > _MAX_ANSWER:
                msg = f"{self.name} answers with more than {_MAX_ANSWER >> 20} MiB: is --post the URL of a STAC API?"
                raise InputError(msg)
        try:
            document = json.loads(bytes(body)) if body else None
        except ValueError:
            document = None
        return Answer(status=response.status_code, document=document, reason=self._describe(document))

    def _describe(self, document: object) -> str:
        """Give the API's own words for a failure, without the token should it repeat it."""
        if not isinstance(document, Mapping):
            return ""
        words = next((document[key] for key in ("description", "detail", "message", "title") if document.get(key)), "")
        text = self._clean(str(words))
        return f" ({text})" if text else ""

    def _clean(self, text: str) -> str:
        hidden = text.replace(self._token, "…") if self._token else text
        line = " ".join("".join(character if character.isprintable() else " " for character in hidden).split())
        return line if len(line) <= _MAX_TEXT else f"{line[:_MAX_TEXT]}…"

    def _check_allowed(self, answer: Answer, method: str) -> None:
        if answer.status in _DENIED:
            how = f"the token of {TOKEN} does not allow it" if self._token else f"put a bearer token in {TOKEN}"
            msg = f"{self.name} refuses {method} with status {answer.status}{answer.reason}: {how}"
            raise InputError(msg)

    def _find_delay(self, attempt: int, wanted: float | None) -> float:
        """Find how long to wait: exponential back-off with jitter, at least what the API asks for."""
        delay = self._patience.first_delay * 2.0**attempt
        jittered = delay / 2 * (1 + self._patience.draw())
        return min(max(jittered, wanted or 0.0), self._patience.longest_delay)


def check_api_url(url: str) -> str:
    """Check the URL of a landing page, and give it without its last slash.

    Raises
    ------
    ConfigError
        It is none.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or "@" in url or "?" in url or "#" in url or not url.isprintable() or " " in url:
        msg = (
            f"--post {show_href(url)} is not the URL of a STAC API: write https://host/path, without user, password or query; "
            f"a token goes into {TOKEN}"
        )
        raise ConfigError(msg)
    return url.rstrip("/")


def _is_same_host(url: str, target: str) -> bool:
    """Tell whether a redirect stays: same scheme, host and port, or from http to https on the usual ports."""
    one, other = urlsplit(url), urlsplit(target)
    if one.hostname != other.hostname:
        return False
    upgrade = (one.scheme, other.scheme) == ("http", "https") and one.port in {None, 80} and other.port in {None, 443}
    return upgrade or (one.scheme, one.port) == (other.scheme, other.port)


def _parse_retry_after(value: str | None) -> float | None:
    """Parse seconds or an HTTP date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return max((moment - datetime.now(UTC)).total_seconds(), 0.0)
