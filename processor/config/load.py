"""The configuration: one frozen model, from which the YAML file, the environment and the command line are all derived.

A parameter is named by its section and its name: ``local_block_adjustment.alpha`` in YAML, ``--local_block_adjustment.alpha``
on the command line, ``MOSAIC_LOCAL_BLOCK_ADJUSTMENT__ALPHA`` in the environment. Flags win over the environment, that over the
file, that over the options of an ItemCollection's ``process`` block, those over the defaults.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import date
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import ValidationError

from processor.config.plain_yaml import describe_fault, load_yaml
from processor.config.presets import PRESETS
from processor.config.sections import Config, Parameter, iter_parameters, list_sections
from processor.errors import ConfigError
from processor.model.options import Trust
from processor.redaction import HIDDEN, holds_credential, remember_secrets
from processor.stages import STAGES
from stac.hrefs import drop_signature

_REFUSED: Mapping[Trust, str] = {
    "machine": "may not say how storage or clusters are reached, or what of this machine is used",
    "limit": "may not raise what limits it",
    "place": "may not name files",
}
"""What a document of a stranger may not do by a process option, by what the parameter decides over."""

_PREFIX, _DELIMITER = "MOSAIC_", "__"
"""Of the variables of the environment: ``MOSAIC_SECTION__NAME``."""


def parse_document(text: str, *, source: str) -> dict[str, Any]:
    """Parse a YAML configuration; ``source`` names it in errors.

    Raises
    ------
    ConfigError
        If the text is not YAML or not a mapping of sections.
    """
    try:
        document = load_yaml(text)
    except yaml.YAMLError as error:
        msg = f"{source} is not YAML: {describe_fault(error)}"
        raise ConfigError(msg) from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        msg = f"{source} must be a mapping of sections such as 'shared:', got {type(document).__name__}"
        raise ConfigError(msg)
    return document


def load_config(
    *,
    flags: Mapping[str, Any] | None = None,
    document: Mapping[str, Any] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Merge flags over the environment over a document over the defaults.

    Parameters
    ----------
    flags
        Values by ``section.name``.
    document
        Values by section, as :func:`parse_document` gives them.
    environment
        Variables ``MOSAIC_SECTION__NAME``; default: the process's own.

    Raises
    ------
    ConfigError
        Naming the parameter, the value and what is allowed.
    """
    merged: dict[str, Any] = {}
    for values in (document or {}, _parse_environment(os.environ if environment is None else environment), _nest(flags or {})):
        _overlay(merged, values)
    return _validate(merged)


def _validate(merged: Mapping[str, Any], preset_by_default: str | None = None) -> Config:
    _remember_secrets(merged)
    unknown = [section for section in merged if section not in list_sections()]
    if unknown:
        msg = "; ".join(f"{section}: {_name_unknown(section)}" for section in unknown)
        raise ConfigError(msg)
    filled: dict[str, Any] = {}
    preset = PRESETS.get(str(merged.get("methods", {}).get("preset") or preset_by_default))
    for values in (merged if preset is None else preset.values, merged):
        _overlay(filled, values)
    try:
        config = Config(**filled)
    except ValidationError as error:
        raise ConfigError(_describe(error, filled)) from None  # it quotes values, secrets too
    for parameter in iter_parameters(config):
        if not parameter.is_path and not parameter.is_secret and holds_credential(config.get(parameter)):
            msg = f"{parameter.path} = {config.get(parameter)!r}: holds a user name, password or token, and may be published"
            raise ConfigError(msg)
    return config


def _remember_secrets(merged: Mapping[str, Any]) -> None:
    """Have all that was given as a secret hidden wherever it turns up."""
    for parameter in iter_parameters():
        values = merged.get(parameter.section)
        value = values.get(parameter.name) if parameter.is_secret and isinstance(values, Mapping) else None
        remember_secrets([value] if isinstance(value, str) else map(str, value.values()) if isinstance(value, Mapping) else [])


def apply_options(
    config: Config, options: Mapping[str, Any], *, is_remote: bool, preset_by_default: str | None = None
) -> Config:
    """Fill in the options of an ItemCollection's ``process`` block where nothing was set on purpose.

    Parameters
    ----------
    config
        From :func:`load_config`; what flags, environment or file set in it stays.
    options
        By section, by ``section.name``, or by the flat names of :func:`processor.pipeline`.
    is_remote
        Whether the document is a stranger's, from a URL or standard input: then it may name no place in storage, unless local
        files are allowed.
    preset_by_default
        The preset where neither names one; all that is set wins over it.

    Raises
    ------
    ConfigError
        Naming the option.
    """
    merged: dict[str, Any] = {
        section: config.section(section).model_dump(exclude_unset=True)
        for section in list_sections()
        if section in config.model_fields_set
    }
    given: dict[str, Any] = {}
    trusts = {parameter.path: parameter.trust for parameter in iter_parameters()}
    paths = {flat_name(parameter): parameter.path for parameter in iter_parameters()}
    for name, value in options.items():
        _overlay(given, {name: value} if name in list_sections() else _nest({paths.get(name, name): value}))
    for section, values in given.items():
        for name, value in values.items():
            known = trusts.get(f"{section}.{name}", "data")
            is_allowed = known == "place" and (config.inputs.allow_local_files or not value)
            if is_remote and known in _REFUSED and not is_allowed:
                is_place = known == "place"
                shown, hint = (f" = {value!r}", ", or allow it with --inputs.allow_local_files") if is_place else ("", "")
                msg = (
                    f"process option {section}.{name}{shown}: a document from a URL or standard input {_REFUSED[known]}; "
                    f"give it on the command line, in the environment or in the file of --config{hint}"
                )
                raise ConfigError(msg)
            merged.setdefault(section, {}).setdefault(name, value)
    return _validate(merged, preset_by_default)


def list_places(config: Config) -> list[str]:
    """Paths and URLs that a configuration names."""
    return [text for parameter in iter_parameters(config) if parameter.is_path for text in _list_texts(config.get(parameter))]


def _list_texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    return [text for one in value for text in _list_texts(one)] if isinstance(value, tuple | list) else []


def flat_name(parameter: Parameter) -> str:
    """Name of a parameter as a keyword of :func:`processor.pipeline`."""
    if parameter.section == "methods" or parameter.path == "shared.delete_temp_dir":
        return parameter.name
    return f"{parameter.section}_{parameter.name}"


def variable_name(parameter: Parameter) -> str:
    """What a parameter is called in the environment."""
    return f"{_PREFIX}{parameter.section}{_DELIMITER}{parameter.name}".upper()


def _overlay(base: dict[str, Any], over: Mapping[Any, Any]) -> None:
    for section, values in over.items():
        if values is None:  # a section whose every line is commented out
            continue
        if not isinstance(values, Mapping):
            reason = _name_unknown(str(section))
            if section in list_sections():
                parameter = next(parameter for parameter in iter_parameters() if parameter.section == section)
                example = f"{parameter.name}: {json.dumps(parameter.field.default)}"
                reason = f"a section, so it must be a mapping of parameters, such as {example}"
            msg = f"{section}: {reason}"  # and not what was given: it may be a secret in a wrong place
            raise ConfigError(msg)
        base.setdefault(str(section), {}).update({str(name): value for name, value in values.items()})


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        section, _, name = path.partition(".")
        nested.setdefault(section, {})[name] = value
    return nested


def _parse_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    sections = {name.upper(): name for name in list_sections()}
    known = {parameter.path: parameter for parameter in iter_parameters()}
    flat: dict[str, Any] = {}
    for variable, text in environment.items():
        section, found, name = variable.removeprefix(_PREFIX).partition(_DELIMITER)
        if variable.startswith(_PREFIX) and found:
            path = f"{sections.get(section, section.lower())}.{name.lower()}"
            flat[path] = parse_parameter(known[path], text) if path in known else parse_value(text)
    return _nest(flat)


def parse_parameter(parameter: Parameter, text: str) -> Any:
    """A parameter's value as typed; where text is meant, "02" is a text too."""
    value = parse_value(text)
    return text if isinstance(value, bool | int | float | date) and _takes_text(parameter.field.annotation) else value


def _takes_text(annotation: object) -> bool:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _takes_text(parts[0])
    return annotation is str or (origin in (Union, UnionType) and any(map(_takes_text, parts)))


def parse_value(text: str) -> Any:
    """A value as typed on the command line or in the environment: YAML, so that 3, true, null and [2, 3] mean what they say."""
    try:
        return load_yaml(text)
    except yaml.YAMLError:
        return text


def render_value(value: Any) -> str:
    """A value as it is typed: YAML on one line; the reverse of :func:`parse_value`."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()


def _describe(error: ValidationError, merged: Mapping[str, Any]) -> str:
    """Name each parameter at fault, its value and what is allowed."""
    reasons: dict[str, list[str]] = {}
    unknown = set()
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"][:2])
        if problem["type"] == "extra_forbidden":
            reasons[path] = [_name_unknown(path)]
            unknown.add(path)
        else:
            reasons.setdefault(path, []).append(problem["msg"].removeprefix("Value error, "))
    secrets, told = {parameter.path for parameter in iter_parameters() if parameter.is_secret}, []
    for path, texts in reasons.items():
        section, _, name = path.partition(".")
        values = merged.get(section)
        value = values.get(name) if name and isinstance(values, Mapping) else values
        shown = "" if path in unknown else f" = {HIDDEN if path in secrets else value!r}"  # a misspelt name may be a secret's
        told.append(f"{path}{shown}: {' or '.join(dict.fromkeys(texts))}")
    return "; ".join(told)


def _name_unknown(path: str) -> str:
    """Say that there is no such parameter or section, and which one may have been meant."""
    paths = [parameter.path for parameter in iter_parameters()]
    namesakes = [known for known in paths if known.partition(".")[2] == path.rpartition(".")[2]]
    matches = namesakes or get_close_matches(path, [*paths, *list_sections()], n=1)
    guess = f" (did you mean {' or '.join(matches)}?)" if matches else ""
    return f"no such parameter; `mosaic-processor config` lists them{guess}"


def dump_settings(config: Config) -> dict[str, dict[str, Any]]:
    """Every parameter, by section, as JSON values; URLs without signatures and tokens, so that they may be published."""
    dumped: dict[str, dict[str, Any]] = config.model_dump(mode="json")
    for parameter in iter_parameters(config):
        if parameter.is_path:
            dumped[parameter.section][parameter.name] = _drop_signatures(dumped[parameter.section][parameter.name])
    return dumped


def _drop_signatures(value: Any) -> Any:
    """The same paths and URLs, however nested, without signatures."""
    if isinstance(value, str):
        return drop_signature(value)
    return [_drop_signatures(one) for one in value] if isinstance(value, list) else value


def check_unsigned(config: Config) -> None:
    """Refuse signed URLs of the files that every task of a run reads: the document of the run would tell their signatures.

    Raises
    ------
    ConfigError
        Naming the parameter.
    """
    plain, dumped = dump_settings(config), config.model_dump(mode="json")
    for parameter in iter_parameters(config):
        values = (settings[parameter.section][parameter.name] for settings in (plain, dumped))
        if parameter.reads is not None and parameter.section in config.chosen and len({json.dumps(one) for one in values}) > 1:
            msg = (
                f"{parameter.path} is a signed URL, and the signature would stand in the document of the run for all who can "
                "read it: give the plain URL and let the tasks have credentials"
            )
            raise ConfigError(msg)


def decisive_settings(config: Config) -> dict[str, dict[str, Any]]:
    """Every parameter that decides the result, as :func:`dump_settings` has it; not those of methods that are not chosen."""
    dumped = dump_settings(config)
    passed_over = {
        name for stage in STAGES for name in stage.methods if name != (config.find_method(stage.switch) or stage.default)
    }
    return _nest(
        {p.path: dumped[p.section][p.name] for p in iter_parameters(config) if p.is_decisive and p.section not in passed_over},
    )


def local_settings(config: Config) -> dict[Parameter, Any]:
    """What was set on purpose and changes no byte of the result, as JSON values."""
    dumped = config.model_dump(mode="json", exclude_unset=True)
    return {
        parameter: dumped[parameter.section][parameter.name]
        for parameter in iter_parameters(config)
        if not parameter.is_decisive and parameter.name in dumped.get(parameter.section, {})
    }


def render_yaml(config: Config) -> str:
    """The configuration as run, as YAML that can be given again: every parameter that decides the result.

    What only changes time, memory or place is left out, so that the same result has the same file.
    """
    return yaml.safe_dump(decisive_settings(config), sort_keys=False, allow_unicode=True)
