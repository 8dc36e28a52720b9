"""Expressions as conditions: asked last, never sure of anything that they cannot see."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.request_views import FakeRequest
from vrata.expressions import Expression, InvalidExpression, compile_expression
from vrata.model.route import Route
from vrata.proxy.contracts import BodyNeeded
from vrata.proxy.routing.composition import (
    GroupConditions,
    MatchConditions,
    PathKind,
    PathMatch,
    RouteConditions,
    ValueMatch,
    compose,
)
from vrata.proxy.routing.entities import match_conditions
from vrata.proxy.routing.table import RouteTable, RouteTableBuilder

EXACT = PathMatch(PathKind.EXACT, "/a")
PREFIX = PathMatch(PathKind.PREFIX, "/a")
BODY = "request.body.json.n == 1"


def found(request: FakeRequest, *conditions: MatchConditions) -> int | None:
    match = RouteTable.of((each, at) for at, each in enumerate(conditions)).match(request)
    return match.payload if match is not None else None


def wanting(cel: str, path: PathMatch = PREFIX, **others: Any) -> MatchConditions:
    return MatchConditions(path, cel=cel, **others)


@pytest.mark.parametrize(
    ("cel", "holds"),
    [
        ("true", True),
        ("request.method == 'GET'", True),
        ("request.method == 'PUT'", False),
        ("request.headers['x-user'].startsWith('b')", True),
        ("request.headers['x-none'].startsWith('b')", False),  # an error
        ("!(request.headers['x-none'] == 'b')", False),  # an error still
        ("request.queryParams.page == '2'", True),
        ("request.body.json.flag", False),  # no bool, but a list
        ("request.body.json.other", True),
        ("has(request.tls)", False),
        ("request.clientIp == '192.0.2.1' && request.scheme == 'http'", True),
    ],
)
def test_only_what_is_true_matches(cel: str, holds: bool) -> None:
    request = FakeRequest("/a", headers={"x-user": "bob"}, query={"page": "2"}, body=b'{"flag": [true], "other": true}')
    assert found(request, wanting(cel)) == (0 if holds else None)


def test_the_next_entry_answers_where_an_expression_does_not_hold() -> None:
    entries = (
        wanting("request.method == 'PUT'"),
        MatchConditions(PREFIX),
        wanting("true", PathMatch(PathKind.PREFIX, "/")),
    )
    assert found(FakeRequest("/a"), *entries) == 1
    assert found(FakeRequest("/a", method="PUT"), *entries) == 0
    assert found(FakeRequest("/b"), *entries) == 2


def test_entries_with_an_expression_come_before_those_without_and_behind_all_that_is_more_specific() -> None:
    request = FakeRequest("/a", headers={"content-type": "application/grpc", "x": "1"}, query={"q": "1"})
    ranks = [
        MatchConditions(PREFIX),
        wanting("true"),
        MatchConditions(PREFIX, grpc=True),
        wanting("true", grpc=True),
        MatchConditions(PREFIX, methods=("GET",)),
        MatchConditions(PREFIX, query_parameters=(ValueMatch("q"),)),
        MatchConditions(PREFIX, headers=(ValueMatch("x"),)),
        MatchConditions(PREFIX, hostnames=("example.com",)),
        MatchConditions(EXACT),
    ]
    while ranks:
        assert found(request, *ranks) == len(ranks) - 1
        ranks.pop()


def test_of_two_entries_with_expressions_the_first_that_holds_answers() -> None:
    request = FakeRequest("/a")
    assert found(request, wanting("request.path == '/a'"), wanting("true")) == 0
    assert found(request, wanting("request.path == '/b'"), wanting("true")) == 1


def test_an_expression_is_asked_last_and_for_nothing_when_another_condition_fails() -> None:
    request = FakeRequest("/a")
    assert found(request, wanting("request.queryParams.q == '1'", headers=(ValueMatch("x"),))) is None
    assert request.read == {"headers"}
    assert found(request, wanting("request.queryParams.q == '1'")) is None
    assert request.read == {"headers", "query"}


def test_an_expression_of_a_route_holds_in_each_of_its_groups() -> None:
    route = RouteConditions(path_prefix="/b", cel="request.method == 'PUT'")
    group = GroupConditions(path_prefix="/a", headers=(ValueMatch("x"),))
    assert compose(route, group).cel == compose(route).cel == route.cel
    request = FakeRequest("/a/b", method="PUT", headers={"x": "1"})
    assert found(request, compose(route, group)) == 0
    assert found(FakeRequest("/a/b", headers={"x": "1"}), compose(route, group)) is None


def test_the_expression_comes_from_the_route() -> None:
    document = {"id": "r", "name": "r", "match": {"cel": "true"}, "directResponse": {"status": 200}}
    assert match_conditions(Route.parse(document)).cel == "true"


def test_an_entry_whose_expression_cannot_be_compiled_is_not_added() -> None:
    builder = RouteTableBuilder[str]()
    with pytest.raises(InvalidExpression, match="line 1, column 9"):
        builder.add(wanting("request.nothing"), "bad")
    builder.add(wanting("true"), "good")
    match = builder.build().match(FakeRequest("/a"))
    assert match is not None
    assert match.payload == "good"


def test_what_several_entries_want_is_compiled_once() -> None:
    texts: list[str] = []

    def counting(text: str) -> Expression:
        texts.append(text)
        return compile_expression(text)

    builder = RouteTableBuilder[int](counting)
    for at in range(5):
        builder.add(wanting("true", PathMatch(PathKind.EXACT, f"/{at}")), at)
    assert texts == ["true"]


def test_explaining_tells_what_became_of_the_expression() -> None:
    entries = [
        wanting("request.method == 'PUT'"),
        wanting("request.headers['x'] == '1'"),
        wanting("request.body.json.n"),
    ]
    table = RouteTable.of((each, at) for at, each in enumerate(entries))
    verdicts = list(table.candidates(FakeRequest("/a", body=b'{"n": 1}')))
    assert [verdict.condition for verdict in verdicts] == ["cel"] * 3
    assert verdicts[0].reason == "expected \"request.method == 'PUT'\" to be true, got 'false'"
    assert "got 'error: " in verdicts[1].reason
    assert verdicts[2].reason.endswith("got '1, which is no bool'")


# -- bodies that are not there yet ------------------------------------------------------------------------------------


def pending(path: str = "/a", **others: Any) -> FakeRequest:
    return FakeRequest(path, method="POST", body_pending=True, **others)


def test_a_body_is_asked_for_when_the_answer_depends_on_it() -> None:
    with pytest.raises(BodyNeeded) as needed:
        found(pending(), wanting(BODY), MatchConditions(PREFIX))
    assert str(needed.value) == BODY


@pytest.mark.parametrize(
    "cel",
    ["has(request.body)", "request['body']['raw'] == ''", "request.method == 'PUT' && size(request.body.raw) > 1"],
)
def test_whatever_reads_the_body_waits_for_it(cel: str) -> None:
    with pytest.raises(BodyNeeded):
        found(pending(), wanting(cel))


def test_nobody_waits_for_a_body_that_cannot_matter() -> None:
    request = pending()
    # Another path, another condition that fails, one before it that matches, an expression that only looks like it.
    assert found(request, wanting(BODY, PathMatch(PathKind.PREFIX, "/b"))) is None
    assert found(request, wanting(BODY, hostnames=("b.com",))) is None
    assert found(request, wanting(BODY, headers=(ValueMatch("x"),))) is None
    assert found(request, MatchConditions(EXACT), wanting(BODY)) == 0
    assert found(request, wanting("true", methods=("POST",)), wanting(BODY)) == 0
    assert found(request, wanting("request.path != 'request.body'")) == 0


def test_the_body_of_a_request_without_one_is_not_waited_for() -> None:
    assert found(FakeRequest("/a", method="POST"), wanting(BODY), wanting("!has(request.body)")) == 1


def test_once_the_body_is_there_it_decides() -> None:
    assert found(FakeRequest("/a", body=b'{"n": 1}'), wanting(BODY), MatchConditions(PREFIX)) == 0
    assert found(FakeRequest("/a", body=b'{"n": 2}'), wanting(BODY), MatchConditions(PREFIX)) == 1
