"""Expect, Upgrade, bodies where none are usual, and answers that come early."""

from __future__ import annotations

from tests.robustness.case import (
    SMUGGLED,
    Answering,
    Case,
    Expected,
    forwarded,
    forwarded_and_closed,
    refused,
    request,
    unfinished,
)
from tests.robustness.message import Message

POST = b"POST / HTTP/1.1"
GET = b"GET / HTTP/1.1"
FIVE = b"Content-Length: 5"
SEEN = Message(b"POST", b"/", content=b"abcde")
SECOND = Message(b"GET", b"/smuggled", b"evil.test")
EXPECT = "RFC 9110 §10.1.1; Kettle 2025"
UPGRADE = "RFC 9110 §7.8"
H2C = f"{UPGRADE}; h2c smuggling, Miller 2020"
WEBSOCKET = f"{UPGRADE}; WebSocket smuggling, Egorov 2019"
CL0 = "RFC 9112 §6.3 rule 6; CL.0, Kettle 2022"
EARLY = "RFC 9112 §9.3, §9.6; client-side and early-response desync, Kettle 2022 and 2025"


def _expect(name: str, value: bytes, expected: Expected | None = None) -> Case:
    data = request(POST, b"Expect:" + value, FIVE, body=b"abcde")
    return Case(f"Expect: {name}", EXPECT, data, expected or refused(417))


def _upgrade(name: str, *fields: bytes, expected: Expected, source: str = UPGRADE, body: bytes = b"") -> Case:
    return Case(f"Upgrade: {name}", source, request(GET, *fields, body=body), expected)


def _with_body(method: bytes, target: bytes = b"/") -> tuple[Case, Case]:
    """The method with a body in each framing; what is in the body is no request."""
    length, chunks = b"Content-Length: %d" % len(SMUGGLED), b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)
    expected = forwarded(Message(method, target, content=SMUGGLED))
    line = method + b" " + target + b" HTTP/1.1"
    return (
        Case(
            f"{method.decode()} with a body of a length",
            f"RFC 9110 §9.3; {CL0}",
            request(line, length, body=SMUGGLED),
            expected,
        ),
        Case(
            f"{method.decode()} with a chunked body",
            "RFC 9110 §9.3; TE.0, Arnolfo, Pinnola and Leone 2024",
            request(line, b"Transfer-Encoding: chunked", body=chunks),
            expected,
        ),
    )


CASES = (
    # Expect
    _expect("with its body", b" 100-continue", forwarded(SEEN).carrying((b"expect", b"100-continue"))),
    _expect("in another case", b" 100-Continue", forwarded(SEEN).carrying((b"expect", b"100-continue"))),
    _expect("a word before", b" y 100-continue"),
    _expect("a word behind", b" 100-continue y"),
    _expect("a list", b" 100-continue, x"),
    _expect("twice in a list", b" 100-continue, 100-continue"),
    _expect("a parameter", b" 100-continue;x=y"),
    _expect("empty", b""),
    _expect("another one", b" 200-ok"),
    _expect("folded", b"\r\n 100-continue", refused()),
    _expect("with a control character", b" 100-continue\x0b", refused()),
    Case(
        "Expect: another, then the known one",
        EXPECT,
        request(POST, b"Expect: x", b"Expect: 100-continue", FIVE, body=b"abcde"),
        refused(417),
    ),
    Case(
        "Expect: twice",
        EXPECT,
        request(POST, b"Expect: 100-continue", b"Expect: 100-continue", FIVE, body=b"abcde"),
        forwarded(SEEN).carrying((b"expect", b"100-continue")),
    ),
    Case(
        "Expect: no body",
        EXPECT,
        request(GET, b"Expect: 100-continue", body=SMUGGLED),
        forwarded(Message(b"GET", b"/"), SECOND).lacking(b"expect"),
    ),
    Case(
        "Expect: a length of zero",
        EXPECT,
        request(POST, b"Expect: 100-continue", b"Content-Length: 0", body=SMUGGLED),
        forwarded(Message(b"POST", b"/"), SECOND).lacking(b"expect"),
    ),
    Case(
        "Expect: HTTP/1.0",
        "RFC 9110 §10.1.1",
        request(b"POST / HTTP/1.0", b"Expect: 100-continue", FIVE, body=b"abcde"),
        forwarded_and_closed(SEEN).lacking(b"expect"),
    ),
    Case(
        "Expect: chunked",
        EXPECT,
        request(POST, b"Expect: 100-continue", b"Transfer-Encoding: chunked", body=b"5\r\nabcde\r\n0\r\n\r\n"),
        forwarded(SEEN),
    ),
    Case("Expect: the body never comes", EXPECT, request(POST, b"Expect: 100-continue", FIVE), unfinished()),
    Case(
        "Expect: a request in place of the body",
        f"{EXPECT}; 0.CL",
        request(POST, b"Expect: 100-continue", b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        forwarded(Message(b"POST", b"/", content=SMUGGLED)),
    ),
    # Upgrade
    _upgrade(
        "h2c",
        b"Connection: Upgrade, HTTP2-Settings",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAAP__",
        source=H2C,
        expected=forwarded(Message(b"GET", b"/")).lacking(b"upgrade", b"connection", b"http2-settings"),
    ),
    _upgrade(
        "h2c without Connection",
        b"Upgrade: h2c",
        b"HTTP2-Settings: AAMAAABkAAQAAP__",
        source=H2C,
        expected=forwarded(Message(b"GET", b"/")).lacking(b"upgrade", b"http2-settings"),
    ),
    _upgrade(
        "h2c and a preface behind",
        b"Connection: Upgrade",
        b"Upgrade: h2c",
        source=H2C,
        body=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        expected=refused(505, after=(Message(b"GET", b"/"),)),
    ),
    _upgrade(
        "h2c, websocket",
        b"Connection: Upgrade",
        b"Upgrade: h2c, websocket",
        source=H2C,
        expected=forwarded(Message(b"GET", b"/")).lacking(b"upgrade"),
    ),
    _upgrade(
        "h2c and websocket in two fields",
        b"Connection: Upgrade",
        b"Upgrade: h2c",
        b"Upgrade: websocket",
        source=H2C,
        expected=forwarded(Message(b"GET", b"/")).lacking(b"upgrade"),
    ),
    _upgrade(
        "HTTP/2.0",
        b"Connection: Upgrade",
        b"Upgrade: HTTP/2.0",
        source=H2C,
        expected=forwarded(Message(b"GET", b"/")).lacking(b"upgrade"),
    ),
    _upgrade(
        "TLS",
        b"Connection: Upgrade",
        b"Upgrade: TLS/1.2",
        source="RFC 2817",
        expected=forwarded(Message(b"GET", b"/")).lacking(b"upgrade"),
    ),
    _upgrade(
        "websocket that the backend does not take up",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 1337",
        source=WEBSOCKET,
        body=SMUGGLED,
        expected=forwarded(Message(b"GET", b"/"), SECOND),
    ),
    _upgrade(
        "websocket without Connection",
        b"Upgrade: websocket",
        source=WEBSOCKET,
        expected=forwarded(Message(b"GET", b"/")).lacking(b"upgrade", b"connection"),
    ),
    _upgrade(
        "websocket with a body",
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        FIVE,
        source=WEBSOCKET,
        body=b"abcde",
        expected=forwarded(Message(b"GET", b"/", content=b"abcde")).lacking(b"upgrade", b"connection"),
    ),
    Case(
        "Upgrade: websocket in HTTP/1.0",
        WEBSOCKET,
        request(b"GET / HTTP/1.0", b"Connection: Upgrade", b"Upgrade: websocket"),
        forwarded_and_closed(Message(b"GET", b"/")).lacking(b"upgrade", b"connection"),
    ),
    # bodies
    *_with_body(b"GET"),
    *_with_body(b"HEAD"),
    *_with_body(b"DELETE"),
    *_with_body(b"OPTIONS"),
    *_with_body(b"TRACE"),
    *_with_body(b"PATCH"),
    Case(
        "HEAD, then another request",
        "RFC 9112 §6.3 rule 1",
        request(b"HEAD / HTTP/1.1") + SMUGGLED,
        forwarded(Message(b"HEAD", b"/"), SECOND),
    ),
    # answers before the body
    Case(
        "CL.0: the backend answers at the head",
        CL0,
        request(POST, b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        forwarded(Message(b"POST", b"/", content=SMUGGLED)),
        Answering.AFTER_THE_HEAD,
    ),
    Case(
        "0.CL: a GET whose body hides a request",
        "RFC 9112 §6.3 rule 6; 0.CL, Kettle 2025",
        request(GET, b"Content-Length: %d" % len(SMUGGLED), body=SMUGGLED),
        forwarded(Message(b"GET", b"/", content=SMUGGLED)),
        Answering.AFTER_THE_HEAD,
    ),
    Case(
        "chunked: the backend answers at the head",
        EARLY,
        request(POST, b"Transfer-Encoding: chunked", body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED)),
        forwarded(Message(b"POST", b"/", content=SMUGGLED)),
        Answering.AFTER_THE_HEAD,
    ),
)
