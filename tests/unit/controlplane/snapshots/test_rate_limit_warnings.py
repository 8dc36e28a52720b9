"""Rate limits that do not do what they say are named when a snapshot is made."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.controlplane.snapshots.staging import group, middleware, route, staged
from vrata.controlplane import json_text
from vrata.controlplane.snapshots.entities import Entities
from vrata.controlplane.snapshots.rate_limit_warnings import rate_limit_warnings

CLAIM = {"key": {"claim": "sub"}}


def found_in(**collections: list[dict[str, Any]]) -> list[tuple[str, str]]:
    bodies = staged(**collections)
    entities = Entities({name: [json_text.parse(body) for body in found] for name, found in bodies.items()})
    return [(found.path, found.reason) for found in rate_limit_warnings(entities)]


def limit(**settings: Any) -> dict[str, Any]:
    return middleware(id="limit", type="rateLimit", rateLimit=settings)


def test_what_happens_without_a_store_that_is_not_used() -> None:
    (found,) = found_in(middlewares=[limit(onStoreFailure="deny")])
    assert found == ("rateLimit.onStoreFailure", 'has no effect unless store is "redis"')
    for settings in ({}, {"store": "redis"}, {"store": "redis", "onStoreFailure": "deny"}):
        assert found_in(middlewares=[limit(**settings)]) == []
    assert found_in(middlewares=[middleware(rateLimit={"onStoreFailure": "deny"})]) == []


@pytest.mark.parametrize(("rate", "is_doubtful"), [(0, True), (-1, True), (0.5, False), (10, False)])
def test_a_rate_of_nothing(rate: float, is_doubtful: bool) -> None:
    reason = "means the default of 10; to let nobody pass take a direct response or inlineAuthz"
    warned = [("rateLimit.requestsPerSecond", reason)] if is_doubtful else []
    assert found_in(middlewares=[limit(requestsPerSecond=rate)]) == warned


def test_claims_that_nobody_has_verified() -> None:
    jwt = middleware(id="jwt", type="jwt", jwt={"issuer": "i", "jwksInline": '{"keys":[]}'})
    warned = [("rateLimit.key.claim", 'route "all" (r1) has no jwt middleware before it, so requests are limited by')]

    def claims_in(**collections: list[dict[str, Any]]) -> list[tuple[str, str]]:
        found = found_in(middlewares=[limit(**CLAIM), jwt], **collections)
        return [(path, reason.removesuffix(" their client's address")) for path, reason in found]

    assert claims_in(routes=[route(middlewareIds=["jwt", "limit"])]) == []
    assert claims_in(routes=[route(middlewareIds=["jwt"])]) == []
    assert claims_in(routes=[route(middlewareIds=["limit", "jwt"])]) == warned
    assert claims_in(routes=[route(middlewareIds=["limit"])]) == warned
    inside = [route(middlewareIds=["limit"])]
    assert claims_in(routes=inside, groups=[group(routeIds=["r1", "gone"], middlewareIds=["jwt"])]) == []
    assert claims_in(routes=inside, groups=[group(routeIds=["r1"])]) == warned
    # A header needs nobody.
    header = limit(key={"header": "X-Key"})
    assert found_in(middlewares=[header], routes=[route(middlewareIds=["limit"])]) == []


def test_headers_that_keys_do_not_see() -> None:
    (found,) = found_in(middlewares=[limit(key={"header": "Host"})])
    assert found[0] == "rateLimit.key.header"
    assert found[1].endswith("by their client's address; the host is the cel key request.host")
    (found,) = found_in(middlewares=[limit(key={"header": "X-Forwarded-Proto"})])
    assert found[1].endswith("is no header that keys see, so requests are limited by their client's address")
