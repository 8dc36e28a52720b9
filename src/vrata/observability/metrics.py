"""Values of metrics that are more than one number. Names and labels are for those who show them.

A counter or a gauge is a plain integer of whoever counts; a histogram is the one below.
"""

from __future__ import annotations

from bisect import bisect_left


class Histogram:
    """How many values fell into which bucket, and their sum."""

    __slots__ = ("bounds", "counts", "lowest", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """*bounds* are the buckets' upper limits, strictly increasing; beyond the last there is one more bucket."""
        self.bounds = bounds
        self.lowest = bounds[0] if bounds else float("-inf")
        """The first of them. Most values are small, and one comparison is cheaper than a search."""
        self.counts = [0] * (len(bounds) + 1)
        """Values in each bucket alone, the buckets below it left out."""
        self.sum = 0.0

    def reset(self, bounds: tuple[float, ...]) -> None:
        """Begin again at zero, with other buckets."""
        self.bounds = bounds
        self.lowest = bounds[0] if bounds else float("-inf")
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def __repr__(self) -> str:
        return f"<Histogram of {self.count} values, sum {self.sum:g}>"

    @property
    def count(self) -> int:
        """How many values there were."""
        return sum(self.counts)

    def observe(self, value: float) -> None:
        """Count *value*. A value on a limit belongs to the bucket below it."""
        index = 0 if value <= self.lowest else bisect_left(self.bounds, value)
        self.counts[index] += 1
        self.sum += value

    def add(self, counts: list[int], total: float) -> None:
        """Add what :meth:`take` returned of a histogram with the same buckets."""
        own = self.counts
        for index, count in enumerate(counts):
            own[index] += count
        self.sum += total

    def take(self) -> tuple[list[int], float]:
        """Return counts and sum, and begin again at zero."""
        counts, total = self.counts, self.sum
        self.counts = [0] * len(counts)
        self.sum = 0.0
        return counts, total
