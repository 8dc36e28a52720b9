"""Request heads: the compiled reader against its interpreted twin and h11, and what goes on against what came."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from tests.fuzz.head_readers import TWINS, agreed_verdict
from tests.support.h11_comparison import assert_same_request
from tests.support.mutation import SNIPPETS
from tests.support.observed_head import observed_request
from tests.support.request_message import FORWARDING
from vrata.wire.http1.head import MAX_FIELDS, MAX_HEAD

NAMES = (
    *(b"Host", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Upgrade", b"X-Forwarded-For"),
    *(b"Forwarded", b"X-Forwarded-Port", b"TE", b"Trailer", b"Keep-Alive", b"X-Request-Id"),
)
DICTIONARY = (
    *SNIPPETS,
    *(name + b": " for name in NAMES),
    *(b"100-continue", b"keep-alive", b"close", b"upgrade", b"websocket", b"GET", b"OPTIONS * ", b"CONNECT", b"[::1]"),
)
_OUR_FIELDS = 10
"""Header lines that emission may add."""


def seeds() -> Iterator[bytes]:
    """Requests with something of everything."""
    yield b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    yield b"PUT /a%20?b=1#c HTTP/1.1\r\nHost: a\r\nX:1\r\nContent-Length: 5\r\n\r\nabcdeGET"
    yield b"PUT http://b/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3;x\r\n"
    yield b"OPTIONS * HTTP/1.0\r\nHost: [::1]:80\r\nX-Forwarded-For: q\r\nConnection: close, X\r\nX: \xe4 \r\n\r\n"
    yield b"GET /chat HTTP/1.1\r\nHost: a:80\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n"
    yield b"\r\nHEAD http://u@[v1.x]:1?q HTTP/1.1\r\nhost:\r\nTE: trailers\r\nForwarded: for=1\r\n\r\n"
    yield b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n"
    yield b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 99 + b"\r\n"
    yield b"GET /" + b"a" * 8200


def check(data: bytes) -> None:
    """Raise ``AssertionError`` where two readers, or two ways to read, differ."""
    compiled, interpreted = (observed_request(twin, data) for twin in TWINS)
    assert compiled == interpreted
    agreed_verdict("parse_request_head", data)
    if assert_same_request(data):
        for twin in TWINS:
            _check_emitted(twin, data)


def _check_emitted(module: ModuleType, data: bytes) -> None:
    """What goes on is read as the message that came, by us and by h11."""
    head = module.parse_request_head(data)
    authority = head.authority or b"up.test"
    emitted = head.emit(target=head.target, authority=authority, client=b"192.0.2.1", forwarding=FORWARDING)
    assert emitted.endswith(b"\r\n\r\n")
    assert emitted.count(b"\r\n\r\n") == 1
    assert assert_same_request(emitted) or len(head.lines) > MAX_FIELDS - _OUR_FIELDS
    if len(head.lines) > MAX_FIELDS - _OUR_FIELDS:
        return
    again = module.parse_request_head(emitted, 2 * MAX_HEAD)
    assert again.size == len(emitted)
    assert (again.method, again.target, again.authority) == (head.method, head.target, authority)
    assert (again.content_length, again.chunked) == (head.content_length, head.chunked)
    assert (again.expects_continue, again.upgrade) == (head.expects_continue, head.upgrade)
    assert again.keep_alive
    remaining = iter(again.lines)
    assert all(line in remaining for line in head.passed)
