"""Request heads in bytes: Host, field lines, persistence, expectations and limits (RFC 9112 §5, RFC 9110)."""

from __future__ import annotations

import pytest

from tests.support.request_message import NO_TCHARS, TCHARS, accepted, emitted, message, refused
from tests.support.transcript import RequestReader, Transcript
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.fields import CONTENT_LENGTH, PASS, REQUEST_FIELDS, FieldTable
from vrata.wire.http1.head import MAX_FIELDS, MAX_HEAD
from vrata.wire.http1.media_type import looks_like_grpc

# -- Host (RFC 9112 §3.2, RFC 9110 §7.2) -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"example.test", "example.test"),
        (b"Example.TEST", "example.test"),
        (b"example.test.", "example.test"),
        (b"example.test:8080", "example.test"),
        (b"example.test.:8080", "example.test"),
        (b"example.test:", "example.test"),
        (b"192.0.2.1:80", "192.0.2.1"),
        (b"[2001:DB8::1]:80", "[2001:db8::1]"),
        (b"[::ffff:192.0.2.1]", "[::ffff:192.0.2.1]"),
        (b"a_b-c~d!$&'()*+,;=", "a_b-c~d!$&'()*+,;="),
        (b"xn--mnchen-3ya.test", "xn--mnchen-3ya.test"),
        (b"a%20b", "a%20b"),
        (b"  a\t ", "a"),
    ],
)
def test_a_host(value: bytes, host: str) -> None:
    head = accepted(message(host=value))
    assert head.host == host
    assert head.authority == value.strip()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b" ",
        b":80",
        b"a b",
        b"a\tb",
        b"a/b",
        b"/",
        b"a?b",
        b"a#b",
        b"u@a",
        b"u:p@a",
        b"a\\b",
        b"http://a",
        b"a:b",
        b"a:80:80",
        b"a:-1",
        b"a:+80",
        b"a:123456",
        b"::1",
        b"[::1",
        b"[]",
        b"[::1]a",
        b"[::1]:a",
        b"[g::1]",
        b"[::1%25eth0]",
        b"a[::1]",
        b'"a"',
        b"<a>",
        b"a\xe4",
        b"a{b}",
        b"a|b",
        b"a^b",
        b"a`b",
    ],
    ids=repr,
)
def test_a_malformed_host(value: bytes) -> None:
    assert refused(message(host=value)) == (400, "malformed Host")


def test_host_is_required_in_1_1_only() -> None:  # RFC 9112 §3.2
    assert refused(message(host=None)) == (400, "no Host")
    assert refused(message(host=None, line=b"GET http://b/ HTTP/1.1")) == (400, "no Host")
    head = accepted(message(host=None, line=b"GET / HTTP/1.0"))
    assert (head.authority, head.host) == (b"", "")
    assert accepted(message(host=None, line=b"GET http://b/ HTTP/1.0")).authority == b"b"


@pytest.mark.parametrize("minor", [0, 1])
@pytest.mark.parametrize("second", [b"Host: b", b"Host: a", b"hOST:a", b"Host:"])
def test_a_second_host(minor: int, second: bytes) -> None:  # RFC 9112 §3.2
    assert refused(message(second, line=b"GET / HTTP/1.%d" % minor)) == (400, "more than one Host")


def test_an_absolute_target_does_not_excuse_a_malformed_host() -> None:  # RFC 9112 §3.2.2
    assert refused(message(line=b"GET http://b/ HTTP/1.1", host=b"a/b"))[0] == 400


# -- field lines (RFC 9112 §5, RFC 9110 §5) --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        (b"X: 1", "x", "1"),
        (b"X:1", "x", "1"),
        (b"X:", "x", ""),
        (b"X: \t ", "x", ""),
        (b"X:\t1 \t", "x", "1"),
        (b"X: a  b\tc", "x", "a  b\tc"),
        (b"X: a: b:c", "x", "a: b:c"),
        (b"X: :", "x", ":"),
        (b'X: "q\\"" (c)', "x", '"q\\"" (c)'),
        (b"X: caf\xc3\xa9", "x", "caf\xe9"),  # obs-text, RFC 9110 §5.5
        (b"X: \xe4\x80\xff", "x", "\udce4\udc80\udcff"),  # which is not always UTF-8
        (TCHARS + b": 1", TCHARS.lower().decode(), "1"),
        (b"X_Y: 1", "x_y", "1"),
        (b"0: 1", "0", "1"),
    ],
    ids=repr,
)
def test_a_field_line(line: bytes, name: str, value: str) -> None:
    head = accepted(message(line))
    assert head.header(name) == value
    assert head.passed == [line]


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"X : 1", id="space before the colon, RFC 9112 §5.1"),
        pytest.param(b"X\t: 1", id="tab before the colon"),
        pytest.param(b"X\x0b: 1", id="vertical tab before the colon"),
        pytest.param(b" X: 1", id="space before the first field, RFC 9112 §2.2"),
        pytest.param(b"X Y: 1", id="space in the name"),
        pytest.param(b": 1", id="empty name"),
        pytest.param(b":", id="colon alone"),
        pytest.param(b"X", id="no colon"),
        pytest.param(b"X=1", id="another sign for the colon"),
        pytest.param(b"X: 1\r\n Y: 2", id="folded with a space, RFC 9112 §5.2"),
        pytest.param(b"X: 1\r\n\tY: 2", id="folded with a tab"),
        pytest.param(b"X: 1\r\n \r\nY: 2", id="folded and empty"),
        pytest.param(b"X: 1\nY: 2", id="bare LF, RFC 9112 §2.2"),
        pytest.param(b"X: 1\n Y: 2", id="folded behind a bare LF"),
        pytest.param(b"X: 1\rY: 2", id="bare CR, RFC 9112 §2.2"),
        pytest.param(b"X: 1\r", id="CR CR LF"),
        pytest.param(b"X: 1\r\rY: 2", id="two CR"),
        pytest.param(b"\rX: 1", id="CR before the name"),
        pytest.param(b"X\r: 1", id="CR in the name"),
        pytest.param(b"X\xe4: 1", id="obs-text in the name"),
        pytest.param(b"X\x00: 1", id="NUL in the name"),
        pytest.param(b'"X": 1', id="quotes in the name"),
        pytest.param(b"X[]: 1", id="brackets in the name"),
        pytest.param(b"X/Y: 1", id="slash in the name"),
        pytest.param(b"GET / HTTP/1.1", id="a second request line"),
    ],
)
def test_a_malformed_field_line(line: bytes) -> None:
    assert refused(message(line))[0] == 400


@pytest.mark.parametrize("octet", [*(o for o in range(32) if o != 9), 127], ids=hex)
def test_a_control_character_in_a_value(octet: int) -> None:  # RFC 9110 §5.5
    assert refused(message(b"X: a%cb" % octet))[0] == 400
    assert refused(message(b"X: %c" % octet))[0] == 400


@pytest.mark.parametrize("octet", list(NO_TCHARS.replace(b":", b"")), ids=hex)
def test_an_octet_outside_of_token_cannot_be_part_of_a_name(octet: int) -> None:  # RFC 9110 §5.1
    assert refused(message(b"A%cB: 1" % octet))[0] == 400


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\r\n\nHost: a\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=repr,
)
def test_lines_that_end_in_lf_alone(data: bytes) -> None:  # RFC 9112 §2.2
    assert refused(data)[0] == 400


def test_the_first_of_repeated_fields_is_seen_and_all_go_on_in_order() -> None:  # RFC 9110 §5.3
    head = accepted(message(b"X: 1", b"Y: 2", b"x: 3"))
    assert head.header("x") == "1"
    assert head.passed == [b"X: 1", b"Y: 2", b"x: 3"]


@pytest.mark.parametrize(
    "name", ["host", "x-forwarded-client-cert", "x-vrata-attempt-count", "x-request-attempt-count"]
)
def test_fields_that_only_the_proxy_may_claim_are_not_seen(name: str) -> None:
    line = b"" if name == "host" else name.encode() + b": forged"
    head = accepted(message(*([line] if line else [])))
    assert head.header(name) is None
    assert head.passed == []


def test_a_field_name_beyond_latin_1_is_never_there() -> None:
    assert accepted(message(b"x: 1")).header("\u20ac") is None


# -- persistence (RFC 9112 §9.3) -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minor", "lines", "keep_alive"),
    [
        (1, [], True),
        (1, [b"Connection: close"], False),
        (1, [b"Connection: CLOSE"], False),
        (1, [b"Connection: x,close"], False),
        (1, [b"Connection: x", b"connection:\tclose "], False),
        (1, [b"Connection: close, keep-alive"], False),
        (1, [b"Connection: keep-alive"], True),
        (1, [b"Connection: closed"], True),
        (1, [b"Connection: x close"], True),
        (1, [b"Connection: ,,"], True),
        (1, [b"Connection:"], True),
        (1, [b"Proxy-Connection: close"], True),
        (1, [b"Keep-Alive: timeout=0"], True),
        (0, [], False),
        (0, [b"Connection: keep-alive"], True),
        (0, [b"Connection: Keep-Alive"], True),
        (0, [b"Connection: keep-alive, close"], False),
        (0, [b"Connection: keep-alive, x"], True),
        (0, [b"Keep-Alive: timeout=5"], False),
        (0, [b"Proxy-Connection: keep-alive"], False),
    ],
)
def test_keep_alive(minor: int, lines: list[bytes], keep_alive: bool) -> None:
    assert accepted(message(*lines, line=b"GET / HTTP/1.%d" % minor)).keep_alive is keep_alive


# -- Expect (RFC 9110 §10.1.1) ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("minor", "fields", "expects"),
    [
        (1, [b"Content-Length: 5"], True),
        (1, [b"Transfer-Encoding: chunked"], True),
        (1, [b"Content-Length: 0"], False),
        (1, [], False),
        (0, [b"Content-Length: 5"], False),
    ],
)
@pytest.mark.parametrize("value", [b"100-continue", b"100-Continue", b" 100-CONTINUE "])
def test_expect(minor: int, fields: list[bytes], expects: bool, value: bytes) -> None:
    head = accepted(message(b"Expect:" + value, *fields, line=b"POST / HTTP/1.%d" % minor))
    assert head.expects_continue is expects
    assert emitted(head).count(b"expect: 100-continue") == expects


@pytest.mark.parametrize("value", [b"", b"200-ok", b"100-continue, x", b"100-continue;q=1", b"100 continue", b"x=y"])
def test_an_unknown_expectation(value: bytes) -> None:
    assert refused(message(b"Expect: " + value, b"Content-Length: 1")) == (417, "unknown expectation")


# -- limits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_head", [200, 1000])
def test_the_largest_head(max_head: int) -> None:  # RFC 6585 §5
    def reader() -> RequestReader:
        return RequestReader(max_head)

    largest = message(b"X: " + b"x" * (max_head - len(message(b"X: "))))
    assert len(largest) == max_head
    assert Transcript(largest + b"GET").read(reader)[0] == b"GET"
    for data in (message(b"X: " + b"x" * max_head), message(b"X: " + b"x" * max_head)[: max_head + 1]):
        assert Transcript(data).refusal(reader).status == 431


def test_the_default_limit_of_a_head() -> None:
    head = message(*(b"X-%d: " % i + b"x" * 1000 for i in range(65)))
    assert len(head) > MAX_HEAD
    for data in (head, head[: MAX_HEAD + 1]):
        with pytest.raises(MalformedMessage, match="request headers too large"):
            RequestReader().feed(data)


def test_the_largest_number_of_fields() -> None:
    assert len(accepted(message(*[b"X:"] * (MAX_FIELDS - 1))).lines) == MAX_FIELDS
    assert refused(message(*[b"X:"] * MAX_FIELDS)) == (431, "too many header lines")


@pytest.mark.parametrize(
    ("lines", "size"),
    [([b"X: abc"], 4), ([b"X:abc"], 4), ([b"X: \t abc \t"], 4), ([b"X:"], 1), ([b"A:1", b"BC: 23"], 6)],
)
def test_the_size_of_fields_is_that_of_names_and_values(lines: list[bytes], size: int) -> None:
    assert accepted(message(*lines)).fields_size == len(b"Hosta") + size


def test_invented_names_do_not_stay_in_memory() -> None:
    before = len(REQUEST_FIELDS)
    RequestReader().feed(message(b"X-" + b"y" * 4000 + b": 1"))
    assert len(REQUEST_FIELDS) == before
    table = FieldTable({b"content-length": CONTENT_LENGTH})
    for number in range(5000):
        assert table[b"X-Invented-%d" % number] == PASS
    assert len(table) <= 4096
    assert table[b"cONTENT-lENGTH"] == CONTENT_LENGTH


# -- gRPC (the gRPC protocol over HTTP/2, under "Requests") ----------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "is_grpc"),
    [
        (b"application/grpc", True),
        (b"application/grpc+proto", True),
        (b"application/grpc+json", True),
        (b"application/grpc;a=b", True),
        (b"application/grpc ; a=b", True),
        (b"Application/gRPC+x", True),
        (b"application/grpc\t", True),
        # another protocol, which is plain HTTP to a proxy
        (b"application/grpc-web", False),
        (b"application/grpc-web+proto", False),
        (b"application/grpcx", False),
        (b"application/grp", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_requests_of_grpc(value: bytes, is_grpc: bool) -> None:
    assert accepted(message(b"X: 1", b"Content-Type:" + value)).is_grpc is is_grpc


def test_the_first_content_type_tells_and_none_is_none() -> None:
    assert not accepted(message(b"content-type: a/b", b"content-type: application/grpc")).is_grpc
    assert not accepted(message(b"x-content-type: application/grpc")).is_grpc
    assert not accepted(message()).is_grpc
    assert not accepted(
        message(b"connection: upgrade", b"upgrade: websocket", b"content-type: application/grpc")
    ).is_grpc


@pytest.mark.parametrize(
    ("head", "is_grpc"),
    [
        (b"POST / HTTP/1.1\r\nContent-Type: application/grpc\r\n\r\n", True),
        (b"POST / HTTP/1.1\r\n folded\r\ncontent-type:application/grpc+proto\r\n\r\n", True),
        (b"nonsense\r\nContent-Type:\t application/GRPC;a=b\r\nunfinished", True),
        (b"POST / HTTP/1.1\r\ncontent-type: application/grpc", True),
        (b"POST / HTTP/1.1\r\ncontent-type: application/grpc-web\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nx-content-type: application/grpc\r\n\r\n", False),
        # whoever asks for a tunnel takes the 200 of a status for one
        (b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\ncontent-type: application/grpc\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\ncontent-type: application/grpc\r\nUpgrade: websocket\r\n\r\n", False),
        (b"POST / HTTP/1.1\r\nx: content-type: application/grpc\r\n\r\n", False),
        # in what follows the head
        (b"POST / HTTP/1.1\r\nhost: a\r\n\r\n\r\ncontent-type: application/grpc\r\n", False),
        (b"", False),
    ],
)
def test_what_can_be_seen_of_a_head_that_is_not_acceptable(head: bytes, is_grpc: bool) -> None:
    assert looks_like_grpc(head) is is_grpc
