"""Items and Collections posted to an API that answers as real ones do, and as they should not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import stac_api
from stac_api import FakeApi, Said, run_api

from processor.errors import ExistsError, InputError, StorageError
from stac.api.session import ApiSession, Patience
from stac.api.transactions import Posted, check_transactions, post_collection, post_item

SELF = "s3://out/mosaics/m/m.json"


def make_item(digest: str = "d1", *, own: str | None = SELF, checksum: str = "1220aa") -> dict[str, Any]:
    links = [
        {"rel": "self", "href": own},
        {"rel": "root", "href": "../catalog.json"},
        {"rel": "collection", "href": "../collection.json"},
        {"rel": "derived_from", "href": "https://api.example.org/items/a"},
    ]
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "m",
        "collection": "mosaics",
        "geometry": None,
        "properties": {"datetime": "2024-06-01T00:00:00Z", "mosaic:digest": digest},
        "links": links[own is None :],
        "assets": {"mosaic": {"href": "./mosaic.tif", "file:checksum": checksum}},
    }


COLLECTION = {
    "type": "Collection",
    "id": "mosaics",
    "links": [{"rel": "self", "href": "s3://out/mosaics/collection.json"}, {"rel": "item", "href": "./m/m.json"}],
}


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with run_api() as api:
        api.collections["mosaics"] = {"id": "mosaics"}
        yield api


def open_session(api: FakeApi, token: str | None = None) -> ApiSession:
    patience = Patience(retries=2, timeout=5, sleep=lambda _: None)
    return ApiSession(f"{api.url}/", option="--post", token=token, token_name="STAC_POST_TOKEN", patience=patience)  # noqa: S106


def post(api: FakeApi, item: dict[str, Any], *, overwrite: bool = False, token: str | None = None) -> Posted:
    session = open_session(api, token)
    try:
        return post_item(session, item, collection="mosaics", overwrite=overwrite)
    finally:
        session.close()


def test_an_item_is_posted_with_absolute_hrefs_and_a_link_to_where_it_was_published(api: FakeApi) -> None:
    item = make_item()
    before = json.dumps(item)
    assert post(api, item) == Posted(href=f"{api.url}/collections/mosaics/items/m", outcome="created")
    sent = api.items["m"]
    assert sent["assets"]["mosaic"]["href"] == "s3://out/mosaics/m/mosaic.tif"
    assert [(link["rel"], link["href"]) for link in sent["links"]] == [
        ("canonical", SELF),
        ("derived_from", "https://api.example.org/items/a"),
    ]
    assert sent["collection"] == "mosaics"
    assert json.dumps(item) == before


def test_posting_again_changes_nothing_and_other_content_is_replaced_only_if_it_may_be(api: FakeApi) -> None:
    post(api, make_item())
    assert post(api, make_item()).outcome == "unchanged"
    assert post(api, make_item(), overwrite=True).outcome == "replaced"
    for other in (make_item("d2"), make_item(checksum="1220bb"), make_item(own="s3://elsewhere/m/m.json")):
        with pytest.raises(ExistsError, match="exists and has other content: replace it with --overwrite"):
            post(api, other)
        assert post(api, other, overwrite=True).outcome == "replaced"
        assert api.items["m"]["properties"] == other["properties"]
        post(api, make_item(), overwrite=True)


def test_an_item_that_no_run_made_is_not_taken_for_ours(api: FakeApi) -> None:
    api.items["m"] = {"id": "m"}
    with pytest.raises(ExistsError):
        post(api, make_item())
    api.say("GET", "/collections/mosaics/items/m", Said(body="<html>"))
    with pytest.raises(ExistsError):
        post(api, make_item())


def test_an_answer_that_was_lost_is_no_conflict(api: FakeApi) -> None:
    """The API has taken the Item, said so into the void, and is asked again."""
    sent = {**make_item(), "assets": {"mosaic": {"href": "s3://out/mosaics/m/mosaic.tif", "file:checksum": "1220aa"}}}
    api.items["m"] = sent
    api.say("POST", "/collections/mosaics/items", Said(status=504))
    assert post(api, make_item()).outcome == "unchanged"


def test_an_item_needs_a_place() -> None:
    with run_api() as api, pytest.raises(ValueError, match="no self link"):
        post(api, make_item(own=None))


def test_a_collection_that_is_missing_is_named(api: FakeApi) -> None:
    api.collections.clear()
    with pytest.raises(InputError, match="has no Collection 'mosaics': create it there"):
        post(api, make_item())


def test_an_api_without_transactions_is_told_before_anything_is_sent(api: FakeApi) -> None:
    api.conforms = [stac_api.CORE]
    with pytest.raises(InputError, match="does not take Items: its conformsTo lacks"):
        post(api, make_item())
    api.say("GET", "/", Said(body={"type": "Catalog"}))
    with pytest.raises(InputError, match=r"not the landing page of a STAC API \(no conformsTo\)"):
        post(api, make_item())
    api.say("GET", "/", Said(status=404, body={"description": "nobody here"}))
    with pytest.raises(InputError, match=r"not the landing page of a STAC API \(status 404 \(nobody here\)\)"):
        post(api, make_item())
    assert {asked.method for asked in api.asked} == {"GET"}


@pytest.mark.parametrize("path", ["", "/"])
def test_the_landing_page_is_asked_however_its_url_is_written(path: str, api: FakeApi) -> None:
    session = ApiSession(f"{api.url}{path}", option="--post")
    check_transactions(session, "Items")
    check_transactions(session, "Collections")
    session.close()


def test_a_refusal_says_what_the_api_says(api: FakeApi) -> None:
    api.say("POST", "/collections/mosaics/items", Said(status=400, body={"detail": "bad geometry"}))
    with pytest.raises(InputError, match=r"refuses the Item 'm' with status 400 \(bad geometry\)"):
        post(api, make_item())
    api.items["m"] = {"id": "m"}
    api.say("PUT", "/collections/mosaics/items/m", Said(status=422))
    with pytest.raises(InputError, match="status 422"):
        post(api, make_item(), overwrite=True)


def test_what_fails_for_now_is_repeated_and_then_given_up(api: FakeApi) -> None:
    api.say("POST", "/collections/mosaics/items", Said(status=503), Said(status=429, headers={"Retry-After": "0"}))
    assert post(api, make_item()).outcome == "created"
    api.say("GET", "/", *[Said(status=500)] * 3)
    with pytest.raises(StorageError, match="failed 3 times, lastly with status 500"):
        post(api, make_item())


def test_the_token_is_sent_and_hidden(api: FakeApi) -> None:
    token = "a-secret"  # noqa: S105
    post(api, make_item(), token=token)
    assert {asked.headers.get("Authorization") for asked in api.asked} == {f"Bearer {token}"}
    api.say("GET", "/", Said(status=401, body={"description": f"who is {token}?"}))
    with pytest.raises(InputError, match=r"refuses GET with status 401 \(who is …\?\): STAC_POST_TOKEN does not allow it"):
        post(api, make_item(), token=token)
    api.say("GET", "/", Said(status=401))
    with pytest.raises(InputError, match="put a bearer token in STAC_POST_TOKEN"):
        post(api, make_item())


def test_a_post_is_not_sent_on_to_another_host(api: FakeApi) -> None:
    with run_api() as other:
        api.say("POST", "/collections/mosaics/items", Said(status=307, headers={"Location": f"{other.url}/x"}))
        with pytest.raises(InputError, match="give that API's URL to --post if you trust it"):
            post(api, make_item(), token="t")  # noqa: S106
        assert other.asked == []


def test_ids_are_quoted_in_paths(api: FakeApi) -> None:
    api.collections["a/../b?"] = {"id": "a/../b?"}
    session = open_session(api)
    post_item(session, make_item(), collection="mosaics", overwrite=False)
    with pytest.raises(InputError):
        post_item(session, make_item() | {"id": "../x?y"}, collection="no/../such", overwrite=False)
    session.close()
    assert api.asked[-1].path == "/collections/no%2F..%2Fsuch/items"


def test_a_collection_is_created_once_and_stays_as_it_is(api: FakeApi) -> None:
    api.collections.clear()
    session = open_session(api)
    assert post_collection(session, COLLECTION).outcome == "created"
    assert api.collections["mosaics"]["links"] == []
    assert post_collection(session, {**COLLECTION, "title": "other"}).outcome == "unchanged"
    assert "title" not in api.collections["mosaics"]
    api.say("GET", "/collections/mosaics", Said(status=404))
    assert post_collection(session, COLLECTION).outcome == "unchanged"  # another run was faster
    session.close()


def test_a_collection_that_cannot_be_created_is_an_error(api: FakeApi) -> None:
    api.collections.clear()
    api.conforms.remove(stac_api.COLLECTIONS)
    session = open_session(api)
    with pytest.raises(InputError, match="does not take Collections"):
        post_collection(session, COLLECTION)
    api.conforms.append(stac_api.COLLECTIONS)
    api.say("POST", "/collections", Said(status=400))
    with pytest.raises(InputError, match="refuses the Collection 'mosaics' with status 400"):
        post_collection(session, COLLECTION)
    session.close()
