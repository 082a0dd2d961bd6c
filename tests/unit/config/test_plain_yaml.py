"""YAML that is odd, large or hostile is an error of YAML, never of Python."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from processor.config import load_config, parse_document, parse_value
from processor.config.plain_yaml import load_yaml
from processor.errors import ConfigError

LAUGHS = "io:\n  a: &a [x, x]\n" + "".join(f"  {b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
ODD = ["0x_", "0b_", "2024-02-30", "2001-13-13", "9" * 5000, "0x" + "f" * 5000, "[" * 3000, "!!timestamp x", "!!bool maybe",
       '!!int ""', "!!float x", "{[1]: 2}", "&a [*a]", "\x01", "!!python/name:os.system x"]  # fmt: skip


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_an_odd_scalar_is_an_error_of_the_document_and_text_on_the_command_line(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)
    with pytest.raises(ConfigError, match="is not YAML"):
        parse_document(f"local_block_adjustment: {{alpha: {text}}}", source="c.yaml")
    assert parse_value(text) == text
    with pytest.raises(ConfigError):
        load_config(flags={"local_block_adjustment.alpha": parse_value(text)}, environment={})


def test_a_billion_laughs_are_refused_inside_a_section_too() -> None:
    with pytest.raises(ConfigError, match="aliases are not taken"):
        parse_document(LAUGHS, source="c.yaml")


@given(st.text(alphabet="[]{}:,-?!&*#|>'\"%@`0123456789xob_.eEinfatru \n\t\ud800é", max_size=60))
def test_no_text_is_an_error_of_python(text: str) -> None:
    try:
        load_yaml(text)
    except yaml.YAMLError:
        return
