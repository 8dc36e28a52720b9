"""Responses in: field lists that become the text of HTTP/1 heads, and those that must not (RFC 9113 §8)."""

from __future__ import annotations

import pytest

from tests.support.http2_frames import data as content
from tests.support.session_engines import ENGINES, OK, Engine, Fields, head, observed, output
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import parse_response_head
from vrata.wire.http2.contract import Session, SessionLimits
from vrata.wire.http2.events import CONTENT, HEAD, INFORMATIONAL, STREAM_ERROR, TRAILERS, Event

pytestmark = pytest.mark.parametrize("engine", ENGINES)

PLAIN = b"%s / HTTP/1.1\r\nhost: a.test\r\n\r\n"
UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def asked(engine: Engine, method: bytes = b"GET", limits: SessionLimits | None = None) -> Session:
    session = engine.ready_client(limits)
    assert session.request(PLAIN % method, True) == 1
    output(session)
    return session


def received(engine: Engine, data: bytes, method: bytes = b"GET") -> list[Event]:
    return observed(asked(engine, method).receive(data))


def test_the_text_of_a_response(engine: Engine) -> None:
    fields = (*OK, (b"x-b", b"1"), (b"server", b"s"), (b"x-b", b"\xe4"))
    data = head(1, fields) + content(1, b"a") + content(1, b"", end=True)
    assert received(engine, data) == [
        (HEAD, 1, b"HTTP/1.1 200 OK\r\nx-b: 1\r\nserver: s\r\nx-b: \xe4\r\ntransfer-encoding: chunked\r\n\r\n", 0),
        (CONTENT, 1, b"a", 1),
    ]


@pytest.mark.parametrize(
    ("method", "fields", "end", "length", "chunked"),
    [
        (b"GET", OK, False, -1, True),
        (b"GET", OK, True, 0, False),
        (b"GET", (*OK, (b"content-length", b"5")), False, 5, False),
        (b"GET", (*OK, (b"content-length", b"0")), True, 0, False),
        (b"HEAD", OK, True, -1, False),
        (b"HEAD", (*OK, (b"content-length", b"5")), True, 5, False),
        (b"GET", ((b":status", b"304"), (b"content-length", b"5")), True, 5, False),
        (b"GET", ((b":status", b"204"),), True, -1, False),
        (b"GET", ((b":status", b"999"),), False, -1, True),
    ],
)
def test_the_framing_of_a_response(
    engine: Engine, method: bytes, fields: Fields, end: bool, length: int, chunked: bool
) -> None:
    ((kind, _, text, ended),) = received(engine, head(1, fields, end=end), method)
    parsed = parse_response_head(text)
    assert parsed is not None
    assert (kind, ended) == (HEAD, int(end))
    assert (parsed.content_length, bool(parsed.chunked)) == (length, chunked)


def test_interim_responses(engine: Engine) -> None:
    data = (
        head(1, ((b":status", b"103"), (b"link", b"</a>"))) + head(1, ((b":status", b"100"),)) + head(1, OK, end=True)
    )
    assert received(engine, data) == [
        (INFORMATIONAL, 1, b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n", 0),
        (INFORMATIONAL, 1, b"HTTP/1.1 100 Continue\r\n\r\n", 0),
        (HEAD, 1, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", 1),
    ]


def test_trailers(engine: Engine) -> None:
    data = head(1, OK) + content(1, b"a") + head(1, ((b"grpc-status", b"0"), (b"date", b"x")), end=True)
    assert received(engine, data)[1:] == [(CONTENT, 1, b"a", 0), (TRAILERS, 1, b"grpc-status: 0\r\n", 0)]


def test_trailers_alone(engine: Engine) -> None:
    fields = (*OK, (b"content-type", b"application/grpc"), (b"grpc-status", b"5"))
    ((_, _, text, ended),) = received(engine, head(1, fields, end=True))
    assert b"grpc-status: 5\r\n" in text
    assert ended == 1


@pytest.mark.parametrize(
    "fields",
    [
        (),
        ((b"x", b"1"),),
        *(
            ((b":status", each),)
            for each in (b"", b"20", b"2000", b"abc", b"+20", b" 20", b"099", b"000", b"101", b"2 0")
        ),
        (*OK, *OK),
        (*OK, (b":status", b"204")),
        ((b"x", b"1"), *OK),
        (*OK, (b":path", b"/")),
        ((b":path", b"/"), *OK),
        (*OK, (b":x", b"1")),
        (*OK, (b"X", b"1")),
        (*OK, (b"x\r\ny", b"1")),
        (*OK, (b"x", b"1\r\ny: 2")),
        (*OK, (b"x", b"1\r\n\r\nHTTP/1.1 200 OK")),
        (*OK, (b"x", b"\0")),
        (*OK, (b"x", b" 1")),
        (*OK, (b"", b"1")),
        (*OK, (b"connection", b"close")),
        (*OK, (b"transfer-encoding", b"chunked")),
        (*OK, (b"keep-alive", b"1")),
        (*OK, (b"upgrade", b"h2c")),
        (*OK, (b"content-length", b"1"), (b"content-length", b"1")),
        (*OK, (b"content-length", b"x")),
    ],
)
def test_malformed_responses(engine: Engine, fields: Fields) -> None:
    session = asked(engine)
    assert observed(session.receive(head(1, fields))) == [(STREAM_ERROR, 1, b"", 1)]
    assert (3, 0, 1, b"\0\0\0\1") in output(session)
    assert session.streams == 0
    assert not session.is_over


def test_an_interim_response_ends_nothing(engine: Engine) -> None:
    assert received(engine, head(1, ((b":status", b"103"),), end=True)) == [(STREAM_ERROR, 1, b"", 1)]


def test_a_length_without_content(engine: Engine) -> None:
    assert received(engine, head(1, (*OK, (b"content-length", b"1")), end=True)) == [(STREAM_ERROR, 1, b"", 1)]


@pytest.mark.parametrize(
    ("method", "fields"), [(b"HEAD", OK), (b"GET", ((b":status", b"204"),)), (b"GET", ((b":status", b"304"),))]
)
def test_content_where_there_is_none(engine: Engine, method: bytes, fields: Fields) -> None:
    happened = received(engine, head(1, fields) + content(1, b"a", end=True), method)
    assert [each[0] for each in happened] == [HEAD, STREAM_ERROR]
    happened = received(engine, head(1, fields) + content(1, b"", end=True), method)
    assert [each[0] for each in happened] == [HEAD, CONTENT]


def test_a_head_over_the_limit(engine: Engine) -> None:
    session = asked(engine, limits=SessionLimits(header_list=1000))
    ((_, _, text, _),) = session.receive(head(1, (*OK, (b"x", b"a" * 2000))))
    with pytest.raises(MalformedMessage):
        parse_response_head(text)


# -- Tunnels (RFC 8441) ----------------------------------------------------------------------------------------------


def upgraded(engine: Engine) -> Session:
    session = engine.ready_client()
    assert session.peer_tunnels
    assert session.request(UPGRADE, False) == 1
    output(session)
    return session


def test_an_opened_tunnel_is_an_upgrade_that_was_done(engine: Engine) -> None:
    data = head(1, (*OK, (b"sec-websocket-protocol", b"chat"), (b"sec-websocket-accept", b"wrong")))
    session = upgraded(engine)
    assert session.receive(data) == [
        (
            HEAD,
            1,
            # The key and its answer are those of RFC 6455 §1.3.
            b"HTTP/1.1 101 Switching Protocols\r\nsec-websocket-protocol: chat\r\nconnection: upgrade\r\n"
            b"upgrade: websocket\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
            0,
        )
    ]
    assert observed(session.receive(content(1, b"ab") + content(1, b"c", end=True))) == [(CONTENT, 1, b"abc", 1)]


def test_a_tunnel_that_is_refused(engine: Engine) -> None:
    ((_, _, text, _),) = upgraded(engine).receive(head(1, ((b":status", b"403"),), end=True))
    assert text == b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"
