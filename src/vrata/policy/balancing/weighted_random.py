"""WEIGHTED_RANDOM: each candidate in proportion to its weight."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise


class WeightedRandom:
    """Picks an index by weight. The weights are fixed; a pick costs one random number and one bisection."""

    __slots__ = ("_cumulative", "_total")

    def __init__(self, weights: Sequence[int]) -> None:
        """*weights* are non-negative; when all are 0 every candidate is as likely as the others.

        Raises ValueError when there is none.
        """
        if not weights:
            raise ValueError("no candidates to weigh")
        self._cumulative = list(accumulate(weights if any(weights) else [1] * len(weights)))
        self._total = self._cumulative[-1]

    def pick(self, random: Callable[[], float]) -> int:
        """An index; *random* returns a float in [0, 1)."""
        return bisect_right(self._cumulative, random() * self._total)

    def shares(self) -> list[float]:
        """The probability of each index."""
        return [(end - start) / self._total for start, end in pairwise([0, *self._cumulative])]
