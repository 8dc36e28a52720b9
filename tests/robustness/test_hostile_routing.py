"""Inputs that are made to keep routing busy: each look-up, and each refusal of an entity, takes bounded time.

The bounds are many times what is measured (docs/robustness.md has the figures), and a small part of what a backtracking
engine, or one quadratic loop, would take. The thread's processor time is measured: a busy machine does not count.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from time import thread_time

import pytest

from tests.support.brute_force_router import Configuration, WireRequest
from tests.support.compiled_routing import CompiledRouting, HeadView
from tests.support.gateway import Document, route
from vrata.model import InvalidEntity, Route
from vrata.wire.http1.grammar import MAX_REQUEST_LINE

LOOK_UP = 2.0
"""Seconds of a look-up that may be the worst of all."""
PLAIN_LOOK_UP = 0.02
"""Seconds of one without regular expressions."""
CREATION = 3.0
"""Seconds until an entity is refused."""

ROOM = MAX_REQUEST_LINE - len("OPTIONS  HTTP/1.1")
DICE = Random(7)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    start = thread_time()
    yield
    assert thread_time() - start < seconds


PATTERNS = {
    "nested quantifiers": "/(x+x+)+y",
    "nested stars": "/(?:(?:x*)*)*y",
    "overlapping branches": "/(x|xx|x?x)+$",
    "many stars": "/" + ".*x" * 200 + "y",
    "counted, nested": "/(?:(?:x?){30}x{30}){10}y",
    "counted far from the end": "/.*x.{300}$",
    "counted, as large as may be": "/[xy]*x" + "[xy]{1000}" * 2 + "$",
    "huge alternation": "/(?:" + "|".join(f"x{number}y" for number in range(700)) + ")+$",
    "lazy": "/(?:.*?x.*?)*?y$",
    "unicode classes": r"/(?:\pL|\pN)+y",
}
PATHS = {
    "one letter": "/" + "x" * (ROOM - 1),
    "two letters": "/" + "".join(DICE.choices("xy", k=ROOM - 1)),
    "slashes": "/" * ROOM,
    "segments": "/x" * (ROOM // 2),
    "percent signs": "/" + "%" * (ROOM - 1),
    "escapes": "/" + "%78" * (ROOM // 3 - 1),
    "no UTF-8": "/" + "%FF" * (ROOM // 3 - 1),
    "characters": "/" + "%C3%A9" * (ROOM // 6 - 1),
}


def routing(*matches: Document) -> CompiledRouting:
    routes = [route(f"r{number}", match, directResponse={"status": 200}) for number, match in enumerate(matches)]
    return CompiledRouting(Configuration(tuple(routes)))


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
def test_no_pattern_stalls_on_any_path(pattern: str) -> None:
    table = routing({"pathRegex": pattern}).table
    for path in PATHS.values():
        request = HeadView(WireRequest(path))
        with at_most(LOOK_UP):
            table.match(request)


def test_many_patterns_at_once() -> None:
    table = routing(*({"pathRegex": f"/.*x{number}.*y$"} for number in range(1000))).table
    for path in PATHS.values():
        for cut in (500, ROOM):  # sets of patterns are asked about short paths, every single one about long ones
            request = HeadView(WireRequest(path[:cut]))
            with at_most(LOOK_UP):
                table.match(request)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_paths_without_patterns(path: str) -> None:
    deep = [{"pathPrefix": "/x" * number} for number in range(1, 200)]
    slashes = [{"path": "/" * number} for number in range(1, 200)]
    table = routing(*deep, *slashes, {"pathPrefix": "/x", "methods": ["PUT"]}).table
    with at_most(PLAIN_LOOK_UP):
        request = HeadView(WireRequest(path))
        table.match(request)


@pytest.mark.parametrize("pattern", PATTERNS.values(), ids=PATTERNS)
@pytest.mark.parametrize("value", ["/" + "x" * 60_000, "/" + "xy" * 30_000, "/x" * 30_000])
def test_no_pattern_stalls_on_a_header(pattern: str, value: str) -> None:
    table = routing({"headers": [{"name": "x-v", "value": pattern[1:], "regex": True}]}).table
    request = HeadView(WireRequest("/", headers=(("X-V", value),)))
    with at_most(LOOK_UP * 5):
        table.match(request)


@pytest.mark.parametrize("host", ["a." * 30_000 + "test", "a" * 60_000, "." * 60_000, "[" + ":" * 60_000 + "]"])
def test_hosts(host: str) -> None:
    wild = {"hostnames": ["*." + "a." * number + "test" for number in range(120)]}
    whole = {"hostnames": [f"{number}.test" for number in range(1000)], "methods": ["GET"]}
    table = routing(wild, whole, {"hostnames": ["*.org", "*"], "methods": ["PUT"]}).table
    request = HeadView(WireRequest("/", host=host))
    with at_most(PLAIN_LOOK_UP):
        table.match(request)


@pytest.mark.parametrize("query", ["&" * 8000, "q&" * 4000, "q=%" * 2600, "%71=x" * 1600, "q=" + "x" * 8000])
def test_queries(query: str) -> None:
    wanted = [{"name": "q", "value": PATTERNS["nested quantifiers"], "regex": True}]
    table = routing({"queryParams": wanted}, {"queryParams": [{"name": f"p{number}"} for number in range(100)]}).table
    with at_most(LOOK_UP):
        table.match(HeadView(WireRequest(f"/?{query}")))


TOO_LARGE = {
    "too many instructions": (r"/(?:.*a.{300}){2}$", "compiles to 48"),
    "a repeated class of characters": (r"/\pL{0,1000}", "too large"),
    "repetitions side by side": ("a{1000}" * 500, "too large"),
    "optional ones": ("a{0,1000}" * 450, "too large"),
    "classes side by side": (r"(?i)" + r"\pL" * 1300, "too large"),
    "repetitions of repetitions": ("(?:(?:a{100}){100}){100}", "invalid repetition size"),
    "more than a thousand": ("/a{1001}", "invalid repetition size"),
    "long": ("/" + "a" * 4096, "longer than 4096 characters"),
    "longer": ("/" + "(a|b)*" * 1_000_000, "longer than 4096 characters"),
    "look-ahead": ("/(?=a)", "invalid perl operator"),
    "back-reference": (r"/(a)\1", "invalid escape sequence"),
}


@pytest.mark.parametrize(("pattern", "reason"), TOO_LARGE.values(), ids=TOO_LARGE)
@pytest.mark.parametrize(
    "member",
    ["match.pathRegex", "match.headers[0].value", "match.queryParams[0].value"],
    ids=["path", "header", "query"],
)
def test_a_pattern_that_would_cost_too_much_is_refused_at_creation(pattern: str, reason: str, member: str) -> None:
    value = {"name": "x", "value": pattern, "regex": True}
    match = {"pathRegex": pattern} if member == "match.pathRegex" else {member.split(".")[1][:-3]: [value]}
    with at_most(CREATION), pytest.raises(InvalidEntity) as refusal:
        Route.parse(route("r", match, directResponse={"status": 200}))
    assert f"{member}: is not a valid regular expression (RE2): " in str(refusal.value)
    assert reason in str(refusal.value)
    assert len(str(refusal.value)) < 5000


@pytest.mark.parametrize("member", ["path", "pathPrefix"])
def test_a_path_that_no_request_can_have_is_refused(member: str) -> None:
    Route.parse(route("r", {member: "/" * 8192}, directResponse={"status": 200}))
    with at_most(CREATION), pytest.raises(InvalidEntity, match=f"match.{member}: must not be longer than 8192"):
        Route.parse(route("r", {member: "/" * 1_000_000}, directResponse={"status": 200}))


def test_what_is_accepted_can_be_composed() -> None:
    """Group and route at their limits, and the longest path: no entry is left out, and each takes bounded time."""
    largest = "/(?:" + "|".join(f"x{number}y" for number in range(700)) + ")"
    path = "/" + "." * 8191
    groups: tuple[Document, ...] = (
        {"id": "regex", "name": "regex", "routeIds": ["regex", "path", "prefix"], "pathRegex": largest},
        {"id": "prefix", "name": "prefix", "routeIds": ["regex"], "pathPrefix": path},
    )
    routes = (
        route("regex", {"pathRegex": largest}, directResponse={"status": 200}),
        route("path", {"path": path}, directResponse={"status": 200}),
        route("prefix", {"pathPrefix": path}, directResponse={"status": 200}),
    )
    with at_most(CREATION):
        compiled = CompiledRouting(Configuration(routes, groups))
    assert len(compiled.table) == 4
    assert compiled.taken(WireRequest("/x7y/x699y")) == ("regex", "regex")
