"""Flags of the configuration: every parameter is one, made from the model."""

from __future__ import annotations

import argparse
import json
import textwrap
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel

from processor.cli.search_flags import SEARCH_FLAGS
from processor.config import Config, Parameter, iter_parameters, list_sections, load_config, parse_document, parse_parameter
from processor.errors import ConfigError, InputError

_PREFIX: Final = "parameter:"
_SHORT: Final = {
    "shared.memory": ("--memory",),
    "methods.preset": ("--preset",),
    "reference.images": ("--reference",),
    "check.images": ("--check",),
    "inputs.skip_unreadable": ("--skip_unreadable", "--skip-unreadable"),
}  # often typed by hand
_MAX_CONFIG_BYTES: Final = 2**20
_BOOLEANS: Final = frozenset({"true", "false", "yes", "no", "on", "off", "null"})
_KINDS: Final[Mapping[object, str]] = {bool: "BOOL", int: "INT", float: "NUMBER", str: "TEXT", type(None): "null"}


def add_parameters(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every parameter, in a group for each section."""
    groups: dict[str, Any] = {}
    for parameter in iter_parameters():
        if parameter.section not in groups:
            model = list_sections()[parameter.section]
            groups[parameter.section] = parser.add_argument_group(parameter.section, textwrap.fill(model.__doc__ or "", 76))
        unit = f", in {parameter.unit}" if parameter.unit else ""
        default = parameter.field.default
        shown = default if isinstance(default, str) else json.dumps(default)
        groups[parameter.section].add_argument(
            *_list_flags(parameter),
            dest=f"{_PREFIX}{parameter.path}",
            metavar=_describe_kind(parameter.field.annotation),
            help=f"{parameter.field.description} (default: {shown}{unit})".replace("%", "%%"),
        )


def _list_flags(parameter: Parameter) -> tuple[str, ...]:
    """Names of a parameter on the command line."""
    return (f"--{parameter.path}", *_SHORT.get(parameter.path, ()))


def _describe_kind(annotation: object) -> str:
    """Kind of value for the help: INT, NUMBER, TEXT, BOOL, LIST, the allowed words, or several of these."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "|".join(json.dumps(word) if isinstance(word, bool) else str(word) for word in parts)
    if origin in (Union, types.UnionType):
        return "|".join(dict.fromkeys(_describe_kind(part) for part in parts))
    if origin is Annotated:
        return _describe_kind(parts[0])
    if origin is tuple:
        return "LIST"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "MAPPING"
    return _describe_kind(parts[0]) if parts else _KINDS[annotation]


def _is_switch(parameter: Parameter) -> bool:
    """Whether a flag without a value means true."""
    annotation = parameter.field.annotation
    return annotation is bool or set(get_args(annotation)) == {bool, types.NoneType}


def spell_out(arguments: Sequence[str]) -> list[str]:
    """Rewrite the flags of parameters to the one form that the parser knows, ``--section.name=value``.

    Hyphens may stand for underscores. A boolean flag without a value means true, whatever follows it. Values may begin with a
    minus sign, also those of a search.

    Examples
    --------
    >>> spell_out(["--align-rasters.tap", "scenes", "--shared.custom-nodata-value", "-1e38"])
    ['--align_rasters.tap=true', 'scenes', '--shared.custom_nodata_value=-1e38']
    """
    known = {flag: parameter for parameter in iter_parameters() for flag in _list_flags(parameter)}
    spelt: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*spelt, word, *rest]
        name, equals, value = word.partition("=")
        flag = f"--{name[2:].replace('-', '_')}"
        if word in SEARCH_FLAGS and rest and not rest[0].startswith("--"):
            spelt.append(f"{word}={rest.pop(0)}")
        elif not name.startswith("--") or flag not in known:
            spelt.append(word)
        elif equals:
            spelt.append(f"{flag}={value}")
        elif _is_switch(known[flag]) and not (rest and rest[0].lower() in _BOOLEANS):
            spelt.append(f"{flag}=true")
        elif rest and not rest[0].startswith("--"):
            spelt.append(f"{flag}={rest.pop(0)}")
        else:
            spelt.append(flag)
    return spelt


def read_config(options: argparse.Namespace, environment: Mapping[str, str] | None = None) -> Config:
    """Merge flags, environment and the file of ``--config``.

    Raises
    ------
    ConfigError
        Naming the parameter, its value and what is allowed; or the file that cannot be read.
    StorageError
        Storage or the network failed.
    """
    texts = vars(options)
    flags = {
        parameter.path: parse_parameter(parameter, texts[f"{_PREFIX}{parameter.path}"])
        for parameter in list_flags_given(options)
    }
    url = texts.get("config")
    document = {} if url is None else _read_document(url, flags, environment)
    return load_config(flags=flags, document=document, environment=environment)


def list_flags_given(options: argparse.Namespace) -> list[Parameter]:
    """The parameters that were set by a flag."""
    texts = vars(options)
    return [parameter for parameter in iter_parameters() if texts.get(f"{_PREFIX}{parameter.path}") is not None]


def refuse_decisive(options: argparse.Namespace) -> None:
    """Refuse flags that would decide the result of a run that is planned already.

    Raises
    ------
    ConfigError
        Naming the first.
    """
    for parameter in list_flags_given(options):
        if parameter.is_decisive:
            msg = f"--{parameter.path} decides about the result, so it is for `plan`: this run is planned already"
            raise ConfigError(msg)


def _read_document(url: str, flags: Mapping[str, Any], environment: Mapping[str, str] | None) -> dict[str, Any]:
    """Read the file of ``--config``; one in storage is read with the storage options of flags and environment."""
    from processor.storage.options import Access, resolve_access  # noqa: PLC0415 - loads fsspec, which only a file needs
    from processor.storage.store import Store  # noqa: PLC0415

    access = Access()
    if "://" in url:
        reached = {path: value for path, value in flags.items() if path.startswith("io.")}
        access = resolve_access(load_config(flags=reached, environment=environment).io, environment)
    store = Store(access=access.allowing([url]))
    try:
        text = store.read_bytes(url, max_bytes=_MAX_CONFIG_BYTES).decode("utf-8")
    except (InputError, UnicodeDecodeError) as error:
        msg = f"--config {url} cannot be used: {error}"
        raise ConfigError(msg) from error
    return parse_document(text, source=url)
