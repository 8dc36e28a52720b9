"""Trailers on their way through, in both directions (RFC 9110 §6.5)."""

from __future__ import annotations

import pytest

from tests.support.forwarding import forward_to
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import request

REFUSED_IN_TRAILERS = b"Host: lie\r\nX-Forwarded-For: 192.0.2.9\r\nSet-Cookie: lie\r\nX-Request-Id: lie\r\n"


@pytest.mark.parametrize(
    "pieces",
    [
        [b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nx-sum:2 \r\n\r\n"],
        [b"3\r\nabc\r\n", b"0\r\nX-Sum: 1\r\n", REFUSED_IN_TRAILERS, b"x-sum:2 \r\n\r\n"],
    ],
    ids=["plain", "with refused ones"],
)
@pytest.mark.parametrize("at_once", [True, False])
@on_each_loop
async def test_of_a_request(proxy: InProcessProxy, pieces: list[bytes], at_once: bool) -> None:
    async def script(connection: StagedConnection) -> None:
        while True:
            found = await connection.read_head()
            connection.send(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await connection.read_body(found)
            connection.respond(b"ok")

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        head = request("POST /", "Transfer-Encoding: chunked")
        if at_once:
            client.send(head + b"".join(pieces))
        else:
            # The backend has the head, so what follows goes on by itself.
            client.send(head)
            assert (await client.read_response(interim=True)).status == 103
            for piece in pieces:
                client.send(piece)
        assert (await client.read_response("POST")).body == b"ok"
        (found,) = backend.requests
        assert (found.body, found.trailers) == (b"abc", (b"X-Sum: 1", b"x-sum:2 "))
        assert found.all("host") == ["proxy.test"]
        assert not found.names & {"x-sum", "set-cookie"}
        assert (await client.exchange("GET /")).body == b"ok"
        assert backend.requests[1].trailers == ()


@on_each_loop
async def test_of_a_request_that_is_sent_again(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.respond(b"ok")
        if connection.number == 0:
            await connection.read_head()
        else:
            await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 200
        client.send(request("PUT /", "Transfer-Encoding: chunked") + b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")
        assert (await client.read_response("PUT")).body == b"ok"
        found = backend.requests[-1]
        assert (found.connection, found.body, found.trailers) == (1, b"abc", (b"X-Sum: 1",))


@on_each_loop
async def test_of_a_response(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\n")
            connection.send(b"X-Sum: 1\r\n" + REFUSED_IN_TRAILERS + b"grpc-status:0\r\n\r\n")

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        for _ in range(2):
            response = await client.exchange("GET /", "TE: trailers", "Connection: TE")
            assert (response.body, response.trailers) == (b"abc", (("X-Sum", "1"), ("grpc-status", "0")))
            assert not {"x-sum", "trailer", "set-cookie"} & {name for name, _ in response.headers}
        assert len(backend.connections) == 1
        assert [found.all("te") for found in backend.requests] == [["trailers"]] * 2
        assert [found.all("connection") for found in backend.requests] == [["te"]] * 2


@pytest.mark.parametrize(("method", "version"), [("GET", "1.0"), ("HEAD", "1.1")])
@on_each_loop
async def test_they_end_where_there_is_no_chunked_message(proxy: InProcessProxy, method: str, version: str) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        body = b"" if method == "HEAD" else b"3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        client.send(request(f"{method} /", "TE: trailers", "Connection: close", version=version))
        response = await client.read_response(method)
        assert response.body == (b"abc" if method == "GET" else b"")
        assert await client.ending() == "closed"


@pytest.mark.parametrize("trailer", [b"Content-Length: 3", b"X : 1", b"X: \x00", b" X: 1", b"X"])
@on_each_loop
async def test_malformed_ones_end_the_message(proxy: InProcessProxy, trailer: bytes) -> None:
    async with StagedBackend() as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        client.send(request("POST /", "Transfer-Encoding: chunked") + b"0\r\n" + trailer + b"\r\n\r\n")
        assert (await client.read_response("POST")).status == 400
        assert await client.ending() == "closed"
    assert not any(found.trailers for found in backend.requests)
