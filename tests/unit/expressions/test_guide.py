"""The examples of the guide are what it says: all true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.support.expressions import Certificate, ClaimsExample, RequestExample
from vrata.expressions import CLAIMS, compile_expression, json_object
from vrata.expressions.limits import BUDGET, DEEPEST_NESTING, DEEPEST_TREE, LONGEST_DYNAMIC_PATTERN, LONGEST_EXPRESSION

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "guide" / "expressions.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def lines(language: str) -> list[str]:
    return [line for block in blocks(language) for line in block.splitlines()]


def example() -> RequestExample:
    members = json.loads(blocks("json")[0])
    body = json.dumps(members["body"]).encode()
    return RequestExample(
        method=members["method"],
        path=members["path"],
        host=members["host"],
        scheme=members["scheme"],
        client_ip=members["clientIp"],
        headers=members["headers"],
        query=members["queryParams"],
        body=body,
        body_json=json_object(body),
        certificate=Certificate(uris=tuple(members["uris"]), subject=members["subject"]),
    )


@pytest.mark.parametrize("text", lines("cel"))
def test_an_example_on_the_request(text: str) -> None:
    assert compile_expression(text).evaluate(example()) is True


@pytest.mark.parametrize("text", lines("cel-claims"))
def test_an_example_on_claims(text: str) -> None:
    claims = json.loads(re.findall(r"^`(\{.*\})` at the time (\d+):$", GUIDE, re.MULTILINE)[0][0])
    assert compile_expression(text, CLAIMS).evaluate(ClaimsExample(claims, 1700)) is True


def test_there_are_examples() -> None:
    assert len(lines("cel")) > 20
    assert len(lines("cel-claims")) > 3


def test_the_limits() -> None:
    section = GUIDE[GUIDE.index("## Limits") :]
    for limit in (LONGEST_EXPRESSION, DEEPEST_NESTING, DEEPEST_TREE, BUDGET, LONGEST_DYNAMIC_PATTERN):
        assert f"| {limit:,}" in section
