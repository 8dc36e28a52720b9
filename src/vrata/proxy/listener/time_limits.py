"""The limits of time that a client's connection is held to (docs/behaviour.md).

Setting a limit is storing a number; which of them has passed, if any, is found out when the earliest of them is due.
"""

from __future__ import annotations

import asyncio
from typing import cast

import structlog

from vrata.net import write_buffer
from vrata.net.deadlines import NEVER
from vrata.proxy.listener.owner import ConnectionOwner
from vrata.proxy.listener.request import DownstreamRequest, ServingConnection
from vrata.proxy.listener.settings import ListenerSettings
from vrata.wire.http1.head import ResponseHead

DRAIN_IDLE_GRACE = 0.5
"""Seconds that an idle connection stays open after a drain began, for the request that may be on its way."""

LINGER = 2.0
"""Seconds for which what a client still sends is read and dropped: closing at once would reset the connection and could
destroy the answer before the client has read it (RFC 9112 §9.6)."""

_log = structlog.get_logger("vrata.proxy.listener")


class Stall:
    """A client with more to take than the kernel takes for it: whenever it takes some, its limit begins anew."""

    __slots__ = ("_backlog", "_limit", "_transport", "deadline")

    def __init__(self, transport: asyncio.Transport, now: float, limit: float) -> None:
        """*now* is the loop's time, *limit* in seconds, infinite for none."""
        self._transport = transport
        self._backlog = write_buffer.backlog(transport)
        self._limit = limit
        self.deadline = now + limit

    def __repr__(self) -> str:
        return f"<Stall {self._backlog} bytes wait>"

    def renewed(self, now: float) -> float:
        """The deadline, as it is at loop time *now*."""
        left = write_buffer.backlog(self._transport)
        if left < self._backlog:
            self._backlog = left
            self.deadline = now + self._limit
        return self.deadline


class TimedConnection(ServingConnection):
    """What of a client's connection its limits depend on, and what happens when one has passed."""

    def __init__(self, owner: ConnectionOwner) -> None:
        # For the connection's lifetime.
        self._owner = owner
        self._loop = owner.loop
        self._transport = cast(asyncio.Transport, None)
        self.peer = b""
        self.deadline = NEVER
        self.draining = False
        self._closed = False
        self._closing = False
        self._idle_deadline = NEVER
        self._stall: Stall | None = None
        self._still_to_come = -1
        """Bytes of the last answer that the kernel held when it was last asked; -1 before."""
        # Per request.
        self._settings: ListenerSettings = owner.settings
        self._request: DownstreamRequest | None = None
        self._body_complete = True
        self._head_deadline = NEVER
        self._body_deadline = NEVER
        # Per response.
        self._response_started = False
        self._response: ResponseHead | None = None
        self._response_expiry = 0.0
        self._tunnel = False

    def _begin_idle(self, now: float) -> None:
        """A response has ended. When the client has taken it, it may wait a while before its next request."""
        idle = DRAIN_IDLE_GRACE if self.draining else self._settings.timeouts.idle_between_requests
        self._idle_deadline = now + idle
        self.deadline = min(self._response_expiry, self._idle_deadline)

    def _begin_stall(self) -> None:
        """The client does not keep up, which it may do for as long as it takes something now and then."""
        now = self._loop.time()
        self._stall = Stall(self._transport, now, self._settings.timeouts.idle_between_requests)
        self.deadline = min(self.deadline, self._stall.deadline)

    def _end_stall(self) -> None:
        self._stall = None
        if self._request is None and not self._closing:
            self._begin_idle(self._loop.time())

    def drain(self) -> None:
        """Finish what is being answered, then close; an idle connection closes after a short grace."""
        self.draining = True
        if self._request is None:
            self._idle_deadline = min(self._idle_deadline, self._loop.time() + DRAIN_IDLE_GRACE)
            self.deadline = min(self.deadline, self._idle_deadline)

    def expire(self) -> None:
        """The earliest limit is due: if it has passed, the connection closes, without an answer."""
        now = self._loop.time()
        unsent = self._transport.get_write_buffer_size()
        self.deadline = self._limit(now, unsent)
        if now < self.deadline:
            return
        self.deadline = NEVER
        unfinished = self._request is not None and not self._tunnel
        if unfinished or unsent:
            _log.info("client timed out", peer=self.peer.decode(), connection=repr(self))
            self.abort()
        else:
            self._transport.close()

    def _limit(self, now: float, unsent: int) -> float:
        """Until when the client has to do what it is its turn to do; *unsent* bytes are there for it to take."""
        limit = NEVER
        if self._response is not None and self._response.is_event_stream:
            self._response_expiry = NEVER  # such a response is not meant to end
        if self._tunnel:
            limit = now if self._stall is None else NEVER
        elif self._request is not None:
            if not self._body_complete:
                limit = self._body_deadline
            if self._response_started:
                limit = min(limit, self._response_expiry)
        elif unsent:
            limit = min(self._head_deadline, self._response_expiry)
            if self._stall is None:
                self._stall = Stall(self._transport, now, self._settings.timeouts.idle_between_requests)
        elif self._closing:
            limit = now
        elif self.draining and now >= self._idle_deadline and self._takes_last_answer():
            # It can only ask again when it has all of that, and its grace should be there for it then.
            limit = self._idle_deadline = now + DRAIN_IDLE_GRACE
        else:
            limit = min(self._head_deadline, self._idle_deadline)
        if unsent and self._stall is not None:
            limit = min(limit, self._stall.renewed(now))
        return limit

    def _takes_last_answer(self) -> bool:
        """Whether the client has yet to get some of the last answer, and got some since this was asked before."""
        before, self._still_to_come = self._still_to_come, write_buffer.backlog(self._transport)
        return self._still_to_come < before if before >= 0 else self._still_to_come > 0

    def abort(self) -> None:
        """Cut the connection so that the client cannot take what it has for a whole message."""
        if self._closed:
            return
        write_buffer.reset_on_close(self._transport)
        self._transport.abort()
