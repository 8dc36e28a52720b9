"""WebSocket through the data plane: a real client and server library, and the edges by raw bytes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import websockets
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests.support.conditions import eventually_async
from tests.support.in_process_proxy import Document, InProcessProxy, on_each_loop

HANDSHAKE = (
    b"GET /chat HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


def to(port: int, **options: Any) -> dict[str, list[Document]]:
    destination = {"id": "d", "name": "d", "host": "127.0.0.1", "port": port, "options": options}
    return {"destinations": [destination]}


ROUTE: Document = {"id": "r", "name": "r", "forward": {"destinations": [{"destinationId": "d", "weight": 100}]}}


@on_each_loop
async def test_messages_go_both_ways_and_the_close_code_arrives(proxy: InProcessProxy) -> None:
    async with serve(echo, "127.0.0.1", 0) as server:
        port: int = next(iter(server.sockets)).getsockname()[1]
        await proxy.apply(ROUTE, **to(port))
        async with connect(f"ws://127.0.0.1:{proxy.port}/chat", compression=None) as client:
            for message in ("hello", b"\x00" * 200_000, ""):
                await client.send(message)
                assert await client.recv() == message
            pong = await client.ping()
            await pong
            await client.close(code=4001, reason="enough")
        assert client.close_code == 4001


@on_each_loop
async def test_a_server_that_closes_ends_the_tunnel(proxy: InProcessProxy) -> None:
    async def goodbye(connection: ServerConnection) -> None:
        await connection.close(code=1001, reason="going away")

    async with serve(goodbye, "127.0.0.1", 0) as server:
        port: int = next(iter(server.sockets)).getsockname()[1]
        await proxy.apply(ROUTE, **to(port))
        async with connect(f"ws://127.0.0.1:{proxy.port}/") as client:
            with pytest.raises(websockets.ConnectionClosed) as closed:
                await client.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1001


class RawUpstream:
    """Answers the first request with *answer* and keeps what comes after the head."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.head = b""
        self.port = 0
        self.input_ended = asyncio.Event()
        self.received = bytearray()
        self.writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> RawUpstream:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        if self.writer is not None:
            self.writer.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writer = writer
        self.head = await reader.readuntil(b"\r\n\r\n")
        writer.write(self.answer)
        while data := await reader.read(65536):
            self.received += data
            if bytes(data).endswith(b"ping"):
                writer.write(b"pong")
        self.input_ended.set()


async def opened(
    proxy: InProcessProxy, upstream: RawUpstream, early: bytes = b"", idle: str = "60s", **options: Any
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A client whose tunnel to *upstream* is open, and who has sent *early* without waiting for that."""
    listener = proxy.listener(timeouts={"idleBetweenRequests": idle})
    await proxy.apply(ROUTE, listeners=[listener], **to(upstream.port, **options))
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(HANDSHAKE + early)
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert upstream.writer is not None
    return reader, writer


@on_each_loop
async def test_bytes_behind_the_handshake_go_into_the_tunnel(proxy: InProcessProxy) -> None:
    async with RawUpstream(SWITCHED + b"first") as upstream:
        await proxy.apply(ROUTE, **to(upstream.port))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(HANDSHAKE + b"early ping")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"connection: upgrade\r\nupgrade: websocket\r\n" in head
        assert await reader.readexactly(len(b"firstpong")) == b"firstpong"
        assert upstream.received == b"early ping"
        assert b"connection: upgrade\r\nupgrade: websocket\r\n" in upstream.head
        writer.write_eof()
        await asyncio.wait_for(upstream.input_ended.wait(), 30)
        writer.close()


@on_each_loop
async def test_a_client_that_ends_its_side_before_the_tunnel_is_open_has_it_ended(proxy: InProcessProxy) -> None:
    async with RawUpstream(SWITCHED) as upstream:
        await proxy.apply(ROUTE, **to(upstream.port))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(HANDSHAKE + b"early ping")
        writer.write_eof()
        await asyncio.wait_for(upstream.input_ended.wait(), 30)
        assert upstream.received == b"early ping"
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        writer.close()


@on_each_loop
async def test_a_client_goes_on_when_the_upstream_has_ended_its_side(proxy: InProcessProxy) -> None:
    async with RawUpstream(SWITCHED) as upstream:
        reader, writer = await opened(proxy, upstream)
        assert upstream.writer is not None
        upstream.writer.write(b"last")
        upstream.writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 30) == b"last"
        late = b"x" * 1_000_000
        writer.write(late)
        writer.write_eof()
        await asyncio.wait_for(upstream.input_ended.wait(), 30)
        assert upstream.received == late
        await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="the client's side is closed")
        writer.close()


@on_each_loop
async def test_an_upstream_goes_on_when_the_client_has_ended_its_side(proxy: InProcessProxy) -> None:
    async with RawUpstream(SWITCHED) as upstream:
        reader, writer = await opened(proxy, upstream, b"all")
        writer.write_eof()
        await asyncio.wait_for(upstream.input_ended.wait(), 30)
        assert upstream.writer is not None
        late = b"y" * 1_000_000
        upstream.writer.write(late)
        upstream.writer.close()
        assert await asyncio.wait_for(reader.read(), 30) == late
        await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="the client's side is closed")
        writer.close()


@on_each_loop
async def test_a_half_closed_tunnel_whose_client_stays_silent_is_idle(proxy: InProcessProxy) -> None:
    async with RawUpstream(SWITCHED) as upstream:
        reader, writer = await opened(proxy, upstream, idle="200ms")
        assert upstream.writer is not None
        upstream.writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 30) == b""
        await asyncio.wait_for(upstream.input_ended.wait(), 30)
        await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="the client's side is closed")
        writer.close()


@on_each_loop
async def test_an_idle_tunnel_is_closed(proxy: InProcessProxy) -> None:
    async with RawUpstream(SWITCHED) as upstream:
        reader, writer = await opened(proxy, upstream, idle="200ms")
        assert await asyncio.wait_for(reader.read(), 30) == b""
        await asyncio.wait_for(upstream.input_ended.wait(), 30)
        writer.close()


@on_each_loop
async def test_a_tunnel_outlives_the_budget_of_its_request(proxy: InProcessProxy) -> None:
    async with RawUpstream(SWITCHED) as upstream:
        reader, writer = await opened(proxy, upstream, timeouts={"request": "100ms"})
        ends = asyncio.get_running_loop().time() + 0.4
        while asyncio.get_running_loop().time() < ends:
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"pong"
        writer.close()


@on_each_loop
async def test_an_upstream_that_declines_is_an_ordinary_answer(proxy: InProcessProxy) -> None:
    async with RawUpstream(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno") as upstream:
        await proxy.apply(ROUTE, **to(upstream.port))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(HANDSHAKE)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 403 ")
        assert await reader.readexactly(2) == b"no"
        writer.close()


@on_each_loop
async def test_other_protocols_are_not_asked_for(proxy: InProcessProxy) -> None:
    async with RawUpstream(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as upstream:
        await proxy.apply(ROUTE, **to(upstream.port))
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(HANDSHAKE.replace(b"WebSocket\r\n", b"h2c\r\n"))
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert b"upgrade" not in upstream.head.lower()
        writer.close()
