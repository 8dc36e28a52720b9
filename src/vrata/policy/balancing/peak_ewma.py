"""PEAK_EWMA: of a few endpoints drawn by chance, the one from which an answer is expected soonest.

What is expected is an exponentially weighted moving average of the endpoint's times to first byte, which takes a peak
over at once and forgets it slowly, times the requests in flight and this one.
"""

from __future__ import annotations

from math import exp

DECAY = 10.0
"""Seconds after which an observation counts for 1/e of what it did."""

FAILED = 1.0
"""Seconds that a failed attempt counts for at least: who refuses at once must not look fast."""

UNKNOWN = 1e-3
"""Seconds that are expected of whoever was never observed, and the least of anybody."""


class PeakEwma:
    """The average of one endpoint's times, in seconds. ``now`` is of any clock that does not go back."""

    __slots__ = ("_average", "_since")

    def __init__(self) -> None:
        self._average = 0.0
        self._since = 0.0

    def __repr__(self) -> str:
        return f"<PeakEwma {self._average:.6f} s>"

    def observe(self, seconds: float, now: float) -> None:
        """An answer came after *seconds*."""
        average = self._average
        if seconds >= average:
            self._average = seconds
        else:
            kept = exp((self._since - now) / DECAY)
            self._average = seconds + (average - seconds) * kept
        self._since = now

    def failed(self, seconds: float, now: float) -> None:
        """None came, and that was known after *seconds*."""
        self.observe(max(seconds, FAILED), now)

    def waited(self, seconds: float, now: float) -> None:
        """None had come after *seconds*, when the request was given up: it would have taken longer."""
        if seconds > self.expected(now):
            self.observe(seconds, now)

    def expected(self, now: float) -> float:
        """Seconds until an idle endpoint answers; without observations ever less, so that it is tried again."""
        return max(self._average * exp((self._since - now) / DECAY), UNKNOWN)


def peak_ewma_cost(expected: float, in_flight: int, weight: int) -> float:
    """What is compared: the queue before this request, of whom an endpoint of twice the weight serves twice as many."""
    return expected * (in_flight / weight + 1)
