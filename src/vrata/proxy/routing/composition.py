"""What a route asks of a request, and how a group's conditions compose with its routes'.

Everything here is text and tuples; nothing is compiled yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, unique

from vrata.proxy.routing.pattern import (
    begins_with_slash,
    branches,
    escape,
    literal_prefix,
    without_end,
    without_start_anchor,
)


@unique
class PathKind(IntEnum):
    """How a path is matched, in the order in which kinds are tried."""

    EXACT = 0
    PREFIX = 1
    REGEX = 2


@dataclass(frozen=True, slots=True)
class PathMatch:
    """One condition on the percent-decoded path.

    A prefix covers whole segments: the path equals it or goes on with a slash, the prefix's own last one or one
    behind it. A regular expression is anchored at the start of the path, and at its end only if it says so itself.
    """

    kind: PathKind
    text: str
    """The path, the prefix, or the RE2 pattern."""
    twin: str = ""
    """EXACT: a second path that matches as well, or empty."""
    literal: str = ""
    """REGEX: text that every matching path begins with; narrows the search and never decides."""
    boundary: bool = False
    """REGEX: the pattern's last element takes the slash after the matched part, which is not part of it."""
    length: int = 0
    """REGEX: characters of what was written of it, in group and route together; the longer one comes first."""


EVERYTHING = PathMatch(PathKind.PREFIX, "/")


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """A condition on a header field or query parameter, by its first value."""

    name: str
    """Header field names are compared without regard to case, parameter names exactly."""
    value: str = ""
    """Empty: being present is enough."""
    regex: bool = False
    """The value is searched for the RE2 pattern ``value`` instead of compared with it."""


@dataclass(frozen=True, slots=True)
class RouteConditions:
    """A route's own conditions. At most one of the three path fields is set."""

    path: str = ""
    path_prefix: str = ""
    path_regex: str = ""
    methods: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()
    headers: tuple[ValueMatch, ...] = ()
    query_parameters: tuple[ValueMatch, ...] = ()
    grpc: bool = False
    cel: str = ""


@dataclass(frozen=True, slots=True)
class GroupConditions:
    """The conditions a group adds to its routes. At most one of the two path fields is set."""

    path_prefix: str = ""
    path_regex: str = ""
    hostnames: tuple[str, ...] = ()
    headers: tuple[ValueMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class MatchConditions:
    """All conditions of one entry of the table; a request matches when every one holds."""

    path: PathMatch = EVERYTHING
    methods: tuple[str, ...] = ()
    """Any of them; none restricts nothing."""
    hostnames: tuple[str, ...] = ()
    """Any of them; none restricts nothing."""
    headers: tuple[ValueMatch, ...] = ()
    query_parameters: tuple[ValueMatch, ...] = ()
    grpc: bool = False
    """The content type begins with ``application/grpc``."""
    cel: str = ""
    """An expression that has to be true; empty restricts nothing."""


def compose(route: RouteConditions, group: GroupConditions | None = None) -> MatchConditions:
    """Return the conditions of *route* inside *group*, or of *route* alone.

    Hostnames of both count, the group's first; headers of both are required, the route's first; methods, query
    parameters, gRPC and the expression come from the route.
    """
    if group is None:
        return MatchConditions(
            compose_path(route),
            route.methods,
            route.hostnames,
            route.headers,
            route.query_parameters,
            route.grpc,
            route.cel,
        )
    hostnames = group.hostnames + route.hostnames
    return MatchConditions(
        compose_path(route, group),
        route.methods,
        tuple(dict.fromkeys(hostnames)) if group.hostnames and route.hostnames else hostnames,
        route.headers + group.headers,
        route.query_parameters,
        route.grpc,
        route.cel,
    )


def compose_path(route: RouteConditions, group: GroupConditions | None = None) -> PathMatch:
    """Return the path condition of *route* inside *group*.

    The group's path is a namespace and the route's path a place in it: exactly one slash joins them, and the route
    path ``/``, exact or prefix, names the namespace itself, with or without a slash behind it.
    """
    if group is not None and group.path_regex:
        return _below_regex(group.path_regex, route)
    if group is not None and group.path_prefix:
        return _below_prefix(group.path_prefix, route)
    if route.path:
        return PathMatch(PathKind.EXACT, route.path)
    if route.path_prefix:
        return PathMatch(PathKind.PREFIX, route.path_prefix)
    if route.path_regex:
        regex = route.path_regex
        return _regex("", _tail(regex), literal_prefix(regex), len(regex))
    return EVERYTHING


def _below_prefix(prefix: str, route: RouteConditions) -> PathMatch:
    namespace = prefix.rstrip("/")
    if route.path:
        tail = route.path.lstrip("/")
        return PathMatch(PathKind.EXACT, f"{namespace}/{tail}", twin="" if tail else namespace)
    if route.path_prefix:
        tail = route.path_prefix.lstrip("/")
        return PathMatch(PathKind.PREFIX, f"{namespace}/{tail}" if tail else namespace or "/")
    if route.path_regex:
        tail = _tail(route.path_regex)
        # The pattern may bring its own slash; where it does not say, nothing is put in: it may be optional there.
        head = namespace if begins_with_slash(tail) else prefix
        return _regex(escape(head), tail, head + literal_prefix(tail), len(prefix) + len(route.path_regex))
    return PathMatch(PathKind.PREFIX, prefix)


def _below_regex(regex: str, route: RouteConditions) -> PathMatch:
    literal = literal_prefix(regex)
    length = len(regex) + len(route.path or route.path_prefix or route.path_regex)
    if route.path:
        head, tail = _head(regex, joined=True), escape(route.path.lstrip("/"))
        text = f"^(?:{head})/{tail}$" if tail else f"^(?:{head})/?$"
        return PathMatch(PathKind.REGEX, text, literal=_shared(literal), length=length)
    if route.path_prefix:
        head, tail = _head(regex, joined=True), escape(route.path_prefix.lstrip("/"))
        if tail.endswith("/"):
            return PathMatch(PathKind.REGEX, f"^(?:{head})/{tail}", literal=_shared(literal), length=length)
        text = f"^(?:{head})/{tail}(?:/|$)" if tail else f"^(?:{head})(?:/|$)"
        return PathMatch(PathKind.REGEX, text, literal=_shared(literal), boundary=True, length=length)
    if route.path_regex:
        tail = _tail(route.path_regex)
        joined = begins_with_slash(tail)
        return _regex(f"(?:{_head(regex, joined=joined)})", tail, _shared(literal) if joined else literal, length)
    return _regex("", "|".join(branches(regex)), literal, length)


def _head(regex: str, *, joined: bool) -> str:
    """Prepare a group's pattern for having something behind it: no ``$``, and no slash where one is *joined*."""
    return "|".join(without_end(branch, "$/" if joined else "$") for branch in branches(regex))


def _tail(regex: str) -> str:
    """Prepare a route's pattern for standing behind an anchor or a group's path: no ``^``."""
    if "^" not in regex and "\\Q" not in regex:
        return regex
    return "|".join(without_start_anchor(branch) for branch in branches(regex))


def _shared(literal: str) -> str:
    """Drop the slashes that may have been dropped from the end of the pattern."""
    return literal.rstrip("/")


def _regex(head: str, tail: str, literal: str, length: int) -> PathMatch:
    return PathMatch(PathKind.REGEX, f"^{head}(?:{tail})", literal=literal, length=length)
