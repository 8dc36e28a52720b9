"""Messages of Protocol Buffers in frames of gRPC: how they come makes no difference; what is read is written again."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from vrata.wire.grpc_frames import MalformedFrame, MessageFrames, framed
from vrata.wire.protobuf import FIXED32, FIXED64, LENGTH, VARINT, MalformedProtobuf, MessageWriter, read_fields, varint

LONGEST = 4096

DICTIONARY = (b"\x0a", b"\x12", b"\x08", b"\xff\xff\xff\xff\x0f", b"\x80\x01", b"\0\0\0\0\x02", b"\x0d", b"\x09")


def seeds() -> Iterator[bytes]:
    """Messages with a field of each kind, alone and within another."""
    inner = MessageWriter()
    inner.text(1, "key")
    inner.integer(2, 1 << 40)
    inner.entry(4, "a", "b")
    fixed = bytes((3 << 3 | FIXED64,)) + bytes(8)
    outer = MessageWriter()
    outer.message(1, inner.finished() + fixed)
    outer.content(15, bytes(200))
    for message in (b"", inner.finished(), outer.finished()):
        yield framed(message)
    yield framed(inner.finished()) + framed(outer.finished())


def check(data: bytes) -> None:
    """Raise ``AssertionError`` where the messages of *data* depend on how it comes, or a field is not what was sent."""
    whole = _messages([data])
    cut = zlib.crc32(data) % (len(data) + 1)
    assert _messages([data[:cut], data[cut:]]) == whole
    assert _messages([data[index : index + 1] for index in range(len(data))]) == whole
    for message in whole[0]:
        try:
            fields = read_fields(message)
        except MalformedProtobuf:
            continue
        written = [(field.tag, field.number, field.content) for field in fields]
        again = b"".join(_written(*field) for field in written)
        assert [(field.tag, field.number, field.content) for field in read_fields(again)] == written


def _messages(pieces: list[bytes]) -> tuple[list[bytes], bool]:
    """The messages in *pieces*, and whether all of them are in order."""
    frames, found = MessageFrames(LONGEST), []
    for piece in pieces:
        try:
            found += frames.feed(piece)
        except MalformedFrame:
            # Those before it in the same piece are not handed over: nobody goes on with such a stream.
            return [], False
    return found, True


def _written(tag: int, number: int, content: bytes) -> bytes:
    match tag & 7:
        case 0:
            return varint(tag) + varint(number)
        case 2:
            return varint(tag) + varint(len(content)) + content
    return varint(tag) + content


assert (VARINT, LENGTH, FIXED64, FIXED32) == (0, 2, 1, 5)
