"""A router that asks every entry about every request, written from the rules and apart from the real one.

It composes nothing: whether a path fits a route in a group is found by trying every place at which the group's part
could end. Regular expressions run on the standard library's engine. Slow, and easy to believe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vrata.proxy.contracts import RequestView
from vrata.proxy.routing.composition import GroupConditions, RouteConditions, ValueMatch, compose_path

NO_GROUP = GroupConditions()


@dataclass(frozen=True)
class Entry:
    route: RouteConditions
    group: GroupConditions | None = None


def first_match(entries: Sequence[Entry], request: RequestView) -> int | None:
    """Return the position of the entry that answers *request*, or None."""
    fitting = [position for position, entry in enumerate(entries) if fits(entry, request)]
    return min(fitting, key=lambda position: priority(entries[position], position, request), default=None)


def priority(entry: Entry, position: int, request: RequestView) -> tuple[object, ...]:
    route, group = entry.route, entry.group or NO_GROUP
    if group.path_regex or (route.path_regex and not group.path_prefix):
        kind = 2
    elif route.path:
        kind = 0
    elif route.path_regex:
        kind = 2
    else:
        kind = 1
    length = 0
    if kind == 1:
        length = max(len(prefix) for prefix in prefixes(entry))
    elif kind == 2:
        length = len(compose_path(route, entry.group).text)
    return (
        kind,
        -length,
        host_rank([*group.hostnames, *route.hostnames], request.host),
        -len(route.headers) - len(group.headers),
        -len(route.query_parameters),
        not route.methods,
        not route.grpc,
        position,
    )


def host_rank(hostnames: Sequence[str], host: str) -> tuple[int, int]:
    """Rank by the most specific hostname that covers *host*."""
    ranks = [(3, 0)] if not hostnames else []
    for name in hostnames:
        bare = name.lower().removesuffix(".")
        if bare == host:
            ranks.append((0, 0))
        elif bare == "*":
            ranks.append((2, 0))
        elif bare.startswith("*.") and re.fullmatch(r".+" + re.escape(bare[1:]), host):
            ranks.append((1, -len(bare)))
    return min(ranks, default=(9, 9))


def fits(entry: Entry, request: RequestView) -> bool:
    route, group = entry.route, entry.group or NO_GROUP
    return (
        host_rank([*group.hostnames, *route.hostnames], request.host) != (9, 9)
        and path_fits(entry, request.path)
        and (not route.methods or request.method in [method.upper() for method in route.methods])
        and (not route.grpc or (request.header("content-type") or "").lower().startswith("application/grpc"))
        and all(header_fits(wanted, request) for wanted in [*route.headers, *group.headers])
        and all(query_fits(wanted, request) for wanted in route.query_parameters)
    )


def header_fits(wanted: ValueMatch, request: RequestView) -> bool:
    value = request.header(wanted.name.lower())
    return value is not None and value != "" and value_fits(wanted, value)


def query_fits(wanted: ValueMatch, request: RequestView) -> bool:
    value = request.query_parameter(wanted.name)
    return value is not None and value_fits(wanted, value)


def value_fits(wanted: ValueMatch, value: str) -> bool:
    if wanted.value == "":
        return True
    return bool(re.search(wanted.value, value)) if wanted.regex else value == wanted.value


def prefixes(entry: Entry) -> list[str]:
    """Give the prefix that an entry without regular expressions stands for."""
    route, group = entry.route, entry.group or NO_GROUP
    own = route.path_prefix
    if not group.path_prefix:
        return [own or "/"]
    if not own:
        return [group.path_prefix]
    joined = group.path_prefix.rstrip("/") + "/" + own.lstrip("/")
    return [joined.rstrip("/") or "/" if own.strip("/") == "" else joined]


def path_fits(entry: Entry, path: str) -> bool:
    route, group = entry.route, entry.group or NO_GROUP
    if group.path_regex:
        return any(rest_fits(route, rest) for rest in rests_after_regex(group.path_regex, route, path))
    if route.path:
        return path in exact_paths(group.path_prefix, route.path)
    if route.path_regex:
        return any(starts(route.path_regex, rest) for rest in rests_after_prefix(group.path_prefix, route, path))
    return any(prefix_fits(prefix, path) for prefix in prefixes(entry))


def exact_paths(group_prefix: str, path: str) -> set[str]:
    if not group_prefix:
        return {path}
    bare = group_prefix.rstrip("/")
    return {bare, bare + "/"} - {""} if path.strip("/") == "" else {bare + "/" + path.lstrip("/")}


def prefix_fits(prefix: str, path: str) -> bool:
    return path == prefix or (prefix.endswith("/") and path.startswith(prefix)) or path.startswith(prefix + "/")


def starts(pattern: str, text: str) -> bool:
    return re.match(f"(?:{pattern})", text) is not None


def rests_after_prefix(prefix: str, route: RouteConditions, path: str) -> Iterator[str]:
    if not prefix:
        yield path
        return
    branches = re.sub(r"\([^()]*\)", "()", route.path_regex).split("|")
    slash_brought = all(branch.removeprefix("^").startswith("/") for branch in branches)
    bare = prefix.rstrip("/") if slash_brought else prefix
    if path.startswith(bare):
        yield path[len(bare) :]


def rests_after_regex(pattern: str, route: RouteConditions, path: str) -> Iterator[str]:
    """Give what may follow the group's part; a slash at the end of the group's pattern goes to what follows."""
    behind = bool(route.path or route.path_prefix or route.path_regex.removeprefix("^").startswith("/"))
    own = pattern.removesuffix("$") if route.path or route.path_prefix or route.path_regex else pattern
    if behind:
        own = own.rstrip("/")
    for end in range(len(path) + 1):
        # `$` means the end of the whole path, not of the part that is being tried.
        if not (own.endswith("$") and end < len(path)) and re.fullmatch(own, path[:end]):
            yield path[end:]


def rest_fits(route: RouteConditions, rest: str) -> bool:
    if route.path:
        return rest in ("", "/") if route.path.strip("/") == "" else rest == "/" + route.path.lstrip("/")
    if route.path_prefix:
        own = "/" + route.path_prefix.lstrip("/")
        return rest == "" or rest.startswith("/") if own == "/" else prefix_fits(own, rest)
    if route.path_regex:
        return starts(route.path_regex.removeprefix("^"), rest)
    return True
