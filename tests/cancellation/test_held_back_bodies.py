"""A request that is held back for its body, ended at every point, leaves nothing behind."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import StreamClient, request

BODY = b'{"model": "large"}'
CEL = "request.body.json.model == 'large'"


async def is_quiet(proxy: InProcessProxy) -> None:
    """Wait until no client is connected and nothing but idle upstream connections is watched."""
    status = proxy.data_plane.status
    await eventually_async(lambda: (status().connections, status().in_flight) == (0, 0), what="nothing is in flight")
    (pool,) = proxy.data_plane._registry._pools.values()
    await eventually_async(lambda: " 0 dialling" in repr(pool), what="nothing is dialled")
    await eventually_async(lambda: proxy.watched == pool.connections, what="only pooled connections are watched")


@pytest.mark.parametrize("turns", range(6))
@pytest.mark.parametrize("sent", [0, 1, len(BODY) - 1, len(BODY), 70_000])
@on_each_loop
async def test_a_client_that_goes_at_any_point(proxy: InProcessProxy, sent: int, turns: int) -> None:
    async with StagedBackend() as backend:
        await proxy.apply(
            route("chosen", {"cel": CEL}, forward=forward("b")),
            route("rest", forward=forward("b")),
            destinations=[destination("b", backend.port)],
        )
        length = max(len(BODY), 2 * sent) if sent > len(BODY) else len(BODY)
        with capture_logs():
            for expect in ((), ("Expect: 100-continue",)):
                client = await StreamClient.connect(proxy.port)
                client.send(request("POST /", "Content-Type: application/json", f"Content-Length: {length}", *expect))
                await asyncio.sleep(0)
                client.send((BODY + bytes(length))[:sent])
                for _ in range(turns):
                    await asyncio.sleep(0)
                client.reset()
                await client.gone()
            await is_quiet(proxy)


@pytest.mark.parametrize("turns", range(4))
@on_each_loop
async def test_a_proxy_that_ends_at_any_point(proxy: InProcessProxy, turns: int) -> None:
    async with StagedBackend() as backend:
        await proxy.apply(
            route("chosen", {"cel": CEL}, forward=forward("b")), destinations=[destination("b", backend.port)]
        )
        client = await proxy.connect()
        client.send(request("POST /", "Content-Type: application/json", f"Content-Length: {len(BODY)}") + BODY[:5])
        for _ in range(turns):
            await asyncio.sleep(0)
        with capture_logs():
            await proxy.data_plane.drain(0.05)
        status = proxy.data_plane.status
        await eventually_async(
            lambda: (status().connections, status().in_flight) == (0, 0), what="nothing is in flight"
        )
        await eventually_async(lambda: proxy.watched == 0, what="nothing is watched")
