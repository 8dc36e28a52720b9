"""Fields that cannot be edited are named when a snapshot is made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controlplane.snapshots.staging import group, middleware, route, staged
from vrata.controlplane import json_text
from vrata.controlplane.snapshots.entities import Entities
from vrata.controlplane.snapshots.header_warnings import header_warnings


def found_in(**collections: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
    bodies = staged(**collections)
    entities = Entities({name: [json_text.parse(body) for body in found] for name, found in bodies.items()})
    return {(found.kind, found.path, found.reason.partition(" ")[0]) for found in header_warnings(entities)}


def headers(**settings: Any) -> dict[str, Any]:
    return middleware(type="headers", headers=settings)


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Transfer-Encoding", "X-Forwarded-For", "TE", "X_Forwarded_For"]
)
def test_fields_of_requests_that_are_not_to_be_edited(name: str) -> None:
    add = [{"key": "X-Good", "value": "1"}, {"key": name, "value": "1"}]
    settings = headers(requestHeadersToAdd=add, requestHeadersToRemove=["X-Good", name])
    assert found_in(middlewares=[settings]) == {
        ("middleware", "headers.requestHeadersToAdd[1].key", name),
        ("middleware", "headers.requestHeadersToRemove[1]", name),
    }


def test_responses_have_other_ones() -> None:
    edits = [{"key": name, "value": "1"} for name in ("Server", "Date", "Host", "X-Forwarded-For", "Connection")]
    assert found_in(middlewares=[headers(responseHeadersToAdd=edits)]) == {
        ("middleware", "headers.responseHeadersToAdd[4].key", "Connection")
    }


def test_overrides_are_looked_at_as_well() -> None:
    override = {"m1": {"headers": {"requestHeadersToRemove": ["Host"]}}, "m2": {"disabled": True}}
    found = found_in(routes=[route(middlewareOverrides=override)], groups=[group(middlewareOverrides=override)])
    path = "middlewareOverrides.m1.headers.requestHeadersToRemove[0]"
    assert found == {("route", path, "Host"), ("group", path, "Host")}


def test_settings_of_another_type_do_not_count() -> None:
    other = middleware(headers={"requestHeadersToRemove": ["Host"]})
    assert other["type"] == "cors"
    assert found_in(middlewares=[other]) == set()
