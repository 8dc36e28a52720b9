"""From entities as they are written to conditions."""

from __future__ import annotations

from typing import Any

from vrata.model.group import RouteGroup
from vrata.model.route import Route
from vrata.proxy.routing.composition import MatchConditions, PathKind, PathMatch, ValueMatch
from vrata.proxy.routing.entities import match_conditions


def route(match: dict[str, Any]) -> Route:
    return Route.parse({"id": "r", "name": "r", "match": match, "directResponse": {"status": 200}})


def test_every_condition_of_route_and_group_arrives() -> None:
    written = route(
        {
            "pathPrefix": "/users",
            "methods": ["get", "POST"],
            "hostnames": ["Example.com"],
            "headers": [{"name": "X-User", "value": "b.*", "regex": True}, {"name": "x-any"}],
            "queryParams": [{"name": "q", "value": "1"}],
            "grpc": True,
        }
    )
    group = RouteGroup.parse(
        {
            "id": "g",
            "name": "g",
            "routeIds": ["r"],
            "pathPrefix": "/api",
            "hostnames": ["api.example.com"],
            "headers": [{"name": "x-tenant", "value": "1"}],
        }
    )

    assert match_conditions(written, group) == MatchConditions(
        PathMatch(PathKind.PREFIX, "/api/users"),
        ("GET", "POST"),
        ("api.example.com", "Example.com"),
        (ValueMatch("X-User", "b.*", True), ValueMatch("x-any"), ValueMatch("x-tenant", "1")),
        (ValueMatch("q", "1"),),
        True,
    )


def test_the_three_kinds_of_path() -> None:
    assert match_conditions(route({"path": "/a"})).path == PathMatch(PathKind.EXACT, "/a")
    expected = PathMatch(PathKind.REGEX, "^(?:/a)", literal="/a", length=2)
    assert match_conditions(route({"pathRegex": "/a"})).path == expected
    assert match_conditions(route({})) == MatchConditions()


def test_a_groups_expression_arrives() -> None:
    group = RouteGroup.parse({"id": "g", "name": "g", "routeIds": [], "pathRegex": "/v[0-9]"})

    assert match_conditions(route({"path": "/a"}), group).path.text == "^(?:/v[0-9])/a$"
