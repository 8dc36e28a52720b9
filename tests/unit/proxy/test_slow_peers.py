"""Clients that read or write next to nothing, over real sockets: what they hold, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.conditions import eventually_async, settled
from tests.support.forwarding import EVENT_STREAM
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import Script, StagedBackend, StagedConnection
from tests.support.stream_client import StreamClient, request, within
from vrata.net import write_buffer
from vrata.proxy.listener.connection import MAX_PIPELINED

READ = 1 << 18
"""Bytes that an event loop reads at once, at most."""
SMALL = 4096
"""The smallest receive buffer that a client can well ask for; the kernel takes a bit more."""
HELLO = route("hello", {"path": "/hello"}, directResponse={"status": 200, "body": "hello"})


@asynccontextmanager
async def backend_behind(
    proxy: InProcessProxy, script: Script, *, budget: str = "0s", **timeouts: str
) -> AsyncIterator[StagedBackend]:
    """A backend behind a listener with *timeouts*; without a *budget* nothing but those ends a request."""
    async with StagedBackend(script) as backend:
        await proxy.apply(
            HELLO,
            route("all", forward=forward("backend", timeouts={"request": budget})),
            listeners=[proxy.listener(timeouts=timeouts)],
            destinations=[destination("backend", backend.port)],
        )
        yield backend


def connections(proxy: InProcessProxy) -> list[Any]:
    """The proxy's side of its clients' connections."""
    (listener,) = proxy.data_plane._listeners.values()
    return list(listener._owner.connections)


async def without_end(connection: StagedConnection) -> None:
    """Answer with as much as can be sent."""
    await connection.read_request()
    connection.send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        connection.send(b"x" * 65536)
        await connection.flush()


async def events(connection: StagedConnection) -> None:
    """Answer with events as fast as can be."""
    await connection.read_request()
    connection.send(EVENT_STREAM)
    while True:
        connection.send(b"2000\r\n" + b"x" * 8192 + b"\r\n")
        await connection.flush()


@pytest.mark.parametrize("script", [without_end, events])
@pytest.mark.parametrize(
    "timeouts",
    [{"clientResponse": "0s", "idleBetweenRequests": "300ms"}, {"clientResponse": "300ms"}],
    ids=["idle", "response"],
)
@on_each_loop
async def test_a_client_that_reads_nothing(proxy: InProcessProxy, script: Script, timeouts: dict[str, str]) -> None:
    if script is events and "idleBetweenRequests" not in timeouts:
        timeouts = {**timeouts, "idleBetweenRequests": "300ms"}  # the other limit does not hold for them
    async with backend_behind(proxy, script, **timeouts) as backend:
        client = await proxy.connect(receive_buffer=SMALL)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.send(request("GET /"))
        await eventually_async(lambda: backend.open == 1, what="the backend is asked")
        (connection,) = connections(proxy)
        unsent = connection._transport.get_write_buffer_size
        held = 0
        while backend.open:
            held = max(held, unsent())
            await asyncio.sleep(0)  # every turn: on a busy machine there are few
        # It held no more than the marks say, and in the end neither a connection to the backend nor its own.
        assert write_buffer.HIGH < held <= write_buffer.HIGH + READ + SMALL
        await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="the client is gone")


@pytest.mark.parametrize("script", [without_end, events])
@on_each_loop
async def test_a_client_that_reads_slowly(proxy: InProcessProxy, script: Script) -> None:
    async with backend_behind(proxy, script, clientResponse="0s", idleBetweenRequests="250ms") as backend:
        client = await proxy.connect(receive_buffer=SMALL)
        client.send(request("GET /"))
        await client.read_head()
        for _ in range(10):
            await client.read_exactly(100_000)
            await asyncio.sleep(0.1)
        assert backend.open == 1
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await eventually_async(lambda: backend.open == 0, what="it is cut when it takes nothing any more")


async def trickle(client: StreamClient, head: bytes, byte: bytes, interval: float) -> None:
    """Send *head* and then one *byte* after the other, until the connection ends."""
    client.send(head)
    while not client.writer.transport.is_closing():
        client.send(byte)
        await asyncio.sleep(interval)


HEAD = b"GET /hello HTTP/1.1\r\nHost: a\r\nX: "
BODY = request("POST /", "Content-Length: 1000000")
CHUNKED = request("POST /", "Transfer-Encoding: chunked")


async def swallow(connection: StagedConnection) -> None:
    await connection.reader.read()


@pytest.mark.parametrize("number", [1, 200])
@pytest.mark.parametrize(
    ("head", "byte", "timeouts"),
    [
        pytest.param(HEAD, b"x", {"clientHeader": "400ms"}, id="head"),
        pytest.param(BODY, b"x", {"clientRequest": "400ms"}, id="body"),
        pytest.param(CHUNKED, b"1\r\nx\r\n", {"clientRequest": "400ms"}, id="chunks"),
        pytest.param(CHUNKED + b"ffff;", b"x", {"clientRequest": "400ms"}, id="chunk extension"),
    ],
)
@on_each_loop
async def test_clients_that_write_a_byte_at_a_time(
    proxy: InProcessProxy, head: bytes, byte: bytes, timeouts: dict[str, str], number: int
) -> None:
    async with backend_behind(proxy, swallow, **timeouts):
        loop = asyncio.get_running_loop()
        clients = [await proxy.connect() for _ in range(number)]
        started = loop.time()
        for index, client in enumerate(clients):
            proxy.tasks.start(trickle(client, head, byte, 0.05), name=f"trickle {index}")
        honest = await proxy.connect()
        slowest = 0.0
        while proxy.data_plane.status().connections > 1:
            began = loop.time()
            assert (await honest.exchange("GET /hello")).body == b"hello"
            slowest = max(slowest, loop.time() - began)
            await asyncio.sleep(0.01)
        assert 0.3 < loop.time() - started < 30
        assert slowest < 10
        assert proxy.data_plane.status().in_flight == 0


async def flood(client: StreamClient, data: bytes) -> None:
    """Send *data* over and over, reading nothing."""
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    with contextlib.suppress(ConnectionError):
        while not client.writer.transport.is_closing():
            client.send(data)
            await client.writer.drain()


@pytest.mark.parametrize("path", ["/hello", "/forwarded"])
@on_each_loop
async def test_a_flood_of_requests_whose_answers_nobody_reads(proxy: InProcessProxy, path: str) -> None:
    async def answer_much(connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            connection.respond(b"x" * 50_000)
            await connection.flush()

    async with backend_behind(proxy, answer_much, clientResponse="500ms", idleBetweenRequests="20s"):
        client = await proxy.connect(receive_buffer=SMALL)
        flooding = proxy.tasks.start(flood(client, request(f"GET {path}") * 1000), name="flood")
        await eventually_async(lambda: bool(connections(proxy)), what="it is connected")
        (connection,) = connections(proxy)
        most_kept = most_unsent = 0

        async def look() -> None:
            """Look in every turn: on a busy machine there are few."""
            nonlocal most_kept, most_unsent
            while not connection._closed:
                most_kept = max(most_kept, len(connection._buffer))
                most_unsent = max(most_unsent, connection._transport.get_write_buffer_size())
                await asyncio.sleep(0)

        looking = proxy.tasks.start(look(), name="look")
        honest = await proxy.connect()
        while proxy.data_plane.status().connections > 1:
            assert (await honest.exchange("GET /hello")).body == b"hello"
            await asyncio.sleep(0.005)
        await within(looking, "the connection is closed")
        assert MAX_PIPELINED < most_kept <= MAX_PIPELINED + READ
        assert write_buffer.HIGH < most_unsent <= write_buffer.HIGH + READ
        await within(flooding, "the flood ends")


@on_each_loop
async def test_a_flood_of_requests_while_one_is_answered(proxy: InProcessProxy) -> None:
    async def stay_silent(connection: StagedConnection) -> None:
        await connection.read_request()
        await connection.gone()

    async with backend_behind(proxy, stay_silent, budget="500ms") as backend:
        client = await proxy.connect()
        flooding = proxy.tasks.start(flood(client, request("GET /") * 1000), name="flood")
        await eventually_async(lambda: backend.open == 1, what="the first one arrives")
        (connection,) = connections(proxy)
        kept = await settled(lambda: len(connection._buffer), 0.1)
        assert MAX_PIPELINED < kept <= MAX_PIPELINED + READ
        client.reset()
        # While nothing is read from it, a client can leave without our noticing; the request's limits hold.
        await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="the request ends")
        await within(flooding, "the flood ends")


@on_each_loop
async def test_a_client_that_left_while_its_body_was_not_read(proxy: InProcessProxy) -> None:
    over = asyncio.Event()

    async def read_nothing(connection: StagedConnection) -> None:
        await over.wait()

    async with backend_behind(proxy, read_nothing, budget="300ms"):
        client = await proxy.connect()
        client.send(request("POST /", "Content-Length: 100000000") + bytes(20_000_000))
        await eventually_async(lambda: [True for one in connections(proxy) if one._reading_paused], what="a full proxy")
        client.writer.transport.abort()
        # When the budget has passed, the answer meets a socket that is closed.
        await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="the request ends")
        over.set()
