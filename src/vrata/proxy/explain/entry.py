"""An entry of the explained table: a route in one group, or on its own, with everything that it says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

from vrata.model.group import RouteGroup
from vrata.model.route import Route
from vrata.proxy.compile import AnswersAtOnce
from vrata.proxy.contracts import RequestView
from vrata.proxy.routing.composition import MatchConditions, PathKind, PathMatch, ValueMatch
from vrata.proxy.routing.conditions import Condition
from vrata.proxy.routing.rewriting import Rewrite

_PATH_MEMBERS = {PathKind.EXACT: "path", PathKind.PREFIX: "pathPrefix", PathKind.REGEX: "pathRegex"}

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Entry:
    """What the table finds."""

    route: Route
    group: RouteGroup | None
    conditions: MatchConditions
    """Those of the route and its group, composed."""
    answer: AnswersAtOnce | None
    """The action, unless it is to forward."""
    rewrite: Rewrite | None
    """What forwarding rewrites."""

    def identity(self) -> Document:
        """Which route this is, and in which group."""
        document: Document = {"route": {"id": self.route.id, "name": self.route.name}}
        if self.group is not None:
            document["group"] = {"id": self.group.id, "name": self.group.name}
        return document

    def match_document(self) -> Document:
        """Return the composed conditions, by the names of a route's `match`; those that ask for nothing left out."""
        wanted = self.conditions
        members: Document = {
            _PATH_MEMBERS[wanted.path.kind]: wanted.path.text,
            "methods": list(wanted.methods),
            "hostnames": list(wanted.hostnames),
            "headers": [_value_match(each) for each in wanted.headers],
            "queryParams": [_value_match(each) for each in wanted.query_parameters],
            "grpc": wanted.grpc,
            "cel": wanted.cel,
        }
        return {name: value for name, value in members.items() if value}

    def path_check(self, path: str, *, holds: bool) -> Document:
        """Say what the entry wants of the *path*, and whether it *holds*."""
        return {"condition": "path", "expected": _expected(self.conditions.path), "actual": shown(path), "holds": holds}


def checks(conditions: Iterable[Condition], request: RequestView) -> list[Document]:
    """Ask all *conditions*, also behind one that fails."""
    return [_check(condition, request) for condition in conditions]


def shown(text: str) -> str:
    """*text* as JSON can hold it: bytes that are no UTF-8, lone surrogates here, become replacement characters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _check(condition: Condition, request: RequestView) -> Document:
    seen = condition.seen(request)
    return {
        "condition": condition.name,
        "expected": condition.expected,
        "actual": None if seen is None else shown(seen),
        "holds": condition.holds(request),
    }


def _expected(path: PathMatch) -> str:
    if path.kind is PathKind.EXACT:
        return f"{path.text!r} or {path.twin!r}" if path.twin else repr(path.text)
    if path.kind is PathKind.PREFIX:
        return f"the prefix {path.text!r}"
    return f"a match of {path.text!r}"


def _value_match(wanted: ValueMatch) -> Document:
    members: Document = {"name": wanted.name, "value": wanted.value, "regex": wanted.regex}
    return {name: value for name, value in members.items() if value}
