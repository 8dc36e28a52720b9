"""When to log something that may happen all the time."""

from __future__ import annotations

from time import perf_counter
from typing import Final

QUIET: Final = 10.0
"""Seconds in which one thing is told once; how often it happened meanwhile is counted."""


class Occasions:
    """The times at which one thing happens."""

    def __init__(self) -> None:
        self._silent_until = 0.0
        self._passed_over = 0

    def occurred(self) -> int:
        """It has occurred: how often it was passed over since it was last told, negative when it is passed over now."""
        now = perf_counter()
        if now < self._silent_until:
            self._passed_over += 1
            return -1
        self._silent_until = now + QUIET
        passed_over, self._passed_over = self._passed_over, 0
        return passed_over
