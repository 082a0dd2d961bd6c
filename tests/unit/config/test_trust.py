"""What a document may set: the table of ``docs/security.md`` against the model, and the model against what happens."""

import re
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from processor.config import Parameter, apply_options, iter_parameters, load_config
from processor.config.document import find_example
from processor.errors import ConfigError

PAGE = (Path(__file__).parents[3] / "docs" / "security.md").read_text(encoding="utf-8")
ROWS = [
    (kind, pattern, says)
    for kind, cell, says in re.findall(r"^\| (data|place|machine|limit) \| (.*?) \| (.*?) \|$", PAGE, re.MULTILINE)
    for pattern in re.findall(r"`([^`]+)`", cell)
]
SAYS = {"data": "may", "place": "not, unless `--inputs.allow_local_files`", "machine": "not", "limit": "not"}
PARAMETERS = list(iter_parameters())


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: str(parameter.path))
def test_the_page_says_who_may_set_a_parameter(parameter: Parameter) -> None:
    found = [(kind, says) for kind, pattern, says in ROWS if fnmatchcase(parameter.path, pattern)]
    assert found == [(parameter.trust, SAYS[parameter.trust])]


def test_every_name_on_the_page_is_a_parameter() -> None:
    for _, pattern, _ in ROWS:
        assert any(fnmatchcase(parameter.path, pattern) for parameter in PARAMETERS), pattern


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: str(parameter.path))
def test_a_stranger_sets_what_the_page_says(parameter: Parameter) -> None:
    value = find_example(parameter)
    options = {parameter.section: {parameter.name: value}}
    config = load_config(flags={}, environment={})
    if parameter.trust == "data":
        assert apply_options(config, options, is_remote=True) == apply_options(config, options, is_remote=False)
        return
    with pytest.raises(ConfigError, match=re.escape(f"process option {parameter.path}")) as refused:
        apply_options(config, options, is_remote=True)
    assert not parameter.is_secret or str(value) not in str(refused.value)
    trusting = load_config(flags={"inputs.allow_local_files": True}, environment={})
    if parameter.trust == "place":
        assert apply_options(trusting, options, is_remote=True) == apply_options(trusting, options, is_remote=False)
    else:
        with pytest.raises(ConfigError):
            apply_options(trusting, options, is_remote=True)
