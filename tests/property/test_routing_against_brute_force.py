"""The route table finds what asking every entry finds, on random configurations and requests."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.brute_force_router import Entry, first_match, prefixes
from tests.support.request_views import FakeRequest
from vrata.proxy.routing.candidate import encoded
from vrata.proxy.routing.composition import GroupConditions, PathKind, RouteConditions, ValueMatch, compose
from vrata.proxy.routing.table import RouteTable

T = TypeVar("T")

# Few words, and requests made of what is configured, so that entries meet requests and each other often.
SEGMENTS = ["a", "b", "api", "v1", "é", ""]
ROUTE_REGEXES = {  # with a path that each matches
    "/[a-z]+": "/ab",
    "/[ab]+": "/ab",
    "/api": "/api",
    "^/a": "/a",
    "/a$": "/a",
    "/.*": "/x/y",
    "/(a|b)$": "/b",
    "/a|/b": "/b",
    "^/a|^/api/b": "/api/b",
    "/a?": "/",
    "/a/b?": "/a/",
    "/a{0,1}/b": "//b",
    "/ap*i/[a-z]": "/ai/x",
    "/api/[^/]+": "/api/é",
    "/é/?": "/é",
    "[a-z]+": "x",
    "(?i:/API)": "/aPi",
    r"/a\.b": "/a.b",
    "/v[0-9]/(?P<x>[a-z]*)": "/v1/a",
}
GROUP_REGEXES = {
    "/[a-z]+": "/ab",
    "/api": "/api",
    "^/v[0-9]": "/v1",
    "/api/": "/api",
    "/(?:a|b)": "/b",
    "/a$": "/a",
    "/a/b?": "/a/",
    "(?i:/A)": "/a",
    "/.*": "/x/y",
}
HOSTS = ["example.com", "a.example.com", "x.a.example.com", ".example.com", "other.org", "[::1]", ""]
HOSTNAMES = ["example.com", "A.Example.com", "*.example.com", "*.a.example.com", "other.org.", "*", "[::1]"]
VALUES = ["", "1", "12", "x"]
WANTED_VALUES = ["", "1", "x", "^[0-9]+$", "1*"]


class Scenario:
    """Entries and requests, all drawn from one seed: by far faster than drawing each part from hypothesis."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        places = [self._place() for _ in range(self._random.randint(1, 4))]
        self.entries = [self._entry(*self._random.choice(places)[:2]) for _ in range(self._random.randint(1, 10))]
        self.requests = [self._request(self._random.choice(places)[2]) for _ in range(20)]

    def _path(self) -> str:
        return "/" + "/".join(self._random.choices(SEGMENTS, k=self._random.randint(0, 3)))

    def _place(self) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
        """Draw a route's path, a group's, and a path that fits both, if slashes were no matter."""
        group: dict[str, Any] | None = None
        fitting = ""
        match self._random.choice(["none", "prefix", "regex", "empty"]):
            case "prefix":
                fitting = self._path()
                group = {"path_prefix": fitting}
            case "regex":
                regex, fitting = self._random.choice(list(GROUP_REGEXES.items()))
                group = {"path_regex": regex}
            case "empty":
                group = {}
        kind = self._random.choice(["path", "path_prefix", "path_regex", ""])
        if kind == "path_regex":
            regex, own = self._random.choice(list(ROUTE_REGEXES.items()))
            return {kind: regex}, group, fitting.rstrip("/") + own
        if not kind:
            return {}, group, fitting
        own = self._path()
        return {kind: own}, group, fitting.rstrip("/") + own

    def _entry(self, route: dict[str, Any], group: dict[str, Any] | None) -> Entry:
        return Entry(
            RouteConditions(
                **route,
                methods=self._seldom(lambda: self._random.choice([("GET",), ("post", "GET")])),
                hostnames=self._seldom(lambda: self._some(HOSTNAMES, 3)),
                headers=self._seldom(self._value_matches),
                query_parameters=self._seldom(self._value_matches),
                grpc=self._random.random() < 0.15,
            ),
            None
            if group is None
            else GroupConditions(
                **group,
                hostnames=self._seldom(lambda: self._some(HOSTNAMES, 3)),
                headers=self._seldom(self._value_matches),
            ),
        )

    def _request(self, path: str) -> FakeRequest:
        path = self._random.choice(
            [path, path, path, path + "/", path + "/x", path + "x", path[:-1], self._path(), "*"]
        )
        headers = {name: self._random.choice(VALUES) for name in self._some(["x-a", "x-b"], 2)}
        if self._random.random() < 0.5:
            headers["content-type"] = self._random.choice(["application/grpc", "Application/gRPC-web", "text/plain"])
        return FakeRequest(
            path,
            method=self._random.choice(["GET", "GET", "GET", "POST", "get"]),
            host=self._random.choice(HOSTS),
            headers=headers,
            query={name: self._random.choice(VALUES) for name in self._some(["x-a", "X-B"], 2)},
        )

    def _value_matches(self) -> tuple[ValueMatch, ...]:
        return tuple(
            ValueMatch(name, self._random.choice(WANTED_VALUES), self._random.random() < 0.5)
            for name in self._some(["x-a", "X-B"], 2)
        )

    def _seldom(self, draw: Callable[[], tuple[T, ...]]) -> tuple[T, ...]:
        return draw() if self._random.random() < 0.25 else ()

    def _some(self, values: Sequence[T], most: int) -> tuple[T, ...]:
        return tuple(self._random.sample(values, self._random.randint(1, most)))


SCENARIOS = st.integers(0, 2**32 - 1).map(Scenario)


def table_of(entries: list[Entry]) -> RouteTable[int]:
    return RouteTable.of((compose(entry.route, entry.group), position) for position, entry in enumerate(entries))


def found_in(entries: list[Entry], request: FakeRequest) -> int | None:
    found = table_of(entries).match(request)
    return found.payload if found is not None else None


def smallest_disagreement(entries: list[Entry], request: FakeRequest) -> list[Entry]:
    """Leave out entries as long as table and brute force still disagree."""
    for at in range(len(entries)):
        fewer = entries[:at] + entries[at + 1 :]
        if found_in(fewer, request) != first_match(fewer, request):
            return smallest_disagreement(fewer, request)
    return entries


@settings(max_examples=1000, deadline=None)
@given(SCENARIOS)
def test_the_table_and_the_brute_force_router_agree(scenario: Scenario) -> None:
    entries = scenario.entries
    table = table_of(entries)
    for request in scenario.requests:
        found = table.match(request)
        if (found.payload if found is not None else None) != first_match(entries, request):
            entries = smallest_disagreement(entries, request)
            raise AssertionError(
                f"{request} in {entries}: {found_in(entries, request)}, not {first_match(entries, request)}"
            )


@settings(max_examples=500, deadline=None)
@given(SCENARIOS)
def test_explaining_and_matching_agree(scenario: Scenario) -> None:
    entries = scenario.entries
    table = table_of(entries)
    for request in scenario.requests:
        found = table.match(request)
        verdicts = list(table.candidates(request))

        assert next((verdict.payload for verdict in verdicts if verdict.matches), None) == (
            found.payload if found is not None else None
        )
        explained = [verdict.payload for verdict in verdicts]
        assert len(set(explained)) == len(explained)
        assert all(verdict.reason for verdict in verdicts if not verdict.matches)


@settings(max_examples=500, deadline=None)
@given(SCENARIOS)
def test_the_matched_part_is_the_path_the_prefix_or_the_span_of_the_expression(scenario: Scenario) -> None:
    entries = scenario.entries
    table = table_of(entries)
    for request in scenario.requests:
        found = table.match(request)
        if found is None:
            continue
        entry = entries[found.payload]
        path = compose(entry.route, entry.group).path
        matched = encoded(request.path)[: found.end(request.path)].decode()
        if path.kind is PathKind.EXACT:
            assert matched == request.path
        elif path.kind is PathKind.PREFIX:
            assert matched in prefixes(entry)
        else:
            span = re.match(path.text, request.path)
            assert span is not None
            assert matched == (span[0].removesuffix("/") if path.boundary else span[0])
