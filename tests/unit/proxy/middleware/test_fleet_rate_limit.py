"""Rate limits that proxies share by Redis, and what they do without it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.conditions import eventually_async
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_each_loop, on_our_loop
from tests.support.middlewares import middleware, pass_through
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import StreamClient, request
from vrata.proxy.redis.settings import RedisSettings

LIMIT = "vrata.proxy.redis.client.LIMIT"


@asynccontextmanager
async def fleet(port: int, backend: int, size: int = 2, **settings: Any) -> AsyncIterator[list[InProcessProxy]]:
    """So many proxies that forward what is within a limit that is kept on *port*; a token comes in 100 seconds."""
    proxies: list[InProcessProxy] = []
    try:
        for _ in range(size):
            proxy = InProcessProxy(sessions=RedisSettings("127.0.0.1", port))
            proxies.append(proxy)
            limit = middleware("limit", "rateLimit", requestsPerSecond=0.01, store="redis", **settings)
            await pass_through(proxy, backend, [limit], listener={"metrics": {}})
        yield proxies
    finally:
        for proxy in proxies:
            await proxy.end()


async def statuses(client: StreamClient, count: int) -> list[int]:
    return [(await client.exchange("GET /")).status for _ in range(count)]


@on_each_loop
async def test_proxies_share_a_bucket(proxy: InProcessProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LIMIT, 20.0)
    with RedisServer(tmp_path) as server:
        async with (
            StagedBackend() as backend,
            fleet(server.port, backend.port, burst=3, responseHeaders=True) as proxies,
        ):
            one, other = [await each.connect() for each in proxies]
            assert await statuses(one, 2) + await statuses(other, 2) == [200, 200, 200, 429]
            assert await statuses(one, 1) == [429]
            refused = await other.exchange("POST /", body=b"x" * 200_000)
            assert refused["ratelimit-policy"] == '"limit";q=3;w=300'
            assert refused["ratelimit"] == f'"limit";r=0;t={refused["retry-after"]}'
            assert 99 <= int(refused["retry-after"]) <= 100
            assert len(backend.requests) == 3
            (key,) = server.stored()
            assert len(key) == len(b"vrata:ratelimit:") + 32


@on_our_loop
async def test_proxies_agree_on_networks_of_ipv6(
    proxy: InProcessProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LIMIT, 5.0)
    with RedisServer(tmp_path) as server:
        async with (
            StagedBackend() as backend,
            fleet(server.port, backend.port, burst=1, trustedProxies=["127.0.0.1"]) as proxies,
        ):
            answers = []
            for each, address in zip(proxies, ("2001:db8::1", "2001:DB8:0:0:ffff::2"), strict=True):
                client = await each.connect()
                answers.append((await client.exchange("GET /", f"X-Forwarded-For: {address}")).status)
            assert answers == [200, 429]
            assert len(server.stored()) == 1


@on_each_loop
async def test_what_comes_of_the_body_meanwhile_goes_on(
    proxy: InProcessProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LIMIT, 20.0)
    body = bytes(range(256)) * 2000
    with RedisServer(tmp_path) as server:
        async with StagedBackend() as backend, fleet(server.port, backend.port, 1, burst=3) as (limited,):
            client = await limited.connect()
            assert await statuses(client, 1) == [200]
            server.freeze()
            client.send(request("POST /", body=body))
            in_flight = limited.data_plane.status
            await eventually_async(lambda: in_flight().in_flight == 1, what="the request is there")
            gone = await limited.connect()
            gone.send(request("POST /", body=b"abc"))
            await eventually_async(lambda: in_flight().in_flight == 2, what="the other one is there")
            gone.reset()
            await eventually_async(lambda: in_flight().in_flight == 1, what="the other one is gone")
            server.thaw()
            assert (await client.read_response()).status == 200
            assert [each.body for each in backend.requests] == [b"", body]


@on_each_loop
async def test_without_redis_each_proxy_limits_by_itself(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend, fleet(free_port(), backend.port, burst=2) as proxies:
        for each in proxies:
            assert await statuses(await each.connect(), 3) == [200, 200, 429]


@on_each_loop
async def test_without_redis_everything_may_pass(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend, fleet(free_port(), backend.port, 1, onStoreFailure="allow") as (limited,):
        assert await statuses(await limited.connect(), 3) == [200] * 3


@on_each_loop
async def test_without_redis_nothing_may_pass(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend, fleet(free_port(), backend.port, 1, onStoreFailure="deny") as (limited,):
        client = await limited.connect()
        for _ in range(2):
            denied = await client.exchange("GET /")
            assert (denied.status, denied.body) == (503, b'{"error":"rate limit store unavailable"}')
        call = await client.exchange("POST /a.B/C", "Content-Type: application/grpc")
        assert (call.status, call["grpc-status"]) == (200, "14")
        assert not backend.requests
        scraped = await InProcessMetrics(limited).scrape()
        counted = {"middleware": "limit", "type": "rateLimit"}
        assert scraped("vrata_middleware_errors_total", **counted) == 3
        assert scraped("vrata_middleware_rejections_total", **counted, status_code="503") == 3


@on_each_loop
async def test_a_redis_that_hangs_and_comes_back(proxy: InProcessProxy, tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        async with (
            StagedBackend() as backend,
            fleet(server.port, backend.port, 1, onStoreFailure="deny", burst=999) as (limited,),
        ):
            client = await limited.connect()
            await statuses(client, 1)
            server.freeze()
            assert await statuses(client, 1) == [503]
            server.thaw()
            answers: list[int] = []
            while answers[-2:] != [200, 200]:
                answers += await statuses(client, 1)
            assert set(answers) <= {200, 503}
