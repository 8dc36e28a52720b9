"""Those who wait for connections to the endpoints of a destination that has limits.

There are two kinds of limits, and both may act at once: one for the connections to each endpoint, one for those of the
whole destination. A connection needs a place of either (:mod:`vrata.proxy.upstream.places`). Who gets none waits: first
come, first served, but nobody is kept waiting by one whom the limit of another endpoint alone holds up.

Where endpoints share places, a connection that nobody needs is closed for the first who waits, and its place used for
a dial to the other endpoint. A connection that just became free rather serves the next one who waits for the same
endpoint, as long as others have not waited for :data:`~vrata.proxy.upstream.places.PATIENCE` longer: between endpoints
it is as between workers, a connection costs more to replace than to use again. One of HTTP/2 may never become free, and
has to drain then (:mod:`vrata.proxy.upstream.draining`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heapreplace
from typing import Final

from vrata.net.deadlines import NEVER, DeadlineSweeper, Watched
from vrata.policy.shared_numbers import SharedNumber
from vrata.proxy.upstream.http1_connection import Http1Connection
from vrata.proxy.upstream.http2_connection import Http2Connection
from vrata.proxy.upstream.places import PATIENCE, Places
from vrata.proxy.upstream.queued_pool import QueuedPool
from vrata.proxy.upstream.waiting import TooManyWaiting, Waiting

MAX_WAITING = 1024
"""Requests that wait for a connection to one endpoint in one worker, where no circuit breaker has another limit.

A queue this long is not worked off in the time that anybody waits for an answer. It is also what the pending requests
of a circuit breaker are limited to by default. Each may hold :data:`~vrata.proxy.upstream.exchange.MAX_UNSENT` bytes of
a body, and what was read at once."""


@dataclass(frozen=True)
class ConnectionLimits:
    """What limits the connections of a destination, over all workers."""

    per_endpoint: int = 0
    """Connections to each endpoint; 0 = any number."""
    connections: int = 0
    """Connections to all of them together; 0 = any number."""
    pending: int = 0
    """Requests that wait for one; 0 = :data:`MAX_WAITING` for each endpoint and worker."""


UNLIMITED: Final = ConnectionLimits()

_TAKEN: Final = 0
_LACKS_PLACE_OF_ENDPOINT: Final = 1
_LACKS_PLACE_OF_DESTINATION: Final = 2


class Queue(Watched):
    """One worker's, for all endpoints of one destination. Survives swaps; a swap may change the limits."""

    def __init__(
        self,
        destination_id: str,
        number: Callable[[str], SharedNumber],
        sweeper: DeadlineSweeper,
        now: Callable[[], float],
    ) -> None:
        """*number* gives the shared number of a name; *now* is the loop's clock."""
        self.destination_id = destination_id
        self.number = number
        self.limits = UNLIMITED
        self.deadline = NEVER
        self._sweeper = sweeper
        self._clock = now
        self._pools: dict[QueuedPool, None] = {}
        self._lines: dict[QueuedPool, None] = {}
        """The pools that somebody waits for."""
        self._last = 0
        self._leaving = 0
        """Connections whose places are about to be free."""
        self._places: Places | None = None
        self._pending: SharedNumber | None = None
        self._retired = False

    def __repr__(self) -> str:
        waiting = sum(len(pool.line) for pool in self._lines)
        return f"<Queue {self.destination_id} {waiting} waiting, {self._places or 'any number of connections'}>"

    # -- of a plan ----------------------------------------------------------------------------------------------------

    def configure(self, limits: ConnectionLimits) -> None:
        """Act by *limits* from now on; what is too much is closed when it is idle."""
        if limits == self.limits:
            return
        self.limits = limits
        places = self._places
        if places is not None:
            if limits.connections:
                places.limit = limits.connections
            else:
                places.leave()
                self._places = None
        elif limits.connections:
            self._places = Places(limits.connections, self.destination_id, self.number)
            self._places.hold(sum(pool.held for pool in self._pools))
        if not limits.pending:
            self._count_no_more()
        elif self._pending is None:
            for pool in self._lines:
                for waiting in pool.line:
                    waiting.is_counted = True
                    self._counted().add(1)
        self.look_around()

    def adopt(self, pool: QueuedPool) -> None:
        """*pool* needs places from now on, also for what it has already."""
        if pool not in self._pools:
            self._pools[pool] = None
            self._leaving += len(pool.leaving)
            self._watch()
        self.settle(pool)
        self._look_at(pool)

    def release(self, pool: QueuedPool) -> None:
        """*pool* needs places no more."""
        self._lines.pop(pool, None)
        self._pools.pop(pool, None)
        self._leaving -= len(pool.leaving)
        held, pool.held = pool.held, 0
        if self._places is not None:
            self._places.hold(self._places.held - held)
        while pool.line:
            pool.seek(self._pop(pool))
        self._give_up_if_done()

    def retire(self) -> None:
        """The destination is not configured any more, or not with limits: claim no precedence, serve who waits."""
        self._retired = True
        if self._places is not None:
            self._places.retire()
        self._give_up_if_done()

    # -- of a request -------------------------------------------------------------------------------------------------

    def arrive(self, waiting: Waiting) -> None:
        """*waiting* asks for a connection the first time: from now on it is before all who come later."""
        self._last += 1
        waiting.number, waiting.since = self._last, self._now()

    def enter(self, pool: QueuedPool, waiting: Waiting) -> None:
        """Have *pool* dial for *waiting*, at once if there are places, else later. Raises :class:`TooManyWaiting`."""
        now = self._now()
        if not waiting.number:
            self.arrive(waiting)  # there was no limit when it did
        if pool not in self._pools:
            self._pools[pool] = None  # a late attempt, by a plan that was replaced
            self._watch()
        self._admit_for(pool)
        if not self._others_first(pool) and self._take(pool, now, now) == _TAKEN:
            pool.start_dial(waiting)
            return
        victim = self._victim(pool, now)
        waiting.is_counted = self._count(pool, victim is not None)
        last = next(reversed(pool.line), None)
        pool.line[waiting] = None
        if last is not None and last.number > waiting.number:  # it has hoped for a dial before others came
            for each in sorted(pool.line, key=lambda each: each.number):
                pool.line.move_to_end(each)
        self._lines[pool] = None
        if victim is not None:
            self._drop_oldest(victim)
        self._show(pool)

    def leave(self, pool: QueuedPool, waiting: Waiting) -> None:
        """*waiting* wants no connection to the endpoint of *pool* any more."""
        if waiting in pool.line:
            del pool.line[waiting]
            self._left(pool, waiting)
        self.settle(pool)

    def share(self, pool: QueuedPool, connection: Http2Connection) -> None:
        """Serve those who wait for *pool* by *connection*; or have it end, if it has no streams and owes its place."""
        if connection.takes_no_more:
            return
        if not connection.streams:
            pool.draining.forget(connection)
            if (
                self._owes(pool)
                or (self._lines and self._is_wanted_elsewhere(pool))
                or (not connection.has_tunnels and self._needs_another(pool))
            ):
                self.leaves(pool, connection)
                connection.retire()
                return
        while connection.has_room and (waiting := self._next_for(pool, connection)) is not None:
            stream = pool.open(connection)
            if not waiting.connected(stream):
                stream.close()

    def draw(self, pool: QueuedPool) -> Waiting | None:
        """Take the first out of the line who waits for *pool* and not for a tunnel; None if there is none."""
        for waiting in pool.line:
            if not waiting.is_tunnel:
                del pool.line[waiting]
                self._left(pool, waiting)
                return waiting
        return None

    def pass_on(self, pool: QueuedPool, connection: Http1Connection) -> bool:
        """Give *connection* up if its place is owed, else to the first who waits; false if it may stay idle."""
        if self._owes(pool) or (self._lines and self._is_wanted_elsewhere(pool)):
            pool.drop(connection)
            return True
        while pool.line:
            waiting = self._pop(pool)
            if waiting.connected(connection):
                return True
        return False

    # -- of a pool ----------------------------------------------------------------------------------------------------

    def leaves(self, pool: QueuedPool, connection: Http1Connection | Http2Connection) -> None:
        """*connection* is about to end, and its place will be free when it has."""
        if connection not in pool.leaving:
            pool.leaving.add(connection)
            self._leaving += 1

    def has_left(self, pool: QueuedPool, connection: Http1Connection | Http2Connection) -> None:
        """The place of *connection* is free."""
        if connection in pool.leaving:
            pool.leaving.discard(connection)
            self._leaving -= 1
        self.settle(pool)

    def settle(self, pool: QueuedPool) -> None:
        """The number of connections in use by *pool* may have changed."""
        held = pool.in_use
        change = held - pool.held
        pool.held = held
        if pool.places is not None:
            pool.places.hold(held)
        if self._places is not None and change:
            self._places.hold(self._places.held + change)
        self._admit_for(pool)
        if pool.retired and not pool.in_use and not pool.line:
            if pool.places is not None:
                pool.places.leave()
            self._pools.pop(pool, None)
            self._give_up_if_done()

    # -- every now and then -------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Another sweep."""
        if self._lines or any(pool.idle or pool.http2 or pool.draining for pool in self._pools):
            self.look_around()

    def look_around(self) -> None:
        """Do what the other workers and the limits ask for: give idle connections up, take places that are free."""
        self._admit(list(self._lines))
        for pool in self._pools:
            self._look_at(pool)
        while (self._owes_of_destination() or self._wanted(None)[0] > self._leaving) and (
            oldest := self._with_oldest_idle()
        ) is not None:
            self._drop_oldest(oldest)
        self._drain()
        for pool in self._lines:
            self._show(pool)

    def _drain(self) -> None:
        """Have connections that never become idle make room, and those that need not any more serve on."""
        now = self._clock()
        counted_on = 0
        for pool in self._pools:
            counted_on += pool.draining.counted_on(now)
        for pool in list(self._pools):
            if not pool.http2 and not pool.draining:
                continue
            counted_on -= pool.draining.counted_on(now)
            owed = self._owed_by(pool, counted_on)
            if owed > 0 or pool.draining:
                pool.draining.settle(owed, pool.shared, now)
            counted_on += pool.draining.counted_on(now)

    def _owed_by(self, pool: QueuedPool, elsewhere: int) -> int:
        """How many connections *pool* owes beside those that leave, if as many as *elsewhere* drain in other pools."""
        owed = 0
        if pool.places is not None:
            owed = pool.places.owed(_head(pool).since if pool.line else 0) - len(pool.leaving)
        if self._places is not None:
            of_destination = self._places.owed(self._wanted(None)[1] if self._lines else 0) - self._leaving
            if of_destination <= 0 and self._lines and self._is_wanted_elsewhere(pool):
                of_destination = 1  # which may carry all who wait
            owed = max(owed, of_destination - elsewhere)
        if owed <= 0 and self._needs_another(pool) and not any(each.has_tunnels for each in pool.shared):
            owed = 1
        return owed

    def _look_at(self, pool: QueuedPool) -> None:
        while pool.idle and self._owes_of_endpoint(pool):
            self._drop_oldest(pool)

    # -- whose turn it is ---------------------------------------------------------------------------------------------

    def _admit_for(self, pool: QueuedPool) -> None:
        """Dial for those whom a place of *pool* may have been lacking."""
        if self._places is not None:
            if self._lines:
                self._admit(list(self._lines))
        elif pool.line:
            self._admit([pool])

    def _admit(self, pools: list[QueuedPool]) -> None:
        """Dial for those who wait for *pools*, as far as there are places."""
        now = self._now()
        heads = [(_head(pool).number, pool) for pool in pools]
        heapify(heads)
        while heads:
            pool = heads[0][1]
            outcome = self._take(pool, _head(pool).since, now)
            if outcome == _LACKS_PLACE_OF_DESTINATION:
                return
            if outcome == _TAKEN:
                pool.start_dial(self._pop(pool))
                if pool.line:
                    heapreplace(heads, (_head(pool).number, pool))
                    continue
            heappop(heads)  # who waits for another endpoint may still go

    def _others_first(self, pool: QueuedPool) -> bool:
        """Whether somebody waits for the same place as whoever asks for one now."""
        if pool.line:
            return True
        return self._places is not None and self._wanted(pool)[0] > 0

    def _take(self, pool: QueuedPool, since: int, now: int) -> int:
        """Take what a connection of *pool* needs, for a request that has been waiting since *since*."""
        places = pool.places
        if places is not None and not places.take(since, now):
            return _LACKS_PLACE_OF_ENDPOINT
        if self._places is not None and not self._places.take(since, now):
            if places is not None:
                places.hold(places.held - 1)
            return _LACKS_PLACE_OF_DESTINATION
        pool.held += 1
        return _TAKEN

    def _wanted(self, pool: QueuedPool | None) -> tuple[int, int]:
        """How many wait for a place of the destination, and for nothing else; and since when the first of them has.

        Those for the endpoint of *pool* are left out.
        """
        number = since = 0
        if self._places is None:
            return 0, 0
        for other in self._lines:
            if other is pool:
                continue
            waiting = len(other.line)
            if other.places is not None:
                waiting = min(waiting, other.places.free)
            if waiting > 0:
                number += waiting
                first = _head(other).since
                since = min(since, first) if since else first
        return number, since

    def _is_wanted_elsewhere(self, pool: QueuedPool) -> bool:
        """Whether a connection of *pool* should rather make room for one to another endpoint."""
        number, since = self._wanted(pool)
        if number <= self._leaving:
            return False
        return not pool.line or since < _head(pool).since - PATIENCE

    def _owes(self, pool: QueuedPool) -> bool:
        """Whether a connection of *pool* should be closed rather than used again: others wait, or it is too many."""
        return self._owes_of_endpoint(pool) or self._owes_of_destination()

    def _owes_of_endpoint(self, pool: QueuedPool) -> bool:
        since = _head(pool).since if pool.line else 0
        return pool.places is not None and pool.places.owed(since) > len(pool.leaving)

    def _owes_of_destination(self) -> bool:
        places = self._places
        if places is None:
            return False
        since = self._wanted(None)[1] if self._lines else 0
        return places.owed(since) > self._leaving

    def _needs_another(self, pool: QueuedPool) -> bool:
        """Whether the first who waits for *pool* needs the place of a connection that carries no tunnels."""
        if not pool.line:
            return False
        first = _head(pool)
        return first.is_tunnel and not pool.leaving and self._now() - first.since > PATIENCE

    def _next_for(self, pool: QueuedPool, connection: Http2Connection) -> Waiting | None:
        """Take the first out of the line of *pool* whom *connection* can serve; None if there is none."""
        if not pool.line:
            return None
        return self._pop(pool) if connection.has_tunnels else self.draw(pool)

    # -- idle connections ---------------------------------------------------------------------------------------------

    def _victim(self, pool: QueuedPool, now: int) -> QueuedPool | None:
        """Whose oldest idle connection is to make room for who now waits for *pool*; None if there is none.

        Who asks for a new one although one is idle does not trust those that are.
        """
        if pool.places is not None and pool.places.free <= 0:
            return pool if pool.idle and len(pool.line) >= len(pool.leaving) else None
        if self._places is None or self._places.free > 0 or self._places.owed(now):
            return None
        return self._with_oldest_idle() if self._wanted(None)[0] >= self._leaving else None

    def _with_oldest_idle(self) -> QueuedPool | None:
        oldest: QueuedPool | None = None
        deadline = NEVER
        for pool in self._pools:
            if pool.idle and (oldest is None or pool.idle[0].deadline < deadline):
                oldest, deadline = pool, pool.idle[0].deadline
        return oldest

    def _drop_oldest(self, pool: QueuedPool) -> None:
        pool.drop(pool.idle.pop(0))

    # -- those who wait -----------------------------------------------------------------------------------------------

    def _pop(self, pool: QueuedPool) -> Waiting:
        waiting, _ = pool.line.popitem(last=False)
        self._left(pool, waiting)
        return waiting

    def _left(self, pool: QueuedPool, waiting: Waiting) -> None:
        if not pool.line:
            self._lines.pop(pool, None)
        if waiting.is_counted and self._pending is not None:
            self._pending.add(-1)
        self._show(pool)

    def _count(self, pool: QueuedPool, has_place: bool) -> bool:
        """Count one more who waits; false when it is not counted. Raises :class:`TooManyWaiting`.

        One for whom a connection is being closed *has_place*, but for the moment in which that ends.
        """
        limit = self.limits.pending
        if not limit:
            if len(pool.line) >= MAX_WAITING:
                raise TooManyWaiting(f"{MAX_WAITING} requests wait for a connection already")
            return False
        if self._counted().reserve(limit):
            return True
        if not has_place:
            raise TooManyWaiting(f"{limit} requests wait for a connection already (maxPendingRequests)")
        return False

    def _counted(self) -> SharedNumber:
        if self._pending is None:
            self._pending = self.number(f"pending {self.destination_id}")
        return self._pending

    def _count_no_more(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.leave()
            for pool in self._lines:
                for waiting in pool.line:
                    waiting.is_counted = False

    def _show(self, pool: QueuedPool) -> None:
        """Let the other workers see since when somebody has been waiting here, of whom one for *pool* came or went."""
        if pool.places is not None:
            pool.places.wait(_head(pool).since if pool.line else 0)
        if self._places is not None:
            self._places.wait(self._wanted(None)[1])

    # -- what is there ------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        self._sweeper.watch(self)
        self.deadline = 0.0  # every sweep

    def _give_up_if_done(self) -> None:
        """Count nothing any more when there is nothing to count."""
        if self._pools:
            return
        self._sweeper.forget(self)
        self.deadline = NEVER
        if self._retired:
            self._count_no_more()
            if self._places is not None:
                self._places.leave()

    def _now(self) -> int:
        return int(self._clock() * 1000)


def _head(pool: QueuedPool) -> Waiting:
    """The first who waits for *pool*."""
    return next(iter(pool.line))
