"""Limits of time, failures, retries and cancellation of a forwarded request, over real sockets."""

from __future__ import annotations

import asyncio
import json
import socket

import pytest

from tests.support.conditions import eventually_async
from tests.support.forwarding import EVENT_STREAM, after_head, error, forward_to, stay_silent
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import request

# -- limits of time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["route", "destination", "both"])
@on_each_loop
async def test_the_request_budget(proxy: InProcessProxy, where: str) -> None:
    # The route's own budget is stronger, whichever is shorter.
    limits = {"request": "10s" if where == "both" else "100ms"} if where != "route" else {}
    limits["idleConnection"] = "200ms"  # a connection that comes about too late for its request is kept
    settings = {"timeouts": {"request": "100ms"}} if where != "destination" else {}
    async with StagedBackend(stay_silent) as backend:
        await forward_to(proxy, backend.port, limits=limits, **settings)
        client = await proxy.connect()
        response = await client.exchange("GET /")
        assert error(response) == (504, "timeout")
        await eventually_async(lambda: backend.open == 0, what="the upstream connection is cancelled")
        assert (await client.exchange("GET /")).status == 504  # on the same connection


@on_each_loop
async def test_a_longer_route_budget_replaces_the_destinations(proxy: InProcessProxy) -> None:
    release = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        await release.wait()
        connection.respond(b"late")

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port, limits={"request": "50ms"}, timeouts={"request": "0s"})
        client = await proxy.connect()
        client.send(request("GET /"))
        assert await client.is_silent(0.2)
        release.set()
        assert (await client.read_response()).body == b"late"


@on_each_loop
async def test_the_response_header_limit_begins_when_the_request_is_sent(proxy: InProcessProxy) -> None:
    async with StagedBackend(stay_silent) as backend:
        await forward_to(proxy, backend.port, limits={"responseHeader": "100ms"})
        client = await proxy.connect()
        client.send(request("POST /", "Content-Length: 4") + b"ab")
        assert await client.is_silent(0.25)
        client.send(b"cd")
        assert error(await client.read_response()) == (504, "timeout")


@on_each_loop
async def test_the_response_header_limit_is_over_with_the_head(proxy: InProcessProxy) -> None:
    release = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await release.wait()
        connection.send(b"cd")
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port, limits={"responseHeader": "400ms"})
        client = await proxy.connect()
        client.send(request("GET /"))
        await client.read_head()
        assert await client.read_exactly(2) == b"ab"
        assert await client.is_silent(0.6)
        release.set()
        assert await client.read_exactly(2) == b"cd"


@on_each_loop
async def test_a_budget_that_passes_in_a_response_breaks_it(proxy: InProcessProxy) -> None:
    script = after_head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", then="silent")
    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port, limits={"request": "500ms"})
        client = await proxy.connect()
        client.send(request("GET /"))
        assert (await client.read_head())["transfer-encoding"] == "chunked"
        assert await client.read_exactly(7) == b"2\r\nab\r\n"
        assert await client.ending() == "reset"
        await eventually_async(lambda: backend.open == 0, what="the upstream connection is cancelled")


@on_each_loop
async def test_an_event_stream_outlives_the_budget(proxy: InProcessProxy) -> None:
    more = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(EVENT_STREAM + b"6\r\ndata:1\r\n")
        await more.wait()
        connection.send(b"6\r\ndata:2\r\n0\r\n\r\n")
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port, limits={"request": "400ms"})
        client = await proxy.connect()
        client.send(request("GET /"))
        await client.read_head()
        assert await client.read_exactly(11) == b"6\r\ndata:1\r\n"
        assert await client.is_silent(0.6)
        more.set()
        assert await client.read_exactly(16) == b"6\r\ndata:2\r\n0\r\n\r\n"


@on_each_loop
async def test_an_event_stream_must_begin_within_the_budget(proxy: InProcessProxy) -> None:
    async with StagedBackend(stay_silent) as backend:
        await forward_to(proxy, backend.port, limits={"request": "100ms"})
        client = await proxy.connect()
        assert error(await client.exchange("GET /", "Accept: text/event-stream")) == (504, "timeout")


# -- failures ---------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_a_refused_connection(proxy: InProcessProxy) -> None:
    with socket.socket() as sock:  # bound and not listening: nobody else can take the port meanwhile
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
        await forward_to(proxy, port)
        client = await proxy.connect()
        assert error(await client.exchange("GET /")) == (502, "connection_refused")
        response = await client.exchange("GET /")  # the client's connection stays
        assert error(response) == (502, "connection_refused")
        members = json.loads(response.body)
        assert (members["destination"], members["endpoint"]) == ("backend", f"127.0.0.1:{port}")


@on_each_loop
async def test_a_connection_that_does_not_come_about_in_time(proxy: InProcessProxy) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        fillers = [socket.socket() for _ in range(8)]
        try:
            for filler in fillers:  # a full accept queue drops further SYNs
                filler.setblocking(False)
                filler.connect_ex(address)
            await forward_to(proxy, address[1], limits={"connect": "100ms"})
            client = await proxy.connect()
            assert error(await client.exchange("POST /", body=b"x")) == (504, "timeout")
        finally:
            for filler in fillers:
                filler.close()


@on_each_loop
async def test_a_name_that_does_not_resolve(proxy: InProcessProxy) -> None:
    await proxy.apply(
        route("all", forward=forward("backend")), destinations=[destination("backend", 80, host="name.invalid")]
    )
    client = await proxy.connect()
    assert error(await client.exchange("GET /")) == (502, "dns_failure")


@pytest.mark.parametrize(
    ("data", "then"),
    [
        pytest.param(b"", "reset", id="reset"),
        pytest.param(b"", "close", id="close"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", "reset", id="reset in the head"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-", "close", id="close in the head"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\n\r\n", "close", id="close after an interim response"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", "silent", id="no HTTP"),
        pytest.param(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "silent", id="101"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "silent", id="two lengths"),
    ],
)
@on_each_loop
async def test_an_upstream_that_fails_before_its_response(proxy: InProcessProxy, data: bytes, then: str) -> None:
    async with StagedBackend(after_head(data, then=then)) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        for count in (1, 2):
            assert error(await client.exchange("GET /")) == (502, "connection_reset")
            await eventually_async(lambda: backend.open == 0, what="the upstream connection is closed")
            assert len(backend.requests) == count  # a fresh connection that fails is not tried again


@on_each_loop
async def test_an_upstream_that_closes_at_once(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        connection.close()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        for _ in range(20):
            assert error(await client.exchange("GET /")) == (502, "connection_reset")


@on_each_loop
async def test_an_upstream_that_speaks_first(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        connection.respond(b"unasked")
        await connection.read_request()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        for _ in range(20):
            # What crosses the request on its way looks like an answer; what comes before ends the connection. No hang.
            assert (await client.exchange("POST /", body=b"x")).status in (200, 502)


BROKEN = [
    pytest.param(b"Content-Length: 10\r\n\r\n", b"ab", b"ab", id="length"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nab\r\n", b"2\r\nab\r\n", id="chunked"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nab", b"2\r\nab\r\n", id="chunk"),
]


@pytest.mark.parametrize(("framing", "sent", "relayed"), BROKEN)
@pytest.mark.parametrize("then", ["reset", "close", "nonsense"])
@on_each_loop
async def test_a_response_that_breaks_off_is_seen_to_be_broken(
    proxy: InProcessProxy, framing: bytes, sent: bytes, relayed: bytes, then: str
) -> None:
    seen = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\n" + framing + sent)
        await seen.wait()
        if then == "reset":
            connection.reset()
        elif then == "nonsense" and b"chunked" in framing:
            connection.send(b"xyz,xyz,xyz")
            await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        client.send(request("GET /"))
        await client.read_head()
        assert await client.read_exactly(len(relayed)) == relayed
        seen.set()
        ending = await client.ending()
        if then == "nonsense" and b"5\r\n" in sent:
            assert ending in ("reset", "sent b'3\\r\\nxyz\\r\\n'")
        else:
            assert ending == "reset"


@on_each_loop
async def test_a_response_that_breaks_off_is_broken_for_http_1_0_too(proxy: InProcessProxy) -> None:
    seen = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n")
        await seen.wait()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        client.send(request("GET /", version="1.0"))
        await client.read_head()
        assert await client.read_exactly(2) == b"ab"
        seen.set()
        # Only the close would end such a body, so a proper close would make it look whole.
        assert await client.ending() == "reset"


@on_each_loop
async def test_a_body_that_only_the_close_ends(proxy: InProcessProxy) -> None:
    async with StagedBackend(after_head(b"HTTP/1.1 200 OK\r\n\r\nwhole", then="close")) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect()
        for count in (1, 2):
            response = await client.exchange("GET /")
            assert (response.body, response["transfer-encoding"]) == (b"whole", "chunked")
            assert len(backend.connections) == count
