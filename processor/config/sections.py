"""The configuration's model: sections of fixed options, and one for every registered method of a stage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, cast

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo

from processor.config.general import Check, Kubernetes, Output, Reference, SceneInputs, Shared
from processor.config.presets import PRESETS
from processor.model.options import FileKind, Section, Trust, option
from processor.stages import STAGES
from processor.storage.options import Io, io_model

_Options = TypeVar("_Options", bound=Section)


class Config(BaseModel):
    """Everything that can be configured, by section.

    ``Config(...)`` makes one of the model that the registries of the stages call for at that time: a section of fixed options
    is an attribute, that of a method is given by :meth:`of`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    if TYPE_CHECKING:
        inputs: SceneInputs
        reference: Reference
        check: Check
        shared: Shared
        methods: Section
        output: Output
        io: Io
        kubernetes: Kubernetes

    def __new__(cls, *_: object, **__: object) -> Self:
        """Make the object, with the sections of all methods that are registered now."""
        return cast("Self", super().__new__(_make_model(tuple(list_sections().items())) if cls is Config else cls))

    def of(self, options: type[_Options]) -> _Options:
        """The section of a method, by the model of its options."""
        name = next(name for name, field in type(self).model_fields.items() if field.annotation is options)
        return cast("_Options", self.section(name))

    def section(self, name: str) -> Section:
        """A section by its name."""
        return cast("Section", self.__dict__[name])

    def get(self, parameter: Parameter) -> Any:
        """The value of a parameter."""
        return self.section(parameter.section).__dict__[parameter.name]

    def find_method(self, switch: str) -> str | None:
        """Name of the method that a switch of the section ``methods`` chooses, or None: the stage is off."""
        return cast("str | None", self.methods.__dict__[switch])

    @property
    def chosen(self) -> tuple[str, ...]:
        """Names of the methods of the stages that are on, in their order."""
        return tuple(name for name in (self.find_method(stage.switch) for stage in STAGES) if name is not None)


def list_sections() -> dict[str, type[Section]]:
    """Models of all sections by name, in order, as the registries are now."""
    methods = {name: method.options for stage in STAGES for name, method in stage.methods.items()}
    return {
        "inputs": SceneInputs,
        "reference": Reference,
        "check": Check,
        "shared": Shared,
        "methods": _make_switches(tuple((stage.switch, tuple(stage.methods)) for stage in STAGES)),
        **methods,
        "output": Output,
        "io": io_model(),
        "kubernetes": Kubernetes,
    }


@cache
def _make_switches(registered: tuple[tuple[str, tuple[str, ...]], ...]) -> type[Section]:
    """Model of the section ``methods``: a switch a stage, with the names of its methods."""
    names = dict(registered)
    switches: dict[str, Any] = {
        stage.switch: (Literal[names[stage.switch]] | None, option(stage.default, stage.description, example="null"))
        for stage in STAGES
    }
    named = "; ".join(f"{name}: {preset.description}" for name, preset in PRESETS.items())
    switches["preset"] = (
        Literal[tuple(PRESETS)] | None,
        option(None, f"Named set of values, over which all that is set wins. {named}.", example="satellite", decisive=False),
    )
    return create_model("Methods", __base__=Section, __doc__="Which stages run; null switches one off.", **switches)


@cache
def _make_model(sections: tuple[tuple[str, type[Section]], ...]) -> type[Config]:
    fields: dict[str, Any] = {name: (model, model()) for name, model in sections}
    return create_model("Config", __base__=Config, __doc__=Config.__doc__, **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of the model, as documentation and the command line show it."""

    section: str
    """Name of the section, such as "shared"."""
    name: str
    """Name within the section."""
    field: FieldInfo
    """Type, default and what :func:`option` says of it."""

    @property
    def path(self) -> str:
        """``section.name``."""
        return f"{self.section}.{self.name}"

    @property
    def unit(self) -> str | None:
        """Unit of the value, or None."""
        return cast("str | None", self._about["unit"])

    @property
    def is_decisive(self) -> bool:
        """Whether it decides a byte of the result; otherwise it changes time, memory or place alone."""
        return bool(self._about["decisive"])

    @property
    def is_secret(self) -> bool:
        """Whether its value is never shown: not in messages, logs, documents."""
        return bool(self._about["secret"])

    @property
    def is_path(self) -> bool:
        """Whether its value names something in storage."""
        return bool(self._about["path"])

    @property
    def reads(self) -> FileKind | None:
        """What the files hold that its value names, where they are read before planning."""
        return cast("FileKind | None", self._about["reads"])

    @property
    def trust(self) -> Trust:
        """What it decides over, and so who may set it."""
        section, own = list_sections()[self.section].trust, cast("Trust | None", self._about["trust"])
        return section if own is None or section != "data" else own

    @property
    def schema(self) -> Mapping[str, Any]:
        """JSON schema of its values."""
        return _read_schemas(list_sections()[self.section])[self.name]

    @property
    def _about(self) -> Mapping[str, Any]:
        return cast("Mapping[str, Any]", self.field.json_schema_extra)


@cache
def _read_schemas(model: type[Section]) -> Mapping[str, Mapping[str, Any]]:
    return cast("Mapping[str, Mapping[str, Any]]", model.model_json_schema()["properties"])


def iter_parameters(config: Config | None = None) -> Iterator[Parameter]:
    """Every parameter in order: those that a configuration was made with, by default those that there are now."""
    sections = list_sections() if config is None else {name: type(config.section(name)) for name in type(config).model_fields}
    for section, model in sections.items():
        for name, field in model.model_fields.items():
            yield Parameter(section=section, name=name, field=field)
