"""Header lines, Host, and fields that Connection names."""

from __future__ import annotations

from tests.robustness.case import Case, Expected, forwarded, forwarded_and_closed, refused, request
from tests.robustness.message import Message

GET = b"GET / HTTP/1.1"
SEEN = Message(b"GET", b"/")
NAME = "RFC 9110 §5.1, RFC 9112 §5.1"
VALUE = "RFC 9110 §5.5"
HOST = "RFC 9112 §3.2"
NOMINATED = "RFC 9110 §7.6.1; Davison 2019"
PEER = b"127.0.0.1"


def _line(name: str, line: bytes, expected: Expected | None = None, source: str = NAME) -> Case:
    return Case(name, source, request(GET, line, b"Z: z"), expected or refused())


def _host(name: str, host: bytes | None, expected: Expected | None = None, source: str = HOST) -> Case:
    return Case(f"Host: {name}", source, request(GET, host=host), expected or refused())


def _named(name: str, *fields: bytes, expected: Expected, source: str = NOMINATED) -> Case:
    return Case(f"Connection names {name}", source, request(GET, *fields), expected)


def _to(host: bytes) -> Expected:
    return forwarded(Message(b"GET", b"/", host)).carrying((b"host", host))


CASES = (
    # names
    _line("space before the colon", b"X : 1"),
    _line("tab before the colon", b"X\t: 1"),
    _line("space within a name", b"X Y: 1"),
    _line("space before a name", b" X: 1", source="RFC 9112 §5.2 obs-fold"),
    _line("empty name", b": 1"),
    _line("colon alone", b":"),
    _line("no colon", b"X"),
    _line("no colon, but a value", b"X 1"),
    _line("NUL in a name", b"X\x00: 1"),
    _line("CR in a name", b"X\r: 1"),
    _line("DEL in a name", b"X\x7f: 1"),
    _line("byte above ASCII in a name", b"X\xe4: 1"),
    *(_line(f"{chr(c)} in a name", b"X%cY: 1" % c) for c in b'"(),/;<=>?@[\\]{}'),
    _line(
        "every character of a token",
        b"!#$%&'*+-.^_`|~09AZaz: 1",
        forwarded(SEEN).carrying((b"!#$%&'*+-.^_`|~09azaz", b"1")),
        "RFC 9110 §5.6.2",
    ),
    _line("a name of 8,000 bytes", b"x" * 8000 + b": 1", forwarded(SEEN), "a limit of the whole head alone"),
    _line("two colons", b"X:: 1", forwarded(SEEN).carrying((b"x", b": 1")), VALUE),
    # values
    _line("empty value", b"X:", forwarded(SEEN).carrying((b"x", b"")), VALUE),
    _line("white space alone", b"X: \t ", forwarded(SEEN).carrying((b"x", b"")), VALUE),
    _line("tab within a value", b"X: a\tb", forwarded(SEEN).carrying((b"x", b"a\tb")), VALUE),
    _line("obs-text", b"X: \x80\xe4\xff", forwarded(SEEN).carrying((b"x", b"\x80\xe4\xff")), VALUE),
    _line("NUL in a value", b"X: a\x00b", source=VALUE),
    _line("DEL in a value", b"X: a\x7fb", source=VALUE),
    _line("escape character in a value", b"X: \x1b[2J", source=VALUE),
    _line("vertical tab in a value", b"X: a\x0bb", source=VALUE),
    _line("bare CR in a value", b"X: a\rb", source="RFC 9112 §2.2"),
    _line("bare CR at the end of a value", b"X: a\r", source="RFC 9112 §2.2"),
    _line("bare LF in a value", b"X: a\nY: b", source="RFC 9112 §2.2"),
    _line("bare LF before a request", b"X: a\n\nGET /smuggled HTTP/1.1", source="RFC 9112 §2.2; Linhart et al. 2005"),
    _line("folded value", b"X: a\r\n b", source="RFC 9112 §5.2 obs-fold"),
    _line("folded value of nothing", b"X: a\r\n ", source="RFC 9112 §5.2 obs-fold"),
    _line("folded Host", b"X: a\r\n Host: evil.test", source="RFC 9112 §5.2 obs-fold"),
    _line("a line of 75,000 bytes", b"X: " + b"x" * 75_000, refused(431), "RFC 9110 §5.4"),
    _line("101 lines", b"\r\n".join([b"X: 1"] * 101), refused(431), "RFC 9110 §5.4"),
    _line("98 lines", b"\r\n".join([b"X: 1"] * 98), forwarded(SEEN), "RFC 9110 §5.4"),
    # before the first line of the fields
    Case("space before the first field", "RFC 9112 §2.2", request(GET, host=b" Host: a.test"), refused()),
    Case("tab before the first field", "RFC 9112 §2.2", request(GET, host=b"\tHost: a.test"), refused()),
    Case("white space line before the fields", "RFC 9112 §2.2", request(GET, host=b" \r\nHost: a.test"), refused()),
    # Host
    _host("missing", None),
    _host("empty", b"Host:"),
    _host("twice the same", b"Host: a.test\r\nHost: a.test"),
    _host("two different", b"Host: a.test\r\nHost: evil.test", source=f"{HOST}; Host of Troubles, Chen et al. 2016"),
    _host("two in two cases", b"Host: a.test\r\nhost: evil.test", source=f"{HOST}; Chen et al. 2016"),
    _host("space before the colon", b"Host : a.test", source=f"{NAME}; Chen et al. 2016"),
    _host("folded", b"Host:\r\n a.test", source="RFC 9112 §5.2 obs-fold; Chen et al. 2016"),
    _host("behind a folded one", b"X: 1\r\n Host: a.test", source="RFC 9112 §5.2 obs-fold; Chen et al. 2016"),
    _host("list with a space", b"Host: a.test, evil.test"),
    _host("two words", b"Host: a.test evil.test"),
    _host("with a path", b"Host: a.test/evil.test"),
    _host("with user information", b"Host: evil.test@a.test", source="RFC 9110 §4.2.4"),
    _host("with a query", b"Host: a.test?evil.test"),
    _host("with a fragment", b"Host: a.test#evil.test"),
    _host("with a backslash", b"Host: a.test\\evil.test"),
    _host("with a scheme", b"Host: http://a.test"),
    _host("with two ports", b"Host: a.test:80:81"),
    _host("with a port that is no number", b"Host: a.test:evil"),
    _host("with a port of six digits", b"Host: a.test:000080"),
    _host("with a signed port", b"Host: a.test:+80"),
    _host("port alone", b"Host: :80"),
    _host("with NUL", b"Host: a.test\x00.evil.test"),
    _host("with a tab", b"Host: a.test\tevil.test"),
    _host("beyond ASCII", b"Host: \xe4.test"),
    _host("bracket that never closes", b"Host: [::1"),
    _host("brackets with more behind", b"Host: [::1]evil.test"),
    _host("brackets around a name", b"Host: [evil.test]"),
    _host("angle brackets", b"Host: <a.test>"),
    _host("quotes", b'Host: "a.test"'),
    _host("with white space around", b"Host: \t a.test \t", _to(b"a.test")),
    _host("with a port", b"Host: a.test:8080", _to(b"a.test:8080")),
    _host("with an empty port", b"Host: a.test:", _to(b"a.test:")),
    _host("IPv6", b"Host: [::1]:8080", _to(b"[::1]:8080")),
    _host("upper case", b"Host: A.TEST", _to(b"A.TEST")),
    _host("with a trailing dot", b"Host: a.test.", _to(b"a.test.")),
    _host("with two dots in a row", b"Host: a..test", _to(b"a..test")),
    _host("with sub-delims", b"Host: a_b,c;d=e.test", _to(b"a_b,c;d=e.test"), "RFC 3986 §3.2.2 reg-name"),
    # Connection
    _named(
        "Host",
        b"Connection: close, Host",
        expected=forwarded_and_closed(SEEN).carrying((b"host", b"a.test")),
    ),
    _named(
        "Content-Length of a body",
        b"Connection: Content-Length",
        b"Content-Length: 0",
        expected=forwarded(SEEN).carrying((b"content-length", b"0")),
    ),
    _named(
        "X-Forwarded-For",
        b"Connection: X-Forwarded-For",
        b"X-Forwarded-For: 1.2.3.4",
        # What a proxy before us appended must not be for its client to take out.
        expected=forwarded(SEEN).carrying((b"x-forwarded-for", b"1.2.3.4, " + PEER)),
    ),
    _named(
        "X-Forwarded-Host and -Proto",
        b"Connection: close, X-Forwarded-Host, X-Forwarded-Proto",
        expected=forwarded_and_closed(SEEN).carrying((b"x-forwarded-host", b"a.test"), (b"x-forwarded-proto", b"http")),
    ),
    _named(
        "Authorization",
        b"Connection: Authorization",
        b"Authorization: Basic eDp5",
        expected=forwarded(SEEN).lacking(b"authorization", b"connection"),
    ),
    _named("Cookie", b"Connection: Cookie", b"Cookie: a=b", expected=forwarded(SEEN).lacking(b"cookie")),
    _named(
        "a field in another case",
        b"Connection: x-SECRET",
        b"X-Secret: 1",
        expected=forwarded(SEEN).lacking(b"x-secret"),
    ),
    _named(
        "two fields", b"Connection: X-A ,\tX-B", b"X-A: 1", b"X-B: 2", expected=forwarded(SEEN).lacking(b"x-a", b"x-b")
    ),
    _named(
        "fields in two fields",
        b"Connection: X-A",
        b"Connection: X-B",
        b"X-A: 1",
        b"X-B: 2",
        expected=forwarded(SEEN).lacking(b"x-a", b"x-b"),
    ),
    _named("itself", b"Connection: Connection", expected=forwarded(SEEN).lacking(b"connection")),
    _named("nothing", b"Connection: , ,", expected=forwarded(SEEN).lacking(b"connection")),
    _named("no token", b"Connection: X(Y", b"X: 1", expected=forwarded(SEEN).carrying((b"x", b"1"))),
    _named(
        "a field with an underscore for the hyphen",
        b"Connection: X_A",
        b"X-A: 1",
        expected=forwarded(SEEN).carrying((b"x-a", b"1")),
    ),
    # claims
    Case(
        "claims of the client",
        "RFC 7239; docs/behaviour.md",
        request(GET, b"X-Forwarded-Proto: https", b"X-Forwarded-Host: evil.test", b"Forwarded: for=1.2.3.4"),
        forwarded(SEEN).carrying((b"x-forwarded-host", b"a.test"), (b"x-forwarded-proto", b"http")),
    ),
    Case(
        "claims with underscores for hyphens",
        "CGI (RFC 3875 §4.1.18) reads them alike",
        request(
            GET,
            *(b"X_Forwarded_For: 1.2.3.4", b"X-Forwarded_For: 1.2.3.4", b"x_forwarded_proto: https"),
            *(b"X_FORWARDED_HOST: evil.test", b"X_Request_Id: 1", b"Proxy_Authorization: x", b"X_Other: 1"),
        ),
        forwarded(SEEN)
        .carrying((b"x-forwarded-for", PEER), (b"x_other", b"1"))
        .lacking(
            *(b"x_forwarded_for", b"x-forwarded_for", b"x_forwarded_proto", b"x_forwarded_host", b"x_request_id"),
            b"proxy_authorization",
        ),
    ),
    Case(
        "hop-by-hop fields",
        "RFC 9110 §7.6.1",
        request(
            GET, b"Keep-Alive: timeout=9", b"Proxy-Connection: close", b"TE: trailers", b"Trailer: X", b"Upgrade: x"
        ),
        forwarded(SEEN).lacking(b"keep-alive", b"proxy-connection", b"upgrade"),
    ),
    Case(
        "repeated fields stay in order",
        "RFC 9110 §5.3",
        request(GET, b"X: 1", b"x: 2"),
        forwarded(SEEN),
    ),
)
