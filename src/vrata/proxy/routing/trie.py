"""The trie of path segments: where prefixes stand, and the regular expressions that begin with the same segments."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Generic, TypeVar

from vrata.proxy.routing.candidate import PatternShelf, Shelf
from vrata.proxy.routing.pattern import PatternSet

T = TypeVar("T")


class Patterns(Generic[T]):
    """The regular expressions of one node."""

    __slots__ = ("_set", "outer", "shelves")

    def __init__(self) -> None:
        self.shelves: list[PatternShelf[T]] = []
        self.outer: Patterns[T] | None = None
        """Those of the nearest ancestor that has some: they may match below here as well."""
        self._set: PatternSet | None = None

    def building(self) -> Iterator[None]:
        """Be ready for asking, all shelves being there; in steps."""
        if len(self.shelves) > 1:
            self._set = PatternSet([shelf.pattern.expression for shelf in self.shelves])
            yield from self._set.building()

    def all(self) -> list[PatternShelf[T]]:
        """Return the shelves of this node and of its ancestors."""
        return self.shelves if self.outer is None else self.shelves + self.outer.all()

    def matching(self, path: bytes) -> list[PatternShelf[T]]:
        """Return the shelves of this node and of its ancestors whose expressions match *path*."""
        shelves = self.shelves
        if self._set is not None:
            found = [shelves[at] for at in self._set.matching(path)]
        else:
            found = [shelf for shelf in shelves if shelf.pattern.expression.match(path) is not None]
        return found if self.outer is None else found + self.outer.matching(path)


class Node(Generic[T]):
    """One segment. The root stands for no segment; a path that begins with a slash has an empty first one."""

    __slots__ = ("at_end", "beyond", "children", "patterns")

    def __init__(self) -> None:
        self.children: dict[str, Node[T]] = {}
        self.at_end: Shelf[T] | None = None
        """For a path that ends here: the longest prefix that covers it."""
        self.beyond: Shelf[T] | None = None
        """For a path that goes on with a slash, and then not along a child: the longest prefix that covers it."""
        self.patterns: Patterns[T] | None = None

    def below(self, segments: list[str]) -> Node[T]:
        """Return the node at *segments* from here, made if need be."""
        node = self
        for segment in segments:
            child = node.children.get(segment)
            if child is None:
                child = node.children[segment] = Node()
            node = child
        return node

    def inherit(self) -> Iterator[None]:
        """Give every node what its ancestors hold, one a step: a walk then has to remember only where it is."""
        pending: list[tuple[Node[T], Shelf[T] | None, Patterns[T] | None]] = [(self, None, None)]
        while pending:
            node, covering, outer = pending.pop()
            if node.at_end is None:
                node.at_end = covering
            else:
                node.at_end.shorter = covering
                covering = node.at_end
            if node.beyond is None:
                node.beyond = covering
            else:
                node.beyond.shorter = covering
            if node.patterns is None:
                node.patterns = outer
            else:
                node.patterns.outer = outer
                yield from node.patterns.building()
            yield
            pending += [(child, node.beyond, node.patterns) for child in node.children.values()]


def by_length(shelves: list[PatternShelf[T]]) -> list[list[PatternShelf[T]]]:
    """Put *shelves* in order of their expressions' length, longest first, those of equal length together."""
    if len(shelves) < 2:
        return [shelves] if shelves else []
    return [list(tied) for _, tied in groupby(sorted(shelves, key=_longest_first), key=_longest_first)]


def _longest_first(shelf: PatternShelf[T]) -> int:
    return -shelf.length
