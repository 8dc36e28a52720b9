"""4.4: group times route, every row of the table, and how the two join; routes in several groups."""

from __future__ import annotations

from typing import Any

from tests.support.match_cases.section import NONE, Section, at, section


def joined(title: str, group: dict[str, Any], match: dict[str, Any], taken: str, refused: str) -> Section:
    """One route in one group: targets, separated by spaces, that it takes and that it does not."""
    rows = [(target, "g/r") for target in taken.split()] + [(target, NONE) for target in refused.split()]
    return section("4.4", title, {"r": match}, *rows, groups={"g": {"routeIds": ["r"], **group}})


def alone(title: str, match: dict[str, Any], taken: str, refused: str) -> Section:
    rows = [(target, "r") for target in taken.split()] + [(target, NONE) for target in refused.split()]
    return section("4.4", title, {"r": match}, *rows)


PREFIX = {"pathPrefix": "/api"}
REGEX = {"pathRegex": "/v[0-9]"}

SECTIONS = [
    # -- the rows of the table, in its order
    alone("no group, path", {"path": "/a"}, "/a", "/a/ /ab /"),
    alone("no group, prefix", {"pathPrefix": "/a"}, "/a /a/ /a/b", "/ab /"),
    alone("no group, regex", {"pathRegex": "/a[0-9]"}, "/a1 /a1x /a1/b", "/a /x/a1"),
    alone("no group, nothing", {}, "/ /x /x/y", ""),
    joined("prefix and path", PREFIX, {"path": "/a"}, "/api/a", "/a /api /api/ /api/a/ /api/a/b /apia /api//a"),
    joined("prefix and prefix", PREFIX, {"pathPrefix": "/a"}, "/api/a /api/a/ /api/a/b", "/a /api /api/ab /api//a"),
    joined("prefix and regex", PREFIX, {"pathRegex": "/[0-9]+"}, "/api/1 /api/12/x /api/1x", "/1 /api /api/ /x/api/1"),
    joined("prefix and nothing", PREFIX, {}, "/api /api/ /api/x", "/ /apix /x/api"),
    joined("regex and path", REGEX, {"path": "/a"}, "/v1/a /v9/a", "/v1/a/ /v1/ab /v1/a/b /va/a /v1 /a /x/v1/a"),
    joined("regex and prefix", REGEX, {"pathPrefix": "/a"}, "/v1/a /v1/a/ /v1/a/b", "/v1/ab /v1 /v1/ /va/a"),
    joined("regex and regex", REGEX, {"pathRegex": "/[a-c]"}, "/v1/a /v2/b/x /v1/cx", "/v1/d /v1 /v/a /x/v1/a"),
    joined("regex and nothing", REGEX, {}, "/v1 /v1/x /v12", "/v /x/v1"),
    # -- exactly one slash joins, and the route path `/` is the namespace itself
    joined("prefix and the root path", PREFIX, {"path": "/"}, "/api /api/", "/api/x /apix / /api//"),
    joined("prefix and the root prefix", PREFIX, {"pathPrefix": "/"}, "/api /api/ /api/x /api//", "/apix /"),
    joined("slash at the group's end, path", {"pathPrefix": "/api/"}, {"path": "/a"}, "/api/a", "/api//a /apia /api/"),
    joined("slash at the group's end, root path", {"pathPrefix": "/api/"}, {"path": "/"}, "/api /api/", "/api//"),
    joined(
        "slash at the group's end, prefix", {"pathPrefix": "/api/"}, {"pathPrefix": "/a"}, "/api/a /api/a/b", "/api//a"
    ),
    joined(
        "slash at the group's end, root prefix", {"pathPrefix": "/api/"}, {"pathPrefix": "/"}, "/api /api/x", "/apix"
    ),
    joined(
        "slash at the group's end, regex", {"pathPrefix": "/api/"}, {"pathRegex": "/[0-9]"}, "/api/1", "/api//1 /api1"
    ),
    joined(
        "slash from the group alone", {"pathPrefix": "/api/"}, {"pathRegex": "[0-9]"}, "/api/1 /api/12", "/api1 /api//1"
    ),
    joined("no slash at all", PREFIX, {"pathRegex": "[0-9]"}, "/api1 /api12", "/api/1"),
    joined("slash at the group's end, nothing", {"pathPrefix": "/api/"}, {}, "/api/ /api/x", "/api /apix"),
    joined("slashes on both sides", {"pathPrefix": "/api//"}, {"path": "//a/"}, "/api/a/", "/api//a/ /api/a /api///a/"),
    joined("slash at the route's end, prefix", PREFIX, {"pathPrefix": "/a/"}, "/api/a/ /api/a/b", "/api/a /api/ab"),
    joined("slash at the route's end, path", PREFIX, {"path": "/a/"}, "/api/a/", "/api/a /api/a/b"),
    joined("the root as group, path", {"pathPrefix": "/"}, {"path": "/a"}, "/a", "//a /a/ /"),
    joined("the root as group, root path", {"pathPrefix": "/"}, {"path": "/"}, "/", "// /a"),
    joined("the root as group, prefix", {"pathPrefix": "/"}, {"pathPrefix": "/a"}, "/a /a/b", "//a /ab"),
    joined("the root as group, nothing", {"pathPrefix": "/"}, {}, "/ /a //", ""),
    joined("regex and the root path", REGEX, {"path": "/"}, "/v1 /v1/", "/v1/x /v12 /v1//"),
    joined("regex and the root prefix", REGEX, {"pathPrefix": "/"}, "/v1 /v1/ /v1/x", "/v12 /v12/x /v"),
    joined("slash at the regex's end", {"pathRegex": "/v[0-9]/"}, {"path": "/a"}, "/v1/a", "/v1//a /v1a"),
    joined("slash at the regex's end, prefix", {"pathRegex": "/v[0-9]/"}, {"pathPrefix": "/a"}, "/v1/a/b", "/v1//a"),
    joined("slash at the regex's end, regex", {"pathRegex": "/v[0-9]/"}, {"pathRegex": "/a"}, "/v1/a", "/v1//a"),
    joined("slash from the group's regex alone", {"pathRegex": "/v[0-9]/"}, {"pathRegex": "a"}, "/v1/a", "/v1a"),
    joined("slash at the route's end below a regex", REGEX, {"pathPrefix": "/a/"}, "/v1/a/ /v1/a/b", "/v1/a /v1/ab"),
    joined("two slashes at the regex's end", {"pathRegex": "/v[0-9]//"}, {"path": "/a"}, "/v1/a", "/v1//a"),
    # -- what is literal stays literal
    joined("a prefix is no pattern", {"pathPrefix": "/a.b+(c)"}, {"pathRegex": "/[0-9]"}, "/a.b+(c)/1", "/axb+(c)/1"),
    joined("a prefix with a bar", {"pathPrefix": "/a|b"}, {"pathRegex": "/x"}, "/a|b/x".replace("|", "%7C"), "/a /b/x"),
    joined("a path is no pattern", REGEX, {"path": "/a.b*"}, "/v1/a.b*", "/v1/axb /v1/a.bb"),
    joined("a path with a quote", REGEX, {"path": r"/\Qx"}, "/v1/%5CQx", "/v1/x"),
    joined("decoded, then joined", {"pathPrefix": "/é"}, {"path": "/ü"}, "/%C3%A9/%C3%BC", "/%C3%A9"),
    joined("characters below a regex", {"pathRegex": "/[é]"}, {"path": "/ü"}, "/%C3%A9/%C3%BC", "/%C3/%C3%BC"),
    # -- anchors and branches inside
    joined("`^` in the second part", PREFIX, {"pathRegex": "^/[0-9]+"}, "/api/1", "/1"),
    joined("`^` and `$` in the second part", PREFIX, {"pathRegex": "^/[0-9]+$"}, "/api/1", "/api/1/ /api/1x"),
    joined("`^` in every branch", PREFIX, {"pathRegex": "^/a|^/b"}, "/api/a /api/b /api/b/x", "/a /b /x/api/b"),
    joined("`^` behind flags", PREFIX, {"pathRegex": "(?i)^/a"}, "/api/A /api/a", "/API/a /A"),
    joined("flags stay with their part", PREFIX, {"pathRegex": "(?i)/a|/b"}, "/api/A /api/B", "/API/A"),
    joined("branches of the second part", PREFIX, {"pathRegex": "/a|/b"}, "/api/a /api/b", "/b /x/b"),
    joined("branches of the first part", {"pathRegex": "/a|/b"}, {"path": "/x"}, "/a/x /b/x", "/a /b /x /a/x/y"),
    joined("branches of both parts", {"pathRegex": "/a|/b"}, {"pathRegex": "/x|/y"}, "/a/x /a/y /b/x /b/y/z", "/a /x"),
    joined("branches, one with a slash", {"pathRegex": "/a/|/b"}, {"path": "/x"}, "/a/x /b/x", "/a//x"),
    joined("`$` in the first part", {"pathRegex": "/v[0-9]$"}, {"path": "/a"}, "/v1/a", "/v1 /v1/a/"),
    joined(
        "`$` in the first part, regex behind", {"pathRegex": "^/v[0-9]$"}, {"pathRegex": "^/a$"}, "/v1/a", "/v1 /v1/ab"
    ),
    joined("`$` in the first part, nothing behind", {"pathRegex": "/v[0-9]$"}, {}, "/v1", "/v1/ /v1/a"),
    joined("an escaped `$`", {"pathRegex": r"/v\$"}, {"path": "/a"}, "/v$/a", "/v/a"),
    joined("flags of the first part", {"pathRegex": "(?i)/v"}, {"path": "/a"}, "/v/a /V/a", "/v/A"),
    # -- several segments in the first part
    joined("a first part of any length", {"pathRegex": "/.*"}, {"path": "/a"}, "//a /x/a /x/y/a", "/a /x/a/ /x/ab"),
    joined("a lazy first part", {"pathRegex": "/.*?"}, {"pathPrefix": "/a"}, "/x/a /x/a/y /x/y/a", "/x/ab"),
    # -- the other merges
    section(
        "4.4",
        "hostnames of either are enough",
        {"own": {"path": "/own", "hostnames": ["route.test"]}, "none": {"path": "/none"}},
        (at("/own", host="group.test"), "g/own"),
        (at("/own", host="route.test"), "g/own"),
        (at("/own", host="x.wild.test"), "g/own"),
        (at("/own", host="other.test"), NONE),
        (at("/none", host="group.test"), "g/none"),
        (at("/none", host="route.test"), NONE),
        groups={"g": {"routeIds": ["own", "none"], "hostnames": ["group.test", "*.wild.test"]}},
    ),
    section(
        "4.4",
        "a group without hostnames adds none",
        {"own": {"path": "/own", "hostnames": ["route.test"]}},
        (at("/own", host="route.test"), "g/own"),
        (at("/own", host="other.test"), NONE),
        groups={"g": {"routeIds": ["own"]}},
    ),
    section(
        "4.4",
        "headers of both are required",
        {"r": {"headers": [{"name": "x-own", "value": "1"}]}},
        (at(x_own="1", x_shared="a"), "g/r"),
        (at(x_own="1"), NONE),
        (at(x_shared="a"), NONE),
        (at(x_own="1", x_shared=""), NONE),
        groups={"g": {"routeIds": ["r"], "headers": [{"name": "X-Shared"}]}},
    ),
    section(
        "4.4",
        "the same header may be wanted twice",
        {"r": {"headers": [{"name": "x-v", "value": "a", "regex": True}]}},
        (at(x_v="ab"), "g/r"),
        (at(x_v="a"), NONE),
        (at(x_v="b"), NONE),
        groups={"g": {"routeIds": ["r"], "headers": [{"name": "X-V", "value": "b", "regex": True}]}},
    ),
    section(
        "4.4",
        "methods, parameters and gRPC are the route's",
        {"r": {"methods": ["POST"], "queryParams": [{"name": "q"}], "grpc": True}},
        (at("/g?q", method="POST", content_type="application/grpc"), "g/r"),
        (at("/g?q", method="GET", content_type="application/grpc"), NONE),
        (at("/g", method="POST", content_type="application/grpc"), NONE),
        (at("/g?q", method="POST"), NONE),
        groups={"g": {"routeIds": ["r"], "pathPrefix": "/g"}},
    ),
    # -- a route in several groups, in none, and groups that name what is not there
    section(
        "4.1",
        "a route in several groups is reached through each, not on its own",
        {"list": {"path": "/list"}, "alone": {"path": "/alone"}},
        ("/v1/list", "one/list"),
        ("/v2/list", "two/list"),
        ("/r7/list", "three/list"),
        ("/list", NONE),
        ("/alone", "alone"),
        ("/v1/alone", NONE),
        groups={
            "one": {"routeIds": ["list"], "pathPrefix": "/v1"},
            "two": {"routeIds": ["gone", "list"], "pathPrefix": "/v2"},
            "three": {"routeIds": ["list"], "pathRegex": "/r[0-9]"},
        },
    ),
    section(
        "4.1",
        "a route in a group without conditions and in one with",
        {"list": {"path": "/list"}},
        ("/list", "plain/list"),
        ("/x/list", "prefixed/list"),
        groups={"plain": {"routeIds": ["list"]}, "prefixed": {"routeIds": ["list"], "pathPrefix": "/x"}},
    ),
    section(
        "4.1",
        "a group of no route takes nothing",
        {"r": {"path": "/r"}},
        ("/r", "r"),
        ("/g/r", NONE),
        ("/g", NONE),
        groups={"g": {"routeIds": ["gone"], "pathPrefix": "/g"}, "empty": {"routeIds": [], "pathPrefix": "/g"}},
    ),
]
