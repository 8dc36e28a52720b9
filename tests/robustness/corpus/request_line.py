"""Request lines: methods, targets and versions."""

from __future__ import annotations

from tests.robustness.case import Case, Expected, answered, forwarded, forwarded_and_closed, refused, request
from tests.robustness.message import Message

LINE = "RFC 9112 §3"
TARGET = "RFC 9112 §3.2"
VERSION = "RFC 9112 §2.3"


def _line(name: str, line: bytes, expected: Expected | None = None, source: str = LINE) -> Case:
    return Case(name, source, request(line), expected or refused())


def _target(name: str, target: bytes, expected: Expected | None = None, source: str = TARGET) -> Case:
    """A target that is passed on as it came, unless something else is *expected*."""
    return _line(f"target: {name}", b"GET " + target + b" HTTP/1.1", expected or _seen(target), source)


def _seen(target: bytes, host: bytes = b"a.test", method: bytes = b"GET") -> Expected:
    return forwarded(Message(method, target, host))


def _method(name: str, method: bytes, expected: Expected | None = None, source: str = "RFC 9110 §9.1") -> Case:
    return _line(f"method: {name}", method + b" / HTTP/1.1", expected or _seen(b"/", method=method), source)


CASES = (
    # white space and line ends
    _line("two spaces before the target", b"GET  / HTTP/1.1"),
    _line("two spaces after the target", b"GET /  HTTP/1.1"),
    _line("tab before the target", b"GET\t/ HTTP/1.1"),
    _line("tab after the target", b"GET /\tHTTP/1.1"),
    _line("vertical tab after the target", b"GET /\x0bHTTP/1.1"),
    _line("bare CR after the target", b"GET /\rHTTP/1.1"),
    _line("no-break space after the target", b"GET /\xa0HTTP/1.1"),
    _line("space before the method", b" GET / HTTP/1.1"),
    _line("space after the version", b"GET / HTTP/1.1 "),
    _line("tab after the version", b"GET / HTTP/1.1\t"),
    _line("a word after the version", b"GET / HTTP/1.1 HTTP/1.0"),
    _line("bare CR after the version", b"GET / HTTP/1.1\r"),
    _line("NUL after the version", b"GET / HTTP/1.1\x00"),
    _line("no target", b"GET HTTP/1.1"),
    _line("no target but its spaces", b"GET  HTTP/1.1"),
    _line("no spaces", b"GET/HTTP/1.1"),
    _line("a space in the target", b"GET /a b HTTP/1.1"),
    _line("a version in the target", b"GET / HTTP/1.1 /evil HTTP/1.1", source=f"{LINE}; Linhart et al. 2005"),
    _line("LF alone", b"GET / HTTP/1.1\nHost: evil.test\r\nX: 1", source="RFC 9112 §2.2"),
    Case("an empty line before", "RFC 9112 §2.2", b"\r\n" + request(b"GET / HTTP/1.1"), _seen(b"/")),
    Case("two empty lines before", "RFC 9112 §2.2", b"\r\n\r\n" + request(b"GET / HTTP/1.1"), refused()),
    Case("an LF before", "RFC 9112 §2.2", b"\n" + request(b"GET / HTTP/1.1"), refused()),
    Case("a CR before", "RFC 9112 §2.2", b"\r" + request(b"GET / HTTP/1.1"), refused()),
    Case("a NUL before", "RFC 9112 §3", b"\x00" + request(b"GET / HTTP/1.1"), refused()),
    Case("a byte order mark before", "RFC 9112 §3", b"\xef\xbb\xbf" + request(b"GET / HTTP/1.1"), refused()),
    Case("an empty line of white space before", "RFC 9112 §2.2", b" \r\n" + request(b"GET / HTTP/1.1"), refused()),
    Case("every line ends in LF alone", "RFC 9112 §2.2", b"GET / HTTP/1.1\nHost: a.test\n\n", refused()),
    Case("the last line ends in LF alone", "RFC 9112 §2.2", b"GET / HTTP/1.1\r\nHost: a.test\r\n\n", refused()),
    Case("the empty line is CR CR LF", "RFC 9112 §2.2", b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\r\n\r\n", refused()),
    Case("TLS", "no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", refused()),
    Case("HTTP/0.9", "HTTP/0.9, RFC 9112 appendix A", b"GET /\r\n", refused()),
    Case("HTTP/0.9 with fields", "HTTP/0.9, RFC 9112 appendix A", b"GET /\r\nHost: a.test\r\n\r\n", refused()),
    Case("HTTP/2 preface", "RFC 9113 §3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), refused(505)),
    Case(
        "PROXY protocol",
        "no HTTP at all",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n" + request(b"GET / HTTP/1.1"),
        refused(),
    ),
    # versions
    _line("HTTP/1.2", b"GET / HTTP/1.2", refused(505), VERSION),
    _line("HTTP/1.9", b"GET / HTTP/1.9", refused(505), VERSION),
    _line("HTTP/2.0", b"GET / HTTP/2.0", refused(505), VERSION),
    _line("HTTP/0.9 in words", b"GET / HTTP/0.9", refused(505), VERSION),
    _line("HTTP/3.1", b"GET / HTTP/3.1", refused(505), VERSION),
    _line("HTTP/1.10", b"GET / HTTP/1.10", source=VERSION),
    _line("HTTP/01.1", b"GET / HTTP/01.1", source=VERSION),
    _line("HTTP/11.1", b"GET / HTTP/11.1", source=VERSION),
    _line("HTTP/1", b"GET / HTTP/1", source=VERSION),
    _line("HTTP/1.", b"GET / HTTP/1.", source=VERSION),
    _line("HTTP/", b"GET / HTTP/", source=VERSION),
    _line("HTTP/1,1", b"GET / HTTP/1,1", source=VERSION),
    _line("HTTP/+1.1", b"GET / HTTP/+1.1", source=VERSION),
    _line("HTTP/-1.1", b"GET / HTTP/-1.1", source=VERSION),
    _line("HTTP/1.x", b"GET / HTTP/1.x", source=VERSION),
    _line("HTTP /1.1", b"GET / HTTP /1.1", source=VERSION),
    _line("HTTP/ 1.1", b"GET / HTTP/ 1.1", source=VERSION),
    _line("http/1.1", b"GET / http/1.1", source=VERSION),
    _line("HTTPS/1.1", b"GET / HTTPS/1.1", source=VERSION),
    _line("RTSP/1.0", b"GET / RTSP/1.0", source=VERSION),
    _line("superscript", b"GET / HTTP/1.\xb9", source=VERSION),
    _line("HTTP/1.0", b"GET / HTTP/1.0", forwarded_and_closed(Message(b"GET", b"/")), VERSION),
    # methods
    _method("lower case", b"get"),
    _method("unknown", b"BREW"),
    _method("with a hyphen", b"VERSION-CONTROL"),
    _method("every character of a token", b"!#$%&'*+-.^_`|~09AZaz"),
    _method("PRI", b"PRI", source="RFC 9113 §3.4; only with HTTP/2.0 it is the preface"),
    _method("a thousand letters", b"A" * 1000, source="a limit of the whole line alone"),
    _method("nine thousand letters", b"A" * 9000, refused(414), "RFC 9112 §3"),
    _method("empty", b"", refused()),
    _method("with a colon", b"GET:", refused()),
    _method("in quotes", b'"GET"', refused()),
    _method("with a NUL", b"GE\x00T", refused()),
    _method("beyond ASCII", b"G\xc3\x89T", refused()),
    _method("with a slash", b"GET/", refused()),
    _method("TRACE", b"TRACE"),
    _line("method: CONNECT", b"CONNECT evil.test:443 HTTP/1.1", refused(501), "RFC 9110 §9.3.6"),
    _line("method: CONNECT with a path", b"CONNECT / HTTP/1.1", refused(501), "RFC 9110 §9.3.6"),
    _line("method: connect in lower case", b"connect / HTTP/1.1", _seen(b"/", method=b"connect"), "RFC 9110 §9.1"),
    # forms of targets
    _target("absolute form", b"http://a.test/x?y", _seen(b"/x?y"), "RFC 9112 §3.2.2"),
    _target(
        "absolute form of another host",
        b"http://b.test/x",
        _seen(b"/x", b"b.test"),
        "RFC 9112 §3.2.2, it replaces Host; Chen et al. 2016",
    ),
    _target("absolute form with a port", b"http://b.test:81/", _seen(b"/", b"b.test:81"), "RFC 9112 §3.2.2"),
    _target("absolute form of https", b"https://b.test/", _seen(b"/", b"b.test"), "RFC 9112 §3.2.2"),
    _target("absolute form in upper case", b"HTTP://B.TEST/", _seen(b"/", b"B.TEST"), "RFC 3986 §3.1"),
    _target("absolute form without a path", b"http://b.test", _seen(b"/", b"b.test"), "RFC 9112 §3.2.1"),
    _target("absolute form with a query alone", b"http://b.test?x", _seen(b"/?x", b"b.test"), "RFC 9112 §3.2.1"),
    _target("absolute form with a double path", b"http://b.test//x", _seen(b"//x", b"b.test"), "RFC 9112 §3.2.2"),
    _target("absolute form within the path", b"/http://b.test/"),
    _target("absolute form within the query", b"/?http://b.test/"),
    _target("absolute form without a host", b"http:///x", refused(), "RFC 9110 §4.2.1"),
    _target("absolute form with user information", b"http://evil.test@a.test/", refused(), "RFC 9110 §4.2.4"),
    _target("absolute form with a password", b"http://a:b@a.test/", refused(), "RFC 9110 §4.2.4"),
    _target("absolute form with a backslash", b"http://a.test\\@evil.test/", refused(), "RFC 3986 §3.2"),
    _target("absolute form with a fragment", b"http://a.test/#x", refused(), "RFC 9110 §7.1"),
    _target("absolute form with one slash", b"http:/a.test/", refused(), "RFC 9110 §4.2.1"),
    _target("absolute form of ftp", b"ftp://a.test/", refused(), "no scheme that we serve"),
    _target("absolute form of file", b"file:///etc/passwd", refused(), "no scheme that we serve"),
    _target("absolute form of javascript", b"javascript://a.test/%0aalert(1)", refused(), "no scheme that we serve"),
    _target("absolute form with a bad port", b"http://a.test:x/", refused(), "RFC 9110 §7.2"),
    Case(
        "target: absolute form without Host",
        "RFC 9112 §3.2",
        request(b"GET http://a.test/ HTTP/1.1", host=None),
        refused(),
    ),
    Case(
        "target: absolute form with a bad Host",
        "RFC 9112 §3.2",
        request(b"GET http://a.test/ HTTP/1.1", host=b"Host: a/b"),
        refused(),
    ),
    Case(
        "target: absolute form with two Hosts",
        "RFC 9112 §3.2",
        request(b"GET http://a.test/ HTTP/1.1", b"Host: b.test"),
        refused(),
    ),
    Case(
        "target: absolute form in HTTP/1.0 without Host",
        "RFC 9112 §3.2.2",
        request(b"GET http://b.test/x HTTP/1.0", host=None),
        forwarded_and_closed(Message(b"GET", b"/x", b"b.test")),
    ),
    _target("authority form", b"a.test:80", refused(), "RFC 9112 §3.2.3, for CONNECT alone"),
    _target("a name", b"a.test", refused()),
    _target("asterisk without OPTIONS", b"*", refused(), "RFC 9112 §3.2.4"),
    _target("asterisk and more", b"*/x", refused(), "RFC 9112 §3.2.4"),
    _line("target: asterisk", b"OPTIONS * HTTP/1.1", answered(404), "RFC 9112 §3.2.4; no route has it"),
    _line(
        "target: asterisk in absolute form",
        b"OPTIONS http://b.test HTTP/1.1",
        answered(404),
        "RFC 9112 §3.2.4; no route has it",
    ),
    _target("question mark alone", b"?x", refused()),
    _target("no slash", b"x/y", refused()),
    _target("backslash for the slash", b"\\x", refused()),
    _target("scheme-relative", b"//evil.test/x"),
    _target("three slashes", b"///x"),
    _target("colon and port", b"/:80"),
    _target("at sign", b"/@evil.test"),
    _target("fragment", b"/x#y", refused(), "RFC 9110 §7.1"),
    _target("fragment in the query", b"/?x#y", refused(), "RFC 9110 §7.1"),
    _target("encoded fragment", b"/x%23y"),
    # what routes may read differently
    _target("backslash", b"/a\\..\\b"),
    _target("dot segments", b"/a/../b"),
    _target("dot segments beyond the root", b"/../../etc/passwd"),
    _target("encoded dots", b"/%2e%2e/etc/passwd"),
    _target("doubly encoded dots", b"/%252e%252e/etc/passwd"),
    _target("encoded slash", b"/a%2f..%2fb"),
    _target("encoded backslash", b"/a%5c..%5cb"),
    _target("path parameter", b"/a/..;/b"),
    _target("encoded NUL", b"/a%00b"),
    _target("encoded line end", b"/a%0d%0aX:%201"),
    _target("encoded space", b"/a%20HTTP/1.1"),
    _target("overlong encoding", b"/%c0%ae%c0%ae/"),
    _target("encoding of nothing", b"/%"),
    _target("half an encoding", b"/%4"),
    _target("encoding that is none", b"/%zz"),
    _target("encoding of Microsoft", b"/%u0041"),
    _target("what RFC 3986 does not allow", b'/"<>^`{|}[]'),
    _target("8,000 bytes", b"/" + b"a" * 7999, source="RFC 9112 §3"),
    _target("9,000 bytes", b"/" + b"a" * 8999, refused(414), "RFC 9112 §3"),
    _target("70,000 bytes", b"/" + b"a" * 69_999, refused(414), "RFC 9112 §3"),
    _target("NUL", b"/\x00", refused()),
    _target("DEL", b"/\x7f", refused()),
    _target("control character", b"/\x01", refused()),
    _target("UTF-8", b"/\xc3\xa9", refused()),
    _target("Latin-1", b"/\xe9", refused()),
    _target("character that loses its upper byte", b"/\xc4\x8a", refused(), "becomes LF as U+010A cut to a byte"),
)
