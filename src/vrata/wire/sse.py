"""Server-sent events as a client reads them (WHATWG HTML, "Server-sent events", interpretation of the stream).

Sans-IO: bytes in, events out, in time linear in their size whatever the size of one line. The fields ``id`` and
``retry`` are read over: a client of Vrata always gets the latest state when it connects, and paces itself.
"""

from __future__ import annotations

from dataclasses import dataclass

MEDIA_TYPE = "text/event-stream"

DEFAULT_EVENT = "message"
"""Type of an event that names none."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One dispatched event: its type, and its data as the bytes received (several data lines joined by LF)."""

    event: str
    data: bytes


class EventStreamParser:
    """Turns the bytes of one stream into its events.

    A line ends with LF, CR or CRLF. The bytes may be cut anywhere, within a CRLF too.
    """

    def __init__(self) -> None:
        # Stream.
        self._at_start = True
        self._after_cr = False
        self._line: list[bytes] = []  # pieces of the line that has not ended yet
        # Event.
        self._event = b""
        self._data: list[bytes] = []

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """Take the next bytes, return the events they complete."""
        events: list[ServerSentEvent] = []
        if not chunk:
            return events
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
            if not chunk:
                return events
        self._after_cr = chunk.endswith(b"\r")
        # For bytes, splitlines breaks at exactly LF, CR and CRLF.
        for piece in chunk.splitlines(keepends=True):
            content = piece.rstrip(b"\r\n")
            self._line.append(content)
            if len(content) == len(piece):
                break
            line = b"".join(self._line)
            self._line.clear()
            event = self._take(line)
            if event is not None:
                events.append(event)
        return events

    def _take(self, line: bytes) -> ServerSentEvent | None:
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
        # An empty name is a comment; unknown names are to be ignored.
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event, data = self._event, self._data
        self._event, self._data = b"", []
        if not data:
            return None
        return ServerSentEvent(event.decode(errors="replace") or DEFAULT_EVENT, b"\n".join(data))
