"""What one HTTP/2 connection without its transport is to those who own the transport."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from vrata.wire.http2.events import Event

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client's side begins with (RFC 9113 §3.4)."""
HIGH: Final = 65536
"""Bytes of a stream's content that wait to be sent, from which on whoever sends should pause."""
LOW: Final = 16384
"""Bytes down to which they have to go before it should go on."""


class StreamsExhausted(Exception):  # noqa: N818 - an outcome
    """No further stream can begin: the peer allows no more at once, it has said goodbye, or the numbers are used up."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What we tell the peer that it may do."""

    concurrent_streams: int = 128
    """Streams that it may have open at once."""
    stream_window: int = 262144
    """Bytes of content that may come on a stream before they are consumed."""
    connection_window: int = 4194304
    """The same for all streams together."""
    header_list: int = 65536
    """Bytes of a head as RFC 9113 §6.5.2 counts them: names, values, and 32 for each field."""
    is_shared: bool = False
    """The connection serves clients that know nothing of each other, so that one which does not read must not hold the
    others up: the window of the connection is renewed as content comes, not as it is consumed."""


class Session(Protocol):
    """What the connections of either side need of it.

    Streams are known by their number. Nothing here raises because of what the peer did: that is an event. A call about
    a stream that is over does nothing.
    """

    @property
    def streams(self) -> int:
        """Streams that are open."""
        ...

    @property
    def peer_streams(self) -> int:
        """Streams of ours that the peer allows at once; 2^31-1 when it has set no limit.

        100 until its settings have come: the least that RFC 9113 §6.5.2 recommends.
        """
        ...

    @property
    def peer_tunnels(self) -> bool:
        """The peer takes requests for tunnels (SETTINGS_ENABLE_CONNECT_PROTOCOL, RFC 8441)."""
        ...

    @property
    def is_over(self) -> bool:
        """Nothing will be sent or received any more; the transport should close when it has sent everything."""
        ...

    @property
    def held_answers(self) -> int:
        """Bytes of frames that wait for :meth:`outgoing`, but for content: answers, for the most part, which a peer can
        provoke without end.
        """
        ...

    def receive(self, data: bytes) -> list[Event]:
        """What *data*, the next bytes of the peer, mean."""
        ...

    def outgoing(self) -> bytes:
        """The next bytes for the peer, about 64 KiB at most; empty when there are none now."""
        ...

    def drained(self) -> list[int]:
        """The streams that have been over :data:`HIGH`, and have come down to :data:`LOW` since this was last asked."""
        ...

    def request(self, head: bytes, end: bool) -> int:
        """Begin a stream with a request: *head* is the text of an HTTP/1 head. Returns the stream.

        One for an upgrade to WebSocket becomes a request for a tunnel. Raises :class:`StreamsExhausted`.
        """
        ...

    def inform(self, stream: int, head: bytes) -> None:
        """Send the 1xx response whose text is *head*."""
        ...

    def respond(self, stream: int, head: bytes, end: bool) -> None:
        """Begin the final response, whose text is *head*; a 101 becomes the 200 that opens a tunnel."""
        ...

    def send(self, stream: int, content: bytes, end: bool, trailers: bytes = b"") -> bool:
        """Send content of a request or a response; *trailers* are lines, each with its CRLF, and come with the *end*.

        Returns true when over :data:`HIGH` bytes wait to be sent on the stream now.
        """
        ...

    def unsent(self, stream: int) -> int:
        """Bytes of content that wait for the peer's window or for :meth:`outgoing`."""
        ...

    def unfinished(self, stream: int) -> bool:
        """Whether anything that was to be sent on the stream, its end included, has yet to go by :meth:`outgoing`."""
        ...

    def consumed(self, stream: int, size: int) -> None:
        """*size* bytes of the content that came are dealt with: the peer may send as many more.

        The content of a response counts for the connection until it is consumed, also after the stream has ended:
        whoever wants no more of it says so by :meth:`reset`.
        """
        ...

    def leave_input(self, stream: int) -> None:
        """What the client still sends is of no interest: when the response is sent, end the stream (RFC 9113 §8.1)."""
        ...

    def reset(self, stream: int, code: int) -> None:
        """End the stream at once; what was not sent yet is dropped."""
        ...

    def announce_shutdown(self) -> None:
        """Say that a GOAWAY will follow, for which streams on their way to us are still taken (RFC 9113 §6.8).

        A client has none to wait for, and says nothing.
        """
        ...

    def go_away(self, code: int, reason: bytes = b"") -> None:
        """Take no further streams; those that are open go on, and with none left the session is over."""
        ...

    def ping(self, content: bytes) -> None:
        """Ask for an answer with these eight bytes."""
        ...
