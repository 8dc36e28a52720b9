"""Which series a snapshot can have: read off its document as the compiler reads it off the entities."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.in_process_proxy import InProcessProxy, snapshot_document
from vrata.proxy.meters import middleware_labels, route_key, route_labels
from vrata.proxy.metrics.scope import MetricsScope
from vrata.proxy.supervisor.document import SnapshotDocument

METRICS: dict[str, Any] = {"collect": {"endpoint": True}}
ENTITIES: dict[str, list[Any]] = {
    "listeners": [
        {"id": "on", "name": "on", "address": "127.0.0.1", "port": 81, "metrics": METRICS},
        {"id": "off", "name": "off", "address": "127.0.0.1", "port": 82},
        {"id": "bad", "name": "bad", "port": 0, "metrics": {}},
    ],
    "routes": [
        {"id": "r1", "name": "one", "directResponse": {"status": 200}},
        {"id": "r2", "name": "two", "match": {"path": "/2"}, "directResponse": {"status": 200}},
        {"id": "r3", "name": "three", "match": {"path": "/3"}, "directResponse": {"status": 200}},
    ],
    "groups": [
        {"id": "g1", "name": "first", "routeIds": ["r1", "r2"]},
        {"id": "g2", "name": "second", "routeIds": ["r2", "gone"]},
    ],
    "destinations": [
        {"id": "d1", "name": "d1", "host": "a", "port": 1},
        {
            "id": "d2",
            "name": "d2",
            "host": "b",
            "port": 2,
            "endpoints": [{"host": "::1", "port": 3}, {"host": "c", "port": 4}],
        },
    ],
    "middlewares": [
        {"id": "m1", "name": "m", "type": "headers", "headers": {}},
        {"id": "m2", "name": "m", "type": "cors", "cors": {}},
    ],
}


def of_document(**entities: list[Any]) -> MetricsScope:
    document = SnapshotDocument.read(json.dumps(snapshot_document("s", **{**ENTITIES, **entities})).encode())
    document.close()
    return document.metrics_scope


def test_everything_a_snapshot_names() -> None:
    scope = of_document()
    assert [*scope.listeners] == [("on", "127.0.0.1:81")]
    assert {route_labels(key) for key in scope.routes} == {
        ("one", "first"),
        ("two", "first"),
        ("two", "second"),
        ("three", ""),
    }
    assert scope.destinations == {"d1", "d2"}
    assert scope.endpoints == {("d1", "a:1"), ("d2", "[::1]:3"), ("d2", "c:4")}
    assert {middleware_labels(key) for key in scope.middlewares} == {("m", "headers"), ("m", "cors")}


def test_a_worker_comes_to_the_same() -> None:
    async def compiled() -> MetricsScope:
        proxy = InProcessProxy()
        await proxy.data_plane.apply(snapshot_document("s", **ENTITIES))
        plan = proxy.data_plane._plan
        assert plan is not None
        await proxy.end()
        return plan.metrics_scope

    scope, expected = asyncio.run(compiled()), of_document()
    assert scope.listeners == expected.listeners
    assert scope.routes == expected.routes
    assert scope.destinations == expected.destinations
    assert scope.endpoints == expected.endpoints
    assert scope.middlewares == expected.middlewares


def test_nothing_is_read_when_nobody_wants_metrics() -> None:
    assert of_document(listeners=ENTITIES["listeners"][1:]) == MetricsScope.empty()


@pytest.mark.parametrize("collection", ["routes", "groups", "destinations", "middlewares"])
@pytest.mark.parametrize("broken", [None, 1, [], {}, {"id": 1, "name": "x"}, {"id": "x"}, {"id": "x", "name": "x"}])
def test_what_cannot_be_understood_is_left_out(collection: str, broken: Any) -> None:
    scope = of_document(**{collection: [*ENTITIES[collection], broken]})
    assert of_document().routes <= scope.routes
    assert of_document().endpoints == scope.endpoints
    assert of_document().middlewares == scope.middlewares


@pytest.mark.parametrize("route_ids", [None, "r1", {"r1": 1}, [1, None, ["r1"]]])
def test_a_group_that_names_its_routes_in_no_list(route_ids: Any) -> None:
    scope = of_document(groups=[{"id": "g", "name": "g", "routeIds": route_ids}])
    assert {route_labels(key)[1] for key in scope.routes} == {""}


def test_a_separator_within_a_name_makes_no_other_route_of_it() -> None:
    assert route_labels(route_key("a\0b", "c")) == ("a\ufffdb", "c")
