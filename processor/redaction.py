"""What may leave this program: the one place that knows what a secret looks like, and what a terminal obeys.

Texts leave by two ways. What is *logged* (standard error, files of tracebacks, messages of errors) shows URLs without user
name, password, query and fragment. What is *published* (Items, reports, configurations) keeps those parts of a query that are
no credentials, since they may say which object is meant. Both hide credentials that stand outside URLs, and the values that
this process was given as secrets, wherever they turn up.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from threading import Lock
from typing import Any, Final
from urllib.parse import unquote_plus, urlsplit

HIDDEN: Final = "…"
"""What stands where a secret was."""

_CREDENTIAL: Final = re.compile(
    r"(?i)x-(amz|goog|ms|oss|cos|obs)-.*|.*(signature|token|secret|passw(or)?d|credential|api[-_]?key|access[-_]?key|"
    r"account[-_]?key|subscription[-_]?key|accesskeyid|accessid|sharedaccess).*|expires|policy|key-pair-id|key|pwd|pass|"
    r"sig|se|sp|sv|sr|st|ske|skoid|sks|skt|sktid|skv|spr|saoid|suoid|scid|sdd|sip|ss|srt|si|sas|"
    r"auth|authorization|bearer|jwt|hmac|hdnts|hdnea|session(id)?"
)
_SPOKEN: Final = (
    r"[\w-]*(?:signature|token|secret|passw(?:or)?d|userpwd|credential|api[-_]?key|access[-_]?key|account[-_]?key|"
    r"subscription[-_]?key|accesskeyid)[\w-]*|sig|pwd"
)
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"<>\\]*[^\s'\"<>\\.,;:!?)\]}]")
_QUERY: Final = re.compile(r"(?<=[\w/])\?[\w%.~-]+=[^\s'\"<>,)\]}]*")
_TELLING: Final = re.compile(r"(?i)://|[=:]|bearer|basic|<|@")
_HEADER: Final = re.compile(
    r"(?i)\b((?:proxy-)?authorization|x-[\w-]*(?:key|token|auth)[\w-]*|(?:set-)?cookie)(['\"]?\s*[:=]\s*['\"]?)"
    r"(?:(?:bearer|basic|digest|negotiate|aws4-hmac-sha256)\s+)?[^\s'\",)][^'\"\r\n,)]*"
)
_SCHEME: Final = re.compile(r"\b([Bb]earer|[Bb]asic|BEARER|BASIC)\s+(?=[A-Za-z._~+/-]*[0-9=])[A-Za-z0-9._~+/-]{8,}=*")
_PAIR: Final = re.compile(rf"(?i)(?<![\w-])({_SPOKEN})(=['\"]?|['\"]\s*[:=]\s*['\"])[^\s'\"&;,)<>\]}}]+")
_ELEMENT: Final = re.compile(r"(?i)<(\w*(?:signature|stringtosign|token|secret|accesskeyid|credential)\w*)>[^<]+<")
_ACCOUNT_SCHEMES: Final = frozenset({"az", "abfs", "abfss"})
_CONTAINER: Final = re.compile(r"[A-Za-z0-9$_-]+")
_SECRET_VARIABLE: Final = re.compile(
    r"(?i).*(secret|token|passw(or)?d|userpwd|bearer|credential|api_?key|access_?key|account_?key|storage_key|subscription_key|"
    r"connection_string|http_headers|http_auth).*"
)
_PLACE_VARIABLE: Final = re.compile(r"(?i).*(_file|_path|_uri|_url|_dir|_endpoint|google_application_credentials)")
_SHORTEST: Final = 8  # characters; less could be a part of any word
_MOST_REMEMBERED: Final = 256
_KEPT_FORMATS: Final = frozenset("\u200c\u200d")  # joiners, which scripts and emoji are written with
_UNSHOWN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})

_remembered: dict[str, None] = {}
_lock: Final = Lock()


def redact_url(url: str) -> str:
    """Make a URL fit for messages: without user, password, query and fragment, which may hold credentials.

    Examples
    --------
    >>> redact_url("https://me:secret@host/a.tif?X-Amz-Signature=1")
    'https://host/a.tif'
    >>> redact_url("zip://a.tif::https://me:secret@host/a.zip?sig=1")
    'zip://a.tif::https://host/a.zip'
    """
    if "://" not in url:
        return url
    scheme, _, rest = url.partition("://")
    if scheme == "zip" and "::" in rest:
        member, _, archive = url.partition("::")
        return f"{redact_url(member)}::{redact_url(archive)}"
    try:
        urlsplit(url)
    except ValueError:  # such as an unbalanced bracket in the host
        return f"{scheme}://{HIDDEN}"
    return f"{scheme}://{_drop_user(scheme, re.split('[?#]', rest, maxsplit=1)[0])}"


def is_credential(name: str) -> bool:
    """Whether a parameter of a query, percent-encoded or not, is a credential by its name."""
    return _CREDENTIAL.fullmatch(unquote_plus(name).strip()) is not None


def hide_secrets(text: str) -> str:
    """A text as it may be logged: URLs without user, query and fragment, names without query, and no credential.

    Examples
    --------
    >>> hide_secrets("GET https://me:secret@host/a.tif?file=3&sig=1: 403 (Authorization: Bearer abc)")
    'GET https://host/a.tif: 403 (Authorization: …)'
    """
    return _QUERY.sub("", _hide(text, redact_url))


def hide_published(text: str) -> str:
    """A text as it may be published: URLs without user and credentials, and no credential beside them.

    Examples
    --------
    >>> hide_published("see https://me:secret@host/a.tif?file=3&sig=1#top")
    'see https://host/a.tif?file=3#top'
    """
    return _hide(text, _drop_credentials)


def holds_credential(value: Any) -> bool:
    """Whether a text, or one in a list, has a credential in it by its form."""
    if isinstance(value, str):
        return _hide_forms(value, _drop_credentials) != value
    return any(map(holds_credential, value)) if isinstance(value, list | tuple) else False


def clean_document(value: Any) -> Any:
    """A document of JSON values with every text in it as it may be published; equal where it holds no secret."""
    if isinstance(value, str):
        return hide_published(value)
    if isinstance(value, Mapping):
        return {hide_published(key) if isinstance(key, str) else key: clean_document(member) for key, member in value.items()}
    if isinstance(value, list | tuple):
        return [clean_document(member) for member in value]
    return value


def remember_secrets(values: Iterable[str]) -> None:
    """Hide values from now on wherever they turn up in a text; those shorter than eight characters only by their place in it.

    Of several headers, or of a connection string, each credential counts for itself.
    """
    found = [piece for value in values for piece in (value, *_list_pieces(value)) if len(piece) >= _SHORTEST]
    with _lock:
        for piece in found:
            _remembered.pop(piece, None)
            _remembered[piece] = None
        for piece in list(_remembered)[:-_MOST_REMEMBERED]:
            del _remembered[piece]


def remember_environment(environment: Mapping[str, str]) -> None:
    """Hide the values of those variables whose names say that they are secrets, and not where one is."""
    remember_secrets(
        text
        for name, text in environment.items()
        if _SECRET_VARIABLE.fullmatch(name) and not _PLACE_VARIABLE.fullmatch(name) and not text.startswith("/")
    )


def cut_causes(error: BaseException) -> None:
    """Cut the chain of an error's causes before the first that tells a secret: a traceback would show it."""
    link: BaseException | None = error
    while link is not None:
        cause = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
        if cause is not None and hide_secrets(str(cause)) != str(cause):
            link.__cause__, link.__suppress_context__ = None, True
            return
        link = cause


def escape_controls(text: str, *, kept: str = "") -> str:
    r"""A text that a terminal obeys in nothing: control, format and unassigned characters as JSON writes them.

    Parameters
    ----------
    kept
        Characters that stay, such as line breaks of a text of several lines.

    Examples
    --------
    >>> escape_controls("a\x1b]0;b\x9b\u202ec")
    'a\\u001b]0;b\\u009b\\u202ec'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_escape(one) if one not in kept and _is_unshown(one) else one for one in text)


def _is_unshown(character: str) -> bool:
    return unicodedata.category(character) in _UNSHOWN and character not in _KEPT_FORMATS


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place] << 8 | units[place + 1]:04x}" for place in range(0, len(units), 2))


def _hide(text: str, shown: Callable[[str], str]) -> str:
    for secret in sorted(_remembered, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return _hide_forms(text, shown)


def _hide_forms(text: str, shown: Callable[[str], str]) -> str:
    if not _TELLING.search(text):
        return text
    text = _URL.sub(lambda match: shown(match[0]), text)
    text = _HEADER.sub(rf"\1\2{HIDDEN}", text)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    text = _PAIR.sub(rf"\1\2{HIDDEN}", text)
    return _ELEMENT.sub(rf"<\1>{HIDDEN}<", text)


def _drop_credentials(url: str) -> str:
    """A URL without user, and without the credentials of its query and fragment; it stays as it is where it has none."""
    scheme, _, rest = url.partition("://")
    if scheme == "zip" and "::" in rest:
        member, _, archive = url.partition("::")
        return f"{member}::{_drop_credentials(archive) if '://' in archive else archive}"
    before, hash_mark, fragment = rest.partition("#")
    start, question_mark, query = before.partition("?")
    parts = [f"{scheme}://{_drop_user(scheme, start)}"]
    for mark, text in ((question_mark, query), (hash_mark, fragment)):
        kept = [pair for pair in text.split("&") if not ("=" in pair and is_credential(pair.partition("=")[0]))]
        parts += [mark, "&".join(kept)] if kept else []
    return "".join(parts)


def _drop_user(scheme: str, rest: str) -> str:
    """What follows ``scheme://`` without user name and password; the container of an account is neither."""
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    if at:
        names_container = scheme.lower() in _ACCOUNT_SCHEMES and _CONTAINER.fullmatch(user)
        return rest if names_container else f"{host}{slash}{path}"
    name, colon, port = authority.partition(":")
    if colon and name and not port.isdecimal() and "[" not in authority and "@" in path:  # a password with a slash in it
        return path.rpartition("@")[2]
    return rest


def _list_pieces(value: str) -> list[str]:
    """The credentials within several headers, or within pairs of names and values."""
    pieces = []
    for line in re.split(r"[\r\n;&]+|,(?=\s*[\w-]+\s*:)", value):
        name, mark, text = line.partition("=") if "=" in line.partition(":")[0] else line.partition(":")
        if mark and (is_credential(name) or _HEADER.match(f"{name.strip()}: x")):
            pieces += [text.strip(), text.strip().partition(" ")[2].strip()]
    return pieces
