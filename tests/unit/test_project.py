"""The project's own files agree with each other. The one unit test that reads files: they are what it tests."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-build.lock", "requirements-lowest.lock"]
PYTHONS = ["3.11", "3.12", "3.13"]


def read_pins(lock: str, python: str) -> dict[str, Version]:
    """Return what a lock installs on Linux with a Python version: canonical name and version."""
    environment = {"python_version": python, "python_full_version": f"{python}.4", "sys_platform": "linux"}
    environment |= {"platform_system": "Linux", "platform_machine": "x86_64", "implementation_name": "cpython"}
    environment |= {"platform_python_implementation": "CPython", "os_name": "posix", "extra": ""}
    lines = [line.removesuffix(" \\") for line in (ROOT / lock).read_text().splitlines() if "==" in line[:80]]
    requirements = [Requirement(line) for line in lines if not line.startswith((" ", "#"))]
    pins: dict[str, Version] = {}
    for requirement in requirements:
        if requirement.marker is None or requirement.marker.evaluate(environment):
            assert requirement.name not in pins, f"{lock} pins {requirement.name} twice for Python {python}"
            pins[canonicalize_name(requirement.name)] = Version(str(requirement.specifier).removeprefix("=="))
    return pins


def group(name: str) -> list[str]:
    """Return the requirements of a dependency group, with those that it includes."""
    found: list[str] = []
    for entry in PROJECT["dependency-groups"][name]:
        found += [entry] if isinstance(entry, str) else group(entry["include-group"])
    return found


RUNTIME = PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["kubernetes"]
WANTED = {
    "requirements.lock": RUNTIME,
    "requirements-dev.lock": RUNTIME + group("dev"),
    "requirements-build.lock": group("build"),
    "requirements-lowest.lock": RUNTIME + group("test"),
}


def test_version_is_the_same_wherever_it_stands() -> None:
    declared = PROJECT["project"]["version"]
    assert version("mosaic-processor") == declared, "run `make setup` after a change of the version"
    assert f"ARG VERSION={declared}\n" in (ROOT / "Dockerfile").read_text()
    assert re.search(rf"^## \[?{re.escape(declared)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_hashes_and_no_addresses(lock: str) -> None:
    text = (ROOT / lock).read_text()
    blocks = [block for block in re.split(r"\n(?=\S)", text.strip()) if block]
    assert blocks
    assert all(re.search(r"\n    --hash=sha256:[0-9a-f]{64}", block) for block in blocks)
    assert "://" not in text
    assert not re.search(r"^\s*(--?[a-z-]*(index|url|links|host)|.* @ )", text, re.MULTILINE)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_lock_meets_pyproject(lock: str, python: str) -> None:
    if lock == "requirements-lowest.lock" and python != "3.11":
        pytest.skip("the lowest versions are those of Python 3.11")
    pins = read_pins(lock, python)
    for requirement in map(Requirement, WANTED[lock]):
        name = canonicalize_name(requirement.name)
        assert name in pins, f"{lock} lacks {name} for Python {python}: run `make lock`"
        assert requirement.specifier.contains(pins[name]), f"{lock} pins {name} {pins[name]}: run `make lock`"


def test_lowest_lock_pins_the_lower_bounds() -> None:
    pins = read_pins("requirements-lowest.lock", "3.11")
    for requirement in map(Requirement, RUNTIME):
        (bound,) = (Version(spec.version) for spec in requirement.specifier if spec.operator == ">=")
        assert pins[canonicalize_name(requirement.name)] == bound, f"{requirement}: run `make lock`"


def test_lock_of_azurite_has_hashes_and_no_addresses() -> None:
    folder = ROOT / "tests/support/azurite"
    text = (folder / "package-lock.json").read_text()
    assert "://" not in text, "take `funding` and `license` of the packages out of what npm writes"
    lock = json.loads(text)
    project, *packages = lock["packages"].values()
    assert project["dependencies"] == json.loads((folder / "package.json").read_text())["dependencies"]
    assert all("integrity" in package and "resolved" not in package for package in packages)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_lock_installs_the_same_versions(python: str) -> None:
    dev = read_pins("requirements-dev.lock", python)
    for lock in ("requirements.lock", "requirements-build.lock"):
        pins = read_pins(lock, python)
        assert pins.items() <= dev.items()


def test_every_exception_of_a_tool_has_a_reason() -> None:
    lines = (ROOT / "pyproject.toml").read_text().partition("\n[tool.ruff]")[2].splitlines()
    exceptions = [line for line in lines if re.match(r'^  "([A-Z]+[0-9]*|(ignore|default):.*)",', line)]
    lint = PROJECT["tool"]["ruff"]["lint"]
    declared = [*lint["ignore"], *(rule for rules in lint["per-file-ignores"].values() for rule in rules)]
    declared += PROJECT["tool"]["pytest"]["ini_options"]["filterwarnings"][1:]
    assert len(exceptions) == len(declared)
    assert [line for line in exceptions if not re.search(r"# \w.{3,}", line)] == []


def test_every_target_of_the_makefile_is_documented() -> None:
    text = (ROOT / "Makefile").read_text()
    phony = next(line for line in text.splitlines() if line.startswith(".PHONY:")).split()[1:]
    assert sorted(phony) == sorted(re.findall(r"^([a-z][a-z0-9-]*):.*## \w.*\.$", text, re.MULTILINE))


def find_fields(tree: ast.AST) -> Iterator[tuple[ast.ClassDef, str, bool]]:
    """Public fields of dataclasses and named tuples: (class, name, whether a docstring stands under it)."""
    for record in (node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)):
        if not any("dataclass" in ast.unparse(maker) for maker in record.decorator_list) and not any(
            ast.unparse(base) == "NamedTuple" for base in record.bases
        ):
            continue
        for line, below in pairwise([*record.body, ast.Pass()]):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and not line.target.id.startswith("_"):
                is_told = (
                    isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
                )
                yield record, line.target.id, is_told


def test_every_field_of_a_public_record_has_a_docstring_of_its_own() -> None:
    files = sorted(path for package in ("processor", "stac") for path in (ROOT / package).rglob("*.py"))
    fields = [(path, *found) for path in files for found in find_fields(ast.parse(path.read_text()))]
    told = {(record.name, name) for _, record, name, is_told in fields if is_told}
    missing = [
        f"{path.relative_to(ROOT)}: {record.name}.{name}"
        for path, record, name, is_told in fields
        if not is_told
        and not record.name.startswith("_")
        and not any((ast.unparse(base), name) in told for base in record.bases)  # said where it is declared first
    ]
    assert len(told) > 300
    assert missing == []


def test_only_packages_list_their_names() -> None:
    files = [file for folder in ("processor", "stac") for file in (ROOT / folder).rglob("*.py") if file.name != "__init__.py"]
    assert [str(file) for file in files if "__all__" in file.read_text()] == []
