"""What a peer sends, and readers that take it in pieces of any size, as a connection does.

A *reader* is fed piece by piece; a *transcript* feeds one reader after the other with the same bytes, cut at every
position and byte by byte, and holds them to one result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from vrata.wire.http1.body import BodyDecoder, ChunkedBody, LengthBody, UntilCloseBody
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import MAX_HEAD, RequestHead, ResponseHead, parse_request_head, parse_response_head

EVERY_CUT = 2048
"""Bytes up to which a transcript is cut at every position; longer ones are cut near both ends and at intervals."""


class Reader(Protocol):
    """Reads one message, or a part of one."""

    def feed(self, data: bytes) -> None:
        """More bytes. Raises :class:`MalformedMessage`."""
        ...

    def result(self) -> tuple[object, ...]:
        """Everything that was understood so far, in a form that can be compared."""
        ...


@dataclass(frozen=True, slots=True)
class Transcript:
    """Bytes in the order of their arrival."""

    data: bytes

    def pieces(self) -> Iterator[tuple[bytes, ...]]:
        """The bytes whole, in two at every cut, and one by one."""
        data = self.data
        yield (data,)
        for cut in self._cuts():
            yield data[:cut], data[cut:]
        yield tuple(data[at : at + 1] for at in range(len(data)))

    def read(self, reader: Callable[[], Reader]) -> tuple[object, ...]:
        """The one result that all ways to cut the bytes lead to."""
        results = [_feed(reader(), pieces) for pieces in self.pieces()]
        for pieces, found in zip(self.pieces(), results, strict=True):
            assert found == results[0], f"cut into {[len(piece) for piece in pieces][:4]}"
        return results[0]

    def refusal(self, reader: Callable[[], Reader]) -> MalformedMessage:
        """The refusal that all ways to cut the bytes lead to: raised at the last byte or before, with one status."""
        refusals: list[MalformedMessage] = []
        for pieces in self.pieces():
            try:
                understood = _feed(reader(), pieces)
            except MalformedMessage as refusal:
                refusals.append(refusal)
            else:
                raise AssertionError(f"accepted when cut into {[len(piece) for piece in pieces][:4]}: {understood}")
        assert len({refusal.status for refusal in refusals}) == 1, {(r.status, r.reason) for r in refusals}
        return refusals[0]

    def _cuts(self) -> Iterator[int]:
        size = len(self.data)
        step = max(1, size // 64)
        for cut in range(1, size):
            if size <= EVERY_CUT or cut < 32 or size - cut < 32 or cut % step == 0:
                yield cut


class RequestReader:
    """Reads one request: head, body, and what follows it."""

    def __init__(self, max_head: int = MAX_HEAD) -> None:
        self._max_head = max_head
        self._buffer = b""
        self._body: BodyReader | None = None
        self.head: RequestHead | None = None

    def feed(self, data: bytes) -> None:
        if self._body is not None:
            self._body.feed(data)
            return
        self._buffer += data
        head = self.head = parse_request_head(self._buffer, self._max_head)
        if head is not None:
            decoder = ChunkedBody() if head.chunked else LengthBody(max(head.content_length, 0))
            self._body = BodyReader(decoder)
            self._body.feed(self._buffer[head.size :])

    @property
    def body(self) -> BodyReader:
        assert self._body is not None, "the head is not complete"
        return self._body

    def result(self) -> tuple[object, ...]:
        head = self.head
        if head is None:
            return ("unfinished",)
        return (
            *(head.method, head.target, head.minor, head.authority, head.host, head.path, tuple(head.lines)),
            *(head.content_length, head.chunked, head.has_body, head.keep_alive, head.expects_continue),
            *(tuple(head.forwarded_for), tuple(head.passed), head.size, head.fields_size),
            *self.body.result(),
        )


class ResponseReader:
    """Reads one response to a request with *method*: head, body, and what follows it."""

    def __init__(self, method: bytes = b"GET") -> None:
        self._method = method
        self._buffer = b""
        self._body: BodyReader | None = None
        self.head: ResponseHead | None = None

    def feed(self, data: bytes) -> None:
        if self._body is not None:
            self._body.feed(data)
            return
        self._buffer += data
        head = self.head = parse_response_head(self._buffer)
        if head is not None:
            self._body = BodyReader(self._decoder(head))
            self._body.feed(self._buffer[head.size :])

    def _decoder(self, head: ResponseHead) -> BodyDecoder:
        if not head.body_expected(self._method):
            return LengthBody(0)
        if head.chunked:
            return ChunkedBody()
        return LengthBody(head.content_length) if head.content_length >= 0 else UntilCloseBody()

    @property
    def body(self) -> BodyReader:
        assert self._body is not None, "the head is not complete"
        return self._body

    def result(self) -> tuple[object, ...]:
        head = self.head
        if head is None:
            return ("unfinished",)
        return (
            *(head.status, head.minor, head.content_length, head.chunked, head.keep_alive, head.server, head.dated),
            *(tuple(head.passed), head.size, head.is_informational, head.is_event_stream),
            *self.body.result(),
        )


class BodyReader:
    """Reads a body with *decoder*, and keeps what follows it."""

    def __init__(self, decoder: BodyDecoder) -> None:
        self._decoder = decoder
        self.content = b""
        self.rest = b""
        self.complete = decoder.complete

    def feed(self, data: bytes) -> None:
        if self.complete:
            self.rest += data
            return
        if not data:
            return
        content, rest = self._decoder.feed(data)
        self.content += content
        self.complete = rest is not None
        assert self._decoder.complete is self.complete
        if rest is not None:
            self.rest = rest

    def close(self) -> bool:
        """The peer closed its side: True when the message is whole."""
        return self._decoder.finish()

    @property
    def trailers(self) -> bytes:
        """The trailer lines that go on, each with its CRLF."""
        return self._decoder.trailers

    def result(self) -> tuple[object, ...]:
        return self.content, self.complete, self.rest


def _feed(reader: Reader, pieces: tuple[bytes, ...]) -> tuple[object, ...]:
    for piece in pieces:
        reader.feed(piece)
    return reader.result()
