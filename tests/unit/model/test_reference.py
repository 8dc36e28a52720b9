"""References to secrets: how they are recognised, and that rules about content wait for the resolved text."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.model.samples import MINIMAL, forwarding, middleware, with_member
from vrata.model import KINDS
from vrata.model.secret import REFERENCE, contains_reference


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{secret:value:id}}", [("value", "id")]),
        ("Bearer {{secret:env:TOKEN}}!", [("env", "TOKEN")]),
        ("{{secret:file:/run/secrets/a:b c}}", [("file", "/run/secrets/a:b c")]),
        ("{{secret:value:a}}{{secret:value:b}}", [("value", "a"), ("value", "b")]),
        ("{{secret:vault:x}}", [("vault", "x")]),
        ("{{secret:value:}}", [("value", "")]),
        ("{{secret:value}}", []),
        ("{{secret:value:a}", []),
        ("{secret:value:a}", []),
        ("{{ secret:value:a}}", []),
        ("plain", []),
    ],
)
def test_what_is_a_reference(text: str, found: list[tuple[str, str]]) -> None:
    assert [(match["source"], match["name"]) for match in REFERENCE.finditer(text)] == found
    assert contains_reference(text) is bool(found)


R = "{{secret:value:x}} ("


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("listener", with_member(MINIMAL["listener"], "address", R)),
        ("listener", with_member(MINIMAL["listener"], "metrics.path", R)),
        ("destination", with_member(MINIMAL["destination"], "host", R)),
        ("route", with_member(MINIMAL["route"], "match.pathRegex", R)),
        ("route", with_member(MINIMAL["route"], "match.cel", R)),
        ("route", with_member(MINIMAL["route"], "match.headers", [{"name": R, "value": R, "regex": True}])),
        ("route", forwarding(rewrite={"pathRegex": {"pattern": R}, "hostFromHeader": R})),
        ("route", {"name": R, "redirect": {"url": R}}),
        ("middleware", middleware("jwt", {"issuer": R, "jwksInline": R, "assertClaims": [R]})),
        ("middleware", middleware("rateLimit", {"trustedProxies": [R]})),
        ("middleware", middleware("rateLimit", {"key": {"cel": R}})),
        ("middleware", middleware("headers", {"requestHeadersToAdd": [{"key": "Authorization", "value": R}]})),
        ("middleware", middleware("inlineAuthz", {"rules": [{"cel": R, "action": "allow"}]})),
    ],
)
def test_a_text_with_a_reference_is_not_judged(kind: str, document: dict[str, Any]) -> None:
    entity = KINDS[kind].parse(document)
    assert KINDS[kind].parse(entity.document()) == entity
