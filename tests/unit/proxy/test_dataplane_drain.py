"""Draining a data plane that serves, and what applying large snapshots costs it."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Iterator

import pytest

from tests.support.conditions import accepts, eventually_async
from tests.support.gateway import destination, forward, route
from tests.support.held_response import Held, begin, says
from tests.support.in_process_proxy import Document, InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import request, within
from vrata.proxy.listener.time_limits import DRAIN_IDLE_GRACE


@on_each_loop
async def test_draining_an_idle_data_plane(proxy: InProcessProxy) -> None:
    await proxy.apply(says("x"))
    idle, silent = await proxy.connect(), await proxy.connect()
    assert (await idle.exchange("GET /")).body == b"x"
    await eventually_async(lambda: proxy.data_plane.status().connections == 2, what="both are accepted")
    assert await proxy.data_plane.drain(10) is True
    assert (await idle.ending(), await silent.ending()) == ("closed", "closed")
    assert not accepts(proxy.port)


@on_each_loop
async def test_draining_finishes_what_is_in_flight(proxy: InProcessProxy) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        started.set()
        await release.wait()
        connection.respond(b"whole")
        await connection.gone()

    async with StagedBackend(script) as backend:
        await proxy.apply(route("r", forward=forward("b")), destinations=[destination("b", backend.port)])
        client = await proxy.connect()
        client.send(request("GET /"))
        await within(started.wait(), "the request reaches the backend")
        draining = asyncio.gather(proxy.data_plane.drain(10))
        await eventually_async(lambda: not accepts(proxy.port), what="nothing is accepted any more")
        assert proxy.data_plane.status().in_flight == 1
        release.set()
        response = await client.read_response()
        assert (response.body, response["connection"]) == (b"whole", "close")
        (complete,) = await within(draining, "the drain")
        assert complete is True
        await eventually_async(lambda: backend.open == 0, what="the upstream connection is closed")


@on_each_loop
async def test_draining_does_not_wait_behind_a_response_that_had_begun(proxy: InProcessProxy) -> None:
    script = Held()
    async with StagedBackend(script) as backend:
        await proxy.apply(route("r", forward=forward("b")), destinations=[destination("b", backend.port)])
        client = await proxy.connect()
        await begin(client)  # its head did not say that the connection will close
        draining = asyncio.gather(proxy.data_plane.drain(5))
        await eventually_async(lambda: not accepts(proxy.port), what="nothing is accepted any more")
        script.release.set()
        assert await client.read_exactly(2) == b"cd"
        assert await client.ending() == "closed"
        (complete,) = await within(draining, "the drain")
        assert complete is True


@on_each_loop
async def test_draining_leaves_time_for_a_request_behind_an_answer_that_is_read_slowly(proxy: InProcessProxy) -> None:
    large = route("large", {"path": "/large"}, directResponse={"status": 200, "body": "x" * 300_000})
    await proxy.apply(large, says("again"))
    loop = asyncio.get_running_loop()
    with socket.socket() as client:  # what it does not read, the kernel keeps
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", proxy.port))
        await loop.sock_sendall(client, request("GET /large"))
        received = await within(loop.sock_recv(client, 20_000), "the head")
        assert b"connection: close" not in received.lower()
        draining = asyncio.gather(proxy.data_plane.drain(10))
        await eventually_async(lambda: not accepts(proxy.port), what="nothing is accepted any more")
        for _ in range(8):  # twice the grace in all
            received += await within(loop.sock_recv(client, 20_000), "some of the answer")
            await asyncio.sleep(DRAIN_IDLE_GRACE / 4)
        while not received.endswith(b"x" * 300_000):
            received += await within(loop.sock_recv(client, 1 << 16), "the rest of the answer")
        await loop.sock_sendall(client, request("GET /again"))
        answer = await within(loop.sock_recv(client, 20_000), "another answer")
        assert answer.endswith(b"again")
        assert b"connection: close" in answer
    assert list(await within(draining, "the drain")) == [True]


@on_each_loop
async def test_draining_cuts_what_is_not_finished_in_time(proxy: InProcessProxy) -> None:
    script = Held()
    async with StagedBackend(script) as backend:
        await proxy.apply(route("r", forward=forward("b")), destinations=[destination("b", backend.port)])
        client = await proxy.connect()
        await begin(client)
        assert await proxy.data_plane.drain(0.1) is False
        assert await client.ending() == "reset"
        await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="all is over")
        script.release.set()
        await eventually_async(lambda: backend.open == 0, what="the upstream connection is cancelled")


@on_each_loop
async def test_draining_includes_listeners_that_were_removed_before(proxy: InProcessProxy) -> None:
    script = Held()
    async with StagedBackend(script) as backend:
        await proxy.apply(route("r", forward=forward("b")), destinations=[destination("b", backend.port)])
        client = await proxy.connect()
        await begin(client)
        await proxy.apply(listeners=[])
        assert await proxy.data_plane.drain(0.1) is False
        assert await client.ending() == "reset"
        script.release.set()


@on_each_loop
async def test_draining_before_the_first_apply_closes_the_adopted_sockets(proxy: InProcessProxy) -> None:
    assert accepts(proxy.port)
    assert await proxy.data_plane.drain(1) is True
    assert not accepts(proxy.port)


# -- cost -------------------------------------------------------------------------------------------------------------


def many_routes(count: int) -> list[Document]:
    """Routes of every kind."""
    return [
        route(
            f"r{number:05}",
            {"pathPrefix": f"/service-{number}", "hostnames": [f"h{number % 50}.test"], "methods": ["GET", "POST"]},
            forward=forward("b", rewrite={"path": "/"}),
        )
        for number in range(count)
    ]


@pytest.fixture
def frozen_heap() -> Iterator[None]:
    """What was there before counts for nothing when garbage is collected: so it is in a worker."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("frozen_heap")
@on_each_loop
async def test_compiling_many_routes_does_not_stall_the_loop(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        routes, destinations = many_routes(3000), [destination("b", backend.port)]
        worst, running = 0.0, True

        async def tick() -> None:
            nonlocal worst
            while running:
                before = time.thread_time()  # what other processes take of the machine is no stall of ours
                await asyncio.sleep(0)
                worst = max(worst, time.thread_time() - before)

        ticking = proxy.tasks.start(tick(), name="tick")
        await proxy.apply(*routes, destinations=destinations)
        running = False
        await ticking
        assert worst < 0.1
        client = await proxy.connect()
        client.send(request("GET /service-2999/x", host="h49.test"))
        assert (await client.read_response()).body == b"ok"


@pytest.mark.usefixtures("frozen_heap")
@on_each_loop
async def test_the_same_document_again_costs_less(proxy: InProcessProxy) -> None:
    async def cost() -> float:
        before = time.thread_time()
        await proxy.apply(*many_routes(1500), destinations=[destination("b", 1)])
        return time.thread_time() - before

    first = await cost()
    assert min([await cost() for _ in range(3)]) < first


@on_each_loop
async def test_applies_take_their_turn(proxy: InProcessProxy) -> None:
    routes = many_routes(300)
    reports = await asyncio.gather(*(proxy.apply(*routes, says(str(turn))) for turn in range(4)))
    assert [report.snapshot_id for report in reports] == [f"snapshot-{turn}" for turn in range(1, 5)]
    client = await proxy.connect()
    assert (await client.exchange("GET /")).body == b"3"
