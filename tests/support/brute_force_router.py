"""A router that asks every entry about every request, written from the rules and apart from the real one.

It imports nothing of Vrata. It reads entities as they are written and requests as they are sent, with a decoder of its
own, on bytes throughout. It composes nothing either: whether a path fits a route in a group is found by trying every
place at which the group's part could end. Slow, and easy to believe.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import re2

Document = dict[str, Any]
"""An entity as the API takes it; a match is one of its parts."""

NOTHING: Document = {}

CLAIMS = frozenset(
    ["host", "forwarded"]
    + [f"x-forwarded-{claim}" for claim in ("proto", "host", "port", "server", "client-cert")]
    + ["x-vrata-attempt-count", "x-request-attempt-count"]
)
"""Header fields that no condition sees: what only a proxy may say, and the host."""


@dataclass(frozen=True)
class WireRequest:
    """A request as a client sends it."""

    target: str = "/"
    method: str = "GET"
    host: str = "proxy.test"
    headers: tuple[tuple[str, str], ...] = ()
    """Sent as UTF-8."""

    @property
    def brief(self) -> str:
        parts = [self.method] if self.method != "GET" else []
        parts += [self.host] if self.host != "proxy.test" else []
        return " ".join([*parts, self.target, *(f"{name}={value}" for name, value in self.headers)])

    @property
    def message(self) -> bytes:
        lines = [f"{self.method} {self.target} HTTP/1.1", f"Host: {self.host}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"

    @cached_property
    def seen(self) -> SeenRequest:
        """What conditions see of it."""
        authority, target = self.host, self.target
        if target.startswith(("http://", "https://")):
            rest = target.split("://", 1)[1]
            cut = min(rest.find(mark) if mark in rest else len(rest) for mark in "/?")
            authority, target = rest[:cut], rest[cut:]
            if not target.startswith("/"):
                target = "/" + target
        raw_path, _, raw_query = target.partition("?")
        headers: dict[str, bytes] = {}
        for name, value in self.headers:
            if name.lower() not in CLAIMS:
                headers.setdefault(name.lower(), value.strip(" \t").encode())
        query: dict[str, bytes] = {}
        for piece in raw_query.split("&"):
            if piece:
                name, _, value = piece.replace("+", " ").partition("=")
                # Bytes that are no UTF-8 count as U+FFFD here.
                query.setdefault(
                    percent_decoded(name).decode(errors="replace"),
                    percent_decoded(value).decode(errors="replace").encode(),
                )
        return SeenRequest(self.method, host_of(authority), percent_decoded(raw_path), headers, query)


class SeenRequest(NamedTuple):
    method: str
    host: str
    path: bytes
    headers: dict[str, bytes]
    query: dict[str, bytes]


class Entry(NamedTuple):
    """A route in one group, or on its own."""

    route: Document
    group: Document

    @property
    def match(self) -> Document:
        found: Document = self.route.get("match", NOTHING)
        return found

    @property
    def hostnames(self) -> list[str]:
        return [*self.group.get("hostnames", ()), *self.match.get("hostnames", ())]

    @property
    def headers(self) -> list[Document]:
        return [*self.match.get("headers", ()), *self.group.get("headers", ())]

    @property
    def identity(self) -> tuple[str, str]:
        """The group's ID, empty without one, and the route's."""
        return self.group.get("id", ""), self.route["id"]


@dataclass(frozen=True)
class Configuration:
    """What is to be routed."""

    routes: tuple[Document, ...] = ()
    groups: tuple[Document, ...] = ()

    @cached_property
    def entries(self) -> list[Entry]:
        """Groups by ID, each with its routes in its order; then the routes of no group by ID."""
        routes = {route["id"]: route for route in self.routes}
        found = []
        for group in sorted(self.groups, key=lambda each: each["id"]):
            found += [Entry(routes[identity], group) for identity in group["routeIds"] if identity in routes]
        grouped = {identity for group in self.groups for identity in group["routeIds"]}
        found += [Entry(routes[identity], NOTHING) for identity in sorted(routes.keys() - grouped)]
        return found

    def taken(self, request: WireRequest) -> tuple[str, str] | None:
        """Return group and route that answer *request*, or None."""
        seen = request.seen
        fitting = [(priority(entry, seen), at) for at, entry in enumerate(self.entries) if fits(entry, seen)]
        return self.entries[min(fitting)[1]].identity if fitting else None


def fits(entry: Entry, request: SeenRequest) -> bool:
    match = entry.match
    methods = [method.upper() for method in match.get("methods", ())]
    content_type = request.headers.get("content-type", b"").lower()
    return (
        host_rank(entry.hostnames, request.host) is not None
        and path_fits(entry, request.path)
        and (not methods or request.method in methods)
        and (not match.get("grpc") or content_type.startswith(b"application/grpc"))
        and all(header_fits(wanted, request.headers.get(wanted["name"].lower())) for wanted in entry.headers)
        and all(query_fits(wanted, request.query.get(wanted["name"])) for wanted in match.get("queryParams", ()))
        and (not match.get("cel") or EXPRESSIONS[match["cel"]](request))
    )


def priority(entry: Entry, request: SeenRequest) -> tuple[Any, ...]:
    """Sorts entries that fit *request*; what is left equal goes by the order of entries."""
    match, group = entry.match, entry.group
    own, outer = (match.get(name, "") for name in ("path", "pathPrefix")), group.get("pathPrefix", "")
    exact, prefix = own
    regex = match.get("pathRegex", "")
    outer_regex = group.get("pathRegex", "")
    if outer_regex or regex:
        # Not the composed pattern, of whose making users know nothing: what they have written counts.
        kind, length = 2, len(outer_regex or outer) + len(regex or exact or prefix)
    elif exact:
        kind, length = 0, 0
    else:
        kind, length = 1, len(joined_prefix(outer, prefix))
    return (
        kind,
        -length,
        host_rank(entry.hostnames, request.host),
        -len(entry.headers),
        -len(match.get("queryParams", ())),
        not match.get("methods"),
        not match.get("grpc"),
        not match.get("cel"),
    )


# -- expressions ------------------------------------------------------------------------------------------------------

EXPRESSIONS: dict[str, Callable[[SeenRequest], bool]] = {
    "request.method == 'GET'": lambda request: request.method == "GET",
    "request.path.startsWith('/a')": lambda request: request.path.startswith(b"/a"),
    "request.host == 'example.com' || request.method == 'POST'": lambda request: (
        request.host == "example.com" or request.method == "POST"
    ),
    # A field that is missing is an error, and an error is not true, whatever is said of it.
    "request.headers['x-a'] != '1'": lambda request: request.headers.get("x-a", b"1") != b"1",
    "!(request.headers['x-a'] == '1')": lambda request: request.headers.get("x-a", b"1") != b"1",
    "size(request.headers['x-b']) > 1": lambda request: len(request.headers.get("x-b", b"").decode()) > 1,
    # But it is absorbed where the other side decides.
    "request.headers['x-b'] == 'x' || request.method == 'POST'": lambda request: (
        request.headers.get("x-b") == b"x" or request.method == "POST"
    ),
    "has(request.headers.x) || request.queryParams['X-B'] == '1'": lambda request: request.query.get("X-B") == b"1",
    "'x-a' in request.queryParams": lambda request: "x-a" in request.query,
    "!has(request.body)": lambda request: True,
}
"""Every expression that there can be, and what it says in other words."""


# -- hosts ------------------------------------------------------------------------------------------------------------


def host_of(authority: str) -> str:
    end = authority.index("]") + 1 if authority.startswith("[") else (authority + ":").index(":")
    host = authority[:end].lower()
    return host[:-1] if host.endswith(".") else host


def host_rank(hostnames: Sequence[str], host: str) -> tuple[int, int] | None:
    """Rank by the most specific hostname that covers *host*; None when none does."""
    if not hostnames:
        return 3, 0
    ranks = []
    for name in hostnames:
        bare = host_of(name if name.count(":") < 2 or name.startswith("[") else f"[{name}]")
        if bare == host:
            ranks.append((0, 0))
        elif bare == "*":
            ranks.append((2, 0))
        elif bare.startswith("*.") and host.endswith(bare[1:]) and host != bare[1:]:
            ranks.append((1, -len(bare)))
    return min(ranks, default=None)


# -- values -----------------------------------------------------------------------------------------------------------


def header_fits(wanted: Document, value: bytes | None) -> bool:
    return value is not None and value != b"" and value_fits(wanted, value)


def query_fits(wanted: Document, value: bytes | None) -> bool:
    return value is not None and value_fits(wanted, value)


def value_fits(wanted: Document, value: bytes) -> bool:
    text = wanted.get("value", "")
    if not text:
        return True
    return searches(text, value) if wanted.get("regex") else value == text.encode()


def percent_decoded(text: str) -> bytes:
    """Decode once; what is no escape stays."""
    out = bytearray()
    at = 0
    while at < len(text):
        digits = text[at + 1 : at + 3]
        if text[at] == "%" and len(digits) == 2 and all(digit in "0123456789abcdefABCDEF" for digit in digits):
            out.append(int(digits, 16))
            at += 3
        else:
            out += text[at].encode()
            at += 1
    return bytes(out)


# -- paths ------------------------------------------------------------------------------------------------------------


def path_fits(entry: Entry, path: bytes) -> bool:
    match, group = entry.match, entry.group
    exact, prefix, regex = (match.get(name, "") for name in ("path", "pathPrefix", "pathRegex"))
    outer_prefix, outer_regex = group.get("pathPrefix", ""), group.get("pathRegex", "")
    if outer_regex:
        if not (exact or prefix or regex):
            return starts(outer_regex, path)
        return any(rest_fits(match, rest) for rest in rests_behind_regex(outer_regex, match, path))
    if exact:
        return path in exact_paths(outer_prefix, exact)
    if regex:
        head = outer_prefix
        if begins_with_slash(regex):
            head = head.rstrip("/")
        return path.startswith(head.encode()) and starts(regex, path[len(head.encode()) :])
    return prefix_fits(joined_prefix(outer_prefix, prefix), path)


def exact_paths(outer: str, path: str) -> set[bytes]:
    if not outer:
        return {path.encode()}
    bare = outer.rstrip("/")
    if path.strip("/"):
        return {f"{bare}/{path.lstrip('/')}".encode()}
    return {f"{bare}/".encode()} | ({bare.encode()} if bare else set())


def joined_prefix(outer: str, prefix: str) -> str:
    if not outer or not prefix:
        return outer or prefix or "/"
    if prefix.strip("/"):
        return f"{outer.rstrip('/')}/{prefix.lstrip('/')}"
    return outer.rstrip("/") or "/"


def prefix_fits(text: str, path: bytes) -> bool:
    prefix = text.encode()
    return path == prefix or (prefix.endswith(b"/") and path.startswith(prefix)) or path.startswith(prefix + b"/")


def rests_behind_regex(outer: str, match: Document, path: bytes) -> Iterator[bytes]:
    """Give all that may be left of *path* for the route when *outer* has taken its part."""
    # Where the route brings a slash, those that the group's pattern ends with make way for it.
    regex = match.get("pathRegex", "")
    slash_follows = begins_with_slash(regex) if regex else True
    for branch in branches_of(outer):
        while branch.endswith(("$", "/") if slash_follows else "$") and not branch[:-1].endswith("\\"):
            branch = branch[:-1]
        whole = fully(branch)
        for end in range(len(path) + 1):
            if whole(path[:end]):
                yield path[end:]


def rest_fits(match: Document, rest: bytes) -> bool:
    """Tell whether *rest*, behind what a group's pattern took, is what the route wants."""
    exact, prefix, regex = (match.get(name, "") for name in ("path", "pathPrefix", "pathRegex"))
    if exact:
        return rest in (b"", b"/") if not exact.strip("/") else rest == f"/{exact.lstrip('/')}".encode()
    if prefix:
        return prefix_fits(f"/{prefix.lstrip('/')}", rest) if prefix.strip("/") else rest[:1] in (b"", b"/")
    return starts(regex, rest)


# -- regular expressions ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Any:
    return re2.compile(pattern.encode())


def starts(pattern: str, text: bytes) -> bool:
    return compiled(pattern).match(text) is not None


def searches(pattern: str, text: bytes) -> bool:
    return compiled(pattern).search(text) is not None


def fully(pattern: str) -> Callable[[bytes], bool]:
    expression = compiled(pattern)
    return lambda text: expression.fullmatch(text) is not None


def branches_of(pattern: str) -> list[str]:
    """Split at the bars outside all brackets; flags at the front are for every branch."""
    flags, rest = split_flags(pattern)
    found, depth, in_class, escaped = [""], 0, False, False
    for character in rest:
        if character == "|" and depth == 0 and not in_class and not escaped:
            found.append("")
            continue
        if not escaped:
            depth += (character == "(" and not in_class) - (character == ")" and not in_class)
            in_class = (in_class or character == "[") and character != "]"
        escaped = character == "\\" and not escaped
        found[-1] += character
    return [flags + branch for branch in found]


def begins_with_slash(pattern: str) -> bool:
    """Tell whether every branch, anchor and flags aside, begins with a slash."""
    return all(split_flags(branch)[1].lstrip("^").startswith(("/", "\\/")) for branch in branches_of(pattern))


def split_flags(pattern: str) -> tuple[str, str]:
    """Split off flags such as `(?i)` at the front."""
    end = pattern.find(")") + 1
    is_flags = pattern.startswith("(?") and pattern[2 : end - 1].isalpha()
    return (pattern[:end], pattern[end:]) if is_flags else ("", pattern)
