"""What listeners, destinations, routes, groups, middlewares and (mostly) secrets have in common."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.conformance.documents import ADDED, DOCUMENTS, KINDS
from tests.support.api_client import ApiClient

ENTITIES = ("listeners", "destinations", "routes", "groups", "middlewares")
UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")

entities = pytest.mark.parametrize("collection", ENTITIES)
all_kinds = pytest.mark.parametrize("collection", DOCUMENTS)


def shown(collection: str, document: dict[str, Any], id_: str) -> dict[str, Any]:
    return {"id": id_} | document | ADDED.get(collection, {})


@all_kinds
def test_an_empty_collection_is_an_empty_array(api: ApiClient, collection: str) -> None:
    answer = api.get(f"/{collection}")
    assert (answer.status_code, answer.text) == (200, "[]\n")


@entities
def test_an_entity_lives(api: ApiClient, collection: str) -> None:
    document = DOCUMENTS[collection]
    created = api.post(f"/{collection}", document)
    assert created.status_code == 201
    id_ = created.json()["id"]
    assert UUID4.fullmatch(id_)
    assert created.json() == shown(collection, document, id_)
    assert api.get(f"/{collection}/{id_}").json() == created.json()
    assert api.get(f"/{collection}").json() == [created.json()]

    replaced = api.put(f"/{collection}/{id_}", document | {"name": "renamed"})
    assert replaced.status_code == 200
    assert replaced.json() == shown(collection, document | {"name": "renamed"}, id_)
    assert api.get(f"/{collection}/{id_}").json() == replaced.json()

    deleted = api.delete(f"/{collection}/{id_}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert api.get(f"/{collection}").json() == []


@all_kinds
def test_a_client_may_choose_the_id(api: ApiClient, collection: str) -> None:
    assert api.create(collection, id="Chosen id: é", **DOCUMENTS[collection])["id"] == "Chosen id: é"
    assert api.get(f"/{collection}/Chosen id: é").status_code == 200


@all_kinds
def test_an_id_that_is_taken_is_a_conflict(api: ApiClient, collection: str) -> None:
    document = DOCUMENTS[collection]
    api.create(collection, id="taken", **document)
    before = api.get(f"/{collection}/taken").json()
    answer = api.post(f"/{collection}", document | {"id": "taken", "name": "another"})
    assert answer.status_code == 409
    assert answer.json() == {"error": f'{KINDS[collection]} "taken" already exists'}
    assert api.get(f"/{collection}/taken").json() == before


@all_kinds
def test_a_name_that_is_taken_is_a_conflict(api: ApiClient, collection: str) -> None:
    document = DOCUMENTS[collection]
    error = {"error": f"a {KINDS[collection]} with the same name already exists"}
    api.create(collection, id="first", **document)
    answer = api.post(f"/{collection}", document)
    assert (answer.status_code, answer.json()) == (409, error)

    api.create(collection, id="second", **document | {"name": "another"})
    answer = api.put(f"/{collection}/second", document)
    assert (answer.status_code, answer.json()) == (409, error)
    assert api.get(f"/{collection}/second").json()["name"] == "another"
    assert api.put(f"/{collection}/first", document).status_code == 200

    assert api.delete(f"/{collection}/first").status_code == 204
    assert api.put(f"/{collection}/second", document).status_code == 200


def test_different_kinds_may_share_ids_and_names(api: ApiClient) -> None:
    for collection, document in DOCUMENTS.items():
        api.create(collection, **document | {"id": "same", "name": "same"})


@entities
def test_what_is_not_there_is_not_found(api: ApiClient, collection: str) -> None:
    error = {"error": f'{KINDS[collection]} "none": resource not found'}
    answers = [
        api.get(f"/{collection}/none"),
        api.put(f"/{collection}/none", DOCUMENTS[collection]),
        api.put(f"/{collection}/none", "no entity at all"),
        api.delete(f"/{collection}/none"),
    ]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(404, error)] * 4
    assert api.get(f"/{collection}").json() == []


@entities
def test_put_replaces_the_whole_entity_under_the_id_of_the_path(api: ApiClient, collection: str) -> None:
    document = DOCUMENTS[collection]
    extras: dict[str, dict[str, Any]] = {
        "listeners": {"serverName": "vrata"},
        "destinations": {"endpoints": [{"host": "a.example", "port": 81}]},
        "routes": {"middlewareIds": ["m"]},
        "groups": {"pathPrefix": "/v1"},
        "middlewares": {"headers": {}},
    }
    extra = extras[collection]
    created = api.create(collection, id="mine", **document, **extra)
    assert extra.items() <= created.items()
    replaced = api.put(f"/{collection}/mine", document | {"id": "another"})
    assert replaced.json() == shown(collection, document, "mine")
    assert api.get(f"/{collection}/another").status_code == 404


@all_kinds
def test_a_refused_put_changes_nothing(api: ApiClient, collection: str) -> None:
    api.create(collection, id="mine", **DOCUMENTS[collection])
    before = api.get(f"/{collection}/mine").json()
    assert api.put(f"/{collection}/mine", DOCUMENTS[collection] | {"name": ""}).status_code == 400
    assert api.put(f"/{collection}/mine", DOCUMENTS[collection] | {"unknown": 1}).status_code == 400
    assert api.get(f"/{collection}/mine").json() == before


@all_kinds
def test_lists_are_in_byte_order_of_the_ids(api: ApiClient, collection: str) -> None:
    for id_ in ("b", "a", "B", "é", "10", "9"):
        api.create(collection, **DOCUMENTS[collection] | {"id": id_, "name": id_})
    assert [entity["id"] for entity in api.get(f"/{collection}").json()] == ["10", "9", "B", "a", "b", "é"]


@all_kinds
def test_unknown_fields_are_refused_by_name(api: ApiClient, collection: str) -> None:
    answer = api.post(f"/{collection}", DOCUMENTS[collection] | {"colour": "red"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("colour: unknown field")


@all_kinds
def test_a_name_is_required(api: ApiClient, collection: str) -> None:
    document = {key: value for key, value in DOCUMENTS[collection].items() if key != "name"}
    answer = api.post(f"/{collection}", document)
    assert (answer.status_code, answer.json()) == (400, {"error": "name: is required"})


def test_every_problem_of_an_entity_is_named(api: ApiClient) -> None:
    answer = api.post(
        "/destinations", {"name": "d", "host": "", "port": 70000, "options": {"timeouts": {"request": "1d"}}}
    )
    assert answer.status_code == 400
    problems = answer.json()["error"].split("; ")
    assert {problem.split(": ")[0] for problem in problems} == {"host", "port", "options.timeouts.request"}


def test_empty_objects_and_explicit_zeros_are_kept(api: ApiClient) -> None:
    listener = api.create("listeners", name="web", port=3000, metrics={}, http2=False, serverName="")
    assert listener == {"id": listener["id"], "name": "web", "address": "0.0.0.0", "port": 3000, "metrics": {}}
    options = {"circuitBreaker": {"failureThreshold": 0}, "outlierDetection": {"consecutive5xx": 0}, "timeouts": {}}
    destination = api.create("destinations", name="d", host="a.example", port=80, options=options)
    assert destination["options"] == options


def test_the_debug_dump_is_everything_staged_but_secrets(api: ApiClient) -> None:
    assert api.get("/debug/config").json() == {collection: [] for collection in ENTITIES}
    created = {collection: [api.create(collection, **DOCUMENTS[collection])] for collection in ENTITIES}
    api.create("secrets", **DOCUMENTS["secrets"])
    created["listeners"].append(api.create("listeners", name="2", port=1, serverName="{{secret:value:x}}"))
    dump = api.get("/debug/config").json()
    assert list(dump) == list(ENTITIES)
    for collection, documents in created.items():
        assert sorted(dump[collection], key=str) == sorted(documents, key=str)
