"""What parameters are made of: kinds of values, and the section that holds some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

Threads = Annotated[int, Field(ge=1, le=1024)] | Literal["cpu", "auto"] | None
FileKind = Literal[
    "region", "footprints", "area", "adjustments", "block maps", "surfaces", "matched blocks", "obstacles", "mask"
]
"""What a file that the user gives holds."""

Trust = Literal["data", "place", "machine", "limit"]
"""What a parameter decides over: what is made of the data, which files are touched, what of the machine is used and how it is
reached, or what bounds a run. A document of a stranger may set those of data alone."""

Resolution = Literal["highest", "average", "lowest"]
Dtype = Literal["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
Word = Annotated[str, StringConstraints(min_length=1, max_length=256)]
CrsText = Annotated[str, StringConstraints(min_length=1, max_length=65_536)]
Place = Annotated[
    str,
    StringConstraints(min_length=1, max_length=8192, pattern=r"^[^\x00]*$"),
    WithJsonSchema({"type": "string", "format": "path"}),
]


def _split_words(value: Any) -> Any:
    """Words between commas."""
    return tuple(word.strip() for word in value.split(",")) if isinstance(value, str) else value


def _split_values(value: Any) -> Any:
    """Numbers and ranges between commas, or in a list; ranges as they are shown."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | list | tuple):
        return value
    entries = value.split(",") if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else [value]
    return tuple(_read_entry(entry) for entry in entries)


def _read_entry(entry: Any) -> Any:
    if not isinstance(entry, str):
        return entry
    low, dots, high = entry.partition("..")
    try:
        ends = [float(low), float(high) if dots else float(low)]
    except ValueError as error:
        msg = f"{entry!r} is neither a number nor a range such as 253..255"
        raise ValueError(msg) from error
    if ends[0] > ends[1]:
        msg = f"the range {entry!r} ends before it begins"
        raise ValueError(msg)
    return f"{ends[0]:g}..{ends[1]:g}" if dots else ends[0]


Number = Annotated[float, Field(allow_inf_nan=False)]
Numbers = Annotated[
    tuple[Number | Annotated[str, StringConstraints(max_length=64)], ...],
    Field(min_length=1, max_length=64),
    BeforeValidator(_split_values),
]


def list_ranges(values: Iterable[float | str]) -> tuple[tuple[float, float], ...]:
    """First and last number of each range of :data:`Numbers`; of a number it is twice the same."""
    ends = [value.split("..") if isinstance(value, str) else (value, value) for value in values]
    return tuple((float(low), float(high)) for low, high in ends)


Words = Annotated[tuple[Word, ...], Field(min_length=1, max_length=256), BeforeValidator(_split_words)]
Secret = Annotated[str, StringConstraints(min_length=1, max_length=8192)]
Endpoint = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+/?$", max_length=2048)]
Paths = Place | tuple[Place, ...]
Choice = Literal["include", "exclude"]
VectorMask = tuple[Choice, Place] | tuple[Choice, Place, Word]


class Section(BaseModel):
    """A section: frozen, and an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    trust: ClassVar[Trust] = "data"
    """What its parameters decide over; where it is no data, all of them, and else those that do not say it themselves."""

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_truth(cls, value: Any, info: ValidationInfo) -> Any:
        """A switch is no number: without this, true would count as 1."""
        annotation = cls.model_fields[info.field_name or ""].annotation
        if isinstance(value, bool) and annotation is not bool and not {bool, True} & set(get_args(annotation)):
            msg = "true and false are no value of this parameter"
            raise ValueError(msg)
        return value


def option(
    default: Any,
    description: str,
    *,
    example: Any,
    unit: str | None = None,
    decisive: bool = True,
    secret: bool = False,
    path: bool = False,
    reads: FileKind | None = None,
    trust: Trust | None = None,
    **constraints: Any,
) -> Any:
    """Declare an option of a section: all that the command line, the documentation and the digest have to know of it.

    Parameters
    ----------
    default, description, unit
        As the documentation shows them.
    example
        A value that is not the default, as JSON has it or as it is typed.
    decisive
        Whether it decides a byte of the result; otherwise it changes time, memory or place alone.
    secret
        Whether its value is never shown, in messages, logs or documents.
    path
        Whether its value names something in storage.
    reads
        What the files hold that its value names, where they are read before planning: a path, then.
    trust
        What it decides over, where it is no path; None: what its section does.
    constraints
        Of :func:`pydantic.Field`, such as ``ge``.
    """
    about: dict[str, Any] = {
        "unit": unit,
        "decisive": decisive,
        "secret": secret,
        "path": path or reads is not None,
        "reads": reads,
        "trust": "place" if path or reads is not None else trust,
    }
    return Field(default=default, description=description, examples=[example], json_schema_extra=about, **constraints)
