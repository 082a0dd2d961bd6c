"""The document of a run: the same plan again, no secret, and nothing that was not planned."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import records
from pydantic import TypeAdapter

from processor.config import Config, load_config
from processor.errors import ConfigError, InputError
from processor.execution.run_manifest import RunManifest, open_run, parse_run_url, read_run, write_run
from processor.execution.tasks import Cut
from processor.model import Band, Finding, Mask, Part, Provenance, Scaling, Scene
from processor.mosaic.digest import compute_digest
from processor.mosaic.planning import plan_run
from processor.publish.item import Prepared
from processor.publish.register import Registration
from processor.publish.thresholds import parse_threshold
from processor.storage.store import Store
from processor.version import read_version

CREATED = "2026-01-31T12:00:00Z"


def make_scene(name: str, priority: int, href: str = "") -> Scene:
    return records.make_scene(
        name,
        bands=(Band(name="x", scaling=Scaling(scale=0.1)), Band(name="y", common_name="nir")),
        priority=priority,
        dtype="float32",
        left=0.1 * priority,
        top=0.0,
        width=700,
        height=600,
        block_height=10,
        block_width=10,
        href=href or f"s3://bucket/{name}.tif",
        asset="image",
        nodata=math.nan,
        fingerprint="abc",
        overviews=(2, 4),
        overview_shapes=((300, 350), (150, 175)),
        provenance=Provenance(self_href="s3://bucket/x.json", properties={"deep": [1, {"x": None, "y": math.inf}], "é": "\n"}),
    )


def make_composed(href: str) -> Scene:
    raster = make_scene("c/x", 2, href)
    parts = (Part(raster=raster, conversions=(Scaling(), Scaling(offset=-1.5)), resampling="cubic"),)
    return replace(make_scene("c", 2, href), parts=parts, mask=Mask(raster=raster, invalid=(0,), bits=(3,)))


def make_prepared(*scenes: Scene, flags: dict[str, Any] | None = None, **changes: Any) -> Prepared:
    config = load_config(flags=flags or {}, environment={})
    scenes = scenes or (make_scene("b", 0), make_scene("a", 1), make_composed("s3://bucket/c.tif"))
    finding = Finding(severity="info", code="x", message="something", scene="a")
    digest = compute_digest(scenes, config, read_version(), {})
    plan = plan_run(scenes, config)
    return Prepared(**({"plan": plan, "digest": digest, "item_id": "m", "findings": (finding,)} | changes))


def describe_run(prepared: Prepared) -> RunManifest:
    return read_run(write_run(prepared, f"memory://{uuid4()}", created=CREATED, overwrite=False, cut=Cut()), Store())[1]


def make_again(prepared: Prepared, destination: str = "memory://out", machine: Config | None = None) -> Prepared:
    url = write_run(prepared, destination, created=CREATED, overwrite=False, cut=Cut())
    return open_run(url, machine or Config()).prepared


def test_the_same_plan_comes_out_again() -> None:
    prepared = make_prepared()
    again = make_again(prepared)
    assert repr(again.plan.scenes) == repr(prepared.plan.scenes)  # NaN is not equal to itself
    for name in ("grid", "dtype", "levels", "blocks", "pairs", "chunks", "window_edge", "findings"):
        assert getattr(again.plan, name) == getattr(prepared.plan, name), name
    assert (again.digest, again.item_id, again.findings) == (prepared.digest, "m", prepared.findings)


@pytest.mark.parametrize(
    "flags",
    [
        {"shared.custom_nodata_value": math.nan},
        {"local_block_adjustment.number_of_blocks": [3, 4], "align_rasters.tap": True},
        {"local_block_adjustment.override_bounds_canvas_coords": [0, -600, 700, 0]},
        {"global_regression.output_images": ["s3://x/a.tif", "s3://x/b.tif", "s3://x/c.tif"]},
        {"methods.matching_local_method": None, "output.compression": "zstd", "output.level": 3},
    ],
)
def test_every_setting_that_decides_the_result_is_kept(flags: dict[str, Any]) -> None:
    prepared = make_prepared(flags=flags)
    again = make_again(prepared)
    for name, value in flags.items():
        section, _, field = name.partition(".")
        found = getattr(getattr(again.plan.config, section), field)
        assert repr(found) == repr(getattr(getattr(prepared.plan.config, section), field)), value


def test_what_changes_no_byte_is_taken_from_the_machine_and_nothing_else_is() -> None:
    prepared = make_prepared(flags={"shared.tile_threads": 7, "io.s3_region": "there", "local_block_adjustment.alpha": 0.5})
    around = load_config(
        flags={"shared.tile_threads": 3, "io.s3_region": "here", "local_block_adjustment.alpha": 0.9}, environment={}
    )
    config = make_again(prepared, machine=around).plan.config
    assert (config.shared.tile_threads, config.io.s3_region, config.local_block_adjustment.alpha) == (3, "here", 0.5)
    config = make_again(prepared).plan.config
    assert (config.shared.tile_threads, config.io.s3_region) == ("auto", None)


def test_no_secret_and_no_way_to_storage_is_in_it() -> None:
    flags = {"io.s3_access_key_id": "KEYKEY", "io.s3_secret_access_key": "SECRET", "io.s3_endpoint": "http://inner:1"}
    registration = Registration(collection="s3://x/c.json", collection_id="c", token="TOKEN")  # noqa: S106 - a test's
    prepared = make_prepared(flags=flags, registration=registration)
    data = describe_run(prepared).model_dump_json()
    assert not [word for word in ("KEYKEY", "SECRET", "inner", '"TOKEN"') if word in data]


def test_a_signature_is_left_out_where_tasks_can_sign_and_refused_where_they_cannot() -> None:
    signed = "https://account.blob.core.windows.net/x/c.tif?sv=2021&sig=SIGNATURE"
    for scene in (make_scene("c", 0, signed), make_composed(signed)):
        with pytest.raises(ConfigError, match=r"windows\.net/x/c\.tif is signed") as caught:
            describe_run(make_prepared(scene))
        assert "SIGNATURE" not in str(caught.value)
        flags = {"inputs.sign": "planetary-computer"}
        document = describe_run(make_prepared(scene, flags=flags))
        assert "SIGNATURE" not in document.model_dump_json()
        config = load_config(flags=flags, environment={})
        assert compute_digest(document.scenes, config, read_version(), {}) == document.digest


def test_posting_is_left_to_the_coordinator_since_tasks_have_no_token() -> None:
    registration = Registration(collection="s3://x/c.json", collection_id="c", api="https://x")
    document = describe_run(make_prepared(registration=registration))
    assert document.registration == Registration(collection="s3://x/c.json", collection_id="c")


def test_where_the_item_is_made_known_and_what_its_mosaic_has_to_meet_come_along() -> None:
    registration = Registration(collection="s3://x/c.json", collection_id="c", thresholds=(parse_threshold("coverage<1"),))
    assert make_again(make_prepared(registration=registration)).registration == registration


def test_the_table_of_inputs_comes_along_and_is_checked() -> None:
    prepared = make_prepared(inputs_table=b"a table")
    assert make_again(prepared).inputs_table == b"a table"
    url = write_run(prepared, "memory://out", created=CREATED, overwrite=False, cut=Cut())
    Store().write_bytes(url.replace("run.json", "inputs.parquet"), b"another", overwrite=True)
    with pytest.raises(InputError, match="not the table"):
        open_run(url, Config())


def test_planning_again_keeps_the_first_time_and_takes_the_latest_of_all_else() -> None:
    prepared = make_prepared()
    destination = "memory://again"
    write_run(prepared, destination, created=CREATED, overwrite=False, cut=Cut())
    url = write_run(prepared, destination, created="2027-01-01T00:00:00Z", overwrite=True, cut=Cut())
    _, document = read_run(url, Store())
    assert (document.created, document.overwrite) == (CREATED, True)


# What is no such document


def change(document: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for name in above:
        document = document[int(name) if name.isdigit() else name]  # type: ignore[index,call-overload]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("kind", "something else", "not the document of a run"),
        ("digest", "x", "not the document of a run"),
        ("item_id", "../x", "not the document of a run"),
        ("tile_blocks", 3, "not the document of a run"),
        ("chunks_per_task", 0, "not the document of a run"),
        ("scenes", [], "not the document of a run"),
        ("scenes.0.grid.width", -1, "not the document of a run"),
        ("scenes.0.source.validity", "who knows", "not the document of a run"),
        ("surprise", 1, "not the document of a run"),
        ("digest", "0" * 64, "the document of another run"),
        ("item_id", "n", "the document of another run"),
        ("config.local_block_adjustment.alpha", 0.25, "what it says is not what was planned"),
        ("scenes.0.source.href", "/etc/passwd", "what it says is not what was planned"),
        ("scenes.0.source.nodata", 7, None),
    ],
)
def test_what_was_not_planned_is_refused(path: str, value: Any, words: str | None) -> None:
    url = write_run(make_prepared(), "memory://changed", created=CREATED, overwrite=False, cut=Cut())
    raw = json.loads(Store().read_bytes(url, max_bytes=1 << 20))
    change(raw, path, value)
    Store().write_bytes(url, json.dumps(raw).encode(), overwrite=True)
    if words is None:  # it decides the result, yet not by the digest: the file itself is what counts there
        open_run(url, Config())
        return
    with pytest.raises(InputError, match=words):
        open_run(url, Config())


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"version": 1}', b"\xff", b"[" * 100_000])
def test_what_is_no_document_is_refused(data: bytes) -> None:
    url = f"memory://nothing/.work/m/{'0' * 64}/run.json"
    Store().write_bytes(url, data, overwrite=True)
    with pytest.raises(InputError, match="not the document of a run"):
        read_run(url, Store())


def test_a_document_of_another_version_says_so() -> None:
    url = write_run(make_prepared(), "memory://version", created=CREATED, overwrite=False, cut=Cut())
    raw = json.loads(Store().read_bytes(url, max_bytes=1 << 20))
    Store().write_bytes(url, json.dumps({**raw, "version": "0.0.9"}).encode(), overwrite=True)
    with pytest.raises(ConfigError, match=r"planned by version 0\.0\.9"):
        read_run(url, Store())


@pytest.mark.parametrize(
    "url", ["run.json", "s3://bucket/m/run.json", "s3://bucket/.work/m/d/other.json", "", "s3://.work/m/d/run.json"]
)
def test_a_place_where_no_document_is_put_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="give what `plan` printed"):
        parse_run_url(url)


def test_a_place_leads_to_its_destination_from_wherever_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse_run_url("out/.work/m/d/run.json").destination == f"{tmp_path}/out"
    place = parse_run_url("s3://bucket/x/y/.work/m/d/run.json")
    assert (place.destination, place.item_id, place.digest) == ("s3://bucket/x/y", "m", "d")
    assert place.url == "s3://bucket/x/y/.work/m/d/run.json"


def test_every_field_of_a_scene_has_a_form_in_json() -> None:
    """A type that pydantic cannot take apart would make every plan fail."""
    adapter = TypeAdapter(RunManifest)
    assert adapter.json_schema()["properties"].keys() >= {"scenes", "config", "digest"}
