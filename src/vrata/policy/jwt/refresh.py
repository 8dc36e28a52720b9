"""When a key set that is kept elsewhere is to be retrieved again."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Final

from vrata.policy.backoff import doubled

PERIOD: Final = 300.0
"""Seconds from one retrieval to the next, at most."""
SPREAD: Final = 0.1
"""Part of a period by which it may be shorter, so that proxies do not ask all at once."""
FIRST_PAUSE: Final = 0.5
"""Seconds, at most, to the next try after a first failure. Each further one doubles it."""
LONGEST_PAUSE: Final = 60.0
"""Seconds, at most, between tries."""
START_SPREAD: Final = 1.0
"""Seconds, at most, until the first retrieval that no token asks for: workers start all at once."""
MOST_ASKED: Final = 3
"""Retrievals that tokens may ask for in a row."""
SHORTEST_INTERVAL: Final = 10.0
"""Seconds until they may ask for one more: anybody can send a token that names a key nobody knows."""


class RefreshSchedule:
    """The times of retrieving one key set, in seconds of a clock that only goes forward."""

    __slots__ = ("_chance", "_failures", "_full_at")

    def __init__(self, chance: Callable[[], float]) -> None:
        """*chance* draws from [0, 1)."""
        self._chance = chance
        self._failures = 0
        self._full_at = -inf
        """When tokens may ask for as many as ever."""

    def start(self, now: float) -> float:
        """When to retrieve first."""
        return now + START_SPREAD * self._chance()

    def after_success(self, now: float) -> float:
        """When to retrieve again, having succeeded."""
        self._failures = 0
        return now + PERIOD * (1.0 - SPREAD * self._chance())

    def after_failure(self, now: float) -> float:
        """When to try again, having failed."""
        pause = doubled(FIRST_PAUSE, LONGEST_PAUSE, self._failures)
        self._failures += 1
        return now + pause * (1.0 - 0.5 * self._chance())

    def may_ask(self, now: float) -> bool:
        """Tell whether a token with an unknown key makes for a retrieval; if so, there is one less to ask for."""
        full_at = (self._full_at if self._full_at > now else now) + SHORTEST_INTERVAL
        if full_at - now > MOST_ASKED * SHORTEST_INTERVAL:
            return False
        self._full_at = full_at
        return True
