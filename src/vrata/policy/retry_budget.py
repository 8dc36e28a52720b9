"""How many requests may be trying again at once: retries must not multiply the load on what is failing already."""

from __future__ import annotations

from typing import Final

from vrata.policy.shared_numbers import SharedNumber

LEAST: Final = 3
"""Requests that may always try again at once."""
ONE_IN: Final = 5
"""Beyond those, one in so many of the requests under way."""
UNTOLD: Final = 4
"""By how much more or less than told a worker may have under way: less than what :data:`LEAST` allows for anyway."""


class RetryBudget:
    """The budget of one destination, over all workers; survives swaps.

    It counts the requests of routes with retries. A request that tries again holds a share until a response begins.
    What counts is how many were under way when the request began, if that is more: when an endpoint hangs, requests
    that began together fail together, and the last of them must not fare worse because the others are done.

    Shares are exact. How many are under way elsewhere is known a little less well: a worker says how many it has when
    that has changed by more than an eighth and :data:`UNTOLD`, since every request would pay for more.
    """

    __slots__ = ("_active", "_held", "_is_left", "_is_retired", "_retrying", "_told")

    def __init__(self, active: SharedNumber, retrying: SharedNumber) -> None:
        """*active* are the requests under way, *retrying* those of them that try again."""
        self._active = active
        self._retrying = retrying
        self._held = 0
        self._told = 0
        self._is_retired = False
        self._is_left = False

    def __repr__(self) -> str:
        return f"<RetryBudget {self.retrying} try again, {self._held} under way here>"

    @property
    def is_idle(self) -> bool:
        """True when none of this worker's requests is counted."""
        return not self._held

    @property
    def retrying(self) -> int:
        """Requests that try again, in all workers."""
        return 0 if self._is_left else self._retrying.total

    def began(self) -> int:
        """A request that may be tried again is under way; return how many are by now in this worker."""
        if self._is_left:
            return 0
        held = self._held + 1
        self._held = held
        if held > self._told + UNTOLD + (self._told >> 3):
            self._tell(held)
        return held

    def ended(self) -> None:
        """Such a request is over; its share was given back."""
        if self._is_left:
            return
        held = self._held - 1
        self._held = held
        if self._told and (not held or held < self._told - UNTOLD - (self._told >> 3)):
            self._tell(held)
        if self._is_retired:
            self.retire()

    def take(self, then: int) -> bool:
        """Take a share for a request that wants to try again; false when there is none.

        *then* is what :meth:`began` returned for it.
        """
        if self._is_left:
            return False
        elsewhere = self._active.total - self._told
        here = then if then > self._held else self._held
        return self._retrying.reserve(max(LEAST, (here + elsewhere) // ONE_IN))

    def give_back(self) -> None:
        """The request that took a share has a response, or is over."""
        self._retrying.add(-1)

    def retire(self) -> None:
        """The destination is not configured any more: count no more once everything that is counted is over."""
        self._is_retired = True
        if self.is_idle and not self._is_left:
            self._is_left = True
            self._active.leave()
            self._retrying.leave()

    def _tell(self, held: int) -> None:
        self._active.add(held - self._told)
        self._told = held
