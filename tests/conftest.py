"""What all tests share: deterministic examples, servers kept to one worker, and the package under test."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest
from commands import keeping_loggers
from effort import EXAMPLES
from servers import ObjectServer, run_azure, run_gcs, run_s3

import processor

# Random examples that differ from run to run make failures that nobody can repeat; a slow machine is not a failure.
for name, count in EXAMPLES.items():
    hypothesis.settings.register_profile(name, derandomize=True, deadline=None, database=None, max_examples=count)
hypothesis.settings.register_profile("fuzz", derandomize=False, deadline=None, database=None, max_examples=EXAMPLES["all"])
hypothesis.settings.load_profile("usual")

ROOT = Path(__file__).parents[1]


def pytest_configure() -> None:
    """Refuse to test this folder where the installed wheel is meant (.ci/run says so by TEST_INSTALLED=1)."""
    folder = Path(processor.__file__).parent
    if os.environ.get("TEST_INSTALLED") == "1" and folder.is_relative_to(ROOT) and "site-packages" not in folder.parts:
        pytest.exit(f"the tests would import {folder}, not the installed package", returncode=pytest.ExitCode.USAGE_ERROR)


def pytest_report_header() -> str:
    """Tell which package is under test."""
    return f"package: {Path(processor.__file__).parent}"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one worker run all tests that start servers, so that each server starts once."""
    for item in items:
        if item.get_closest_marker("server"):
            item.add_marker(pytest.mark.xdist_group("server"))


def pytest_collection_finish() -> None:
    """Spare runs in this process the look through all libraries and tests, a third of a second each time memory is released."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """A real S3 server; started once, when the first test asks for it."""
    with run_s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """A server that speaks as Google Cloud Storage does."""
    with run_gcs(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def azure_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectServer]:
    """A server that speaks as Azure Blob Storage does."""
    with run_azure(tmp_path_factory.mktemp("azure")) as server:
        yield server


@pytest.fixture
def object_server(request: pytest.FixtureRequest) -> ObjectServer:
    """The server of the protocol that the test is parametrized with, indirectly."""
    server: ObjectServer = request.getfixturevalue({"s3": "s3_server", "gs": "gcs_server", "az": "azure_server"}[request.param])
    return server


@pytest.fixture(autouse=True)
def _without_variables_of_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer has set for storage does not reach the tests, nor do proxies that would not know the loopback."""
    for name in [
        name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_", "GS_", "CPL_")) and name != "AWS_CA_BUNDLE"
    ]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")


@pytest.fixture(autouse=True)
def _with_loggers_as_they_were() -> Iterator[None]:
    """A test that calls the command leaves its logging to no other test (pytest keeps the root logger itself)."""
    with keeping_loggers("processor", "stac"):
        yield


@pytest.fixture(autouse=True)
def _without_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test pulls the plug, and on a busy machine a run's dozen files take longer to reach the disk than to make."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
