"""Messages in a stream of gRPC: each in a frame that tells its length ("Length-Prefixed-Message" of the protocol)."""

from __future__ import annotations

from typing import Final

PREFIX: Final = 5
"""Bytes before a message: whether it is compressed, and its length."""


class MalformedFrame(ValueError):  # noqa: N818 - it names the thing that arrived
    """What came is no message that was asked for; ``args[0]`` says why, for people, without the peer's bytes."""


def framed(message: bytes) -> bytes:
    """Return *message* in its frame, not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class MessageFrames:
    """Takes the messages out of a stream that comes in pieces."""

    __slots__ = ("_due", "_held", "_longest")

    def __init__(self, longest: int) -> None:
        """A message may have up to *longest* bytes."""
        self._longest = longest
        self._held = bytearray()
        """What has come of a message that is not complete."""
        self._due = 0
        """Bytes of it that have to be there before there is anything to do."""

    def __repr__(self) -> str:
        return f"<MessageFrames {len(self._held)} bytes held>"

    @property
    def is_cut(self) -> bool:
        """True when a message has begun, and not all of it has come."""
        return bool(self._held)

    def feed(self, content: bytes) -> list[bytes]:
        """Return the messages that end in *content*, the next of the stream. Raises :class:`MalformedFrame`.

        One that is too long is refused as soon as its length is known.
        """
        held = self._held
        messages: list[bytes] = []
        if held:
            held += content
            if len(held) < self._due:
                return messages
            content = bytes(held)
            held.clear()
        at, size, due = 0, len(content), PREFIX
        while size - at >= PREFIX:
            if content[at] != 0:
                raise MalformedFrame("a compressed message, which was not asked for")
            length = content[at + 1] << 24 | content[at + 2] << 16 | content[at + 3] << 8 | content[at + 4]
            if length > self._longest:
                raise MalformedFrame(f"a message of more than {self._longest} bytes")
            end = at + PREFIX + length
            if end > size:
                due = end - at
                break
            messages.append(content[at + PREFIX : end])
            at = end
        if at < size:
            held += content[at:]
            self._due = due
        return messages
