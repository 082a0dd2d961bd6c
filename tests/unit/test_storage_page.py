"""docs/storage.md: its commands are commands, its options are options, its variables are those that are read."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from processor.cli import commands as cli
from processor.cli.flags import read_config
from processor.config import iter_parameters, load_config
from processor.storage.options import Access, resolve_access

PAGE = (Path(__file__).parents[2] / "docs" / "storage.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (`io\.[^|]*) \| ([^|]*) \|", PAGE, flags=re.MULTILINE)
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL) for line in block.splitlines()]


def test_there_is_something_to_test() -> None:
    assert len([line for line in COMMANDS if line.startswith("mosaic-processor ")]) >= 7
    assert len(ROWS) >= 12


@pytest.mark.parametrize("line", [line for line in COMMANDS if line.startswith("mosaic-processor ")])
def test_every_command_is_one(line: str) -> None:
    _, *words = shlex.split(line)
    options = cli.build_parser().parse_args(words)
    read_config(options, environment={})
    assert options.output


def test_every_option_of_storage_is_on_the_page_and_none_else() -> None:
    told = {name for row, _ in ROWS for name in re.findall(r"`io\.(\w+)`", row)}
    assert told == {parameter.name for parameter in iter_parameters() if parameter.section == "io"}


def test_every_variable_on_the_page_is_read(tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text("{}")
    values = {
        "AWS_NO_SIGN_REQUEST": "YES",
        "GS_NO_SIGN_REQUEST": "YES",
        "AWS_REQUEST_PAYER": "requester",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "key.json"),
        "AZURE_NO_SIGN_REQUEST": "YES",
        "GDAL_HTTP_HEADERS": "X-Api-Key: key",
        "AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true",
    }
    nothing = resolve_access(environment={})
    for _, cell in ROWS:
        for name in re.findall(r"`([A-Z0-9_]+)(?:=\w+)?`", cell):
            environment = {name: values.get(name, "http://127.0.0.1:1")}
            if name in {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}:
                environment = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SESSION_TOKEN": "c"}
            assert resolve_access(environment=environment) != nothing, name


def test_the_configuration_wins_over_the_environment_and_gdal_gets_what_fsspec_gets() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    environment = {"AWS_ENDPOINT_URL": "http://other:1", "AWS_REGION": "r1", **keys}
    flags = {"io.s3_endpoint": "http://127.0.0.1:8333/", "io.s3_region": "r2", "io.retries": 3, "io.s3_requester_pays": True}
    access = resolve_access(load_config(flags=flags, environment={}).io, environment)
    for_fsspec, for_gdal = (
        access.fsspec_options("s3://b/a"),
        access.gdal_options("s3://b/a") | access.of("s3://b/a").gdal_keys(),
    )
    assert for_fsspec["endpoint_url"] == "http://127.0.0.1:8333"
    assert (for_fsspec["key"], for_fsspec["secret"]) == tuple(keys.values())
    assert {name: for_gdal[name] for name in keys} == keys
    assert for_fsspec["config_kwargs"]["s3"]["addressing_style"] == "path"
    assert for_gdal["AWS_VIRTUAL_HOSTING"] == "FALSE"
    assert for_fsspec["requester_pays"]
    assert for_gdal["AWS_REQUEST_PAYER"] == "requester"
    assert for_fsspec["config_kwargs"]["retries"]["total_max_attempts"] == int(for_gdal["GDAL_HTTP_MAX_RETRY"]) + 1


def test_requester_pays_of_an_item_reaches_both() -> None:
    access = Access().for_bucket(requester_pays=True, region="us-west-2")
    assert access.fsspec_options("s3://b/a")["requester_pays"]
    assert access.gdal_options("s3://b/a")["AWS_REQUEST_PAYER"] == "requester"
    assert access.gdal_options("s3://b/a")["AWS_REGION"] == "us-west-2"
    assert not Access().fsspec_options("s3://b/a")["requester_pays"]


def test_the_rule_of_the_bucket_is_json() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    (rule,) = json.loads(block)["Rules"]
    assert rule["AbortIncompleteMultipartUpload"]["DaysAfterInitiation"] > 0
