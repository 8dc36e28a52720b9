"""Requests behind one another on one connection."""

from __future__ import annotations

from tests.robustness.case import (
    SMUGGLED,
    Case,
    Expected,
    forwarded,
    forwarded_and_closed,
    refused,
    request,
    unfinished,
)
from tests.robustness.message import Message

RULE = "RFC 9112 §9.3"
ORDER = "RFC 9112 §9.3.2"
FIRST = Message(b"GET", b"/1")
SECOND = Message(b"GET", b"/smuggled", b"evil.test")
GET = b"GET /1 HTTP/1.1"


def _then(name: str, rest: bytes, expected: Expected, source: str = ORDER) -> Case:
    return Case(name, source, request(GET) + rest, expected)


CASES = (
    _then("two requests", SMUGGLED, forwarded(FIRST, SECOND)),
    _then("ten requests", SMUGGLED * 9, forwarded(FIRST, *[SECOND] * 9)),
    _then("an empty line between", b"\r\n" + SMUGGLED, forwarded(FIRST, SECOND), "RFC 9112 §2.2"),
    _then("two empty lines between", b"\r\n\r\n" + SMUGGLED, refused(after=(FIRST,)), "RFC 9112 §2.2"),
    _then("an LF between", b"\n" + SMUGGLED, refused(after=(FIRST,)), "RFC 9112 §2.2"),
    _then("a space between", b" " + SMUGGLED, refused(after=(FIRST,)), "RFC 9112 §3"),
    _then("a NUL between", b"\x00" + SMUGGLED, refused(after=(FIRST,)), "RFC 9112 §3"),
    _then("a letter between", b"X" + SMUGGLED, forwarded(FIRST, Message(b"XGET", b"/smuggled", b"evil.test"))),
    _then("an empty line at the end", b"\r\n", forwarded(FIRST), "RFC 9112 §2.2"),
    _then("nothing that is HTTP behind", b"\x16\x03\x01\r\n\r\n", refused(after=(FIRST,))),
    _then("half a request line behind", b"GET /sm", unfinished(FIRST)),
    _then("half a head behind", SMUGGLED[:-2], unfinished(FIRST)),
    _then(
        "half a body behind",
        request(b"POST /2 HTTP/1.1", b"Content-Length: 9", body=b"abc"),
        unfinished(FIRST),
        "RFC 9112 §8; the client has closed its half before the first answer",
    ),
    _then(
        "half a chunk behind",
        request(b"POST /2 HTTP/1.1", b"Transfer-Encoding: chunked", body=b"9\r\nabc"),
        unfinished(FIRST),
        "RFC 9112 §8; the client has closed its half before the first answer",
    ),
    _then("a bad request behind", request(b"GET / HTTP/1.1", b"X : 1") + SMUGGLED, refused(after=(FIRST,))),
    _then("a bad request between two good ones", request(b"GET / HTTP/9.9") + SMUGGLED, refused(505, after=(FIRST,))),
    _then(
        "smuggling behind a good request",
        request(b"POST / HTTP/1.1", b"Content-Length: 5", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n") + SMUGGLED,
        refused(after=(FIRST,)),
    ),
    _then(
        "a broken chunk behind a good request",
        request(b"POST / HTTP/1.1", b"Transfer-Encoding: chunked", body=b"x\r\n") + SMUGGLED,
        Expected((FIRST,), 400, begun=True, goes_on=False),
    ),
    Case(
        "POST, GET, POST",
        ORDER,
        request(b"POST /a HTTP/1.1", b"Content-Length: 3", body=b"abc")
        + request(b"GET /b HTTP/1.1")
        + request(b"POST /c HTTP/1.1", b"Transfer-Encoding: chunked", body=b"3\r\nxyz\r\n0\r\n\r\n"),
        forwarded(
            Message(b"POST", b"/a", content=b"abc"), Message(b"GET", b"/b"), Message(b"POST", b"/c", content=b"xyz")
        ),
    ),
    Case(
        "bodies that look like requests",
        ORDER,
        request(b"POST /a HTTP/1.1", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED) + SMUGGLED,
        forwarded(Message(b"POST", b"/a", content=SMUGGLED), SECOND),
    ),
    Case(
        "a second request of another host",
        f"{RULE}; connection state attacks, Kettle 2022",
        request(GET) + request(b"GET /2 HTTP/1.1", host=b"Host: internal.test"),
        forwarded(FIRST, Message(b"GET", b"/2", b"internal.test")),
    ),
    Case("close", "RFC 9112 §9.6", request(GET, b"Connection: close") + SMUGGLED, forwarded_and_closed(FIRST)),
    Case(
        "Close in another case",
        "RFC 9112 §9.6",
        request(GET, b"Connection: CLOSE") + SMUGGLED,
        forwarded_and_closed(FIRST),
    ),
    Case(
        "close among others",
        "RFC 9112 §9.6",
        request(GET, b"Connection: keep-alive, x, close") + SMUGGLED,
        forwarded_and_closed(FIRST),
    ),
    Case(
        "close in a second field",
        "RFC 9112 §9.6",
        request(GET, b"Connection: keep-alive", b"Connection: close") + SMUGGLED,
        forwarded_and_closed(FIRST),
    ),
    Case(
        "Proxy-Connection: close",
        "RFC 9112 §C.2.2",
        request(GET, b"Proxy-Connection: close") + SMUGGLED,
        forwarded(FIRST, SECOND),
    ),
    Case(
        "close with a body",
        "RFC 9112 §9.6",
        request(b"POST /1 HTTP/1.1", b"Connection: close", b"Content-Length: 3", body=b"abc") + SMUGGLED,
        forwarded_and_closed(Message(b"POST", b"/1", content=b"abc")),
    ),
    Case("HTTP/1.0", RULE, request(b"GET /1 HTTP/1.0") + SMUGGLED, forwarded_and_closed(FIRST)),
    Case(
        "HTTP/1.0 with keep-alive",
        f"{RULE}, §C.2.2",
        request(b"GET /1 HTTP/1.0", b"Connection: Keep-Alive") + SMUGGLED,
        forwarded(FIRST, SECOND),
    ),
    Case(
        "HTTP/1.0 with keep-alive and close",
        RULE,
        request(b"GET /1 HTTP/1.0", b"Connection: keep-alive, close") + SMUGGLED,
        forwarded_and_closed(FIRST),
    ),
    Case(
        "HTTP/1.0 with Keep-Alive but not in Connection",
        RULE,
        request(b"GET /1 HTTP/1.0", b"Keep-Alive: timeout=5") + SMUGGLED,
        forwarded_and_closed(FIRST),
    ),
    Case(
        "HTTP/1.0 with a length and keep-alive",
        f"{RULE}, §C.2.2",
        request(b"POST /1 HTTP/1.0", b"Connection: keep-alive", b"Content-Length: 3", body=b"abc") + SMUGGLED,
        forwarded(Message(b"POST", b"/1", content=b"abc"), SECOND),
    ),
    Case(
        "HTTP/1.0 with a body and no length",
        "RFC 9112 §6.3 rule 7",
        request(b"POST /1 HTTP/1.0", body=b"abc"),
        forwarded_and_closed(Message(b"POST", b"/1")),
    ),
    Case(
        "HTTP/1.1 with keep-alive", RULE, request(GET, b"Connection: keep-alive") + SMUGGLED, forwarded(FIRST, SECOND)
    ),
)
