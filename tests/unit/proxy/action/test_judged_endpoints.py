"""What a data plane does with the standings that its supervisor sends."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import Any

from tests.support.conditions import eventually_async
from tests.support.forwarding import error
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.retries import in_turn, retry_to
from tests.support.staged_backend import ReceivedRequest, StagedBackend, StagedConnection
from tests.support.stream_client import StreamClient, request
from tests.unit.proxy.action.test_balancing import backends, balanced, served_by
from vrata.proxy.standing import DestinationStanding, DiscoveredEndpoint, EndpointStanding


def against(**verdicts: EndpointStanding) -> DestinationStanding:
    return DestinationStanding({f"127.0.0.1:{port.removeprefix('p')}": verdict for port, verdict in verdicts.items()})


def discovered(port: int, *found: DiscoveredEndpoint) -> DestinationStanding:
    """What was found for a destination that is 127.0.0.1 at *port*."""
    return DestinationStanding(discovered=found, discovered_for=f"127.0.0.1:{port}")


UNHEALTHY = EndpointStanding(unhealthy="status 503")
EJECTED = EndpointStanding(ejected="5 failures in a row", ejected_until=2e9)


async def seen_by(client: StreamClient, requests: int = 12) -> set[str]:
    return {await served_by(client) for _ in range(requests)}


async def apply(proxy: InProcessProxy, *documents: Any, **action: Any) -> StreamClient:
    await proxy.apply(
        route("all", forward=forward(*(each["id"] for each in documents), **action)),
        listeners=[proxy.listener(proxyErrors={"detail": "full"})],
        destinations=list(documents),
    )
    return await proxy.connect()


@on_each_loop
async def test_endpoints_that_stand_badly_get_no_requests(proxy: InProcessProxy) -> None:
    async with AsyncExitStack() as stack:
        a, b, c = [backend.port for backend in await backends(stack, "a", "b", "c")]
        client = await apply(proxy, balanced([a, b, c], {}))
        assert await seen_by(client) == {"a", "b", "c"}
        await proxy.data_plane.judge({"d": against(**{f"p{a}": UNHEALTHY, f"p{b}": EJECTED})})
        assert await seen_by(client) == {"c"}
        # What is known outlives a swap.
        client = await apply(proxy, balanced([a, b, c], {"algorithm": "RANDOM"}))
        assert await seen_by(client) == {"c"}
        await proxy.data_plane.judge({})
        assert await seen_by(client, 60) == {"a", "b", "c"}


@on_each_loop
async def test_a_destination_without_available_endpoints_is_passed_over(proxy: InProcessProxy) -> None:
    async with AsyncExitStack() as stack:
        a, b = [backend.port for backend in await backends(stack, "a", "b")]
        first, second = balanced([a], {}, id="first"), balanced([b], {}, id="second")
        for algorithm in ("WEIGHTED_RANDOM", "WEIGHTED_CONSISTENT_HASH"):
            client = await apply(proxy, first, second, destinationBalancing={"algorithm": algorithm})
            await proxy.data_plane.judge({"first": against(**{f"p{a}": UNHEALTHY})})
            assert await seen_by(client, 40) == {"b"}
            # Both are in a panic: none is better than the other.
            await proxy.data_plane.judge(
                {"first": against(**{f"p{a}": UNHEALTHY}), "second": against(**{f"p{b}": EJECTED})}
            )
            assert await seen_by(client, 60) == {"a", "b"}
            await proxy.data_plane.judge({})


@on_each_loop
async def test_without_a_panic_threshold_the_census_says_why(proxy: InProcessProxy) -> None:
    document = destination("d", 9, panicThreshold=0)
    document["endpoints"] = [{"host": "127.0.0.1", "port": port} for port in (9, 10)]
    client = await apply(proxy, document)
    await proxy.data_plane.judge({"d": against(p9=UNHEALTHY, p10=EJECTED)})
    response = await client.exchange("GET /")
    assert error(response) == (502, "no_endpoint")
    members = json.loads(response.body)
    assert members["destination"] == "d"
    assert members["endpoints"] == [
        {"endpoint": "127.0.0.1:9", "verdict": "unhealthy", "reason": "status 503"},
        {"endpoint": "127.0.0.1:10", "verdict": "ejected", "reason": "5 failures in a row"},
    ]


@on_each_loop
async def test_discovered_endpoints_come_and_go_without_a_snapshot(proxy: InProcessProxy) -> None:
    async with AsyncExitStack() as stack:
        a, b, c = [backend.port for backend in await backends(stack, "a", "b", "c")]
        document = destination("d", a, discovery={"type": "dns"})
        client = await apply(proxy, document)
        assert await seen_by(client) == {"a"}  # nothing is known yet: what is configured acts
        found = tuple(DiscoveredEndpoint("127.0.0.1", port) for port in (b, c))
        await proxy.data_plane.judge({"d": discovered(a, *found)})
        assert await seen_by(client) == {"b", "c"}
        await proxy.data_plane.judge({"d": discovered(a, *found[:1])})
        assert await seen_by(client) == {"b"}
        client = await apply(proxy, document)
        assert await seen_by(client) == {"b"}
        await proxy.data_plane.judge({"d": discovered(a)})
        assert error(await client.exchange("GET /")) == (502, "no_endpoint")
        listed = document | {"endpoints": [{"host": "127.0.0.1", "port": a}]}
        await proxy.data_plane.judge({"d": discovered(a, *found)})
        client = await apply(proxy, listed)
        assert await seen_by(client) == {"a", "b", "c"}
        # What was found for another name is no answer.
        client = await apply(proxy, document | {"port": b})
        assert await seen_by(client) == {"b"}


@on_each_loop
async def test_no_attempt_goes_to_an_endpoint_that_was_taken_out_after_the_last_one(proxy: InProcessProxy) -> None:
    judged = {"backend": against(p1=UNHEALTHY)}

    async def fail(connection: StagedConnection, found: ReceivedRequest) -> None:
        await connection.read_body(found)
        if "before" in found.target:
            await proxy.data_plane.judge(judged)
        connection.respond(b"busy", "Connection: close", status=503)

    async with StagedBackend(in_turn(*[fail] * 4)) as backend:
        judged["backend"] = against(**{f"p{backend.port}": EJECTED})
        pause = {"base": "200ms", "max": "200ms"}
        await retry_to(proxy, backend.port, attempts=3, backoff=pause, options={"panicThreshold": 0})
        client = await proxy.connect()
        # Taken out by the time it answers: the answer is all there is.
        response = await client.exchange("GET /before")
        assert (response.status, response.body, len(backend.requests)) == (503, b"busy", 1)
        # Taken out while the next attempt is waited for.
        await proxy.data_plane.judge({})
        client.send(request("GET /"))
        await eventually_async(lambda: len(backend.requests) == 2, what="the first attempt")
        await eventually_async(lambda: proxy.data_plane._registry.retry_budget("backend").retrying, what="the pause")
        await proxy.data_plane.judge(judged)
        response = await client.read_response()
        assert error(response) == (502, "no_endpoint")
        endpoint = f"127.0.0.1:{backend.port}"
        assert json.loads(response.body)["endpoints"] == [
            {"endpoint": endpoint, "verdict": "tried", "reason": "status 503"}
        ]
        assert len(backend.requests) == 2
