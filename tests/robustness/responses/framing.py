"""Responses whose end is in doubt."""

from __future__ import annotations

from tests.robustness.response_case import ExpectedResponse, ResponseCase, broken, cut, refused, relayed, response
from tests.robustness.scripted_upstream import Then

OK = b"HTTP/1.1 200 OK"
CHUNKED = b"Transfer-Encoding: chunked"
THREE = b"Content-Length: 3"
CHUNKS = b"3\r\nabc\r\n0\r\n\r\n"
BOTH = "RFC 9112 §6.3 rule 3"
LENGTH = "RFC 9110 §8.6; RFC 9112 §6.3 rule 5"
CODING = "RFC 9112 §6.1"
CHUNK = "RFC 9112 §7.1"
BODILESS = "RFC 9112 §6.3 rule 1"


def _length(name: str, value: bytes, expected: ExpectedResponse | None = None) -> ResponseCase:
    data = response(OK, b"Content-Length:" + value, body=b"abc")
    return ResponseCase(f"Content-Length: {name}", LENGTH, data, expected or refused())


def _coding(name: str, value: bytes, expected: ExpectedResponse | None = None) -> ResponseCase:
    data = response(OK, b"Transfer-Encoding:" + value, body=CHUNKS)
    return ResponseCase(f"Transfer-Encoding: {name}", CODING, data, expected or refused())


def _chunks(name: str, body: bytes, expected: ExpectedResponse | None = None, source: str = CHUNK) -> ResponseCase:
    data = response(OK, CHUNKED, body=body)
    return ResponseCase(f"chunks: {name}", source, data, expected or broken(), Then.CLOSE)


def _both(name: str, *fields: bytes) -> ResponseCase:
    return ResponseCase(name, BOTH, response(OK, *fields, body=CHUNKS), refused())


FRAMING = (
    ResponseCase("a length", LENGTH, response(OK, THREE, body=b"abc"), relayed()),
    ResponseCase("a length of zero", LENGTH, response(OK, b"Content-Length: 0"), relayed(b"")),
    ResponseCase("chunks", CHUNK, response(OK, CHUNKED, body=CHUNKS), relayed()),
    ResponseCase(
        "until the close", "RFC 9112 §6.3 rule 8", response(OK, body=b"abc"), relayed(reused=False), Then.CLOSE
    ),
    ResponseCase(
        "until the close, nothing", "RFC 9112 §6.3 rule 8", response(OK), relayed(b"", reused=False), Then.CLOSE
    ),
    ResponseCase("until the close, which is a reset", "RFC 9112 §8", response(OK, body=b"abc"), cut(), Then.RESET),
    ResponseCase(
        "close with a length",
        "RFC 9112 §9.6",
        response(OK, THREE, b"Connection: close", body=b"abc"),
        relayed(reused=False),
    ),
    _both("length and coding", b"Content-Length: 3", CHUNKED),
    _both("coding and length", CHUNKED, b"Content-Length: 3"),
    _both("a length of zero and coding", b"Content-Length: 0", CHUNKED),
    _both("coding and a length that fits", CHUNKED, b"Content-Length: 13"),
    _both("coding and an empty length", CHUNKED, b"Content-Length:"),
    ResponseCase("coding in HTTP/1.0", CODING, response(b"HTTP/1.0 200 OK", CHUNKED, body=CHUNKS), refused()),
    ResponseCase(
        "HTTP/1.0 with a length",
        "RFC 9112 §9.3",
        response(b"HTTP/1.0 200 OK", THREE, body=b"abc"),
        relayed(reused=False),
    ),
    ResponseCase(
        "HTTP/1.0 with a length and keep-alive",
        "RFC 9112 §9.3",
        response(b"HTTP/1.0 200 OK", THREE, b"Connection: keep-alive", body=b"abc"),
        relayed(),
    ),
    ResponseCase(
        "HTTP/1.0 until the close",
        "RFC 9112 §9.3",
        response(b"HTTP/1.0 200 OK", body=b"abc"),
        relayed(reused=False),
        Then.CLOSE,
    ),
    _length("with zeros", b" 003", relayed(carries=((b"content-length", (b"3",)),))),
    _length("plus sign", b" +3"),
    _length("minus sign", b" -3"),
    _length("hexadecimal", b" 0x3"),
    _length("underscore", b" 0_3"),
    _length("space within", b" 3 3"),
    _length("letters", b" abc"),
    _length("empty", b""),
    _length("2^64 + 3", b" 18446744073709551619"),
    _length("list of equal ones", b" 3, 3"),
    _length("list of different ones", b" 3, 4"),
    _length("equal in two fields", b" 3\r\nContent-Length: 3"),
    _length("different in two fields", b" 3\r\nContent-Length: 30"),
    _coding("mixed case", b" Chunked", relayed()),
    _coding("identity", b" identity"),
    _coding("gzip, chunked", b" gzip, chunked"),
    _coding("chunked, gzip", b" chunked, gzip"),
    _coding("twice", b" chunked\r\nTransfer-Encoding: chunked"),
    _coding("twice in a list", b" chunked, chunked"),
    _coding("xchunked", b" xchunked"),
    _coding("vertical tab", b" \x0bchunked"),
    _coding("quotes", b' "chunked"'),
    _coding("empty", b""),
    _coding("parameter", b" chunked;a=b"),
)

CHUNKED_BODIES = (
    _chunks("no number", b"x\r\nabc\r\n0\r\n\r\n", broken(b"")),
    _chunks("sign", b"+3\r\nabc\r\n0\r\n\r\n", broken(b"")),
    _chunks("prefix", b"0x3\r\nabc\r\n0\r\n\r\n", broken(b"")),
    _chunks("underscore", b"0_3\r\nabc\r\n0\r\n\r\n", broken(b"")),
    _chunks("space before the size", b" 3\r\nabc\r\n0\r\n\r\n", broken(b"")),
    _chunks("space after the size", b"3 \r\nabc\r\n0\r\n\r\n", broken(b"")),
    _chunks("empty size", b"\r\nabc\r\n0\r\n\r\n", broken(b"")),
    _chunks("2^64 + 3", b"10000000000000003\r\nabc\r\n0\r\n\r\n", broken(b"")),
    _chunks("size line of LF alone", b"3\nabc\r\n0\r\n\r\n", broken(b"")),
    _chunks("LF in an extension", b"3;\nabc\r\n0\r\n\r\n", broken(b""), f"{CHUNK}.1; Weikop 2025"),
    _chunks("CR in an extension", b"3;\rabc\r\n0\r\n\r\n", broken(b""), f"{CHUNK}.1; Weikop 2025"),
    _chunks("extension", b"3;a=b\r\nabc\r\n0\r\n\r\n", relayed(reused=False), f"{CHUNK}.1"),
    _chunks("endless extension", b"3;" + b"e" * 70_000 + b"\r\nabc\r\n0\r\n\r\n", broken(b""), f"{CHUNK}.1"),
    _chunks("no line end after the data", b"3\r\nabc0\r\n\r\n"),
    _chunks("LF alone after the data", b"3\r\nabc\n0\r\n\r\n"),
    _chunks("more data than the size", b"3\r\nabcd\r\n0\r\n\r\n"),
    _chunks("less data than the size", b"9\r\nabc\r\n0\r\n\r\n", broken(b"abc\r\n0\r\n\r")),
    _chunks("no last chunk", b"3\r\nabc\r\n", cut()),
    _chunks("half a size", b"3\r\nabc\r\n1", cut()),
    _chunks("no empty line at the end", b"3\r\nabc\r\n0\r\n", cut()),
    _chunks("LF alone at the end", b"3\r\nabc\r\n0\r\n\n"),
    _chunks("trailer", b"3\r\nabc\r\n0\r\nX: 1\r\n\r\n", relayed(reused=False), f"{CHUNK}.2"),
    _chunks("Content-Length in the trailers", b"3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n", source=f"{CHUNK}.2"),
    _chunks("Transfer-Encoding in the trailers", b"3\r\nabc\r\n0\r\nTransfer-Encoding: x\r\n\r\n", source=f"{CHUNK}.2"),
    _chunks("folded trailer", b"3\r\nabc\r\n0\r\nX: 1\r\n 2\r\n\r\n", source=f"{CHUNK}.2"),
    _chunks("endless trailers", b"3\r\nabc\r\n0\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", source=f"{CHUNK}.2"),
    _chunks("a thousand of one byte", b"1\r\na\r\n" * 1000 + b"0\r\n\r\n", relayed(b"a" * 1000, reused=False)),
)

BODILESS_RESPONSES = (
    ResponseCase("204", BODILESS, response(b"HTTP/1.1 204 No Content"), relayed(b"", 204)),
    ResponseCase(
        "204 with a length of zero",
        "RFC 9110 §8.6, forbidden",
        response(b"HTTP/1.1 204 No Content", b"Content-Length: 0"),
        relayed(b"", 204, lacks=(b"content-length",)),
    ),
    ResponseCase(
        "204 with a length and a body",
        BODILESS,
        response(b"HTTP/1.1 204 No Content", THREE, body=b"abc"),
        relayed(b"", 204, reused=False, lacks=(b"content-length",)),
    ),
    ResponseCase(
        "204 with chunks",
        BODILESS,
        response(b"HTTP/1.1 204 No Content", CHUNKED, body=CHUNKS),
        relayed(b"", 204, reused=False, lacks=(b"transfer-encoding",)),
    ),
    ResponseCase(
        "304 with a length",
        BODILESS,
        response(b"HTTP/1.1 304 Not Modified", THREE),
        relayed(b"", 304, carries=((b"content-length", (b"3",)),)),
    ),
    ResponseCase(
        "304 with a length and a body",
        BODILESS,
        response(b"HTTP/1.1 304 Not Modified", THREE, body=b"abc"),
        relayed(b"", 304, reused=False),
    ),
    ResponseCase("304 with a coding", BODILESS, response(b"HTTP/1.1 304 Not Modified", CHUNKED), relayed(b"", 304)),
    ResponseCase(
        "304 with a whole response behind",
        BODILESS,
        response(b"HTTP/1.1 304 Not Modified") + response(OK, b"Content-Length: 4", body=b"evil"),
        relayed(b"", 304, reused=False),
    ),
    ResponseCase(
        "205 with a body",
        "RFC 9110 §15.3.6",
        response(b"HTTP/1.1 205 Reset Content", THREE, body=b"abc"),
        relayed(status=205),
    ),
    ResponseCase(
        "HEAD with a length",
        BODILESS,
        response(OK, THREE),
        relayed(b"", carries=((b"content-length", (b"3",)),)),
        method=b"HEAD",
    ),
    ResponseCase("HEAD with a coding", BODILESS, response(OK, CHUNKED), relayed(b""), method=b"HEAD"),
    ResponseCase("HEAD without framing", BODILESS, response(OK), relayed(b""), method=b"HEAD"),
    ResponseCase(
        "HEAD with a body",
        f"{BODILESS}; HEAD techniques, Kettle 2022",
        response(OK, THREE, body=b"abc"),
        relayed(b"", reused=False),
        method=b"HEAD",
    ),
    ResponseCase(
        "HEAD with a chunked body",
        f"{BODILESS}; HEAD techniques, Kettle 2022",
        response(OK, CHUNKED, body=CHUNKS),
        relayed(b"", reused=False),
        method=b"HEAD",
    ),
    ResponseCase(
        "HEAD with another response behind",
        f"{BODILESS}; response queue poisoning, Kettle 2021",
        response(OK, THREE) + response(OK, b"Content-Length: 4", body=b"evil"),
        relayed(b"", reused=False),
        method=b"HEAD",
    ),
)
