"""Syntax of expressions: what passes, and where the others go wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrata.expressions import LONGEST_EXPRESSION, ExpressionError, Position, check


@pytest.mark.parametrize(
    "text",
    [
        "true",
        'request.path.startsWith("/api") && "admin" in request.headers["x-role"] && request.method != "DELETE"',
        'has(request.tls) && request.tls.peerCertificate.uris.exists(u, u.startsWith("spiffe://"))',
        "claims.exp > now",
        "claims.roles.join(',')",
        "size(request.body.raw) < 100 ? true : false",
        "[1, 2u, 0x10, 1.5e3, -1].all(n, n > 0)",
        '{"a": 1}.a == 1',
        "r'\\d+' == b'x'",
        "timestamp('2024-01-01T00:00:00Z').getFullYear() == 2024",
        "true // said at the end",
        "\n  true\n",
    ],
)
def test_an_expression(text: str) -> None:
    check(text)


@pytest.mark.parametrize(
    ("text", "line", "column", "reason"),
    [
        ("", 1, 1, "the expression is empty"),
        (" \n ", 1, 1, "the expression is empty"),
        ("a b", 1, 3, 'unexpected "b"'),
        ("a &&", 1, 5, "the expression ends too early"),
        ("a &&\n  (b ||  ", 2, 8, "the expression ends too early"),
        ("a ==\n == b", 2, 2, 'unexpected "=="'),
        ("a & b", 1, 3, "unexpected character '&'"),
        ('a == "b', 1, 6, "the string is not closed"),
        ("a = 1", 1, 3, "unexpected character '='"),
        ("f(a", 1, 4, "the expression ends too early"),
        ("a)", 1, 2, 'unexpected ")"'),
        ("x" * (LONGEST_EXPRESSION + 1), 1, 1, "the expression has 16385 characters, at most 16384 are allowed"),
    ],
)
def test_where_a_text_goes_wrong(text: str, line: int, column: int, reason: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        check(text)
    assert refused.value.position == Position(line, column)
    assert refused.value.reason == reason
    assert str(refused.value) == f"line {line}, column {column}: {reason}"


def test_a_deeply_nested_expression_does_not_exhaust_the_stack() -> None:
    check("(" * 5000 + "a" + ")" * 5000)
    with pytest.raises(ExpressionError):
        check("[" * 5000)


@settings(deadline=None)
@given(st.text("ab.(\"')[]{}&|=!<>?:,+-*/%0123 \n\\true", max_size=20) | st.text(max_size=6))
def test_any_text_is_an_expression_or_refused_within_it(text: str) -> None:
    position = refusal(text)
    if position is not None:
        lines = text.split("\n")
        assert 1 <= position.line <= len(lines)
        assert 1 <= position.column <= len(lines[position.line - 1]) + 1


def refusal(text: str) -> Position | None:
    try:
        check(text)
    except ExpressionError as error:
        return error.position
    return None
