"""One exchange on a connection of HTTP/2 (RFC 9113 §5)."""

from __future__ import annotations

from typing import Final, Protocol

from vrata.proxy.upstream.carrier import Carrier, ResponseReader
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import parse_response_head
from vrata.wire.http2.contract import Session, StreamsExhausted
from vrata.wire.http2.errors import CANCEL, PROTOCOL_ERROR

PIECE: Final = 16384
"""Bytes of content up to which what is held is put together: small messages would take many times their size."""


class StreamOwner(Protocol):
    """What a stream needs of its connection."""

    served: int
    receptions: int

    def began(self, stream: Http2Stream) -> None:
        """*stream* has its number."""
        ...

    def completed(self, idle_timeout: float) -> None:
        """A response is whole; the connection may be kept for *idle_timeout* seconds when there is none to come."""
        ...

    def ended(self, stream: Http2Stream) -> None:
        """*stream* is over."""
        ...

    def left(self, stream: Http2Stream) -> None:
        """Nobody is told of *stream* any more, and what was sent on it may have to go out yet."""
        ...

    def retire(self) -> None:
        """Begin no further streams."""
        ...

    def write_soon(self) -> None:
        """There is something to send."""
        ...


class HeldPiece:
    """A piece of a response that is held for its client."""

    __slots__ = ("content", "end", "head", "trailers")

    def __init__(self, head: bytes) -> None:
        """*head* where the response begins."""
        self.head = head
        self.content = bytearray()
        self.end = False
        self.trailers = b""


class Http2Stream(Carrier):
    """What the connection has read of one response, and what it is to send of one request."""

    __slots__ = (
        "_connection",
        "_has_content",
        "_heard",
        "_held",
        "_input_ended",
        "_is_paused",
        "_is_tunnel",
        "_output_ended",
        "_session",
        "is_full",
        "is_open",
        "number",
        "reader",
        "since",
    )

    def __init__(self, connection: StreamOwner, session: Session) -> None:
        self._connection = connection
        self._session = session
        self.number = 0
        """None yet while it is 0."""
        self.is_open = True
        """It counts as one of those of its connection, from the moment in which it is taken."""
        self.since = 0.0
        """When it began, by the loop's clock."""
        self.reader: ResponseReader | None = None
        """Who is told; None when nobody is any more."""
        self.is_full = False
        """The reader was told to write nothing."""
        self._heard = 0
        """How often something had come over the connection when it began."""
        self._has_content = False
        self._output_ended = False
        self._input_ended = False
        self._is_tunnel = False
        self._is_paused = False
        self._held: list[HeldPiece] | None = None
        """What came while it was paused: no more than the window that we grant the stream."""

    def __repr__(self) -> str:
        return f"<Http2Stream {self.number}{'' if self.reader is not None else ' over'}>"

    # -- as a carrier -------------------------------------------------------------------------------------------------

    @property
    def has_served(self) -> bool:
        """A response came over the connection before."""
        return self._connection.served > 0

    @property
    def can_half_close(self) -> bool:
        """Each side of a stream ends by itself."""
        return True

    def begin(self, reader: ResponseReader) -> None:
        """Carry the exchange of *reader*."""
        self.reader = reader
        self._heard = self._connection.receptions

    def send_head(self, head: bytes, content: bytes, end: bool, chunked: bool, trailers: bytes) -> None:
        """Begin the stream."""
        reader = self.reader
        assert reader is not None
        is_tunnel = reader.upgrade
        has_content = bool(content or (end and trailers))
        ends = end and not has_content and not is_tunnel
        try:
            self.number = self._session.request(head, ends)
        except StreamsExhausted:
            self._connection.retire()
            self.unprocessed("the connection takes no more streams")
            return
        self._connection.began(self)
        self._output_ended = ends
        if has_content:
            self.send(content, end, trailers)

    def send(self, content: bytes, end: bool, trailers: bytes) -> None:
        """More of the request's body."""
        if self.reader is None:
            return
        self._has_content = True
        self._output_ended = end
        is_full = self._session.send(self.number, content, end, trailers if end else b"")
        self._connection.write_soon()
        if is_full and not end and not self.is_full:
            self.is_full = True
            self.reader.on_full()

    def write(self, data: bytes) -> None:
        """Bytes for the other end of a tunnel."""
        self.send(data, False, b"")

    def end_output(self) -> None:
        """Our side of the tunnel is closed."""
        self.send(b"", True, b"")

    def pause_reading(self) -> None:
        """Hold what comes, and grant the upstream no more of it."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Tell the reader of what was held."""
        self._is_paused = False
        held, self._held = self._held, None
        if held is None:
            return
        for number, piece in enumerate(held):
            self._deliver(piece.head, bytes(piece.content), piece.end, piece.trailers)
            if self._is_paused:
                self._held = held[number + 1 :]
                return

    def complete(self, request_complete: bool, idle_timeout: float) -> None:
        """The response is complete: end the stream, which the request may not have done yet (RFC 9113 §8.1)."""
        self._connection.completed(idle_timeout)
        self._end(request_complete)

    def leave(self) -> None:
        """Both sides of a tunnel have ended, but for what the upstream has to take yet."""
        self.end_output()
        self.reader = None
        self._held = None
        self._connection.left(self)

    def expire(self) -> None:
        """It was left, and the upstream has taken the rest, or has had its time to do so."""
        if self.is_open:
            self._end(True)

    def close(self) -> None:
        """Give the exchange up."""
        if self.is_open:
            self._end(False)

    def _end(self, is_whole: bool) -> None:
        self.is_open = False
        self.reader = None
        self._held = None
        session, number = self._session, self.number
        is_whole = is_whole and self._input_ended and self._output_ended
        if number and (not is_whole or (self._has_content and session.unsent(number))):
            session.reset(number, CANCEL)
            self._connection.write_soon()
        self._connection.ended(self)

    # -- what comes ---------------------------------------------------------------------------------------------------

    def received(self, head: bytes, content: bytes, end: bool, trailers: bytes) -> None:
        """More of the response: the text of its *head* when it begins, *content*, and with the *end* *trailers*."""
        self._input_ended = end
        if self._is_paused:
            held = self._held
            if held is None:
                held = self._held = []
            if not held or len(held[-1].content) >= PIECE:
                held.append(HeldPiece(head))
            piece = held[-1]
            piece.content += content
            piece.end = end
            piece.trailers = trailers
        else:
            self._deliver(head, content, end, trailers)

    def informed(self, text: bytes) -> None:
        """A 1xx response whose head is *text*. No window bounds them, so whoever does not read gets none."""
        reader = self.reader
        if reader is None or self._is_paused:
            return
        try:
            head = parse_response_head(text)
        except MalformedMessage as error:
            self.malformed(error.reason)
            return
        assert head is not None
        reader.on_informational(head)

    def drained(self) -> None:
        """The upstream has taken what waited to be sent."""
        if self.is_full and self.reader is not None:
            self.is_full = False
            self.reader.on_ready()

    def malformed(self, reason: str) -> None:
        """What came is no response."""
        if self.reader is not None:
            self._session.reset(self.number, PROTOCOL_ERROR)
            self._connection.write_soon()
            self._input_ended = False
            self.broken(reason)

    def broken(self, detail: str, lost: bool = False) -> None:
        """No more will come, of this stream alone, or because the connection is *lost*.

        A response that is whole already, and only held for the client, is not touched by that.
        """
        reader = self.reader
        if reader is None:
            self._give_up()
        elif not self._input_ended:
            self._give_up()
            reader.on_broken(detail, lost and self._connection.receptions == self._heard)

    def unprocessed(self, detail: str) -> None:
        """The upstream has not acted on the request, nor will it."""
        reader = self.reader
        if reader is None:
            self._give_up()
        elif not self._input_ended:
            self._give_up()
            reader.on_unprocessed(detail)

    def _give_up(self) -> None:
        self.reader = None
        self._held = None
        if self.is_open:  # it may have been left
            self.is_open = False
            self._connection.ended(self)

    def _deliver(self, text: bytes, content: bytes, end: bool, trailers: bytes) -> None:
        reader = self.reader
        if reader is None:
            return
        if text:
            if not self._deliver_head(reader, text, content, end, trailers):
                return
        elif not self._is_tunnel:
            reader.on_content(content, end, trailers)
        else:
            if content:
                reader.on_content(content, False)
            if end and self.reader is reader:
                reader.on_tunnel_end()
        if content:
            self._session.consumed(self.number, len(content))
            self._connection.write_soon()

    def _deliver_head(self, reader: ResponseReader, text: bytes, content: bytes, end: bool, trailers: bytes) -> bool:
        try:
            head = parse_response_head(text)
        except MalformedMessage as error:
            self.malformed(error.reason)
            return False
        assert head is not None
        if head.status == 101:
            # The session has made it of the answer to a request for a tunnel, and of nothing else.
            self._is_tunnel = True
            reader.on_head(head, content, False)
            if end and self.reader is reader:
                reader.on_tunnel_end()
        elif head.body_expected(reader.method):
            reader.on_head(head, content, end, trailers)
        else:
            reader.on_head(head, b"", True)
        return True
