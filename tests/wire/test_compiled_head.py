"""The compiled reader of heads against the interpreted one: the same result for every small change of a message."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.support.mutation import mutants
from tests.support.request_message import emitted
from vrata.wire.http1 import interpreted_head
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.grammar import MAX_FIELDS

compiled_head: Any = pytest.importorskip("vrata.wire.http1.compiled_head", reason="no compiler was at hand")


def request(module: ModuleType, data: bytes) -> object:
    """Everything that can be known of a request, or of its refusal."""
    try:
        head = module.parse_request_head(data)
    except MalformedMessage as refusal:
        return refusal.status, refusal.reason
    if head is None:
        return None
    return (
        *(head.method, head.target, head.minor, head.authority, head.host, head.path, head.raw_path, head.query),
        *(list(head.lines), list(head.passed), list(head.forwarded_for), head.size, head.fields_size),
        *(head.content_length, bool(head.chunked), bool(head.has_body)),
        *(bool(head.keep_alive), bool(head.expects_continue), bool(head.upgrade), bool(head.accepts_trailers)),
        *(head.values(name) for name in (b"x-forwarded-for", b"forwarded", b"host", b"x")),
        # One that was made is known by its length alone, and left out of what is emitted.
        *(head.request_id if len(head.request_id) != 32 else None, len(head.request_id)),
        *(head.header(name) for name in ("x", "host", "te", "")),
        head.query_parameter("b"),
        emitted(head),
        emitted(head, forwarding=b"", host=b"told.test"),
    )


def response(module: ModuleType, data: bytes) -> object:
    """Everything that can be known of a response, or of its refusal."""
    try:
        head = module.parse_response_head(data)
    except MalformedMessage as refusal:
        return refusal.reason
    if head is None:
        return None
    heads = [
        head.emit(chunked=chunked, close=close, keep_alive_1_0=not close, server=server)
        for chunked in (False, True)
        for close in (False, True)
        for server in (None, b"vrata")
    ]
    return (
        *(head.status, head.minor, list(head.passed), head.size, head.server, bool(head.dated)),
        *(head.content_length, bool(head.chunked), bool(head.keep_alive)),
        *(bool(head.is_informational), bool(head.is_event_stream)),
        *(bool(head.body_expected(method)) for method in (b"GET", b"HEAD")),
        # The date of now may change between the two.
        heads if head.dated else None,
    )


@pytest.mark.parametrize(
    "data",
    [
        b"PUT /a%20?b=1 HTTP/1.1\r\nHost: a\r\nX:1\r\nContent-Length: 5\r\n\r\nabcdeGET",
        b"PUT http://b/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3;x\r\n",
        b"OPTIONS * HTTP/1.0\r\nHost: [::1]:80\r\nX-Forwarded-For: q\r\nConnection: close, X\r\nX: \xe4 \r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, trailers\r\nX-Request-Id: r\r\nConnection: x-request-id, te\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:a\r\nX-Request-Id:r\r\nUpgrade:websocket\r\nConnection:upgrade\r\nTE:trailers\r\n\r\n",
    ],
)
def test_requests(data: bytes) -> None:
    for mutant in mutants(data):
        assert request(compiled_head, mutant) == request(interpreted_head, mutant), mutant


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nDate: x\r\nX:1\r\nContent-Length: 5\r\nServer: s\r\n\r\nabcde",
        b"HTTP/1.0 304 x\r\nDate: x\r\nConnection: close, x\r\nX: 1\r\nContent-Type: text/event-stream;a\r\n\r\n",
        b"HTTP/1.1 204\r\nDate: y\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_responses(data: bytes) -> None:
    for mutant in mutants(data):
        assert response(compiled_head, mutant) == response(interpreted_head, mutant), mutant


def test_a_head_of_too_many_lines_changes_nothing_for_the_next() -> None:
    # The spans of a head are collected in one place for all heads, with room for so many and no more.
    lines = b"X: 1\r\n" * (MAX_FIELDS + 50)
    for parse, start in (
        (compiled_head.parse_request_head, b"GET / HTTP/1.1\r\n"),
        (compiled_head.parse_response_head, b"HTTP/1.1 200 OK\r\n"),
    ):
        with pytest.raises(MalformedMessage, match="too many"):
            parse(start + lines + b"\r\n")
    for byte in range(256):
        for line in (b"Host: a%cb\r\n", b"Host: a\r\nX: a%cb\r\n", b"Host: a\r\nX%cb: 1\r\n"):
            data = b"GET / HTTP/1.1\r\n" + line % byte + b"\r\n"
            assert request(compiled_head, data) == request(interpreted_head, data), data
