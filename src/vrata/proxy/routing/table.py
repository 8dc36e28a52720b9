"""The route table: from a request to the first entry whose conditions hold.

Exact paths stand in a dictionary, prefixes in a trie of segments, and regular expressions on the same trie, below the
segments that everything they match begins with. What a look-up costs follows from the path and from the entries that
share it, not from the number of entries.

Entries are tried in ascending order of:

1. kind of path: exact, prefix, regular expression; no path at all is the prefix ``/``;
2. length: longer (composed) prefixes first, longer patterns first, as they are written in group and route;
3. hostname: a whole name, a wildcard (longer ones first), ``*``, no hostname, by the hostname that covers the request;
4. more headers first; 5. more query parameters first; 6. restricted in methods first; 7. gRPC first,
   then those with an expression;
8. the order in which they were added, which is for the caller to make meaningful.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from vrata.expressions import compile_expression
from vrata.expressions.pattern import compile_pattern
from vrata.proxy.contracts import RequestView
from vrata.proxy.routing.candidate import (
    Candidate,
    Match,
    PathPattern,
    PatternShelf,
    Shelf,
    encoded,
    first_of_tied,
    in_order,
)
from vrata.proxy.routing.composition import MatchConditions, PathKind, PathMatch
from vrata.proxy.routing.conditions import Compile, Condition, Hostnames, Wants
from vrata.proxy.routing.trie import Node, Patterns, by_length

__all__ = ["Match", "RouteTable", "RouteTableBuilder", "Verdict"]

T = TypeVar("T")


class Verdict(NamedTuple, Generic[T]):
    """What became of one entry, for explaining."""

    payload: T
    condition: str
    """The name of the first condition that failed; empty when all hold."""
    reason: str
    """Why it failed; empty when all hold."""
    conditions: tuple[Condition, ...]
    """All that the entry wants beside its path, in the order of asking, those behind the failed one included."""

    @property
    def matches(self) -> bool:
        """True when all conditions hold."""
        return not self.condition


class RouteTable(Generic[T]):
    """Finds entries by request. Made by :class:`RouteTableBuilder`; never changes."""

    __slots__ = ("_depth", "_exact", "_root", "_size")

    def __init__(self, exact: dict[str, Shelf[T]], root: Node[T], depth: int, size: int) -> None:
        self._exact = exact
        self._root = root
        self._depth = depth
        """Segments of the longest way down from the root."""
        self._size = size

    @classmethod
    def of(cls, entries: Iterable[tuple[MatchConditions, T]]) -> RouteTable[T]:
        """Build a table from *entries* in their order. Raises InvalidPattern and InvalidExpression."""
        builder = RouteTableBuilder[T]()
        for conditions, payload in entries:
            builder.add(conditions, payload)
        return builder.build()

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<RouteTable of {self._size} entries>"

    def match(self, request: RequestView) -> Match[T] | None:
        """Return the first entry whose conditions hold for *request*, or None.

        Reads of the request only what the conditions of candidates for its path need. Raises
        :class:`~vrata.proxy.contracts.BodyNeeded` when an expression has to see a body that is not there yet.
        """
        path = request.path
        shelf = self._exact.get(path)
        if shelf is not None:
            if shelf.certain is not None:
                return shelf.certain
            candidate = shelf.find(request)
            if candidate is not None:
                return candidate.match
        # The walk of `_place`, written out: the call would be a quarter of what a look-up costs.
        node = self._root
        for segment in path.split("/", self._depth):
            child = node.children.get(segment)
            if child is None:
                shelf = node.beyond
                break
            node = child
        else:
            shelf = node.at_end
        while shelf is not None:
            if shelf.certain is not None:
                return shelf.certain
            candidate = shelf.find(request)
            if candidate is not None:
                return candidate.match
            shelf = shelf.shorter
        if node.patterns is None:
            return None
        for tied in by_length(node.patterns.matching(encoded(path))):
            candidate = tied[0].find(request) if len(tied) == 1 else first_of_tied(tied, request)
            if candidate is not None:
                return candidate.match
        return None

    def candidates(self, request: RequestView) -> Iterator[Verdict[T]]:
        """Give every entry that the path of *request* leads to, in order, with the first condition that fails.

        The first that matches is what :meth:`match` finds; those behind it would be next. Entries of another exact
        path or prefix are left out; regular expressions are given as far as their literal beginning fits.
        """
        path = request.path
        judged: set[int] = set()
        exact = self._exact.get(path)
        if exact is not None:
            yield from _verdicts(exact.candidates, request, judged)
        node, shelf = self._place(path)
        while shelf is not None:
            yield from _verdicts(shelf.candidates, request, judged)
            shelf = shelf.shorter
        if node.patterns is None:
            return
        text = encoded(path)
        for tied in by_length(node.patterns.all()):
            failures = {
                candidate.position: f"expected a match of {each.text!r}, got {path!r}"
                for each in tied
                if each.pattern.end(text) < 0
                for candidate in each.candidates
            }
            reached = sorted((candidate for each in tied for candidate in each.candidates), key=in_order)
            yield from _verdicts(reached, request, judged, failures)

    def _place(self, path: str) -> tuple[Node[T], Shelf[T] | None]:
        """Return the last node on the way of *path* and the longest prefix that covers it."""
        node = self._root
        for segment in path.split("/", self._depth):
            child = node.children.get(segment)
            if child is None:
                return node, node.beyond
            node = child
        return node, node.at_end


class RouteTableBuilder(Generic[T]):
    """Takes entries one by one and makes the table. A builder builds once."""

    def __init__(self, compile_expression: Compile = compile_expression) -> None:
        self._compile_expression = compile_expression
        self._exact: dict[str, Shelf[T]] = {}
        self._prefixes: dict[str, Shelf[T]] = {}
        self._patterns: dict[PathMatch, PatternShelf[T]] = {}
        self._root: Node[T] = Node()
        self._depth = 0
        self._size = 0
        # Many entries want the same: what it is compiled to is shared.
        self._wants: dict[object, Wants] = {}
        self._hostnames: dict[tuple[str, ...], Hostnames] = {}

    def add(self, conditions: MatchConditions, payload: T) -> None:
        """Add an entry behind those added before.

        Raises, and then adds nothing: InvalidPattern when one of its regular expressions is not valid RE2,
        InvalidExpression when its expression cannot be compiled.
        """
        wants = self._wants_of(conditions)
        hostnames = self._hostnames_of(conditions.hostnames)
        for shelf, match in self._places(conditions.path, payload):
            for host_class in hostnames.classes:
                shelf.add(Candidate(match, self._size, wants, hostnames, host_class))
        self._size += 1

    def build(self) -> RouteTable[T]:
        """Return the table of everything added."""
        building = self.building()
        while True:
            try:
                next(building)
            except StopIteration as end:
                table: RouteTable[T] = end.value
                return table

    def building(self) -> Generator[None, None, RouteTable[T]]:
        """Do the same in short steps, for a caller that has other things to do between them."""
        for shelves in (self._exact, self._prefixes, self._patterns):
            for shelf in shelves.values():
                shelf.sort()
                yield
        yield from self._root.inherit()
        return RouteTable(self._exact, self._root, self._depth, self._size)

    def _wants_of(self, conditions: MatchConditions) -> Wants:
        key = (conditions.methods, conditions.headers, conditions.query_parameters, conditions.grpc, conditions.cel)
        wants = self._wants.get(key)
        if wants is None:
            wants = self._wants[key] = Wants(conditions, self._compile_expression)
        return wants

    def _hostnames_of(self, names: tuple[str, ...]) -> Hostnames:
        hostnames = self._hostnames.get(names)
        if hostnames is None:
            hostnames = self._hostnames[names] = Hostnames(names)
        return hostnames

    def _places(self, path: PathMatch, payload: T) -> list[tuple[Shelf[T], Match[T]]]:
        """Return where an entry for *path* goes, and as what. Raises InvalidPattern."""
        if path.kind is PathKind.EXACT:
            texts = (path.text, path.twin) if path.twin else (path.text,)
            return [(self._exact_shelf(text), Match(payload, len(encoded(text)))) for text in texts]
        if path.kind is PathKind.PREFIX:
            return [(self._prefix_shelf(path.text), Match(payload, len(encoded(path.text))))]
        shelf = self._pattern_shelf(path)
        return [(shelf, Match(payload, -1, shelf.pattern))]

    def _exact_shelf(self, path: str) -> Shelf[T]:
        shelf = self._exact.get(path)
        if shelf is None:
            shelf = self._exact[path] = Shelf()
        return shelf

    def _prefix_shelf(self, prefix: str) -> Shelf[T]:
        shelf = self._prefixes.get(prefix)
        if shelf is None:
            shelf = self._prefixes[prefix] = Shelf()
            if prefix.endswith("/"):
                self._node(prefix[:-1].split("/")).beyond = shelf
            else:
                self._node(prefix.split("/")).at_end = shelf
        return shelf

    def _pattern_shelf(self, path: PathMatch) -> PatternShelf[T]:
        shelf = self._patterns.get(path)
        if shelf is None:
            pattern = PathPattern(compile_pattern(path.text), path.boundary)
            shelf = self._patterns[path] = PatternShelf(path.text, pattern, path.length)
            # What follows the last slash of a literal may be half a segment of the path.
            node = self._node(path.literal.split("/")[:-1])
            if node.patterns is None:
                node.patterns = Patterns()
            node.patterns.shelves.append(shelf)
        return shelf

    def _node(self, segments: list[str]) -> Node[T]:
        self._depth = max(self._depth, len(segments))
        return self._root.below(segments)


def _verdicts(
    candidates: Iterable[Candidate[T]],
    request: RequestView,
    judged: set[int],
    path_failures: dict[int, str] | None = None,
) -> Iterator[Verdict[T]]:
    """Judge each entry among *candidates* once: under the most specific hostname that covers the request.

    *judged* holds the entries that had their verdict, *path_failures* those whose path is known not to match.
    """
    for candidate in candidates:
        position = candidate.position
        if position in judged:
            continue
        payload = candidate.match.payload
        hostname = candidate.hostnames.condition
        conditions = candidate.wants.conditions if hostname is None else (hostname, *candidate.wants.conditions)
        if not candidate.admits(request.host):
            if candidate.is_last and hostname is not None:
                yield Verdict(payload, hostname.name, hostname.failure(request) or "", conditions)
            continue
        judged.add(position)
        if path_failures and position in path_failures:
            yield Verdict(payload, "path", path_failures[position], conditions)
            continue
        for condition in candidate.wants.conditions:
            reason = condition.failure(request)
            if reason is not None:
                yield Verdict(payload, condition.name, reason, conditions)
                break
        else:
            yield Verdict(payload, "", "", conditions)
