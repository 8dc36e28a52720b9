"""Status lines and fields of responses that readers take differently."""

from __future__ import annotations

from tests.robustness.response_case import ExpectedResponse, ResponseCase, refused, relayed, response

OK = b"HTTP/1.1 200 OK"
THREE = b"Content-Length: 3"
LINE = "RFC 9112 §4"
FIELD = "RFC 9112 §5"


def _line(name: str, line: bytes, expected: ExpectedResponse | None = None, source: str = LINE) -> ResponseCase:
    return ResponseCase(f"status line: {name}", source, response(line, THREE, body=b"abc"), expected or refused())


def _field(name: str, line: bytes, expected: ExpectedResponse | None = None, source: str = FIELD) -> ResponseCase:
    return ResponseCase(f"field: {name}", source, response(OK, line, THREE, body=b"abc"), expected or refused())


STATUS_LINES = (
    _line("without a phrase", b"HTTP/1.1 200 ", relayed()),
    _line("without a phrase and its space", b"HTTP/1.1 200", relayed(), f"{LINE}, as many send it"),
    _line("phrase of obs-text", b"HTTP/1.1 200 Gef\xe4llt", relayed()),
    _line("phrase with a tab", b"HTTP/1.1 200 A\tB", relayed()),
    _line("unknown status", b"HTTP/1.1 299 X", relayed(status=299), "RFC 9110 §15"),
    _line("status 599", b"HTTP/1.1 599 X", relayed(status=599), "RFC 9110 §15"),
    _line("two spaces", b"HTTP/1.1  200 OK"),
    _line("tab before the status", b"HTTP/1.1\t200 OK"),
    _line("tab after the status", b"HTTP/1.1 200\tOK"),
    _line("status of two digits", b"HTTP/1.1 20 OK"),
    _line("status of four digits", b"HTTP/1.1 2000 OK"),
    _line("status 099", b"HTTP/1.1 099 OK"),
    _line("status 000", b"HTTP/1.1 000 OK"),
    _line("signed status", b"HTTP/1.1 +20 OK"),
    _line("negative status", b"HTTP/1.1 -20 OK"),
    _line("status of letters", b"HTTP/1.1 abc OK"),
    _line("no space after the status", b"HTTP/1.1 200OK"),
    _line("no status", b"HTTP/1.1"),
    _line("space before", b" HTTP/1.1 200 OK"),
    _line("HTTP/1.2", b"HTTP/1.2 200 OK", source="RFC 9112 §2.3"),
    _line("HTTP/2", b"HTTP/2 200 OK", source="RFC 9112 §2.3"),
    _line("HTTP/2.0", b"HTTP/2.0 200 OK", source="RFC 9112 §2.3"),
    _line("HTTP/0.9", b"HTTP/0.9 200 OK", source="RFC 9112 §2.3"),
    _line("HTTP/1.10", b"HTTP/1.10 200 OK", source="RFC 9112 §2.3"),
    _line("lower case", b"http/1.1 200 OK", source="RFC 9112 §2.3"),
    _line("ICY", b"ICY 200 OK", source="Shoutcast"),
    _line("none", b"200 OK"),
    _line("NUL in the phrase", b"HTTP/1.1 200 O\x00K"),
    _line("bare CR in the phrase", b"HTTP/1.1 200 O\rK"),
    _line("bare CR before the end", b"HTTP/1.1 200 OK\r", source="RFC 9112 §2.2"),
    _line("LF alone", b"HTTP/1.1 200 OK\nX: 1", source="RFC 9112 §2.2"),
    _line("a body without a head", b"<html>evil</html>", source="HTTP/0.9"),
    ResponseCase("empty line before", LINE, b"\r\n" + response(OK, THREE, body=b"abc"), refused()),
    ResponseCase(
        "every line ends in LF alone", "RFC 9112 §2.2", b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc", refused()
    ),
)

FIELDS = (
    _field("folded", b"X: 1\r\n 2", source="RFC 9112 §5.2 obs-fold"),
    _field("folded with a tab", b"X: 1\r\n\t2", source="RFC 9112 §5.2 obs-fold"),
    _field("folded framing", b"X: 1\r\n Transfer-Encoding: chunked", source="RFC 9112 §5.2 obs-fold"),
    _field("space before the first one", b" X: 1", source="RFC 9112 §2.2"),
    _field("space before the colon", b"X : 1", source="RFC 9112 §5.1"),
    _field("tab before the colon", b"X\t: 1", source="RFC 9112 §5.1"),
    _field("space within the name", b"X Y: 1", source="RFC 9112 §5.1"),
    _field("empty name", b": 1", source="RFC 9112 §5.1"),
    _field("no colon", b"X", source="RFC 9112 §5.1"),
    _field("NUL in the name", b"X\x00: 1", source="RFC 9112 §5.1"),
    _field("NUL in the value", b"X: a\x00b", source="RFC 9110 §5.5"),
    _field("DEL in the value", b"X: a\x7fb", source="RFC 9110 §5.5"),
    _field("escape character in the value", b"X: \x1b[2J", source="RFC 9110 §5.5"),
    _field("bare CR in the value", b"X: a\rSet-Cookie: evil", source="RFC 9112 §2.2"),
    _field("bare LF in the value", b"X: a\nSet-Cookie: evil", source="RFC 9112 §2.2"),
    _field("empty line of LF alone", b"X: a\n\nevil", source="RFC 9112 §2.2"),
    _field("obs-text", b"X: \xe4\xff", relayed(carries=((b"x", (b"\xe4\xff",)),)), "RFC 9110 §5.5"),
    _field("empty value", b"X:", relayed(carries=((b"x", (b"",)),)), "RFC 9110 §5.5"),
    _field("101 lines", b"\r\n".join([b"X: 1"] * 101), source="RFC 9110 §5.4, a limit has to be set"),
    _field("a line of 60,000 bytes", b"X: " + b"x" * 60_000, relayed(), "RFC 9110 §5.4"),
    _field("a line of 70,000 bytes", b"X: " + b"x" * 70_000, source="RFC 9110 §5.4, a limit has to be set"),
    _field("without end", b"X: " + b"x" * 1_000_000, source="RFC 9110 §5.4, a limit has to be set"),
    _field(
        "Set-Cookie three times",
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2; Expires=Wed, 21 Oct 2015 07:28:00 GMT\r\nset-cookie: c=3",
        relayed(carries=((b"set-cookie", (b"a=1", b"b=2; Expires=Wed, 21 Oct 2015 07:28:00 GMT", b"c=3")),)),
        "RFC 9110 §5.3, never joined",
    ),
    _field("named by Connection", b"Connection: X\r\nX: 1", relayed(lacks=(b"x",)), "RFC 9110 §7.6.1"),
    _field(
        "Set-Cookie named by Connection",
        b"Connection: Set-Cookie\r\nSet-Cookie: a=1",
        relayed(lacks=(b"set-cookie",)),
        "RFC 9110 §7.6.1",
    ),
    _field(
        "Content-Length named by Connection",
        b"Connection: Content-Length",
        relayed(carries=((b"content-length", (b"3",)),)),
        "RFC 9110 §7.6.1",
    ),
    _field(
        "hop-by-hop",
        b"Keep-Alive: timeout=9\r\nProxy-Connection: close\r\nUpgrade: h2c\r\nTrailer: X",
        relayed(lacks=(b"keep-alive", b"proxy-connection", b"upgrade")),
        "RFC 9110 §7.6.1",
    ),
)
