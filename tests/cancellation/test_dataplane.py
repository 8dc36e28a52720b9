"""Cancelled at every point where they wait, the operations of the data plane leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from tests.support.conditions import accepts, eventually_async
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import EACH_LOOP, Document, InProcessProxy, LoopFactory, on_each_loop, run_scenario
from tests.support.interruption import Interruption
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import StreamClient, request

POINTS = 32
"""Waits at which an operation is cancelled at most; more than any of them has here, which the tests check. A slow
machine has more of them: compiling a snapshot pauses by the clock."""


def open_descriptors() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


def says(text: str) -> Document:
    return route(text, directResponse={"status": 200, "body": text})


async def interrupted(operation: Callable[[], Awaitable[object]], at: int) -> bool:
    """Run *operation* in a task of its own and cancel it at its wait number *at*; False if it ended before."""
    interruption = Interruption(at)

    async def run() -> object:
        return await operation()

    task = asyncio.gather(interruption.run(run()))
    try:
        await task
    except asyncio.CancelledError:
        assert interruption.happened
    return interruption.happened


def at_each_point(scenario: Callable[[InProcessProxy, int], Coroutine[Any, Any, bool]]) -> Callable[..., None]:
    """The test that runs *scenario* for each wait of its operation, on each loop.

    It returns whether the operation had so many waits and was cancelled; when it had not, it has not more either.
    """

    @EACH_LOOP
    def test(loop_factory: LoopFactory) -> None:
        for at in range(POINTS):
            happened: list[bool] = []

            async def at_this_point(proxy: InProcessProxy, at: int = at, happened: list[bool] = happened) -> None:
                happened.append(await scenario(proxy, at))

            run_scenario(loop_factory, at_this_point)
            if not happened[0]:
                assert at > 0
                return
        pytest.fail(f"there is a wait beyond the first {POINTS}")

    return test


@at_each_point
async def test_an_apply_that_is_cancelled_can_be_made_again(proxy: InProcessProxy, at: int) -> bool:
    removed = proxy.listen()
    await proxy.apply(says("one"), listeners=[proxy.listener(), proxy.listener(removed)])
    kept = await proxy.connect()
    assert (await kept.exchange("GET /")).body == b"one"
    queued = [socket.create_connection(("127.0.0.1", removed), 5) for _ in range(3)]
    added = proxy.listen()
    listeners = [proxy.listener(), proxy.listener(added)]
    happened = await interrupted(lambda: proxy.apply(says("two"), listeners=listeners), at)
    if happened:
        assert (await kept.exchange("GET /")).body in (b"one", b"two")
    # Whatever was done of it: the same snapshot again ends where an undisturbed one would have.
    await proxy.apply(says("two"), listeners=listeners)
    assert (await kept.exchange("GET /")).body == b"two"
    client = await proxy.connect(added)
    assert (await client.exchange("GET /")).body == b"two"
    for sock in queued:
        sock.close()
    assert not accepts(removed)
    await eventually_async(lambda: proxy.data_plane.status().connections == 2, what="only two connections are open")
    return happened


@at_each_point
async def test_a_drain_that_is_cancelled_can_be_made_again(proxy: InProcessProxy, at: int) -> bool:
    second = proxy.listen()
    async with StagedBackend() as backend:
        before = open_descriptors()
        await proxy.apply(
            route("r", forward=forward("b")),
            listeners=[proxy.listener(), proxy.listener(second)],
            destinations=[destination("b", backend.port)],
        )
        clients = [await proxy.connect(port) for port in (proxy.port, second)]
        for client in clients:
            assert (await client.exchange("GET /")).body == b"ok"
        queued = [socket.create_connection(("127.0.0.1", second), 5) for _ in range(3)]
        happened = await interrupted(lambda: proxy.data_plane.drain(5), at)
        for client in clients:
            await client.gone()
        for sock in queued:
            sock.close()
        assert await proxy.data_plane.drain(5) is True
        assert not accepts(proxy.port)
        assert not accepts(second)
        await eventually_async(lambda: backend.open == 0, what="the upstream connections are closed")
        await eventually_async(lambda: proxy.watched == 0, what="nothing is watched")
        gc.collect()
        # The two listening sockets were open before; the backend's sides of closed connections may linger.
        await eventually_async(lambda: open_descriptors() <= before - 2, what="no descriptor is left over")
    return happened


@pytest.mark.parametrize("at", range(8))
@on_each_loop
async def test_a_dial_that_is_cancelled_leaves_no_connection(proxy: InProcessProxy, at: int) -> None:
    async with StagedBackend() as backend:
        await proxy.apply(route("r", forward=forward("b")), destinations=[destination("b", backend.port)])
        client = await proxy.connect()
        client.send(request("GET /"))
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 1, what="in flight", interval=0)
        for _ in range(at):
            await asyncio.sleep(0)
        await proxy.tasks.stop()  # every dial that is still under way
        client.reset()
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 0, what="the request is over")
        await eventually_async(lambda: backend.open == 0 or proxy.watched == 1, what="no connection is left")
        (pool,) = proxy.data_plane._registry._pools.values()
        assert " 0 dialling" in repr(pool)
        assert pool.connections <= 1


@pytest.mark.parametrize("at", range(12))
@on_each_loop
async def test_a_client_that_goes_at_any_point_leaves_nothing(proxy: InProcessProxy, at: int) -> None:
    async with StagedBackend() as backend:
        await proxy.apply(route("r", forward=forward("b")), destinations=[destination("b", backend.port)])
        for _ in range(3):
            client = await StreamClient.connect(proxy.port)
            client.send(request("GET /") * 2)
            for _ in range(at):
                await asyncio.sleep(0)
            client.reset()
            await client.gone()
        await eventually_async(
            lambda: (proxy.data_plane.status().connections, proxy.data_plane.status().in_flight) == (0, 0),
            what="nothing is in flight",
        )
        (pool,) = proxy.data_plane._registry._pools.values()
        await eventually_async(lambda: " 0 dialling" in repr(pool), what="nothing is dialled")
        await eventually_async(lambda: proxy.watched == pool.connections, what="only pooled connections are watched")
