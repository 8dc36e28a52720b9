"""One client's connection: bytes to requests, responses to bytes, one request at a time (RFC 9112 §9.3).

Reading and writing advance apart from each other. Reading goes head → body → (bytes of the next request are kept until
this one is answered); writing goes response head → content → end. When both have ended, the next request begins or the
connection closes.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import structlog

from vrata.expressions import PeerCertificate
from vrata.net import write_buffer
from vrata.net.deadlines import NEVER
from vrata.proxy.contracts import Failure, LocalResponse, OwnAnswers, RequestHandler
from vrata.proxy.listener.hop import Hop
from vrata.proxy.listener.owner import ConnectionOwner
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.listener.settings import ListenerSettings
from vrata.proxy.listener.succession import SucceededConnection
from vrata.proxy.listener.time_limits import LINGER
from vrata.wire.http1.body import BodyDecoder, ChunkedBody, LengthBody, encode_chunk, encode_last_chunk
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import RequestHead, ResponseHead, parse_request_head
from vrata.wire.http1.status import has_no_body

MAX_PIPELINED = 65536
"""Bytes of further requests kept while one is being answered; beyond it the connection is not read."""

_EMPTY_LINES = frozenset({b"\r", b"\r\n", b"\r\n\r"})
"""What may still become the empty line that is ignored before a request; kept, so that a second one is seen as such."""

_log = structlog.get_logger("vrata.proxy.listener")


class DownstreamConnection(SucceededConnection):
    """The protocol object of one accepted connection."""

    def __init__(self, owner: ConnectionOwner) -> None:
        super().__init__(owner)
        # For the connection's lifetime.
        self.scheme = b"http"
        self.client_uris = b""
        self.client_certificate: PeerCertificate | None = None
        self._write_paused = False
        self._is_new = True
        # Reading.
        self._processing = False
        self._reading_paused = False
        self._input_ended = False
        # Per request.
        self._handler: RequestHandler | None = None
        self._body: BodyDecoder | None = None
        # Per response.
        self._keep_alive = True
        self._response_chunked = False
        self._response_has_body = True

    def __repr__(self) -> str:
        if self._request is not None:
            state = "responding" if self._response_started else "waiting for a response"
        else:
            state = "reading a head" if self._buffer else "idle"
        return f"<DownstreamConnection {self.peer.decode()} {state}{' draining' if self.draining else ''}>"

    @property
    def is_idle(self) -> bool:
        """True between requests, with not a byte of the next one read."""
        return self._request is None and not self._buffer and not self._closing

    @property
    def answers(self) -> OwnAnswers:
        """What clients are told of failures."""
        return self._settings.answers

    def serves(self, request: DownstreamRequest) -> bool:
        """True while *request* is the one being served."""
        return self._request is request and not self._closed

    # -- transport callbacks ------------------------------------------------------------------------------------------

    def connection_made(self, made: asyncio.BaseTransport) -> None:
        """A client has been accepted."""
        self._transport = transport = cast(asyncio.Transport, made)
        self._meet(transport)
        self._adopt(self._owner.settings)
        transport.set_write_buffer_limits(write_buffer.HIGH, write_buffer.LOW)
        self.deadline = self._idle_deadline = self._loop.time() + self._settings.timeouts.client_header
        self._owner.sweeper.watch(self)
        sock: Any = transport.get_extra_info("socket")
        descriptor = -1 if sock is None else sock.fileno()
        if not self._owner.opened(self, descriptor):
            self._leave_at_once(linger=self._owner.may_linger(descriptor))
            return
        if self._owner.draining:
            self.drain()

    def _adopt(self, settings: ListenerSettings) -> None:
        """Act on *settings* from now on."""
        self._settings = settings
        self.hop = Hop(
            self.peer,
            self.scheme,
            settings.address,
            settings.trusted_proxies,
            self.client_uris,
            self.client_certificate,
            self._peer_port,
        )

    def speak_for(self, client: bytes) -> None:
        """The peer has said, before anything else, that the connection is that of *client*, an IP address."""
        self.peer = client
        self._peer_port = 0
        self._adopt(self._settings)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by whichever side."""
        self._closed = True
        self.deadline = NEVER
        self._owner.sweeper.forget(self)
        handler = self._handler
        self._handler = None
        request = self._request
        if request is not None:
            self._request = None
            self._owner.request_ended()
            if request.is_counted:
                request.ended(self._loop.time(), complete=False)
            if handler is not None:
                handler.on_client_gone()
        self._owner.closed(self)

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        if self._closing:
            return
        if self._tunnel:
            self._tunnel_data(data, end=False)
            return
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        self._process(data)

    def eof_received(self) -> bool:
        """The client will send no more; an answer that it may still wait for is sent (RFC 9112 §9.6)."""
        self._input_ended = True
        if self._tunnel:
            self._tunnel_data(b"", end=True)
        return self._request is not None and self._body_complete

    def pause_writing(self) -> None:
        """The client does not keep up."""
        self._write_paused = True
        self._begin_stall()
        if self._handler is not None:
            self._handler.pause_response()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._write_paused = False
        self._end_stall()
        if self._handler is not None:
            self._handler.resume_response()
        elif self._request is None and not self._processing and not self._closing:
            self.resume_reading()
            self._go_on()

    # -- reading ------------------------------------------------------------------------------------------------------

    def _process(self, data: bytes) -> None:
        self._processing = True
        try:
            while data and not self._closed and not self._closing:
                if self._request is None:
                    if self._write_paused:
                        # Who does not read answers gets no further ones, or they would pile up here.
                        self._hold_back(data)
                        break
                    rest = self._read_head(data)
                elif not self._body_complete:
                    rest = self._read_body(data)
                else:
                    self._hold_back(data)
                    break
                if rest is None:
                    break
                data = rest
        except MalformedMessage as error:
            self._refuse(error, data)
        finally:
            self._processing = False

    def _read_head(self, data: bytes) -> bytes | None:
        """Begin the request at the start of *data* and return what follows; None when the head is unfinished."""
        if data.startswith(b"\r"):
            if data in _EMPTY_LINES:
                self._buffer = data  # these begin no request, and so no limit
                return None
            if data.startswith(b"\r\n"):
                # RFC 9112 §2.2: at least one empty line before a request line is ignored.
                data = data[2:]
                if data.startswith(b"\r\n"):
                    raise MalformedMessage(400, "empty lines instead of a request")
        now = self._loop.time()
        if self._head_deadline == NEVER:
            # The settings of a request are those in force when its first byte came.
            if self._settings is not self._owner.settings:
                self._adopt(self._owner.settings)
            self._head_deadline = now + self._settings.timeouts.client_header
            self._body_deadline = now + self._settings.timeouts.client_request
        settings = self._settings
        if self._is_new:
            if settings.http2 and self._begins_http2(data):
                return None
            self._is_new = False
        head = parse_request_head(data, settings.max_head)
        if head is None:
            self._buffer = data
            self.deadline = self._head_deadline
            return None
        self._head_deadline = NEVER
        settings.admit(head)
        # What comes behind a request for HTTP/2 without waiting for an answer can only be another one of HTTP/1.
        if settings.http2 and len(data) == head.size and self._upgraded(head, data, now):
            return None
        return self._begin(head, data[head.size :], now)

    def _begin(self, head: RequestHead, rest: bytes, now: float) -> bytes | None:
        request = DownstreamRequest(self, head, self._settings.meters, now)
        if self._settings.tracer is not None:
            self._settings.tracer.begin(request, "1.1" if head.minor else "1.0")
        self._request = request
        self._owner.request_began()
        self._handler = None
        self._keep_alive = head.keep_alive
        self._response_started = False
        content = b""
        remainder: bytes | None = rest
        self._body_complete = not head.has_body
        if not self._body_complete:
            self._body = ChunkedBody() if head.chunked else LengthBody(head.content_length)
            self.deadline = self._body_deadline
            if rest:
                content, remainder = self._body.feed(rest)
                self._body_complete = remainder is not None
                if self._body.trailers and self._body_complete:
                    request.ended_with(self._body.trailers)
            else:
                remainder = None
        if self._body_complete:
            self.deadline = NEVER
        self._owner.handle(request, content, self._body_complete)
        return remainder

    def _read_body(self, data: bytes) -> bytes | None:
        body = self._body
        assert body is not None
        content, rest = body.feed(data)
        if rest is not None:
            self._body_complete = True
            self.deadline = self._response_expiry if self._response_started else NEVER
            if self._stall is not None:
                self.deadline = min(self.deadline, self._stall.deadline)
            if body.trailers and self._request is not None:
                self._request.ended_with(body.trailers)
        if self._request is not None and self._request.meters is not None:
            self._request.read(len(content))
        if self._handler is not None and (content or self._body_complete):
            self._handler.on_request_body(content, self._body_complete)
        return rest

    def _tunnel_data(self, data: bytes, *, end: bool) -> None:
        self.deadline = self._loop.time() + self._settings.timeouts.idle_between_requests
        if self._request is not None and self._request.meters is not None:
            self._request.read(len(data))
        if self._handler is not None:
            self._handler.on_tunnel_data(data, end)

    def _open_tunnel(self) -> None:
        """A 101 response was sent: whatever the client sends from here on is not HTTP (RFC 9110 §7.8)."""
        self._tunnel = True
        self._keep_alive = False
        self.deadline = self._loop.time() + self._settings.timeouts.idle_between_requests
        data, self._buffer = self._buffer, b""
        self.resume_reading()
        if data or self._input_ended:
            self._tunnel_data(data, end=self._input_ended)

    def _hold_back(self, data: bytes) -> None:
        """Keep the bytes of a pipelined request until the present one is answered (RFC 9112 §9.3.2)."""
        self._buffer = data
        if len(data) > MAX_PIPELINED:
            self.pause_reading()

    def _refuse(self, error: MalformedMessage, data: bytes) -> None:
        """Answer *data*, which is no acceptable request, or not the rest of one; and trust nothing that follows."""
        _log.info("request refused", peer=self.peer.decode(), status=error.status, reason=error.reason)
        handler, self._handler = self._handler, None
        text = b""
        if self._request is None:
            text = data
            self._owner.request_began()
            unreadable = RequestHead.unreadable()
            self._request = DownstreamRequest(self, unreadable, self._settings.meters, self._loop.time())
            self._response_started = False
        elif handler is not None:
            handler.on_client_gone()
        if self._request.meters is not None:
            self._request.refused(error.status)
        self._keep_alive = False
        self._body_complete = False
        if self._response_started:
            self.abort()
        else:
            self.respond(self._request.refusal_answer(error, self._settings, text))

    def pause_reading(self) -> None:
        """Read nothing more from the client for now."""
        if not self._reading_paused and not self._closed:
            self._reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        if self._reading_paused and not self._closed:
            self._reading_paused = False
            self._transport.resume_reading()

    def handled_by(self, handler: RequestHandler) -> None:
        """Body content and the client's disappearance go to *handler*."""
        self._handler = handler

    def limited_by_handler(self) -> None:
        """The limits stay: HTTP/1 has no streams both ways, for which they would have to go."""

    # -- writing ------------------------------------------------------------------------------------------------------

    def respond(self, response: LocalResponse) -> None:
        """Send a whole response of our own."""
        request = self._request
        assert request is not None
        if request.observers is not None:
            self.start_response(response.head(), response.body, True)
            return
        self._settle_persistence()
        status, body = response.status, response.body
        head = request.answer_head(response, self._settings)
        if not self._keep_alive:
            head += b"connection: close\r\n\r\n"
        elif request.head.minor == 0:
            head += b"connection: keep-alive\r\n\r\n"
        else:
            head += b"\r\n"
        if request.head.method == b"HEAD" or has_no_body(status):
            body = b""
        if request.is_counted:
            request.answered(status, len(body))
        self._response_started = True
        self._response_expiry = self._loop.time() + self._settings.timeouts.client_response
        self._transport.write(head + body)
        self._response_ended()

    def fail(self, failure: Failure) -> None:
        """Send the error body for *failure*; a response that has begun is cut instead, so that it cannot look whole."""
        request = self._request
        assert request is not None
        if self._response_started:
            request.failed(failure.failure_class.label)
            self.abort()
        else:
            self.respond(request.failed_with(failure))

    def inform(self, head: ResponseHead) -> None:
        """Pass a 1xx head on; an HTTP/1.0 client would not understand it (RFC 9110 §15.2)."""
        request = self._request
        assert request is not None
        if request.head.minor == 1 and not self._response_started:
            self._transport.write(head.emit(chunked=False, close=False, keep_alive_1_0=False, server=None))

    def start_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """Send the head and the first of the content in one write."""
        request = self._request
        assert request is not None
        if request.observers is not None:
            head = request.observers.begun(head)
        minor = request.head.minor
        self._settle_persistence()
        has_body = head.body_expected(request.head.method) or head.status == 101
        chunked = has_body and head.content_length < 0 and minor == 1 and head.status != 101
        if has_body and head.content_length < 0 and minor == 0:
            self._keep_alive = False  # only the close can end such a body for an HTTP/1.0 client
        self._response_expiry = self._loop.time() + self._settings.timeouts.client_response
        self._response_has_body = has_body
        self._response = head
        self._response_chunked = chunked
        self._response_started = True
        if request.is_counted:
            request.answered(head.status, len(content) if has_body else 0)
        data = head.emit(
            chunked=chunked,
            close=not self._keep_alive,
            keep_alive_1_0=minor == 0 and self._keep_alive,
            server=self._settings.server,
        )
        if request.response_lines:
            data = data[:-2] + request.response_lines + b"\r\n"
        if has_body:
            if chunked:
                data += encode_chunk(content) + encode_last_chunk(trailers) if end else encode_chunk(content)
            elif content:
                data += content
        # Before the write, in which the client may turn out not to keep up.
        self.deadline = self._response_expiry
        if not self._body_complete:
            self.deadline = min(self._body_deadline, self._response_expiry)
        self._transport.write(data)
        if head.status == 101:
            self._open_tunnel()
        elif end:
            self._response_ended()

    def send_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """Send more of the response; *trailers* go no further where its end is not a last chunk."""
        if self._tunnel:
            self.deadline = self._loop.time() + self._settings.timeouts.idle_between_requests
        if self._response_has_body:
            if self._request is not None and self._request.is_counted:
                self._request.wrote(len(content))
            if self._response_chunked:
                content = encode_chunk(content)
                if end:
                    content += encode_last_chunk(trailers)
            if content:
                self._transport.write(content)
        if end:
            self._response_ended()

    def end_tunnel(self) -> None:
        """The upstream has closed its side of the tunnel: the client is told, and may go on sending."""
        write_buffer.end_output(self._transport)

    def _settle_persistence(self) -> None:
        if self.draining or not self._body_complete:
            # What is left of the request's body would have to be read first; see :data:`LINGER`.
            self._keep_alive = False

    def _response_ended(self) -> None:
        now = self._loop.time()
        if self._request is not None and self._request.is_counted:
            self._request.ended(now, complete=True)
        self._request = None
        self._response = None
        self._handler = None
        self._owner.request_ended()
        if not self._keep_alive or not self._body_complete:
            self._close_gracefully()
            return
        self._body = None
        self._begin_idle(now)
        self.resume_reading()
        if not self._processing:
            self._go_on()

    def _go_on(self) -> None:
        """Begin with what was kept of the next requests; end when no more can come."""
        if self._buffer and not self._write_paused:
            data, self._buffer = self._buffer, b""
            self._process(data)
        if not self._input_ended or self._closing:
            return
        if self._request is None:
            if not self._write_paused:
                self._close_gracefully()
        elif not self._body_complete:
            self._transport.close()  # the rest of this body will never come: whoever forwards it is told at once

    def _close_gracefully(self) -> None:
        self._closing = True
        self.deadline = self._loop.time() + LINGER
        if self._body_complete or self._input_ended:
            self._transport.close()  # it waits until the client has taken its answer, which it may never do
            return
        self._buffer = b""
        self.resume_reading()
        write_buffer.end_output(self._transport)

    def _leave_at_once(self, *, linger: bool) -> None:
        """There are too many clients. With *linger*, what this one sends is dropped for a moment, and so no reset."""
        if linger:
            self._body_complete = False
            self._close_gracefully()
        else:
            self._transport.abort()
