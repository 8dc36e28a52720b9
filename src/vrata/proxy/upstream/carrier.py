"""What carries an exchange to an endpoint, and who reads what comes back: the seam between exchanges and protocols.

An exchange knows heads and content. How these are framed is the business of its carrier: a connection of HTTP/1, which
carries one exchange at a time, or a stream of one of HTTP/2, which carries many.
"""

from __future__ import annotations

from typing import Protocol

from vrata.wire.http1.head import ResponseHead


class ResponseReader(Protocol):
    """Who reads the response (an exchange)."""

    method: bytes
    upgrade: bool

    def on_head(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The final response has begun; *end* when it is complete already."""
        ...

    def on_informational(self, head: ResponseHead) -> None:
        """A 1xx response."""
        ...

    def on_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """More of the response; *trailers* are lines, each with its CRLF, and come with the *end*."""
        ...

    def on_tunnel_end(self) -> None:
        """The upstream has closed its side of the tunnel."""
        ...

    def on_broken(self, detail: str, unheard: bool) -> None:
        """The carrier ended, or what came over it was no HTTP, before the response was complete.

        *unheard*: its connection has ended without another word since the exchange began, and so may have ended before.
        """
        ...

    def on_refused(self, detail: str) -> None:
        """The upstream has ended the TLS handshake after we had completed it."""
        ...

    def on_unprocessed(self, detail: str) -> None:
        """The upstream has not acted on the request, nor will it, whatever becomes of others."""
        ...

    def on_full(self) -> None:
        """The upstream reads slower than the request is written."""
        ...

    def on_ready(self) -> None:
        """The upstream has caught up."""
        ...


class Carrier(Protocol):
    """What carries one exchange, from :meth:`begin` to one of :meth:`complete`, :meth:`leave` and :meth:`close`.

    It also ends when its reader is told of its end: broken, refused or unprocessed.
    """

    @property
    def has_served(self) -> bool:
        """Its connection has carried an exchange before, so that the upstream may have taken it for idle."""
        ...

    @property
    def can_half_close(self) -> bool:
        """What the upstream still sends can be read when our side of a tunnel has ended."""
        ...

    def begin(self, reader: ResponseReader) -> None:
        """Carry the exchange of *reader*."""
        ...

    def send_head(self, head: bytes, content: bytes, end: bool, chunked: bool, trailers: bytes) -> None:
        """Send *head*, the text of an HTTP/1 head, and the first of the *content*; *end* when that is all.

        The head says that the body is *chunked*, or how long it is, or nothing when there is none. *trailers* are
        lines, each with its CRLF, and come with the end; a body that is not chunked has none in HTTP/1.
        """
        ...

    def send(self, content: bytes, end: bool, trailers: bytes) -> None:
        """More of the request's body."""
        ...

    def write(self, data: bytes) -> None:
        """Bytes for the other end of a tunnel."""
        ...

    def end_output(self) -> None:
        """Nothing more will be written, and the upstream may know it: our side of the tunnel is closed."""
        ...

    def pause_reading(self) -> None:
        """Tell the reader of no more content for now."""
        ...

    def resume_reading(self) -> None:
        """Go on."""
        ...

    def complete(self, request_complete: bool, idle_timeout: float) -> None:
        """The response is complete, and so is the request, or nobody will send the rest of it.

        *idle_timeout* is how many seconds the connection may be kept when nothing uses it.
        """
        ...

    def leave(self) -> None:
        """Both sides of a tunnel have ended: nothing will be written any more, and what was written is sent."""
        ...

    def close(self) -> None:
        """Give the exchange up at once; its reader is not told."""
        ...
