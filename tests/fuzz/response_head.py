"""Response heads: the compiled reader against its interpreted twin and h11, and what goes on against what came."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from tests.fuzz.head_readers import TWINS, agreed_verdict
from tests.support.h11_comparison import assert_same_response
from tests.support.mutation import SNIPPETS
from tests.support.observed_head import observed_response
from vrata.wire.http1.head import MAX_FIELDS, MAX_HEAD

NAMES = (b"Date", b"Server", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Content-Type", b"Upgrade")
DICTIONARY = (*SNIPPETS, *(name + b": " for name in NAMES), b"text/event-stream", b"100", b"101", b"204", b"304")
_OUR_FIELDS = 10


def seeds() -> Iterator[bytes]:
    """Responses with something of everything."""
    yield b"HTTP/1.1 200 OK\r\nDate: x\r\nX:1\r\nContent-Length: 5\r\nServer: s\r\n\r\nabcde"
    yield b"HTTP/1.0 304 x\r\nDate: x\r\nConnection: close, x\r\nX: 1\r\nContent-Type: text/event-stream;a\r\n\r\n"
    yield b"HTTP/1.1 204\r\nDate: y\r\nTransfer-Encoding: chunked\r\n\r\n"
    yield b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81"
    yield b"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n3;a=b\r\nabc\r\n0\r\nX: 1\r\n\r\n"
    yield b"HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"
    yield b"HTTP/1.1 599 \xff\r\nConnection: server\r\nServer: s\r\nProxy-Authenticate: a\r\n\r\n"
    yield b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 100 + b"\r\n"


def check(data: bytes) -> None:
    """Raise ``AssertionError`` where two readers, or two ways to read, differ."""
    compiled, interpreted = (observed_response(twin, data) for twin in TWINS)
    assert compiled == interpreted
    whole = agreed_verdict("parse_response_head", data)
    switches = data[9:12] == b"101"  # h11 takes that only from somebody who has asked for it
    if (whole or 0) > 0 if switches else assert_same_response(data, b"GET"):
        for twin in TWINS:
            _check_emitted(twin, data)


def _check_emitted(module: ModuleType, data: bytes) -> None:
    """What goes on is read as the message that came."""
    head = module.parse_response_head(data)
    chunked = head.body_expected(b"GET") and head.content_length < 0
    for close in (False, True):
        emitted = head.emit(chunked=chunked, close=close, keep_alive_1_0=False, server=None)
        assert emitted.endswith(b"\r\n\r\n")
        assert emitted.count(b"\r\n\r\n") == 1
        if len(head.passed) > MAX_FIELDS - _OUR_FIELDS:
            continue
        again = module.parse_response_head(emitted, 2 * MAX_HEAD)
        assert again.size == len(emitted)
        assert (again.status, again.minor) == (head.status, 1)
        assert (again.chunked, again.content_length) == (chunked, head.content_length)
        assert again.keep_alive is not close or head.status == 101
        remaining = iter(again.passed)
        assert all(line in remaining for line in head.passed)
        if head.status != 101:
            assert_same_response(emitted, b"GET")
