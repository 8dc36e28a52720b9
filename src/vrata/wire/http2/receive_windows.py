"""The windows in which a peer of hyper-h2 may send, renewed by halves as content is consumed (RFC 9113 §5.2)."""

from __future__ import annotations

from typing import Final

from h2.connection import H2Connection

from vrata.wire.http2.contract import SessionLimits
from vrata.wire.http2.session_stream import SessionStream

_DEFAULT_WINDOW: Final = 65535


class ReceiveWindows:
    """That of the connection, and those of its streams."""

    def __init__(self, connection: H2Connection, limits: SessionLimits) -> None:
        self._connection = connection
        self._is_shared = limits.is_shared
        self._size = max(limits.connection_window, _DEFAULT_WINDOW)
        self._stream_size = limits.stream_window
        self._uncredited = 0
        self._kept: dict[int, int] = {}

    def open(self) -> None:
        """Enlarge the connection's window to its size: no setting does that (RFC 9113 §6.9.2)."""
        if self._size > _DEFAULT_WINDOW:
            self._connection.increment_flow_control_window(self._size - _DEFAULT_WINDOW)

    def received(self, stream: SessionStream | None, size: int) -> None:
        """*size* bytes have come on *stream*; None when it was over."""
        if stream is not None:
            stream.unconsumed += size
        if stream is None or self._is_shared:
            self._credit(size)

    def consumed(self, number: int, stream: SessionStream | None, size: int) -> None:
        """*size* bytes of the stream are dealt with; *stream* is None when it is over."""
        if stream is None:
            kept = self._kept.pop(number, 0)
            size = min(size, kept)
            self._credit(size)
            if size < kept:
                self._kept[number] = kept - size
            return
        size = min(size, stream.unconsumed)
        stream.unconsumed -= size
        if not self._is_shared:
            self._credit(size)
        if not stream.ended:
            stream.uncredited += size
            if stream.uncredited >= max(self._stream_size // 2, 1):
                self._connection.increment_flow_control_window(stream.uncredited, number)
                stream.uncredited = 0

    def keep(self, number: int, stream: SessionStream) -> None:
        """The stream is over, what came on it is not consumed yet and still counts for the connection."""
        if stream.unconsumed and not self._is_shared:
            self._kept[number] = stream.unconsumed
            stream.unconsumed = 0

    def give_up(self, stream: SessionStream) -> None:
        """Nobody will consume what came on *stream*."""
        if not self._is_shared:
            self._credit(stream.unconsumed)

    def give_up_kept(self, number: int) -> None:
        """The same for a stream that is over."""
        self._credit(self._kept.pop(number, 0))

    def _credit(self, size: int) -> None:
        self._uncredited += size
        if self._uncredited >= self._size // 2:
            self._connection.increment_flow_control_window(self._uncredited)
            self._uncredited = 0
