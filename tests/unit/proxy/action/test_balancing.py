"""Balancing over real sockets: which backend serves whom, which cookies are set, and what a new snapshot changes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest

from tests.support.conditions import eventually_async
from tests.support.faulty_backend import DeadPorts
from tests.support.forwarding import error
from tests.support.gateway import destination, forward, route
from tests.support.held_response import Held, begin
from tests.support.in_process_proxy import Document, InProcessProxy, on_each_loop
from tests.support.retries import AT_ONCE
from tests.support.staged_backend import Script, StagedBackend, StagedConnection
from tests.support.stream_client import StreamClient, request

BY_USER = {"header": {"name": "X-User"}}
BY_COOKIE = {"cookie": {"name": "pin", "ttl": "10m"}}
HASHING = pytest.mark.parametrize("algorithm", ["RING_HASH", "MAGLEV"])


def hashed(algorithm: str, *policy: Document) -> Document:
    settings = {"RING_HASH": "ringHash", "MAGLEV": "maglev"}
    return {"algorithm": algorithm, settings[algorithm]: {"hashPolicy": list(policy)}}


def named(name: str) -> Script:
    """A script that answers with its name."""

    async def script(connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            connection.respond(name.encode())

    return script


async def backends(stack: AsyncExitStack, *names: str) -> list[StagedBackend]:
    return [await stack.enter_async_context(StagedBackend(named(name))) for name in names]


def balanced(ports: Sequence[int], balancing: Document, *weights: int, id: str = "d") -> Document:  # noqa: A002
    """A destination with endpoints on *ports*."""
    found = destination(id, 1, endpointBalancing=balancing)
    shares = weights or [1] * len(ports)
    found["endpoints"] = [
        {"host": "127.0.0.1", "port": port, "weight": weight} for port, weight in zip(ports, shares, strict=True)
    ]
    return found


async def balance(
    proxy: InProcessProxy, ports: Sequence[int], balancing: Document, *weights: int, **action: Any
) -> StreamClient:
    report = await proxy.apply(
        route("all", forward=forward("d", **action)), destinations=[balanced(ports, balancing, *weights)]
    )
    assert report.problems == ()
    return await proxy.connect()


async def served_by(client: StreamClient, *fields: str) -> str:
    return (await client.exchange("GET /", *fields)).body.decode()


@pytest.mark.parametrize("algorithm", ["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST", "PEAK_EWMA"])
@on_each_loop
async def test_every_endpoint_is_used(proxy: InProcessProxy, algorithm: str) -> None:
    async with AsyncExitStack() as stack:
        ports = [backend.port for backend in await backends(stack, "a", "b", "c")]
        client = await balance(proxy, ports, {"algorithm": algorithm})
        seen = Counter([await served_by(client) for _ in range(150)])
        # PEAK_EWMA prefers whoever answered fastest, and these differ by chance.
        assert set(seen) == {"a", "b", "c"}
        if algorithm == "ROUND_ROBIN":
            assert set(seen.values()) == {50}


@on_each_loop
async def test_turns_follow_the_weights(proxy: InProcessProxy) -> None:
    async with AsyncExitStack() as stack:
        ports = [backend.port for backend in await backends(stack, "a", "b")]
        client = await balance(proxy, ports, {"algorithm": "ROUND_ROBIN"}, 1, 3)
        seen = Counter([await served_by(client) for _ in range(80)])
        assert 19 <= seen["a"] <= 21


@HASHING
@on_each_loop
async def test_the_same_user_gets_the_same_endpoint_and_users_are_spread(proxy: InProcessProxy, algorithm: str) -> None:
    async with AsyncExitStack() as stack:
        some = await backends(stack, "a", "b", "c")
        ports = [backend.port for backend in some]
        client = await balance(proxy, ports, hashed(algorithm, BY_USER))
        first = [await served_by(client, f"X-User: {number}") for number in range(60)]
        assert set(first) == {"a", "b", "c"}
        assert first == [await served_by(client, f"X-User: {number}") for number in range(60)]
        # Neither the order of the endpoints nor a new snapshot changes it.
        client = await balance(proxy, ports[::-1], hashed(algorithm, BY_USER), timeouts={"request": "9s"})
        assert first == [await served_by(client, f"X-User: {number}") for number in range(60)]
        # Without the header it is the address of the client.
        assert len({await served_by(client) for _ in range(10)}) == 1


@HASHING
@on_each_loop
async def test_a_client_without_the_cookie_gets_one_that_keeps_it(proxy: InProcessProxy, algorithm: str) -> None:
    async with AsyncExitStack() as stack:
        ports = [backend.port for backend in await backends(stack, "a", "b", "c")]
        client = await balance(proxy, ports, hashed(algorithm, BY_USER, BY_COOKIE))
        seen = set()
        for _ in range(20):
            response = await client.exchange("GET /")
            pair, *attributes = response["set-cookie"].split("; ")
            assert attributes == ["Path=/", "Max-Age=600", "HttpOnly", "SameSite=Lax"]
            again = await client.exchange("GET /", f"Cookie: other=1; {pair}")
            assert again.body == response.body
            assert "set-cookie" not in again
            seen.add(response.body)
        assert len(seen) > 1
        by_header = await client.exchange("GET /", "X-User: ann")
        assert "set-cookie" not in by_header


@on_each_loop
async def test_the_cookie_comes_beside_those_of_the_backend_and_with_every_framing(proxy: InProcessProxy) -> None:
    answers = [
        b"HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: own=1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nSet-Cookie: own=1\r\n\r\n",
    ]

    async def script(connection: StagedConnection) -> None:
        for answer in answers:
            await connection.read_request()
            connection.send(answer)

    async with StagedBackend(script) as backend:
        client = await balance(proxy, [backend.port], hashed("MAGLEV", BY_COOKIE))
        for body in (b"ok", b"ok", b""):
            response = await client.exchange("GET /")
            assert response.body == body
            own, pin = response.all("set-cookie")
            assert own == "own=1"
            assert pin.startswith("pin=")


@on_each_loop
async def test_an_error_of_the_proxy_sets_the_cookie_too(proxy: InProcessProxy) -> None:
    with DeadPorts() as dead:
        client = await balance(proxy, [dead.refused], hashed("RING_HASH", BY_COOKIE))
        response = await client.exchange("GET /")
        assert error(response) == (502, "connection_refused")
        assert response["set-cookie"].startswith("pin=")
        # It was of that request alone.
        client = await balance(proxy, [dead.refused], {"algorithm": "ROUND_ROBIN"})
        assert "set-cookie" not in await client.exchange("GET /")


@HASHING
@on_each_loop
async def test_a_retry_walks_on_to_the_next_endpoint_of_the_key(proxy: InProcessProxy, algorithm: str) -> None:
    with DeadPorts() as dead:
        async with AsyncExitStack() as stack:
            ports = [backend.port for backend in await backends(stack, "a", "b", "c")]
            client = await balance(
                proxy, [dead.refused, *ports], hashed(algorithm, BY_COOKIE), retry={"attempts": 1, "backoff": AT_ONCE}
            )
            for number in range(40):
                first = await served_by(client, f"Cookie: pin={number}")
                assert first in "abc"
                assert await served_by(client, f"Cookie: pin={number}") == first
            # The session that begins with the first attempt is that of the second.
            for _ in range(20):
                response = await client.exchange("GET /")
                pair = response["set-cookie"].split(";")[0]
                assert await served_by(client, f"Cookie: {pair}") == response.body.decode()


@on_each_loop
async def test_the_least_busy_endpoint_is_taken_across_snapshots(proxy: InProcessProxy) -> None:
    held = Held()
    async with AsyncExitStack() as stack:
        busy = await stack.enter_async_context(StagedBackend(held))
        (free,) = await backends(stack, "free")
        least = {"algorithm": "LEAST_REQUEST"}
        client = await balance(proxy, [busy.port], least)
        await begin(client, "GET /")
        other = client
        for limit in ("20s", "21s"):
            other = await balance(proxy, [busy.port, free.port], least, timeouts={"request": limit})
            assert {await served_by(other) for _ in range(20)} == {"free"}
        held.release.set()
        assert await client.read_exactly(2) == b"cd"
        pools = proxy.data_plane._registry._pools.values()
        await eventually_async(lambda: sum(pool.in_flight for pool in pools) == 0, what="nothing is in flight")
        seen = set()
        for _ in range(40):
            seen.add(await served_by(other))
        assert seen == {"free", "abcd"}


@on_each_loop
async def test_what_is_in_flight_comes_back_to_nothing_whatever_happens(proxy: InProcessProxy) -> None:
    async def reset(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.reset()

    async def silent(connection: StagedConnection) -> None:
        await connection.read_request()
        await connection.gone()

    with DeadPorts() as dead:
        async with AsyncExitStack() as stack:
            scripts: list[Script] = [reset, silent]
            some = [await stack.enter_async_context(StagedBackend(script)) for script in scripts]
            ports = [*(backend.port for backend in some), dead.refused]
            await proxy.apply(
                route("all", forward=forward("d", timeouts={"request": "200ms"})),
                destinations=[balanced(ports, {"algorithm": "PEAK_EWMA"})],
            )
            for _ in range(3):
                clients = [await proxy.connect() for _ in range(6)]
                await asyncio.gather(*(each.exchange("GET /") for each in clients))
            gone = await proxy.connect()
            gone.send(request("GET /"))
            gone.reset()
            pools = proxy.data_plane._registry._pools.values()
            await eventually_async(lambda: all(pool.in_flight == 0 for pool in pools), what="nothing is in flight")
            now = asyncio.get_running_loop().time()
            expected = [pool.latency.expected(now) for pool in pools if pool.latency is not None]
            assert len(expected) == 3
            assert max(expected) > 0.1  # those that fail do not look fast


@on_each_loop
async def test_the_slow_endpoint_is_avoided(proxy: InProcessProxy) -> None:
    async def slow(connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            await asyncio.sleep(0.4)  # far longer than a busy machine keeps the fast one
            connection.respond(b"slow")

    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(StagedBackend(slow))
        (second,) = await backends(stack, "fast")
        client = await balance(proxy, [first.port, second.port], {"algorithm": "PEAK_EWMA"})
        seen = Counter([await served_by(client) for _ in range(40)])
        assert seen["slow"] <= 5


# -- between destinations ---------------------------------------------------------------------------------------------

CONSISTENT = {"algorithm": "WEIGHTED_CONSISTENT_HASH"}


async def split(proxy: InProcessProxy, ports: dict[str, int], weights: dict[str, int], **settings: Any) -> StreamClient:
    refs = [{"destinationId": name, "weight": weight} for name, weight in weights.items()]
    action = {"destinations": refs, "destinationBalancing": CONSISTENT, **settings}
    report = await proxy.apply(
        route("all", forward=action), destinations=[destination(name, port) for name, port in ports.items()]
    )
    assert report.problems == ()
    return await proxy.connect()


@on_each_loop
async def test_a_session_keeps_its_destination(proxy: InProcessProxy) -> None:
    async with AsyncExitStack() as stack:
        ports = {found: (await backends(stack, found))[0].port for found in "abc"}
        client = await split(proxy, ports, {"a": 50, "b": 50, "c": 0})
        begun = []
        for _ in range(60):
            response = await client.exchange("GET /")
            pair, *attributes = response["set-cookie"].split("; ")
            assert attributes == ["Path=/", "Max-Age=3600", "HttpOnly", "SameSite=Lax"]
            assert pair.startswith("_vrata_destination_pin=")
            begun.append((pair, response.body.decode()))
        assert {name for _, name in begun} == {"a", "b"}  # nothing begins at weight 0
        again = [await client.exchange("GET /", f"Cookie: {pair}") for pair, _ in begun]
        assert [each.body.decode() for each in again] == [name for _, name in begun]
        assert not any("set-cookie" in each for each in again)
        # What b gives up goes to the others; whose weight stays or grows loses sessions to new nodes alone.
        client = await split(proxy, ports, {"a": 50, "b": 30, "c": 20})
        later = [await served_by(client, f"Cookie: {pair}") for pair, _ in begun]
        moved = [(before, after) for (_, before), after in zip(begun, later, strict=True) if before != after]
        assert ("a", "b") not in moved
        assert len(moved) < len(begun) / 2
        assert {name for _, name in begun} <= set(later)


@on_each_loop
async def test_a_cookie_of_both_levels_is_one_session(proxy: InProcessProxy) -> None:
    async with AsyncExitStack() as stack:
        ports = [backend.port for backend in await backends(stack, "a", "b", "c", "d")]
        balancing = hashed("RING_HASH", BY_COOKIE)
        pin = {"cookie": {"name": "pin", "ttl": "10m"}}
        refs = [{"destinationId": "x", "weight": 50}, {"destinationId": "y", "weight": 50}]
        action = {
            "destinations": refs,
            "destinationBalancing": {"algorithm": "WEIGHTED_CONSISTENT_HASH", "weightedConsistentHash": pin},
        }
        await proxy.apply(
            route("all", forward=action),
            destinations=[balanced(ports[:2], balancing, id="x"), balanced(ports[2:], balancing, id="y")],
        )
        client = await proxy.connect()
        seen = set()
        for _ in range(40):
            response = await client.exchange("GET /")
            cookies = response.all("set-cookie")
            values = {cookie.split(";")[0] for cookie in cookies}
            assert len(values) == 1
            assert await served_by(client, f"Cookie: {values.pop()}") == response.body.decode()
            seen.add(response.body)
        assert len(seen) == 4


@pytest.mark.parametrize("weights", [{"a": 100, "gone": 0}, {"a": 0, "gone": 100}])
@on_each_loop
async def test_a_destination_that_is_not_there_is_passed_over(proxy: InProcessProxy, weights: dict[str, int]) -> None:
    async with AsyncExitStack() as stack:
        (only,) = await backends(stack, "a")
        client = await split(proxy, {"a": only.port}, weights)
        response = await client.exchange("GET /")
        assert response.body == b"a"
        assert "set-cookie" not in response


@on_each_loop
async def test_without_weight_among_those_there_are_chance_decides(proxy: InProcessProxy) -> None:
    async with AsyncExitStack() as stack:
        ports = {found: (await backends(stack, found))[0].port for found in "ab"}
        client = await split(proxy, ports, {"a": 0, "b": 0, "gone": 100})
        assert {await served_by(client) for _ in range(40)} == {"a", "b"}


@on_each_loop
async def test_a_copy_for_a_mirror_sets_no_cookie(proxy: InProcessProxy) -> None:
    async with AsyncExitStack() as stack:
        main, *shadows = await backends(stack, "main", "a", "b")
        balancing = hashed("MAGLEV", BY_COOKIE)
        await proxy.apply(
            route("all", forward=forward("main", mirror={"destinationId": "shadow"})),
            destinations=[
                destination("main", main.port),
                balanced([backend.port for backend in shadows], balancing, id="shadow"),
            ],
        )
        client = await proxy.connect()
        response = await client.exchange("GET /")
        assert response.body == b"main"
        assert "set-cookie" not in response
        await eventually_async(lambda: sum(len(each.requests) for each in shadows) == 1, what="the copy arrives")
        for _ in range(5):
            await client.exchange("GET /", "Cookie: pin=x", "X-Marked: 1")

        def marked() -> list[int]:
            return [sum(bool(found.all("x-marked")) for found in each.requests) for each in shadows]

        await eventually_async(lambda: sum(marked()) == 5, what="the copies arrive")
        assert sorted(marked()) == [0, 5]


# -- tables from plan to plan -----------------------------------------------------------------------------------------


@on_each_loop
async def test_tables_are_kept_while_what_they_depend_on_stays_the_same(proxy: InProcessProxy) -> None:
    def tables() -> tuple[list[Any], list[Any]]:
        known = proxy.data_plane._compiler._tables
        return list(known.rings.values()), list(known.maglevs.values())

    ports = [9, 10]
    await balance(proxy, ports, hashed("MAGLEV"))
    (_, (table,)) = tables()
    await balance(proxy, ports, hashed("MAGLEV", BY_USER))
    assert tables() == ([], [table])
    await balance(proxy, ports, hashed("MAGLEV"), 1, 2)
    assert tables()[1] != [table]
    await balance(proxy, ports, hashed("RING_HASH"))
    ((ring,), maglevs) = tables()
    assert len(ring) == 1024
    assert maglevs == []
