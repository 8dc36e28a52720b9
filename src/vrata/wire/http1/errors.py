"""What is wrong with a message that a peer sent."""

from __future__ import annotations


class MalformedMessage(Exception):  # noqa: N818 - it names the thing that arrived, not a fault of ours
    """The peer's bytes are not an HTTP/1 message that may be acted on.

    ``status`` is the answer a client deserves for such a request (400, 414, 417, 431, 501 or 505; RFC 9110 §15.5);
    ``reason`` is one clause for the log and the error body, without the peer's bytes in it.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
