"""How many requests may be trying again at once: retries must not multiply the load on what is failing already."""

from __future__ import annotations

from typing import Final

LEAST: Final = 3
"""Requests that may always try again at once."""
ONE_IN: Final = 5
"""Beyond those, one in so many of the requests under way."""


class RetryBudget:
    """The budget of one destination in one worker; survives swaps.

    It counts the requests of routes with retries. A request that tries again holds a share until a response begins.
    """

    __slots__ = ("_active", "_retrying")

    def __init__(self) -> None:
        self._active = 0
        self._retrying = 0

    def __repr__(self) -> str:
        return f"<RetryBudget {self._retrying} of {self._active} try again>"

    @property
    def is_idle(self) -> bool:
        """True when nothing is counted."""
        return not self._active and not self._retrying

    def began(self) -> None:
        """A request that may be tried again is under way."""
        self._active += 1

    def ended(self) -> None:
        """Such a request is over; its share was given back."""
        self._active -= 1

    def take(self) -> bool:
        """Take a share for a request that wants to try again; false when there is none."""
        if self._retrying >= max(LEAST, self._active // ONE_IN):
            return False
        self._retrying += 1
        return True

    def give_back(self) -> None:
        """The request that took a share has a response, or is over."""
        self._retrying -= 1
