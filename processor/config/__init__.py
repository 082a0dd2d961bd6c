"""The configuration: one frozen model, and how it is read, written and documented."""

from processor.config.load import (
    OPERATIONAL,
    Config,
    Inputs,
    Parameter,
    VectorMask,
    apply_options,
    decisive_settings,
    find_example,
    flat_name,
    iter_parameters,
    load_config,
    parse_document,
    parse_value,
    render_parameters_page,
    render_sample,
    render_yaml,
)

__all__ = [
    "OPERATIONAL",
    "Config",
    "Inputs",
    "Parameter",
    "VectorMask",
    "apply_options",
    "decisive_settings",
    "find_example",
    "flat_name",
    "iter_parameters",
    "load_config",
    "parse_document",
    "parse_value",
    "render_parameters_page",
    "render_sample",
    "render_yaml",
]
