"""The configuration: one frozen model, and how it is read and written; its documentation is made by ``document``."""

from processor.config.general import Inputs
from processor.config.load import (
    apply_options,
    check_unsigned,
    decisive_settings,
    dump_settings,
    flat_name,
    list_places,
    load_config,
    local_settings,
    parse_document,
    parse_parameter,
    parse_value,
    render_value,
    render_yaml,
)
from processor.config.sections import Config, Parameter, iter_parameters, list_sections
from processor.model.options import VectorMask

__all__ = [
    "Config",
    "Inputs",
    "Parameter",
    "VectorMask",
    "apply_options",
    "check_unsigned",
    "decisive_settings",
    "dump_settings",
    "flat_name",
    "iter_parameters",
    "list_places",
    "list_sections",
    "load_config",
    "local_settings",
    "parse_document",
    "parse_parameter",
    "parse_value",
    "render_value",
    "render_yaml",
]
