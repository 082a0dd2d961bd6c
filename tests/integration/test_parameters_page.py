"""The page of all parameters: made from the model, and every line of its examples means what the others mean."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from pathlib import Path

import pytest

from processor.cli.flags import add_parameters, read_config, spell_out
from processor.config import (
    flat_name,
    iter_parameters,
    list_sections,
    load_config,
    parse_document,
    parse_value,
)
from processor.config.document import find_example, render_parameters_page

PAGE = Path(__file__).parents[2] / "docs" / "parameters.md"
PARAMETERS = tuple(iter_parameters())
SECTIONS = tuple(list_sections())


def test_the_page_is_what_the_model_gives() -> None:
    assert PAGE.read_text(encoding="utf-8") == render_parameters_page(), "run `make docs`"


def find_section(section: str) -> str:
    """The text below a section's title."""
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(text)


def test_every_parameter_has_a_row_with_its_default_its_unit_and_its_meaning() -> None:
    for parameter in PARAMETERS:
        (row,) = re.findall(rf"^\| `{parameter.name}`°? \|.*\|$", find_section(parameter.section), re.MULTILINE)
        _, default, allowed, unit, meaning = (cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1])
        assert parse_value(default.strip("`")) == parameter.field.default
        assert allowed
        assert unit == (parameter.unit or "-")
        assert meaning == str(parameter.field.description).replace("|", "\\|")


@pytest.mark.parametrize("section", SECTIONS)
def test_the_examples_for_all_doors_mean_the_same(section: str) -> None:
    parameters = [parameter for parameter in PARAMETERS if parameter.section == section]
    expected = load_config(flags={parameter.path: find_example(parameter) for parameter in parameters}, environment={})
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", find_section(section), re.MULTILINE | re.DOTALL)
    assert [kind for kind, _ in blocks] == ["sh", "sh", "yaml", "python"]
    flags, variables, lines, keywords = (text for _, text in blocks)

    parser = argparse.ArgumentParser()
    add_parameters(parser)
    words = [word for line in flags.splitlines() for word in shlex.split(line)]
    assert read_config(parser.parse_args(spell_out(words)), {}) == expected
    pairs = [shlex.split(line)[0].partition("=") for line in variables.splitlines()]
    assert load_config(environment={name: value for name, _, value in pairs}) == expected
    assert load_config(document=parse_document(lines, source="page"), environment={}) == expected
    (call,) = ast.parse(f"pipeline({keywords})").body
    assert isinstance(call, ast.Expr)
    assert isinstance(call.value, ast.Call)
    given = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.value.keywords}
    paths = {flat_name(parameter): parameter.path for parameter in parameters}
    assert load_config(flags={paths[name]: value for name, value in given.items()}, environment={}) == expected


def test_the_page_shows_one_parameter_at_every_door() -> None:
    head = PAGE.read_text(encoding="utf-8").partition("\n## ")[0]
    for text in (
        "--local_block_adjustment.number_of_blocks '[20, 30]'",
        "MOSAIC_LOCAL_BLOCK_ADJUSTMENT__NUMBER_OF_BLOCKS='[20, 30]'",
        "local_block_adjustment: {number_of_blocks: [20, 30]}",
        '"process": [{"tasks": {"mosaic": {"local_block_adjustment": {"number_of_blocks": [20, 30]}}}}]',
        'pipeline("scenes/*.tif", "mosaic.tif", local_block_adjustment_number_of_blocks=(20, 30))',
    ):
        assert text in head
