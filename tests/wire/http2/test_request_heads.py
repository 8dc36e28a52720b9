"""Requests in: field lists that become the text of HTTP/1 heads, and those that must not (RFC 9113 §8)."""

from __future__ import annotations

import pytest
from hpack import Encoder

from tests.support.http2_frames import data as content
from tests.support.http2_frames import frame
from tests.support.session_engines import (
    ENGINES,
    GET,
    POST,
    TUNNEL,
    Engine,
    Fields,
    compressed_head,
    head,
    observed,
    output,
)
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import RequestHead, parse_request_head
from vrata.wire.http2.contract import PREFACE, SessionLimits
from vrata.wire.http2.events import CONTENT, FAILED, HEAD, STREAM_ERROR, TRAILERS, Event

pytestmark = pytest.mark.parametrize("engine", ENGINES)


def received(engine: Engine, data: bytes) -> list[Event]:
    return observed(engine.ready_server().receive(data))


def accepted(engine: Engine, fields: Fields, *, end: bool = True) -> RequestHead:
    ((kind, stream, text, ended),) = received(engine, head(1, fields, end=end))
    assert (kind, stream, ended) == (HEAD, 1, int(end))
    parsed = parse_request_head(text)
    assert parsed is not None
    assert parsed.size == len(text)
    return parsed


def refused(engine: Engine, data: bytes) -> None:
    """The stream ends with PROTOCOL_ERROR, nothing was told of it before, and the connection goes on."""
    session = engine.ready_server()
    assert observed(session.receive(data)) == [(STREAM_ERROR, 1, b"", 1)]
    assert [each for each in output(session) if each[0] == 3] == [(3, 0, 1, b"\0\0\0\1")]
    assert session.streams == 0
    assert observed(session.receive(head(3, GET, end=True)))[0][:2] == (HEAD, 3)


# -- What becomes of a request ---------------------------------------------------------------------------------------


def test_the_text_of_a_request(engine: Engine) -> None:
    fields = (*GET, (b"x-b", b"1"), (b"accept", b""), (b"te", b"trailers"), (b"x-b", b"\xe4 \t2"))
    assert received(engine, head(1, fields, end=True)) == [
        (
            HEAD,
            1,
            b"GET / HTTP/1.1\r\nhost: a.test\r\nx-b: 1\r\naccept: \r\nte: trailers\r\nx-b: \xe4 \t2\r\n\r\n",
            1,
        )
    ]


@pytest.mark.parametrize(
    ("fields", "end", "framing"),
    [
        (GET, True, (-1, False)),
        (POST, False, (-1, True)),
        ((*POST, (b"content-length", b"5")), False, (5, False)),
        ((*POST, (b"content-length", b"0")), True, (0, False)),
        ((*POST, (b"content-length", b"0")), False, (0, False)),
    ],
)
def test_the_framing_of_a_request(engine: Engine, fields: Fields, end: bool, framing: tuple[int, bool]) -> None:
    parsed = accepted(engine, fields, end=end)
    assert (parsed.content_length, bool(parsed.chunked)) == framing


def test_cookie_crumbs_are_joined(engine: Engine) -> None:
    fields = (*GET, (b"cookie", b"a=b"), (b"x", b"1"), (b"cookie", b"c=d; e"), (b"cookie", b"f"))
    assert accepted(engine, fields).values(b"cookie") == [b"a=b; c=d; e; f"]


@pytest.mark.parametrize(
    "fields",
    [
        (*GET[:3], (b"host", b"a.test")),
        (*GET, (b"host", b"a.test")),
        (*GET, (b"x", b"1"), (b"host", b"A.Test")),
    ],
)
def test_an_authority_may_come_as_host(engine: Engine, fields: Fields) -> None:
    parsed = accepted(engine, fields)
    assert parsed.host == "a.test"
    assert len(parsed.values(b"host")) == 1


def test_pseudo_fields_come_in_any_order(engine: Engine) -> None:
    assert accepted(engine, tuple(reversed(GET))).target == b"/"


@pytest.mark.parametrize("authority", [b"[::1]:80", b"a:", b"A_b.test:65535", b"a!$&'()*+,;=%20", b"192.0.2.1:1"])
def test_authorities(engine: Engine, authority: bytes) -> None:
    assert accepted(engine, (*GET[:3], (b":authority", authority))).authority == authority
    assert accepted(engine, (*GET[:3], (b"host", authority))).authority == authority


@pytest.mark.parametrize("target", [b"/", b"//b.test/", b"/a?b=http://c/", b"/%00", b"/a:b@c"])
def test_targets(engine: Engine, target: bytes) -> None:
    parsed = accepted(engine, (*GET[:2], (b":path", target), GET[3]))
    assert parsed.target == target
    assert parsed.authority == b"a.test"


def test_options_for_the_server_as_a_whole(engine: Engine) -> None:
    fields = ((b":method", b"OPTIONS"), (b":scheme", b"https"), (b":path", b"*"), GET[3])
    assert accepted(engine, fields).target == b"*"


def test_a_compressing_client(engine: Engine) -> None:
    session = engine.ready_server()
    encoder = Encoder()
    texts = []
    for stream in (1, 3, 5):
        fields = (*GET, (b"user-agent", b"a" * 50), (b"x-number", b"%d" % stream))
        ((_, _, text, _),) = session.receive(compressed_head(encoder, stream, fields, end=True))
        texts.append(text)
    assert [text.replace(b"x-number: %d" % (2 * i + 1), b"") for i, text in enumerate(texts)] == [
        b"GET / HTTP/1.1\r\nhost: a.test\r\nuser-agent: " + b"a" * 50 + b"\r\n\r\n\r\n"
    ] * 3


# -- Tunnels ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [b"websocket", b"WebSocket"])
def test_a_tunnel_to_websocket_is_an_upgrade(engine: Engine, protocol: bytes) -> None:
    fields = (TUNNEL[0], (b":protocol", protocol), *TUNNEL[2:], (b"sec-websocket-version", b"13"))
    parsed = accepted(engine, (*fields, (b"sec-websocket-key", b"of-the-client")), end=False)
    assert (parsed.method, parsed.target, bool(parsed.upgrade), bool(parsed.has_body)) == (b"GET", b"/", True, False)
    assert len(parsed.values(b"sec-websocket-key")) == 1


def test_each_tunnel_has_a_key_of_its_own(engine: Engine) -> None:
    session = engine.ready_server()
    keys = set()
    for stream in (1, 3, 5):
        parsed = parse_request_head(session.receive(head(stream, TUNNEL))[0][2])
        assert parsed is not None
        keys.update(parsed.values(b"sec-websocket-key"))
    assert sorted(len(key) for key in keys) == [24] * 3


@pytest.mark.parametrize(
    "fields",
    [
        ((b":method", b"CONNECT"), (b":authority", b"b.test:443")),
        (TUNNEL[0], (b":protocol", b"connect-udp"), *TUNNEL[2:]),
        (TUNNEL[0], (b":protocol", b"websocket2"), *TUNNEL[2:]),
    ],
)
def test_other_tunnels_are_for_the_reader_of_heads_to_refuse(engine: Engine, fields: Fields) -> None:
    ((kind, _, text, _),) = received(engine, head(1, fields))
    assert kind == HEAD
    with pytest.raises(MalformedMessage) as refusal:
        parse_request_head(text)
    assert refusal.value.status == 501


# -- Malformed (RFC 9113 §8.1.1) -------------------------------------------------------------------------------------

BAD_NAMES = [
    *(
        b"",
        b"X",
        b"Accept",
        b"a b",
        b"a:b",
        b"a:",
        b"a\r",
        b"a\n",
        b"a\r\nb",
        b"a\0",
        b"a\x7f",
        b"\xe4",
        b"a\t",
        b"a,b",
    ),
    *(b"a\r\ntransfer-encoding", b" a", b"a ", b"(a)", b"a/b", b":x", b":status", b":path", b":method"),
]
BAD_VALUES = [
    *(b"a\r", b"a\n", b"a\r\nb: c", b"\0", b"a\0b", b" a", b"a ", b"\ta", b"a\t", b" ", b"\x01", b"\x7f", b"a\x1bb"),
    *(b"a\r\n\r\nGET /admin HTTP/1.1\r\nhost: b\r\n\r\n",),
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("end", [True, False])
def test_bad_names(engine: Engine, name: bytes, end: bool) -> None:
    refused(engine, head(1, (*GET, (name, b"2")), end=end))


@pytest.mark.parametrize("value", BAD_VALUES)
@pytest.mark.parametrize("name", [b"x", b"cookie", b"host", b"content-length", b"te"])
def test_bad_values(engine: Engine, name: bytes, value: bytes) -> None:
    refused(engine, head(1, (*GET[:3], (name, value)), end=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((b"connection", b"close"), (b"connection", b"x"), (b"proxy-connection", b"keep-alive")),
        *((b"keep-alive", b"timeout=5"), (b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"identity")),
        *((b"upgrade", b"websocket"), (b"upgrade", b"h2c"), (b"te", b"gzip"), (b"te", b"trailers, gzip"), (b"te", b"")),
    ],
)
def test_fields_of_the_connection(engine: Engine, name: bytes, value: bytes) -> None:
    refused(engine, head(1, (*POST, (name, value)), end=False))


METHODS = [b"", b"G T", b"GET ", b" GET", b"GET / HTTP/1.1\r\nx:", b"G\0T", b"G\xe4T", b"GET\r\n", b"(", b"G\tT"]
PATHS = [
    *(b"", b"a", b"a/b", b"http://b.test/", b"https://b.test", b"//b test", b"/a b", b"/\t", b"/a\r\n", b"/a\r\nx: y"),
    *(b"/ HTTP/1.1\r\nhost: b\r\n\r\n", b"/\0", b"/\x7f", b"/\xe4", b"*a", b"?a", b"\\", b" /", b"/ ", b"b.test:443"),
]
AUTHORITIES = [b"", b"a b", b"a\r\nx: y", b"a\0", b"a\t", b" a", b"a ", b"\xe4", b"a\x7f"]
SCHEMES = [b"", b"ftp", b"ws", b"http ", b"httpss", b"h"]


@pytest.mark.parametrize(
    "fields",
    [
        *([(b":method", each), *GET[1:]] for each in METHODS),
        *([*GET[:2], (b":path", each), GET[3]] for each in PATHS),
        *([*GET[:3], (b":authority", each)] for each in AUTHORITIES),
        *([GET[0], (b":scheme", each), *GET[2:]] for each in SCHEMES),
        *(tuple(each for each in GET if each[0] != name) for name in (b":method", b":scheme", b":path")),
        *((*GET, field) for field in GET),
        *((field, *GET) for field in GET),
        (*GET[:3], (b"x", b"1"), GET[3]),
        ((b"x", b"1"), *GET),
        (*GET, (b":status", b"200")),
        (*GET, (b":x", b"1")),
        (*GET, (b":", b"1")),
        (*GET, (b":protocol", b"websocket")),
        [(b":Method", b"GET"), *GET[1:]],
        (),
        ((b"x", b"1"),),
        ((b":method", b"CONNECT"), (b":authority", b"a.test:443"), (b":path", b"/")),
        ((b":method", b"CONNECT"), (b":authority", b"a.test:443"), (b":scheme", b"http")),
        tuple(each for each in TUNNEL if each[0] != b":path"),
        tuple(each for each in TUNNEL if each[0] != b":scheme"),
        (TUNNEL[0], (b":protocol", b""), *TUNNEL[2:]),
        (TUNNEL[0], (b":protocol", b"web socket"), *TUNNEL[2:]),
        (*TUNNEL, (b"content-length", b"0")),
        # Who the request is for (RFC 9113 §8.3.1).
        (*GET, (b"host", b"b.test")),
        (*GET, (b"host", b"a.test:80")),
        (*GET, (b"host", b"a.test"), (b"host", b"a.test")),
        (*GET[:3], (b"host", b"a.test"), (b"host", b"a.test")),
        (*GET[:3], (b"host", b"a.test"), (b"host", b"b.test")),
        (*GET[:3], (b"host", b"")),
        (*GET[:3], (b"host", b"a b")),
        (*GET[:3], (b"host", b"u@a")),
        GET[:3],
        (*GET[:2], (b":path", b"*"), GET[3]),
        *(
            (*GET[:3], (b":authority", each))
            for each in (b"u@a", b"a/b", b"a:b", b"a:1:2", b":80", b"a|b", b"[::1", b"a^")
        ),
        ((b":method", b"CONNECT"), (b"host", b"a.test:443")),
        ((b":method", b"CONNECT"),),
    ],
)
def test_malformed_requests(engine: Engine, fields: Fields) -> None:
    refused(engine, head(1, fields, end=False))


LENGTHS = [b"", b"-1", b"+1", b"1a", b"0x1", b"1,1", b"1, 1", b"1 1", b"1" * 19, b"\xb2", b"1.0"]


@pytest.mark.parametrize("value", LENGTHS)
def test_malformed_lengths(engine: Engine, value: bytes) -> None:
    refused(engine, head(1, (*POST, (b"content-length", value))))


@pytest.mark.parametrize("values", [(b"5", b"5"), (b"5", b"6"), (b"0", b"0")])
def test_lengths_that_come_twice(engine: Engine, values: tuple[bytes, bytes]) -> None:
    refused(engine, head(1, (*POST, *((b"content-length", value) for value in values))))


def test_a_length_without_content(engine: Engine) -> None:
    refused(engine, head(1, (*POST, (b"content-length", b"1")), end=True))


@pytest.mark.parametrize(
    ("frames", "content_before"),
    [
        (content(1, b"abcd", end=True), b"abcd"),
        (content(1, b"", end=True), b""),
        (content(1, b"abc") + content(1, b"d", end=True), b"abcd"),
        (content(1, b"abcdef"), b""),
        (content(1, b"abcdef", end=True), b""),
        (content(1, b"abcde") + content(1, b"f"), b"abcde"),
        (content(1, b"abcd") + head(1, ((b"x", b"1"),), end=True), b"abcd"),
    ],
)
def test_content_is_as_long_as_was_said(engine: Engine, frames: bytes, content_before: bytes) -> None:
    happened = received(engine, head(1, (*POST, (b"content-length", b"5"))) + frames)
    assert [each[0] for each in happened[:1]] == [HEAD]
    assert happened[-1] == (STREAM_ERROR, 1, b"", 1)
    assert happened[1:-1] == ([(CONTENT, 1, content_before, 0)] if content_before else [])


def test_content_that_is_as_long_as_was_said(engine: Engine) -> None:
    data = head(1, (*POST, (b"content-length", b"5"))) + content(1, b"abc") + content(1, b"de", end=True)
    assert received(engine, data)[1:] == [(CONTENT, 1, b"abcde", 1)]


# -- Trailers --------------------------------------------------------------------------------------------------------


def test_trailers_that_may_go_on(engine: Engine) -> None:
    trailers = ((b"grpc-status", b"0"), (b"cookie", b"a"), (b"host", b"b"), (b"x-forwarded-for", b"c"), (b"x", b""))
    happened = received(engine, head(1, POST) + content(1, b"a") + head(1, trailers, end=True))
    assert happened[1:] == [(CONTENT, 1, b"a", 0), (TRAILERS, 1, b"grpc-status: 0\r\nx: \r\n", 0)]


def test_trailers_of_which_none_may_go_on(engine: Engine) -> None:
    assert received(engine, head(1, POST) + head(1, ((b"te", b"trailers"),), end=True))[1:] == [(TRAILERS, 1, b"", 0)]


@pytest.mark.parametrize(
    "trailers",
    [
        ((b":path", b"/b"),),
        ((b"x", b"1"), (b":status", b"200")),
        ((b"content-length", b"1"),),
        ((b"transfer-encoding", b"chunked"),),
        ((b"connection", b"x"),),
        ((b"X", b"1"),),
        ((b"x", b"1\r\ny: 2"),),
        tuple((b"x", b"1") for _ in range(101)),
        ((b"x", b"a" * 8192),),
    ],
)
def test_trailers_that_are_malformed(engine: Engine, trailers: Fields) -> None:
    happened = received(engine, head(1, POST) + head(1, trailers, end=True))
    assert happened[1:] == [(STREAM_ERROR, 1, b"", 1)]


def test_trailers_have_a_limit_of_their_own(engine: Engine) -> None:
    session = engine.ready_server(SessionLimits(header_list=4000))
    trailers = tuple((b"x-%02d" % i, b"a" * 400) for i in range(18))
    happened = observed(session.receive(head(1, POST) + head(1, trailers, end=True)))
    assert happened[1:] == [(TRAILERS, 1, b"".join(b"%s: %s\r\n" % field for field in trailers), 0)]


def test_trailers_that_end_nothing(engine: Engine) -> None:
    assert received(engine, head(1, POST) + head(1, ((b"x", b"1"),)))[1:] == [(STREAM_ERROR, 1, b"", 1)]


# -- Sizes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [0, 5000])
@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
def test_a_head_over_the_limit_is_for_the_reader_of_heads_to_refuse(engine: Engine, method: bytes, cut: int) -> None:
    session = engine.ready_server(SessionLimits(header_list=20000))
    fields = ((b":method", method), *GET[1:], *((b"x-%d" % i, b"a" * 400) for i in range(80)))
    ((kind, _, text, _),) = session.receive(head(1, fields, end=True, cut=cut))
    assert kind == HEAD
    assert text.startswith(method + b" ")  # the answer to HEAD has no content
    with pytest.raises(MalformedMessage) as refusal:
        parse_request_head(text)
    assert refusal.value.status == 431
    # What was left out has been decoded all the same.
    assert observed(session.receive(head(3, GET, end=True)))[0][:2] == (HEAD, 3)


def test_a_head_far_over_the_limit_ends_the_connection(engine: Engine) -> None:
    session = engine.ready_server(SessionLimits(header_list=4000))
    happened = observed(session.receive(head(1, (*GET, *((b"x", b"a" * 1000) for _ in range(16))), end=True)))
    assert happened == [(FAILED, 0, b"", 11)]
    assert [(each[0], each[3][4:8]) for each in output(session)][-1] == (7, b"\0\0\0\x0b")
    assert session.is_over


def test_a_bomb_ends_the_connection(engine: Engine) -> None:
    """A large field is put into the table once, and named by a byte from then on (CVE-2016-6581)."""
    session = engine.ready_server()
    name, value = b"x", b"a" * 4000
    literal = b"\x40" + bytes((1,)) + name + b"\x7f" + bytes((4000 - 127 & 127 | 128, 4000 - 127 >> 7)) + value
    data = frame(1, 0x5, 1, literal + b"\xbe" * 12000)
    assert observed(session.receive(data)) == [(FAILED, 0, b"", 11)]


# -- However the bytes are cut ---------------------------------------------------------------------------------------


def test_every_cut_leads_to_the_same(engine: Engine) -> None:
    encoder = Encoder()
    data = (
        PREFACE
        + frame(4, 0, 0)
        + compressed_head(encoder, 1, (*POST, (b"cookie", b"a"), (b"cookie", b"b")))
        + content(1, b"abc")
        + head(3, (*GET, (b"X", b"1")), end=True)
        + head(5, (*GET, (b"x", b"a" * 60)), end=True, cut=30)
        + content(1, b"")
        + content(1, b"de")
        + compressed_head(encoder, 1, ((b"x", b"y"),), end=True)
        + head(7, (*POST, (b"content-length", b"3")))
        + content(7, b"abc", end=True)
    )
    whole = observed(engine.server().receive(data))
    assert [each[:2] for each in whole[1:]] == [
        *((HEAD, 1), (CONTENT, 1), (STREAM_ERROR, 3), (HEAD, 5), (CONTENT, 1), (TRAILERS, 1), (HEAD, 7), (CONTENT, 7)),
    ]
    for cut in range(1, len(data)):
        session = engine.server()
        assert observed([*session.receive(data[:cut]), *session.receive(data[cut:])]) == whole, cut
    session = engine.server()
    assert observed([event for at in range(len(data)) for event in session.receive(data[at : at + 1])]) == whole
