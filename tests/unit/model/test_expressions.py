"""Expressions of entities are judged whole, each against what it will see."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.model.samples import MINIMAL, middleware, with_member
from tests.unit.model.wording import problems
from vrata.model import KINDS

KEYS = {"issuer": "i", "jwksInline": '{"keys":[]}'}
NO_CEL = "is not a valid CEL expression: line 1, column"


def overriding(**override: Any) -> dict[str, Any]:
    return with_member(MINIMAL["route"], "middlewareOverrides", {"m": override})


@pytest.mark.parametrize(
    ("kind", "document", "reason"),
    [
        ("route", with_member(MINIMAL["route"], "match.cel", "claims.a == 1"), '1: unknown variable "claims"'),
        ("route", with_member(MINIMAL["route"], "match.cel", "request.nope == 1"), "9: request has no field"),
        (
            "route",
            with_member(MINIMAL["route"], "match.cel", "request.path > 1"),
            "14: no operator > for string and int",
        ),
        ("route", with_member(MINIMAL["route"], "match.cel", "request.path"), "9: a bool is needed here, got string"),
        ("route", with_member(MINIMAL["route"], "match.cel", "request.path.matches('(')"), "22: invalid regular"),
        ("route", overriding(skipWhen=["now > 1"]), '1: unknown variable "now"'),
        ("route", overriding(onlyWhen=["request.method"]), "9: a bool is needed here, got string"),
        (
            "middleware",
            middleware("inlineAuthz", {"rules": [{"cel": "1", "action": "deny"}]}),
            "1: a bool is needed here",
        ),
        (
            "middleware",
            middleware("jwt", {**KEYS, "assertClaims": ["request.path == ''"]}),
            '1: unknown variable "request"',
        ),
        ("middleware", middleware("jwt", {**KEYS, "assertClaims": ["now"]}), "1: a bool is needed here, got int"),
        (
            "middleware",
            middleware("jwt", {**KEYS, "claimToHeaders": [{"expr": "claim.sub", "header": "X"}]}),
            '1: unknown variable "claim"',
        ),
    ],
)
def test_a_refusal(kind: str, document: dict[str, Any], reason: str) -> None:
    assert f"{NO_CEL} {reason}" in problems(kind, document)


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("route", with_member(MINIMAL["route"], "match.cel", "request.body.json.flag")),
        ("route", overriding(skipWhen=["has(request.tls)", "'a' in request.headers"])),
        ("middleware", middleware("jwt", {**KEYS, "assertClaims": ["claims.exp > now", "claims.ok"]})),
        ("middleware", middleware("jwt", {**KEYS, "claimToHeaders": [{"expr": "claims.a.join(',')", "header": "X"}]})),
        ("middleware", middleware("jwt", {**KEYS, "claimToHeaders": [{"expr": "now + 1", "header": "X"}]})),
    ],
)
def test_what_passes(kind: str, document: dict[str, Any]) -> None:
    entity = KINDS[kind].parse(document)
    assert KINDS[kind].parse(entity.document()) == entity
