"""Whenever a request ends that is sent more than once, nothing of it goes on and nothing is left behind."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.conditions import eventually_async, settled
from tests.support.forwarding import error
from tests.support.gateway import destination, forward, route
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.retries import Answer, in_turn, reset, respond, retry_budget, retry_to, silence
from tests.support.staged_backend import ReceivedRequest, StagedBackend, StagedConnection
from tests.support.stream_client import request

LONG = {"base": "20s", "max": "20s"}
BODY = b"x" * 1000


async def in_pause(proxy: InProcessProxy, backend: StagedBackend, requests: int = 1) -> None:
    """Wait until the first attempt has failed."""
    budget = retry_budget(proxy)
    await eventually_async(lambda: budget.retrying == requests, what="the pause before another attempt")
    assert len(backend.requests) == requests


async def early(connection: StagedConnection, found: ReceivedRequest) -> None:
    """Answer with 503 before the body has come."""
    connection.respond(b"", "Connection: close", status=503)
    raise EOFError


async def nothing_is_left(proxy: InProcessProxy, backend: StagedBackend, *, clients: int = 0) -> None:
    await eventually_async(lambda: proxy.data_plane.status().in_flight == 0, what="the request is over")
    assert retry_budget(proxy).is_idle
    (pool,) = proxy.data_plane._registry._pools.values()
    # A dial goes on for whoever needs a connection next.
    await eventually_async(lambda: " 0 dialling" in repr(pool), what="nothing is dialled")
    await eventually_async(lambda: proxy.watched == backend.open + clients, what="only idle connections are watched")
    assert pool.connections == backend.open


@pytest.mark.parametrize(
    ("failure", "is_whole"),
    [
        pytest.param(respond(503), True, id="503"),
        pytest.param(respond(503, b"x" * 200_000), True, id="large"),
        pytest.param(reset, True, id="reset"),
        pytest.param(early, False, id="within the body"),
    ],
)
@on_each_loop
async def test_a_client_that_leaves_in_a_pause(proxy: InProcessProxy, failure: Answer, is_whole: bool) -> None:
    listener = proxy.listener(metrics={"collect": {"endpoint": True}})
    async with StagedBackend(in_turn(failure)) as backend:
        await retry_to(proxy, backend.port, attempts=5, backoff=LONG, timeouts={"request": "0s"}, listeners=[listener])
        metrics = InProcessMetrics(proxy)
        client = await proxy.connect()
        client.send(request("PUT /", f"Content-Length: {len(BODY) + (not is_whole)}") + BODY)
        await in_pause(proxy, backend)
        client.reset()
        await nothing_is_left(proxy, backend)
        shown = await metrics.scrape()
        for name in ("route", "destination"):
            assert all(value == 0 for value in shown.all(f"vrata_{name}_inflight_requests"))
        assert shown.all("vrata_route_retries_total") == []


@pytest.mark.parametrize("at", range(0, 60, 4))
@on_each_loop
async def test_a_client_that_leaves_at_any_moment(proxy: InProcessProxy, at: int) -> None:
    async with StagedBackend(in_turn(*[respond(503), reset, respond(500, b"x" * 100_000)] * 30)) as backend:
        await retry_to(proxy, backend.port, attempts=80, backoff={"base": "1us", "max": "1us"})
        client = await proxy.connect()
        client.send(request("PUT /", body=BODY))
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 1, what="in flight", interval=0)
        for _ in range(at):
            await asyncio.sleep(0)
        client.reset()
        await nothing_is_left(proxy, backend)
        # What was on its way to the backend still arrives there; the other attempts never begin.
        assert await settled(lambda: len(backend.requests), quiet=0.05) < 60


@on_each_loop
async def test_a_budget_that_passes_in_an_attempt_after_a_pause(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(503), silence)) as backend:
        await retry_to(proxy, backend.port, attempts=5, timeouts={"request": "500ms"})
        client = await proxy.connect()
        assert error(await client.exchange("GET /")) == (504, "timeout")
        assert len(backend.requests) == 2
        await nothing_is_left(proxy, backend, clients=1)


@on_each_loop
async def test_a_drain_that_waits_no_longer_ends_a_pause(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(503))) as backend:
        await retry_to(proxy, backend.port, attempts=5, backoff=LONG)
        budget = retry_budget(proxy)
        client = await proxy.connect()
        client.send(request("GET /"))
        await in_pause(proxy, backend)
        assert await proxy.data_plane.drain(0.05) is False
        assert await client.ending() in ("closed", "reset")
        await eventually_async(lambda: proxy.watched == 0 and backend.open == 0, what="nothing is left")
        assert budget.is_idle


@on_each_loop
async def test_dials_that_are_cancelled_are_attempts_that_failed(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await proxy.apply(
            route("all", forward=forward("backend", retry={"attempts": 2, "backoff": LONG})),
            destinations=[destination("backend", backend.port)],
        )
        client = await proxy.connect()
        client.send(request("GET /"))
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 1, what="in flight", interval=0)
        await proxy.tasks.stop()
        client.reset()
        await nothing_is_left(proxy, backend)
