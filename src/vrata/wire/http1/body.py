"""Body decoders: how much of the incoming bytes is this message's content, and where it ends (RFC 9112 §6.3, §7.1).

Every decoder has ``feed(data) -> (content, rest)``: *content* is what of *data* belongs to the body, without framing;
*rest* is None while the body goes on, and else the bytes behind its end (often empty). ``complete`` says the same as a
flag. Trailers are kept apart from the head, and never become part of it.
"""

from __future__ import annotations

import re
from typing import Protocol

from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.fields import goes_on_in_trailers

_MAX_CHUNK_LINE = 256
"""Bytes of a chunk-size line with its extensions: nobody honest sends more, and each would cost us a read."""
_MAX_TRAILERS = 8192
"""Bytes of all trailer lines, without their CRLFs."""
_MAX_TRAILER_LINES = 100

# RFC 9112 §7.1: size in hex, then extensions, which a recipient may ignore but must parse past.
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[\t ]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")
# RFC 9110 §6.5.1: framing cannot come in trailers. We would not act on it, but a reader that merges trailers into the
# head, or one that checks them, would see another message.
_TRAILER_LINE = re.compile(
    rb"(?!(?i:content-length|transfer-encoding):)[!#$%&'*+\-.^_`|~0-9A-Za-z]++:[\t\x20-\x7e\x80-\xff]*+"
)


class BodyDecoder(Protocol):
    """What the connections need of a decoder."""

    complete: bool
    trailers: bytes
    """The trailer lines that go on, each with its CRLF; whole once the body is complete."""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """See the module's head. Raises :class:`MalformedMessage` when the framing is broken."""
        ...

    def finish(self) -> bool:
        """The peer closed its side: True when that is a proper end of this body."""
        ...


class LengthBody(BodyDecoder):
    """A body of a known number of bytes (RFC 9112 §6.3 rule 6)."""

    __slots__ = ("complete", "remaining", "trailers")

    def __init__(self, length: int) -> None:
        self.remaining = length
        self.complete = length == 0
        self.trailers = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Take at most what remains."""
        remaining = self.remaining - len(data)
        if remaining > 0:
            self.remaining = remaining
            return data, None
        self.complete = True
        self.remaining = 0
        if remaining == 0:
            return data, b""
        return data[:remaining], data[remaining:]

    def finish(self) -> bool:
        """A close before the last byte is a truncation."""
        return self.complete


class UntilCloseBody(BodyDecoder):
    """A response body that the close of the connection ends (RFC 9112 §6.3 rule 8); also what a tunnel carries."""

    __slots__ = ("complete", "trailers")

    def __init__(self) -> None:
        self.complete = False
        self.trailers = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """All of it is content."""
        return data, None

    def finish(self) -> bool:
        """The close is the end."""
        self.complete = True
        return True


class ChunkedBody(BodyDecoder):
    """The chunked transfer coding (RFC 9112 §7.1). Extensions are checked and left behind, trailers are kept."""

    __slots__ = ("_pending", "_remaining", "_trailer_lines", "_trailers_size", "complete", "trailers")

    def __init__(self) -> None:
        self._pending = b""
        # > 0: content bytes left in this chunk; 0: its CRLF is due; -1: a size line is due; -2: trailers are.
        self._remaining = -1
        self._trailer_lines = 0
        self._trailers_size = 0
        self.complete = False
        self.trailers = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes | None]:
        """Decode as far as *data* reaches."""
        if self._pending:
            data = self._pending + data
            self._pending = b""
        content: list[bytes] = []
        position = 0
        while True:
            remaining = self._remaining
            if remaining > 0:
                piece = data[position : position + remaining]
                content.append(piece)
                position += len(piece)
                self._remaining = remaining - len(piece)
                if self._remaining > 0:
                    break
            elif remaining == 0:
                end = data[position : position + 2]
                if end != b"\r\n":
                    if end in (b"", b"\r"):
                        self._pending = end
                        break
                    raise MalformedMessage(400, "chunk longer than its size")
                position += 2
                self._remaining = -1
            elif remaining == -1:
                line = _CHUNK_LINE.match(data, position)
                if line is None:
                    self._keep_unfinished_line(data, position)
                    break
                if line.end() - position > _MAX_CHUNK_LINE:
                    raise MalformedMessage(400, "chunk extension too long")
                position = line.end()
                self._remaining = int(line[1], 16) or -2
            else:
                end_of_line = data.find(b"\r\n", position)
                if end_of_line < 0:
                    self._keep_unfinished_trailer(data, position)
                    break
                trailer = data[position:end_of_line]
                position = end_of_line + 2
                if not trailer:
                    self.complete = True
                    return b"".join(content), data[position:]
                self._take_trailer(trailer)
        return content[0] if len(content) == 1 else b"".join(content), None

    def finish(self) -> bool:
        """A close before the last chunk and its trailers is a truncation."""
        return self.complete

    def _keep_unfinished_line(self, data: bytes, position: int) -> None:
        rest = data[position:]
        if len(rest) > _MAX_CHUNK_LINE or b"\n" in rest or (rest and _CHUNK_LINE_START.fullmatch(rest) is None):
            raise MalformedMessage(400, "malformed chunk size")
        self._pending = rest

    def _keep_unfinished_trailer(self, data: bytes, position: int) -> None:
        rest = data[position:]
        if self._trailers_size + len(rest) > _MAX_TRAILERS or b"\n" in rest:
            raise MalformedMessage(400, "malformed trailers")
        self._pending = rest

    def _take_trailer(self, line: bytes) -> None:
        self._trailer_lines += 1
        self._trailers_size += len(line)
        if (
            self._trailers_size > _MAX_TRAILERS
            or self._trailer_lines > _MAX_TRAILER_LINES
            or _TRAILER_LINE.fullmatch(line) is None
        ):
            raise MalformedMessage(400, "malformed trailers")
        if goes_on_in_trailers(line[: line.index(b":")]):
            self.trailers += line + b"\r\n"


# What may still become a chunk line: refuses a bad size at its first wrong byte.
_CHUNK_LINE_START = re.compile(rb"[0-9A-Fa-f]{1,15}(?:[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?\r?)?")


def encode_chunk(content: bytes) -> bytes:
    """*content* as one chunk; nothing for nothing, since an empty chunk would end the body."""
    return b"%x\r\n%s\r\n" % (len(content), content) if content else b""


LAST_CHUNK = b"0\r\n\r\n"
"""The end of a chunked body without trailers."""


def encode_last_chunk(trailers: bytes) -> bytes:
    """The end of a chunked body with *trailers*: lines, each with its CRLF, or nothing (RFC 9112 §7.1.2)."""
    return b"0\r\n%s\r\n" % trailers if trailers else LAST_CHUNK
