"""The route table finds what asking every entry finds, on random configurations and requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any, TypeVar
from urllib.parse import quote

import re2
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.brute_force_router import (
    EXPRESSIONS,
    Configuration,
    Document,
    Entry,
    WireRequest,
    fits,
    joined_prefix,
    priority,
)
from tests.support.compiled_routing import CompiledRouting, HeadView
from tests.support.gateway import route
from vrata.model import Route, RouteGroup
from vrata.proxy.routing.candidate import encoded
from vrata.proxy.routing.composition import PathKind
from vrata.proxy.routing.entities import match_conditions

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
    "(?i)^/A|/B": "/B",
    r"/a\.b": "/a.b",
    "/v[0-9]/(?P<x>[a-z]*)": "/v1/a",
}
GROUP_REGEXES = {
    "/[a-z]+": "/ab",
    "/api": "/api",
    "^/v[0-9]": "/v1",
    "/api/": "/api",
    "/(?:a|b)": "/b",
    "/a|/b/": "/b",
    "/a$": "/a",
    "/a/b?": "/a/",
    "(?i:/A)": "/a",
    "/.*": "/x/y",
}
HOSTS = ["example.com", "a.example.com", "X.a.Example.com:80", ".example.com", "other.org.", "[::1]:8080", "[::2]"]
HOSTNAMES = ["example.com", "A.Example.com", "*.example.com", "*.a.example.com", "other.org.", "*", "::1"]
METHODS = [["GET"], ["post", "GET"], ["POST", "OPTIONS"]]
CONTENT_TYPES = ["application/grpc", "Application/gRPC-web", "text/plain"]
VALUES = ["", "1", "12", "x", "é"]
WANTED_VALUES = ["", "1", "x", "^[0-9]+$", "1*", "é"]


class Scenario:
    """A configuration and requests, all drawn from one seed: by far faster than drawing each part from hypothesis."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        paths = [self._route_path() for _ in range(self._random.randint(1, 3))]
        namespaces = [self._group_path() for _ in range(self._random.randint(1, 3))]
        names = [f"r{number}" for number in range(self._random.randint(1, 10))]
        self._random.shuffle(names)
        routes, groups, targets = [], [], [""]
        for name in names:
            path, fitting = self._random.choice(paths)
            routes.append(route(name, path | self._conditions(), directResponse={"status": 200}))
            targets.append(fitting)
        for number in range(self._random.choice([0, 1, 2, 4])):
            path, fitting = self._random.choice(namespaces)
            groups.append(self._group(f"g{number}", [*names, "gone"], path))
            targets += [fitting + target for target in self._some(targets, 3)]
            targets += [fitting.rstrip("/") + target for target in self._some(targets, 3)]
        self._random.shuffle(groups)
        self.configuration = Configuration(tuple(routes), tuple(groups))
        self.requests = [self._request(self._random.choice(targets)) for _ in range(20)]

    def _path(self) -> str:
        return "/" + "/".join(self._random.choices(SEGMENTS, k=self._random.randint(0, 3)))

    def _route_path(self) -> tuple[dict[str, Any], str]:
        """Draw the path of a match, and one that fits it."""
        kind = self._random.choice(["path", "pathPrefix", "pathRegex", ""])
        if kind == "pathRegex":
            regex, fitting = self._random.choice(list(ROUTE_REGEXES.items()))
            return {kind: regex}, fitting
        fitting = self._path()
        return ({kind: fitting}, fitting) if kind else ({}, "")

    def _group_path(self) -> tuple[dict[str, Any], str]:
        kind = self._random.choice(["pathPrefix", "pathRegex", ""])
        if kind == "pathRegex":
            regex, fitting = self._random.choice(list(GROUP_REGEXES.items()))
            return {kind: regex}, fitting
        fitting = self._path()
        return ({kind: fitting}, fitting) if kind else ({}, "")

    def _conditions(self) -> dict[str, Any]:
        drawn = {
            "methods": self._random.choice(METHODS),
            "hostnames": self._some(HOSTNAMES, 3),
            "headers": self._wanted(),
            "queryParams": self._wanted(),
            "grpc": True,
            "cel": self._random.choice(list(EXPRESSIONS)),
        }
        return {name: value for name, value in drawn.items() if self._random.random() < 0.25}

    def _group(self, name: str, routes: Sequence[str], path: dict[str, Any]) -> dict[str, Any]:
        group: dict[str, Any] = {"id": name, "name": name, "routeIds": self._some(routes, len(routes)), **path}
        if self._random.random() < 0.25:
            group["hostnames"] = self._some(HOSTNAMES, 3)
        if self._random.random() < 0.25:
            group["headers"] = self._wanted()
        return group

    def _request(self, path: str) -> WireRequest:
        path = self._random.choice(
            [path, path, path, path + "/", path + "/x", path + "x", path[:-1], self._path(), path + "\udcff", "*"]
        )
        headers = [(name, self._random.choice(VALUES)) for name in self._random.choices(["x-a", "X-B"], k=2)]
        if self._random.random() < 0.5:
            headers.append(("Content-Type", self._random.choice(CONTENT_TYPES)))
        query = "&".join(
            self._random.choice([name, f"{name}={quote(self._random.choice(VALUES))}"])
            for name in self._random.choices(["x-a", "X-B"], k=self._random.randint(0, 3))
        )
        method = self._random.choice(["GET", "GET", "GET", "POST", "get", "HEAD"])
        target = "*" if path == "*" else self._spelt(path if path.startswith("/") else "/" + path)
        return WireRequest(
            f"{target}?{query}" if query and path != "*" else target,
            "OPTIONS" if path == "*" else method,
            self._random.choice(HOSTS),
            tuple(self._some(headers, 3)),
        )

    def _spelt(self, path: str) -> str:
        """Encode what has to be, and now and then what need not be."""
        spelt = "/"
        for character in path[1:]:
            escaped = quote(character, safe="/", errors="surrogateescape")
            if len(escaped) == 1 and self._random.random() < 0.05:
                escaped = f"%{ord(character):02x}"
            spelt += escaped
        return spelt

    def _wanted(self) -> list[dict[str, Any]]:
        return [
            {"name": name, "value": self._random.choice(WANTED_VALUES), "regex": self._random.random() < 0.5}
            for name in self._some(["x-a", "X-B"], 2)
        ]

    def _some(self, values: Sequence[T], most: int) -> list[T]:
        return self._random.sample(values, self._random.randint(1, min(most, len(values))))


SCENARIOS = st.integers(0, 2**32 - 1).map(Scenario)


def disagree(configuration: Configuration, request: WireRequest) -> bool:
    return CompiledRouting(configuration).taken(request) != configuration.taken(request)


def smallest_disagreement(configuration: Configuration, request: WireRequest) -> Configuration:
    """Leave out entities as long as table and brute force still disagree."""
    fewer = [replace(configuration, routes=each) for each in all_but_one(configuration.routes)]
    fewer += [replace(configuration, groups=each) for each in all_but_one(configuration.groups)]
    for each in fewer:
        if disagree(each, request):
            return smallest_disagreement(each, request)
    return configuration


def all_but_one(documents: tuple[Document, ...]) -> list[tuple[Document, ...]]:
    return [documents[:at] + documents[at + 1 :] for at in range(len(documents))]


@settings(max_examples=600)
@given(SCENARIOS)
def test_the_table_and_the_brute_force_router_agree(scenario: Scenario) -> None:
    configuration = scenario.configuration
    routing = CompiledRouting(configuration)
    for request in scenario.requests:
        if routing.taken(request) != configuration.taken(request):
            least = smallest_disagreement(configuration, request)
            raise AssertionError(
                f"{request} in {least}: {CompiledRouting(least).taken(request)}, not {least.taken(request)}"
            )


@settings(max_examples=300)
@given(SCENARIOS)
def test_explaining_and_matching_agree(scenario: Scenario) -> None:
    table = CompiledRouting(scenario.configuration).table
    for request in scenario.requests:
        found = table.match(HeadView(request))
        verdicts = list(table.candidates(HeadView(request)))

        assert next((verdict.payload for verdict in verdicts if verdict.matches), None) is (
            found.payload if found is not None else None
        )
        explained = [id(verdict.payload) for verdict in verdicts]
        assert len(set(explained)) == len(explained)
        assert all(verdict.reason for verdict in verdicts if not verdict.matches)


@settings(max_examples=300)
@given(SCENARIOS)
def test_the_matched_part_is_the_path_the_prefix_or_the_span_of_the_expression(scenario: Scenario) -> None:
    configuration = scenario.configuration
    routing = CompiledRouting(configuration)
    entries = {entry.identity: entry for entry in configuration.entries}
    for request in scenario.requests:
        found = routing.match(request)
        if found is None:
            continue
        entry = entries[found.payload.group, found.payload.route_id]
        path = HeadView(request).path
        matched = encoded(path)[: found.end(path)]
        wanted = path_match_of(entry)
        if wanted.kind is PathKind.EXACT:
            assert matched == request.seen.path
        elif wanted.kind is PathKind.PREFIX:
            prefix = joined_prefix(entry.group.get("pathPrefix", ""), entry.match.get("pathPrefix", ""))
            assert matched == prefix.encode()
        else:
            span = re2.match(wanted.text.encode(), request.seen.path)
            assert span is not None
            assert matched == (span[0].removesuffix(b"/") if wanted.boundary else span[0])


def path_match_of(entry: Entry) -> Any:
    group = RouteGroup.parse(dict(entry.group)) if entry.group else None
    return match_conditions(Route.parse(dict(entry.route)), group).path


def test_the_scenarios_reach_every_feature() -> None:
    """Each kind of composition wins, and each key of the priority decides between entries, often enough."""
    seen: Counter[str] = Counter()
    for seed in range(400):
        scenario = Scenario(seed)
        for request in scenario.requests:
            ranked = sorted(
                (priority(entry, request.seen), at)
                for at, entry in enumerate(scenario.configuration.entries)
                if fits(entry, request.seen)
            )
            if not ranked:
                seen["nothing fits"] += 1
                continue
            entry = scenario.configuration.entries[ranked[0][1]]
            seen[f"{path_kind(entry.group)} x {path_kind(entry.match)}"] += 1
            host_class = priority(entry, request.seen)[2][0]
            seen[f"host: {('whole', 'wildcard', 'any', 'none')[host_class]}"] += 1
            if "%" in request.target:
                seen["encoded"] += 1
            if len(ranked) > 1:
                keys = zip([*ranked[0][0], 0], [*ranked[1][0], 1], strict=True)
                seen[f"decided by {KEYS[next(at for at, (one, other) in enumerate(keys) if one != other)]}"] += 1
    expected = {"nothing fits", "encoded"}
    expected |= {f"host: {each}" for each in ("whole", "wildcard", "any", "none")}
    expected |= {f"decided by {key}" for key in KEYS}
    for outer in ("none", "pathPrefix", "pathRegex"):
        expected |= {f"{outer} x {own}" for own in ("none", "path", "pathPrefix", "pathRegex")}
    assert {name: count for name, count in seen.items() if count < 10} == {}
    assert seen.keys() == expected


KEYS = ("kind", "length", "hostname", "headers", "parameters", "methods", "grpc", "expression", "build order")


def path_kind(document: Document) -> str:
    return next((kind for kind in ("path", "pathPrefix", "pathRegex") if document.get(kind)), "none")
