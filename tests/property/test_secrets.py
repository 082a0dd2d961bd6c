"""No secret leaves, wherever it is given: not by standard output, standard error, published files, or files of tracebacks."""

from __future__ import annotations

import json
import logging
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Finished, call_command, make_items, read_files
from effort import examples
from hypothesis import given
from hypothesis import strategies as st
from outcomes import leaving_out_drawings

import processor
from processor import redaction
from processor.config import Parameter, flat_name, iter_parameters
from processor.config.document import find_example
from processor.config.load import render_value, variable_name
from processor.errors import ConfigError, MosaicError
from processor.redaction import clean_document, hide_published, hide_secrets

PARAMETERS = tuple(iter_parameters())
CREDENTIALS = (
    "sig", "Signature", "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Security-Token", "X-Goog-Signature", "token",
    "access_token", "key", "api_key", "apikey", "subscription-key", "AWSAccessKeyId", "password", "client_secret", "sas",
    "se", "sp", "X%2DAmz%2DSignature",
)  # fmt: skip
SHAPES = (
    "https://user:{}@127.0.0.1:9/x.tif",
    "https://{}@127.0.0.1:9/x.gpkg",
    "s3://key:{}@bucket/x.json",
    "zip://x.tif::https://user:{}@127.0.0.1:9/x.zip?sig={}",
    "/vsicurl/https://127.0.0.1:9/x.tif?sig={}",
    *(f"https://127.0.0.1:9/x.json?file=3&{name}={{}}&n=1" for name in CREDENTIALS),
)
VARIABLES = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3", "AWS_NO_SIGN_REQUEST", "AWS_REQUEST_PAYER", "AWS_VIRTUAL_HOSTING", "AWS_S3_ENDPOINT",
    "AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN", "AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT",
    "AZURE_STORAGE_ENDPOINT", "GOOGLE_APPLICATION_CREDENTIALS", "STORAGE_EMULATOR_HOST", "GS_USER_PROJECT",
    "GDAL_HTTP_BEARER", "GDAL_HTTP_HEADERS", "GDAL_HTTP_NETRC_FILE", "GDAL_HTTP_USERPWD", "GDAL_HTTP_PROXY", "NETRC",
    "STAC_API_TOKEN", "STAC_POST_TOKEN", "SOURCE_DATE_EPOCH", "PC_SDK_SUBSCRIPTION_KEY", "PC_SDK_SAS_URL", "KUBECONFIG",
    "POD_NAME", "POD_NAMESPACE", "JOB_COMPLETION_INDEX",
)  # fmt: skip
SECRETS = st.from_regex(r"S3cr3t[A-Za-z0-9_~-]{8,30}", fullmatch=True)


class Bench:
    """Runs of which everything is kept that leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items = make_items(folder / "in", edge=60)

    def run(self, *arguments: str, inputs: str | None = None, on_terminal: bool = False, **variables: str) -> Finished:
        """Run the command into an empty folder."""
        for name in ("out", "scratch"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        words = ("run", inputs or str(self.items), "--item-id", "m", "--io.retries", "0", "--io.timeout", "5")
        place = () if "--output" in arguments else ("--output", "out")
        with leaving_out_drawings():
            return call_command(
                *words,
                *place,
                *arguments,
                cwd=self.folder,
                scratch=self.folder / "scratch",
                on_terminal=on_terminal,
                **variables,
            )

    def find_leaks(self, done: Finished, secret: str) -> list[str]:
        """Where a secret is found in what left."""
        leaving = {"stdout": done.stdout.encode(), "stderr": done.stderr.encode()}
        for name in ("out", "scratch"):
            leaving |= {f"{name}/{path}": data for path, data in read_files(self.folder / name).items()}
        return [name for name, data in leaving.items() if secret.encode() in data]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("secrets"))


def plant(parameter: Parameter, shape: str, secret: str) -> Any:
    """A value of a parameter with a secret in it: plain where the parameter is one, else in a URL, within a list if need be."""
    if parameter.is_secret:
        return f"X-Api-Key: {secret}" if parameter.name == "http_headers" else secret
    url, example = shape.format(*[secret] * shape.count("{}")), find_example(parameter)
    if isinstance(example, list):
        places = [place for place, member in enumerate(example) if isinstance(member, str)]
        return [url if place == max(places, default=0) else member for place, member in enumerate(example)]
    return url


def give(bench: Bench, door: str, parameter: Parameter, value: Any) -> Finished:
    """Run with a parameter that is given by a door."""
    text = value if isinstance(value, str) else render_value(value)
    if door == "flag":
        return bench.run(f"--{parameter.path}={text}")
    if door == "variable":
        return bench.run(**{variable_name(parameter): text})
    if door == "file":
        (bench.folder / "c.yaml").write_text(yaml.safe_dump({parameter.section: {parameter.name: value}}))
        return bench.run("--config", "c.yaml")
    document = json.loads(bench.items.read_text())
    document["process"] = [{"tasks": {"mosaic": {flat_name(parameter): value}}}]
    led = bench.items.parent / "led.json"
    led.write_text(json.dumps(document))
    done = bench.run(inputs=str(led))
    if done.code:
        return done
    payload = json.loads(done.stdout)  # which goes to the next task of a workflow: the process block as it came
    assert payload.pop("process") == document["process"]
    return Finished(code=0, stdout=json.dumps(payload), stderr=done.stderr)


@pytest.mark.parametrize("door", ["flag", "variable", "file", "document"])
@examples(150)
@given(st.sampled_from(PARAMETERS), st.sampled_from(SHAPES), SECRETS)
def test_no_value_of_a_parameter_leaves_with_its_secret(
    bench: Bench, door: str, parameter: Parameter, shape: str, secret: str
) -> None:
    done = give(bench, door, parameter, plant(parameter, shape, secret))
    assert done.code != 70, done.stderr
    assert not bench.find_leaks(done, secret), done.stderr


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda parameter: parameter.path)
def test_every_parameter_keeps_every_shape_of_secret(bench: Bench, parameter: Parameter) -> None:
    for number, shape in enumerate(SHAPES[:6]):
        secret = f"S3cr3tNumber{number}"
        done = give(bench, "flag", parameter, plant(parameter, shape, secret))
        assert done.code != 70, done.stderr
        assert not bench.find_leaks(done, secret), done.stderr


@pytest.mark.parametrize("on_terminal", [False, True])
@examples(60)
@given(st.sampled_from(VARIABLES), st.sampled_from(SHAPES), st.sampled_from(["here", "s3", "https"]), SECRETS)
def test_no_variable_leaves_with_its_secret(
    bench: Bench, on_terminal: bool, variable: str, shape: str, place: str, secret: str
) -> None:
    inputs = {"here": None, "s3": "s3://bucket/items.json", "https": "https://127.0.0.1:9/items.json"}[place]
    is_plain = re.search("KEY|TOKEN|BEARER|HEADERS|USERPWD", variable)
    text = secret if is_plain else shape.format(*[secret] * shape.count("{}"))
    if variable == "GDAL_HTTP_HEADERS":
        text = f"Accept: */*,Authorization: Bearer {secret}"
    variables = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", variable: text}
    if variable == "AWS_ACCESS_KEY_ID":
        variables["AWS_SECRET_ACCESS_KEY"] = secret
    done = bench.run(inputs=inputs, on_terminal=on_terminal, **variables)
    assert done.code != 70, done.stderr
    assert not bench.find_leaks(done, secret), done.stderr


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "option", ["--output", "--config", "--collection", "--post", "--item-id", "--fail-on", "--created", "--executor", "--api"]
)
def test_no_option_leaves_with_its_secret(bench: Bench, option: str, shape: str) -> None:
    text = shape.format(*["S3cr3tOfAnOption"] * shape.count("{}"))
    done = bench.run(option, text, *(("--collection", "c") if option == "--post" else ()))
    assert done.code in {1, 2, 13}
    assert not bench.find_leaks(done, "S3cr3tOfAnOption"), done.stderr


@pytest.mark.parametrize("shape", SHAPES)
def test_no_input_leaves_with_its_secret(bench: Bench, shape: str) -> None:
    text = shape.format(*["S3cr3tOfAnInput"] * shape.count("{}"))
    done = bench.run(inputs=text)
    assert done.code in {1, 2, 13}
    assert not bench.find_leaks(done, "S3cr3tOfAnInput"), done.stderr


MISPLACED = {
    "a misspelt name": "io:\n  s3_secret_acess_key: {}\n",
    "no section": "s3_secret_access_key: {}\n",
    "a misspelt section": "oi:\n  s3_secret_access_key: {}\n",
    "a section that is text": "io: {}\n",
    "a list for text": "io:\n  s3_secret_access_key: [{}, {}]\n",
    "no YAML": "io:\n  s3_secret_access_key: {}: x\n",
    "an alias": "io:\n  s3_secret_access_key: *{}\n",
    "a tag": "io:\n  s3_secret_access_key: !{} x\n",
    "a quote that is left open": 'io:\n  s3_secret_access_key: "{}\n',
    "a tab": "io:\n\ts3_secret_access_key: {}\n",
    "a control character": "io:\n  s3_secret_access_key: {}\x01\n",
    "text alone": "{}\n",
    "a name within a mask": "inputs:\n  mask: {{asset: SCL, pasword: {}}}\n",
}


@pytest.mark.parametrize("text", MISPLACED.values(), ids=MISPLACED)
def test_what_stands_in_a_wrong_place_of_a_configuration_is_not_told(bench: Bench, text: str) -> None:
    secret = "S3cr3tInAWrongPlace"  # noqa: S105 - made up
    (bench.folder / "c.yaml").write_text(text.format(*[secret] * text.count("{}")))
    done = bench.run("--config", "c.yaml")
    assert done.code == 2
    assert not bench.find_leaks(done, secret), done.stderr


@pytest.mark.parametrize("words", [("--io.s3_secret_acess_key=S3cr3tOfAFlag",), ("--io.s3_secret_acess_key", "S3cr3tOfAFlag")])
def test_a_misspelt_flag_and_its_value(bench: Bench, words: tuple[str, ...]) -> None:
    done = bench.run(*words)
    assert done.code == 2
    assert "did you mean --io.s3_secret_access_key?" in done.stderr
    assert not bench.find_leaks(done, "S3cr3tOfAFlag"), done.stderr


def test_a_misspelt_keyword_and_its_value(bench: Bench) -> None:
    with pytest.raises(ConfigError) as caught:
        processor.pipeline(str(bench.items), str(bench.folder / "m.tif"), io_s3_secret_acess_key="S3cr3tKeyword")  # noqa: S106 - made up
    assert "io_s3_secret_access_key" in str(caught.value)
    assert "S3cr3tKeyword" not in str(caught.value)


def test_no_cause_of_an_error_tells_what_its_message_hides(bench: Bench) -> None:
    """Python shows causes with a traceback."""
    document = json.loads(bench.items.read_text())
    for feature in document["features"]:
        feature["assets"]["image"]["href"] = f"http://127.0.0.1:9/{feature['id']}.tif?sig=S3cr3tCause"
    with pytest.raises(MosaicError) as caught:
        processor.pipeline(document, str(bench.folder / "m.tif"), io_retries=0)
    link: BaseException | None = caught.value
    while link is not None:
        assert "S3cr3tCause" not in str(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


@pytest.fixture
def _without_redaction(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_hide", lambda text, _: text)


@pytest.mark.usefixtures("_without_redaction")
def test_the_search_finds_what_is_not_hidden(bench: Bench) -> None:
    done = bench.run("--item-id", "https://user:S3cr3tSeen@host/")
    assert bench.find_leaks(done, "S3cr3tSeen") == ["stderr"]


# The rules themselves


@given(st.text(max_size=80), SECRETS, st.sampled_from(SHAPES), st.text(max_size=80))
def test_a_url_within_any_text_is_hidden(before: str, secret: str, shape: str, after: str) -> None:
    url = shape.format(*[secret] * shape.count("{}"))
    for hide in (hide_secrets, hide_published):
        assert secret not in hide(f"{before} {url} {after}")
        assert secret not in hide(json.dumps({"a": url, "b": after}))


SPOKEN = (
    "Authorization: Bearer {}",
    "authorization: Basic {}==",
    "{{'Authorization': 'Bearer {}'}}",
    "X-Api-Key: {}",
    "Cookie: session={}; other=1",
    "HTTP 401 (Bearer {}1)",
    "AccountName=me;AccountKey={};EndpointSuffix=x",
    "token={} was refused",
    '{{"access_token": "{}"}}',
    "a.tif?X-Amz-Signature={}&b=1",
    "<Error><SignatureProvided>{}</SignatureProvided></Error>",
    "<AWSAccessKeyId>{}</AWSAccessKeyId>",
    "AWS4-HMAC-SHA256 Credential={}/20240601/eu/s3/aws4_request, SignedHeaders=host, Signature={}",
)


@pytest.mark.parametrize("spoken", SPOKEN)
@given(SECRETS)
def test_credentials_beside_urls_are_hidden(spoken: str, secret: str) -> None:
    text = spoken.format(*[secret] * spoken.count("{}"))
    assert secret not in hide_secrets(text)
    assert secret not in hide_published(text)


@pytest.mark.parametrize("hide", [hide_secrets, hide_published])
@given(st.text(max_size=200))
def test_hiding_twice_changes_nothing_more(hide: Any, text: str) -> None:
    assert hide(hide(text)) == hide(text)


HARMLESS = {
    "title": "Mosaic of 3 scenes",
    "doi": "10.1000/xyz=1",
    "license": "https://example.org/license?lang=en#section-2",
    "az": "abfs://container@account.dfs.core.windows.net/a.tif",
    "zip": "zip://a.tif::s3://bucket/a.zip",
    "file": "file:///data/a b.tif",
    "at": "https://example.org/users/@me/a@2x.png",
    "numbers": [1, 2.5, None, True],
    "expression": "rank = -cloud_cover + 2 * valid_share; basic configuration",
    "bidi": "\u05d0\u202e",
}


def test_a_document_without_secrets_stays_as_it_is() -> None:
    assert clean_document(HARMLESS) == HARMLESS


def test_values_that_were_given_as_secrets_are_hidden_wherever_they_turn_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_remembered", {})
    redaction.remember_secrets(
        ["Accept: application/json, X-Api-Key: 0123456789", "short", "AccountName=someone;AccountKey=abcdefgh+/=="]
    )
    assert hide_secrets("got 0123456789 and abcdefgh+/==") == "got … and …"
    assert hide_secrets("application/json, short, someone") == "application/json, short, someone"
    redaction.remember_environment({"MY_API_TOKEN": "fedcba9876", "TOKEN_FILE": "relative.txt", "PATH": "fedcba987654"})
    assert hide_published("fedcba9876 relative.txt") == "… relative.txt"


@pytest.fixture
def _gdal_loggers() -> None:
    import processor.geotiff.gdal  # noqa: F401 - which puts filters on them


@pytest.mark.usefixtures("_gdal_loggers")
def test_warnings_of_gdal_reach_no_handler_with_a_signature(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("rasterio._env", "rasterio._err"):
        logging.getLogger(name).warning(
            "CPLE_%s: %s", "AppDefined", "HTTP response code on https://host/a.tif?sig=S3cr3tWarned: 403"
        )
    assert [record.getMessage() for record in caplog.records] == [
        "CPLE_AppDefined: HTTP response code on https://host/a.tif: 403"
    ] * 2
