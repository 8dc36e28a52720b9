"""Ends of what is sent, which no window holds back for ever (RFC 9113 §6.9.1), and what is told of those that wait."""

from __future__ import annotations

import pytest

from tests.support.http2_frames import END_STREAM, window_update
from tests.support.session_engines import DATA, ENGINES, GET, HEADERS, TUNNEL, Engine, Fields, head, output, settings
from vrata.wire.http2.contract import PREFACE, Session, SessionLimits

pytestmark = pytest.mark.parametrize("engine", ENGINES)

TRAILERS = b"grpc-status: 0\r\n"


def answering(engine: Engine, window: int, fields: Fields = GET, answer: bytes = b"HTTP/1.1 200 OK\r\n\r\n") -> Session:
    """A server that has begun to answer a client whose streams have so much *window*."""
    server = engine.server(SessionLimits())
    server.receive(PREFACE + settings((4, window)) + head(1, fields, end=fields is GET))
    server.respond(1, answer, False)
    output(server)
    return server


def ends(server: Session) -> list[int]:
    """The kinds of frames that end a stream, of those that go out now."""
    return [kind for kind, flags, *_ in output(server) if kind in (DATA, HEADERS) and flags & END_STREAM]


@pytest.mark.parametrize("trailers", [b"", TRAILERS])
@pytest.mark.parametrize("content", [b"", b"0123456789"])
def test_an_end_needs_no_window(engine: Engine, content: bytes, trailers: bytes) -> None:
    server = answering(engine, len(content))
    if content:
        server.send(1, content, False)
        assert [each[3] for each in output(server)] == [content]
    assert not server.unfinished(1)
    server.send(1, b"", True, trailers)
    assert server.unfinished(1)
    assert len(ends(server)) == 1
    assert not server.unfinished(1)
    assert server.streams == 0
    server.receive(window_update(1, 100))
    assert output(server) == []


@pytest.mark.parametrize("trailers", [b"", TRAILERS])
def test_an_end_behind_content_waits_with_it(engine: Engine, trailers: bytes) -> None:
    server = answering(engine, 4)
    server.send(1, b"01234567", True, trailers)
    assert ends(server) == []
    assert server.unfinished(1)
    server.receive(window_update(1, 4))
    assert len(ends(server)) == 1
    assert server.streams == 0


@pytest.mark.parametrize("trailers", [b"", TRAILERS])
def test_a_window_below_zero(engine: Engine, trailers: bytes) -> None:
    server = answering(engine, 10)
    server.send(1, b"0123456789", False)
    output(server)
    server.receive(settings((4, 0)))
    server.send(1, b"", True, trailers)
    # hyper-h2 does not send an end without trailers then; it is told that it waits.
    if not ends(server):
        assert not trailers
        assert server.unfinished(1)
        server.receive(window_update(1, 10))
        assert len(ends(server)) == 1
    assert server.streams == 0


def test_a_head_that_ends_a_stream_is_unfinished_until_it_goes(engine: Engine) -> None:
    server = engine.ready_server()
    server.receive(head(1, GET, end=True))
    server.respond(1, b"HTTP/1.1 204 No Content\r\n\r\n", True)
    assert ends(server) == [HEADERS]
    assert not server.unfinished(1)


def test_a_tunnel_ends_with_data_or_waits(engine: Engine) -> None:  # RFC 9113 §8.5
    server = answering(engine, 0, TUNNEL, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n")
    server.send(1, b"", True)
    sent = ends(server)
    if not sent:
        assert server.unfinished(1)
        server.receive(window_update(1, 1))
        sent = ends(server)
    assert sent == [DATA]
    assert not server.unfinished(1)
