"""What matchers and expressions see of a request that came over a connection."""

from __future__ import annotations

import pytest

from tests.support.downstream_client import DownstreamClient, immediately
from tests.support.multiplexing_client import MultiplexingClient
from tests.support.request_message import message
from vrata.expressions import RequestVariables, compile_expression
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.seen_body import SeenBody


def request_of(*fields: bytes, line: bytes = b"GET /a%20b?q=1&q=2&flag&x=%C3%A9 HTTP/1.1") -> DownstreamRequest:
    client = DownstreamClient()
    client.send(message(*fields, line=line))
    return client.last.request


@pytest.mark.parametrize(
    "cel",
    [
        "request.method == 'GET'",
        "request.path == '/a b'",
        "request.host == 'a'",
        "request.scheme == 'http'",
        "request.clientIp == '192.0.2.1'",
        "request.headers['x-user'] == 'one'",
        "request.headers == {'x-user': 'one', 'x-empty': '', 'content-type': 'text/plain'}",
        "!has(request.headers.forwarded) && !('x-forwarded-proto' in request.headers)",
        "request.queryParams == {'q': '1', 'flag': '', 'x': 'é'}",
        "request.queryParams.q == '1' && request.queryParams.x == 'é'",
        "!has(request.body) && !has(request.tls)",
    ],
)
def test_an_expression_reads_the_members(cel: str) -> None:
    fields = (
        b"X-User: one",
        b"x-user: two",
        b"X-Empty:",
        b"Content-Type: text/plain",
        b"Forwarded: for=lie",
        b"X-Forwarded-Proto: https",
        b"X-Forwarded-Client-Cert: URI=lie",
    )
    assert compile_expression(cel).holds(request_of(*fields)), cel


def test_the_view_is_the_one_that_expressions_ask_for() -> None:
    view: RequestVariables = request_of()
    assert (view.body, view.body_json, view.certificate) == (None, None, None)


def test_every_value_that_is_seen_at_once_is_the_one_that_is_seen_alone() -> None:
    request = request_of(b"A: 1", b"a: 2", b"B:  3 ", b"C-d: \xe9", b"Forwarded: x")
    values = request.header_values()
    assert list(values) == ["a", "b", "c-d"]
    assert all(request.header(name) == value for name, value in values.items())
    parameters = request.query_parameters()
    assert all(request.query_parameter(name) == value for name, value in parameters.items())


@pytest.mark.parametrize(
    ("fields", "pending"),
    [
        ((), False),
        ((b"Content-Length: 0",), False),
        ((b"Content-Length: 1",), True),
        ((b"Transfer-Encoding: chunked",), True),
    ],
)
def test_a_body_is_pending_until_it_was_seen(fields: tuple[bytes, ...], pending: bool) -> None:
    request = request_of(*fields, line=b"POST / HTTP/1.1")
    assert request.body_pending is pending
    request.seen(SeenBody(b"x", True))
    assert request.body_pending is False
    assert request.body == b"x"


def test_an_empty_body_is_absent() -> None:
    request = request_of(b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.1")
    request.seen(SeenBody(b"", True))
    assert (request.body, request.body_json) == (None, None)
    assert compile_expression("!has(request.body)").holds(request)


@pytest.mark.parametrize("minor", [0, 1])
def test_the_connection_that_it_came_over(minor: int) -> None:
    request = request_of(line=b"GET / HTTP/1.%d" % minor)
    assert request.protocol == f"HTTP/1.{minor}"
    assert (request.listener_address, request.peer, request.peer_port) == ("127.0.0.1:3000", b"192.0.2.1", 4711)


def test_a_request_of_http2_came_in_that() -> None:
    seen: list[str] = []

    def note(request: DownstreamRequest) -> None:
        seen.append(request.protocol)
        immediately(request)

    client = MultiplexingClient(answer=note)
    client.start()
    client.request()
    assert seen == ["HTTP/2"]
