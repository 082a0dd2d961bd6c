"""The configuration: one frozen model, from which the YAML file, the environment and the command line are all derived.

A parameter is named by its section and its name: ``local_block_adjustment.alpha`` in YAML, ``--local_block_adjustment.alpha``
on the command line, ``MOSAIC_LOCAL_BLOCK_ADJUSTMENT__ALPHA`` in the environment. Flags win over the environment, that over the
file, that over the options of an ItemCollection's ``process`` block, those over the defaults.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from datetime import date
from difflib import get_close_matches
from functools import cache
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from processor.config.sections import (
    Config,
    Inputs,
    MaskSetting,
    Parameter,
    VectorMask,
    iter_parameters,
    list_sections,
)
from processor.errors import ConfigError

__all__ = [
    "Config",
    "Inputs",
    "Parameter",
    "VectorMask",
    "apply_options",
    "decisive_settings",
    "find_example",
    "flat_name",
    "iter_parameters",
    "list_sections",
    "load_config",
    "local_settings",
    "parse_document",
    "parse_value",
    "render_parameters_page",
    "render_sample",
    "render_yaml",
]

_SURROUNDINGS = frozenset({"io", "kubernetes"})
"""Sections that are of the machine and the user, never of the data."""

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
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"{source} is not YAML: {error}"
        raise ConfigError(msg) from error
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
    _overlay(merged, document or {})
    _overlay(merged, _parse_environment(os.environ if environment is None else environment))
    _overlay(merged, _nest(flags or {}))
    return _validate(merged)


def _validate(merged: Mapping[str, Any]) -> Config:
    unknown = [section for section in merged if section not in list_sections()]
    if unknown:
        msg = "; ".join(f"{section}: {_name_unknown(section)}" for section in unknown)
        raise ConfigError(msg)
    try:
        return Config(**merged)
    except ValidationError as error:
        raise ConfigError(_describe(error, merged)) from error


def apply_options(config: Config, options: Mapping[str, Any], *, is_remote: bool) -> Config:
    """Fill in the options of an ItemCollection's ``process`` block where nothing was set on purpose.

    Parameters
    ----------
    config
        From :func:`load_config`; what flags, environment or file set in it stays.
    options
        By section, by ``section.name``, or by the flat names of :func:`processor.pipeline`.
    is_remote
        Whether the document was read from a URL: then it may name no place in storage, unless local files are allowed.

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
    places = {parameter.path for parameter in iter_parameters() if parameter.is_path} | {"inputs.allow_local_files"}
    for section, values in _unflatten(options).items():
        for name, value in values.items():
            if is_remote and section in _SURROUNDINGS:
                msg = (
                    f"process option {section}.{name}: a document from a URL may not say how storage or clusters are reached; "
                    "give it on the command line, in the environment or in the file of --config"
                )
                raise ConfigError(msg)
            if is_remote and not config.inputs.allow_local_files and f"{section}.{name}" in places and value:
                msg = (
                    f"process option {section}.{name} = {value!r}: a document from a URL may not name files; give it on the "
                    "command line, or allow it with --inputs.allow_local_files"
                )
                raise ConfigError(msg)
            merged.setdefault(section, {}).setdefault(name, value)
    return _validate(merged)


def flat_name(parameter: Parameter) -> str:
    """Name of a parameter as a keyword of :func:`processor.pipeline`."""
    if parameter.section == "methods" or parameter.path == "shared.delete_temp_dir":
        return parameter.name
    return f"{parameter.section}_{parameter.name}"


def _unflatten(options: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Options by section, however they were named."""
    flat = {flat_name(parameter): parameter.path for parameter in iter_parameters()}
    nested: dict[str, Any] = {}
    sections = list_sections()
    for name, value in options.items():
        _overlay(nested, {name: value} if name in sections else _nest({flat.get(name, name): value}))
    return nested


def _overlay(base: dict[str, Any], over: Mapping[Any, Any]) -> None:
    for section, values in over.items():
        if values is None:  # a section whose every line is commented out
            continue
        if not isinstance(values, Mapping):
            reason = _describe_section(section) if section in list_sections() else _name_unknown(str(section))
            msg = f"{section} = {values!r}: {reason}"
            raise ConfigError(msg)
        base.setdefault(str(section), {}).update({str(name): value for name, value in values.items()})


def _describe_section(section: str) -> str:
    parameter = next(parameter for parameter in iter_parameters() if parameter.section == section)
    example = f"{parameter.name}: {json.dumps(parameter.field.default)}"
    return f"a section, so it must be a mapping of parameters, such as {example}"


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        section, _, name = path.partition(".")
        nested.setdefault(section, {})[name] = value
    return nested


def _parse_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    sections = {name.upper(): name for name in list_sections()}
    flat: dict[str, Any] = {}
    for variable, text in environment.items():
        section, found, name = variable.removeprefix(_PREFIX).partition(_DELIMITER)
        if variable.startswith(_PREFIX) and found:
            path = f"{sections.get(section, section.lower())}.{name.lower()}"
            flat[path] = parse_value(text)
            if isinstance(flat[path], bool | int | float | date) and _takes_text(path):
                flat[path] = text  # where text is meant, "02" is a text too
    return _nest(flat)


def _takes_text(path: str) -> bool:
    parameter = next((parameter for parameter in iter_parameters() if parameter.path == path), None)
    return parameter is not None and not {"text", "path"}.isdisjoint(
        _list_values(_read_schemas(list_sections()[parameter.section])[parameter.name])
    )


def parse_value(text: str) -> Any:
    """A value as typed on the command line or in the environment: YAML, so that 3, true, null and [2, 3] mean what they say."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _describe(error: ValidationError, merged: Mapping[str, Any]) -> str:
    """Name each parameter at fault, its value and what is allowed."""
    reasons: dict[str, list[str]] = {}
    for problem in error.errors():
        path = ".".join(str(part) for part in problem["loc"][:2])
        if problem["type"] == "extra_forbidden":
            reasons[path] = [_name_unknown(path)]
        else:
            reasons.setdefault(path, []).append(problem["msg"].removeprefix("Value error, "))
    return "; ".join(
        f"{path} = {_find_value(merged, path)!r}: {' or '.join(dict.fromkeys(texts))}" for path, texts in reasons.items()
    )


def _find_value(merged: Mapping[str, Any], path: str) -> Any:
    if any(parameter.path == path and parameter.is_secret for parameter in iter_parameters()):
        return "…"
    section, _, name = path.partition(".")
    values = merged.get(section)
    return values.get(name) if name and isinstance(values, Mapping) else values


def _name_unknown(path: str) -> str:
    """Say that there is no such parameter or section, and which one may have been meant."""
    paths = [parameter.path for parameter in iter_parameters()]
    namesakes = [known for known in paths if known.partition(".")[2] == path.rpartition(".")[2]]
    matches = namesakes or get_close_matches(path, [*paths, *list_sections()], n=1)
    guess = f" (did you mean {' or '.join(matches)}?)" if matches else ""
    return f"no such parameter; `mosaic-processor config` lists them{guess}"


def decisive_settings(config: Config) -> dict[str, dict[str, Any]]:
    """Every parameter that decides the result, by section, as JSON values."""
    dumped = config.model_dump(mode="json")
    return _nest(
        {p.path: dumped[p.section][p.name] for p in iter_parameters(config) if p.is_decisive},
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


def render_sample() -> str:
    """A commented sample of the whole configuration, generated from the model."""
    lines = ["# Configuration of mosaic-processor. Every value below is the default."]
    section = ""
    for parameter in iter_parameters():
        if parameter.section != section:
            section = parameter.section
            lines += ["", f"# {_describe_model(list_sections()[section])}", f"{section}:"]
        unit = f" [{parameter.unit}]" if parameter.unit else ""
        lines += [f"  # {parameter.field.description}{unit}", f"  {parameter.name}: {_to_yaml(parameter.field.default)}"]
    return "\n".join(lines) + "\n"


def _describe_model(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip()


def _to_yaml(value: Any) -> str:
    """A value as it is typed: YAML on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip()


_PAGE_HEAD = """\
# Parameters

<!-- Made by `make docs` from processor/config/. Edit that folder, not this one. -->

Everything that can be set. A parameter has one name and one default, whichever way it is set:

| where | for example, `number_of_blocks` of the section `local_block_adjustment` |
|---|---|
| command line | `mosaic-processor run … --local_block_adjustment.number_of_blocks '[20, 30]'` |
| environment | `MOSAIC_LOCAL_BLOCK_ADJUSTMENT__NUMBER_OF_BLOCKS='[20, 30]'` |
| file of `--config` | `local_block_adjustment: {number_of_blocks: [20, 30]}` (`mosaic-processor config` prints a sample) |
| ItemCollection | `"process": [{"tasks": {"mosaic": {"local_block_adjustment": {"number_of_blocks": [20, 30]}}}}]` |
| Python | `pipeline("scenes/*.tif", "mosaic.tif", local_block_adjustment_number_of_blocks=(20, 30))` |

Flags win over the environment, that over the file, that over the `process` block, that over the defaults. `pipeline()` reads no
environment and no file: its keywords win over the `process` block.

- Values are YAML: `3`, `true`, `null`, `[20, 30]`. In Python they are its own: `None`, `(20, 30)`.
- A `process` block may use any of the names: by section, `section.name`, or those of Python. One that was read from a URL may
  not name files, unless `--inputs.allow_local_files` allows it.
- An unknown name, a wrong type or a value out of range ends the run before any pixel is read, with exit code 2 (in Python:
  `ConfigError`); the message names the parameter, the value and what is allowed.
- Parameters marked ° change time, memory or place, never a byte of the mosaic.

What to read and where the mosaic goes is no parameter: `mosaic-processor run INPUT --output DEST --item-id ID` writes
`DEST/ID/mosaic.tif`, and in Python `shared_input_images` and `shared_output_image_path` are the first two arguments of
`pipeline()`. The input is a folder, a quoted pattern, one or several files, an ItemCollection, a catalogue, or a search on a
STAC API ([STAC](stac.md)).
"""


def render_parameters_page() -> str:
    """``docs/parameters.md``: every parameter with its values, unit, default and an example for each door, from the model."""
    parts = [_PAGE_HEAD]
    for section, model in list_sections().items():
        parameters = [parameter for parameter in iter_parameters() if parameter.section == section]
        rows = [_describe_row(parameter) for parameter in parameters]
        parts += [
            f"\n## {section}\n\n{_describe_model(model)}\n",
            "\n| parameter | default | values | unit | what it is |\n|---|---|---|---|---|\n",
            *rows,
            "\nAn example of each, as flags, variables, lines of the file, and keywords:\n",
            *_render_examples(section, parameters),
        ]
    return "".join(parts)


def _describe_row(parameter: Parameter) -> str:
    mark = "" if parameter.is_decisive else "°"
    default = f"`{_to_yaml(parameter.field.default)}`"
    values = _join_words(_list_values(_read_schemas(list_sections()[parameter.section])[parameter.name]))
    cells = (f"`{parameter.name}`{mark}", default, values, parameter.unit or "-", str(parameter.field.description))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _render_examples(section: str, parameters: Sequence[Parameter]) -> list[str]:
    """A block of code for each door."""
    examples = {parameter: find_example(parameter) for parameter in parameters}
    prefix = f"{_PREFIX}{section}{_DELIMITER}".upper()
    flags = [f"--{parameter.path} {shlex.quote(_to_yaml(value))}" for parameter, value in examples.items()]
    variables = [f"{prefix}{parameter.name.upper()}={shlex.quote(_to_yaml(value))}" for parameter, value in examples.items()]
    lines = [f"{section}:", *(f"  {parameter.name}: {_to_yaml(value)}" for parameter, value in examples.items())]
    keywords = [f"{flat_name(parameter)}={_to_python(value)}," for parameter, value in examples.items()]
    blocks = {"sh": [flags, variables], "yaml": [lines], "python": [keywords]}
    return ["\n".join(("", f"```{kind}", *block, "```", "")) for kind, several in blocks.items() for block in several]


def find_example(parameter: Parameter) -> Any:
    """A value of a parameter that is not its default, as JSON has it."""
    (example,) = parameter.field.examples or [None]
    return parse_value(example) if isinstance(example, str) else example


def _to_python(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{json.dumps(key)}: {_to_python(member)}' for key, member in value.items())}}}"
    if isinstance(value, list):
        return f"({', '.join(map(_to_python, value))}{',' if len(value) == 1 else ''})"
    return json.dumps(value) if isinstance(value, str) else repr(value)


@cache
def _read_schemas(model: type[BaseModel]) -> Mapping[str, Any]:
    """JSON schemas of a section's values, by parameter."""
    schemas: dict[str, Any] = model.model_json_schema()["properties"]
    return schemas


def _list_values(schema: Mapping[str, Any]) -> list[str]:
    """What may be given, each in words, from a JSON schema."""
    if "anyOf" in schema:
        return list(dict.fromkeys(word for part in schema["anyOf"] for word in _list_values(part)))
    if "$ref" in schema:  # the one parameter that has fields of its own
        return [f"{{{', '.join(MaskSetting.model_fields)}}}"]
    if "const" in schema or "enum" in schema:
        return [f"`{word}`" for word in schema.get("enum", [schema.get("const")])]
    if schema["type"] != "array":
        return [_describe_scalar(schema)]
    parts = [_join_words(_list_values(part)) for part in schema.get("prefixItems", ())]
    return [f"({', '.join(parts)})" if parts else f"list of {_join_words(_list_values(schema['items']))}s"]


def _join_words(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _describe_scalar(schema: Mapping[str, Any]) -> str:
    kind = {"boolean": "`true` or `false`", "null": "`null`", "string": "text", "integer": "integer", "number": "number"}
    word = schema.get("format") or kind[schema["type"]]
    if "exclusiveMinimum" in schema:
        return f"{word} above {schema['exclusiveMinimum']:g}"
    if "minimum" in schema:
        end = f" to {schema['maximum']}" if "maximum" in schema else ""
        return f"{word} from {schema['minimum']:g}{end}"
    return str(word)
