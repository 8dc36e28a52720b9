"""One client's connection that speaks HTTP/2: bytes to streams, and what the streams send to bytes (RFC 9113).

What frames mean is the session's business (:mod:`vrata.wire.http2`). Here is the rest of a connection: its transport,
its limits of time, its end. What streams send is collected and written once in a turn of the event loop.
"""

from __future__ import annotations

import asyncio

import structlog

from vrata.net import write_buffer
from vrata.net.deadlines import NEVER
from vrata.proxy.listener.hop import Hop
from vrata.proxy.listener.http2_stream import Http2Stream, StreamCarrier
from vrata.proxy.listener.owner import ConnectionOwner
from vrata.proxy.listener.settings import ListenerSettings
from vrata.proxy.listener.time_limits import LINGER, Stall
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.grammar import MAX_FIELDS
from vrata.wire.http1.head import RequestHead, parse_request_head
from vrata.wire.http2.errors import ENHANCE_YOUR_CALM, NO_ERROR
from vrata.wire.http2.events import CONTENT, FAILED, GOAWAY, HEAD, PONG, RESET, SETTINGS, STREAM_ERROR, TRAILERS
from vrata.wire.http2.guard import FrameGuard
from vrata.wire.http2.session import SessionLimits, server_session

DRAIN_GRACE = 1.0
"""Seconds for an answer of a client that was told that the connection will end. Until then its streams are taken."""
MAX_UNTAKEN = 128
"""Requests that are begun for a client that takes nothing of what is sent; beyond it the connection is not read."""

_FAREWELL = b"farewell"
"""The ping whose answer says that the client knows that the connection will end."""
_ENTRY_OVERHEAD = 32
"""What RFC 9113 §6.5.2 counts for each field beside its name and value."""

_log = structlog.get_logger("vrata.proxy.listener")


class Http2Connection(StreamCarrier):
    """The protocol object of a connection from when it is known to be one of HTTP/2."""

    def __init__(
        self,
        owner: ConnectionOwner,
        transport: asyncio.Transport,
        hop: Hop,
        settings: ListenerSettings,
        upgraded: bytes | None = None,
    ) -> None:
        """*hop* is the connection's under *settings*; *upgraded* are those of a request for HTTP/2.

        Raises ``ValueError`` where these are none.
        """
        self._owner = owner
        self._loop = owner.loop
        self._transport = transport
        self._hop = hop
        self._settings = settings
        limits = SessionLimits(header_list=settings.max_head + MAX_FIELDS * _ENTRY_OVERHEAD)
        self._session = server_session(limits, upgraded)
        self._guard = FrameGuard()
        self._streams: dict[int, Http2Stream] = {}
        self._leaving: list[int] = []
        """Streams whose response is complete, and was not sent yet when that was last asked."""
        self._stalled: list[Http2Stream] = []
        self.draining = False
        self._closed = False
        self._closing = False
        self._receiving = False
        self._is_dirty = False
        self._write_paused = False
        self._reading_paused = False
        self._input_ended = False
        self._untaken = 0
        """Requests that have begun since the client takes nothing."""
        self.deadline = NEVER
        """Not after the earliest of these, and of those that streams have."""
        self._settings_deadline = NEVER
        self._head_deadline = NEVER
        self._idle_deadline = NEVER
        self._farewell_deadline = NEVER
        self._taken_by = NEVER
        """Until when the client has to have taken the last response."""
        self._stall: Stall | None = None

    def __repr__(self) -> str:
        state = f"{len(self._streams)} streams" if self._streams else "idle"
        return f"<Http2Connection {self._hop.peer.decode()} {state}{' draining' if self.draining else ''}>"

    def begin(self, deadline: float) -> None:
        """Serve from here on; the client has to send its settings by *deadline*."""
        self._settings_deadline = self.deadline = deadline
        self._owner.sweeper.watch(self)
        self._flush()

    def serve_upgraded(self, head: RequestHead) -> None:
        """Serve the request that has asked for HTTP/2: it is the first stream's (RFC 7540 §3.2)."""
        now = self._loop.time()
        stream = self._streams[1] = Http2Stream(self, self._owner, self._session, 1, self._settings, self._hop)
        self._owner.request_began()
        stream.begin(head, b"", True, now)

    # -- transport callbacks ------------------------------------------------------------------------------------------

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        """Somebody else has seen to that."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whichever side."""
        self._closed = True
        self.deadline = NEVER
        self._owner.sweeper.forget(self)
        self._give_streams_up()
        self._owner.closed(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._closing:
            return
        now = self._loop.time()
        flood = self._guard.feed(data, now)
        if flood:
            self._calm(flood)
            return
        if self._guard.head_unfinished:
            if self._head_deadline == NEVER:
                self._head_deadline = now + self._settings.timeouts.client_header
                self.due(self._head_deadline)
        else:
            self._head_deadline = NEVER
        self._receiving = True
        try:
            self._receive(data, now)
        finally:
            self._receiving = False
        self._flush()

    def eof_received(self) -> bool:
        """The client will send no more, so what it has not sent yet will not come; answers that it waits for do."""
        self._input_ended = True
        if self._closing:
            return False
        now = self._loop.time()
        for stream in [stream for stream in self._streams.values() if stream.expects_input]:
            del self._streams[stream.number]
            stream.gone(now)
        return bool(self._streams)

    def input_cut(self, reason: str) -> None:
        """The client does not wait for anything (RFC 9112 §9.8): what it has asked for is given up."""
        if self._streams:
            self.abort()
        else:
            self._transport.close()

    def pause_writing(self) -> None:
        """The client does not keep up. Streams fill up on their own, and pause then."""
        self._write_paused = True
        self._stall = Stall(self._transport, self._loop.time(), self._settings.timeouts.idle_between_requests)
        self.due(self._stall.deadline)

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._write_paused = False
        self._stall = None
        self._untaken = 0
        if self._reading_paused and not self._closed:
            self._reading_paused = False
            self._transport.resume_reading()
        self._flush()

    # -- what comes in ------------------------------------------------------------------------------------------------

    def _receive(self, data: bytes, now: float) -> None:
        events = self._session.receive(data)
        streams = self._streams
        position = 0
        while position < len(events) and not self._closing:
            kind, number, content, flag = events[position]
            position += 1
            if kind == HEAD:
                end = flag != 0
                first = b""
                if not end and position < len(events):
                    following = events[position]
                    if following[0] == CONTENT and following[1] == number:
                        # What came at once with its head is one message to whoever handles it, as in HTTP/1.
                        first, end = following[2], following[3] != 0
                        position += 1
                self._begin_request(number, content, first, end, now)
            elif kind == CONTENT:
                stream = streams.get(number)
                if stream is not None:
                    stream.content(content, flag != 0)
                else:
                    self._session.consumed(number, len(content))
            elif kind == TRAILERS:
                stream = streams.get(number)
                if stream is not None:
                    stream.trailers(content)
            elif kind == RESET:
                stream = streams.pop(number, None)
                if stream is not None:
                    stream.gone(now)
                    self._idle_if_empty(now)
            else:
                self._act_on(kind, number, content, now)

    def _begin_request(self, number: int, text: bytes, content: bytes, end: bool, now: float) -> None:
        settings = self._owner.settings
        if self._settings is not settings:
            # The settings of a request are those in force when it came.
            self._settings = settings
            self._hop = self._hop.under(settings.address, settings.trusted_proxies)
        stream = Http2Stream(self, self._owner, self._session, number, settings, self._hop)
        self._streams[number] = stream
        self._owner.request_began()
        if self._write_paused:
            self._hold_back()
        try:
            head = parse_request_head(text, settings.max_head)
            if head is None:
                raise MalformedMessage(400, "malformed request line")
            if settings.max_fields_size and head.fields_size > settings.max_fields_size:
                raise MalformedMessage(431, "request headers too large")
        except MalformedMessage as error:
            stream.refuse(error, text, end, now)
            return
        stream.begin(head, content, end, now)

    def _act_on(self, kind: int, number: int, content: bytes, now: float) -> None:
        """Act on what does not happen with every request."""
        if kind == STREAM_ERROR:
            stream = self._streams.pop(number, None)
            _log.info("request refused", peer=self._hop.peer.decode(), reason=content.decode("ascii", "replace"))
            if stream is not None:
                stream.broken(now)
                self._idle_if_empty(now)
            elif self._settings.meters is not None:
                self._settings.meters.failed("bad_request")
            flood = self._guard.count_error(now)
            if flood:
                self._calm(flood)
        elif kind == SETTINGS:
            if self._settings_deadline != NEVER:
                self._settings_deadline = NEVER
                self._idle_if_empty(now)
        elif kind == PONG:
            if content == _FAREWELL and self._farewell_deadline != NEVER:
                self._say_goodbye()
        elif kind == GOAWAY:
            # It will ask for nothing more.
            self._session.go_away(NO_ERROR)
            self._is_dirty = True
        elif kind == FAILED:
            reason = content.decode("ascii", "replace")
            _log.info("connection refused", peer=self._hop.peer.decode(), reason=reason)
            self._give_streams_up()
            self._flush_all()
            self._close_gracefully()

    def _hold_back(self) -> None:
        """Who does not take answers gets no further ones, or they would pile up here."""
        self._untaken += 1
        if self._untaken > MAX_UNTAKEN and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    # -- what goes out ------------------------------------------------------------------------------------------------

    def touched(self) -> None:
        """There may be something to send, when everything that happens now has happened."""
        if not self._is_dirty:
            self._is_dirty = True
            if not self._receiving:
                self._loop.call_soon(self._flush)

    def stalled(self, stream: Http2Stream) -> None:
        """Its client has to take some of what waits for it."""
        self._stalled.append(stream)

    def answered(self, stream: Http2Stream) -> None:
        """The response is complete, or there will be none."""
        self._leaving.append(stream.number)

    def _flush(self) -> None:
        self._is_dirty = False
        if self._closed or self._closing:
            return
        session = self._session
        self._flush_all()
        if self._stalled:
            now = self._loop.time()
            for stream in self._stalled:
                stream.wait_for_client(now)
            self._stalled.clear()
        if self._leaving:
            self._part()
        for number in session.drained():
            caught_up = self._streams.get(number)
            if caught_up is not None:
                caught_up.drained()
        if (session.is_over or (self._input_ended and not self._streams)) and not self._write_paused:
            self._close_gracefully()

    def _flush_all(self) -> None:
        """Write what may be sent, as far as the transport takes it."""
        while not self._write_paused:
            data = self._session.outgoing()
            if not data:
                return
            self._guard.sent(len(data))
            self._transport.write(data)

    def _part(self) -> None:
        """Forget the streams whose response is on its way as a whole."""
        still = []
        now = self._loop.time()
        for number in self._leaving:
            stream = self._streams.get(number)
            if stream is None:
                continue
            if self._session.unsent(number):
                still.append(number)
                stream.wait_for_client(now)
            else:
                del self._streams[number]
                self._taken_by = stream.taken_by
        self._leaving = still
        self._idle_if_empty(now)

    # -- limits of time -----------------------------------------------------------------------------------------------

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
            self._idle_deadline = now + self._settings.timeouts.idle_between_requests
            self.due(self._idle_deadline)

    def expire(self) -> None:
        """The earliest limit is due. A stream or the connection, of which it is, ends without an answer."""
        now = self._loop.time()
        self.deadline = NEVER
        unsent = self._transport.get_write_buffer_size()
        if self._closing:
            if unsent:
                self._time_out()
            else:
                self._transport.close()
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
            self._session.go_away(NO_ERROR)
        self.due(self._settings_deadline)
        self.due(self._head_deadline)
        self.due(self._farewell_deadline)
        if not self._streams and now < self._idle_deadline:
            self.due(self._idle_deadline)
        self._flush()

    def _is_stalled(self, now: float, unsent: int) -> bool:
        """Whether the client takes nothing of what was written, or too long for it."""
        if not unsent:
            return False
        if not self._streams:
            if now >= self._taken_by:
                return True
            if self._stall is None:
                self._stall = Stall(self._transport, now, self._settings.timeouts.idle_between_requests)
            self.due(self._taken_by)
        if self._stall is None:
            return False
        deadline = self._stall.renewed(now)
        self.due(deadline)
        return now >= deadline

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
        self._session.ping(_FAREWELL)
        self._farewell_deadline = self._loop.time() + DRAIN_GRACE
        self.due(self._farewell_deadline)
        self.touched()

    def _say_goodbye(self) -> None:
        self._farewell_deadline = NEVER
        self._session.go_away(NO_ERROR)
        self.touched()

    def _calm(self, reason: str) -> None:
        """The client sends what makes work and leads to nothing (RFC 9113 §10.5)."""
        _log.warning("HTTP/2 flood", peer=self._hop.peer.decode(), reason=reason)
        self.refuse(ENHANCE_YOUR_CALM, reason)

    def refuse(self, code: int, reason: str) -> None:
        """End the connection with all its streams, and say why."""
        self._session.go_away(code, reason.encode("ascii", "replace"))
        self._give_streams_up()
        self._flush_all()
        self._close_gracefully()

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
        """Close when the client has; a close at once could destroy what it has not read yet."""
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
