"""What a reader makes of a stream of bytes: whole messages, and how the stream ends."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

Fields = tuple[tuple[bytes, bytes], ...]
"""Names in lower case, values without the white space around them."""


@dataclass(frozen=True, slots=True)
class Message:
    """One request: what must be the same for everybody who reads it. ``fields`` are compared where a case asks."""

    method: bytes
    target: bytes
    host: bytes = b"a.test"
    content: bytes = b""
    fields: Fields = field(default=(), compare=False, repr=False)
    trailers: Fields = field(default=(), compare=False, repr=False)

    def values(self, name: bytes) -> list[bytes]:
        """Every value of the field *name* (lower case), in order, those of trailers included."""
        return [value for found, value in self.fields + self.trailers if found == name]


class Ending(Enum):
    """Where a reader is when the bytes are at their end."""

    WHOLE = "between two messages"
    UNFINISHED = "within a message"
    REFUSED = "the reader gave up before"


@dataclass(frozen=True, slots=True)
class Reading:
    """What one reader made of all bytes of a connection."""

    messages: tuple[Message, ...]
    ending: Ending
    unfinished: Message | None = None
    """The message that the bytes break off in, when its head is whole."""
    reason: str = ""
    """Why the reader gave up, in its own words."""
