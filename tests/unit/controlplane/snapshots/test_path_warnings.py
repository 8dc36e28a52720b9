"""Guards that conditions skip by parts of paths, where nobody normalises these, are named when a snapshot is made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controlplane.snapshots.staging import group, middleware, route, staged
from vrata.controlplane import json_text
from vrata.controlplane.snapshots.entities import Entities
from vrata.controlplane.snapshots.path_warnings import path_warnings

GUARD: dict[str, Any] = {"inlineAuthz": {"rules": [{"cel": "true", "action": "deny"}]}}
PREFIX = "request.path.startsWith('/public/')"


def listener(name: str, **members: Any) -> dict[str, Any]:
    return {"id": name, "name": name, "port": 80, **members}


def found_in(**collections: list[dict[str, Any]]) -> list[tuple[str, str]]:
    bodies = staged(**collections)
    entities = Entities({name: [json_text.parse(body) for body in found] for name, found in bodies.items()})
    return [(found.kind, found.path) for found in path_warnings(entities)]


@pytest.mark.parametrize(
    ("condition", "is_doubtful"),
    [
        (PREFIX, True),
        ("!request.path.matches('^/admin')", True),
        ("request . path . contains('/x/')", True),
        (f"{PREFIX} && !request.path.contains('..')", False),
        ("request.path == '/status'", False),
        ("request.host.startsWith('a')", False),
    ],
)
def test_conditions(condition: str, is_doubtful: bool) -> None:
    entry = route(middlewareIds=["m1"], middlewareOverrides={"m1": {"skipWhen": ["false", condition]}})
    found = found_in(listeners=[listener("l")], routes=[entry], middlewares=[middleware(type="inlineAuthz", **GUARD)])
    assert found == ([("route", "middlewareOverrides.m1.skipWhen[1]")] if is_doubtful else [])


def test_only_where_it_matters() -> None:
    override = {"m1": {"onlyWhen": [PREFIX]}}
    members: dict[str, Any] = {
        "routes": [route()],
        "groups": [group(middlewareIds=["m1"], middlewareOverrides=override)],
    }
    guard, other = middleware(type="inlineAuthz", **GUARD), middleware(type="headers", headers={})
    plain, base = listener("a"), listener("b", pathNormalization="base")
    assert found_in(**members, listeners=[plain, base], middlewares=[guard]) == [
        ("group", "middlewareOverrides.m1.onlyWhen[0]")
    ]
    assert found_in(**members, listeners=[base], middlewares=[guard]) == []
    assert found_in(**members, listeners=[plain], middlewares=[other]) == []
