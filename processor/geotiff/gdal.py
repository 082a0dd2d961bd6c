"""The only code that names a raster to GDAL: how it is reached, and what GDAL must not follow.

Inputs are untrusted: only GeoTIFF and JPEG 2000 are opened, by name, and GDAL is kept from following what a file or its folder
names besides (overviews, masks and metadata elsewhere may be files of any format, anywhere). The one file beside a local raster
that is read is ``scene.tif.msk``, GDAL's form of a mask, and only as GeoTIFF.
"""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import rasterio
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader
from rasterio.session import Session

from processor.errors import ConfigError, InputError, MosaicError, StorageError, UnreadableError
from processor.geotiff.libgdal import VsiFile, clear_network_cache, has_files
from processor.geotiff.range_cache import RangeCache
from processor.geotiff.ranges import FsspecObject, close_opened, find_failure, open_ranged
from processor.geotiff.traffic import Traffic
from processor.process.logs import hide_in_record
from processor.redaction import hide_secrets, redact_url
from processor.storage.backends import Backend
from processor.storage.options import Access
from processor.storage.renewal import is_renewed, renew_url
from processor.storage.retry import MOST_ROUNDS, repeat
from processor.storage.url import HTML_START, describe_denial, describe_html, parse_url

T = TypeVar("T")

for _name in ("rasterio._env", "rasterio._err"):  # which hand GDAL's own warnings on, with whole URLs
    logging.getLogger(_name).addFilter(hide_in_record)

DRIVER: Final = "GTiff"
"""What this program writes, and what masks and files of users are."""

_JPEG2000: Final = "JP2OpenJPEG"
_JPEG2000_SUFFIXES: Final = (".jp2", ".jpx")

MASK_SUFFIX: Final = ".msk"

GDAL_CACHE: Final = 16 * 2**20
"""Bytes of GDAL's own cache: what it decodes is copied out at once, and kept by the reader."""

_REMOTE: Final = {
    "CPL_VSIL_NETWORK_STATS_ENABLED": "YES",
    "GDAL_INGESTED_BYTES_AT_OPEN": "32768",  # the directories of most COGs, in one request
    # Where GDAL thinks that a file is read on and on, it asks for twice as much each time, up to 128 of these: blocks of
    # overviews that lie one after the other would be read with as much again behind them.
    "CPL_VSIL_CURL_CHUNK_SIZE": "4096",
}
_DENIED: Final = (
    "403",
    "401",
    "access denied",
    "accessdenied",
    "signature",
    "access key",
    "expiredtoken",
    "invalidaccesskeyid",
)


_OF_RASTER: Final = re.compile(r"\bTIFF\w+:|\bopj_\w+")
"""What drivers say where a raster's own structure cannot be read, be it that it is corrupt or that storage did not give it."""


class UnexplainedError(StorageError):
    """GDAL did not get what it asked for, and does not say whether storage is why, or the raster: ranges tell."""


class _Keys(Session):  # type: ignore[misc]  # rasterio has no types
    """Keys as rasterio wants them handed over."""

    def __init__(self, storage: Backend) -> None:
        self._storage = storage

    def get_credential_options(self) -> dict[str, str]:
        """The keys of this moment: those of a role are renewed."""
        return self._storage.gdal_keys()


@contextmanager
def gdal_env(access: Access | None = None, href: str = "") -> Iterator[None]:
    """GDAL's options: no sidecar is looked for, because one may be a VRT that names any file or URL.

    Parameters
    ----------
    access
        How storage is reached; None: local files only.
    href
        What is opened or read.
    """
    options: dict[str, Any] = {
        "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
        "GDAL_PAM_ENABLED": "NO",
        "GDAL_CACHEMAX": GDAL_CACHE,
    }
    session = None
    if access is not None and is_remote(href):
        options |= access.gdal_options(href) | _REMOTE
        session = _Keys(access.of(href)) if access.of(href).has_keys else None
    with rasterio.Env(session=session, **options):
        yield


def is_remote(href: str) -> bool:
    """Whether an href is reached over the network, or by fsspec."""
    return not parse_url(href).is_local


def local_name(href: str) -> str:
    """The path of a local file, of which a ``file:`` URL may be given."""
    return urlsplit(href).path if href.startswith("file:") else href


def find_mask(href: str) -> str | None:
    """The mask file beside a local raster, or None."""
    if is_remote(href):
        return None
    path = local_name(href) + MASK_SUFFIX
    return path if os.path.isfile(path) else None  # noqa: PTH113 - a plain name for GDAL, not a path to work on


def list_drivers(href: str) -> tuple[str, ...]:
    """GDAL's drivers that a raster is opened with, in turn: nothing else, since a VRT could name any file of this machine."""
    path = urlsplit(href).path.lower()
    if path.endswith(MASK_SUFFIX):
        return (DRIVER,)
    return (_JPEG2000, DRIVER) if path.endswith(_JPEG2000_SUFFIXES) else (DRIVER, _JPEG2000)


def first_line(error: BaseException) -> str:
    """What an error says, without the details that libraries put on further lines, and without signatures of URLs."""
    return hide_secrets((str(error).splitlines() or [type(error).__name__])[0])


class GdalReader:
    """Opens rasters, from any thread.

    Parameters
    ----------
    access
        How storage is reached.
    range_cache
        Where what is read over the network is kept for the next time, or None.
    """

    def __init__(self, access: Access, range_cache: RangeCache | None = None) -> None:
        self._access = access
        self._range_cache = range_cache
        self.traffic = Traffic()

    @contextmanager
    def env(self, href: str, *, requester_pays: bool = False, region: str | None = None) -> Iterator[None]:
        """GDAL's options while a raster is opened or read."""
        with gdal_env(self._access.for_bucket(requester_pays=requester_pays, region=region), href):
            yield

    def open(self, href: str, scene: str, factor: int | None = None, *, ranged: bool = False) -> DatasetReader:
        """Open a raster, or its overview of a decimation factor; to be called within :meth:`env`, and closed by :meth:`close`.

        Parameters
        ----------
        href, scene, factor
            The raster, the scene that messages name, and the decimation factor, None: full resolution.
        ranged
            Whether it is read through ranges in any case, so that a failure of storage is known from one of the raster.

        Raises
        ------
        InputError
            There is no such file, it is no GeoTIFF, or access is denied; the message names the scene.
        StorageError
            Storage or the network failed.
        """
        dataset = self._open(href, scene, ranged=ranged)
        if "OVERVIEW_FILE" in dataset.tags(ns="OVERVIEWS"):  # GDAL would open what it names, whatever and wherever that is
            self.close(dataset)
            msg = (
                f"scene {scene}: the metadata of {redact_url(href)} name another file as its overviews (OVERVIEW_FILE), which "
                "is not followed; copy it without them, e.g. with rio cogeo create"
            )
            raise InputError(msg)
        if factor is None:
            return dataset
        factors = dataset.overviews(1)
        self.close(dataset)
        if factor not in factors:
            msg = f"scene {scene}: {redact_url(href)} has lost its overview 1:{factor} since it was planned; run again"
            raise InputError(msg)
        return self.open_overview(href, scene, factors.index(factor), ranged=ranged)

    def open_overview(self, href: str, scene: str, index: int, *, ranged: bool = False) -> DatasetReader:
        """Open an overview by its position in the file; errors as of :meth:`open`."""
        return self._open(href, scene, ranged=ranged, OVERVIEW_LEVEL=index)

    def forget(self) -> None:
        """Let GDAL forget what it read over the network; with our options, some of which count from the first use on."""
        with rasterio.Env(**_REMOTE):
            clear_network_cache()

    def repeat(self, href: str, call: Callable[[], T]) -> T:
        """Repeat what failed for now, of a remote file; GDAL or the protocol's client has repeated single requests before."""

        def attempt() -> T:
            try:
                return call()
            except StorageError:
                self.forget()  # GDAL keeps what came before a body ended early, as if that were all
                raise

        with self._access.watch(href):
            return repeat(attempt, times=min(self._access.retries, MOST_ROUNDS))

    def close(self, dataset: DatasetReader) -> None:
        """Close a raster, in whatever thread it was opened."""
        if is_ranged(dataset):
            close_opened(dataset)
        else:
            dataset.close()

    def _open(self, href: str, scene: str, *, ranged: bool, **options: int) -> DatasetReader:
        # A scene without georeference is an error of ours, and a mask has none; catch_warnings would not be safe in threads.
        warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)
        path = local_name(href)
        if is_remote(href):
            return self.repeat(href, lambda: self._open_remote(href, scene, options, ranged=ranged))
        if not os.path.isfile(path):  # noqa: PTH113 - as above
            msg = f"scene {scene}: no such file: {href}; correct the href, or fetch the file"
            raise UnreadableError(msg)
        return self._try_drivers(
            href,
            lambda driver: rasterio.open(path, driver=driver, sharing=False, **options),
            lambda error: (_describe_format(href, scene, error), _is_of_other_format(error)),
        )

    def _open_remote(self, href: str, scene: str, options: dict[str, int], *, ranged: bool) -> DatasetReader:
        try:
            return self._open_reached(href, scene, options, ranged=ranged)
        except UnexplainedError:
            return self._open_reached(href, scene, options, ranged=True)
        except InputError as error:
            page = self._find_page(href)
            if page is None:
                raise
            msg = (
                f"scene {scene}: {redact_url(href)} is no raster, the server answered {page} ({parse_url(href).backend().hint})"
            )
            raise UnreadableError(msg) from error

    def _find_page(self, href: str) -> str | None:
        """What a web page is that a server sends in place of a raster; None where it sends none."""
        if not href.startswith(("http://", "https://")):
            return None
        try:
            reached = FsspecObject(href, self._access, self.traffic)
            return describe_html(reached.read(0, min(HTML_START, reached.find_size())))
        except MosaicError:  # the failure of opening is told
            return None

    def _open_reached(self, href: str, scene: str, options: dict[str, int], *, ranged: bool) -> DatasetReader:
        path = self._vsi_path(href)
        if path is not None and not ranged:
            ranged = has_files() and (self._range_cache is not None or is_renewed(href))
        else:
            ranged = True

        def reach(driver: str) -> DatasetReader:
            if not ranged:
                return rasterio.open(path, driver=driver, sharing=False, **options)
            by_fsspec = partial(FsspecObject, href, self._access, self.traffic)
            return open_ranged(
                href,
                by_fsspec if path is None or not has_files() else partial(_GdalObject, href, self._vsi_path),
                self._range_cache,
                driver=driver,
                **options,
            )

        return self._try_drivers(href, reach, lambda error: _judge_opening(href, scene, error, ranged=ranged))

    @staticmethod
    def _try_drivers(
        href: str,
        reach: Callable[[str], DatasetReader],
        judge: Callable[[RasterioError], tuple[MosaicError, bool]],
    ) -> DatasetReader:
        """Open as the format that the name says, and as another where it is not that; the first error tells what is wrong.

        Parameters
        ----------
        reach
            Opens it with a driver.
        judge
            The error of this project, and whether it is that the raster is of another format.
        """
        failures: list[tuple[MosaicError, RasterioError]] = []
        for driver in list_drivers(href):
            try:
                return reach(driver)
            except RasterioError as error:
                told, is_other = judge(error)
                if not is_other:
                    raise told from error
                failures.append((told, error))
        first, cause = failures[0]
        raise first from cause

    def _vsi_path(self, href: str) -> str | None:
        """The name under which GDAL reads an href itself; None where fsspec reads it."""
        if self._access.backend == "fsspec":
            return None
        path = self._access.of(href).gdal_path(href)
        if path is None and self._access.backend == "gdal":
            scheme = href.partition("://")[0]
            msg = f"{redact_url(href)}: GDAL does not read {scheme}://; use --io.raster_backend auto"
            raise ConfigError(msg)
        return path


def _describe_format(href: str, scene: str, error: RasterioError) -> InputError:
    reason, kind = first_line(error), "GeoTIFF" if list_drivers(href)[0] == DRIVER else "JPEG 2000"
    return InputError(
        f"scene {scene}: {redact_url(href)} is not a readable {kind} ({reason}); convert it, e.g. with gdal_translate"
    )


def _is_of_other_format(error: RasterioError) -> bool:
    """Whether a driver does not know a raster as one of its own."""
    text = f"{error} {error.__cause__ or ''}"
    return "not recognized" in text or "not a supported" in text


class _GdalObject(VsiFile):
    """An object as GDAL fetches it, with errors of this project."""

    def __init__(self, href: str, find_path: Callable[[str], str | None]) -> None:
        super().__init__(find_path(renew_url(href)) or "")
        self._href, self._find_path = href, find_path

    def find_size(self) -> int:
        """Bytes of the object."""
        with self._telling():
            self._renew()
            return super().find_size()

    def read(self, start: int, end: int) -> bytes:
        """Exactly the bytes that were asked for."""
        with self._telling():
            self._renew()
            return super().read(start, end)

    def _renew(self) -> None:
        """Open the object anew where its signature has been renewed."""
        self.rename(self._find_path(renew_url(self._href)) or "")

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise _describe_storage(self._href, "cannot read", str(error), first_line(error)) from error


def is_ranged(dataset: DatasetReader) -> bool:
    """Whether a raster is read through ranges."""
    return "riopener" in dataset.name or "raster/raster.tif" in dataset.name


def check_storage(scene: str) -> None:
    """Raise what storage said where this thread's last read through ranges failed; GDAL may not have noticed.

    Raises
    ------
    MosaicError
        The error, which names the scene.
    """
    failure = find_failure()
    if failure is not None:
        msg = f"scene {scene}: {failure}"
        raise type(failure)(msg) from failure


def describe_failure(href: str, scene: str, what: str, error: RasterioError, *, ranged: bool) -> MosaicError:
    """The error of this project for one of GDAL about the pixels of a remote file.

    Parameters
    ----------
    href, scene, what
        The raster, the scene, and what could not be done, such as "cannot read rows 0 to 255".
    error
        GDAL's.
    ranged
        Whether they were read through ranges, and storage gave all of them.
    """
    told = f"scene {scene}: {what} of {redact_url(href)}: {first_line(error.__cause__ or error)}"
    if ranged:
        return InputError(f"{told}; the file is truncated or corrupt: fetch it again")
    return UnexplainedError(f"{told}; storage or the network failed, or the file is corrupt: try again later")


def _judge_opening(href: str, scene: str, error: RasterioError, *, ranged: bool) -> tuple[MosaicError, bool]:
    """The error of this project for one of GDAL that opened a remote file, and whether it is that it has another format."""
    check_storage(scene)
    cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
    text = f"{error} {cause}"
    told = _describe_storage(href, "cannot open", text, first_line(cause))
    if isinstance(told, StorageError) and _is_of_other_format(error):
        return _describe_format(href, scene, error), True
    if isinstance(told, StorageError) and (ranged or _OF_RASTER.search(text)):
        return (_describe_format(href, scene, error) if ranged else UnexplainedError(f"scene {scene}: {told}")), False
    return type(told)(f"scene {scene}: {told}"), False


def _describe_storage(href: str, what: str, text: str, reason: str) -> InputError | StorageError:
    """The error of this project for what GDAL said of storage."""
    text, shown = hide_secrets(text).lower(), redact_url(href)  # a URL that is signed says "signature" of itself
    if any(word in text for word in _DENIED):
        return describe_denial(href, parse_url(href).backend(), reason)
    if "404" in text or "does not exist" in text or "nosuchkey" in text or "nosuchbucket" in text:
        return UnreadableError(f"{shown} does not exist ({reason}); correct the href")
    return StorageError(f"{what} {shown} ({reason}); storage or the network failed, try again later")
