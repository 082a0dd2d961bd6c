"""What a stage is, and a method of one: the entries of the registries, light enough to be read before any library is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Any

from processor.model.options import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method of a stage, as its room registers it."""

    options: type[Section]
    """Model of the method's section in the configuration, which is named as the method is; its docstring heads the section."""
    implementation: str | type[Any]
    """The class that does the work (:class:`processor.stages.method.StageMethod`); or ``module:class``, which is imported when
    the method is chosen.
    """

    def load(self) -> type[Any]:
        """Import the class that does the work."""
        if isinstance(self.implementation, str):
            loaded: type[Any] = resolve_name(self.implementation)
            return loaded
        return self.implementation


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A step of the pipeline, and the methods that can do it."""

    name: str
    """Name of the stage, such as "seamlines"."""
    switch: str
    """Name of the option in the section ``methods`` that chooses the method."""
    description: str
    """What the stage does, as the documentation says it."""
    default: str
    """Name of the method that is chosen when nothing is said."""
    methods: dict[str, Method]
    """By name. To register a method, add it here; the configuration knows it from then on."""
    off: str
    """``module:class`` of what stands for the stage where it is off; made from the options of the default method."""
    has_rasters: bool = True
    """Whether each scene has a raster after this stage, which can be kept."""

    def list_implementations(self) -> tuple[type[Any], ...]:
        """The classes of all its methods, and what stands for it where it is off."""
        return (*(method.load() for method in self.methods.values()), resolve_name(self.off))
