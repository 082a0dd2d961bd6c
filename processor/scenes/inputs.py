"""Read INPUT: an ItemCollection, a catalogue, a folder, a pattern, rasters, or a search on a STAC API."""

from __future__ import annotations

import glob
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import unquote, urlsplit

from processor.config import Inputs
from processor.config.general import Check, Reference
from processor.errors import InputError, UnreadableError
from processor.geotiff.open import Outline, read_outline
from processor.model import Finding, Provenance, SceneRef
from processor.model.names import name_scenes
from processor.redaction import redact_url
from processor.scenes.band_files import group_files
from processor.scenes.documents import DocumentSource
from processor.storage.allowance import Allowance
from processor.storage.options import Access
from processor.storage.store import Store
from processor.storage.url import HTML_START, describe_html, holds_credentials, join_url, parse_url, storage_errors
from stac.api.request import SearchRequest, is_search_url, parse_search_url
from stac.api.session import Patience
from stac.decode import read_text
from stac.documents import clean_text, find_page, parse_features
from stac.hrefs import NOWHERE, href_name, href_suffix, show_href
from stac.read.beside import find_items
from stac.read.choice import MaskSelection, Selection
from stac.read.items import parse_item_collection
from stac.read.twins import drop_identical, judge_items, tell_dropped
from stac.read.walk import MAX_LINKED_BYTES, is_catalog, walk_catalog
from stac.write.catalog import CATALOG

_MOST_FILES: Final = 50  # a scene, of one band each
Refine = Callable[[object, bool], Inputs]

_GEOTIFF: Final = frozenset({".tif", ".tiff"})
_JPEG2000: Final = frozenset({".jp2"})
_RASTER: Final = _GEOTIFF | _JPEG2000
_DOCUMENT: Final = frozenset({".json", ".geojson"})
_TIFF_MAGIC: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_HELP: Final = "give an ItemCollection or a catalogue (.json), a folder, a quoted pattern, rasters (.tif, .jp2), or --api URL"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedInputs:
    """Scenes of INPUT, and the document that they are from."""

    refs: tuple[SceneRef, ...]
    """The scenes, in order of priority."""
    document: object | None
    """The decoded ItemCollection, also of a catalogue or a search; None for plain rasters."""
    description: str
    """For people and logs; without credentials."""
    findings: tuple[Finding, ...] = ()
    """Warnings about the input, such as a page that is not the last."""
    is_remote: bool = False
    """Whether the document is a stranger's: read from a URL or standard input."""
    bases: tuple[str, ...] = ()
    """URL or absolute path of each Item's document, or :data:`~stac.hrefs.NOWHERE`; empty for plain rasters."""
    named: tuple[str, ...] = ()
    """URLs that documents of this machine lead to, one of each host: whoever runs this program answers for them."""

    def list_hosts(self) -> list[str]:
        """URL on the one host that a document of this machine leads to; empty where it leads to several or none."""
        if self.is_remote or self.document is None:
            return []
        hrefs = [raster.href for ref in self.refs for raster in ref.rasters if raster.href.startswith(("http://", "https://"))]
        hosts = {tuple(urlsplit(href)[:2]) for href in hrefs}
        return hrefs[:1] if len(hosts) == 1 else []


def read_inputs(
    arguments: Sequence[str] | SearchRequest,
    *,
    stdin: IO[bytes] | bytes | None,
    inputs: Inputs,
    store: Store | None = None,
    refine: Refine | None = None,
) -> ResolvedInputs:
    """Recognise what INPUT is, and read it.

    Parameters
    ----------
    arguments
        One of these; the order of the scenes is their priority.

        - Path or URL of an ItemCollection, or of a Catalog or Collection, whose links are followed to its Items; ``-`` for
          standard input.
        - A folder: its ``catalog.json``, or without one its ``.tif`` and ``.tiff`` files in name order, or the
          ``.jp2`` files where there are none, with the Items that lie beside them, without subfolders.
        - A pattern: the GeoTIFFs that match, or the JPEG 2000 files where none does, in name order.
        - One or several paths or URLs of rasters or of such documents, in this order.
        - Several local folders with a ``catalog.json`` each.
        - A search on a STAC API, as a record or as the URL of one.
    stdin
        Binary standard input, which whoever fills it is trusted with as little as a server: it may name no files unless
        ``inputs.allow_local_files`` is set. Or the document itself that a program hands over, which counts as a local file.
        Their relative hrefs start from the working folder, where they may have any.
    inputs
        Which assets are read and how many scenes are allowed.
    refine
        Returns these settings again for a document with options of its own; called with it and whether it is a stranger's.
    store
        Storage with its credentials and endpoints; default: those of the environment.

    Raises
    ------
    InputError
        Naming the argument and what to do.
    StorageError
        Storage or the network failed.
    """
    allowance = Allowance(max_bytes=inputs.max_bytes, seconds=inputs.max_seconds)
    source = DocumentSource(store=store if store is not None else Store(), allowance=allowance)
    found = _read_arguments(arguments, stdin, inputs, source, refine)
    return replace(found, findings=(*found.findings, *judge_items(found.refs)))


def _read_arguments(
    arguments: Sequence[str] | SearchRequest,
    stdin: IO[bytes] | bytes | None,
    inputs: Inputs,
    source: DocumentSource,
    refine: Refine | None,
) -> ResolvedInputs:
    if isinstance(arguments, SearchRequest):
        return _search(arguments, inputs, source)
    if not arguments:
        msg = f"no input: {_HELP}, or - for an ItemCollection on standard input"
        raise InputError(msg)
    if len(arguments) > 1:
        return _read_several(arguments, inputs, source)
    argument = arguments[0]
    if argument == "-":
        if stdin is None:
            msg = f"there is no standard input to read an ItemCollection from: {_HELP}"
            raise InputError(msg)
        base = f"{Path.cwd()}/" if isinstance(stdin, bytes) or inputs.allow_local_files else NOWHERE
        return _parse_document(source.read_stream(stdin), "standard input", inputs, source, refine, base=base)
    href = _locate(argument)
    if not href.startswith("/"):
        return _read_remote(href, inputs, source, refine)
    with storage_errors(href):
        return _read_local(href, inputs, source, refine)


def _read_several(arguments: Sequence[str], inputs: Inputs, source: DocumentSource) -> ResolvedInputs:
    """Read folders with a catalogue each, or files: rasters and documents."""
    if all("://" not in folder and Path(folder, CATALOG).is_file() for folder in arguments):
        # As the children of one: a platform may stage each scene in a folder of its own.
        links = [{"rel": "child", "href": join_url(_locate(folder), CATALOG)} for folder in arguments]
        above = {"type": "Catalog", "id": "inputs", "links": links}
        return _walk(above, f"Catalogs of {len(arguments)} folders", inputs, source, base=f"{Path.cwd()}/")
    hrefs = [_check_one(argument) for argument in arguments]
    documents = [href for href in hrefs if href_suffix(href) in _DOCUMENT]
    if not documents:
        return _describe_rasters(hrefs, inputs, f"{len(hrefs)} rasters", source)
    parts = []
    for is_document, run in groupby(hrefs, key=lambda href: href_suffix(href) in _DOCUMENT):
        files = list(run)
        parts += (
            [_read_document(href, inputs, source, None) for href in files]
            if is_document
            else [_describe_rasters(files, inputs, f"{len(files)} rasters", source)]
        )
    rest = len(hrefs) - len(documents)
    return _join(parts, f"{len(documents)} documents{f' and {rest} rasters' if rest else ''}", inputs)


def _locate(argument: str) -> str:
    """An absolute local path, or a URL without credentials."""
    if not argument or not argument.isprintable():
        msg = f"the input {show_href(argument)!r} is empty or holds control characters: {_HELP}"
        raise InputError(msg)
    url = parse_url(argument)
    if not url.is_local:
        if holds_credentials(argument):
            msg = f"the URL {redact_url(argument)} holds a user name or a password: give credentials as storage options instead"
            raise InputError(msg)
        return argument
    path = unquote(url.path.removeprefix("localhost")) if "://" in argument else argument
    absolute = "/" + os.path.normpath(Path.cwd() / path).lstrip("/")
    if absolute.lower().startswith("/vsi"):
        msg = f"{path} is a virtual file system of GDAL: write the plain path or a URL, such as s3://bucket/scene.tif"
        raise InputError(msg)
    return absolute


def _check_one(argument: str) -> str:
    """Absolute path or URL of one of several arguments, which must all be rasters or documents."""
    href = _locate(argument)
    if argument == "-":
        msg = "- is one of several inputs: give standard input alone, or only files"
        raise InputError(msg)
    if href.startswith("/"):
        if Path(href).is_dir() or (glob.has_magic(href) and not Path(href).exists()):
            msg = f"{argument} is one of several inputs: give one folder or pattern alone, or only files"
            raise InputError(msg)
        if not Path(href).is_file():
            msg = f"no such file: {argument}; {_HELP}"
            raise InputError(msg)
    if href_suffix(href) not in _RASTER | _DOCUMENT:
        msg = f"{redact_url(argument)} does not end in .tif, .tiff, .jp2, .json or .geojson: {_HELP}"
        raise InputError(msg)
    return href


def _read_local(path: str, inputs: Inputs, source: DocumentSource, refine: Refine | None) -> ResolvedInputs:
    if Path(path).is_dir():
        entries = list(Path(path).iterdir())
        files = [str(entry) for entry in entries if entry.is_file()]
        return _read_folder(path, files, inputs, source, refine, has_folders=len(files) < len(entries))
    if Path(path).is_file():
        if href_suffix(path) in _RASTER:
            return _describe_rasters([path], inputs, path, source)
        return _read_document(path, inputs, source, refine)
    if glob.has_magic(path):
        try:
            matches = [str(match) for match in Path("/").glob(path.lstrip("/")) if match.is_file()]
        except ValueError as error:  # such as "a**b"
            msg = f"the pattern {path} cannot be used ({error}): correct it"
            raise InputError(msg) from error
        return _choose_matches(path, matches, inputs, source)
    msg = f"no such file or folder: {path}; {_HELP}"
    raise InputError(msg)


def _read_remote(url: str, inputs: Inputs, source: DocumentSource, refine: Refine | None) -> ResolvedInputs:
    if is_search_url(url):
        return _search(parse_search_url(url), inputs, source)
    can_list = parse_url(url).backend.is_writable
    if can_list and glob.has_magic(url):
        return _choose_matches(url, source.store.glob(url), inputs, source)
    if href_suffix(url) in _RASTER:
        return _describe_rasters([url], inputs, redact_url(url), source)
    if can_list and href_suffix(url) not in _DOCUMENT and (url.endswith("/") or not source.store.exists(url)):
        return _read_folder(url, source.store.list_objects(url), inputs, source, refine, has_folders=True)
    return _read_document(url, inputs, source, refine)


def _read_document(href: str, inputs: Inputs, source: DocumentSource, refine: Refine | None) -> ResolvedInputs:
    return _parse_document(source.read(href), redact_url(href), inputs, source, refine, base=href)


def _search(request: SearchRequest, inputs: Inputs, source: DocumentSource) -> ResolvedInputs:
    from stac.api.search import search_items  # noqa: PLC0415 - the client takes a second to load

    access = source.store.access
    found = search_items(
        request,
        max_scenes=inputs.max_scenes,
        patience=Patience(retries=access.retries, timeout=access.timeout),
        find_keys=access.find_keys,
        networks=access.networks,
        allowance=source.allowance,
        allow_local_files=inputs.allow_local_files,
    )
    shown = f"search on {show_href(request.api)}"
    resolved = _describe_items(found.document, shown, inputs, base=request.api, bases=found.bases)
    return replace(resolved, findings=(*resolved.findings, *found.findings))


def _read_folder(
    folder: str, files: list[str], inputs: Inputs, source: DocumentSource, refine: Refine | None, *, has_folders: bool
) -> ResolvedInputs:
    """Read a folder's catalogue, as an OGC Application Package stages scenes; without one, its rasters in name order."""
    if any(href_name(file) == CATALOG for file in files):
        return _read_document(join_url(folder, CATALOG), inputs, source, refine)
    rasters, findings = _choose_format(files)
    shown = redact_url(folder).rstrip("/")
    if not rasters:
        documents = sorted(href_name(file) for file in files if href_suffix(file) in _DOCUMENT)
        hint = f" but {documents[0]}: give that file itself" if documents else ""
        hint = hint or (f": if they are in its folders, use the pattern '{shown}/**/*.tif'" if has_folders else f": {_HELP}")
        msg = f"the folder {shown} holds no .tif or .tiff file{hint}"
        raise InputError(msg)
    items = find_items(sorted(rasters), files, partial(source.read, most=MAX_LINKED_BYTES))
    if not items:
        described = _describe_rasters(sorted(rasters), inputs, f"folder {shown}", source)
        return replace(described, findings=(*described.findings, *findings))
    claimed = {file for item in items for file in item.files}
    plain = [file for file in sorted(rasters) if file not in claimed]
    document = {"type": "FeatureCollection", "features": [item.feature for item in items]}
    bases = tuple(item.href for item in items)
    described = _describe_items(document, f"Items in folder {shown}", inputs, base=bases[0], bases=bases)
    parts = [described, *([_describe_rasters(plain, inputs, f"folder {shown}", source)] if plain else [])]
    return _join(parts, f"folder {shown}", inputs)


def _choose_matches(pattern: str, matches: list[str], inputs: Inputs, source: DocumentSource) -> ResolvedInputs:
    """The rasters that a pattern matches, in name order."""
    rasters, findings = _choose_format(matches)
    if not rasters:
        found = f"matches {len(matches)} files, none of them a .tif or .tiff" if matches else "matches no file"
        msg = f"the pattern {redact_url(pattern)} {found}: {_HELP}"
        raise InputError(msg)
    described = _describe_rasters(sorted(rasters), inputs, f"pattern {redact_url(pattern)}", source)
    return replace(described, findings=(*described.findings, *findings))


def _choose_format(hrefs: Sequence[str]) -> tuple[list[str], tuple[Finding, ...]]:
    """The GeoTIFFs among files, or the JPEG 2000 files where there are none: beside GeoTIFFs they are mostly the same again."""
    shown = [href for href in hrefs if not href_name(href).startswith(".")]
    geotiffs = [href for href in shown if href_suffix(href) in _GEOTIFF]
    others = [href for href in shown if href_suffix(href) in _JPEG2000]
    if not geotiffs or not others:
        return geotiffs or others, ()
    message = (
        f"{len(others)} JPEG 2000 files beside {len(geotiffs)} GeoTIFFs are left out ({href_name(min(others))} is one); if "
        "they are other scenes, name all files"
    )
    return geotiffs, (Finding(severity="info", code="jpeg2000-left-out", message=message),)


def _describe_rasters(hrefs: Sequence[str], inputs: Inputs, description: str, source: DocumentSource) -> ResolvedInputs:
    """Scenes named after their files."""
    if len(hrefs) > inputs.max_scenes * _MOST_FILES:
        _refuse_many(len(hrefs), "files", inputs, description)
    is_known = isinstance(inputs, Reference | Check)  # their bands say which bands of the scenes they are
    scenes, findings = group_files(
        hrefs,
        inputs,
        partial(_read_outline, access=source.store.access),
        has_bands=not is_known,
    )
    if len(scenes) > inputs.max_scenes:
        _refuse_many(len(scenes), "scenes", inputs, description)
    names = name_scenes(
        [scene.name for scene in scenes],
        [scene.folder.rpartition("/")[2] or None for scene in scenes],
        what="file",
        origins=[show_href(scene.rasters[0].href) for scene in scenes],
    )
    refs = tuple(
        SceneRef(
            name=name,
            priority=priority,
            rasters=scene.rasters,
            mask=scene.mask,
            provenance=Provenance(title=None if name == scene.name else clean_text(scene.name)),
        )
        for priority, (name, scene) in enumerate(zip(names, scenes, strict=True))
    )
    return ResolvedInputs(refs=refs, document=None, description=description, findings=findings)


def _join(parts: Sequence[ResolvedInputs], description: str, inputs: Inputs) -> ResolvedInputs:
    """Scenes of several inputs as those of one, each once; the order is that of the inputs."""
    refs: list[SceneRef] = []
    features: list[Any] = []
    bases: list[str] = []
    known: dict[tuple[str, str | None], list[SceneRef]] = defaultdict(list)
    dropped: list[str] = []
    for part in parts:
        own = [None] * len(part.refs) if part.document is None else parse_features(part.document)
        for position, (ref, feature) in enumerate(zip(part.refs, own, strict=True)):
            plain = replace(ref, name="", priority=0, provenance=replace(ref.provenance, self_href=None))
            title = ref.provenance.title or ref.name
            alike = known[title, ref.provenance.collection]
            if feature is not None and plain in alike:
                dropped.append(title)
                continue
            alike.append(plain)
            refs.append(ref)
            if feature is not None:
                features.append(feature)
                bases.append(part.bases[position])
    if len(refs) > inputs.max_scenes:
        _refuse_many(len(refs), "scenes", inputs, description)
    ids = [ref.provenance.title or ref.name for ref in refs]
    folders = [ref.rasters[0].href.rpartition("/")[0].rpartition("/")[2] or None for ref in refs]
    qualifiers = [ref.provenance.collection or folder for ref, folder in zip(refs, folders, strict=True)]
    names = name_scenes(ids, qualifiers, origins=[show_href(ref.rasters[0].href) for ref in refs])
    renamed = tuple(
        replace(
            ref,
            name=name,
            priority=priority,
            provenance=replace(ref.provenance, title=None if name == title else title),
        )
        for priority, (ref, name, title) in enumerate(zip(refs, names, ids, strict=True))
    )
    return ResolvedInputs(
        refs=renamed,
        document={"type": "FeatureCollection", "features": features} if features else None,
        description=description,
        findings=(*(finding for part in parts for finding in part.findings), *tell_dropped(dropped)),
        is_remote=any(part.is_remote for part in parts),
        bases=tuple(bases),
        named=tuple(url for part in parts for url in part.named),
    )


def _read_outline(href: str, *, access: Access) -> Outline | None:
    """Where a raster lies; None where it cannot be read, of which opening the scenes tells, or leaves the scene out."""
    try:
        return read_outline(href, show_href(href), access)
    except UnreadableError:
        return None


def _refuse_many(count: int, what: str, inputs: Inputs, description: str) -> None:
    msg = f"{description} has {count} {what}, more than --inputs.max_scenes {inputs.max_scenes} allows: raise the limit"
    raise InputError(msg)


def _parse_document(
    data: bytes, shown: str, inputs: Inputs, source: DocumentSource, refine: Refine | None, *, base: str
) -> ResolvedInputs:
    """Parse an ItemCollection, or follow a catalogue to its Items; errors name the document."""
    if data.startswith(_TIFF_MAGIC):
        msg = f"{shown} is a TIFF: give it a name that ends in .tif"
        raise InputError(msg)
    if not data or data.isspace():
        msg = f"{shown} is empty: {_HELP}"
        raise InputError(msg)
    start = data[:HTML_START]
    try:
        text = read_text(data)
        del data  # no caller has it either: the text and what is made of it are enough in memory
        document: object = source.decoder.parse(text)
        del text
    except (ValueError, RecursionError) as error:
        web_page = describe_html(start)
        what = f"is not JSON ({error})" if web_page is None else f"is not JSON, but {web_page}"
        msg = f"{shown} {what}: {_HELP}"
        raise InputError(msg) from error
    if isinstance(document, dict) and is_catalog(document):
        return _walk(document, f"{document['type']} {shown}", inputs, source, base=base)
    if refine is not None:
        inputs = refine(document, not base.startswith("/"))
    return _describe_items(document, shown, inputs, base=base)


def _walk(document: Mapping[str, Any], shown: str, inputs: Inputs, source: DocumentSource, *, base: str) -> ResolvedInputs:
    """Follow a catalogue to its Items."""
    linked: list[str] = []

    def allow(urls: Sequence[str]) -> None:
        nonlocal source
        linked.extend(_list_hosts(urls))
        source = replace(source, store=replace(source.store, access=source.store.access.allowing(linked)))

    walked = walk_catalog(
        document,
        base=base,
        read=lambda href: source.read(href, most=MAX_LINKED_BYTES),
        allow=allow,
        decoder=source.decoder,
        max_scenes=inputs.max_scenes,
        allow_local_files=inputs.allow_local_files,
    )
    found = _describe_items(walked.document, shown, inputs, base=base, bases=walked.bases)
    return replace(found, named=_list_hosts([*linked, *found.named]))


def _list_hosts(urls: Iterable[str]) -> tuple[str, ...]:
    """One URL of each scheme and host of web servers."""
    return tuple({urlsplit(url)[:2]: url for url in urls if url.startswith(("http://", "https://"))}.values())


def _list_hrefs(ref: SceneRef) -> list[str]:
    """Hrefs of all that is read of a scene."""
    rasters = [*ref.rasters, *([] if ref.mask is None else [ref.mask.raster])]
    return [one.href for raster in rasters for one in (raster, *raster.alternates)]


def _describe_items(
    document: object, shown: str, inputs: Inputs, *, base: str, bases: tuple[str, ...] | None = None
) -> ResolvedInputs:
    """Scenes of Items; ``bases`` where these are from several documents."""
    is_remote = not base.startswith("/")
    document, bases, repeated = _drop_identical(document, bases)
    try:
        refs = parse_item_collection(document, base=base, is_remote=is_remote, selection=select_assets(inputs), bases=bases)
    except InputError as error:
        msg = f"{shown}: {error}"
        raise InputError(msg) from error
    page = find_page(document)
    own = bases if bases is not None else (base,) * len(refs)
    return ResolvedInputs(
        refs=refs,
        document=document,
        description=shown if bases is not None else f"ItemCollection {shown}",
        findings=(*(() if page is None else (page,)), *repeated),
        is_remote=is_remote,
        bases=own,
        named=_list_hosts(
            href for ref, origin in zip(refs, own, strict=True) if origin.startswith("/") for href in _list_hrefs(ref)
        ),
    )


def _drop_identical(
    document: object, bases: tuple[str, ...] | None
) -> tuple[object, tuple[str, ...] | None, tuple[Finding, ...]]:
    """The document, and where its Items are from, without Items that are there twice."""
    features = document.get("features") if isinstance(document, Mapping) else None
    if not isinstance(document, Mapping) or not isinstance(features, list):
        return document, bases, ()
    kept, left, findings = drop_identical(features, bases)
    return ({**document, "features": kept}, left, findings) if findings else (document, bases, ())


def select_assets(inputs: Inputs) -> Selection:
    """Selection of assets and bands, from the configuration.

    Raises
    ------
    ConfigError
        If the options contradict each other.
    """
    mask = inputs.mask
    return Selection(
        asset=inputs.asset,
        assets=inputs.assets,
        bands=inputs.bands,
        mask=None
        if mask is None
        else MaskSelection(asset=mask.asset, band=mask.band, invalid=mask.invalid, valid=mask.valid, bits=mask.bits),
        sign=inputs.sign,
        alternate=inputs.alternate,
        allow_local_files=inputs.allow_local_files,
        max_scenes=inputs.max_scenes,
    )
