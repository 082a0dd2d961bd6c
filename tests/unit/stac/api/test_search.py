"""Searches, on an API that answers as real ones do, and as they should not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from stac_api import CORE, JSON, SEARCH, SORT, TEXT, FakeApi, Said, make_item, make_search_link, run_api

from processor.errors import ConfigError, InputError, NothingFoundError, StorageError
from processor.storage.allowance import Allowance
from processor.storage.networks import Networks
from stac.api.request import SearchRequest
from stac.api.search import Found, search_items
from stac.api.session import Patience

TOKEN = "a-token-that-must-not-leak"  # noqa: S105


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with run_api() as api:
        for number in range(5):
            name = f"s{number}"
            api.items[name] = make_item(name, time=f"2024-06-0{number + 1}T00:00:00Z", properties={"eo:cloud_cover": -number})
        yield api


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STAC_API_TOKEN", raising=False)


PAUSES: list[float] = []


def search(
    api: FakeApi | str,
    *,
    max_scenes: int = 100,
    retries: int = 2,
    allowance: Allowance | None = None,
    networks: Networks | None = None,
    **conditions: Any,
) -> Found:
    PAUSES.clear()
    patience = Patience(retries=retries, timeout=5, sleep=PAUSES.append, jitter=lambda: 0.5)
    request = SearchRequest(api=api if isinstance(api, str) else api.url, **conditions)
    return search_items(
        request, max_scenes=max_scenes, patience=patience, allow_local_files=False, allowance=allowance, networks=networks
    )


def list_names(found: Found) -> list[str]:
    return [feature["id"] for feature in found.document["features"]]


def test_every_page_is_read_and_items_are_in_order_of_time(api: FakeApi) -> None:
    api.items = dict(reversed(api.items.items()))
    found = search(api)
    assert list_names(found) == ["s0", "s1", "s2", "s3", "s4"]
    assert found.findings == ()
    assert found.bases[0] == f"{api.url}/collections/scenes/items/s0"
    assert len([asked for asked in api.asked if asked.path == "/search"]) == 3


def test_the_answers_order_does_not_matter_but_that_of_sortby_does(api: FakeApi) -> None:
    assert list_names(search(api, sortby=("properties.eo:cloud_cover",))) == ["s4", "s3", "s2", "s1", "s0"]
    assert list_names(search(api, sortby=("-properties.eo:cloud_cover",))) == ["s0", "s1", "s2", "s3", "s4"]
    assert list_names(search(api, sortby=("-id",))) == ["s4", "s3", "s2", "s1", "s0"]
    sent = [asked.body["sortby"] for asked in api.asked if asked.path == "/search"]
    assert {"field": "id", "direction": "desc"} in sent[-1]


def test_conditions_are_sent_as_they_are(api: FakeApi) -> None:
    polygon = {"type": "Polygon", "coordinates": [[[0, 0], [1, 0], [1, 1], [0, 0]]]}
    search(api, collections=("a", "b"), ids=("x",), datetime="2024-06-01/..", intersects=polygon)
    body = next(asked.body for asked in api.asked if asked.path == "/search")
    assert body["collections"] == ["a", "b"]
    assert body["ids"] == ["x"]
    assert body["datetime"] == "2024-06-01T00:00:00Z/.."
    assert body["intersects"] == polygon
    search(api, bbox=(170.0, -10.0, -170.0, 10.0))
    assert [asked.body for asked in api.asked if asked.path == "/search"][-1]["bbox"] == [170.0, -10.0, -170.0, 10.0]


def test_cql2_goes_as_text_by_get_and_as_json_by_post(api: FakeApi) -> None:
    search(api, filter="eo:cloud_cover < 10")
    asked = next(asked for asked in api.asked if asked.path == "/search")
    assert (asked.method, asked.query["filter"], asked.query["filter-lang"]) == ("GET", ["eo:cloud_cover < 10"], ["cql2-text"])
    expression = {"op": "<", "args": [{"property": "eo:cloud_cover"}, 10]}
    search(api, filter=expression)
    asked = [asked for asked in api.asked if asked.path == "/search"][-1]
    assert (asked.method, asked.body["filter"], asked.body["filter-lang"]) == ("POST", expression, "cql2-json")


def test_what_is_left_out_is_said(api: FakeApi) -> None:
    found = search(api, max_items=3)
    assert list_names(found) == ["s0", "s1", "s2"]
    (finding,) = found.findings
    assert (finding.severity, finding.code) == ("warning", "search-has-more")
    assert "5 Items, of which 3 were taken" in finding.message
    assert search(api, max_items=5).findings == ()
    assert list_names(search(api, max_scenes=2)) == ["s0", "s1"]


def test_an_item_that_comes_twice_is_taken_once_and_one_of_another_collection_is_another(api: FakeApi) -> None:
    other = make_item("s0", collection="others")
    api.say(
        "POST", "/search", Said(body={"type": "FeatureCollection", "features": [other, other, api.items["s0"]], "links": []})
    )
    assert [(feature["collection"], feature["id"]) for feature in search(api).document["features"]] == [
        ("others", "s0"),
        ("scenes", "s0"),
    ]


def test_an_items_base_is_its_self_link_where_that_can_be_followed(api: FakeApi) -> None:
    hrefs = ["https://elsewhere.example.org/x.json", "collections/scenes/items/s1?x=1", "/etc/passwd", None]
    api.items = {
        f"s{number}": make_item(f"s{number}", links=[{"rel": "self", "href": href}]) for number, href in enumerate(hrefs)
    }
    own = [f"{api.url}/collections/scenes/items/s{number}" for number in range(4)]
    assert search(api).bases == (hrefs[0], f"{own[1]}?x=1", own[2], own[3])


@pytest.mark.parametrize(
    ("conforms", "conditions", "missing"),
    [
        ([CORE], {}, "item-search"),
        ([CORE, SEARCH], {"filter": "a = 1"}, "item-search#filter (--filter), cql2-text (--filter)"),
        ([CORE, SEARCH, f"{SEARCH}#filter"], {"filter": "a = 1"}, "cql2-text (--filter)"),
        ([CORE, SEARCH, f"{SEARCH}#filter"], {"filter": {"op": "="}}, "cql2-json (--filter)"),
    ],
)
def test_an_api_that_cannot_do_what_is_asked_is_not_asked(
    conforms: list[str], conditions: dict[str, Any], missing: str, api: FakeApi
) -> None:
    api.conforms = conforms
    with pytest.raises(InputError, match="does not say that it conforms to") as caught:
        search(api, **conditions)
    assert f"conforms to {missing}: " in str(caught.value)
    assert [asked.path for asked in api.asked if asked.path == "/search"] == []


def test_an_api_without_post_is_asked_by_get(api: FakeApi) -> None:
    api.links = [make_search_link(f"{api.url}/search", "GET")]
    api.conforms = [CORE, SEARCH, SORT]
    assert len(list_names(search(api))) == 5
    assert {asked.method for asked in api.asked} == {"GET"}


def test_a_static_catalogue_is_told_from_an_api(api: FakeApi) -> None:
    api.say("GET", "/", Said(body={"type": "Catalog", "id": "c", "description": "", "stac_version": "1.0.0", "links": []}))
    with pytest.raises(InputError, match=r"static catalogue, not a STAC API .* as INPUT instead of --api"):
        search(f"{api.url}/")


@pytest.mark.parametrize(
    "body",
    [
        "<html>not here</html>",
        "[]",
        "null",
        {"type": "FeatureCollection", "features": [1]},
        {"type": "FeatureCollection", "features": [{"id": 3}]},
        {"type": "FeatureCollection"},
        {"type": "Catalog"},
        "[" * 100_000,
    ],
    ids=lambda body: str(body)[:30],
)
def test_an_answer_that_is_none_is_refused(body: object, api: FakeApi) -> None:
    api.say("POST", "/search", Said(body=body))
    with pytest.raises(InputError):
        search(api)
    api.say("GET", "/", Said(body=body))
    with pytest.raises(InputError):
        search(f"{api.url}/")


def test_nothing_found_is_an_error(api: FakeApi) -> None:
    api.items.clear()
    with pytest.raises(NothingFoundError, match="finds no Item: widen it"):
        search(api)


def test_what_fails_for_now_is_repeated_as_the_api_asks_within_reason(api: FakeApi) -> None:
    answers = [Said(status=429, headers={"Retry-After": "7"}), Said(status=503, headers={"Retry-After": "86400"})]
    api.say("POST", "/search", *answers)
    assert len(list_names(search(api))) == 5
    assert PAUSES == [7.0, 60.0]
    api.say("POST", "/search", *[Said(status=502, body={"description": "no upstream"})] * 3)
    with pytest.raises(StorageError, match=r"failed 3 times, lastly with status 502 \(no upstream\): try again later"):
        search(api)
    assert PAUSES == [0.375, 0.75]


def test_an_api_that_does_not_answer_is_a_failure_for_now() -> None:
    with pytest.raises(StorageError, match="ConnectionError: try again later"):
        search("http://127.0.0.1:9", retries=0)


def test_a_refusal_is_final_and_says_why(api: FakeApi) -> None:
    api.say("POST", "/search", Said(status=400, body={"code": "BadRequest", "description": "no such\nqueryable"}))
    with pytest.raises(InputError, match=r"status 400 \(no such queryable\)"):
        search(api)
    assert PAUSES == []
    api.say("POST", "/search", Said(status=401))
    with pytest.raises(InputError, match="status 401: put a bearer token in STAC_API_TOKEN"):
        search(api)


def test_huge_answers_are_not_read_to_their_end(api: FakeApi) -> None:
    with pytest.raises(InputError, match="answers with more than"):
        search(api, allowance=Allowance(max_bytes=1000, seconds=60))


def make_page(*names: str, to: dict[str, Any] | None = None, **more: Any) -> Said:
    """A page with a next link."""
    links = [] if to is None else [{"rel": "next", **to}]
    return Said(body={"type": "FeatureCollection", "features": [make_item(name) for name in names], "links": links, **more})


def test_pages_that_lead_back_end(api: FakeApi) -> None:
    """An API whose every page is the first one has no more Items than that."""
    link = {"href": f"{api.url}/search", "method": "POST", "body": {}}
    api.say("POST", "/search", *[make_page("s0", to=link)] * 300)
    with pytest.raises(InputError, match=r"page 2 of the search on .* leads back to one that was read"):
        search(api)
    assert len(api.asked) < 5
    api.script.clear()
    api.say("POST", "/search", *[make_page("s0", to=link, numberMatched=1)] * 300)
    found = search(api)
    assert (list_names(found), found.findings) == (["s0"], ())


def test_pages_without_end_end(api: FakeApi) -> None:
    pages = [make_page("s0", to={"href": f"/search?from={number}", "method": "POST"}) for number in range(300)]
    api.say("POST", "/search", *pages)
    with pytest.raises(InputError, match=r"33 pages in a row .* bring nothing new"):
        search(api)
    assert len(api.asked) < 40


# An answer that ends early


def test_an_empty_page_that_leads_on_is_no_end(api: FakeApi) -> None:
    on = [{"href": f"{api.url}/search?from={number}", "method": "post", "body": {"token": number}} for number in range(4)]
    api.say("POST", "/search", make_page(to=on[0]), make_page("a", to=on[1]), make_page(to=on[2]), make_page(to=on[3]))
    api.say("POST", "/search", make_page("b"))
    assert list_names(search(api)) == ["a", "b"]
    assert [asked.body.get("token") for asked in api.asked if asked.path == "/search"] == [None, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"type": "Catalog", "id": "root", "stac_version": "1.0.0", "links": []}, "but the Catalog 'root': the answer"),
        ({"code": "InternalError", "description": "time-out"}, "but the error InternalError of an API: time-out; repeat"),
        ({"type": "FeatureCollection", "features": None}, 'whose "features" is not a list'),
        ({"type": "Feature", "id": "x"}, "an object of type 'Feature'"),
        ([], "does not answer as a STAC API does, with an object, but with a list of 0"),
        ("<!DOCTYPE html><title>Log in</title>", "but with HTML: a login page?"),
        ("", "but with no JSON"),
    ],
    ids=["landing page", "error", "no list", "item", "list", "login", "empty"],
)
def test_a_page_that_is_no_item_collection_is_an_error(body: Any, reason: str, api: FakeApi) -> None:
    api.say("POST", "/search", make_page("a", to={"href": f"{api.url}/next", "method": "GET"}))
    api.say("GET", "/next", Said(body=body))
    with pytest.raises(InputError) as caught:
        search(api)
    assert reason in str(caught.value)


@pytest.mark.parametrize("more", [{"numberMatched": 250}, {"context": {"matched": 250}}, {"numberMatched": "250"}], ids=str)
def test_fewer_items_than_match_are_a_warning(more: dict[str, Any], api: FakeApi) -> None:
    api.say("POST", "/search", make_page("a", "b", "b", **more))
    (finding,) = search(api).findings
    assert (finding.severity, finding.code) == ("warning", "search-incomplete")
    assert "matches 250 Items, it says, and gives 2 without a link" in finding.message
    api.say("POST", "/search", make_page(**more))
    with pytest.raises(InputError, match="matches 250 Items, it says, and gives none"):
        search(api)


@pytest.mark.parametrize("link", [{"href": None}, {"href": ""}, {}], ids=str)
def test_a_next_link_without_an_href_ends_the_answer(link: dict[str, Any], api: FakeApi) -> None:
    api.say("POST", "/search", make_page("a", to=link))
    assert list_names(search(api)) == ["a"]
    api.say(
        "POST", "/search", Said(body={"type": "FeatureCollection", "features": [make_item("b")], "links": None, "next": None})
    )
    assert list_names(search(api)) == ["b"]


def test_a_body_is_merged_where_a_link_says_so_and_kept_where_it_has_none(api: FakeApi) -> None:
    api.say(
        "POST",
        "/search",
        make_page("a", to={"href": "/search", "method": "POST", "body": {"token": "1"}, "merge": True}),
        make_page("b", to={"href": "/search?token=2", "method": "POST"}),
        make_page("c"),
    )
    assert list_names(search(api, collections=("scenes",))) == ["a", "b", "c"]
    bodies = [asked.body for asked in api.asked if asked.path == "/search"]
    assert [body["collections"] for body in bodies] == [["scenes"]] * 3
    assert "token" in bodies[1]


@pytest.mark.parametrize("status", [403, 405])
def test_an_api_that_refuses_post_is_asked_by_get(status: int, api: FakeApi) -> None:
    api.say("POST", "/search", Said(status=status, body={"description": "no POST here"}))
    expression = {"op": "<", "args": [{"property": "eo:cloud_cover"}, 10]}
    assert len(list_names(search(api, filter=expression))) == 5
    asked = [asked for asked in api.asked if asked.path == "/search"]
    assert [one.method for one in asked[:2]] == ["POST", "GET"]
    assert json.loads(asked[1].query["filter"][0]) == expression
    assert asked[1].query["filter-lang"] == ["cql2-json"]
    api.say("POST", "/search", Said(status=status))
    with pytest.raises(InputError, match=f"status {status}"):
        search(api, method="POST")
    api.links = [make_search_link(f"{api.url}/search", "post")]
    api.say("POST", "/search", Said(status=status))
    with pytest.raises(InputError, match=f"status {status}"):
        search(api)


def test_a_method_and_a_page_size_can_be_chosen(api: FakeApi) -> None:
    assert len(list_names(search(api, method="GET", page_size=7))) == 5
    asked = next(asked for asked in api.asked if asked.path == "/search")
    assert (asked.method, asked.query["limit"]) == ("GET", ["7"])
    api.links = [make_search_link("search", "get")]
    with pytest.raises(ConfigError, match=r"--method POST: the STAC API .* offers GET"):
        search(api, method="POST")
    assert len(list_names(search(api))) == 5


# What the API does not declare


CLOUDS = {"op": "<", "args": [{"property": "eo:cloud_cover"}, 10]}
QUERY = f"{SEARCH}#query"


@pytest.mark.parametrize(
    ("conforms", "given", "method", "sent"),
    [
        ([f"{SEARCH}#filter", JSON], "eo:cloud_cover < 10", "POST", {"filter": CLOUDS, "filter-lang": "cql2-json"}),
        ([QUERY], "eo:cloud_cover < 10", "POST", {"query": {"eo:cloud_cover": {"lt": 10}}}),
        ([QUERY], CLOUDS, "POST", {"query": {"eo:cloud_cover": {"lt": 10}}}),
        ([f"{SEARCH}#filter", TEXT], CLOUDS, "GET", {"filter": ["eo:cloud_cover < 10"], "filter-lang": ["cql2-text"]}),
    ],
    ids=["text as JSON", "text as query", "JSON as query", "JSON as text"],
)
def test_a_filter_is_sent_in_what_the_api_takes(
    conforms: list[str], given: Any, method: str, sent: dict[str, Any], api: FakeApi
) -> None:
    api.conforms = [CORE, SEARCH, *conforms]
    search(api, filter=given)
    asked = next(asked for asked in api.asked if asked.path == "/search")
    assert asked.method == method
    came = asked.body if method == "POST" else asked.query
    assert {key: came[key] for key in sent} == sent
    assert {"filter", "query"} & set(came) == {"filter", "query"} & set(sent)


def test_a_filter_that_cannot_be_said_is_refused_with_the_reason(api: FakeApi) -> None:
    api.conforms = [CORE, SEARCH, f"{SEARCH}#filter", JSON, QUERY]
    with pytest.raises(
        InputError, match=r"takes cql2-json and query: as cql2-json it cannot be said, 'S_INTERSECTS' is not"
    ) as caught:
        search(api, filter="S_INTERSECTS(geometry, POINT(1 2))")
    assert "write it in what the API takes, or more simply" in str(caught.value)
    api.conforms = [CORE, SEARCH, QUERY]
    with pytest.raises(InputError, match="as query it cannot be said, OR is none of its words"):
        search(api, filter="a = 1 OR b = 2")


def test_what_conforms_to_gets_wrong_is_corrected(api: FakeApi) -> None:
    api.conforms = [CORE, SEARCH]
    search(api, filter="a = 1", conforms=(("filter", True), ("cql2-text", True)))
    assert next(asked for asked in api.asked if asked.path == "/search").query["filter"] == ["a = 1"]
    api.conforms = [CORE, SEARCH, SORT, f"{SEARCH}#filter", TEXT, QUERY]
    search(api, filter="a = 1", conforms=(("filter", False),))
    assert next(asked.body for asked in api.asked if asked.path == "/search" and asked.body)["query"] == {"a": {"eq": 1}}


def test_items_are_sorted_here_where_the_api_does_not(api: FakeApi) -> None:
    api.conforms = [CORE, SEARCH]
    found = search(api, sortby=("properties.eo:cloud_cover",), max_items=2)
    assert list_names(found) == ["s4", "s3"]
    assert [finding.code for finding in found.findings] == ["search-has-more", "search-sorted-here"]
    assert "5 Items, of which 2 were taken" in found.findings[0].message
    assert all("sortby" not in asked.body for asked in api.asked if asked.path == "/search")
    found = search(api, sortby=("-id",))
    assert list_names(found) == ["s4", "s3", "s2", "s1", "s0"]
    assert [finding.severity for finding in found.findings] == ["info"]


# The token


def test_the_token_goes_to_the_api_and_to_no_other_host(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAC_API_TOKEN", TOKEN)
    with run_api() as other:
        other.items["s9"] = make_item("s9")
        link = {"rel": "next", "href": f"{other.url}/search", "method": "POST", "body": {}}
        page = {"type": "FeatureCollection", "features": [make_item("s0")], "links": [link]}
        api.say("POST", "/search", Said(body=page))
        assert list_names(search(api, networks=Networks(is_open=True))) == ["s0", "s9"]
        assert {asked.headers.get("Authorization") for asked in api.asked} == {f"Bearer {TOKEN}"}
        assert [asked.headers.get("Authorization") for asked in other.asked] == [None]


def test_headers_that_a_link_asks_for_go_to_the_api_and_to_no_other_host(api: FakeApi) -> None:
    with run_api() as other:
        other.items["s9"] = make_item("s9")
        link = {"rel": "next", "method": "POST", "body": {}, "headers": {"X-Wish": "1"}}
        pages = [
            Said(
                body={"type": "FeatureCollection", "features": [make_item(name)], "links": [{**link, "href": f"{url}/search"}]}
            )
            for name, url in (("s0", api.url), ("s1", other.url))
        ]
        api.say("POST", "/search", *pages)
        assert list_names(search(api, networks=Networks(is_open=True))) == ["s0", "s1", "s9"]
        assert [asked.headers.get("X-Wish") for asked in api.asked if asked.path == "/search"] == [None, "1"]
        assert [asked.headers.get("X-Wish") for asked in other.asked] == [None]


def test_a_redirect_to_another_host_is_not_followed(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAC_API_TOKEN", TOKEN)
    with run_api() as other:
        api.say("POST", "/search", Said(status=307, headers={"Location": f"{other.url}/search?key=secret"}))
        with pytest.raises(InputError, match=f"sends POST on to {other.url}/search: give that API's URL to --api") as caught:
            search(api)
        assert "secret" not in str(caught.value)
        assert other.asked == []


def test_a_redirect_on_the_same_host_is_followed_but_not_for_ever(api: FakeApi) -> None:
    api.say("GET", "/v1", Said(status=308, headers={"Location": f"{api.url}/"}))
    assert len(list_names(search(f"{api.url}/v1"))) == 5
    api.say("GET", "/v1", *[Said(status=307, headers={"Location": "/v1"})] * 20)
    with pytest.raises(InputError, match="redirects GET more than 5 times"):
        search(f"{api.url}/v1")


def test_the_token_is_in_no_message(api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAC_API_TOKEN", TOKEN)
    for method in ("POST", "GET"):
        api.say(method, "/search", Said(status=403, body={"detail": f"Bearer {TOKEN} is not enough"}))
    with pytest.raises(InputError, match=r"status 403 \(Bearer … is not enough\): STAC_API_TOKEN does not allow it") as caught:
        search(api)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "/etc/passwd",
        "host",
        "https://me:pw@host",
        "https://host/?key=1",
        "https://host:x",
        "https://",
        "file:///x",
    ],
)
def test_what_is_no_url_of_an_api_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"--api .* is not the URL of a STAC API") as caught:
        search(url)
    assert "pw" not in str(caught.value)


def test_a_landing_page_may_not_lead_to_files(api: FakeApi) -> None:
    api.links = [make_search_link("file:///etc/passwd", method) for method in ("GET", "POST")]
    with pytest.raises(InputError):
        search(api)
    link = {"rel": "next", "href": "/etc/passwd", "method": "GET"}
    api.links = None
    api.say("POST", "/search", Said(body={"type": "FeatureCollection", "features": [make_item("s0")], "links": [link]}))
    with pytest.raises(InputError):
        search(api)
