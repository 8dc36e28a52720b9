"""How many requests may be trying again at once: retries must not multiply the load on what is failing already."""

from __future__ import annotations

from typing import Final

from vrata.policy.shared_numbers import SharedNumber

LEAST: Final = 3
"""Requests that may always try again at once."""
ONE_IN: Final = 5
"""Beyond those, one in so many of the requests under way."""


class RetryBudget:
    """The budget of one destination, over all workers; survives swaps.

    It counts the requests of routes with retries. A request that tries again holds a share until a response begins.
    What counts is how many were under way when the request began, if that is more: when an endpoint hangs, requests
    that began together fail together, and the last of them must not fare worse because the others are done.
    """

    __slots__ = ("_active", "_held", "_is_left", "_is_retired", "_retrying")

    def __init__(self, active: SharedNumber, retrying: SharedNumber) -> None:
        """*active* are the requests under way, *retrying* those of them that try again."""
        self._active = active
        self._retrying = retrying
        self._held = 0
        self._is_retired = False
        self._is_left = False

    def __repr__(self) -> str:
        if self._is_left:
            return "<RetryBudget left>"
        return f"<RetryBudget {self._retrying.total} of {self._active.total} try again>"

    @property
    def is_idle(self) -> bool:
        """True when none of this worker's requests is counted."""
        return not self._held

    @property
    def retrying(self) -> int:
        """Requests that try again, in all workers."""
        return 0 if self._is_left else self._retrying.total

    def began(self) -> int:
        """A request that may be tried again is under way; return how many are by now."""
        if self._is_left:
            return 0
        self._held += 1
        self._active.add(1)
        return self._active.total

    def ended(self) -> None:
        """Such a request is over; its share was given back."""
        if not self._is_left:
            self._held -= 1
            self._active.add(-1)
            if self._is_retired:
                self.retire()

    def take(self, then: int) -> bool:
        """Take a share for a request that wants to try again; false when there is none.

        *then* is what :meth:`began` returned for it.
        """
        if self._is_left:
            return False
        return self._retrying.reserve(max(LEAST, max(then, self._active.total) // ONE_IN))

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
