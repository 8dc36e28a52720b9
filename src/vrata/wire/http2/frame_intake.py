"""Frames on their way to hyper-h2, which is stricter here and laxer there than RFC 9113.

It ends the connection for much that concerns one stream, for which §5.4.2 wants a reset, and stops at the first GOAWAY,
after which open streams have to go on (§6.8). So frames are looked at before it sees them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct, iter_unpack, pack
from typing import Final, TypeAlias

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event, RemoteSettingsChanged
from h2.exceptions import DenialOfServiceError, ProtocolError
from hpack import HPACKError

from vrata.wire.http2.contract import PREFACE
from vrata.wire.http2.session_stream import SessionStream
from vrata.wire.http2.upgrade import MAX_TABLE, TABLE_SIZE

_FRAME: Final = Struct(">HBBBL")
"""A frame's header (RFC 9113 §4.1), its 24 bits of length as two and one."""
_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS, _GOAWAY, _CONTINUATION = 0, 1, 2, 3, 4, 7, 9
_PING, _WINDOW_UPDATE = 6, 8
_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_SIZES: Final = {_PRIORITY: 5, _RST_STREAM: 4, _PING: 8, _WINDOW_UPDATE: 4}
"""Of the payloads of frames that have but one."""
_MOST_RESETS: Final = 1000
"""Streams of which it is remembered that we have reset them."""
_NO_RFC7540_PRIORITIES: Final = 9
_MAX_FRAME: Final = 16384
"""Bytes of a frame's payload that we have allowed: what SETTINGS_MAX_FRAME_SIZE is by default (RFC 9113 §6.5.2)."""


@dataclass(frozen=True, slots=True)
class Goodbye:
    """A GOAWAY has come."""

    last: int
    """The stream above which none of ours was acted on."""
    code: int
    reason: bytes


@dataclass(frozen=True, slots=True)
class ContentBeforeHead:
    """DATA has come on a stream on which no final response has; the frame goes to hyper-h2 next."""

    stream: int


Incoming: TypeAlias = Event | Goodbye | ContentBeforeHead


class FrameIntake:
    """Takes the peer's bytes apart, and gives hyper-h2 what it may see."""

    def __init__(
        self, connection: H2Connection, streams: dict[int, SessionStream], output: bytearray, *, is_client: bool
    ) -> None:
        """*output* takes what hyper-h2 sends when some of that should not be."""
        self._connection = connection
        self._streams = streams
        self._output = output
        self._reset: dict[int, None] = {}
        self._is_client = is_client
        self._input = bytearray()
        self._preface_due = 0 if is_client else len(PREFACE)
        self._in_head = False
        self.has_settings = False
        """The peer's first SETTINGS have come."""
        self.end_withheld = False
        """Of the head that is next: a response that ends the stream, or trailers that do not."""

    def feed(self, data: bytes) -> Iterator[Incoming]:
        """What *data* mean. Raises :class:`h2.exceptions.ProtocolError` and hyperframe's errors."""
        self._input += data
        if self._preface_due:
            size = min(self._preface_due, len(self._input))
            self._connection.receive_data(bytes(self._input[:size]))
            del self._input[:size]
            self._preface_due -= size
        while len(self._input) >= _FRAME.size:
            high, low, kind, flags, stream = _FRAME.unpack_from(self._input)
            size = high << 8 | low
            if size > _MAX_FRAME:
                raise _failure(ErrorCodes.FRAME_SIZE_ERROR, "frame too large")
            if not self.has_settings and (kind != _SETTINGS or flags & _ACK):
                raise _failure(ErrorCodes.PROTOCOL_ERROR, "no SETTINGS at first")
            if len(self._input) < _FRAME.size + size:
                return
            frame = bytes(self._input[: _FRAME.size + size])
            del self._input[: _FRAME.size + size]
            yield from self._pass(frame, kind, flags, stream & 0x7FFFFFFF)

    def _pass(self, frame: bytes, kind: int, flags: int, number: int) -> Iterator[Incoming]:
        size = _SIZES.get(kind, -1)
        if size >= 0 and len(frame) != _FRAME.size + size and not self._in_head:
            raise _failure(ErrorCodes.FRAME_SIZE_ERROR, "frame of a wrong size")
        if self._in_head:
            self._in_head = kind != _CONTINUATION or not flags & _END_HEADERS
        elif kind == _HEADERS:
            if self._is_client and not number % 2:
                raise _failure(ErrorCodes.PROTOCOL_ERROR, "a stream that the server has begun")
            self._in_head = not flags & _END_HEADERS
            frame = self._without_early_end(frame, flags, number)
        elif kind == _GOAWAY:
            yield _goodbye(frame[_FRAME.size :], number)
            return
        elif kind == _PRIORITY:
            # RFC 9113 §5.3.2: its meaning is gone, its form is not.
            if number == 0:
                raise _failure(ErrorCodes.PROTOCOL_ERROR, "PRIORITY of no stream")
            return
        elif kind == _SETTINGS:
            frame = _settled(frame, flags)
        elif kind == _WINDOW_UPDATE:
            if number and number not in self._streams and not self._is_idle(number):
                return  # it may have been on its way when the stream ended (RFC 9113 §5.1)
            frame = frame[: _FRAME.size] + bytes((frame[_FRAME.size] & 0x7F,)) + frame[_FRAME.size + 1 :]
        elif kind > _CONTINUATION:
            return
        elif kind == _RST_STREAM and self._is_idle(number):
            raise _failure(ErrorCodes.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        elif kind == _DATA:
            stream = self._streams.get(number)
            if stream is not None and not stream.has_head:
                yield ContentBeforeHead(number)
        for event in self._happened(frame, number):
            if isinstance(event, RemoteSettingsChanged):
                self.has_settings = True
            yield event

    def was_reset(self, stream: int) -> None:
        """We have reset *stream*: what comes on it was on its way, and is ignored (RFC 9113 §5.1)."""
        self._reset[stream] = None
        if len(self._reset) > _MOST_RESETS:
            del self._reset[next(iter(self._reset))]

    def _happened(self, frame: bytes, number: int) -> list[Event]:
        try:
            if number not in self._reset or number in self._streams:
                return self._connection.receive_data(frame)
            # hyper-h2 would reset the stream again each time.
            self._output += self._connection.data_to_send()
            happened = self._connection.receive_data(frame)
            self._output += self._connection.data_to_send().removesuffix(
                _FRAME.pack(0, 4, _RST_STREAM, 0, number) + ErrorCodes.STREAM_CLOSED.to_bytes(4, "big")
            )
            return happened
        except ProtocolError as error:
            if isinstance(error.__cause__, HPACKError) and not isinstance(error, DenialOfServiceError):
                raise _failure(ErrorCodes.COMPRESSION_ERROR, str(error)) from error
            raise

    def _without_early_end(self, frame: bytes, flags: int, number: int) -> bytes:
        """The frame HEADERS with END_STREAM as hyper-h2 accepts it whatever the head is."""
        stream = self._streams.get(number)
        if stream is None:
            return frame
        if stream.has_head:
            # Trailers, which nothing may follow: we reset the stream that says otherwise.
            self.end_withheld = not flags & _END_STREAM
            return frame[:4] + bytes((flags | _END_STREAM,)) + frame[5:]
        # A response, perhaps an interim one, which may not end the stream: we hear of the end when that is known.
        self.end_withheld = bool(flags & _END_STREAM)
        return frame[:4] + bytes((flags & ~_END_STREAM,)) + frame[5:]

    def _is_idle(self, number: int) -> bool:
        connection = self._connection
        ours = number % 2 == int(self._is_client)
        return number > (connection.highest_outbound_stream_id if ours else connection.highest_inbound_stream_id)


def end_of_content(stream: int) -> bytes:
    """An empty frame DATA with END_STREAM."""
    return _FRAME.pack(0, 0, _DATA, _END_STREAM, stream)


def _settled(frame: bytes, flags: int) -> bytes:
    """The frame SETTINGS with what hyper-h2 should not be told left out."""
    payload = frame[_FRAME.size :]
    if len(payload) % 6 or (payload and flags & _ACK):
        raise _failure(ErrorCodes.FRAME_SIZE_ERROR, "SETTINGS of a wrong size")
    entries = b""
    for key, value in iter_unpack(">HL", payload):
        if key == _NO_RFC7540_PRIORITIES and value > 1:  # RFC 9218 §2.1
            raise _failure(ErrorCodes.PROTOCOL_ERROR, "no such value of a setting")
        if key == TABLE_SIZE and value > MAX_TABLE:
            value = MAX_TABLE  # noqa: PLW2901
        entries += pack(">HL", key, value)
    return frame[: _FRAME.size] + entries


def _goodbye(payload: bytes, number: int) -> Goodbye:
    if number:
        raise _failure(ErrorCodes.PROTOCOL_ERROR, "GOAWAY on a stream")
    if len(payload) < 8:
        raise _failure(ErrorCodes.FRAME_SIZE_ERROR, "malformed GOAWAY")
    last, code = int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")
    return Goodbye(last & 0x7FFFFFFF, code, payload[8:])


def _failure(code: ErrorCodes, reason: str) -> ProtocolError:
    error = ProtocolError(reason)
    error.error_code = code
    return error
