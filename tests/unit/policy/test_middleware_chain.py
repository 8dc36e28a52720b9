from __future__ import annotations

from typing import Any

from vrata.model import Route, RouteGroup
from vrata.policy.middleware_chain import middleware_chain


def route(**members: Any) -> Route:
    return Route.parse({"name": "r", "directResponse": {"status": 200}, **members})


def group(**members: Any) -> RouteGroup:
    return RouteGroup.parse({"name": "g", **members})


def test_those_of_the_group_come_first_and_each_once() -> None:
    chain = middleware_chain(route(middlewareIds=["c", "a", "d", "c"]), group(middlewareIds=["a", "b", "a"]))
    assert [(link.middleware_id, link.attached_by) for link in chain] == [
        ("a", "group"),
        ("b", "group"),
        ("c", "route"),
        ("d", "route"),
    ]


def test_the_override_of_the_route_replaces_that_of_the_group() -> None:
    overrides = {"a": {"disabled": True}, "b": {"skipWhen": ["true"]}, "elsewhere": {"disabled": True}}
    (a, b, c) = middleware_chain(
        route(middlewareIds=["c"], middlewareOverrides={"b": {"onlyWhen": ["false"]}}),
        group(middlewareIds=["a", "b"], middlewareOverrides=overrides),
    )
    assert a.overridden_by == "group"
    assert a.override is not None
    assert a.override.disabled
    assert b.overridden_by == "route"
    assert b.override is not None
    assert (b.override.skip_when, b.override.only_when) == ((), ("false",))
    assert (c.override, c.overridden_by) == (None, None)


def test_a_route_of_no_group_has_its_own() -> None:
    assert [link.middleware_id for link in middleware_chain(route(middlewareIds=["a"]), None)] == ["a"]
    assert middleware_chain(route(), None) == ()
