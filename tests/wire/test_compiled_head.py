"""The compiled reader of heads against the interpreted one: the same result for every small change of a message."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.mutation import mutants
from tests.support.observed_head import observed_request, observed_response
from vrata.wire.http1 import interpreted_head
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.grammar import MAX_FIELDS

compiled_head: Any = pytest.importorskip("vrata.wire.http1.compiled_head", reason="no compiler was at hand")


@pytest.mark.parametrize(
    "data",
    [
        b"PUT /a%20?b=1 HTTP/1.1\r\nHost: a\r\nX:1\r\nContent-Length: 5\r\n\r\nabcdeGET",
        b"PUT http://b/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n3;x\r\n",
        b"OPTIONS * HTTP/1.0\r\nHost: [::1]:80\r\nX-Forwarded-For: q\r\nConnection: close, X\r\nX: \xe4 \r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, trailers\r\nX-Request-Id: r\r\nConnection: x-request-id, te\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/grpc;a\r\nContent-Type: application/grpc\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost:a\r\nX-Request-Id:r\r\nUpgrade:websocket\r\nConnection:upgrade\r\nTE:trailers\r\n\r\n",
    ],
)
def test_requests(data: bytes) -> None:
    for mutant in mutants(data):
        assert observed_request(compiled_head, mutant) == observed_request(interpreted_head, mutant), mutant


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nDate: x\r\nX:1\r\nContent-Length: 5\r\nServer: s\r\n\r\nabcde",
        b"HTTP/1.0 304 x\r\nDate: x\r\nConnection: close, x\r\nX: 1\r\nContent-Type: text/event-stream;a\r\n\r\n",
        b"HTTP/1.1 200\r\nGrpc-Status:1\r\nContent-Type:application/grpc+a\r\nConnection:grpc-status\r\n\r\n",
        b"HTTP/1.1 204\r\nDate: y\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_responses(data: bytes) -> None:
    for mutant in mutants(data):
        assert observed_response(compiled_head, mutant) == observed_response(interpreted_head, mutant), mutant


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
            assert observed_request(compiled_head, data) == observed_request(interpreted_head, data), data


@pytest.mark.parametrize(
    ("target", "is_plain", "is_plain_merged"),
    [
        (b"/", True, True),
        (b"/a.b/c..d/e", True, True),
        (b"/a?/../%61//\\", True, True),
        (b"*", True, True),
        (b"//", True, False),
        (b"/;/a", True, False),
        (b"/a;/b?/;", True, True),
        (b"/a//b", True, False),
        (b"/.", False, False),
        (b"/a/.b", False, False),
        (b"/%61", False, False),
        (b"/a\\b", False, False),
        (b"http://b/a", True, True),
    ],
)
def test_plain_paths(target: bytes, is_plain: bool, is_plain_merged: bool) -> None:
    method = b"OPTIONS" if target == b"*" else b"GET"
    for reader in (compiled_head, interpreted_head):
        head = reader.parse_request_head(b"%s %s HTTP/1.1\r\nHost: a\r\n\r\n" % (method, target))
        assert [head.has_plain_path(merges) for merges in (False, True)] == [is_plain, is_plain_merged]
