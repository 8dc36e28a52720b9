"""How many clients may be connected to a listener.

There are two bounds. ``maxConnections`` of the listener holds for all workers together. The other is the number of
descriptors that the process may open: a share of them is kept from clients, because a client that was let in needs one
more for its backend, and the worker needs some for itself.

A client over a bound is accepted and dismissed at once. Left in the kernel's queue instead it would wait, without
knowing, for a turn that may never come, while a balancer before us could have sent it elsewhere; and where workers
share a port, some would wait at a full worker while another has room.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from vrata.net import descriptors
from vrata.policy.shared_numbers import SharedNumber

LOG_INTERVAL = 10.0
"""Seconds between two lines in the log about clients that were turned away."""
RESERVED = 4
"""One part in so many of the descriptors is not for clients."""

_log = structlog.get_logger("vrata.proxy.listener")


class Admission:
    """Counts the clients of one listener and turns away those that are too many."""

    def __init__(self, listener: str) -> None:
        """*listener* is its name, for the log."""
        self._listener = listener
        self._limit = 0
        self._number: SharedNumber | None = None
        self._highest_descriptor = highest_descriptor_for_clients()
        self.admitted = 0
        """Clients that are in."""
        self.turned_away = 0
        """Clients that were not let in, since the beginning."""
        self._unlogged = 0
        self._logged_at = -LOG_INTERVAL

    def __repr__(self) -> str:
        return f"<Admission {self.admitted} of {self._limit or 'any number'}, {self.turned_away} turned away>"

    def limit(self, limit: int, number: Callable[[], SharedNumber]) -> None:
        """From now on let in as many as *limit* allows over all workers, counted in *number*; nobody is sent away."""
        if self._number is None:
            self._number = number()
            self._number.add(self.admitted)
        self._limit = limit

    def unlimit(self) -> None:
        """Let everybody in, as far as descriptors last."""
        number, self._number = self._number, None
        self._limit = 0
        if number is not None:
            number.add(-self.admitted)
            number.leave()

    def admit(self, descriptor: int, now: float) -> bool:
        """Let one more client in, whose connection has the number *descriptor*; false when it has to go."""
        if not self.has_descriptors(descriptor):
            self._turn_away(now, "too few descriptors left")
            return False
        if self._number is not None and not self._number.reserve(self._limit):
            self._turn_away(now, "maxConnections reached")
            return False
        self.admitted += 1
        return True

    def has_descriptors(self, descriptor: int) -> bool:
        """Whether enough descriptors are left for the rest, when a client has the one with the number *descriptor*."""
        return descriptor <= self._highest_descriptor

    def leave(self) -> None:
        """A client that was let in is gone."""
        self.admitted -= 1
        if self._number is not None:
            self._number.add(-1)

    def _turn_away(self, now: float, reason: str) -> None:
        self.turned_away += 1
        self._unlogged += 1
        if now - self._logged_at >= LOG_INTERVAL:
            _log.warning("clients turned away", listener=self._listener, reason=reason, clients=self._unlogged)
            self._unlogged = 0
            self._logged_at = now


def highest_descriptor_for_clients() -> int:
    """The highest number that a client's connection may have: the kernel always gives the lowest that is free."""
    limit = descriptors.limit()
    return limit - 1 - limit // RESERVED
