"""Requests to a destination that speaks HTTP/2: the whole way through the proxy, and what is sent again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.support.conditions import eventually_async
from tests.support.gateway import destination, forward, route
from tests.support.http2_backend import Http2Backend, Http2BackendConnection, Http2Request
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.raw_http import Response
from tests.support.scripted_backend import ScriptedBackend

RETRY = {"attempts": 3, "backoff": {"base": "1ms", "max": "1ms"}}
BODY = b"content"


async def forward_to(proxy: InProcessProxy, port: int, options: dict[str, Any] | None = None, **settings: Any) -> None:
    """Apply one route to one destination on *port*, which is spoken to in HTTP/2."""
    report = await proxy.apply(
        route("all", forward=forward("backend", **settings)),
        listeners=[proxy.listener(proxyErrors={"detail": "full"})],
        destinations=[destination("backend", port, **{"http2": True, **(options or {})})],
    )
    assert not report.problems


def begun(proxy: InProcessProxy, line: str, body: bytes | None = None) -> asyncio.Task[Response]:
    """A client's request on its way."""

    async def ask() -> Response:
        client = await proxy.connect()
        return await client.exchange(line, body=body)

    return asyncio.get_running_loop().create_task(ask())


async def next_request(connection: Http2BackendConnection) -> Http2Request:
    return await (await connection.request()).until_complete()


def error(response: Response) -> tuple[int, str]:
    return response.status, json.loads(response.body)["error"]


@pytest.mark.parametrize("line", ["GET /x?y", "POST /x?y", "DELETE /x?y"])
@on_each_loop
async def test_a_request_and_its_response(proxy: InProcessProxy, line: str) -> None:
    async with Http2Backend() as backend:
        await forward_to(proxy, backend.port)
        method, path = line.split()
        body = BODY if method == "POST" else None
        asking = begun(proxy, line, body)
        request = await next_request(await backend.accept())
        assert (request[":method"], request.path, request.content) == (method, path, body or b"")
        assert request["x-forwarded-proto"] == "http"
        assert not {"connection", "host", "transfer-encoding"} & dict(request.fields).keys()
        request.answer(b"answer", 201)
        response = await asking
        assert (response.status, response.body) == (201, b"answer")
        assert "connection" not in response


@on_each_loop
async def test_head_requests_and_responses_without_content(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        loop = asyncio.get_running_loop()
        asking = loop.create_task(client.exchange("HEAD /"))
        connection = await backend.accept()
        (await connection.request()).head([(":status", "200"), ("content-length", "100")], end=True)
        response = await asking
        assert (response.status, response["content-length"], response.body) == (200, "100", b"")
        for status in ("204", "304"):
            asking = loop.create_task(client.exchange("GET /"))
            (await connection.request()).head([(":status", status)], end=True)
            assert (await asking).status == int(status)


@pytest.mark.parametrize("how", ["reset", "no error", "close"])
@on_each_loop
async def test_a_response_that_is_cut_looks_cut(proxy: InProcessProxy, how: str) -> None:
    async with Http2Backend() as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        request = await next_request(await backend.accept())
        request.head([(":status", "200")])
        request.send(b"part")
        assert (await client.read_head()).status == 200
        assert await client.read_exactly(9) == b"4\r\npart\r\n"
        if how == "close":
            request.connection.close()
        else:
            request.refuse(ErrorCodes.NO_ERROR if how == "no error" else ErrorCodes.INTERNAL_ERROR)
        assert await client.ending() in ("closed", "reset")  # without a last chunk


@pytest.mark.parametrize("retries", [False, True])
@pytest.mark.parametrize("line", ["GET /", "POST /", "PATCH /"])
@on_each_loop
async def test_a_refused_request_is_sent_again_whatever_its_method(
    proxy: InProcessProxy, line: str, retries: bool
) -> None:
    async with Http2Backend() as backend:
        outliers = {"outlierDetection": {"consecutive5xx": 1}}
        await forward_to(proxy, backend.port, outliers, **({"retry": RETRY} if retries else {}))
        body = None if line.startswith("GET") else BODY
        asking = begun(proxy, line, body)
        for _ in range(3):
            request = await next_request(await backend.accept())
            assert request.content == (body or b"")
            request.refuse()
        request = await next_request(await backend.accept())
        assert request.content == (body or b"")
        request.answer()
        assert (await asking).status == 200


@on_each_loop
async def test_it_is_not_sent_again_without_end(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        await forward_to(proxy, backend.port)
        asking = begun(proxy, "POST /", BODY)
        for _ in range(4):
            (await next_request(await backend.accept())).refuse()
        assert error(await asking) == (502, "connection_reset")
        assert backend.connections == 4


@on_each_loop
async def test_a_goodbye_before_the_request_was_taken_costs_nothing(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        await forward_to(proxy, backend.port)
        asking = begun(proxy, "POST /", BODY)
        connection = await backend.accept()
        await next_request(connection)
        connection.go_away(0)
        request = await next_request(await backend.accept())
        assert request.content == BODY
        request.answer()
        assert (await asking).status == 200


@pytest.mark.parametrize("retries", [False, True])
@on_each_loop
async def test_a_body_that_is_not_there_any_more_is_not_sent_again(proxy: InProcessProxy, retries: bool) -> None:
    async with Http2Backend() as backend:
        await forward_to(proxy, backend.port, **({"retry": RETRY} if retries else {}))
        client = await proxy.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        request = await (await backend.accept()).request()
        await request.until_content(3)
        client.send(b"3\r\ndef\r\n")
        await request.until_content(6)
        request.refuse()
        if not retries:
            assert error(await client.read_response()) == (502, "connection_reset")
            return
        request = await (await backend.accept()).request()
        await request.until_content(6)
        client.send(b"1\r\ng\r\n0\r\n\r\n")
        await request.until_complete()
        assert request.content == b"abcdefg"
        request.answer()
        assert (await client.read_response()).status == 200


@pytest.mark.parametrize(("line", "repeated"), [("GET /", True), ("POST /", False)])
@on_each_loop
async def test_a_connection_that_dies_beneath_a_request(proxy: InProcessProxy, line: str, repeated: bool) -> None:
    async with Http2Backend() as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        loop = asyncio.get_running_loop()
        asking = loop.create_task(client.exchange("GET /"))
        connection = await backend.accept()
        (await connection.request()).answer()
        await asking
        asking = loop.create_task(client.exchange(line))
        await connection.request()
        connection.close()
        if repeated:
            (await (await backend.accept()).request()).answer()
            assert (await asking).status == 200
        else:
            assert error(await asking) == (502, "connection_reset")


@on_each_loop
async def test_a_server_of_http1_gets_a_clear_failure(proxy: InProcessProxy) -> None:
    async with ScriptedBackend() as backend:
        await forward_to(proxy, backend.port)
        asking = begun(proxy, "GET /")
        connection = await backend.accept()
        await connection.read_head()
        connection.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        assert error(await asking) == (502, "connection_refused")


@on_each_loop
async def test_requests_over_one_connection_of_http1_are_limited(proxy: InProcessProxy) -> None:
    async with ScriptedBackend() as backend:
        await forward_to(proxy, backend.port, {"http2": False, "maxRequestsPerConnection": 2})
        client = await proxy.connect()
        for _ in range(2):
            connection = None
            for _ in range(2):
                asking = asyncio.get_running_loop().create_task(client.exchange("GET /"))
                connection = connection or await backend.accept()
                await connection.read_head()
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                assert (await asking).status == 200
            assert connection is not None
            assert await connection.read_to_end() == b""
        assert backend.connections == 2


@on_each_loop
async def test_least_request_counts_streams(proxy: InProcessProxy) -> None:
    async with Http2Backend() as one, Http2Backend() as two:
        endpoints = [{"host": "127.0.0.1", "port": backend.port} for backend in (one, two)]
        backend = destination("backend", one.port, http2=True, endpointBalancing={"algorithm": "LEAST_REQUEST"})
        backend["endpoints"] = endpoints
        await proxy.apply(route("all", forward=forward("backend")), destinations=[backend])
        asking = [begun(proxy, f"GET /{number}") for number in range(20)]
        connections = [await one.accept(), await two.accept()]
        await eventually_async(lambda: sum(len(each.requests) for each in connections) == 20, what="all are there")
        assert [len(each.requests) for each in connections] == [10, 10]
        for connection in connections:
            for request in connection.requests:
                request.answer()
        assert [(await each).status for each in asking] == [200] * 20


UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@on_each_loop
async def test_a_websocket_over_a_stream(proxy: InProcessProxy) -> None:
    async with Http2Backend({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        client.send(UPGRADE)
        request = await (await backend.accept()).request()
        assert (request[":method"], request[":protocol"], request.path) == ("CONNECT", "websocket", "/chat")
        request.head([(":status", "200")])
        head = await client.read_head()
        assert (head.status, head["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
        client.send(b"from the client")
        await request.until_content(15)
        request.send(b"from the upstream")
        assert await client.read_exactly(17) == b"from the upstream"
        request.send(b"", end=True)
        client.half_close()
        assert await client.ending() == "closed"


@on_each_loop
async def test_copies_go_to_a_mirror_that_speaks_http2(proxy: InProcessProxy) -> None:
    async with ScriptedBackend() as backend, Http2Backend() as mirror:
        report = await proxy.apply(
            route("all", forward=forward("backend", mirror={"destinationId": "mirror"})),
            destinations=[destination("backend", backend.port), destination("mirror", mirror.port, http2=True)],
        )
        assert not report.problems
        client = await proxy.connect()
        client.send(b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        connection = await backend.accept()
        await connection.read_head()
        client.send(b"3\r\ndef\r\n0\r\nX-Sum: 1\r\n\r\n")
        copy = await next_request(await mirror.accept())
        assert (copy.path, copy.content, copy.trailers) == ("/x", b"abcdef", [("x-sum", "1")])
        copy.answer()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert (await client.read_response()).status == 200


@on_each_loop
async def test_a_plan_changes_what_is_spoken(proxy: InProcessProxy) -> None:
    async with ScriptedBackend() as backend:
        await forward_to(proxy, backend.port, {"http2": False})
        client = await proxy.connect()
        asking = asyncio.get_running_loop().create_task(client.exchange("GET /"))
        connection = await backend.accept()
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        assert (await asking).status == 200
        await forward_to(proxy, backend.port, {"http2": True})
        assert await connection.read_to_end() == b""
        asking = begun(proxy, "GET /")
        connection = await backend.accept()
        assert await connection.read_head() == b"PRI * HTTP/2.0\r\n\r\n"
        connection.close()
        assert error(await asking) == (502, "connection_refused")
