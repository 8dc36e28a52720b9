"""ROUND_ROBIN with weights: each candidate in turn, the turns of a heavier one closer together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heapify, heapreplace


class WeightedRotation:
    """Earliest deadline first: who weighs w has a turn every 1/w. A pick costs O(log n)."""

    __slots__ = ("_intervals", "_turns")

    def __init__(self, weights: Sequence[int], random: Callable[[], float]) -> None:
        """*weights* are positive. The first turns are by chance: who begins anew often prefers nobody by that."""
        self._intervals = [1.0 / weight for weight in weights]
        self._turns = [(interval * random(), index) for index, interval in enumerate(self._intervals)]
        heapify(self._turns)

    def next(self) -> int:
        """The index of whose turn it is; there must be one."""
        turn, index = self._turns[0]
        heapreplace(self._turns, (turn + self._intervals[index], index))
        return index
