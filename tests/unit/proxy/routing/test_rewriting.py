"""Rewriting: what is replaced, what is kept as the client spelt it, and where the query goes."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.request_views import FakeRequest
from vrata.model.rewrite import Rewrite as RewriteEntity
from vrata.model.rewrite import RewriteRegex
from vrata.proxy.routing.candidate import Match
from vrata.proxy.routing.composition import GroupConditions, RouteConditions, compose
from vrata.proxy.routing.rewriting import PathReplacement, PathSubstitution, Rewrite, raw_offset
from vrata.proxy.routing.table import RouteTable


def decoded(target: str) -> str:
    return unquote_to_bytes(target.partition("?")[0]).decode("utf-8", "surrogateescape")


def rewritten(
    rewrite: dict[str, Any], target: str, route: dict[str, str] | None = None, group: dict[str, str] | None = None
) -> str:
    """Send *target* through a table with one route, and rewrite what matched."""
    conditions = compose(
        RouteConditions(**route or {}),  # type: ignore[arg-type]
        GroupConditions(**group) if group else None,  # type: ignore[arg-type]
    )
    path = decoded(target)
    match = RouteTable.of([(conditions, None)]).match(FakeRequest(path))
    assert match is not None
    return Rewrite(RewriteEntity.model_validate(rewrite)).target(target.encode(), path, match).decode()


@pytest.mark.parametrize(
    ("conditions", "text", "target", "expected"),
    [
        # the matched prefix goes, the remainder stays
        ({"path_prefix": "/api/v1"}, "/internal", "/api/v1/users", "/internal/users"),
        ({"path_prefix": "/api/v1"}, "/internal", "/api/v1", "/internal"),
        ({"path_prefix": "/api/v1"}, "/internal", "/api/v1/", "/internal/"),
        ({"path_prefix": "/api/v1"}, "/internal/", "/api/v1/users", "/internal/users"),
        ({"path_prefix": "/api/v1"}, "/internal/", "/api/v1", "/internal/"),
        ({"path_prefix": "/api/v1/"}, "/internal", "/api/v1/users", "/internal/users"),
        ({"path_prefix": "/api/v1/"}, "/internal", "/api/v1/", "/internal"),
        ({"path_prefix": "/api/v1"}, "/", "/api/v1/users", "/users"),
        ({"path_prefix": "/api/v1"}, "/", "/api/v1", "/"),
        ({"path_prefix": "/api/v1"}, "/", "/api/v1/", "/"),
        ({"path_prefix": "/"}, "/internal", "/users/7", "/internal/users/7"),
        ({"path_prefix": "/"}, "/", "/users", "/users"),
        ({}, "/internal", "/users", "/internal/users"),
        ({}, "/internal", "/", "/internal"),
        ({"path_prefix": "/api"}, "/internal", "/api//users//7", "/internal/users//7"),
        # of an exact path nothing remains
        ({"path": "/health"}, "/status/live", "/health", "/status/live"),
        ({"path": "/health"}, "/", "/health?full=1", "/?full=1"),
        # of an expression its span goes
        ({"path_regex": "/v[0-9]+"}, "/api", "/v12/users", "/api/users"),
        ({"path_regex": "/v[0-9]+"}, "/api", "/v12x/users", "/api/x/users"),
        ({"path_regex": "/v[0-9]+/.*"}, "/api", "/v12/users", "/api"),
        ({"path_regex": "/[^/]+"}, "/api", "/%C3%A9t%C3%A9/%C3%A9", "/api/%C3%A9"),
        # the query is kept
        ({"path_prefix": "/api"}, "/internal", "/api/x?a=1&b=%20", "/internal/x?a=1&b=%20"),
        ({"path_prefix": "/api"}, "/internal", "/api?", "/internal?"),
        ({"path_prefix": "/api"}, "/internal", "/api?a=/b?c", "/internal?a=/b?c"),
        # the client's spelling of the remainder is kept, and that of the matched part does not matter
        ({"path_prefix": "/api"}, "/internal", "/api/a%20b%2Fc/%e2%82%ac", "/internal/a%20b%2Fc/%e2%82%ac"),
        ({"path_prefix": "/api"}, "/internal", "/%61%70i/x%2525", "/internal/x%2525"),
        ({"path_prefix": "/api"}, "/internal", "/api%2Fx", "/internal/x"),
        ({"path_prefix": "/api"}, "/internal", "/api%2f%2Fx", "/internal/x"),
        ({"path_prefix": "/é"}, "/e", "/%C3%A9/%FF", "/e/%FF"),
        ({"path_prefix": "/a b"}, "/c", "/a%20b/d", "/c/d"),
        ({"path_prefix": "/a%b"}, "/c", "/a%b/%zz", "/c/%zz"),
        # what is configured is made fit for a path
        ({"path_prefix": "/api"}, "/new area/ü", "/api/x", "/new%20area/%C3%BC/x"),
        ({"path_prefix": "/api"}, "/a?b#c", "/api/x", "/a%3Fb%23c/x"),
        ({"path_prefix": "/api"}, "/a%2Fb", "/api/x", "/a%2Fb/x"),
    ],
)
def test_path(conditions: dict[str, str], text: str, target: str, expected: str) -> None:
    assert rewritten({"path": text}, target, conditions) == expected


@pytest.mark.parametrize(
    ("group", "route", "target", "expected"),
    [
        ({"path_prefix": "/api"}, {"path_prefix": "/v1"}, "/api/v1/users", "/internal/users"),
        ({"path_prefix": "/api"}, {"path_prefix": "/"}, "/api/users", "/internal/users"),
        ({"path_prefix": "/api"}, {"path": "/"}, "/api/", "/internal"),
        ({"path_prefix": "/api"}, {}, "/api/users", "/internal/users"),
        ({"path_prefix": "/api"}, {"path_regex": "/v[0-9]"}, "/api/v1/users", "/internal/users"),
        ({"path_regex": "/v[0-9]"}, {"path_prefix": "/users"}, "/v1/users/7", "/internal/7"),
        ({"path_regex": "/v[0-9]"}, {"path_prefix": "/users"}, "/v1/users", "/internal"),
        ({"path_regex": "/v[0-9]"}, {"path_prefix": "/users"}, "/v1/users/", "/internal/"),
        ({"path_regex": "/v[0-9]"}, {"path": "/users"}, "/v1/users", "/internal"),
        ({"path_regex": "/v[0-9]"}, {}, "/v1/users", "/internal/users"),
    ],
)
def test_path_in_a_group(group: dict[str, str], route: dict[str, str], target: str, expected: str) -> None:
    assert rewritten({"path": "/internal"}, target, route, group) == expected


@pytest.mark.parametrize(
    ("pattern", "substitution", "target", "expected"),
    [
        (r"^/users/([0-9]+)$", r"/people/\1", "/users/7", "/people/7"),
        (r"^/users/([0-9]+)$", "/people/$1", "/users/7", "/people/7"),
        (r"^/users/([0-9]+)$", "/people/${1}0", "/users/7", "/people/70"),
        (r"^/users/(?P<id>[0-9]+)$", "/people/${id}", "/users/7", "/people/7"),
        (r"^/(\w+)/(\w+)", r"/\2/\1", "/a/b/c", "/b/a/c"),
        (r"b", r"[\0]", "/a/b/b", "/a/%5Bb%5D/%5Bb%5D"),
        (r"^/a(/x)?", r"/b\1", "/a/y", "/b/y"),
        ("/old", "/new", "/old/x/old", "/new/x/new"),
        ("/old", "/new", "/other", "/other"),
        ("/old", "", "/x/old", "/x"),
        ("/old", "", "/old", "/"),
        ("^/old/", "", "/old/x", "/x"),
        ("^.*$", "/all", "/any/thing", "/all"),
        (".*", "/all", "/any/thing", "/all"),
        ("x*", "-", "/ab", "/-/-a-b-"),
        ("x*", "-", "/%C3%A9", "/-/-%C3%A9-"),
        # escapes of the substitution's own signs
        ("^/a", r"/\\b", "/a", "/%5Cb"),
        ("^/a", "/$$1", "/a", "/$1"),
        ("^/a", r"/\b$", "/a", "/%5Cb$"),
        # a query
        ("^/users/([0-9]+)$", r"/people?id=\1", "/users/7", "/people?id=7"),
        ("^/users/([0-9]+)$", r"/people?id=\1", "/users/7?a=1", "/people?id=7&a=1"),
        ("^/users/([0-9]+)$", r"/people?", "/users/7?a=1", "/people?a=1"),
        ("^/users/([0-9]+)$", r"/people?", "/users/7", "/people"),
        ("^/a", "/b?x=1", "/a/rest", "/b?x=1/rest"),
        ("^/a/(.*)", r"/b?x=\1?y=2", "/a/c?z", "/b?x=c?y=2&z"),
        ("nothing", "/b?x", "/a?q", "/a?q"),
        # the path is matched decoded, and what is kept of it keeps its spelling
        ("^/a b/", "/x/", "/a%20b/c%20d", "/x/c%20d"),
        ("^/(.*)/(.*)$", r"/\2/\1", "/a%2fb/%e2%82%ac", "/%e2%82%ac/a%2fb"),
        ("^/([^/]*)/(.*)$", r"/\2/\1", "/%20/b%3Fc", "/b%3Fc/%20"),
        ("^/é/", "/e/", "/%C3%A9/%C3%A9", "/e/%C3%A9"),
        ("%", "-", "/a%25b%zz", "/a-b-zz"),
        # in the query it cannot delimit parameters
        ("^/find/(.*)$", r"/search?q=\1&x", "/find/a&b=c;d+e%26f", "/search?q=a%26b%3Dc%3Bd%2Be%26f&x"),
        # what is configured is made fit for a path
        ("^/a", "/ü #", "/a", "/%C3%BC%20%23"),
        ("^/a", "/%2F", "/a", "/%2F"),
    ],
)
def test_path_regex(pattern: str, substitution: str, target: str, expected: str) -> None:
    rewrite = {"pathRegex": {"pattern": pattern, "substitution": substitution}}

    assert rewritten(rewrite, target) == expected


@pytest.mark.parametrize(
    ("pattern", "substitution", "message"),
    [
        ("(", "", r"forward\.rewrite\.pathRegex: invalid regular expression '\('"),
        ("(a)", r"\2", r"forward\.rewrite\.pathRegex: invalid substitution .* \\2 refers to a group"),
        ("(a)", "$10", r"\$10 refers to a group"),
        ("(a)", "${b}", r"\$\{b\} refers to a group"),
    ],
)
def test_what_cannot_be_compiled_is_refused(pattern: str, substitution: str, message: str) -> None:
    # The model refuses some of these itself; what reaches a proxy may come from another version.
    regex = RewriteRegex.model_construct(pattern=pattern, substitution=substitution)
    entity = RewriteEntity.model_construct(path_regex=regex)

    with pytest.raises(ValueError, match=message):
        Rewrite(entity)


def test_without_a_path_rewrite_the_target_is_untouched() -> None:
    assert rewritten({"host": "x"}, "/a%20b?c") == "/a%20b?c"


def test_a_target_without_a_path_is_untouched() -> None:
    rewrite = Rewrite(RewriteEntity.model_validate({"path": "/x"}))

    assert rewrite.target(b"*", "*", Match(None, 1)) == b"*"


@pytest.mark.parametrize(
    ("rewrite", "headers", "expected"),
    [
        ({}, {}, b"client.example:81"),
        ({"host": "fixed.example:82"}, {}, b"fixed.example:82"),
        ({"hostFromHeader": "X-Target"}, {"x-target": "tenant.example:83"}, b"tenant.example:83"),
        ({"hostFromHeader": "X-Target"}, {"x-target": "[::1]:83"}, b"[::1]:83"),
        ({"hostFromHeader": "X-Target"}, {}, b"client.example:81"),
        ({"hostFromHeader": "X-Target"}, {"x-target": ""}, b"client.example:81"),
        ({"hostFromHeader": "X-Target"}, {"x-target": "a b"}, b"client.example:81"),
        ({"hostFromHeader": "X-Target"}, {"x-target": "a/b"}, b"client.example:81"),
        ({"hostFromHeader": "X-Target"}, {"x-target": "user@b"}, b"client.example:81"),
        ({"hostFromHeader": "X-Target"}, {"x-target": "a\n"}, b"client.example:81"),
        ({"hostFromHeader": "X-Target"}, {"x-target": "é"}, b"client.example:81"),
        ({"autoHost": True}, {}, b"backend.internal"),
    ],
)
def test_host(rewrite: dict[str, Any], headers: dict[str, str], expected: bytes) -> None:
    settings = Rewrite(RewriteEntity.model_validate(rewrite))

    assert settings.authority(b"client.example:81", headers.get, "backend.internal") == expected


def test_an_ipv6_destination_is_bracketed_in_host() -> None:
    rewrite = Rewrite(RewriteEntity.model_validate({"autoHost": True}))

    assert rewrite.authority(b"", FakeRequest().header, "::1") == b"[::1]"


# What clients may send: escapes, also of slashes and of bytes that are no UTF-8, and escapes that are none.
RAW = st.lists(st.sampled_from([b"/", b"a", b"%20", b"%2F", b"%C3%A9", b"%FF", b"%", b"%4", b"%zz", b"?"]), max_size=12)


@given(RAW.map(b"".join), st.integers(0, 30))
def test_the_raw_offset_splits_the_path_where_the_decoded_one_is_split(raw: bytes, at: int) -> None:
    path = unquote_to_bytes(raw)
    at = min(at, len(path))
    split = raw_offset(raw, at)

    assert unquote_to_bytes(raw[:split]) == path[:at]
    assert unquote_to_bytes(raw[split:]) == path[at:]


@given(RAW.map(lambda parts: b"/api/" + b"".join(parts).replace(b"?", b"")))
def test_what_is_sent_decodes_to_what_the_decoded_path_would_become(raw: bytes) -> None:
    remainder = unquote_to_bytes(raw)[len(b"/api") :]

    sent = PathReplacement("/new").apply(raw, len(b"/api"))
    assert unquote_to_bytes(sent) == b"/new/" + remainder.lstrip(b"/")


@given(RAW.map(lambda parts: b"/" + b"".join(parts).replace(b"?", b"")))
def test_a_substitution_that_puts_back_what_it_takes_changes_nothing(raw: bytes) -> None:
    for pattern in ("^.*$", "[a-z/ ]", "é", "", "(?s:.)"):
        assert PathSubstitution(f"({pattern})", r"\1").apply(raw + b"?q") == raw + b"?q"


def test_the_cost_of_a_substitution_is_linear_in_the_path() -> None:
    raw = b"/" + b"%20a" * 2000

    assert PathSubstitution("a", "b").apply(raw) == raw.replace(b"a", b"b")
