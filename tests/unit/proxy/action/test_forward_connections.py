"""Connections of forwarded requests: pooled ones that died, and clients that go away."""

from __future__ import annotations

import asyncio
import socket

import pytest

from tests.support.conditions import eventually_async
from tests.support.forwarding import after_head, error, forward_to, stay_silent
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.raw_http import TruncatedResponse
from tests.support.staged_backend import StagedBackend, StagedConnection, answer_ok
from tests.support.stream_client import StreamClient, request, within


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize(
    ("line", "body", "repeated"),
    [
        ("GET /", None, True),
        ("HEAD /", None, True),
        ("DELETE /", None, True),
        ("PUT /", b"content", True),
        ("POST /", b"content", False),
        ("POST /", None, False),
        ("PATCH /", b"content", False),
    ],
)
@on_each_loop
async def test_a_dead_pooled_connection(
    proxy: InProcessProxy, end: str, line: str, body: bytes | None, repeated: bool
) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.respond(b"first")
        if connection.number == 0:
            # Dies with the second request in its hands: for the proxy the same as having died unnoticed before.
            await connection.read_head()
            if end == "reset":
                connection.reset()
        else:
            await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 200
        response = await client.exchange(line, body=body)
        assert len(backend.connections) == (2 if repeated else 1)
        if repeated:
            assert response.status == 200
            assert backend.requests[2].body == (body or b"")
            assert backend.requests[2].fields == backend.requests[1].fields
        else:
            assert error(response) == (502, "connection_reset")


@on_each_loop
async def test_a_put_whose_body_is_still_coming_is_not_repeated(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.respond(b"first")
        await connection.read_head()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 200
        client.send(request("PUT /", "Content-Length: 4") + b"ab")
        assert error(await client.read_response()) == (502, "connection_reset")
        assert len(backend.connections) == 1


@on_each_loop
async def test_a_request_is_repeated_once_only(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        if connection.number == 0:
            connection.respond(b"first")
            await connection.read_head()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 200
        assert error(await client.exchange("GET /")) == (502, "connection_reset")
        assert len(backend.connections) == 2


@on_each_loop
async def test_the_repetition_has_the_whole_response_header_limit(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        if connection.number == 0:
            connection.respond(b"first")
            await connection.read_head()
        await asyncio.sleep(0.6)
        if connection.number == 1:
            connection.respond(b"second")
            await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port, limits={"responseHeader": "1s"})
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 200
        assert (await client.exchange("GET /")).body == b"second"


@on_each_loop
async def test_a_pooled_connection_is_used_again_and_closed_when_idle_too_long(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await forward_to(proxy, backend.port, limits={"idleConnection": "200ms"})
        client = await proxy.connect()
        for _ in range(3):
            assert (await client.exchange("POST /", body=b"x")).body == b"ok"
        assert len(backend.connections) == 1
        await eventually_async(lambda: backend.open == 0, what="the idle connection is closed")
        assert (await client.exchange("POST /", body=b"x")).body == b"ok"


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
    ],
    ids=["close", "HTTP/1.0", "bytes behind it"],
)
@on_each_loop
async def test_a_connection_that_cannot_serve_again_is_not_pooled(proxy: InProcessProxy, data: bytes) -> None:
    async with StagedBackend(after_head(data, then="silent")) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        for count in (1, 2):
            assert (await client.exchange("POST /", body=b"x")).body == b"ok"
            assert len(backend.connections) == count
        await eventually_async(lambda: backend.open == 0, what="both are closed")


# -- cancellation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "how"),
    # One that closes only its sending side after the request looks like one that closes: it may still wait.
    [
        ("waiting", "reset"),
        ("in the response", "reset"),
        ("in the response", "close"),
        ("uploading", "reset"),
        ("uploading", "close"),
    ],
)
@on_each_loop
async def test_a_client_that_goes_away_cancels_the_upstream(proxy: InProcessProxy, when: str, how: str) -> None:
    arrived = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        if when == "in the response":
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            connection.send(b"1\r\na\r\n")
        arrived.set()
        with_data = when == "in the response"
        while with_data and not connection.reader.at_eof():
            connection.send(b"1\r\na\r\n")
            await connection.flush()
            await asyncio.sleep(0.01)
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        client.send(request("POST /", "Content-Length: 9") + b"abc" if when == "uploading" else request("GET /"))
        await within(arrived.wait(), "the request reaches the backend")
        if when == "in the response":
            await client.read_head()
        client.reset() if how == "reset" else client.close()
        await eventually_async(lambda: backend.open == 0, what="the upstream connection is cancelled")
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 0, what="the request is over")


@on_each_loop
async def test_a_client_that_goes_away_while_the_upstream_is_dialled(proxy: InProcessProxy) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        fillers = [socket.socket() for _ in range(8)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(listening.getsockname())
            await forward_to(proxy, listening.getsockname()[1], limits={"connect": "200ms"})
            client = await proxy.connect()
            client.send(request("GET /"))
            await eventually_async(lambda: proxy.data_plane.status().in_flight == 1, what="the request is in flight")
            client.reset()
            await eventually_async(lambda: proxy.data_plane.status().in_flight == 0, what="the request is over")
            await eventually_async(lambda: "0 running" in repr(proxy.tasks), what="the dial is over")
        finally:
            for filler in fillers:
                filler.close()


@on_each_loop
async def test_a_client_that_half_closes_is_answered(proxy: InProcessProxy) -> None:
    release = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        await release.wait()
        connection.respond(b"late")
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        client.send(request("GET /"))
        client.half_close()
        await eventually_async(lambda: bool(backend.requests), what="the request reaches the backend")
        release.set()
        assert (await client.read_response()).body == b"late"
        assert await client.ending() == "closed"


@on_each_loop
async def test_requests_that_fail_leave_the_next_ones_alone(proxy: InProcessProxy) -> None:
    async with StagedBackend(stay_silent) as backend:
        await forward_to(proxy, backend.port, limits={"request": "100ms"})
        client = await proxy.connect()
        client.send(request("GET /1") + request("GET /2"))  # pipelined
        assert error(await client.read_response()) == (504, "timeout")
        backend.script = answer_ok
        assert (await client.read_response()).body == b"ok"


@on_each_loop
async def test_a_truncated_response_is_reported_by_the_client_that_reads_it(proxy: InProcessProxy) -> None:
    async with StagedBackend(after_head(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", then="close")) as backend:
        await forward_to(proxy, backend.port)
        client: StreamClient = await proxy.connect()
        with pytest.raises((TruncatedResponse, ConnectionResetError)):
            await client.exchange("GET /")
