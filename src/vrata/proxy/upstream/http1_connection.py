"""One connection of HTTP/1 to an endpoint: how requests are framed on it, and the responses read from it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from vrata.net import write_buffer
from vrata.net.deadlines import NEVER
from vrata.net.upstream_tls import UpstreamTls, is_confirmed
from vrata.proxy.upstream.carrier import Carrier, ResponseReader
from vrata.wire.http1.body import (
    BodyDecoder,
    ChunkedBody,
    LengthBody,
    UntilCloseBody,
    encode_chunk,
    encode_last_chunk,
)
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import parse_response_head

if TYPE_CHECKING:
    from vrata.net.deadlines import DeadlineSweeper

LINGER = 2.0
"""Seconds in which an upstream has to take some of the last bytes of a tunnel."""


class ConnectionPool(Protocol):
    """What a connection needs of the pool that it belongs to."""

    sweeper: DeadlineSweeper

    def give_back(self, connection: Http1Connection, idle_timeout: float) -> None:
        """An exchange is done with *connection*, which can serve another one within *idle_timeout* seconds."""
        ...

    def lost(self, connection: Http1Connection) -> None:
        """The connection is gone."""
        ...


class Http1Connection(Carrier):
    """The protocol object of one connection. ``reader`` is set while an exchange uses it.

    With *tls* its transport is a :class:`~vrata.net.tls_transport.TlsTransport`, and it is a ``SecuredProtocol``.
    """

    def __init__(self, pool: ConnectionPool, tls: UpstreamTls | None = None) -> None:
        # For the connection's lifetime.
        self._pool = pool
        self.tls = tls
        """How it is secured; None when it speaks in clear."""
        self.refusal = ""
        """The alert with which the upstream has ended the handshake after we had completed it."""
        self._transport = cast(asyncio.Transport, None)
        self.deadline = NEVER
        self.generation = 0
        """Which of its pool's ways of connecting it was made by; -1 when it is for one exchange alone."""
        self.served = 0
        self.closed = False
        self._left = -1
        """Bytes that the upstream had yet to take when this was last looked at; -1 until it is left."""
        # Per response.
        self.reader: ResponseReader | None = None
        self._chunked = False
        self._buffer = b""
        self._body: BodyDecoder | None = None
        self._tunnel = False
        self.reusable = True

    def __repr__(self) -> str:
        state = "closed" if self.closed else "busy" if self.reader is not None else "idle"
        return f"<Http1Connection {state}, {self.served} served>"

    @property
    def can_serve_again(self) -> bool:
        """True when the last exchange left nothing behind, neither in what was read nor in what was written."""
        return self.reusable and not self.closed and not self._transport.get_write_buffer_size()

    @property
    def has_served(self) -> bool:
        """A response came over it before."""
        return self.served > 0

    @property
    def can_half_close(self) -> bool:
        """Over TLS nothing would be read any more that the upstream still sends."""
        return self.tls is None

    def begin(self, reader: ResponseReader) -> None:
        """Use the connection for one exchange."""
        self.reader = reader
        self.deadline = NEVER
        self._body = None

    def send_head(self, head: bytes, content: bytes, end: bool, chunked: bool, trailers: bytes) -> None:
        """Send the head and the first of the body in one piece."""
        self._chunked = chunked
        self._transport.write(head + self._framed(content, end, trailers) if content or chunked else head)

    def send(self, content: bytes, end: bool, trailers: bytes) -> None:
        """More of the request's body."""
        data = self._framed(content, end, trailers)
        if data:
            self._transport.write(data)

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._transport.write(data)

    def end_output(self) -> None:
        """Nothing more will be written, and the upstream may know it: half of a tunnel is closed."""
        if not self.closed:
            write_buffer.end_output(self._transport)

    def pause_reading(self) -> None:
        """Read nothing more for now."""
        if not self.closed:
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if not self.closed:
            self._transport.resume_reading()

    def complete(self, request_complete: bool, idle_timeout: float) -> None:
        """Serve others, or close: what is left of a request that was cut short would be taken for the next one."""
        if request_complete and self.can_serve_again:
            self._pool.give_back(self, idle_timeout)
        else:
            self.close()

    def leave(self) -> None:
        """Nothing more will be written or come: close when all is sent, or when the upstream takes no more of it."""
        self.reader = None
        self._transport.close()
        self._left = write_buffer.backlog(self._transport)
        self.deadline = asyncio.get_running_loop().time() + LINGER

    def close(self) -> None:
        """Close at once; no reader is told."""
        is_idle = self.reader is None and self._left < 0
        self.reader = None
        if not self.closed:
            # Now, not in connection_lost: until then the pool would still give it away.
            self.closed = True
            if write_buffer.backlog(self._transport):
                write_buffer.reset_on_close(self._transport)  # it does not read what it was sent
            elif is_idle and self.tls is not None:
                self._transport.close()  # with a goodbye: everything has been said
                return
            self._transport.abort()

    def expire(self) -> None:
        """Idle for too long; or it was left, and the upstream takes nothing any more."""
        if self._left >= 0:
            left = write_buffer.backlog(self._transport)
            if left < self._left:
                self._left = left
                self.deadline = asyncio.get_running_loop().time() + LINGER
                return
        self.deadline = NEVER
        self.close()

    # -- transport callbacks ------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(write_buffer.HIGH, write_buffer.LOW)

    def connection_lost(self, exc: Exception | None) -> None:
        """Gone, by whichever side."""
        self.closed = True
        self.deadline = NEVER
        self._pool.sweeper.forget(self)
        self._pool.lost(self)
        reader = self.reader
        if reader is None:
            return
        self.reader = None
        body = self._body
        if exc is None and body is not None and body.finish():
            reader.on_content(b"", True)
        else:
            self._tell_broken(reader, str(exc) if exc is not None else "closed by the upstream")

    def data_received(self, data: bytes) -> None:
        """Bytes of a response; or bytes that nobody asked for, which end the connection (RFC 9112 §9.2)."""
        reader = self.reader
        if reader is None:
            self.close()
            return
        try:
            body = self._body
            if body is not None:
                content, rest = body.feed(data)
                if rest is None:
                    reader.on_content(content, False)
                else:
                    self._ended(rest)
                    reader.on_content(content, True, body.trailers)
            else:
                self._read_head(reader, data)
        except MalformedMessage as error:
            self.close()
            reader.on_broken(error.reason, False)

    def eof_received(self) -> bool:
        """The upstream will send no more, which ends a body that only a close can end, and one half of a tunnel."""
        reader, body = self.reader, self._body
        if reader is not None and self._tunnel:
            reader.on_tunnel_end()
            return not self.closed
        if reader is not None and body is not None and body.finish():
            self.close()
            reader.on_content(b"", True)
        elif not self.closed:
            self.closed = True
            self._transport.abort()  # a close would first wait for the request to be read
        return False

    def input_cut(self, reason: str) -> None:
        """Over TLS, the upstream's side has ended without a goodbye: a body that only a close ends may lack its end.

        Or with an alert, which is the *reason*.
        """
        reader = self.reader
        if self._is_unheard:
            self.refusal = reason
        self.close()
        if reader is not None:
            self._tell_broken(reader, reason or "closed by the upstream without close_notify")

    def pause_writing(self) -> None:
        """The upstream does not keep up."""
        if self.reader is not None:
            self.reader.on_full()

    def resume_writing(self) -> None:
        """The upstream has caught up."""
        if self.reader is not None:
            self.reader.on_ready()

    @property
    def _is_unheard(self) -> bool:
        """Nothing of a response has come over this connection."""
        return not self.served and self._body is None and not self._buffer

    def _tell_broken(self, reader: ResponseReader, detail: str) -> None:
        if self.tls is not None and self._is_unheard:
            session = self._transport.get_extra_info("ssl_object")
            # An alert can get lost: the reset that follows it overtakes it.
            if self.refusal or not is_confirmed(session):
                reader.on_refused(detail)
                return
        reader.on_broken(detail, self._body is None and not self._buffer)

    def _read_head(self, reader: ResponseReader, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            head = parse_response_head(data)
            if head is None:
                self._buffer = data
                return
            data = data[head.size :]
            if not head.is_informational or head.status == 101:
                break
            reader.on_informational(head)
            if self.reader is not reader:
                return
            if not data:
                return
        if head.status == 101:
            if not reader.upgrade:
                raise MalformedMessage(502, "switching protocols was not asked for")
            # From here on the bytes belong to the protocol in the tunnel, until one side closes.
            self.reusable = False
            self._tunnel = True
            self._body = UntilCloseBody()
            reader.on_head(head, data, False)
            return
        self.reusable = head.keep_alive
        if not head.body_expected(reader.method):
            self._ended(data)
            reader.on_head(head, b"", True)
            return
        body: BodyDecoder
        if head.chunked:
            body = ChunkedBody()
        elif head.content_length >= 0:
            body = LengthBody(head.content_length)
        else:
            body = UntilCloseBody()
            self.reusable = False
        if body.complete:
            self._ended(data)
            reader.on_head(head, b"", True)
            return
        self._body = body
        content, rest = body.feed(data) if data else (b"", None)
        if rest is None:
            reader.on_head(head, content, False)
        else:
            self._ended(rest)
            reader.on_head(head, content, True, body.trailers)

    def _framed(self, content: bytes, end: bool, trailers: bytes) -> bytes:
        if not self._chunked:
            return content
        return encode_chunk(content) + encode_last_chunk(trailers) if end else encode_chunk(content)

    def _ended(self, rest: bytes) -> None:
        """The response is complete; bytes behind it belong to no request, so the connection cannot be trusted."""
        self._body = None
        self.served += 1
        if rest:
            self.reusable = False
