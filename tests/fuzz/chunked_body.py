"""The chunked coding: the same body however its bytes are cut, and back again.

The first byte of an input says how many cuts there are, and as many bytes behind it how long the pieces are.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.mutation import SNIPPETS
from vrata.wire.http1.body import ChunkedBody, encode_chunk, encode_last_chunk
from vrata.wire.http1.errors import MalformedMessage

DICTIONARY = (
    *SNIPPETS,
    b"0\r\n\r\n",
    b"1\r\na\r\n",
    b"ffffffffffffffff\r\n",
    b";a=b",
    b"Trailer: x\r\n",
    b"Date: y\r\n",
)
_MAX_CUTS = 7
_ONE_BY_ONE = 300
"""Bytes up to which an input is also fed byte by byte."""


def seeds() -> Iterator[bytes]:
    """Bodies with something of everything, whole and cut."""
    bodies = (
        b"3\r\nabc\r\n0\r\n\r\n",
        b'5;a="b;c"\r\nabcde\r\n0000;x\r\nTrailer: 1\r\nX:\r\n\r\nGET / HTTP/1.1\r\n',
        b"1 ;a\r\nb\r\n0\r\n\r\n",
        b"a\r\n0123456789\r\n1\r\n\r\r\n0\r\n\r\n",
        b"0\r\nContent-Length: 5\r\n\r\n",
        b"fffffffffffffff\r\nabc",
        b"2\nab\n0\n\n",
        b"1" + b";" + b"e" * 300 + b"\r\n",
        b"0\r\n" + b"T: %b\r\n" % (b"t" * 900) * 10 + b"\r\n",
    )
    for body in bodies:
        yield b"\x00" + body
        yield b"\x03\x01\x02\x04" + body


def check(data: bytes) -> None:
    """Raise ``AssertionError`` where the cuts make a difference, or the way back leads elsewhere."""
    cuts = data[0] % (_MAX_CUTS + 1) if data else 0
    lengths, body = data[1 : 1 + cuts], data[1 + cuts :]
    pieces = list(_pieces(body, lengths))
    whole = _decoded([body])
    assert _decoded(pieces) == whole
    if len(body) <= _ONE_BY_ONE:
        assert _decoded([body[at : at + 1] for at in range(len(body))]) == whole
    trailers = whole[2] if len(whole) == 3 and whole[1] is not None else b""
    assert isinstance(trailers, bytes)
    _check_round_trip(pieces, body[-5:], trailers)


def _pieces(body: bytes, lengths: bytes) -> Iterator[bytes]:
    at = 0
    for length in lengths:
        yield body[at : at + length]
        at += length
    yield body[at:]


def _decoded(pieces: list[bytes]) -> tuple[object, ...]:
    """Content, rest and trailers; or how far it got; or the refusal."""
    decoder = ChunkedBody()
    content = b""
    rest: bytes | None = None
    for piece in pieces:
        if rest is not None:
            rest += piece
            continue
        if not piece:
            continue
        try:
            part, rest = decoder.feed(piece)
        except MalformedMessage as refusal:
            return "refused", refusal.status
        content += part
        assert decoder.complete is (rest is not None)
        assert decoder.finish() is decoder.complete
    return content, rest, decoder.trailers


def _check_round_trip(pieces: list[bytes], rest: bytes, trailers: bytes) -> None:
    encoded = b"".join(encode_chunk(piece) for piece in pieces) + encode_last_chunk(trailers)
    assert _decoded([encoded + rest]) == (b"".join(pieces), rest, trailers)
    for cut in (len(encoded) // 2, len(encoded) - 1):
        assert _decoded([encoded[:cut]])[1] is None, "complete before its end"
