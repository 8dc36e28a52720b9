"""The limits of time of a client's HTTP/2 connection (docs/behaviour.md), and how it ends.

There is one entry for all of them, and for those of the streams: setting a limit is storing a number, and all are
looked at when the earliest may be due.
"""

from __future__ import annotations

import asyncio

import structlog

from vrata.net import write_buffer
from vrata.net.deadlines import NEVER
from vrata.proxy.listener.hop import Hop
from vrata.proxy.listener.http2_stream import Http2Stream
from vrata.proxy.listener.owner import ConnectionOwner
from vrata.proxy.listener.settings import ListenerSettings
from vrata.proxy.listener.stream_carrier import StreamCarrier
from vrata.proxy.listener.time_limits import LINGER, Stall
from vrata.wire.http2.errors import NO_ERROR
from vrata.wire.http2.guard import FrameGuard
from vrata.wire.http2.session import Session

DRAIN_GRACE = 1.0
"""Seconds for an answer of a client that was told that the connection will end. Until then its streams are taken."""
FAREWELL = b"farewell"
"""The ping whose answer says that the client knows that the connection will end."""

_log = structlog.get_logger("vrata.proxy.listener")


class TimedHttp2Connection(StreamCarrier):
    """What of a connection its limits depend on, and what happens when one has passed."""

    def __init__(
        self,
        owner: ConnectionOwner,
        transport: asyncio.Transport,
        hop: Hop,
        settings: ListenerSettings,
        session: Session,
    ) -> None:
        self._owner = owner
        self._loop = owner.loop
        self._transport = transport
        self._hop = hop
        self._settings = settings
        self._session = session
        self._guard = FrameGuard()
        self._streams: dict[int, Http2Stream] = {}
        self.draining = False
        self._closed = False
        self._closing = False
        self._write_paused = False
        self._reading_paused = False
        self._input_ended = False
        self.deadline = NEVER
        """Not after the earliest of these, and of those that streams have."""
        self._settings_deadline = NEVER
        self._head_deadline = NEVER
        self._idle_deadline = NEVER
        self._farewell_deadline = NEVER
        self._taken_by = NEVER
        """Until when the client has to have taken the last response."""
        self._stall: Stall | None = None
        self._still_to_come = -1
        """Bytes that the client had not got when that was last asked; -1 before, since there is no stream."""
        self._last_stall: Stall | None = None
        """Of what the client has yet to get before the connection closes."""

    def time(self) -> float:
        """The loop's."""
        return self._loop.time()

    def due(self, deadline: float) -> None:
        """Something has a limit at *deadline*."""
        if deadline < self.deadline:
            self.deadline = deadline

    def _idle_if_empty(self, now: float) -> None:
        """With no stream left the client may wait a while before it begins the next."""
        if not self._streams and self._settings_deadline == NEVER:
            self._still_to_come = -1
            self._begin_idle(now)

    def _begin_idle(self, now: float) -> None:
        self._idle_deadline = now + self._settings.timeouts.idle_between_requests
        self.due(self._idle_deadline)

    def expire(self) -> None:
        """The earliest limit is due. A stream or the connection, of which it is, ends without an answer."""
        now = self._loop.time()
        self.deadline = NEVER
        unsent = self._transport.get_write_buffer_size()
        if self._closing:
            self._end_closing(now, unsent)
            return
        if now >= self._settings_deadline or now >= self._head_deadline or self._is_stalled(now, unsent):
            self._time_out()
            return
        if now >= self._farewell_deadline:
            self._say_goodbye()
        for stream in list(self._streams.values()):
            limit = stream.limit(now)
            if limit <= now:
                stream.expire(now)
            else:
                self.due(limit)
        if not self._streams and not unsent and now >= self._idle_deadline:
            if not self._takes_last_response():
                self.end(NO_ERROR)
                return
            self._begin_idle(now)
        self.due(self._settings_deadline)
        self.due(self._head_deadline)
        self.due(self._farewell_deadline)
        if not self._streams and now < self._idle_deadline:
            self.due(self._idle_deadline)
        self.touched()

    def _takes_last_response(self) -> bool:
        """Whether the client has yet to get some of the last response, and got some since this was asked before.

        The kernel can hold megabytes of it, and a close would destroy them when the client renews windows for them.
        """
        before, self._still_to_come = self._still_to_come, write_buffer.backlog(self._transport)
        return self._still_to_come < before if before >= 0 else self._still_to_come > 0

    def _is_stalled(self, now: float, unsent: int) -> bool:
        """Whether the client takes nothing of what was written, or too long for it."""
        if not unsent:
            self._begin_anew()
            return False
        if not self._streams:
            if now >= self._taken_by:
                return True
            if self._stall is None:
                self._begin_stall(now)
            self.due(self._taken_by)
        if self._stall is None:
            return False
        deadline = self._stall.renewed(now)
        self.due(deadline)
        return now >= deadline

    def _begin_anew(self) -> None:
        """All that was written has been taken; what comes next has limits of its own."""
        if not self._write_paused:
            self._stall = None
            self._taken_by = NEVER

    def _begin_stall(self, now: float) -> None:
        """The client does not keep up, which it may do for as long as it takes something now and then."""
        self._stall = Stall(self._transport, now, self._settings.timeouts.idle_between_requests)
        self.due(self._stall.deadline)

    def _limit_head(self, now: float) -> None:
        """A head that has begun to come has to be complete in time."""
        if not self._guard.head_unfinished:
            self._head_deadline = NEVER
        elif self._head_deadline == NEVER:
            self._head_deadline = now + self._settings.timeouts.client_header
            self.due(self._head_deadline)

    def _time_out(self) -> None:
        _log.info("client timed out", peer=self._hop.peer.decode(), connection=repr(self))
        self.abort()

    # -- the end ------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Let the client begin no further streams, finish those that there are, then close.

        A client that does not know yet may have begun one, so it is told first, and taken at its word for a moment.
        """
        if self.draining:
            return
        self.draining = True
        self._session.announce_shutdown()
        self._session.ping(FAREWELL)
        self._farewell_deadline = self._loop.time() + DRAIN_GRACE
        self.due(self._farewell_deadline)
        self.touched()

    def _say_goodbye(self) -> None:
        self._farewell_deadline = NEVER
        self._session.go_away(NO_ERROR)
        self.touched()

    def end(self, code: int, reason: str = "") -> None:
        """End the connection with all its streams, and say why."""
        self._session.go_away(code, reason.encode("ascii", "replace"))
        self._finish()

    def _finish(self) -> None:
        """There is nothing more to do than to send what the session has for the end."""
        self._give_streams_up()
        self._flush_all()
        self._close()

    def abort(self) -> None:
        """Cut the connection so that the client cannot take what it has for whole messages."""
        if not self._closed:
            write_buffer.reset_on_close(self._transport)
            self._transport.abort()

    def _give_streams_up(self) -> None:
        now = self._loop.time()
        streams = list(self._streams.values())
        self._streams.clear()
        for stream in streams:
            stream.gone(now)

    def _close_gracefully(self) -> None:
        """Close when the client has, or when it has got everything and a moment has passed."""
        if not self._closing:
            if write_buffer.backlog(self._transport):
                idle = self._settings.timeouts.idle_between_requests
                self._last_stall = Stall(self._transport, self._loop.time(), idle)
            self._close()

    def _close(self) -> None:
        """Close when the client has, or in a moment; at once could destroy what it has not read yet."""
        if self._closing:
            return
        self._closing = True
        self.deadline = self._loop.time() + LINGER
        if self._input_ended:
            self._transport.close()
            return
        if self._reading_paused:
            self._reading_paused = False
            self._transport.resume_reading()
        write_buffer.end_output(self._transport)

    def _end_closing(self, now: float, unsent: int) -> None:
        """The moment is over that a client has to close, which begins when it has got everything."""
        stall = self._last_stall
        if stall is not None:
            self.deadline = now + LINGER
            if not write_buffer.backlog(self._transport):
                self._last_stall = None
                return
            if now < stall.renewed(now) and not (unsent and now >= self._taken_by):
                return
            self._time_out()
        elif unsent:
            self._time_out()
        else:
            self._transport.close()

    def _flush_all(self) -> None:
        """Write what may be sent, as far as the transport takes it."""
        if (self._stall is not None or self._taken_by != NEVER) and not self._transport.get_write_buffer_size():
            self._begin_anew()
        while not self._write_paused:
            data = self._session.outgoing()
            if not data:
                return
            self._guard.sent(len(data))
            self._transport.write(data)
