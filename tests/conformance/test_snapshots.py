"""Capture, activate, roll back, delete."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.support.api_client import ApiClient


def summary(snapshot: dict[str, Any], *, active: bool) -> dict[str, Any]:
    return {key: snapshot[key] for key in ("id", "name", "createdAt")} | {"active": active}


def test_a_snapshot_is_a_copy_of_everything_staged(api: ApiClient) -> None:
    listener = api.create("listeners", name="web", port=3000)
    destination = api.create("destinations", id="d1", name="backend", host="b.example", port=80)
    route = api.create("routes", id="r1", name="all", forward={"destinations": [{"destinationId": "d1"}]})
    group = api.create("groups", name="api", routeIds=["r1"])
    middleware = api.create("middlewares", name="cors", type="cors", cors={})
    snapshot = api.create("snapshots", name="first")
    assert snapshot["snapshot"] == {
        "listeners": [listener],
        "routes": [route],
        "groups": [group],
        "destinations": [destination],
        "middlewares": [middleware],
    }
    assert re.fullmatch(r"[0-9a-f-]{14}4[0-9a-f-]{21}", snapshot["id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", snapshot["createdAt"])
    assert [warning["reason"] for warning in snapshot["warnings"]] == ["is unused: no route or group refers to it"]
    assert api.get(f"/snapshots/{snapshot['id']}").json() == snapshot


def test_a_snapshot_never_changes(api: ApiClient) -> None:
    api.create("routes", id="r1", name="all", directResponse={"status": 200})
    snapshot = api.create("snapshots", name="first")
    api.put("/routes/r1", {"name": "all", "directResponse": {"status": 404}})
    api.create("listeners", name="web", port=3000)
    assert api.get(f"/snapshots/{snapshot['id']}").json() == snapshot
    api.delete("/routes/r1")
    assert api.get(f"/snapshots/{snapshot['id']}").json() == snapshot


def test_creating_does_not_activate(api: ApiClient) -> None:
    first, second = api.create("snapshots", name="same"), api.create("snapshots", name="same")
    expected = sorted((summary(first, active=False), summary(second, active=False)), key=lambda item: str(item["id"]))
    assert api.get("/snapshots").json() == expected


def test_activating_and_rolling_back(api: ApiClient) -> None:
    first, second = api.create("snapshots", name="first"), api.create("snapshots", name="second")
    for active in (first, second, second, first):
        answer = api.post(f"/snapshots/{active['id']}/activate")
        assert (answer.status_code, answer.json()) == (200, summary(active, active=True))
        listed = {item["id"]: item["active"] for item in api.get("/snapshots").json()}
        assert listed == {first["id"]: active is first, second["id"]: active is second}


def test_the_active_snapshot_may_be_deleted(api: ApiClient) -> None:
    first, second = api.create("snapshots", name="first"), api.create("snapshots", name="second")
    api.activate(first["id"])
    answer = api.delete(f"/snapshots/{first['id']}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert api.get("/snapshots").json() == [summary(second, active=False)]
    api.activate(second["id"])
    assert api.get("/snapshots").json() == [summary(second, active=True)]


def test_an_unknown_snapshot_is_not_found(api: ApiClient) -> None:
    for answer in (api.get("/snapshots/s1"), api.delete("/snapshots/s1"), api.post("/snapshots/s1/activate")):
        assert (answer.status_code, answer.json()) == (404, {"error": 'snapshot "s1": resource not found'})


@pytest.mark.parametrize("document", [{}, {"name": ""}, {"name": "  "}, {"name": None}])
def test_a_name_is_required(api: ApiClient, document: dict[str, Any]) -> None:
    answer = api.post("/snapshots", document)
    assert (answer.status_code, answer.json()) == (400, {"error": "name is required"})


@pytest.mark.parametrize(
    ("document", "error"),
    [
        ({"name": 1}, "name: must be a string"),
        ({"name": "a\x1b[2J"}, "name: must not contain control characters"),
        ({"name": "x", "id": "mine"}, "id: unknown field"),
    ],
)
def test_only_a_name_may_be_given(api: ApiClient, document: dict[str, Any], error: str) -> None:
    answer = api.post("/snapshots", document)
    assert (answer.status_code, answer.json()) == (400, {"error": error})


def test_what_this_build_does_not_act_on_is_refused_all_at_once(api: ApiClient) -> None:
    options = {"discovery": {"type": "kubernetes"}}
    api.create("destinations", id="d1", name="backend", host="b.example", port=80, options=options)
    forward = {"destinations": [{"destinationId": "d1"}]}
    api.create("routes", id="r1", name="all", forward=forward, middlewareIds=["gone"])
    answer = api.post("/snapshots", {"name": "first"})
    assert answer.status_code == 400
    lines = answer.json()["error"].split("\n")
    assert lines[0] == "the snapshot cannot be created:"
    assert set(lines[1:]) == {
        '  route "all" (r1): middlewareIds[0]: middleware "gone" does not exist',
        '  destination "backend" (d1): options.discovery.type: this build does not act on it yet, only on dns',
    }
    assert api.get("/snapshots").json() == []


def test_two_listeners_on_one_port_are_refused(api: ApiClient) -> None:
    api.create("listeners", id="l1", name="first", port=3000)
    api.create("listeners", id="l2", name="second", address="0.0.0.0", port=3000)
    answer = api.post("/snapshots", {"name": "first"})
    assert answer.status_code == 400
    assert answer.json()["error"].endswith(
        'listener "second" (l2): port: listener "first" (l1) has the same address and port'
    )
