"""Whose pages may read answers, and what they are told."""

from __future__ import annotations

from typing import Any

import pytest

from vrata.model.middleware.cors import Cors
from vrata.policy.cors import CorsPolicy, varies_by_origin


def policy(*origins: str, patterns: tuple[str, ...] = (), **members: Any) -> CorsPolicy:
    allowed: list[dict[str, Any]] = [{"value": value} for value in origins]
    allowed += [{"value": pattern, "regex": True} for pattern in patterns]
    return CorsPolicy(Cors.model_validate({"allowOrigins": allowed, **members}))


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.example.com", True),
        ("https://a.example.org", True),
        ("http://localhost:8080", True),
        ("https://app.example.com.evil.test", False),
        ("https://evil.test/https://a.example.org", False),
        ("xhttps://a.example.org", False),
        ("https://a.example.org\nhttps://evil.test", False),
        ("https://a.b.example.org", False),
        ("http://app.example.com", False),
        ("https://app.example.com:444", False),
        ("null", False),
        ("", False),
        ("https://\udcff.example.org", False),
    ],
)
def test_allows_exact_origins_and_whole_matches(origin: str, allowed: bool) -> None:
    cors = policy("https://app.example.com", patterns=(r"https://[a-z]+\.example\.org", r"http://localhost(:\d+)?"))
    assert cors.allows(origin) is allowed


def test_alternatives_of_a_pattern_are_anchored_each() -> None:
    cors = policy(patterns=(r"https://a\.test|https://b\.test",))
    assert cors.allows("https://a.test")
    assert cors.allows("https://b.test")
    assert not cors.allows("https://a.test.evil.test")
    assert not cors.allows("evil:https://b.test")


def test_nobody_is_allowed_where_nobody_is_named() -> None:
    assert not policy().allows("https://a.test")


@pytest.mark.parametrize("origin", ["https://a.test", "null"])
def test_any_origin_gets_the_same_answer(origin: str) -> None:
    cors = policy("*", "https://a.test")
    assert cors.allows_any
    assert cors.allows(origin)
    assert cors.answer_lines(origin) == b"access-control-allow-origin: *\r\n"


def test_a_pattern_that_is_a_star_is_no_wildcard() -> None:
    cors = policy(patterns=(".*",))
    assert not cors.allows_any
    assert cors.answer_lines("https://a.test") == b"access-control-allow-origin: https://a.test\r\n"


def test_an_answer_tells_what_pages_may_read() -> None:
    cors = policy(
        "https://a.test", exposeHeaders=["X-A", "X-B"], allowCredentials=True, allowMethods=["PUT"], maxAge=60
    )
    assert cors.answer_lines("https://a.test") == (
        b"access-control-allow-origin: https://a.test\r\n"
        b"access-control-allow-credentials: true\r\n"
        b"access-control-expose-headers: X-A, X-B\r\n"
    )


def test_a_preflight_is_told_what_may_be_sent() -> None:
    cors = policy(
        "https://a.test",
        allowCredentials=True,
        maxAge=600,
        allowMethods=["GET", "PUT"],
        allowHeaders=["X-A", "Content-Type"],
        exposeHeaders=["X-B"],
    )
    assert cors.preflight_lines("https://a.test") == (
        b"access-control-allow-origin: https://a.test\r\n"
        b"access-control-allow-credentials: true\r\n"
        b"access-control-allow-methods: GET, PUT\r\n"
        b"access-control-allow-headers: X-A, Content-Type\r\n"
        b"access-control-max-age: 600\r\n"
    )


def test_what_is_not_configured_is_not_told() -> None:
    assert policy("https://a.test").preflight_lines("https://a.test") == (
        b"access-control-allow-origin: https://a.test\r\n"
    )


@pytest.mark.parametrize(
    ("values", "varies"),
    [
        ([], False),
        ([b"Accept-Encoding"], False),
        ([b"Accept, origin"], True),
        ([b"Accept", b" ORIGIN\t"], True),
        ([b"*"], True),
        ([b"x-origin"], False),
    ],
)
def test_knows_when_an_answer_already_varies(values: list[bytes], varies: bool) -> None:
    assert varies_by_origin(values) is varies
