"""4.1: the order of evaluation, key by key.

Each section has routes named by the place that they should take among those that fit. IDs run against that order
wherever a tie would hide a mistake.
"""

from __future__ import annotations

from typing import Any

from tests.support.match_cases.section import NONE, Section, at, section

FULL = at(
    "/a/b?q=1&r=2",
    host="x.eu.test",
    headers=(("x-a", "1"), ("x-b", "2"), ("content-type", "application/grpc")),
)
"""A request that fits almost everything here."""

A = [{"name": "x-a"}]
B = [{"name": "x-b"}]
Q = [{"name": "q"}]
R = [{"name": "r"}]


def before(title: str, first: dict[str, Any], later: dict[str, Any]) -> Section:
    """Two routes that both fit the full request; the second has the lower ID."""
    return section("4.1", title, {"z": first, "a": later}, (FULL, "z"))


def same(title: str, one: dict[str, Any], other: dict[str, Any]) -> Section:
    """Two routes of equal priority, both ways round: the ID decides."""
    return section("4.1", title, {"a": one, "z": other}, (FULL, "a"))


SECTIONS = [
    # -- 1 kind of path
    before("an exact path before a prefix", {"path": "/a/b"}, {"pathPrefix": "/a/b"}),
    before("an exact path before an expression", {"path": "/a/b"}, {"pathRegex": "/a/b$"}),
    before("a prefix before an expression", {"pathPrefix": "/a"}, {"pathRegex": "/a/b$"}),
    before("the root prefix before an expression", {"pathPrefix": "/"}, {"pathRegex": "/a/b$"}),
    before("no path before an expression", {}, {"pathRegex": "/a/b$"}),
    before("kind before hostname", {"path": "/a/b"}, {"pathPrefix": "/a/b", "hostnames": ["x.eu.test"]}),
    before("kind before headers", {"path": "/a/b"}, {"pathPrefix": "/a/b", "headers": A + B}),
    before("kind before all else", {}, {"pathRegex": "/a/b$", "hostnames": ["x.eu.test"], "headers": A, "grpc": True}),
    # -- 2 length
    before("a longer prefix", {"pathPrefix": "/a/b"}, {"pathPrefix": "/a"}),
    before("a prefix before the root", {"pathPrefix": "/a"}, {"pathPrefix": "/"}),
    before("a prefix before no path", {"pathPrefix": "/a"}, {}),
    before("a prefix with its slash", {"pathPrefix": "/a/"}, {"pathPrefix": "/a"}),
    before("length before hostname", {"pathPrefix": "/a/b"}, {"pathPrefix": "/a", "hostnames": ["x.eu.test"]}),
    before("length before headers", {"pathPrefix": "/a/b"}, {"pathPrefix": "/a", "headers": A + B}),
    before("a longer expression", {"pathRegex": "/[a]/b"}, {"pathRegex": "/a/b"}),
    before(
        "expressions: length before hostname", {"pathRegex": "/[a]/b"}, {"pathRegex": "/a", "hostnames": ["x.eu.test"]}
    ),
    before("expressions: length, not what they take", {"pathRegex": "/[aeiou]"}, {"pathRegex": "/a/b$"}),
    same("the root prefix and no path are the same", {"pathPrefix": "/"}, {}),
    same("no path and the root prefix are the same", {}, {"pathPrefix": "/"}),
    section(
        "4.1",
        "composed prefixes have their whole length",
        {"deep": {"pathPrefix": "/b"}, "alone": {"pathPrefix": "/a"}, "third": {"pathPrefix": "/a/b/c"}},
        (FULL, "g/deep"),
        ("/a/x", "alone"),
        ("/a/b/c", "third"),
        groups={"g": {"routeIds": ["deep"], "pathPrefix": "/a"}},
    ),
    section(
        "4.1",
        "expressions in groups count as written, both parts",
        {"z": {"pathPrefix": "/b"}, "a": {"pathRegex": "/a/[b]"}},
        (FULL, "g/z"),
        groups={"g": {"routeIds": ["z"], "pathRegex": "/[abc]"}},
    ),
    section(
        "4.1",
        "expressions in groups do not win by how they are composed",
        {"z": {"pathPrefix": "/b"}, "a": {"pathRegex": "/[ab]/[ab]"}},
        (FULL, "a"),
        groups={"g": {"routeIds": ["z"], "pathRegex": "/[abc]"}},
    ),
    section(
        "4.1",
        "an exact path below an expression is an expression",
        {"z": {"pathPrefix": "/a"}, "a": {"path": "/b"}},
        (FULL, "z"),
        groups={"g": {"routeIds": ["a"], "pathRegex": "/[a-z]"}},
    ),
    section(
        "4.1",
        "an exact path below a prefix is an exact path",
        {"z": {"path": "/b"}, "a": {"pathPrefix": "/a/b", "headers": A}},
        (FULL, "g/z"),
        groups={"g": {"routeIds": ["z"], "pathPrefix": "/a"}},
    ),
    # -- 3 hostnames
    before("a hostname before none", {"hostnames": ["x.eu.test"]}, {}),
    before("a hostname before a wildcard", {"hostnames": ["x.eu.test"]}, {"hostnames": ["*.eu.test"]}),
    before("a longer wildcard", {"hostnames": ["*.eu.test"]}, {"hostnames": ["*.test"]}),
    before("a wildcard before the star", {"hostnames": ["*.test"]}, {"hostnames": ["*"]}),
    before("the star before none", {"hostnames": ["*"]}, {}),
    before("the best of several", {"hostnames": ["*", "x.eu.test"]}, {"hostnames": ["*.eu.test"]}),
    before("those that do not cover the host do not count", {"hostnames": ["*.test"]}, {"hostnames": ["y.test", "*"]}),
    before("hostname before headers", {"hostnames": ["x.eu.test"]}, {"headers": A + B}),
    before("a wildcard before headers", {"hostnames": ["*.test"]}, {"headers": A + B}),
    before("the star before headers", {"hostnames": ["*"]}, {"headers": A + B}),
    before("hostname on an exact path", {"path": "/a/b", "hostnames": ["x.eu.test"]}, {"path": "/a/b"}),
    before("hostname on an expression", {"pathRegex": "/./b", "hostnames": ["*.test"]}, {"pathRegex": "/a/."}),
    same("two hostnames are as good as one", {"hostnames": ["x.eu.test", "b.test"]}, {"hostnames": ["x.eu.test"]}),
    same("one hostname is as good as two", {"hostnames": ["x.eu.test"]}, {"hostnames": ["x.eu.test", "b.test"]}),
    section(
        "4.1",
        "a group's hostname makes its routes more specific",
        {"z": {}, "a": {"headers": A}},
        (FULL, "g/z"),
        (at(host="other.test", x_a="1"), "a"),
        groups={"g": {"routeIds": ["z"], "hostnames": ["x.eu.test"]}},
    ),
    # -- 4 headers
    before("a header before none", {"headers": A}, {}),
    before("two headers before one", {"headers": A + B}, {"headers": A}),
    before("headers before parameters", {"headers": A}, {"queryParams": Q + R}),
    before("headers before methods", {"headers": A}, {"methods": ["GET"]}),
    before("headers before gRPC", {"headers": A}, {"grpc": True}),
    same("what a header wants does not matter", {"headers": A}, {"headers": [{"name": "x-b", "value": "2"}]}),
    same(
        "nor whether it is an expression", {"headers": [{"name": "x-a", "value": "1", "regex": True}]}, {"headers": B}
    ),
    section(
        "4.1",
        "a group's headers count",
        {"z": {"headers": A}, "a": {"headers": A}},
        (FULL, "g/z"),
        (at(x_a="1"), "a"),
        groups={"g": {"routeIds": ["z"], "headers": B}},
    ),
    # -- 5 query parameters
    before("a parameter before none", {"queryParams": Q}, {}),
    before("two parameters before one", {"queryParams": Q + R}, {"queryParams": Q}),
    before("parameters before methods", {"queryParams": Q}, {"methods": ["GET"]}),
    before("parameters before gRPC", {"queryParams": Q}, {"grpc": True}),
    # -- 6 methods
    before("a method before none", {"methods": ["GET"]}, {}),
    before("methods before gRPC", {"methods": ["GET"]}, {"grpc": True}),
    same("many methods are as good as one", {"methods": ["GET", "PUT", "POST"]}, {"methods": ["GET"]}),
    # -- 7 gRPC
    before("gRPC before not", {"grpc": True}, {}),
    before("gRPC false is no condition", {"methods": ["GET"]}, {"grpc": False}),
    # -- 8 the order in which the table is built
    section(
        "4.1",
        "routes on their own by ID",
        {"c": {}, "a": {}, "b": {}},
        (FULL, "a"),
    ),
    section(
        "4.1",
        "IDs are compared as text",
        {"route-9": {}, "route-10": {}, "Route-99": {}},
        (FULL, "Route-99"),
    ),
    section(
        "4.1",
        "groups before routes on their own",
        {"a": {}, "z": {}},
        (FULL, "g/z"),
        groups={"g": {"routeIds": ["z"]}},
    ),
    section(
        "4.1",
        "groups by ID",
        {"a": {}, "z": {}},
        (FULL, "g1/z"),
        groups={"g2": {"routeIds": ["a"]}, "g1": {"routeIds": ["z"]}},
    ),
    section(
        "4.1",
        "routes of a group in its order",
        {"a": {}, "m": {}, "z": {}},
        (FULL, "g/m"),
        groups={"g": {"routeIds": ["m", "z", "a"]}},
    ),
    section(
        "4.1",
        "one route in two groups: the first group's entry",
        {"r": {}},
        (FULL, "a/r"),
        groups={"b": {"routeIds": ["r"]}, "a": {"routeIds": ["r"]}},
    ),
    section(
        "4.1",
        "specificity before groups",
        {"a": {}, "z": {"methods": ["GET"]}},
        (FULL, "z"),
        groups={"g": {"routeIds": ["a"]}},
    ),
    # -- what fails gives way
    section(
        "4.1",
        "a more specific route that does not fit gives way",
        {
            "exact": {"path": "/a/b", "methods": ["PUT"]},
            "deep": {"pathPrefix": "/a/b", "methods": ["POST"]},
            "shallow": {"pathPrefix": "/a", "headers": A},
            "pattern": {"pathRegex": "/[a-z]/b"},
        },
        (at("/a/b", method="PUT"), "exact"),
        (at("/a/b", method="POST"), "deep"),
        (at("/a/b", x_a="1"), "shallow"),
        (at("/a/b"), "pattern"),
        (at("/a/c"), NONE),
    ),
    section(
        "4.1",
        "a hostname that does not cover gives way, kind by kind",
        {
            "exact": {"path": "/a", "hostnames": ["one.test"]},
            "wild": {"path": "/a", "hostnames": ["*.two.test"]},
            "prefix": {"pathPrefix": "/a", "hostnames": ["three.test"]},
            "star": {"pathPrefix": "/", "hostnames": ["*"], "methods": ["GET"]},
            "pattern": {"pathRegex": "/a", "hostnames": ["four.test"]},
        },
        (at("/a", host="one.test"), "exact"),
        (at("/a", host="x.two.test"), "wild"),
        (at("/a", host="three.test"), "prefix"),
        (at("/a", host="four.test"), "star"),
        (at("/a", host="four.test", method="PUT"), "pattern"),
        (at("/a", host="five.test", method="PUT"), NONE),
    ),
]
