"""Candidates: entries as they stand in the table, sorted, and the shelves that hold those of one path.

An entry becomes one candidate for each class of its hostnames (whole names, wildcards of one length, ``*``), because
how specific the hostname is decides before all conditions that follow. Of candidates in order the first whose
conditions hold is the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import merge
from operator import attrgetter
from typing import Any, Generic, TypeVar

from vrata.proxy.contracts import RequestView
from vrata.proxy.routing.conditions import Hostnames, Wants
from vrata.proxy.routing.hostname import ANY_HOST, WHOLE_NAME, HostClass, covers, suffix_of

T = TypeVar("T")
Order = tuple[int, ...]


class PathPattern:
    """A compiled expression on the path, and where it ends."""

    __slots__ = ("boundary", "expression")

    def __init__(self, expression: Any, boundary: bool) -> None:
        self.expression = expression
        """RE2's, for bytes."""
        self.boundary = boundary
        """It takes the slash behind the matched part (:attr:`PathMatch.boundary`)."""

    def end(self, path: bytes) -> int:
        """Return where the matched part of *path* ends; -1 when the expression does not match."""
        found = self.expression.match(path)
        if found is None:
            return -1
        end: int = found.end()
        return end - 1 if self.boundary and path[end - 1 : end] == b"/" else end


class Match(Generic[T]):
    """What a table found; one object for each entry, made with the table."""

    # Not the shelf of the pattern, which leads back here: a table that was replaced is to go without the collector.
    __slots__ = ("_end", "_pattern", "payload")

    def __init__(self, payload: T, end: int, pattern: PathPattern | None = None) -> None:
        self.payload = payload
        self._end = end
        self._pattern = pattern

    def __repr__(self) -> str:
        return f"<Match {self.payload!r}>"

    def end(self, path: str) -> int:
        """Return how much of *path*, on which the match was made, it took: in bytes of its UTF-8 form.

        All for an exact condition, the prefix for a prefix, what the expression took for a regular expression.
        """
        return self._end if self._pattern is None else self._pattern.end(encoded(path))


class Candidate(Generic[T]):
    """One entry under one class of its hostnames. Built once, never changed."""

    __slots__ = ("checks", "hostnames", "match", "names", "order", "position", "wants")

    def __init__(
        self, match: Match[T], position: int, wants: Wants, hostnames: Hostnames, host_class: HostClass
    ) -> None:
        self.match = match
        self.position = position
        """Of the entry, in the order in which entries were added."""
        self.wants = wants
        self.checks = wants.checks
        self.hostnames = hostnames
        self.names = hostnames.classes[host_class]
        """The hostnames of its class; empty for an entry without hostnames."""
        self.order: Order = (*host_class, *wants.specificity, position)

    @property
    def host_class(self) -> HostClass:
        """How specific its hostnames are."""
        return self.order[0], self.order[1]

    @property
    def is_last(self) -> bool:
        """True when no less specific candidate of the same entry follows."""
        return self.host_class == self.hostnames.least

    def admits(self, host: str) -> bool:
        """Tell whether *host* is covered by the hostnames of this class."""
        return not self.names or any(covers(name, host) for name in self.names)


def encoded(path: str) -> bytes:
    """Return the UTF-8 form of *path*; bytes that were none, lone surrogates since, become what they were."""
    return path.encode("utf-8", "surrogateescape")


def first(candidates: Iterable[Candidate[T]], request: RequestView) -> Candidate[T] | None:
    """Return the first of *candidates* whose checks all hold."""
    for candidate in candidates:
        for holds in candidate.checks:
            if not holds(request):
                break
        else:
            return candidate
    return None


in_order = attrgetter("order")


class Shelf(Generic[T]):
    """The candidates of one path condition, found by the request's host, and then in order."""

    __slots__ = ("_by_host", "_by_suffix", "_found", "_rest", "_suffix_lengths", "candidates", "certain", "shorter")

    def __init__(self) -> None:
        self._found: list[Candidate[T]] = []
        self.candidates: tuple[Candidate[T], ...] = ()
        """All of them, in order."""
        self.certain: Match[T] | None = None
        """The match for every request, when the first candidate wants nothing."""
        self.shorter: Shelf[T] | None = None
        """The shelf of the next shorter prefix that covers the same paths."""
        self._by_host: dict[str, tuple[Candidate[T], ...]] | None = None
        self._by_suffix: dict[str, tuple[Candidate[T], ...]] = {}
        self._suffix_lengths: tuple[int, ...] = ()
        self._rest: tuple[Candidate[T], ...] = ()

    def add(self, candidate: Candidate[T]) -> None:
        """Put *candidate* on the shelf; it is found after :meth:`sort`."""
        self._found.append(candidate)

    def sort(self) -> None:
        """Bring what was added into order."""
        found = self._found
        if len(found) > 1:
            found.sort(key=in_order)
        self.candidates = tuple(found)
        self._found = []
        if found[-1].host_class >= ANY_HOST and found[0].host_class >= ANY_HOST:
            self._rest = self.candidates
            self.certain = found[0].match if not found[0].checks else None
            return
        by_host: dict[str, list[Candidate[T]]] = {}
        by_suffix: dict[str, list[Candidate[T]]] = {}
        rest: list[Candidate[T]] = []
        for candidate in found:
            if candidate.host_class >= ANY_HOST:
                rest.append(candidate)
                continue
            for name in candidate.names:
                if candidate.host_class == WHOLE_NAME:
                    by_host.setdefault(name, []).append(candidate)
                else:
                    by_suffix.setdefault(suffix_of(name) or name, []).append(candidate)
        self._by_host = {name: tuple(each) for name, each in by_host.items()}
        self._by_suffix = {suffix: tuple(each) for suffix, each in by_suffix.items()}
        self._suffix_lengths = tuple(sorted({len(suffix) for suffix in by_suffix}, reverse=True))
        self._rest = tuple(rest)

    def find(self, request: RequestView) -> Candidate[T] | None:
        """Return the first candidate whose conditions all hold, hostname included, the path taken as matching."""
        if self._by_host is not None:
            # Most hosts are configured by their whole name.
            named = first(self._by_host.get(request.host, ()), request)
            if named is not None:
                return named
            if self._suffix_lengths:
                return first(self._beyond_names(request.host), request)
        return first(self._rest, request)

    def admitting(self, request: RequestView) -> Iterator[Candidate[T]]:
        """Give, in order, the candidates whose hostnames cover the request's host."""
        if self._by_host is None:
            yield from self._rest
            return
        host = request.host
        yield from self._by_host.get(host, ())
        yield from self._beyond_names(host)

    def _beyond_names(self, host: str) -> Iterator[Candidate[T]]:
        """Give, in order, those of them that do not name *host* as a whole; they all come behind those that do."""
        for length in self._suffix_lengths:
            if length < len(host):
                yield from self._by_suffix.get(host[-length:], ())
        yield from self._rest


class PatternShelf(Shelf[T]):
    """The candidates of one regular expression."""

    __slots__ = ("length", "pattern", "text")

    def __init__(self, text: str, pattern: PathPattern, length: int) -> None:
        super().__init__()
        self.text = text
        self.pattern = pattern
        self.length = length
        """Of what was written of it (:attr:`PathMatch.length`)."""


def first_of_tied(shelves: Iterable[PatternShelf[T]], request: RequestView) -> Candidate[T] | None:
    """Return the first candidate over several *shelves* of equal rank."""
    return first(merge(*(shelf.admitting(request) for shelf in shelves), key=in_order), request)
