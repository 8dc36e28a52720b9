"""Bodies in motion: both at once, and no faster than the slower side."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from tests.support.conditions import eventually_async, settled
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import Script, StagedBackend, StagedConnection
from tests.support.stream_client import request, within

MEGABYTE = 1 << 20
PATIENCE = 12 * MEGABYTE
"""What the kernel's buffers and ours may hold together of a body that nobody reads."""


async def forward_to(proxy: InProcessProxy, backend: StagedBackend, **settings: Any) -> None:
    """Apply one route to *backend*; *settings* are those of the forward action."""
    await proxy.apply(
        route("all", {"pathPrefix": "/api"}, forward=forward("backend", **settings)),
        route("rest", forward=forward("backend")),
        route("large", {"path": "/large"}, directResponse={"status": 200, "body": "x" * MEGABYTE}),
        destinations=[
            destination("backend", backend.port, timeouts={"expectContinue": "150ms"}),
        ],
    )


MEGABYTE = 1 << 20
PATIENCE = 12 * MEGABYTE
"""What the kernel's buffers and ours may hold together of a body that nobody reads."""


@on_each_loop
async def test_an_answer_while_the_client_still_uploads(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.respond(b"enough", status=413)
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        client.send(request("POST /", f"Content-Length: {MEGABYTE}") + b"x" * 1000)
        response = await client.read_response()
        assert (response.status, response.body, response["connection"]) == (413, b"enough", "close")
        client.send(b"x" * (MEGABYTE - 1000))  # read and dropped
        assert await client.ending() == "closed"


@on_each_loop
async def test_both_bodies_flow_at_once(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        found = await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        connection.send(await connection.read_body(found))
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        client.send(request("POST /", "Content-Length: 3"))
        await client.read_head()
        assert await client.read_exactly(3) == b"abc"
        client.send(b"def")
        assert await client.read_exactly(3) == b"def"


def hold_more(writer: asyncio.StreamWriter) -> None:
    """Give a connection that was made with a small receive buffer a large one, so that the rest flows fast."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MEGABYTE)


class Firehose:
    """A script that answers with *size* bytes and counts what the kernel has taken of them."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.written = 0
        self.connection: StagedConnection | None = None

    @property
    def taken(self) -> int:
        """Bytes that have left the backend."""
        buffered = 0 if self.connection is None else self.connection.writer.transport.get_write_buffer_size()
        return self.written - buffered

    async def __call__(self, connection: StagedConnection) -> None:
        self.connection = connection
        piece = b"x" * (MEGABYTE // 8)
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self.size)
        while self.written < self.size:
            connection.send(piece)
            self.written += len(piece)
            await connection.flush()
        await connection.gone()


@on_each_loop
async def test_a_slow_reader_stalls_the_upstream(proxy: InProcessProxy) -> None:
    script = Firehose(50 * MEGABYTE)
    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect(receive_buffer=4096)
        client.send(request("GET /"))
        assert 0 < await settled(lambda: script.taken) < PATIENCE
        hold_more(client.writer)
        assert len((await client.read_response()).body) == script.size


@on_each_loop
async def test_a_slow_reader_stalls_the_next_attempt_as_well(proxy: InProcessProxy) -> None:
    script = Firehose(50 * MEGABYTE)

    async def hint(connection: StagedConnection) -> None:
        await connection.read_request()
        for _ in range(6 * MEGABYTE // 32768):  # more than fits on the way to the client
            connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: <%s>\r\n\r\n" % (b"x" * 32000))
        await connection.gone()

    scripts: list[Script] = [hint, script]

    async def in_turn(connection: StagedConnection) -> None:
        await scripts.pop(0)(connection)

    async with StagedBackend(in_turn) as backend:
        await forward_to(
            proxy, backend, retry={"attempts": 1, "perAttemptTimeout": "300ms", "backoff": {"base": "1ms"}}
        )
        client = await proxy.connect(receive_buffer=4096)
        client.send(request("GET /api"))
        await eventually_async(lambda: script.taken, what="there is another attempt")
        assert await settled(lambda: script.taken) < PATIENCE


@on_each_loop
async def test_a_slow_reader_of_a_local_answer_stalls_the_request_behind_it(proxy: InProcessProxy) -> None:
    script = Firehose(50 * MEGABYTE)
    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect(receive_buffer=4096)
        # The first answers fill the way to the client before the last request's upstream is even connected.
        count = 6
        client.send(request("GET /large") * count + request("GET /"))
        assert await settled(lambda: script.taken) < PATIENCE
        hold_more(client.writer)
        for _ in range(count):
            assert len((await client.read_response()).body) == MEGABYTE
        assert len((await client.read_response()).body) == script.size


@pytest.mark.parametrize("framing", ["length", "chunked"])
@on_each_loop
async def test_a_slow_upstream_stalls_the_upload(proxy: InProcessProxy, framing: str) -> None:
    size = 50 * MEGABYTE
    read_on = asyncio.Event()
    received = 0

    async def script(connection: StagedConnection) -> None:
        nonlocal received
        found = await connection.read_head()
        await read_on.wait()
        hold_more(connection.writer)
        if framing == "chunked":
            received = len(await connection.read_body(found))
        else:
            while received < size:
                received += len(await connection.reader.read(1 << 16))
        connection.respond(b"done")
        await connection.gone()

    async with StagedBackend(script, receive_buffer=4096) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        body = b"x" * size
        if framing == "chunked":
            client.send(request("POST /", "Transfer-Encoding: chunked") + b"%x\r\n" % size + body + b"\r\n0\r\n\r\n")
        else:
            client.send(request("POST /", body=body))
        transport = client.writer.transport
        assert size - await settled(transport.get_write_buffer_size) < PATIENCE
        read_on.set()
        assert (await client.read_response()).body == b"done"
        assert received == size


@on_each_loop
async def test_an_upload_to_an_upstream_that_has_answered_and_reads_no_more(proxy: InProcessProxy) -> None:
    size = 50 * MEGABYTE

    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n")
        await asyncio.Event().wait()

    async with StagedBackend(script, receive_buffer=4096) as backend:
        await forward_to(proxy, backend)
        client = await proxy.connect()
        client.send(request("POST /", body=b"x" * size))
        await client.read_head()
        assert size - await settled(client.writer.transport.get_write_buffer_size) < PATIENCE
        client.reset()
        await within(client.gone(), "the client's connection ends")
