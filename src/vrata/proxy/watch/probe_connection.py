"""The protocol objects of probes: each sends its request, and waits for the answer."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Final, cast

from vrata.policy import grpc_status
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import ResponseHead, parse_response_head
from vrata.wire.http2.errors import CANCEL, NO_ERROR
from vrata.wire.http2.events import CONTENT, FAILED, GOAWAY, HEAD, RESET, STREAM_ERROR, TRAILERS
from vrata.wire.http2.session import SessionLimits, client_session

_NO_ANSWER: Final = "connection closed without an answer"
_LARGEST: Final = 65536
"""Bytes of content that an answer may have: who is well answers a call with nine."""
_OTHER_VERSION: Final = b"HTTP/1."


class NoAnswer(Exception):  # noqa: N818 - an outcome
    """There will be no answer; ``args[0]`` says why, for people, unless it has a cause."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint has answered."""

    status: int
    """Of HTTP."""
    content: bytes = b""
    """Of a call of gRPC alone."""
    grpc_code: int = -1
    """The same; -1 for none."""


class ProbeConnection(ABC):
    """What both versions of HTTP have in common. :attr:`answer` raises :class:`NoAnswer`."""

    def __init__(self, refusal: str = "") -> None:
        """*refusal* is why there will be no answer, whatever the endpoint does; empty if there may be one."""
        self._refusal = refusal
        self._transport = cast(asyncio.Transport, None)
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        # A connection that comes about when the time is over is nobody's, and what becomes of it nobody wants to know.
        self.answer.add_done_callback(_take_note)

    def close(self) -> None:
        """Be done with it."""
        self.answer.cancel()
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection has come about, with its handshake."""
        self._transport = cast(asyncio.Transport, transport)
        if self._refusal:
            self._fail(self._refusal)
        else:
            self._begin()

    def data_received(self, data: bytes) -> None:
        """Bytes of the endpoint; what follows the answer is nothing to us."""
        if not self.answer.done():
            self._receive(data)

    def eof_received(self) -> bool:
        """The endpoint sends no more: the transport closes."""
        return False

    def input_cut(self, reason: str) -> None:
        """The endpoint has ended the session of TLS, for that *reason*."""
        self._fail(reason or _NO_ANSWER)
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._fail(_NO_ANSWER, exc)

    def pause_writing(self) -> None:  # noqa: B027 - not abstract
        """Requests are short: there is nothing to hold back."""

    def resume_writing(self) -> None:  # noqa: B027 - not abstract
        """The same."""

    @abstractmethod
    def _begin(self) -> None:
        """The connection has come about."""

    @abstractmethod
    def _receive(self, data: bytes) -> None:
        """Something has come, while there is no answer yet."""

    def _fail(self, reason: str, cause: Exception | None = None) -> None:
        if not self.answer.done():
            failure = NoAnswer(reason)
            failure.__cause__ = cause
            self.answer.set_exception(failure)


class Http1Probe(ProbeConnection):
    """Sends a request, unless it is empty, and waits for the head of the final response."""

    def __init__(self, request: bytes, refusal: str = "") -> None:
        super().__init__(refusal)
        self._request = request
        self._received = b""

    def _begin(self) -> None:
        if self._request:
            self._transport.write(self._request)

    def _receive(self, data: bytes) -> None:
        self._received += data
        try:
            while (head := parse_response_head(self._received)) is not None:
                # What it would switch to was not asked for, so a 101 is the end.
                if not head.is_informational or head.status == 101:
                    self.answer.set_result(Answer(head.status))
                    return
                self._received = self._received[head.size :]
        except MalformedMessage as error:
            self._fail(error.reason)


class Http2Probe(ProbeConnection):
    """Sends a request, with a *message* where it is a call of gRPC, and waits for as much of the response as counts:
    the head, or all of it.
    """

    def __init__(self, request: bytes, message: bytes, scheme: bytes) -> None:
        super().__init__()
        self._request = request
        self._message = message
        self._session = client_session(SessionLimits(), scheme)
        self._stream = 0
        self._has_received = False
        self._head: ResponseHead | None = None
        self._content = b""

    def close(self) -> None:
        """Be done with it, and tell the endpoint so."""
        self._session.reset(self._stream, CANCEL)
        self._session.go_away(NO_ERROR)
        self._flush()
        super().close()

    def _begin(self) -> None:
        self._stream = self._session.request(self._request, not self._message)
        if self._message:
            self._session.send(self._stream, self._message, True)
        self._flush()

    def _receive(self, data: bytes) -> None:
        if not self._has_received:
            self._has_received = True
            if data.startswith(_OTHER_VERSION):
                self._fail("answered in HTTP/1")
                return
        try:
            for kind, number, content, flag in self._session.receive(data):
                self._act_on(kind, number, content, flag)
        except MalformedMessage as error:
            self._fail(error.reason)
        self._flush()

    def _act_on(self, kind: int, number: int, content: bytes, flag: int) -> None:
        if self.answer.done():
            return
        if kind == HEAD:
            head = self._head = parse_response_head(content)
            assert head is not None
            if not self._message or head.status != 200:
                self.answer.set_result(Answer(head.status))
            elif flag:
                self._end(grpc_status.read_code(head.values(b"grpc-status")))
        elif kind == CONTENT:
            self._session.consumed(self._stream, len(content))
            self._content += content
            if len(self._content) > _LARGEST:
                self._fail("the answer is too large")
            elif flag:
                self._end(-1)
        elif kind == TRAILERS:
            self._end(grpc_status.code_in_trailers(content))
        elif kind == RESET or (kind == GOAWAY and number < self._stream):
            self._fail(f"ended with error code {flag}" if flag else _NO_ANSWER)
        elif kind in (STREAM_ERROR, FAILED):
            self._fail(f"malformed HTTP/2: {content.decode('ascii', 'replace')}")

    def _end(self, code: int) -> None:
        self.answer.set_result(Answer(200, self._content, code))

    def _flush(self) -> None:
        if not self._transport.is_closing():
            while data := self._session.outgoing():
                self._transport.write(data)


def _take_note(answer: asyncio.Future[Answer]) -> None:
    if not answer.cancelled():
        answer.exception()
