"""Group times route: the eight cases, and how slashes, anchors and quoting join."""

from __future__ import annotations

import pytest

from tests.support.request_views import FakeRequest
from vrata.proxy.routing.composition import (
    EVERYTHING,
    GroupConditions,
    MatchConditions,
    PathKind,
    PathMatch,
    RouteConditions,
    ValueMatch,
    compose,
    compose_path,
)
from vrata.proxy.routing.table import RouteTable

EXACT, PREFIX, REGEX = PathKind


def composed(group: GroupConditions | None, route: RouteConditions) -> tuple[PathKind, str]:
    path = compose_path(route, group)
    return path.kind, path.text


def takes(group: GroupConditions | None, route: RouteConditions, path: str) -> bool:
    return RouteTable.of([(compose(route, group), None)]).match(FakeRequest(path)) is not None


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (RouteConditions(path="/a"), (EXACT, "/a")),
        (RouteConditions(path_prefix="/a"), (PREFIX, "/a")),
        (RouteConditions(path_prefix="/a/"), (PREFIX, "/a/")),
        (RouteConditions(path_regex="/a|/b"), (REGEX, "^(?:/a|/b)")),
        (RouteConditions(path_regex="^/a$"), (REGEX, "^(?:/a$)")),
        (RouteConditions(), (PREFIX, "/")),
    ],
)
@pytest.mark.parametrize("group", [None, GroupConditions(), GroupConditions(hostnames=("a",))])
def test_a_route_without_a_group_path_keeps_its_own(
    group: GroupConditions | None, route: RouteConditions, expected: tuple[PathKind, str]
) -> None:
    assert composed(group, route) == expected


@pytest.mark.parametrize(
    ("prefix", "route", "expected"),
    [
        ("/api", RouteConditions(path="/a"), (EXACT, "/api/a")),
        ("/api/", RouteConditions(path="/a"), (EXACT, "/api/a")),
        ("/api", RouteConditions(path="a"), (EXACT, "/api/a")),
        ("/api//", RouteConditions(path="//a/"), (EXACT, "/api/a/")),
        ("/api", RouteConditions(path="/"), (EXACT, "/api/")),
        ("/", RouteConditions(path="/"), (EXACT, "/")),
        ("/", RouteConditions(path="/a"), (EXACT, "/a")),
        ("/api", RouteConditions(path_prefix="/a"), (PREFIX, "/api/a")),
        ("/api/", RouteConditions(path_prefix="/a/"), (PREFIX, "/api/a/")),
        ("/api", RouteConditions(path_prefix="/"), (PREFIX, "/api")),
        ("/api/", RouteConditions(path_prefix="/"), (PREFIX, "/api")),
        ("/", RouteConditions(path_prefix="/"), (PREFIX, "/")),
        ("/api", RouteConditions(path_regex="/[0-9]+"), (REGEX, "^/api(?:/[0-9]+)")),
        ("/api/", RouteConditions(path_regex="/[0-9]+"), (REGEX, "^/api(?:/[0-9]+)")),
        ("/api/", RouteConditions(path_regex="[0-9]+"), (REGEX, "^/api/(?:[0-9]+)")),
        ("/api", RouteConditions(path_regex="(?i)/A"), (REGEX, "^/api(?:(?i)/A)")),
        ("/api/", RouteConditions(path_regex="(?i)^/A"), (REGEX, "^/api(?:(?i)/A)")),
        ("/api", RouteConditions(path_regex="^/a|^/b"), (REGEX, "^/api(?:/a|/b)")),
        ("/a.b+(c)", RouteConditions(path_regex="/x"), (REGEX, r"^/a\.b\+\(c\)(?:/x)")),
        ("/api", RouteConditions(), (PREFIX, "/api")),
        ("/api/", RouteConditions(), (PREFIX, "/api/")),
    ],
)
def test_below_a_prefix(prefix: str, route: RouteConditions, expected: tuple[PathKind, str]) -> None:
    assert composed(GroupConditions(path_prefix=prefix), route) == expected


@pytest.mark.parametrize(
    ("regex", "route", "expected"),
    [
        ("/v[0-9]", RouteConditions(path="/a.b"), r"^(?:/v[0-9])/a\.b$"),
        ("/v[0-9]/", RouteConditions(path="/a"), "^(?:/v[0-9])/a$"),
        ("/v[0-9]", RouteConditions(path="/"), "^(?:/v[0-9])/?$"),
        ("/v[0-9]$", RouteConditions(path="/a"), "^(?:/v[0-9])/a$"),
        (r"/v\$", RouteConditions(path="/a"), r"^(?:/v\$)/a$"),
        ("/a/|/b/", RouteConditions(path="/x"), "^(?:/a|/b)/x$"),
        ("/v[0-9]", RouteConditions(path_prefix="/a"), "^(?:/v[0-9])/a(?:/|$)"),
        ("/v[0-9]", RouteConditions(path_prefix="/a/"), "^(?:/v[0-9])/a/"),
        ("/v[0-9]", RouteConditions(path_prefix="/"), "^(?:/v[0-9])(?:/|$)"),
        ("/a|/b", RouteConditions(path_regex="/x|/y"), "^(?:/a|/b)(?:/x|/y)"),
        ("/v[0-9]/", RouteConditions(path_regex="^/x"), "^(?:/v[0-9])(?:/x)"),
        ("/v[0-9]/", RouteConditions(path_regex="x"), "^(?:/v[0-9]/)(?:x)"),
        ("/v[0-9]", RouteConditions(), "^(?:/v[0-9])"),
        ("^/v[0-9]$", RouteConditions(), "^(?:^/v[0-9]$)"),
        (r"/\Q.x", RouteConditions(path="/a"), r"^(?:/\Q.x\E)/a$"),
    ],
)
def test_below_a_regular_expression(regex: str, route: RouteConditions, expected: str) -> None:
    assert composed(GroupConditions(path_regex=regex), route) == (REGEX, expected)


@pytest.mark.parametrize(
    ("group", "route", "taken", "refused"),
    [
        # one slash joins, and the route path `/` is the namespace itself
        ({"path_prefix": "/api"}, {"path": "/"}, ["/api", "/api/"], ["/api/x", "/apix", "/"]),
        ({"path_prefix": "/api"}, {"path_prefix": "/"}, ["/api", "/api/", "/api/x"], ["/apix", "/"]),
        ({"path_prefix": "/api/"}, {"path_prefix": "/"}, ["/api", "/api/", "/api/x"], ["/apix"]),
        ({"path_prefix": "/api/"}, {"path": "/a"}, ["/api/a"], ["/api//a", "/api/a/", "/apia"]),
        ({"path_prefix": "/api"}, {}, ["/api", "/api/", "/api/x"], ["/apix", "/", "/API"]),
        ({"path_regex": "/v[0-9]"}, {"path": "/"}, ["/v1", "/v1/"], ["/v1/x", "/v12"]),
        ({"path_regex": "/v[0-9]"}, {"path_prefix": "/"}, ["/v1", "/v1/", "/v1/x"], ["/v12", "/v12/x"]),
        ({"path_regex": "/v[0-9]//"}, {"path": "/a"}, ["/v1/a"], ["/v1//a"]),
        ({"path_regex": "/api//"}, {"path": "/a"}, ["/api/a"], ["/api//a"]),
        # a literal prefix is literal, also inside an expression
        ({"path_prefix": "/a.b"}, {"path_regex": "/[0-9]"}, ["/a.b/1", "/a.b/12"], ["/axb/1", "/a.b/x"]),
        # both ends of an exact path in a namespace that is an expression
        ({"path_regex": "/v[0-9]+"}, {"path": "/a"}, ["/v1/a", "/v22/a"], ["/v1/a/", "/v1/ab", "/v1/a/b", "/x/v1/a"]),
        ({"path_regex": "/v[0-9]"}, {"path": "/a.b"}, ["/v1/a.b"], ["/v1/axb"]),
        # whole segments below an expression
        ({"path_regex": "/v[0-9]"}, {"path_prefix": "/a"}, ["/v1/a", "/v1/a/", "/v1/a/b"], ["/v1/ab", "/v1"]),
        ({"path_regex": "/v[0-9]"}, {"path_prefix": "/a/"}, ["/v1/a/", "/v1/a/b"], ["/v1/a", "/v1/ab"]),
        # start anchored, end free
        ({}, {"path_regex": "/users/[0-9]+"}, ["/users/42", "/users/42/x", "/users/42x"], ["/x/users/42", "/users/x"]),
        ({}, {"path_regex": "/a|/b"}, ["/a", "/b", "/b/x"], ["/x/b", "/x/a"]),
        ({}, {"path_regex": "^/a$"}, ["/a"], ["/a/", "/x/a", "/a\n"]),
        ({"path_regex": "/a|/b"}, {"path_regex": "/x|/y"}, ["/a/x", "/a/y", "/b/x", "/b/y/z"], ["/a", "/x", "/a/z/x"]),
        # an expression that brings anchors keeps working wherever it is composed
        ({"path_prefix": "/api"}, {"path_regex": "^/[0-9]+$"}, ["/api/42"], ["/api/42/x", "/api/x", "/42"]),
        ({"path_prefix": "/api"}, {"path_regex": "(?i)^/a|^/b"}, ["/api/A", "/api/b"], ["/a", "/API/a"]),
        ({"path_regex": "^/v[0-9]$"}, {"path_regex": "^/a$"}, ["/v1/a"], ["/v1", "/v1/ab"]),
        ({"path_regex": "/v[0-9]"}, {}, ["/v1", "/v1/x", "/v12"], ["/v", "/x/v1"]),
    ],
)
def test_what_a_composed_path_takes(
    group: dict[str, str], route: dict[str, str], taken: list[str], refused: list[str]
) -> None:
    conditions = GroupConditions(**group) if group else None, RouteConditions(**route)  # type: ignore[arg-type]

    assert [path for path in taken if not takes(*conditions, path)] == []
    assert [path for path in refused if takes(*conditions, path)] == []


@pytest.mark.parametrize(
    ("group", "route", "literal"),
    [
        ({}, {"path_regex": "/users/[0-9]+"}, "/users/"),
        ({}, {"path_regex": "^/users/?"}, "/users"),
        ({}, {"path_regex": r"/a\.b/c*"}, "/a.b/"),
        ({}, {"path_regex": r"/a\.?"}, "/a"),
        ({}, {"path_regex": "/ab{2}"}, "/a"),
        ({}, {"path_regex": "/ab+"}, "/ab"),
        ({}, {"path_regex": "/a|/b"}, ""),
        ({}, {"path_regex": "/a(b|c)"}, "/a"),
        ({}, {"path_regex": "(?i)/a"}, ""),
        ({}, {"path_regex": r"/a\d"}, "/a"),
        ({}, {"path_regex": r"/a\Q.b"}, "/a"),
        ({"path_prefix": "/api"}, {"path_regex": "/x/[0-9]"}, "/api/x/"),
        ({"path_prefix": "/a.b/"}, {"path_regex": "[0-9]"}, "/a.b/"),
        ({"path_prefix": "/api"}, {"path_regex": "/a|/b"}, "/api"),
        ({"path_regex": "/api/v[0-9]"}, {"path": "/x"}, "/api/v"),
        ({"path_regex": "/api/"}, {"path_prefix": "/x"}, "/api"),
        ({"path_regex": "/api/"}, {"path_regex": "/x"}, "/api"),
        ({"path_regex": "/api/"}, {"path_regex": "x"}, "/api/"),
        ({"path_regex": "/api/"}, {}, "/api/"),
    ],
)
def test_the_literal_beginning_of_an_expression_is_known(
    group: dict[str, str], route: dict[str, str], literal: str
) -> None:
    path = compose_path(RouteConditions(**route), GroupConditions(**group) if group else None)  # type: ignore[arg-type]

    assert path.literal == literal


def test_hostnames_are_a_union_with_the_groups_first() -> None:
    composed = compose(RouteConditions(hostnames=("b", "a")), GroupConditions(hostnames=("c", "b")))

    assert composed.hostnames == ("c", "b", "a")


@pytest.mark.parametrize("route", [(), ("a",)])
@pytest.mark.parametrize("group", [(), ("a",)])
def test_a_hostname_of_either_is_enough(route: tuple[str, ...], group: tuple[str, ...]) -> None:
    composed = compose(RouteConditions(hostnames=route), GroupConditions(hostnames=group))

    assert composed.hostnames == (("a",) if route or group else ())


def test_headers_of_both_are_required_the_routes_first() -> None:
    own, shared = ValueMatch("x-own"), ValueMatch("x-shared", "1")

    assert compose(RouteConditions(headers=(own,)), GroupConditions(headers=(shared,))).headers == (own, shared)


def test_the_rest_comes_from_the_route() -> None:
    route = RouteConditions(methods=("GET",), query_parameters=(ValueMatch("q"),), grpc=True)

    expected = MatchConditions(EVERYTHING, ("GET",), (), (), (ValueMatch("q"),), True)
    assert compose(route) == compose(route, GroupConditions()) == expected


def test_composed_conditions_are_values() -> None:
    route = RouteConditions(path="/a")

    assert compose(route) == compose(route)
    assert hash(compose(route)) == hash(compose(route))
    assert compose(route).path == PathMatch(EXACT, "/a")
