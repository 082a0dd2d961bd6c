"""The documents that are made from the model: a sample of the file of ``--config``, and the page of all parameters."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from processor.config.general import MaskSetting, Provider
from processor.config.load import flat_name, parse_value, render_value, variable_name
from processor.config.sections import Config, Parameter, iter_parameters, list_sections


def render_sample(config: Config | None = None) -> str:
    """A commented sample of the whole configuration, generated from the model: the defaults, or what is configured."""
    lines = ["# Configuration of mosaic-processor. Every value below is the default."]
    if config is not None:
        lines = ["# Configuration of mosaic-processor."]
    section = ""
    for parameter in iter_parameters():
        if parameter.section != section:
            section = parameter.section
            lines += ["", f"# {_describe_model(list_sections()[section])}", f"{section}:"]
        unit = f" [{parameter.unit}]" if parameter.unit else ""
        value = parameter.field.default if config is None else config.model_dump(mode="json")[section][parameter.name]
        lines += [f"  # {parameter.field.description}{unit}", f"  {parameter.name}: {render_value(value)}"]
    return "\n".join(lines) + "\n"


def _describe_model(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip()


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
- A `process` block may use any of the names: by section, `section.name`, or those of Python. One from a URL or standard
  input may not name files, unless `--inputs.allow_local_files` allows it.
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
        parts += [
            f"\n## {section}\n\n{_describe_model(model)}\n",
            "\n| parameter | default | values | unit | what it is |\n|---|---|---|---|---|\n",
            *map(_describe_row, parameters),
            "\nAn example of each, as flags, variables, lines of the file, and keywords:\n",
            *_render_examples(section, parameters),
        ]
    return "".join(parts)


def _describe_row(parameter: Parameter) -> str:
    name = f"`{parameter.name}`{'' if parameter.is_decisive else '°'}"
    default, values = f"`{render_value(parameter.field.default)}`", _join_words(_list_values(parameter.schema))
    cells = (name, default, values, parameter.unit or "-", str(parameter.field.description))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"


def _render_examples(section: str, parameters: Sequence[Parameter]) -> list[str]:
    """A block of code for each door."""
    examples = {parameter: find_example(parameter) for parameter in parameters}
    flags = [f"--{parameter.path} {shlex.quote(render_value(value))}" for parameter, value in examples.items()]
    variables = [f"{variable_name(parameter)}={shlex.quote(render_value(value))}" for parameter, value in examples.items()]
    lines = [f"{section}:", *(f"  {parameter.name}: {render_value(value)}" for parameter, value in examples.items())]
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


def _list_values(schema: Mapping[str, Any]) -> list[str]:
    """What may be given, each in words, from a JSON schema."""
    if "anyOf" in schema:
        return list(dict.fromkeys(word for part in schema["anyOf"] for word in _list_values(part)))
    if "$ref" in schema:  # of the parameters that have fields of their own
        (model,) = (model for model in (MaskSetting, Provider) if schema["$ref"].endswith(f"/{model.__name__}"))
        return [f"{{{', '.join(model.model_fields)}}}"]
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
