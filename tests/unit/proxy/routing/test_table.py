"""Matching, row by row: conditions, their order, and what of a request is read at all."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from tests.support.request_views import FakeRequest
from vrata.expressions.pattern import InvalidPattern
from vrata.proxy.routing.composition import GroupConditions, RouteConditions, ValueMatch, compose
from vrata.proxy.routing.table import RouteTable, RouteTableBuilder


def table_of(*routes: dict[str, Any], **named: dict[str, Any]) -> RouteTable[Any]:
    """Make a table of stand-alone routes; a payload is the route's position or name."""
    entries = [*enumerate(routes), *named.items()]
    return RouteTable.of((compose(RouteConditions(**conditions)), payload) for payload, conditions in entries)


def found(table: RouteTable[Any], path: str, **request: Any) -> Any:
    match = table.match(FakeRequest(path, **request))
    return match.payload if match is not None else None


def fits(conditions: dict[str, Any], path: str = "/", **request: Any) -> bool:
    return found(table_of(conditions), path, **request) is not None


@pytest.mark.parametrize(
    ("conditions", "path", "expected"),
    [
        ({"path": "/health"}, "/health", True),
        ({"path": "/health"}, "/health/", False),
        ({"path": "/health/"}, "/health", False),
        ({"path": "/health"}, "/Health", False),
        ({"path": "/a b"}, "/a b", True),
        ({"path": "/a//b"}, "/a/b", False),
        ({"path": "*"}, "*", True),
        ({"path_prefix": "/api"}, "/api", True),
        ({"path_prefix": "/api"}, "/api/", True),
        ({"path_prefix": "/api"}, "/api/v1", True),
        ({"path_prefix": "/api"}, "/api//", True),
        ({"path_prefix": "/api"}, "/apikeys", False),
        ({"path_prefix": "/api"}, "/ap", False),
        ({"path_prefix": "/api"}, "/x/api", False),
        ({"path_prefix": "/api/"}, "/api", False),
        ({"path_prefix": "/api/"}, "/api/", True),
        ({"path_prefix": "/api/"}, "/api/x", True),
        ({"path_prefix": "/api//"}, "/api/", False),
        ({"path_prefix": "/api//"}, "/api//", True),
        ({"path_prefix": "/api//"}, "/api//x", True),
        ({"path_prefix": "/api//x"}, "/api/x", False),
        ({"path_prefix": "/"}, "/", True),
        ({"path_prefix": "/"}, "/x/y", True),
        ({"path_prefix": "/"}, "//", True),
        ({"path_prefix": "/"}, "*", False),
        ({"path_prefix": "/"}, "", False),
        ({"path_prefix": "/é"}, "/é/x", True),
        ({}, "/anything/at/all", True),
        ({}, "*", False),
        ({"path_regex": "/users/[0-9]+"}, "/users/42/x", True),
        ({"path_regex": "/users/[0-9]+"}, "/users/x", False),
        ({"path_regex": "/users/[0-9]+"}, "/v1/users/42", False),
        ({"path_regex": "(?i)/users"}, "/USERS", True),
        ({"path_regex": "/é+$"}, "/éé", True),
        ({"path_regex": "/a.c"}, "/a/c", True),
        ({"path_regex": r"/\d{2,3}$"}, "/123", True),
        ({"path_regex": r"/(?P<n>[^/]+)/x"}, "/é/x", True),
        ({"path_regex": "/."}, "/\udcff", False),  # a byte that is no character is matched by none
    ],
)
def test_path(conditions: dict[str, Any], path: str, expected: bool) -> None:
    assert fits(conditions, path) is expected


@pytest.mark.parametrize(
    ("hostnames", "host", "expected"),
    [
        (("example.com",), "example.com", True),
        (("Example.COM",), "example.com", True),
        (("example.com.",), "example.com", True),
        (("example.com",), "www.example.com", False),
        (("a.org", "example.com"), "example.com", True),
        (("*",), "example.com", True),
        (("*",), "", True),
        (("*", "a.org"), "example.com", True),
        ((), "", True),
        (("example.com",), "", False),
        (("*.example.com",), "a.example.com", True),
        (("*.Example.com",), "a.b.example.com", True),
        (("*.example.com",), "example.com", False),
        (("*.example.com",), ".example.com", False),
        (("*.example.com",), "aexample.com", False),
        (("*.com",), "example.com", True),
        (("[::1]",), "[::1]", True),
        (("::1",), "[::1]", True),
        (("::1",), "[::2]", False),
        (("2001:DB8::1",), "[2001:db8::1]", True),
        (("10.0.0.1",), "10.0.0.1", True),
    ],
)
@pytest.mark.parametrize("path", [{"path": "/"}, {"path_prefix": "/"}, {"path_regex": "/"}])
def test_hostname(path: dict[str, Any], hostnames: tuple[str, ...], host: str, expected: bool) -> None:
    assert fits({"hostnames": hostnames, **path}, host=host) is expected


@pytest.mark.parametrize(
    ("methods", "method", "expected"),
    [
        ((), "GET", True),
        ((), "BREW", True),
        (("GET",), "GET", True),
        (("get",), "GET", True),
        (("GET",), "get", False),
        (("GET",), "HEAD", False),
        (("GET", "POST"), "POST", True),
        (("GET", "POST"), "PUT", False),
    ],
)
def test_method(methods: tuple[str, ...], method: str, expected: bool) -> None:
    assert fits({"methods": methods}, method=method) is expected


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("application/grpc", True),
        ("application/grpc+proto", True),
        ("application/grpc-web", True),
        ("Application/GRPC", True),
        ("application/json", False),
        ("application/grp", False),
        ("", False),
        (None, False),
    ],
)
def test_grpc(content_type: str | None, expected: bool) -> None:
    headers = {} if content_type is None else {"content-type": content_type}

    assert fits({"grpc": True}, headers=headers) is expected
    assert fits({"grpc": False}, headers=headers)


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        (ValueMatch("X-User"), "bob", True),
        (ValueMatch("x-user"), "", False),
        (ValueMatch("x-user"), None, False),
        (ValueMatch("x-user", regex=True), "bob", True),
        (ValueMatch("x-user", "bob"), "bob", True),
        (ValueMatch("x-user", "bob"), "Bob", False),
        (ValueMatch("x-user", "bob"), "bobby", False),
        (ValueMatch("x-user", "bob"), None, False),
        (ValueMatch("x-user", "v[0-9]+"), "v1", False),
        (ValueMatch("x-user", "v[0-9]+", True), "v1", True),
        (ValueMatch("x-user", "v[0-9]+", True), "xv1y", True),
        (ValueMatch("x-user", "^v[0-9]+$", True), "xv1y", False),
        (ValueMatch("x-user", "(?i)BOB", True), "bob", True),
        (ValueMatch("x-user", ".*", True), "", False),
        (ValueMatch("x-user", ".*", True), None, False),
        (ValueMatch("x-user", "é", True), "café", True),
    ],
)
def test_header(wanted: ValueMatch, value: str | None, expected: bool) -> None:
    headers = {} if value is None else {"x-user": value}

    assert fits({"headers": (wanted,)}, headers=headers) is expected


@pytest.mark.parametrize(
    ("wanted", "value", "expected"),
    [
        (ValueMatch("q"), "1", True),
        (ValueMatch("q"), "", True),
        (ValueMatch("q"), None, False),
        (ValueMatch("Q"), "1", False),
        (ValueMatch("q", "1"), "1", True),
        (ValueMatch("q", "1"), "12", False),
        (ValueMatch("q", "1"), "", False),
        (ValueMatch("q", "1"), None, False),
        (ValueMatch("q", "[0-9]+", True), "x1y", True),
        (ValueMatch("q", "^[0-9]+$", True), "x1y", False),
        (ValueMatch("q", "^[0-9]*$", True), "", True),
        (ValueMatch("q", ".*", True), None, False),
        (ValueMatch("q", "x", True), "\udcff", False),
    ],
)
def test_query_parameter(wanted: ValueMatch, value: str | None, expected: bool) -> None:
    query = {} if value is None else {"q": value}

    assert fits({"query_parameters": (wanted,)}, query=query) is expected


def test_all_conditions_must_hold() -> None:
    conditions = {
        "path": "/a",
        "methods": ("GET",),
        "hostnames": ("example.com",),
        "headers": (ValueMatch("x-a"), ValueMatch("x-b", "1")),
        "query_parameters": (ValueMatch("q"),),
        "grpc": True,
    }
    good: dict[str, Any] = {
        "path": "/a",
        "headers": {"x-a": "1", "x-b": "1", "content-type": "application/grpc"},
        "query": {"q": ""},
    }
    assert fits(conditions, **good)
    changes: tuple[dict[str, Any], ...] = (
        {"path": "/b"},
        {"method": "POST"},
        {"host": "other.org"},
        {"headers": {**good["headers"], "x-b": "2"}},
        {"headers": {"x-b": "1", "content-type": "application/grpc"}},
        {"headers": {"x-a": "1", "x-b": "1"}},
        {"query": {}},
    )
    for change in changes:
        assert not fits(conditions, **{**good, **change})


HEADER, OTHER_HEADER = ValueMatch("x-a"), ValueMatch("x-b")


@pytest.mark.parametrize(
    ("later", "first"),
    [
        # Both fit `GET example.com/a/b/c` with every header and parameter; *first* wins wherever it was added.
        ({"path_prefix": "/a/b/c"}, {"path": "/a/b/c"}),
        ({"path_prefix": "/a/b/c", "hostnames": ("example.com",), "headers": (HEADER,)}, {"path": "/a/b/c"}),
        ({"path_prefix": "/a"}, {"path_prefix": "/a/b"}),
        ({"path_prefix": "/a/b"}, {"path_prefix": "/a/b/"}),
        ({"path_prefix": "/a", "methods": ("GET",), "headers": (HEADER,)}, {"path_prefix": "/a/b"}),
        ({}, {"path_prefix": "/a"}),
        ({"path_regex": "/a/b/c$"}, {}),
        ({"path_regex": "/a/b/c$", "hostnames": ("example.com",)}, {"path_prefix": "/"}),
        ({"path_regex": "/a/b"}, {"path_regex": "/[a]/b/c"}),
        ({"path_regex": "/a", "hostnames": ("example.com",)}, {"path_regex": "/.*"}),
        ({"path_regex": "/a/.*"}, {"path_regex": "/a/b/", "hostnames": ("example.com",)}),
        ({"path": "/a/b/c"}, {"path": "/a/b/c", "hostnames": ("example.com",)}),
        ({"path": "/a/b/c"}, {"path": "/a/b/c", "hostnames": ("*",)}),
        ({"hostnames": ("*",)}, {"hostnames": ("*.com",)}),
        ({"hostnames": ("*.com",)}, {"hostnames": ("example.com",)}),
        ({"hostnames": ("*.com",), "headers": (HEADER,)}, {"hostnames": ("other.org", "example.com")}),
        ({"hostnames": ("*", "other.org")}, {"hostnames": ("*.com",)}),
        ({"headers": (HEADER, OTHER_HEADER)}, {"hostnames": ("example.com",)}),
        ({"headers": (HEADER,)}, {"headers": (HEADER, OTHER_HEADER)}),
        ({"query_parameters": (HEADER, OTHER_HEADER)}, {"headers": (HEADER,)}),
        ({"query_parameters": (HEADER,)}, {"query_parameters": (HEADER, OTHER_HEADER)}),
        ({"methods": ("GET",)}, {"query_parameters": (HEADER,)}),
        ({}, {"methods": ("GET",)}),
        ({"grpc": True}, {"methods": ("GET", "POST")}),
        ({}, {"grpc": True}),
    ],
)
def test_order(later: dict[str, Any], first: dict[str, Any]) -> None:
    request = {
        "headers": {"x-a": "1", "x-b": "1", "content-type": "application/grpc"},
        "query": {"x-a": "1", "x-b": "1"},
    }
    if "path_regex" not in later | first or ("path_regex" in later and "path_regex" in first):
        assert found(table_of(later), "/a/b/c", **request) is not None
    assert found(table_of(later=later, first=first), "/a/b/c", **request) == "first"
    assert found(table_of(first=first, later=later), "/a/b/c", **request) == "first"


def test_a_longer_wildcard_comes_before_a_shorter_one() -> None:
    table = table_of(short={"hostnames": ("*.example.com",)}, long={"hostnames": ("*.eu.example.com",)})

    assert found(table, "/", host="a.eu.example.com") == "long"
    assert found(table, "/", host="a.us.example.com") == "short"


def test_the_hostname_that_covers_the_request_decides_not_the_best_of_the_entry() -> None:
    table = table_of(
        wide={"hostnames": ("shop.org", "*.com"), "headers": (HEADER,)}, narrow={"hostnames": ("*.example.com",)}
    )

    assert found(table, "/", host="a.example.com", headers={"x-a": "1"}) == "narrow"
    assert found(table, "/", host="shop.org", headers={"x-a": "1"}) == "wide"


@pytest.mark.parametrize("path", [{"path": "/x"}, {"path_prefix": "/x"}, {"path_regex": "/x"}, {}])
def test_entries_that_are_equally_specific_keep_the_order_they_were_added_in(path: dict[str, Any]) -> None:
    assert found(table_of(path, path, path), "/x") == 0


def test_expressions_of_equal_length_are_ordered_by_what_follows() -> None:
    table = table_of(
        plain={"path_regex": "/a/.."},
        named={"path_regex": "/./bc", "hostnames": ("*.com",)},
        generic={"path_regex": "/.+bc"},
        literal={"path_regex": "/a/b.", "methods": ("GET",)},
        longer={"path_regex": "/.+bc$", "methods": ("PUT",)},
    )

    assert found(table, "/a/bc", method="PUT") == "longer"
    assert found(table, "/a/bc") == "named"
    assert found(table, "/a/bc", host="other.org") == "literal"
    assert found(table, "/a/bc", host="other.org", method="POST") == "plain"
    assert found(table, "/x/bc", host="other.org", method="POST") == "generic"


def test_a_candidate_that_fails_gives_way_to_the_next() -> None:
    table = table_of(
        exact={"path": "/a/b", "methods": ("PUT",)},
        deep={"path_prefix": "/a/b", "methods": ("POST",)},
        shallow={"path_prefix": "/a", "headers": (HEADER,)},
        pattern={"path_regex": "/[a-z]/b"},
    )

    assert found(table, "/a/b", method="PUT") == "exact"
    assert found(table, "/a/b", method="POST") == "deep"
    assert found(table, "/a/b", headers={"x-a": "1"}) == "shallow"
    assert found(table, "/a/b") == "pattern"
    assert found(table, "/a/c") is None


def test_a_path_that_leaves_the_trie_falls_back_to_the_last_prefix_on_its_way() -> None:
    table = table_of(root={"path_prefix": "/"}, a={"path_prefix": "/a"}, deep={"path_prefix": "/a/b/c/d"})

    assert [found(table, path) for path in ("/a/b/c/d/e", "/a/b/c/x", "/a/b", "/a", "/ab", "/")] == [
        "deep",
        "a",
        "a",
        "a",
        "root",
        "root",
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 50])
def test_any_number_of_expressions_below_one_segment(count: int) -> None:
    table = table_of(*({"path_regex": f"/items/[a-z]+/x{number}$"} for number in range(count)))

    for number in range(count):
        assert found(table, f"/items/abc/x{number}") == number
        assert found(table, f"/items/{'a' * 2000}/x{number}") == number
    assert found(table, f"/items/abc/x{count}") is None


@pytest.mark.parametrize(
    ("conditions", "path", "matched"),
    [
        ({"path": "/a/b"}, "/a/b", "/a/b"),
        ({"path_prefix": "/a"}, "/a/b", "/a"),
        ({"path_prefix": "/a/"}, "/a/b", "/a/"),
        ({"path_prefix": "/é"}, "/é/b", "/é"),
        ({}, "/a/b", "/"),
        ({"path_regex": "/[a-z]+"}, "/ab/c", "/ab"),
        ({"path_regex": "/[^/]+"}, "/éé/c", "/éé"),
        ({"path_regex": "/[^/]+?"}, "/éé/c", "/é"),
    ],
)
def test_the_match_knows_the_matched_part(conditions: dict[str, Any], path: str, matched: str) -> None:
    match = table_of(conditions).match(FakeRequest(path))

    assert match is not None
    assert match.end(path) == len(matched.encode())


@pytest.mark.parametrize(
    ("prefix", "path", "matched"),
    [("/a", "/v1/a", "/v1/a"), ("/a", "/v1/a/", "/v1/a"), ("/a", "/v1/a/b", "/v1/a"), ("/", "/v1/b", "/v1"),
     ("/a/", "/v1/a/", "/v1/a/")],
)  # fmt: skip
def test_the_slash_behind_a_prefix_below_an_expression_is_not_matched(prefix: str, path: str, matched: str) -> None:
    conditions = compose(RouteConditions(path_prefix=prefix), GroupConditions(path_regex="/v[0-9]"))
    match = RouteTable.of([(conditions, None)]).match(FakeRequest(path))

    assert match is not None
    assert match.end(path) == len(matched)


def test_a_prefix_of_the_root_namespace_matches_both_spellings_with_their_own_length() -> None:
    table = RouteTable.of([(compose(RouteConditions(path="/"), GroupConditions(path_prefix="/api")), None)])

    for path in ("/api", "/api/"):
        match = table.match(FakeRequest(path))
        assert match is not None
        assert match.end(path) == len(path)


@pytest.mark.parametrize(
    ("conditions", "read"),
    [
        ([{"path": "/a"}, {"path_prefix": "/a"}], set()),
        ([{"path_prefix": "/"}], set()),
        ([{"path_regex": "/a"}], set()),
        ([{"path_prefix": "/x", "hostnames": ("a",), "headers": (HEADER,)}, {"path_prefix": "/a"}], set()),
        ([{"path": "/a", "methods": ("GET",)}], {"method"}),
        ([{"path": "/a", "hostnames": ("example.com",)}], {"host"}),
        ([{"path": "/a", "hostnames": ("a",), "headers": (HEADER,)}, {}], {"host"}),
        ([{"path": "/a", "hostnames": ("*",)}], set()),
        ([{"path": "/a", "methods": ("PUT",), "headers": (HEADER,), "query_parameters": (HEADER,)}], {"method"}),
        ([{"path": "/a", "headers": (HEADER,), "query_parameters": (HEADER,)}], {"headers"}),
        ([{"path": "/a", "query_parameters": (HEADER,)}], {"query"}),
    ],
)
def test_only_what_a_candidate_asks_for_is_read(conditions: list[dict[str, Any]], read: set[str]) -> None:
    request = FakeRequest("/a")
    table_of(*conditions).match(request)

    assert request.read == read


@pytest.mark.parametrize(
    "conditions",
    [
        {"path_regex": "/("},
        {"path_regex": "/(?=x)"},
        {"path": "/", "headers": (ValueMatch("x", "(", True),)},
        {"path": "/", "query_parameters": (ValueMatch("x", "(", True),)},
    ],
)
def test_an_entry_with_an_invalid_expression_is_refused_and_the_rest_goes_on(conditions: dict[str, Any]) -> None:
    builder = RouteTableBuilder[str]()
    builder.add(compose(RouteConditions(path="/a")), "before")
    with pytest.raises(InvalidPattern) as refusal:
        builder.add(compose(RouteConditions(**conditions)), "bad")
    builder.add(compose(RouteConditions(path="/b")), "after")
    table = builder.build()

    assert "(" in refusal.value.pattern
    assert refusal.value.reason
    assert len(table) == 2
    assert (found(table, "/a"), found(table, "/b"), found(table, "/")) == ("before", "after", None)


def test_a_table_can_be_built_in_steps() -> None:
    builder = RouteTableBuilder[str]()
    for number in range(10):
        builder.add(compose(RouteConditions(path_prefix=f"/{number}")), f"route {number}")

    def build() -> Generator[None, None, RouteTable[str]]:
        table = yield from builder.building()
        assert found(table, "/7/x") == "route 7"
        return table

    assert len(list(build())) > 10


def test_an_empty_table_finds_nothing() -> None:
    assert found(table_of(), "/") is None
    assert list(table_of().candidates(FakeRequest())) == []


def test_candidates_come_in_order_with_the_first_condition_that_fails() -> None:
    table = table_of(
        elsewhere={"path": "/b"},
        pattern={"path_regex": "/a/[0-9]+"},
        shallow={"path_prefix": "/a"},
        deep={"path_prefix": "/a/b", "headers": (ValueMatch("X-User", "bob"),)},
        host={"path": "/a/b", "hostnames": ("*.org", "shop.de")},
        method={"path": "/a/b", "methods": ("PUT", "POST")},
        header={"path": "/a/b", "headers": (HEADER,), "methods": ("GET",)},
        query={"path": "/a/b", "query_parameters": (ValueMatch("q", "[0-9]", True),)},
        grpc={"path": "/a/b", "grpc": True},
    )
    verdicts = list(table.candidates(FakeRequest("/a/b", query={"q": "x"})))

    assert [verdict[:3] for verdict in verdicts] == [
        ("host", "hostname", "expected '*.org' or 'shop.de', got 'example.com'"),
        ("header", "header x-a", "expected a value, got none"),
        ("query", "query parameter q", "expected a match of '[0-9]', got 'x'"),
        ("method", "method", "expected 'POST' or 'PUT', got 'GET'"),
        ("grpc", "grpc", "expected a content type that begins with application/grpc, got none"),
        ("deep", "header x-user", "expected 'bob', got none"),
        ("shallow", "", ""),
        ("pattern", "path", "expected a match of '^(?:/a/[0-9]+)', got '/a/b'"),
    ]
    assert [verdict.payload for verdict in verdicts if verdict.matches] == ["shallow"]
    # Those behind the one that fails are known as well.
    assert [condition.name for condition in verdicts[0].conditions] == ["hostname"]
    assert [condition.name for condition in verdicts[1].conditions] == ["method", "header x-a"]


def test_an_entry_of_several_hostnames_is_a_candidate_once() -> None:
    table = table_of({"hostnames": ("a.com", "*.com", "*"), "methods": ("PUT",)}, {"path_regex": "/"})

    assert [verdict.payload for verdict in table.candidates(FakeRequest(host="a.com"))] == [0, 1]
    assert [verdict.payload for verdict in table.candidates(FakeRequest(host="b.com"))] == [0, 1]


def test_an_entry_that_names_the_host_is_asked_once_where_there_are_wildcards_as_well() -> None:
    class Counted(FakeRequest):
        asked = 0

        def header(self, name: str) -> str | None:
            self.asked += name == "x-named"
            return super().header(name)

    table = table_of(
        {"hostnames": ("a.example.com",), "headers": (ValueMatch("X-Named", "yes"),)},
        {"hostnames": ("*.example.com",), "headers": (ValueMatch("X-Wild", "yes"),)},
        {},
    )
    request = Counted("/", host="a.example.com")
    match = table.match(request)
    assert match is not None
    assert match.payload == 2
    assert request.asked == 1
