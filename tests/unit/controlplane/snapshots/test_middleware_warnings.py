"""Origins that no browser sends, and overrides without effect, are named when a snapshot is made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controlplane.snapshots.staging import group, middleware, route, staged
from vrata.controlplane import json_text
from vrata.controlplane.snapshots.entities import Entities
from vrata.controlplane.snapshots.middleware_warnings import middleware_warnings


def found_in(**collections: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    bodies = staged(**collections)
    entities = Entities({name: [json_text.parse(body) for body in found] for name, found in bodies.items()})
    return {(found.kind, found.path, found.reason) for found in middleware_warnings(entities)}


@pytest.mark.parametrize(
    ("value", "is_origin"),
    [
        ("https://shop.example", True),
        ("http://localhost:8080", True),
        ("http://[::1]:8080", True),
        ("chrome-extension://abc", True),
        ("*", True),
        ("null", True),
        ("shop.example", False),
        ("https://shop.example/", False),
        ("https://shop.example/path", False),
        ("https://Shop.example", False),
    ],
)
def test_origins(value: str, is_origin: bool) -> None:
    origins = [{"value": ".*", "regex": True}, {"value": value}]
    found = {path for _, path, _ in found_in(middlewares=[middleware(cors={"allowOrigins": origins})])}
    assert found == (set() if is_origin else {"cors.allowOrigins[1].value"})


def test_overrides_of_what_does_not_run() -> None:
    overrides = {"m1": {"disabled": True}}
    does_not = "has no effect: this {} does not run that middleware"
    alone = found_in(routes=[route(middlewareOverrides=overrides)], middlewares=[middleware()])
    assert alone == {("route", "middlewareOverrides.m1", does_not.format("route"))}
    runs = route(middlewareOverrides=overrides, middlewareIds=["m1"])
    assert found_in(routes=[runs], middlewares=[middleware()]) == set()
    # The middleware of either acts on the requests of both.
    overriding = group(middlewareOverrides=overrides)
    assert found_in(routes=[runs], groups=[overriding], middlewares=[middleware()]) == set()
    attached = group(middlewareIds=["m1"])
    overridden = route(middlewareOverrides=overrides)
    assert found_in(routes=[overridden], groups=[attached], middlewares=[middleware()]) == set()
    assert found_in(routes=[route()], groups=[overriding], middlewares=[middleware()]) == {
        ("group", "middlewareOverrides.m1", does_not.format("group"))
    }


def test_settings_of_another_type() -> None:
    overrides = {
        "m1": {"headers": {"requestHeadersToRemove": ["X-A"]}},
        "m2": {"extProc": {"allowOnError": True}, "python": {"settings": {}}},
    }
    settings = {"headers": {"requestHeadersToRemove": ["X-B"]}}
    middlewares = [middleware(), middleware(id="m2", name="edges", type="headers", **settings)]
    overridden = route(middlewareIds=["m1", "m2"], middlewareOverrides=overrides)
    assert found_in(routes=[overridden], middlewares=middlewares) == {
        ("route", "middlewareOverrides.m1.headers", "has no effect on a middleware of type cors"),
        ("route", "middlewareOverrides.m2.extProc", "has no effect on a middleware of type headers"),
        ("route", "middlewareOverrides.m2.python", "has no effect on a middleware of type headers"),
    }
