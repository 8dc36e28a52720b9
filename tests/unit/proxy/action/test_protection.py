"""Circuit breakers and limits over real sockets."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

from tests.support.conditions import eventually_async
from tests.support.faulty_backend import DeadPorts
from tests.support.forwarding import EVENT_STREAM, error
from tests.support.held_response import Held, begin
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.retries import AT_ONCE, in_turn, respond, retry_to, silence
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import request
from vrata.policy.circuit_breaker import described


def state(proxy: InProcessProxy) -> str:
    word = proxy.data_plane._registry.counts.word("breaker backend")
    try:
        return described(word.value).state
    finally:
        word.leave()


async def protected(proxy: InProcessProxy, *ports: int, retry: dict[str, Any] | None = None, **breaker: Any) -> None:
    await retry_to(proxy, *ports, options={"circuitBreaker": breaker}, **(retry or {}))


@on_each_loop
async def test_failures_in_a_row_open_the_circuit_and_a_probe_closes_it(proxy: InProcessProxy) -> None:
    failures = [respond(500), respond(500), respond(200), *[respond(503)] * 3]
    async with StagedBackend(in_turn(*failures, respond(200, b"probe"))) as backend:
        await protected(proxy, backend.port, failureThreshold=3, openDuration="1h")
        client = await proxy.connect()
        statuses = [(await client.exchange("GET /")).status for _ in range(6)]
        assert statuses == [500, 500, 200, 503, 503, 503]
        assert state(proxy) == "open"
        refused = await client.exchange("GET /")
        assert error(refused) == (503, "circuit_open")
        members = json.loads(refused.body)
        assert members["reason"] == "circuit open since 3 failures in a row"
        assert [entry["verdict"] for entry in members["endpoints"]] == ["available"]
        await protected(proxy, backend.port, failureThreshold=3, openDuration="1ms")
        client = await proxy.connect()
        await asyncio.sleep(0.01)  # the open time itself
        assert (await client.exchange("GET /")).body == b"probe"
        assert state(proxy) == "closed"
        assert (await client.exchange("GET /")).body == b"ok"


@on_each_loop
async def test_only_one_request_is_the_probe_and_its_failure_opens_again(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(500), silence, respond(500))) as backend:
        await protected(proxy, backend.port, failureThreshold=1, openDuration="1ms")
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 500
        await asyncio.sleep(0.01)
        probe = await proxy.connect()
        probe.send(request("GET /silence"))
        await eventually_async(lambda: state(proxy) == "halfOpen", what="the probe")
        refused = await client.exchange("GET /")
        assert json.loads(refused.body)["reason"] == "circuit half-open, its probe is under way"
        probe.reset()
        # Whoever sent the probe has left: the next request is one, at once.
        await eventually_async(lambda: state(proxy) == "open", what="the end of the lost probe")
        assert (await client.exchange("GET /")).status == 500
        assert state(proxy) == "open"
        await protected(proxy, backend.port, failureThreshold=1, openDuration="1h")
        client = await proxy.connect()
        assert error(await client.exchange("GET /")) == (503, "circuit_open")


@on_each_loop
async def test_no_connection_is_a_failure_and_a_threshold_of_zero_opens_nothing(proxy: InProcessProxy) -> None:
    with DeadPorts() as dead:
        await protected(proxy, dead.refused, failureThreshold=2)
        client = await proxy.connect()
        errors = [error(await client.exchange("GET /"))[1] for _ in range(3)]
        assert errors == ["connection_refused", "connection_refused", "circuit_open"]
        await protected(proxy, dead.refused, failureThreshold=0)
        client = await proxy.connect()
        errors = [error(await client.exchange("GET /"))[1] for _ in range(9)]
        assert set(errors) == {"connection_refused"}


@on_each_loop
async def test_requests_are_limited_and_every_place_comes_back(proxy: InProcessProxy) -> None:
    async with StagedBackend(Held()) as backend:
        await protected(proxy, backend.port, maxRequests=2)
        first, second = await proxy.connect(), await proxy.connect()
        await begin(first)
        await begin(second)
        client = await proxy.connect()
        refused = await client.exchange("GET /")
        assert error(refused) == (503, "circuit_open")
        assert json.loads(refused.body)["reason"] == "2 requests are under way (maxRequests)"
        first.reset()
        second.reset()
        requests = proxy.data_plane._registry.count("requests backend")
        await eventually_async(lambda: requests.total == 0, what="the places of those that left")
        requests.leave()


@on_each_loop
async def test_retries_at_once_are_limited(proxy: InProcessProxy) -> None:
    pause = {"base": "10s", "max": "10s"}
    async with AsyncExitStack() as stack:
        backend = await stack.enter_async_context(StagedBackend(in_turn(*[respond(500)] * 9)))
        await protected(proxy, backend.port, retry={"attempts": 1, "backoff": pause}, maxRetries=1, failureThreshold=0)
        waiting = await proxy.connect()
        waiting.send(request("GET /"))
        retries = proxy.data_plane._registry.count("retries backend")
        await eventually_async(lambda: retries.total == 1, what="the pause of the first request")
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 500
        waiting.reset()
        await eventually_async(lambda: retries.total == 0, what="the place of the one that left")
        retries.leave()


@on_each_loop
async def test_the_census_lists_attempts_and_those_not_tried(proxy: InProcessProxy) -> None:
    with DeadPorts() as dead:
        await retry_to(proxy, dead.refused, dead.full, limits={"connect": "200ms"}, attempts=1, backoff=AT_ONCE)
        client = await proxy.connect()
        response = await client.exchange("GET /")
        assert response.status in (502, 504)
        entries = json.loads(response.body)["endpoints"]
        assert [entry["verdict"] for entry in entries] == ["tried", "tried"]
        assert entries[0]["endpoint"] != entries[1]["endpoint"]


@on_each_loop
async def test_a_client_that_is_slow_says_nothing_of_the_upstream(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn()) as backend:
        judged = {"outlierDetection": {}, "circuitBreaker": {"failureThreshold": 1}}
        tries: list[dict[str, Any]] = [{}, {"attempts": 2, "perAttemptTimeout": "150ms"}]
        for retry in tries:
            await retry_to(proxy, backend.port, options=judged, timeouts={"request": "300ms"}, **retry)
            client = await proxy.connect()
            client.send(request("PUT /", "Content-Length: 10") + b"12345")
            assert error(await client.read_response()) == (504, "timeout")
        assert state(proxy) == "closed"
        streak = proxy.data_plane._registry.counts.word(f"5xx backend 127.0.0.1:{backend.port}")
        assert streak.value == 0
        streak.leave()
        client = await proxy.connect()
        assert (await client.exchange("GET /")).body == b"ok"


@on_each_loop
async def test_who_waits_for_a_place_says_nothing_of_the_upstream(proxy: InProcessProxy) -> None:
    async def without_end(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(EVENT_STREAM)
        await connection.gone()

    async with StagedBackend(without_end) as backend:
        options = {"outlierDetection": {}, "circuitBreaker": {"failureThreshold": 1, "maxConnections": 1}}
        await retry_to(proxy, backend.port, options=options, timeouts={"request": "400ms"})
        first = await proxy.connect()
        first.send(request("GET /"))
        assert (await first.read_head()).status == 200
        second = await proxy.connect()
        second.send(request("GET /"))
        assert error(await second.read_response()) == (504, "timeout")
        assert state(proxy) == "closed"
        streak = proxy.data_plane._registry.counts.word(f"5xx backend 127.0.0.1:{backend.port}")
        assert streak.value == 0
        streak.leave()


@on_each_loop
async def test_how_a_response_ends_that_has_begun_says_nothing_more(proxy: InProcessProxy) -> None:
    async def cut(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
        await connection.flush()
        connection.reset()

    async with StagedBackend(cut) as backend:
        await retry_to(proxy, backend.port, options={"outlierDetection": {}})
        client = await proxy.connect()
        client.send(request("GET /"))
        assert (await client.read_head()).status == 200
        assert await client.ending() != "closed"
        streak = proxy.data_plane._registry.counts.word(f"5xx backend 127.0.0.1:{backend.port}")
        assert streak.value == 0
        streak.leave()
