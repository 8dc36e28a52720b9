"""Connections of HTTP/2 that serve no more than a number of requests, or none at all."""

from __future__ import annotations

import asyncio

from h2.errors import ErrorCodes

from tests.support.conditions import eventually_async
from tests.support.http2_backend import Http2BackendConnection
from tests.support.http2_endpoint import Endpoint, with_endpoint
from tests.unit.proxy.upstream.test_http2_pool import answered, limited
from vrata.proxy.contracts import FailureClass


async def burst(endpoint: Endpoint, size: int) -> int:
    """Make *size* attempts at once, all of which are answered; returns how many connections that took."""
    backend = endpoint.backend
    before = backend.connections
    tasks: list[asyncio.Task[None]] = []

    async def serve(connection: Http2BackendConnection) -> None:
        while True:
            (await connection.next()).answer()

    async def accept() -> None:
        while True:
            tasks.append(asyncio.get_running_loop().create_task(serve(await backend.accept())))

    tasks.append(asyncio.get_running_loop().create_task(accept()))
    attempts = [endpoint.attempt() for _ in range(size)]
    for attempt in attempts:
        await attempt.until_ended()
    for task in tasks:
        task.cancel()
    assert [attempt.failure for attempt in attempts] == [None] * size
    assert [attempt.status for attempt in attempts] == [200] * size
    return backend.connections - before


@with_endpoint()
async def test_a_burst_dials_as_often_as_it_has_to(endpoint: Endpoint) -> None:
    endpoint.pool.max_requests = 1
    assert await burst(endpoint, 20) == 20
    endpoint.pool.max_requests = 10
    assert await burst(endpoint, 100) == 10


@with_endpoint()
async def test_a_burst_with_one_connection_at_a_time(endpoint: Endpoint) -> None:
    limited(endpoint, 1)
    endpoint.pool.max_requests = 5
    assert await burst(endpoint, 60) == 12


@with_endpoint()
async def test_a_number_that_changes_holds_for_open_connections(endpoint: Endpoint) -> None:
    endpoint.attempt()
    first = await endpoint.backend.accept()
    await answered(first, endpoint)
    endpoint.pool.max_requests = 2
    endpoint.attempt()
    await answered(first, endpoint)
    await first.until_over()
    assert first.goodbye == ErrorCodes.NO_ERROR
    endpoint.attempt()
    second = await endpoint.backend.accept()
    await answered(second, endpoint)
    endpoint.pool.max_requests = 0
    for _ in range(3):
        endpoint.attempt()
        await answered(second, endpoint)
    assert endpoint.backend.connections == 2


@with_endpoint(greets=False)
async def test_a_goodbye_behind_the_settings(endpoint: Endpoint) -> None:
    attempts = [endpoint.attempt() for _ in range(3)]
    connection = await endpoint.backend.accept()
    connection.go_away(0, behind_settings=True)
    for attempt in attempts:
        await attempt.until_ended()
        assert attempt.failure is FailureClass.CONNECTION_REFUSED
        assert attempt.detail == "the upstream has said goodbye at once"
    await eventually_async(lambda: endpoint.pool.connections == 0, what="nothing is left")
    assert endpoint.backend.connections == 1
