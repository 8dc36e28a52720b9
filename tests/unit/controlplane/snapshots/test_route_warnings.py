"""Routes that nobody comes to are named when a snapshot is made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controlplane.snapshots.staging import group, route, staged
from vrata.controlplane import json_text
from vrata.controlplane.snapshots.entities import Entities
from vrata.controlplane.snapshots.route_warnings import route_warnings


def found_in(**collections: list[dict[str, Any]]) -> dict[str, str]:
    bodies = staged(**collections)
    entities = Entities({name: [json_text.parse(body) for body in found] for name, found in bodies.items()})
    return {found.id: found.reason for found in route_warnings(entities)}


def two(first: dict[str, Any] | None, second: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The later one by ID comes first in the list."""
    stated = {"r2": second, "r1": first}
    return [route(id=each, name=each, **({"match": match} if match else {})) for each, match in stated.items()]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"pathPrefix": "/"}, {"pathPrefix": "/"}),
        (None, {"pathPrefix": "/"}),
        ({"path": "/a", "methods": ["GET", "PUT"]}, {"methods": ["put", "GET"], "path": "/a"}),
        ({"hostnames": ["a.example", "b.example"]}, {"hostnames": ["b.example", "a.example"]}),
        ({"cel": "true", "grpc": True}, {"cel": "true", "grpc": True}),
    ],
)
def test_the_second_of_two_equal_ones(first: dict[str, Any] | None, second: dict[str, Any]) -> None:
    reason = 'no request comes here: route "r1" (r1) has the same match and wins by its ID'
    assert found_in(routes=two(first, second)) == {"r2": reason}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"pathPrefix": "/a"}, {"path": "/a"}),
        ({"pathPrefix": "/a"}, {"pathPrefix": "/a", "methods": ["GET"]}),
        ({"headers": [{"name": "x", "value": "1"}]}, {"headers": [{"name": "x", "value": "1", "regex": True}]}),
    ],
)
def test_different_ones_are_not_compared(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert found_in(routes=two(first, second)) == {}


def test_within_a_group_its_order_decides() -> None:
    routes = two({"path": "/a"}, {"path": "/a"})
    assert found_in(routes=routes, groups=[group(routeIds=["r2", "r1"])]) == {
        "r1": 'no request comes here: route "r2" (r2) has the same match and comes first in group "api" (g1)'
    }


def test_groups_part_routes() -> None:
    routes = two({"path": "/a"}, {"path": "/a"})
    assert found_in(routes=routes, groups=[group(routeIds=["r1", "gone"])]) == {}
    assert found_in(routes=routes, groups=[group(routeIds=["r1"]), group(id="g2", routeIds=["r2"])]) == {}
