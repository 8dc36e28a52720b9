"""One client's connection that speaks HTTP/2: bytes to streams, and what the streams send to bytes (RFC 9113).

What frames mean is the session's business (:mod:`vrata.wire.http2`). What streams send is collected and written once in
a turn of the event loop.
"""

from __future__ import annotations

import asyncio

import structlog

from vrata.net.deadlines import NEVER
from vrata.proxy.listener.hop import Hop
from vrata.proxy.listener.http2_stream import Http2Stream
from vrata.proxy.listener.http2_time_limits import FAREWELL, TimedHttp2Connection
from vrata.proxy.listener.owner import ConnectionOwner
from vrata.proxy.listener.settings import ListenerSettings
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.grammar import MAX_FIELDS
from vrata.wire.http1.head import RequestHead, parse_request_head
from vrata.wire.http2.errors import ENHANCE_YOUR_CALM, NO_ERROR
from vrata.wire.http2.events import CONTENT, FAILED, GOAWAY, HEAD, PONG, RESET, SETTINGS, STREAM_ERROR, TRAILERS
from vrata.wire.http2.session import SessionLimits, server_session

MAX_UNTAKEN = 128
"""Requests that are begun for a client that takes nothing of what is sent; beyond it the connection is not read."""
MAX_ANSWERS = 65536
"""Bytes of answers to frames that wait for such a client, from which on it is the same."""
SLICE = 8192
"""Bytes that are acted on at once: requests can be so small that many hundreds are read together."""
BEGUN_AT_ONCE = 64
"""Requests in one turn of the event loop, from which on what else was read with them waits for the next."""

_ENTRY_OVERHEAD = 32
"""What RFC 9113 §6.5.2 counts for each field beside its name and value."""

_log = structlog.get_logger("vrata.proxy.listener")


class Http2Connection(TimedHttp2Connection):
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
        limits = SessionLimits(header_list=settings.max_head + MAX_FIELDS * _ENTRY_OVERHEAD)
        super().__init__(owner, transport, hop, settings, server_session(limits, upgraded))
        self._leaving: list[int] = []
        """Streams whose response is complete, and was not sent yet when that was last asked."""
        self._stalled: list[int] = []
        self._receiving = False
        self._is_dirty = False
        self._held = b""
        """What was read, and has to wait for its turn."""
        self._begun = 0
        """Requests that have begun in this turn."""
        self._untaken = 0
        """Requests that have begun since the client takes nothing."""

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
        if self._held or len(data) > SLICE:
            self._held += data
            self._read_on()
            return
        self._take(data)
        if self._write_paused:
            self._settle_reading()
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
        self._begin_stall(self._loop.time())

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._write_paused = False
        self._stall = None
        self._untaken = 0
        if self._held:
            self._loop.call_soon(self._read_on)
        else:
            self._settle_reading()
        self._flush()

    # -- what comes in ------------------------------------------------------------------------------------------------

    def _read_on(self) -> None:
        """Take what was read, until that has begun so many requests that others should have their turn."""
        held, position = self._held, 0
        self._begun = 0
        while position < len(held) and self._begun < BEGUN_AT_ONCE and not self._is_full():
            if self._closed or self._closing:
                self._held = b""
                return
            self._take(held[position : position + SLICE])
            position += SLICE
        self._held = held[position:]
        if self._held and not self._is_full():
            self._loop.call_soon(self._read_on)
        self._settle_reading()
        self._flush()

    def _settle_reading(self) -> None:
        """Read nothing more of the client while what was read waits, or while answers do."""
        pauses = bool(self._held) or self._is_full()
        if pauses == self._reading_paused or self._closed or self._closing:
            return
        self._reading_paused = pauses
        if pauses:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def _is_full(self) -> bool:
        """Who does not take answers gets no further ones, or they would pile up here."""
        return self._write_paused and (self._untaken > MAX_UNTAKEN or self._session.held_answers > MAX_ANSWERS)

    def _take(self, data: bytes) -> None:
        now = self._loop.time()
        flood = self._guard.feed(data, now)
        if flood:
            self._calm(flood)
            return
        self._limit_head(now)
        self._receiving = True
        try:
            self._receive(data, now)
        except BaseException:
            self.abort()  # what of it was acted on is not known
            raise
        finally:
            self._receiving = False

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
                self._act_on(kind, number, content, flag, now)

    def _begin_request(self, number: int, text: bytes, content: bytes, end: bool, now: float) -> None:
        settings = self._owner.settings
        if self._settings is not settings:
            # The settings of a request are those in force when it came.
            self._settings = settings
            self._hop = self._hop.under(settings.address, settings.trusted_proxies)
        stream = Http2Stream(self, self._owner, self._session, number, settings, self._hop)
        self._streams[number] = stream
        self._owner.request_began()
        self._begun += 1
        if self._write_paused:
            self._untaken += 1
        try:
            head = parse_request_head(text, settings.max_head)
            if head is None:
                raise MalformedMessage(400, "malformed request line")
            settings.admit(head)
        except MalformedMessage as error:
            stream.refuse(error, text, end, now)
            return
        stream.begin(head, content, end, now)

    def _act_on(self, kind: int, number: int, content: bytes, code: int, now: float) -> None:
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
            if content == FAREWELL and self._farewell_deadline != NEVER:
                self._say_goodbye()
        elif kind == GOAWAY:
            # It will ask for nothing more.
            self._session.go_away(NO_ERROR)
            self._is_dirty = True
        elif kind == FAILED:
            reason = content.decode("ascii", "replace")
            if code == ENHANCE_YOUR_CALM:
                _log.warning("HTTP/2 flood", peer=self._hop.peer.decode(), reason=reason)
            else:
                _log.info("connection refused", peer=self._hop.peer.decode(), reason=reason)
            self._finish()

    def _calm(self, reason: str) -> None:
        """The client sends what makes work and leads to nothing (RFC 9113 §10.5)."""
        _log.warning("HTTP/2 flood", peer=self._hop.peer.decode(), reason=reason)
        self.end(ENHANCE_YOUR_CALM, reason)

    # -- what goes out ------------------------------------------------------------------------------------------------

    def touched(self) -> None:
        """There may be something to send, when everything that happens now has happened."""
        if not self._is_dirty:
            self._is_dirty = True
            if not self._receiving:
                self._loop.call_soon(self._flush)

    def holds_up(self) -> bool:
        """The client takes nothing of what is sent."""
        return self._write_paused

    def stalled(self, stream: int) -> None:
        """Its client has to take some of what waits for it."""
        self._stalled.append(stream)

    def answered(self, stream: int) -> None:
        """The response is complete, or there will be none."""
        self._leaving.append(stream)

    def _flush(self) -> None:
        self._is_dirty = False
        if self._closed or self._closing:
            return
        try:
            self._send()
        except BaseException:
            self.abort()
            raise

    def _send(self) -> None:
        session = self._session
        self._flush_all()
        if self._stalled:
            now = self._loop.time()
            for number in self._stalled:
                stalled = self._streams.get(number)
                if stalled is not None:
                    stalled.wait_for_client(now)
            self._stalled.clear()
        if self._leaving:
            self._part()
        for number in session.drained():
            caught_up = self._streams.get(number)
            if caught_up is not None:
                caught_up.drained()
        if (session.is_over or (self._input_ended and not self._streams)) and not self._write_paused:
            self._close_gracefully()

    def _part(self) -> None:
        """Forget the streams whose response is on its way as a whole."""
        still = []
        now = self._loop.time()
        for number in self._leaving:
            stream = self._streams.get(number)
            if stream is None:
                continue
            if self._session.unfinished(number):
                still.append(number)
                stream.wait_for_client(now)
            else:
                del self._streams[number]
                self._taken_by = stream.taken_by
        self._leaving = still
        self._idle_if_empty(now)
