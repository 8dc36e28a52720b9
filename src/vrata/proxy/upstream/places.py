"""The places for connections to one endpoint, or to those of one destination: as many as the limit, for all workers.

A *place* is the right to one connection, from the moment it is dialled to its end. Whoever finds none waits. Across
workers, who has waited longer goes first: each worker shows since when its first request has been waiting, and the
others leave free places to it and give connections up for it. Between two that both have requests waiting this begins
only with a difference of :data:`PATIENCE`, because a connection costs more to hand to another worker than to use again.

Nothing is sent from worker to worker; everybody looks at every sweep. So a worker that hangs could keep a place free by
its mere waiting: after :data:`SLUGGISH` it is not waited for any more.

Times are whole milliseconds of the system's monotonic clock, which all processes share.
"""

from __future__ import annotations

from collections.abc import Callable

from vrata.policy.shared_numbers import SharedNumber

PATIENCE = 100
"""By how much another worker's request must have waited longer than ours to go first."""
SLUGGISH = 200
"""How long a place is left free for another worker; it looks every 50."""

_EVER = 1 << 48


class Places:
    """The places of one limit, as one worker sees them."""

    def __init__(self, limit: int, name: str, number: Callable[[str], SharedNumber]) -> None:
        """*name* tells these places from those of others; *number* gives the shared number of a name."""
        self.limit = limit
        self._number = number
        self._name = f"connections {name}"
        self._taken: SharedNumber | None = None
        self._held = 0
        # Since when each worker's first request has been waiting.
        self._waiting: SharedNumber | None = number(f"waiting {name}")
        self._waiting_since = 0
        self._leaving_free_since = 0
        self._sluggish: frozenset[int] = frozenset()

    def __repr__(self) -> str:
        return f"<Places {self._held} held, {self.taken.total} of {self.limit} taken>"

    @property
    def taken(self) -> SharedNumber:
        """How many are taken. Asking for it has this worker's share counted, until it leaves."""
        if self._taken is None:
            self._taken = self._number(self._name)
        return self._taken

    @property
    def held(self) -> int:
        """How many this worker holds."""
        return self._held

    @property
    def free(self) -> int:
        """How many nobody holds; negative where the limit was lowered."""
        return self.limit - self.taken.total

    def take(self, since: int, now: int) -> bool:
        """Take a place for a request that has been waiting since *since*; false when there is none for it yet."""
        ahead = self._ahead(since - PATIENCE)
        if ahead:
            free = self.free
            if free <= 0:
                self._leaving_free_since = 0
                return False
            if free <= len(ahead):
                if not self._leaving_free_since:
                    self._leaving_free_since = now
                if now - self._leaving_free_since < SLUGGISH:
                    return False
                self._sluggish |= ahead
        self._leaving_free_since = 0
        if not self.taken.reserve(self.limit):
            return False
        self._held += 1
        return True

    def hold(self, number: int) -> None:
        """This worker has *number* connections, those that are being dialled included."""
        if number != self._held:
            self.taken.add(number - self._held)
            self._held = number

    def owed(self, since: int) -> int:
        """How many connections this worker should close rather than use again.

        Because there are more than the limit allows, or because requests of other workers wait that go before ours,
        whose first one has been waiting since *since* (0 = none waits).
        """
        owed = self.taken.total - self.limit
        # Every request that is done asks this, and hardly ever does anybody wait.
        if self._waiting is not None and self._waiting.total:
            owed += len(self._ahead(since - PATIENCE if since else _EVER))
        return owed if owed > 0 else 0

    def wait(self, since: int) -> None:
        """Show the other workers since when our first request has been waiting; 0 = none waits."""
        if since != self._waiting_since and self._waiting is not None:
            self._waiting.put(since)
            self._waiting_since = since

    def retire(self) -> None:
        """What the limit is for is not configured any more: neither claim precedence nor grant it."""
        if self._waiting is not None:
            self.wait(0)
            self._waiting.leave()
            self._waiting = None

    def leave(self) -> None:
        """Nothing is left to count, as far as one can see."""
        self.retire()
        self.hold(0)
        if self._taken is not None:
            self._taken.leave()
            self._taken = None

    def _ahead(self, before: int) -> frozenset[int]:
        """Since when other workers have been waiting, as far as it is longer than *before*."""
        if self._waiting is None:
            return frozenset()
        others = self._waiting.others()
        if not others:
            return frozenset()
        self._sluggish &= frozenset(others)  # who has moved on is not sluggish
        return frozenset(since for since in others if since < before) - self._sluggish
