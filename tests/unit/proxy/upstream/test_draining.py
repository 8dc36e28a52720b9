"""Connections of HTTP/2 in use whose places others wait for: how many make room, which ones, and for how long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from h2.settings import SettingCodes

from tests.support.conditions import eventually_async
from tests.support.http2_backend import Http2Backend, Http2Request
from tests.support.http2_endpoint import Endpoint, with_endpoint
from tests.unit.proxy.upstream.test_http2_pool import answered, limited
from vrata.net.deadlines import DeadlineSweeper
from vrata.proxy.runtime.shared_counts import SharedCounts, create
from vrata.proxy.upstream import draining
from vrata.proxy.upstream.pool import EndpointPool
from vrata.proxy.upstream.queue import ConnectionLimits, Queue

TWO_STREAMS = {SettingCodes.MAX_CONCURRENT_STREAMS: 2}
A_FEW_SWEEPS = 0.3


@contextlib.asynccontextmanager
async def another(endpoint: Endpoint, queue: Queue) -> AsyncIterator[Endpoint]:
    """Another endpoint of the destination, whose connections share the places."""
    async with Http2Backend() as backend:
        pool = EndpointPool("127.0.0.1", backend.port, endpoint.sweeper, endpoint.pool._tasks)
        pool.secure(None, http2=True)
        pool.limit(queue)
        other = Endpoint(backend, pool, endpoint.sweeper)
        try:
            yield other
        finally:
            for attempt in other.attempts:
                attempt.exchange.cancel()
            pool.retire()
            await eventually_async(lambda: pool.connections == 0, what="nothing is left of the other")


async def held(endpoint: Endpoint, connections: int, streams: int = 2) -> list[list[Http2Request]]:
    """Have as many connections of *endpoint*, which takes two streams each, with as many streams open."""
    found = []
    for _ in range(connections):
        attempts = [endpoint.attempt() for _ in range(2)]
        connection = await endpoint.backend.accept()
        found.append([await connection.request() for _ in attempts])
    for requests in found:
        for request in requests[streams:]:
            request.answer()
            await endpoint.attempts[int(request.path[1:])].until_ended()
    return [requests[:streams] for requests in found]


def drain(endpoint: Endpoint) -> list[bool]:
    """Which connections drain, in their order."""
    return [connection.is_draining for connection in endpoint.pool.shared]


async def until_drain(endpoint: Endpoint, number: int) -> None:
    await eventually_async(lambda: sum(drain(endpoint)) == number, what=f"{number} drain: {drain(endpoint)}")


@with_endpoint(TWO_STREAMS)
async def test_no_more_make_room_than_are_owed(endpoint: Endpoint) -> None:
    queue = limited(endpoint, connections=3)
    requests = await held(endpoint, 3, 2)
    async with another(endpoint, queue) as other:
        waiting = [other.attempt() for _ in range(5)]
        await until_drain(endpoint, 1)
        await asyncio.sleep(A_FEW_SWEEPS)
        assert drain(endpoint) == [False, False, True]
        # The others serve on.
        requests[0][0].answer()
        await endpoint.attempts[0].until_ended()
        more = endpoint.attempt()
        assert await answered(requests[0][0].connection, endpoint) is more
        for request in requests[2]:
            request.answer()
        connection = await other.backend.accept()
        for attempt in waiting:
            assert await answered(connection, other) is attempt
        await asyncio.sleep(A_FEW_SWEEPS)
        assert drain(endpoint) == [False, False]


@with_endpoint(TWO_STREAMS)
async def test_what_nobody_waits_for_any_more_serves_on(endpoint: Endpoint) -> None:
    queue = limited(endpoint, connections=2)
    requests = await held(endpoint, 2, 1)
    async with another(endpoint, queue) as other:
        waiting = other.attempt()
        await until_drain(endpoint, 1)
        waiting.exchange.cancel()
        await until_drain(endpoint, 0)
        more = endpoint.attempt()
        assert await answered(requests[1][0].connection, endpoint) is more
        assert endpoint.backend.connections == 2


@with_endpoint(TWO_STREAMS)
async def test_the_last_one_with_streams_that_last_serves_on(endpoint: Endpoint) -> None:
    queue = limited(endpoint, connections=1)
    ((request,),) = await held(endpoint, 1, 1)
    async with another(endpoint, queue) as other:
        waiting = other.attempt()
        await until_drain(endpoint, 1)  # for its stream has just begun
        await until_drain(endpoint, 0)
        late = endpoint.attempt()
        assert await answered(request.connection, endpoint) is late
        await asyncio.sleep(A_FEW_SWEEPS)
        assert drain(endpoint) == [False]  # and is not bothered again
        request.answer()
        assert await answered(await other.backend.accept(), other) is waiting


@with_endpoint(TWO_STREAMS)
async def test_those_whose_streams_have_begun_last_make_room(endpoint: Endpoint) -> None:
    queue = limited(endpoint, connections=2)
    of_first, _ = await held(endpoint, 2)
    for request in of_first:
        request.answer()
    await eventually_async(lambda: endpoint.state.startswith("2 connections, 1 idle"), what="it has none")
    endpoint.attempt()
    endpoint.attempt()
    async with another(endpoint, queue) as other:
        other.attempt()
        await until_drain(endpoint, 1)
        assert drain(endpoint) == [True, False]


@with_endpoint(TWO_STREAMS)
async def test_another_one_follows_when_it_takes_too_long(endpoint: Endpoint) -> None:
    queue = limited(endpoint, connections=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(draining, "LASTING", 0.0)
        patch.setattr(draining, "OVERDUE", 0.6)
        await held(endpoint, 3, 1)
        async with another(endpoint, queue) as other:
            other.attempt()
            await until_drain(endpoint, 1)
            await until_drain(endpoint, 2)
            await asyncio.sleep(A_FEW_SWEEPS)
            assert sum(drain(endpoint)) == 2  # the last one has a stream that lasts
            assert not endpoint.attempt().exchange.waits_for_place


@with_endpoint(TWO_STREAMS)
async def test_a_place_that_another_worker_waits_for(endpoint: Endpoint) -> None:
    table = create()
    loop = asyncio.get_running_loop()
    sweeper = DeadlineSweeper(loop)
    sweeper.start()
    pools = [endpoint.pool, EndpointPool("127.0.0.1", endpoint.pool.port, sweeper, endpoint.pool._tasks)]
    for pool in pools:
        pool.secure(None, http2=True)
        queue = Queue("d", SharedCounts(table).count, pool.sweeper, loop.time)
        queue.configure(ConnectionLimits(2))
        pool.limit(queue, 2)
    other = Endpoint(endpoint.backend, pools[1], sweeper)
    requests = await held(endpoint, 2, 1)
    waiting = other.attempt()
    assert waiting.exchange.waits_for_place
    await until_drain(endpoint, 1)
    await asyncio.sleep(A_FEW_SWEEPS)
    assert sum(drain(endpoint)) == 1
    requests[drain(endpoint).index(True)][0].answer()
    connection = await endpoint.backend.accept()
    (await connection.request()).answer()
    await waiting.until_ended()
    assert waiting.status == 200
    pools[1].retire()
    await eventually_async(lambda: pools[1].connections == 0, what="nothing is left of the other worker")
    sweeper.stop()
