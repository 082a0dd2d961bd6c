"""What a command line may load before it knows that its arguments make sense."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

ENGINE = {
    "numpy",
    "scipy",
    "shapely",
    "rasterio",
    "fsspec",
    "aiohttp",
    "s3fs",
    "gcsfs",
    "geopandas",
    "pyproj",
    "pystac",
    "rich",
}
CONFIGURATION = {"pydantic", "yaml"}
REPORT = "import json, sys; sys.stderr.write(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"


def load(code: str) -> set[str]:
    """The top-level modules that a new interpreter has loaded after some code."""
    program = f"import atexit\natexit.register(exec, {REPORT!r}, {{}})\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr))


@pytest.mark.parametrize("command", ["run", "plan", "task", "config", "demo"])
def test_the_options_of_a_command_load_the_configuration_and_nothing_of_the_engine(command: str) -> None:
    loaded = load(f"import processor.cli.{command}")
    assert loaded >= CONFIGURATION
    assert not loaded & ENGINE


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_what_needs_no_configuration_loads_none(flag: str) -> None:
    assert not load(f"from processor.cli import main; main([{flag!r}])") & (ENGINE | CONFIGURATION)


@pytest.mark.parametrize(
    "arguments",
    [["config"], ["run", "--help"], ["task", "render", "--run", "u", "--index", "x"], ["run", "--output", "o", "--no-such"]],
    ids=" ".join,
)
def test_arguments_are_checked_without_the_engine(arguments: list[str]) -> None:
    code = f"import sys; from processor.cli import main\ntry: main({arguments!r})\nfinally: sys.stderr = sys.__stderr__"
    program = code.replace("import sys;", "import io, sys; sys.stderr = io.StringIO();")
    assert not load(program) & ENGINE
