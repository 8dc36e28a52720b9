"""Bodies in bytes: lengths, chunks, extensions, trailers and their limits (RFC 9112 §6.3, §7.1)."""

from __future__ import annotations

import pytest

from tests.support.transcript import BodyReader, Transcript
from vrata.wire.http1.body import (
    LAST_CHUNK,
    ChunkedBody,
    LengthBody,
    UntilCloseBody,
    encode_chunk,
    encode_last_chunk,
)

NEXT = b"GET /next HTTP/1.1\r\n"


def chunked() -> BodyReader:
    return BodyReader(ChunkedBody())


class TrailersReader(BodyReader):
    """The same, but its result is what of the trailers goes on, once the body is complete."""

    def __init__(self) -> None:
        super().__init__(ChunkedBody())

    def result(self) -> tuple[object, ...]:
        return self.complete, self.trailers, self.rest


def trailers_of(lines: bytes) -> bytes:
    """What goes on of the trailer *lines*, the same however the bytes are cut."""
    complete, trailers, rest = Transcript(b"1\r\na\r\n0\r\n" + lines + b"\r\n" + NEXT).read(TrailersReader)
    assert complete is True
    assert rest == NEXT
    assert isinstance(trailers, bytes)
    return trailers


# -- lengths (RFC 9112 §6.3 rule 6) ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "data", "content", "complete", "rest"),
    [
        (0, NEXT, b"", True, NEXT),
        (1, b"a", b"a", True, b""),
        (3, b"abc" + NEXT, b"abc", True, NEXT),
        (3, b"ab", b"ab", False, b""),
        (3, b"\r\n\r\n", b"\r\n\r", True, b"\n"),
    ],
)
def test_a_length(length: int, data: bytes, content: bytes, complete: bool, rest: bytes) -> None:
    assert Transcript(data).read(lambda: BodyReader(LengthBody(length))) == (content, complete, rest)


@pytest.mark.parametrize(
    ("length", "data", "whole"), [(0, b"", True), (3, b"abc", True), (3, b"ab", False), (3, b"", False)]
)
def test_a_close_before_the_length_is_a_truncation(length: int, data: bytes, whole: bool) -> None:  # RFC 9112 §8
    reader = BodyReader(LengthBody(length))
    reader.feed(data)
    assert reader.close() is whole


def test_a_body_until_close() -> None:  # rule 8
    reader = BodyReader(UntilCloseBody())
    for piece in (b"a", b"0\r\n\r\n", b"c"):
        reader.feed(piece)
        assert not reader.complete
    assert reader.close()
    assert reader.content == b"a0\r\n\r\nc"


# -- chunks (RFC 9112 §7.1) ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"0\r\n\r\n", b""),
        (b"000\r\n\r\n", b""),
        (b"1\r\na\r\n0\r\n\r\n", b"a"),
        (b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", b"abcde"),
        (b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        (b"000000000000003\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
        (b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
        (b"1\r\n\n\r\n1\r\n\r\r\n0\r\n\r\n", b"\n\r"),
    ],
    ids=repr,
)
def test_chunks(data: bytes, content: bytes) -> None:
    assert Transcript(data).read(chunked) == (content, True, b"")
    assert Transcript(data + NEXT).read(chunked) == (content, True, NEXT)


@pytest.mark.parametrize(
    "extension",
    [
        b";a",
        b";a=b",
        b";a=b;c=d",
        b' ;\ta = "b \\" ; c"',
        b";",
        b";;",
        b";\xe4",
        b"; " + b"x" * 200,
    ],
    ids=repr,
)
def test_chunk_extensions_are_ignored(extension: bytes) -> None:  # RFC 9112 §7.1.1
    data = b"1" + extension + b"\r\na\r\n0" + extension + b"\r\n\r\n"
    assert Transcript(data + NEXT).read(chunked) == (b"a", True, NEXT)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\r\n0\r\n\r\n", id="no size"),
        pytest.param(b";a\r\n0\r\n\r\n", id="extension without a size"),
        pytest.param(b"g\r\n", id="no hexadecimal digit"),
        pytest.param(b"-1\r\n", id="negative"),
        pytest.param(b"+1\r\n", id="sign"),
        pytest.param(b"0x1\r\na\r\n", id="prefix"),
        pytest.param(b"1_0\r\n", id="underscore"),
        pytest.param(b"1.0\r\n", id="fraction"),
        pytest.param(b"1,1\r\na\r\n", id="list"),
        pytest.param(b" 1\r\na\r\n", id="space before the size"),
        pytest.param(b"1 \r\na\r\n", id="space after the size"),
        pytest.param(b"1\t\r\na\r\n", id="tab after the size"),
        pytest.param(b"1 1\r\na\r\n", id="two sizes"),
        pytest.param(b"1\na\r\n", id="LF alone behind the size"),
        pytest.param(b"1\ra\r\n", id="CR alone behind the size"),
        pytest.param(b"1\r\r\na\r\n", id="CR CR LF"),
        pytest.param(b"1;a\nb\r\n", id="LF in an extension"),
        pytest.param(b"1;a\rb\r\n", id="CR in an extension"),
        pytest.param(b"1;a\x00\r\n", id="NUL in an extension"),
        pytest.param(b"1;a\x7f\r\n", id="DEL in an extension"),
        pytest.param(b"\xd9\xa1\r\n", id="a digit that is not ASCII"),
        pytest.param(b"1\x00\r\na\r\n", id="NUL behind the size"),
        pytest.param(b"1\r\nab\r\n", id="chunk longer than its size"),
        pytest.param(b"2\r\na\r\n0\r\n\r\n", id="chunk shorter than its size"),
        pytest.param(b"1\r\na0\r\n\r\n", id="no CRLF behind the chunk"),
        pytest.param(b"1\r\na\n0\r\n\r\n", id="LF alone behind the chunk"),
        pytest.param(b"1\r\na\r0\r\n\r\n", id="CR alone behind the chunk"),
        pytest.param(b"1\r\na\r\n\r\n0\r\n\r\n", id="empty line behind the chunk"),
        pytest.param(b"1000000000000000\r\n", id="size of 16 digits"),
        pytest.param(b"0000000000000001\r\na\r\n", id="size of 16 digits, mostly zeros"),
        pytest.param(b"ffffffffffffffff1\r\na\r\n", id="size that wraps around in 64 bits"),
        pytest.param(b"f" * 5000, id="endless size"),
        pytest.param(b"1;" + b"e" * 255, id="endless extension"),
        pytest.param(b"1;" + b"e" * 253 + b"\r\na\r\n", id="extension too long by a byte"),
        pytest.param(b"1" + b" " * 300, id="endless space"),
    ],
)
def test_a_malformed_chunk(data: bytes) -> None:
    assert Transcript(data).refusal(chunked).status == 400
    assert Transcript(b"3\r\nabc\r\n" + data).refusal(chunked).status == 400


def test_the_longest_chunk_line() -> None:
    data = b"1;" + b"e" * 252 + b"\r\n"
    assert len(data) == 256
    assert Transcript(data + b"a\r\n0\r\n\r\n").read(chunked) == (b"a", True, b"")


def test_the_largest_chunk_is_never_waited_for_as_a_whole() -> None:
    body = ChunkedBody()
    assert body.feed(b"fffffffffffffff\r\nabc") == (b"abc", None)
    assert body.feed(b"\r\n0\r\n\r\n") == (b"\r\n0\r\n\r\n", None)
    assert not body.finish()


@pytest.mark.parametrize("cut", range(len(b"3\r\nabc\r\n0\r\n\r\n")))
def test_a_close_before_the_last_chunk_is_a_truncation(cut: int) -> None:  # RFC 9112 §8
    reader = chunked()
    reader.feed(b"3\r\nabc\r\n0\r\n\r\n"[:cut])
    assert not reader.complete
    assert not reader.close()


# -- trailers (RFC 9112 §7.1.2) --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trailers",
    [
        b"",
        b"X: 1\r\n",
        b"X: 1\r\nY:\r\nz:\t\xe4 \r\n",
        b"x:1\r\nX: 2\r\nx:  3\r\n",
        b"X-Content-Length: 5\r\nTransfer-Encodings: chunked\r\nHosts: b\r\n",
        b"Grpc-Status: 0\r\nGrpc-Message: \r\n",
        b'ETag: "a"\r\nContent-Digest: sha-256=:YQ==:\r\nServer-Timing: a;dur=1\r\n',
        b"Authentication-Info: a=b\r\n",
        b"X: " + b"x" * 8000 + b"\r\n",
        b"X: 1\r\n" * 100,
    ],
    ids=lambda value: repr(value[:40]),
)
def test_trailers_are_kept_as_they_came(trailers: bytes) -> None:  # RFC 9110 §6.5
    assert trailers_of(trailers) == trailers
    assert Transcript(b"1\r\na\r\n0\r\n" + trailers + b"\r\n" + NEXT).read(chunked) == (b"a", True, NEXT)


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-Method-Override"),
        *("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Upgrade", "HTTP2-Settings"),
        *("Cache-Control", "Expect", "Max-Forwards", "Pragma", "Range"),
        *("If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range"),
        *("Authorization", "Proxy-Authorization", "WWW-Authenticate", "Proxy-Authenticate", "Cookie", "Set-Cookie"),
        *("Age", "Date", "Expires", "Location", "Retry-After", "Vary", "Warning", "Server"),
        *("Content-Encoding", "Content-Type", "Content-Range"),
        *("Forwarded", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port"),
        *("X-Forwarded-Client-Cert", "X-Forwarded-Server", "X-Real-IP", "X-Client-IP", "True-Client-IP"),
        *("X-Request-Id", "X-Vrata-Attempt-Count", "X-Request-Attempt-Count"),
    ],
)
def test_what_would_mean_something_in_a_head_does_not_go_on(name: str) -> None:  # RFC 9110 §6.5.1
    for spelling in (name, name.lower(), name.upper()):
        line = spelling.encode() + b": 1\r\n"
        assert trailers_of(line) == b""
        assert trailers_of(b"X: 1\r\n" + line + b"Y: 2\r\n" + line) == b"X: 1\r\nY: 2\r\n"


def test_there_are_none_without_chunks() -> None:
    for decoder in (LengthBody(1), UntilCloseBody(), ChunkedBody()):
        decoder.feed(b"1\r\n")
        assert decoder.trailers == b""


@pytest.mark.parametrize(
    "trailers",
    [
        b"X\r\n",
        b"X : 1\r\n",
        b" X: 1\r\n",
        b": 1\r\n",
        b"X: 1\r\n folded\r\n",
        b"X: 1\n\n",
        b"X: 1\nY: 2\r\n",
        b"X: 1\rY: 2\r\n",
        b"X: \x00\r\n",
        b"X: \x7f\r\n",
        b"\n",
        b"\r\r\n",
        b"0\r\n",
        b"Content-Length: 5\r\n",
        b"X: 1\r\ntRANSFER-eNCODING:chunked\r\n",
        NEXT,
    ],
    ids=repr,
)
def test_a_malformed_trailer(trailers: bytes) -> None:
    assert Transcript(b"0\r\n" + trailers + b"\r\n").refusal(chunked).status == 400


@pytest.mark.parametrize(
    "trailers",
    [b"X: " + b"x" * 8190 + b"\r\n", b"X: " + b"x" * 8190, b"x" * 8193, b"Host: " + b"x" * 8190, b"X: 1\r\n" * 101],
    ids=lambda value: repr(value[:12]) + str(len(value)),
)
def test_trailers_over_the_limit(trailers: bytes) -> None:
    assert Transcript(b"0\r\n" + trailers).refusal(chunked).reason == "malformed trailers"


# -- encoding --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pieces", [[b"abc"], [b"a", b"", b"\r\n0\r\n\r\n"], [b"x" * 5000], []])
def test_what_is_encoded_can_be_decoded(pieces: list[bytes]) -> None:
    data = b"".join(encode_chunk(piece) for piece in pieces) + LAST_CHUNK
    assert Transcript(data + NEXT).read(chunked) == (b"".join(pieces), True, NEXT)


@pytest.mark.parametrize("trailers", [b"", b"X: 1\r\n", b"X: 1\r\nx:\r\n"])
def test_encoded_trailers_can_be_decoded(trailers: bytes) -> None:  # RFC 9112 §7.1.2
    data = encode_chunk(b"a") + encode_last_chunk(trailers)
    assert Transcript(data + NEXT).read(TrailersReader) == (True, trailers, NEXT)


def test_an_empty_chunk_would_end_the_body() -> None:
    assert encode_chunk(b"") == b""
    assert encode_chunk(b"0123456789abcdef") == b"10\r\n0123456789abcdef\r\n"
