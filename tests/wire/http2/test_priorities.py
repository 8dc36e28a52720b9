"""What a client says of the order in which it wants responses (RFC 9218), which nghttp2 heeds."""

from __future__ import annotations

import pytest

from tests.support.http2_frames import window_update
from tests.support.session_engines import DATA, GET, NGHTTP2, Engine, head, output, settings
from vrata.wire.http2.contract import PREFACE

CHUNK = 16384


@pytest.fixture
def engine() -> Engine:
    if NGHTTP2 is None:
        pytest.skip("nghttp2 was not at hand")
    return NGHTTP2


def order(engine: Engine, *signals: bytes) -> list[int]:
    """The streams in the order of their frames; each has three to send, and asks for its part of *signals*."""
    server = engine.server()
    server.receive(PREFACE + settings((4, 2**20)) + window_update(0, 2**20))
    output(server)
    for number, signal in enumerate(signals):
        fields = (*GET, (b"priority", signal)) if signal else GET
        server.receive(head(1 + 2 * number, fields, end=True))
    for number in range(len(signals)):
        server.respond(1 + 2 * number, b"HTTP/1.1 200 OK\r\n\r\n", False)
        server.send(1 + 2 * number, bytes(3 * CHUNK), True)
    return [each[2] for each in output(server) if each[0] == DATA]


@pytest.mark.parametrize("signal", [b"", b"i", b"u=3, i", b"i, u=5", b"u=0,i", b"i=?1", b"u=4 , i;x"])
def test_streams_share_the_connection(engine: Engine, signal: bytes) -> None:
    found = order(engine, signal, signal)
    assert sorted(found[:2]) == sorted(found[2:4]) == [1, 3]


@pytest.mark.parametrize("signal", [b"u=3", b"u=0", b"i=?0", b"u=2, i=?0", b"u=9", b"x", b"u"])
def test_streams_follow_each_other(engine: Engine, signal: bytes) -> None:
    """RFC 9218 §4.2: whoever signals, and does not ask for parts, wants wholes."""
    assert order(engine, signal, signal) == [1, 1, 1, 3, 3, 3]


@pytest.mark.parametrize(("first", "second"), [(b"u=5", b"u=1"), (b"", b"u=0"), (b"u=7, i", b"i"), (b"u=4,i", b"")])
def test_what_is_urgent_comes_first(engine: Engine, first: bytes, second: bytes) -> None:
    assert order(engine, first, second)[:3] == [3, 3, 3]
