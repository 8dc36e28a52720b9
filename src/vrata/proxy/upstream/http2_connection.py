"""One connection of HTTP/2 to an endpoint (RFC 9113), and the streams that share it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol, cast

import structlog

from vrata.net import write_buffer
from vrata.net.deadlines import NEVER
from vrata.net.dial import DialError, DialStage
from vrata.net.upstream_tls import UpstreamTls, is_confirmed
from vrata.proxy.upstream.http2_stream import Http2Stream, StreamOwner
from vrata.proxy.upstream.left_streams import LeftStreams
from vrata.proxy.upstream.silence import Silence
from vrata.wire.http2 import errors
from vrata.wire.http2.contract import SessionLimits
from vrata.wire.http2.events import (
    CONTENT,
    FAILED,
    GOAWAY,
    HEAD,
    INFORMATIONAL,
    PONG,
    RESET,
    SETTINGS,
    STREAM_ERROR,
    TRAILERS,
    Event,
)
from vrata.wire.http2.guard import FrameGuard
from vrata.wire.http2.session import client_session

if TYPE_CHECKING:
    from vrata.net.deadlines import DeadlineSweeper
    from vrata.wire.http2.contract import Session

MAX_STREAMS: Final = 1024
"""Streams of one connection at once, even if the upstream allows more: what ends the connection ends all of them."""

LINGER: Final = 2.0
"""Seconds in which an upstream has to take the last bytes of a connection."""

MAX_GOODBYES: Final = 8
"""GOAWAY frames of one connection: two take leave in good order, one more says what went wrong."""

MAX_UNANSWERED: Final = 16 << 20
"""Bytes that may come while the upstream takes nothing of what we send, the answers to its frames among them.

Without our answers an honest one can send no more than the window of the connection, and heads."""

_PING: Final = b"vrata-up"
# Of a response that its client does not take a window is all that is held.
_LIMITS: Final = SessionLimits(is_shared=True)

_CODES: Final = {code: name for name, code in vars(errors).items() if name.isupper()}

_log = structlog.get_logger("vrata.proxy.upstream")


class SharedPool(Protocol):
    """What a connection needs of the pool that it belongs to."""

    sweeper: DeadlineSweeper

    @property
    def max_requests(self) -> int: ...  # noqa: D102
    def stream_ended(self, connection: Http2Connection) -> None:
        """One stream less is open."""

    def has_room(self, connection: Http2Connection) -> None:
        """The upstream may have allowed more streams."""

    def withdraw(self, connection: Http2Connection) -> None:
        """The connection takes no further streams."""

    def lost(self, connection: Http2Connection) -> None:
        """The connection is gone."""


class Http2Connection(StreamOwner):
    """The protocol object of one connection.

    With *tls* its transport is a :class:`~vrata.net.tls_transport.TlsTransport`, and it is a ``SecuredProtocol``.
    """

    def __init__(self, pool: SharedPool, loop: asyncio.AbstractEventLoop, tls: UpstreamTls | None = None) -> None:
        self._pool = pool
        self._loop = loop
        self.tls = tls
        """How it is secured; None when it speaks in clear."""
        self.generation = 0
        """Which of its pool's ways of connecting it was made by."""
        self._session: Session = client_session(_LIMITS, b"http" if tls is None else b"https")
        self._transport = cast(asyncio.Transport, None)
        self._streams: dict[int, Http2Stream] = {}
        self.streams = 0
        """Streams that are open, or taken to be opened at once."""
        self.begun = 0
        """Streams so far."""
        self.served = 0
        """Responses that were complete."""
        self.receptions = 0
        """How often something has come."""
        self.limit = 0
        """Streams at once; what the upstream refuses lowers it for a while."""
        self._allowed = 0
        """The same as the upstream's settings and we have it."""
        self.takes_no_more = False
        self.is_draining = False
        """It takes no more for now: its place is wanted by others."""
        self.closed = False
        self.is_offered = False
        """The pool knows that it has room."""
        self.is_idle = False
        """The pool keeps it without streams."""
        self.idle_timeout = NEVER
        """Seconds that it may be kept without streams."""
        self.deadline = NEVER
        self._ready: asyncio.Future[None] = loop.create_future()
        """Done when the upstream's settings have come, or it is certain that they will not."""
        self._failure: DialError | None = None
        """Why they did not come, or that the connection has ended since."""
        self._silence = Silence()
        self._is_full = False
        """The transport takes nothing."""
        self._unanswered = 0
        """Bytes that have come since."""
        self._left = LeftStreams(self._session, loop)
        self._goodbyes = 0
        self._guard = FrameGuard(is_client=True)
        self._will_write = False
        """What there is to send will be sent, at the end of what is being read or in the next turn of the loop."""

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{self.streams} streams"
        return f"<Http2Connection {state}, {self.served} served>"

    @property
    def has_room(self) -> bool:
        """One more stream can begin."""
        return self.streams < self.limit and self.takes_streams

    @property
    def takes_streams(self) -> bool:
        """Streams may begin, now or when others have ended."""
        return not self.takes_no_more and not self.is_draining

    @property
    def oldest_stream(self) -> float:
        """When the oldest of its streams began, by the loop's clock; for ever later where none has."""
        stream = next(iter(self._streams.values()), None)
        return NEVER if stream is None else stream.since

    @property
    def has_tunnels(self) -> bool:
        """The upstream takes requests for tunnels (RFC 8441)."""
        return self._session.peer_tunnels

    async def settled(self, limit: float) -> None:
        """Wait until the upstream's settings are there, for *limit* seconds at most.

        Before they are it is not certain that it speaks HTTP/2, how many streams it takes, nor, in TLS 1.3, that it
        has accepted our certificate. Raises :class:`~vrata.net.dial.DialError`.
        """
        try:
            async with asyncio.timeout(None if limit == NEVER else limit):
                await self._ready
        except TimeoutError as error:
            self.close()
            raise DialError(DialStage.TIMEOUT, f"no settings of HTTP/2 within {limit} s") from error
        except BaseException:
            self.close()
            raise
        if self._failure is not None:
            raise self._failure
        if self.closed:
            raise DialError(DialStage.CONNECT, "the upstream has said goodbye at once")
        if not self.limit:
            self.close()
            raise DialError(DialStage.CONNECT, "the upstream allows no streams")

    def open(self) -> Http2Stream:
        """A stream, which begins when its head is sent."""
        if not self.streams:
            self.deadline = self._silence.begin(self._loop.time())
        self.streams += 1
        self.begun += 1
        if 0 < self._pool.max_requests <= self.begun:
            self.takes_no_more = True
        return Http2Stream(self, self._session)

    def began(self, stream: Http2Stream) -> None:
        """*stream* has its number."""
        self._streams[stream.number] = stream
        stream.since = self._loop.time()
        self.write_soon()

    def ended(self, stream: Http2Stream) -> None:
        """*stream* is over."""
        self._streams.pop(stream.number, None)
        self._left.forget(stream)
        self.streams -= 1
        self._pool.stream_ended(self)

    def completed(self, idle_timeout: float) -> None:
        """A response is whole; the connection may be kept for *idle_timeout* seconds when there is none to come."""
        self.served += 1
        self.idle_timeout = idle_timeout
        if self.limit < self._allowed:
            self.limit += 1

    def left(self, stream: Http2Stream) -> None:
        """*stream* ends when all is sent, or when the upstream has taken nothing of it for long enough."""
        self._flush()
        self._left.add(stream)

    def write_soon(self) -> None:
        """There is something to send; much of what is sent in one turn of the loop goes out at once."""
        if not self._will_write:
            self._will_write = True
            self._loop.call_soon(self._write)

    def drain(self) -> None:
        """Begin no further streams until it is to :meth:`serve_on`."""
        self.is_draining = True
        self._pool.withdraw(self)

    def serve_on(self) -> None:
        """Begin streams again."""
        self.is_draining = False
        self._pool.has_room(self)

    def retire(self) -> None:
        """Begin no further streams, and close when those that are open have ended."""
        self.takes_no_more = True
        self._pool.withdraw(self)
        if not self.streams:
            self.close()

    def close(self) -> None:
        """Say goodbye and close. Without streams: none is told."""
        if self.closed:
            return
        self.closed = self.takes_no_more = True
        self._pool.withdraw(self)
        self._session.go_away(errors.NO_ERROR)
        self._flush()
        self._part()

    def expire(self) -> None:
        """Idle for too long, or quiet for too long beneath open streams; or the upstream does not take the goodbye."""
        if self.closed:
            self.deadline = NEVER
            self._transport.abort()
            return
        if not self.streams:
            self.close()
            return
        now, silence = self._loop.time(), self._silence
        if silence.is_for_ever:
            self.deadline = NEVER
            self._end(silence.verdict)
            self._transport.abort()
        elif ends := silence.ends(now):
            self.deadline = ends
        else:
            self.deadline = silence.asked(now)
            self._session.ping(_PING)
            self.write_soon()

    # -- transport callbacks ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(write_buffer.HIGH, write_buffer.LOW)
        self.write_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone, by whichever side."""
        self.deadline = NEVER
        self._pool.sweeper.forget(self)
        self._end(str(exc) if exc is not None else "closed by the upstream", lost=True)
        self._pool.lost(self)

    def data_received(self, data: bytes) -> None:
        """Frames, or parts of them."""
        if self.closed:
            return
        now = self._silence.heard = self._loop.time()
        self.receptions += 1
        if not self._ready.done() and data.startswith(b"HTTP/"):
            self._end("the upstream does not speak HTTP/2: it has answered in HTTP/1")
            self._transport.abort()
            return
        if self._is_full:
            self._unanswered += len(data)
            if self._unanswered > MAX_UNANSWERED:
                self._end("the upstream sends without end, and takes nothing")
                self._transport.abort()
                return
        flood = self._guard.feed(data, now)
        if flood:
            self._session.go_away(errors.ENHANCE_YOUR_CALM)
            self._fail(f"the upstream sends {flood}")
            return
        is_first = not self._will_write
        self._will_write = True
        self._take(self._session.receive(data))
        if is_first:
            self._write()

    def eof_received(self) -> bool:
        """The upstream will send no more."""
        self._end("closed by the upstream", lost=True)
        self._transport.abort()
        return False

    def input_cut(self, reason: str) -> None:
        """Over TLS, the upstream's side has ended without a goodbye, or with an alert, which is the *reason*."""
        self._end(reason or "closed by the upstream without close_notify", lost=True, was_told=bool(reason))
        self._transport.abort()

    def pause_writing(self) -> None:
        """The upstream does not keep up; what there is to send stays in the session, which tells the streams."""
        self._is_full = True
        self._unanswered = 0

    def resume_writing(self) -> None:
        """The upstream has caught up."""
        self._is_full = False
        self._write()

    # -- between the two ----------------------------------------------------------------------------------------------

    def _write(self) -> None:
        self._will_write = False
        if self.closed:
            return
        self._flush()
        for number in self._session.drained():
            stream = self._streams.get(number)
            if stream is not None:
                stream.drained()
        if self._left:
            self._left.settle()

    def _flush(self) -> None:
        session, transport = self._session, self._transport
        while not self._is_full:
            data = session.outgoing()
            if not data:
                return
            transport.write(data)

    def _take(self, events: list[Event]) -> None:
        at, count = 0, len(events)
        while at < count:
            kind, number, data, fact = events[at]
            at += 1
            if kind <= TRAILERS and kind != INFORMATIONAL:
                # What has come of one response at once is told at once.
                head = data if kind == HEAD else b""
                content = data if kind == CONTENT else b""
                trailers = data if kind == TRAILERS else b""
                end = kind == TRAILERS or fact == 1
                while not end and at < count:
                    kind, next_number, data, fact = events[at]
                    if next_number != number:
                        break
                    if kind == CONTENT:
                        content = content + data if content else data
                        end = fact == 1
                    elif kind == TRAILERS:
                        trailers = data
                        end = True
                    else:
                        break
                    at += 1
                stream = self._streams.get(number)
                if stream is not None:
                    self._tell(stream, head, content, end, trailers)
            elif kind in (INFORMATIONAL, RESET, STREAM_ERROR):
                stream = self._streams.get(number)
                if stream is not None:
                    self._tell_otherwise(stream, kind, data, fact)
            elif kind == SETTINGS:
                self._take_settings()
            elif kind == PONG:
                self._silence.answered()
            elif kind == GOAWAY:
                self._take_goodbye(number, data, fact)
            elif kind == FAILED:
                self._fail(f"the upstream broke a rule of HTTP/2: {data.decode('ascii', 'replace')}")
            if self.closed:
                return

    def _tell(self, stream: Http2Stream, head: bytes, content: bytes, end: bool, trailers: bytes) -> None:
        try:
            stream.received(head, content, end, trailers)
        except Exception:  # noqa: BLE001 - a fault with one response must not become one of the others
            _log.exception("response failed", stream=repr(stream))
            stream.malformed("internal error")

    def _tell_otherwise(self, stream: Http2Stream, kind: int, data: bytes, fact: int) -> None:
        try:
            if kind == INFORMATIONAL:
                stream.informed(data)
            elif kind == STREAM_ERROR:
                stream.broken(data.decode("ascii", "replace"))
            elif fact == errors.REFUSED_STREAM:
                self._take_refusal(stream)
            else:
                stream.broken(f"the upstream has reset the stream: {_CODES.get(fact, fact)}")
        except Exception:  # noqa: BLE001 - as above
            _log.exception("response failed", stream=repr(stream))

    def _take_settings(self) -> None:
        allowed = self._session.peer_streams
        self.limit = self._allowed = allowed if allowed < MAX_STREAMS else MAX_STREAMS
        if not self._ready.done():
            self._ready.set_result(None)
        elif self.has_room:
            self._pool.has_room(self)
        else:
            self._pool.withdraw(self)

    def _take_refusal(self, stream: Http2Stream) -> None:
        # It takes no more than it has. One that refuses all there is will take others as little.
        others = self.streams - 1
        self.limit = others if others < self._allowed else self._allowed
        if self.limit <= 0:
            self.takes_no_more = True
        self._pool.withdraw(self)
        stream.unprocessed("the upstream has refused the stream")

    def _take_goodbye(self, last: int, words: bytes, code: int) -> None:
        self.takes_no_more = True
        self._pool.withdraw(self)
        self._goodbyes += 1
        if not self._ready.done():
            self._fail(f"the upstream has said goodbye at once: {_CODES.get(code, code)}")
            return
        if self._goodbyes > MAX_GOODBYES:
            self._fail("the upstream says goodbye again and again")
            return
        if code != errors.NO_ERROR:
            _log.info(
                "upstream ends a connection", code=_CODES.get(code, code), reason=words.decode("ascii", "replace")
            )
        for number, stream in list(self._streams.items()):
            if number > last:
                self._end_stream(stream, "the upstream has said goodbye before it took the stream", unprocessed=True)
        if not self.streams:
            self.close()

    def _fail(self, detail: str) -> None:
        """End because of what the upstream did."""
        self._flush()
        self._end(detail)
        self._part()

    def _part(self) -> None:
        """Close when the last bytes are sent, which the upstream may not take."""
        if self._is_full:
            self._transport.abort()
        else:
            self._pool.sweeper.watch(self)
            self.deadline = self._loop.time() + LINGER
            self._transport.close()

    def _end(self, detail: str, *, lost: bool = False, was_told: bool = False) -> None:
        """Nothing more will come; *lost*: because the upstream has closed; *was_told*: an alert says why."""
        if self.closed:
            return
        self.closed = self.takes_no_more = True
        self._pool.withdraw(self)
        stage = DialStage.CONNECT
        if not self._ready.done():
            if self.tls is not None:
                session = self._transport.get_extra_info("ssl_object")
                if was_told or not is_confirmed(session):
                    stage = DialStage.TLS_HANDSHAKE
            self._ready.set_result(None)
        if not self.begun:
            self._failure = DialError(stage, detail)
        for stream in list(self._streams.values()):
            self._end_stream(stream, detail, lost=lost)

    def _end_stream(self, stream: Http2Stream, detail: str, *, unprocessed: bool = False, lost: bool = False) -> None:
        try:
            if unprocessed:
                stream.unprocessed(detail)
            else:
                stream.broken(detail, lost)
        except Exception:  # noqa: BLE001 - the others are to be told as well
            _log.exception("response failed", stream=repr(stream))
