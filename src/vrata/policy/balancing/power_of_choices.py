"""The power of choices: a few candidates drawn by chance, of which the one with the lowest cost is taken.

Two choices already keep the longest queue short (Mitzenmacher, "The Power of Two Choices in Randomized Load
Balancing"), and what is known of the others may be a little old without all rushing to the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from vrata.policy.balancing.weighted_random import WeightedRandom


class PowerOfChoices:
    """Draws *choices* candidates and compares their cost. The weights are fixed."""

    __slots__ = ("_choices", "_count", "_weighted")

    def __init__(self, weights: Sequence[int], choices: int) -> None:
        """*weights* and *choices* are positive.

        Candidates of one weight are drawn without repetition. With different weights each draw is by weight, and may
        repeat: then candidates of the same cost get exactly their shares.
        """
        self._count = len(weights)
        self._choices = min(choices, self._count)
        self._weighted = WeightedRandom(weights) if len(set(weights)) > 1 else None

    def pick(self, random: Callable[[], float], cost: Callable[[int], float]) -> int:
        """An index; -1 without candidates. *random* returns a float in [0, 1), *cost* is that of an index."""
        count = self._count
        if count < 2:
            return count - 1
        weighted = self._weighted
        if weighted is not None:
            best = weighted.pick(random)
            lowest = cost(best)
            for _ in range(self._choices - 1):
                other = weighted.pick(random)
                if other != best:
                    others = cost(other)
                    if others < lowest:
                        best, lowest = other, others
            return best
        if self._choices == 2:
            best = int(random() * count)
            other = int(random() * (count - 1))
            if other >= best:
                other += 1
            return other if cost(other) < cost(best) else best
        return cheapest(self._drawn(random), random, cost)

    def _drawn(self, random: Callable[[], float]) -> Iterable[int]:
        """So many different indexes, each set of them as likely as the others."""
        count, choices = self._count, self._choices
        if choices == count:
            return range(count)
        drawn: set[int] = set()
        for last in range(count - choices, count):  # Floyd's algorithm
            index = int(random() * (last + 1))
            drawn.add(last if index in drawn else index)
        return drawn


def cheapest(candidates: Iterable[int], random: Callable[[], float], cost: Callable[[int], float]) -> int:
    """The one of the lowest cost, each of several as likely as the others; -1 when there is none."""
    best, lowest, equals = -1, 0.0, 0
    for index in candidates:
        own = cost(index)
        if best < 0 or own < lowest:
            best, lowest, equals = index, own, 1
        elif own == lowest:
            equals += 1
            if random() * equals < 1:
                best = index
    return best
