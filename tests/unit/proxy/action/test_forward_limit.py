"""Forwarding to endpoints whose connections are limited: what clients see of the wait."""

from __future__ import annotations

import asyncio

from tests.support.conditions import eventually_async, settled
from tests.support.forwarding import error
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend, StagedConnection, answer_ok
from tests.support.stream_client import StreamClient, request, within
from vrata.proxy.upstream.queue import MAX_WAITING


async def limited(proxy: InProcessProxy, port: int, limit: int, *, budget: str = "10s") -> None:
    """Forward everything to *port* over at most *limit* connections."""
    await proxy.apply(
        route("all", forward=forward("backend")),
        listeners=[proxy.listener(proxyErrors={"detail": "full"})],
        destinations=[destination("backend", port, maxConnsPerHost=limit, timeouts={"request": budget})],
    )


class Gate:
    """A script that answers each request only when it is told to, counting those that have arrived."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.arrived = 0

    async def __call__(self, connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            self.arrived += 1
            await within(self.open.wait(), "the gate opens")
            connection.respond(b"ok")


async def clients(proxy: InProcessProxy, number: int) -> list[StreamClient]:
    """As many clients with a request each, which differ in their path."""
    found = [await proxy.connect() for _ in range(number)]
    for index, client in enumerate(found):
        client.send(request(f"GET /{index}"))
    return found


@on_each_loop
async def test_requests_wait_for_a_connection(proxy: InProcessProxy) -> None:
    gate = Gate()
    async with StagedBackend(gate) as backend:
        await limited(proxy, backend.port, 2)
        waiting = await clients(proxy, 6)
        await eventually_async(lambda: gate.arrived == 2, what="two requests arrive")
        assert await settled(lambda: gate.arrived, 0.1) == 2
        gate.open.set()
        for client in waiting:
            assert (await client.read_response()).body == b"ok"
        assert len(backend.connections) == 2
        # First come, first served: the backend has seen them in the order in which they came, but for those at once.
        assert {found.target for found in backend.requests[:2]} == {"/0", "/1"}


@on_each_loop
async def test_the_wait_is_part_of_the_requests_budget(proxy: InProcessProxy) -> None:
    gate = Gate()
    async with StagedBackend(gate) as backend:
        await limited(proxy, backend.port, 1, budget="150ms")
        client, other = await clients(proxy, 2)
        assert error(await client.read_response()) == (504, "timeout")
        assert error(await other.read_response()) == (504, "timeout")
        assert len(backend.connections) <= 2


@on_each_loop
async def test_a_client_that_goes_away_leaves_the_queue(proxy: InProcessProxy) -> None:
    gate = Gate()
    async with StagedBackend(gate) as backend:
        await limited(proxy, backend.port, 1)
        first, impatient, patient = await clients(proxy, 3)
        await eventually_async(lambda: gate.arrived == 1, what="a request arrives")
        impatient.reset()
        await eventually_async(lambda: proxy.data_plane.status().connections == 2, what="the client is gone")
        gate.open.set()
        assert (await first.read_response()).body == (await patient.read_response()).body == b"ok"
        assert [found.target for found in backend.requests] == ["/0", "/2"]


@on_each_loop
async def test_a_queue_that_is_full_refuses_at_once(proxy: InProcessProxy) -> None:
    gate = Gate()
    async with StagedBackend(gate) as backend:
        await limited(proxy, backend.port, 1)
        pipelining = [await proxy.connect() for _ in range(MAX_WAITING + 1)]
        for client in pipelining:
            client.send(request("GET /"))
        await eventually_async(lambda: proxy.data_plane.status().in_flight == MAX_WAITING + 1, what="the queue is full")
        late = await proxy.connect()
        assert error(await late.exchange("GET /")) == (503, "circuit_open")
        # The client may go on asking, and the queue goes on being served.
        gate.open.set()
        assert (await pipelining[-1].read_response()).body == b"ok"
        assert (await late.exchange("GET /")).body == b"ok"
        assert len(backend.connections) == 1


@on_each_loop
async def test_a_body_that_comes_while_its_request_waits(proxy: InProcessProxy) -> None:
    gate = Gate()
    async with StagedBackend(gate) as backend:
        await limited(proxy, backend.port, 1)
        await clients(proxy, 1)
        await eventually_async(lambda: gate.arrived == 1, what="a request arrives")
        upload = await proxy.connect()
        body = bytes(24 << 20)  # more than the kernel keeps of it
        upload.send(request("PUT /upload", body=body))
        # What is read of it ahead is bounded, so most of it is still with the client.
        left = upload.writer.transport.get_write_buffer_size
        await settled(left, 0.1)
        assert left() > 0
        gate.open.set()
        assert (await upload.read_response()).body == b"ok"
        assert len(backend.requests[1].body) == len(body)


@on_each_loop
async def test_a_repeated_request_waits_like_any_other(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.respond(b"first")
        await connection.read_head()
        if connection.number:
            connection.respond(b"second")
            await answer_ok(connection)

    async with StagedBackend(script) as backend:
        await limited(proxy, backend.port, 1)
        client, other = await proxy.connect(), await proxy.connect()
        assert (await client.exchange("GET /")).body == b"first"
        # The connection dies with this one, which is sent once more while another one waits before it.
        client.send(request("GET /repeated"))
        other.send(request("GET /other"))
        assert {(await client.read_response()).body, (await other.read_response()).body} == {b"first", b"second"}
        assert len(backend.connections) == 2
        assert backend.open == 1


@on_each_loop
async def test_a_new_limit_acts_at_once(proxy: InProcessProxy) -> None:
    gate = Gate()
    async with StagedBackend(gate) as backend:
        await limited(proxy, backend.port, 1)
        waiting = await clients(proxy, 4)
        await eventually_async(lambda: gate.arrived == 1, what="a request arrives")
        await limited(proxy, backend.port, 3)
        await eventually_async(lambda: gate.arrived == 3, what="two more arrive")
        await limited(proxy, backend.port, 0)
        await eventually_async(lambda: gate.arrived == 4, what="all arrive")
        await limited(proxy, backend.port, 2)
        gate.open.set()
        for client in waiting:
            assert (await client.read_response()).body == b"ok"
        await eventually_async(lambda: backend.open == 2, what="what is over the limit is closed")


@on_each_loop
async def test_who_waits_for_an_endpoint_that_is_removed_is_still_served(proxy: InProcessProxy) -> None:
    gate = Gate()
    async with StagedBackend(gate) as backend, StagedBackend() as other:
        await limited(proxy, backend.port, 1)
        waiting = await clients(proxy, 3)
        await eventually_async(lambda: gate.arrived == 1, what="a request arrives")
        await limited(proxy, other.port, 1)
        gate.open.set()
        for client in waiting:
            assert (await client.read_response()).body == b"ok"
        assert len(backend.requests) == 3
        await eventually_async(lambda: backend.open == 0, what="nothing is kept")
