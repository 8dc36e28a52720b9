"""Sticky sessions over real sockets, with a real Redis, and proxies that share nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.faulty_backend import DeadPorts
from tests.support.forwarding import error
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import Document, InProcessProxy, on_each_loop
from tests.support.redis_server import RedisServer
from tests.support.retries import AT_ONCE
from tests.support.staged_backend import Script, StagedBackend, StagedConnection
from tests.support.stream_client import StreamClient
from vrata.proxy.redis.client import LIMIT
from vrata.proxy.redis.settings import RedisSettings
from vrata.proxy.standing import DestinationStanding, EndpointStanding

PIN = {"algorithm": "STICKY", "sticky": {"cookie": {"name": "pin", "ttl": "10m"}}}
SESSIONS = 30
PATIENCE = 20.0
"""Seconds that a proxy waits for Redis here, which a machine with much else to do may need."""


def named(name: str) -> Script:
    """A script that answers with its name."""

    async def script(connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            connection.respond(name.encode())

    return script


class Stage:
    """Backends called ``a``, ``b``, …, a Redis, and proxies that use both."""

    def __init__(self, server: RedisServer, backends: dict[str, StagedBackend], proxies: list[InProcessProxy]) -> None:
        self.server = server
        self.backends = backends
        self.proxies = proxies

    def port(self, name: str) -> int:
        return self.backends[name].port

    def destination(self, *names: str, id: str = "d", weights: Sequence[int] = (), **options: Any) -> Document:  # noqa: A002
        """One with the backends called so as its endpoints."""
        found = destination(id, 1, **{"endpointBalancing": PIN} | options)
        found["endpoints"] = [
            {"host": "127.0.0.1", "port": self.port(name), "weight": weight}
            for name, weight in zip(names, weights or [1] * len(names), strict=True)
        ]
        return found

    async def apply(self, *destinations: Document, **action: Any) -> None:
        """Have all proxies forward to *destinations*; *action* is of the route."""
        found = forward(*(each["id"] for each in destinations), **action)
        if "weights" in found:
            for target, weight in zip(found["destinations"], found.pop("weights"), strict=True):
                target["weight"] = weight
        for proxy in self.proxies:
            report = await proxy.apply(route("r", forward=found), destinations=destinations)
            assert report.problems == ()

    async def clients(self) -> list[StreamClient]:
        """One of each proxy."""
        return [await proxy.connect() for proxy in self.proxies]

    async def begin(self, client: StreamClient, count: int = SESSIONS) -> dict[str, str]:
        """Begin sessions; returns who served each first, by cookie."""
        begun = {}
        for _ in range(count):
            response = await client.exchange("GET /")
            begun[response["set-cookie"].partition(";")[0]] = response.body.decode()
        return begun

    async def again(self, client: StreamClient, sessions: dict[str, str]) -> dict[str, str]:
        """Who serves *sessions* now."""
        found = {}
        for cookie in sessions:
            response = await client.exchange("GET /", f"Cookie: theme=dark; {cookie}")
            assert "set-cookie" not in response
            found[cookie] = response.body.decode()
        return found

    async def written(self, count: int) -> None:
        """Wait until the Redis has that many keys."""
        await eventually_async(lambda: len(self.server.stored()) == count, what=f"{count} keys")


@asynccontextmanager
async def stage(
    directory: Path, names: str = "abc", proxies: int = 2, *, patience: float = PATIENCE, **server: Any
) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        stack.enter_context(patch("vrata.proxy.redis.client.LIMIT", patience))
        redis = stack.enter_context(RedisServer(directory, **server))
        backends = {name: await stack.enter_async_context(StagedBackend(named(name))) for name in names}
        found = [InProcessProxy(sessions=RedisSettings("127.0.0.1", redis.port)) for _ in range(proxies)]
        for proxy in found:
            stack.push_async_callback(proxy.end)
        yield Stage(redis, backends, found)


# -- endpoints --------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_a_session_keeps_its_endpoint_on_every_proxy(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with stage(tmp_path) as scene:
        await scene.apply(scene.destination("a", "b", "c"))
        here, there = await scene.clients()
        sessions = await scene.begin(here)
        assert set(sessions.values()) == {"a", "b", "c"}
        assert await scene.again(there, sessions) == await scene.again(here, sessions) == sessions
        for cookie, name in sessions.items():
            key = f"vrata:sticky:{cookie.removeprefix('pin=')}:d:ep"
            assert scene.server.value(key) == b"127.0.0.1:%d" % scene.port(name)
            assert scene.server.ask("TTL", key) in (b":600\r\n", b":599\r\n", b":598\r\n")


@on_each_loop
async def test_the_cookie_is_that_of_the_settings(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with stage(tmp_path, "a", 1) as scene:
        await scene.apply(scene.destination("a"))
        (client,) = await scene.clients()
        pair, *attributes = (await client.exchange("GET /"))["set-cookie"].split("; ")
        assert pair.startswith("pin=")
        assert attributes == ["Path=/", "Max-Age=600", "HttpOnly", "SameSite=Lax"]


@on_each_loop
async def test_endpoints_that_come_and_go_move_no_other_session(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with stage(tmp_path, "abcd") as scene:
        await scene.apply(scene.destination("a", "b"))
        here, there = await scene.clients()
        sessions = await scene.begin(here)
        await scene.apply(scene.destination("d", "c", "b", "a", weights=[9, 9, 1, 1]))
        assert await scene.again(there, sessions) == sessions
        await scene.apply(scene.destination("b", "c", "d"))
        moved = await scene.again(there, sessions)
        assert {cookie: name for cookie, name in moved.items() if sessions[cookie] == "b"} == {
            cookie: name for cookie, name in sessions.items() if name == "b"
        }
        assert "a" not in moved.values()
        # They stay where they went, also when the old place is back.
        await scene.apply(scene.destination("a", "b", "c", "d"))
        assert await scene.again(here, sessions) == moved


@on_each_loop
async def test_an_endpoint_alone_has_its_sessions_kept_as_well(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with stage(tmp_path) as scene:
        await scene.apply(scene.destination("a"))
        here, there = await scene.clients()
        sessions = await scene.begin(here)
        await scene.apply(scene.destination("a", "b", "c"))
        assert await scene.again(there, sessions) == sessions


@on_each_loop
async def test_new_sessions_are_spread_by_weight(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with stage(tmp_path, proxies=1) as scene:
        await scene.apply(scene.destination("a", "b", "c", weights=[1, 1, 6]))
        (client,) = await scene.clients()
        shares = Counter((await scene.begin(client, 400)).values())
        assert 260 <= shares["c"] <= 340
        assert shares["a"] >= 25
        assert shares["b"] >= 25


@on_each_loop
async def test_a_session_leaves_an_endpoint_that_cannot_be_used(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with stage(tmp_path) as scene:
        await scene.apply(scene.destination("a", "b", "c"))
        here, there = await scene.clients()
        sessions = await scene.begin(here)
        await scene.written(SESSIONS)
        unhealthy = {f"127.0.0.1:{scene.port('a')}": EndpointStanding(unhealthy="3 checks failed")}
        for each in scene.proxies:
            await each.data_plane.judge({"d": DestinationStanding(unhealthy)})
        moved = await scene.again(here, sessions)
        assert "a" not in moved.values()
        assert {cookie: name for cookie, name in moved.items() if sessions[cookie] != "a"} == {
            cookie: name for cookie, name in sessions.items() if name != "a"
        }
        for each in scene.proxies:
            await each.data_plane.judge({})
        assert await scene.again(there, sessions) == moved
        for each in scene.proxies:
            nothing = {f"127.0.0.1:{scene.port(name)}": EndpointStanding(unhealthy="down") for name in "abc"}
            await each.data_plane.judge({"d": DestinationStanding(nothing)})
        # In a panic all are used, and sessions stay.
        assert await scene.again(there, sessions) == moved


@on_each_loop
async def test_a_retry_goes_elsewhere_and_the_session_stays(proxy: InProcessProxy, tmp_path: Path) -> None:
    with DeadPorts() as dead:
        async with stage(tmp_path, "ab", 1) as scene:
            target = scene.destination("a", "b")
            target["endpoints"].append({"host": "127.0.0.1", "port": dead.refused})
            await scene.apply(target, retry={"attempts": 1, "backoff": AT_ONCE})
            (client,) = await scene.clients()
            for number in range(9):
                scene.server.ask("SET", f"vrata:sticky:{number}:d:ep", f"127.0.0.1:{dead.refused}")
                assert (await client.exchange("GET /", f"Cookie: pin={number}")).status == 200
                assert scene.server.value(f"vrata:sticky:{number}:d:ep") == b"127.0.0.1:%d" % dead.refused


# -- destinations -----------------------------------------------------------------------------------------------------


@on_each_loop
async def test_a_weight_of_nothing_begins_no_session_and_keeps_those_that_are(
    proxy: InProcessProxy, tmp_path: Path
) -> None:
    async with stage(tmp_path) as scene:
        plain: Document = {"endpointBalancing": {"algorithm": "RANDOM"}}
        targets = [scene.destination(name, id=name, **plain) for name in "abc"]
        await scene.apply(*targets, destinationBalancing=PIN)
        here, there = await scene.clients()
        sessions = await scene.begin(here)
        assert set(sessions.values()) == {"a", "b", "c"}
        cookie = next(iter(sessions))
        assert scene.server.value(f"vrata:sticky:{cookie.removeprefix('pin=')}:r") == sessions[cookie].encode()
        await scene.apply(*targets, destinationBalancing=PIN, weights=[100, 0, 0])
        assert await scene.again(there, sessions) == sessions
        assert set((await scene.begin(there)).values()) == {"a"}
        # Gone is gone.
        await scene.apply(targets[0], targets[1], destinationBalancing=PIN, weights=[100, 0])
        moved = await scene.again(there, sessions)
        assert {cookie for cookie in sessions if moved[cookie] != sessions[cookie]} == {
            cookie for cookie in sessions if sessions[cookie] == "c"
        }
        assert {moved[cookie] for cookie in sessions if sessions[cookie] == "c"} == {"a"}


@on_each_loop
async def test_both_levels_with_one_cookie(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with stage(tmp_path, "abcd") as scene:
        targets = [scene.destination("a", "b", id="x"), scene.destination("c", "d", id="y")]
        await scene.apply(*targets, destinationBalancing=PIN)
        here, there = await scene.clients()
        sessions = await scene.begin(here, 60)
        assert set(sessions.values()) == {"a", "b", "c", "d"}
        await scene.written(120)
        await scene.apply(*targets, destinationBalancing=PIN, weights=[1, 99])
        assert await scene.again(there, sessions) == await scene.again(here, sessions) == sessions
        assert len(scene.server.stored()) == 120
        response = await here.exchange("GET /")
        assert len(response.all("set-cookie")) == 1


@on_each_loop
async def test_a_destination_without_endpoints_to_use_is_left(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with stage(tmp_path, "ab", 1) as scene:
        plain: Document = {"endpointBalancing": {"algorithm": "RANDOM"}, "panicThreshold": 0}
        await scene.apply(*(scene.destination(name, id=name, **plain) for name in "ab"), destinationBalancing=PIN)
        (client,) = await scene.clients()
        sessions = await scene.begin(client)
        unhealthy = {f"127.0.0.1:{scene.port('a')}": EndpointStanding(unhealthy="down")}
        await scene.proxies[0].data_plane.judge({"a": DestinationStanding(unhealthy)})
        assert set((await scene.again(client, sessions)).values()) == {"b"}
        await scene.proxies[0].data_plane.judge({})
        assert set((await scene.again(client, sessions)).values()) == {"b"}


# -- sessions of the client's own making ------------------------------------------------------------------------------


@on_each_loop
async def test_one_session_that_begins_everywhere_at_once_is_in_one_place(
    proxy: InProcessProxy, tmp_path: Path
) -> None:
    async with stage(tmp_path, "abcd", 2) as scene:
        # The proxies do not agree: one of them has just got other weights.
        for each, weights in zip(scene.proxies, ([1, 1, 9, 9], [9, 9, 1, 1]), strict=True):
            await each.apply(
                route("r", forward=forward("d")), destinations=[scene.destination("a", "b", "c", "d", weights=weights)]
            )
        clients = [client for _ in range(6) for client in await scene.clients()]
        places = set()
        for number in range(12):
            cookie = f"Cookie: pin=mine-{number}"
            responses = await asyncio.gather(*(client.exchange("GET /", cookie) for client in clients))
            assert len({response.body for response in responses}) == 1
            assert not any("set-cookie" in response for response in responses)
            places.add(responses[0].body)
        assert len(places) > 1


@pytest.mark.parametrize(
    "value",
    ["a:b", "x" * 129, "a b", "sid*", "a%0d%0a", '{"a":1}', "é", "../r", "a\tb", "a=b"],
)
@on_each_loop
async def test_what_could_be_no_session_never_gets_to_redis(proxy: InProcessProxy, tmp_path: Path, value: str) -> None:
    async with stage(tmp_path, proxies=1) as scene:
        targets = [scene.destination("a", "b", id="x"), scene.destination("c", id="y")]
        await scene.apply(*targets, destinationBalancing=PIN)
        (client,) = await scene.clients()
        response = await client.exchange("GET /", f"Cookie: pin={value}")
        assert response.status == 200
        new = response["set-cookie"].partition(";")[0].removeprefix("pin=")
        assert len(new) == 32
        await scene.written(2)
        assert {key.split(b":")[2].decode() for key in scene.server.stored()} == {new}
        # What it was connected with is all that it was asked.
        assert b"cmdstat_get:calls=1," in scene.server.ask("INFO", "commandstats")


@pytest.mark.parametrize("value", ["x" * 128, "A-z_09", "0"])
@on_each_loop
async def test_any_other_is_taken_as_it_is(proxy: InProcessProxy, tmp_path: Path, value: str) -> None:
    async with stage(tmp_path, proxies=1) as scene:
        await scene.apply(scene.destination("a", "b", "c"))
        (client,) = await scene.clients()
        assert "set-cookie" not in await client.exchange("GET /", f'Cookie: pin="{value}"')
        assert scene.server.stored() == {f"vrata:sticky:{value}:d:ep".encode()}


@on_each_loop
async def test_what_redis_says_is_no_order(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with stage(tmp_path, proxies=1) as scene:
        await scene.apply(scene.destination("a", "b", "c"))
        (client,) = await scene.clients()
        for value in (b"127.0.0.1:1", b"\xff\x00", b"", b"x" * 100_000):
            scene.server.ask("SET", "vrata:sticky:s:d:ep", value)
            response = await client.exchange("GET /", "Cookie: pin=s")
            assert response.status == 200
            stored = scene.server.value("vrata:sticky:s:d:ep")
            assert stored == b"127.0.0.1:%d" % scene.port(response.body.decode()) or not value


@on_each_loop
async def test_a_mirror_begins_no_session(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with stage(tmp_path, proxies=1) as scene:
        other = scene.destination("b", "c", id="m")
        plain = scene.destination("a", id="d", endpointBalancing={"algorithm": "RANDOM"})
        for each in scene.proxies:
            found = forward("d", mirror={"destinationId": "m", "percentage": 100})
            await each.apply(route("r", forward=found), destinations=[plain, other])
        (client,) = await scene.clients()
        assert "set-cookie" not in await client.exchange("GET /")
        await eventually_async(
            lambda: len(scene.backends["b"].requests) + len(scene.backends["c"].requests) == 1, what="it is mirrored"
        )
        assert scene.server.stored() == set()


@on_each_loop
async def test_the_failure_when_there_is_nothing_to_choose(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with stage(tmp_path, "ab", 1) as scene:
        options: Document = {"panicThreshold": 0}
        targets = [scene.destination(name, id=name, **options) for name in "ab"]
        down = {
            name: DestinationStanding({f"127.0.0.1:{scene.port(name)}": EndpointStanding(unhealthy="down")})
            for name in "ab"
        }
        for found, failure in ((targets, "no_destination"), (targets[:1], "no_endpoint")):
            await scene.apply(*found, destinationBalancing=PIN)
            await scene.proxies[0].data_plane.judge(down)
            (client,) = await scene.clients()
            for cookie in ("theme=dark", "pin=known"):
                assert error(await client.exchange("GET /", f"Cookie: {cookie}")) == (502, failure)
            assert scene.server.stored() == set()


# -- without the store ------------------------------------------------------------------------------------------------


@on_each_loop
async def test_without_a_store_the_ring_decides(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        backends = {name: await stack.enter_async_context(StagedBackend(named(name))) for name in "abcd"}
        scene = Stage(RedisServer(tmp_path), backends, [proxy])
        targets = [scene.destination("a", "b", id="x"), scene.destination("c", "d", id="y")]
        await scene.apply(*targets, destinationBalancing=PIN)
        (client,) = await scene.clients()
        sessions = await scene.begin(client)
        assert set(sessions.values()) == {"a", "b", "c", "d"}
        assert await scene.again(client, sessions) == sessions
        assert len((await client.exchange("GET /", "Cookie: pin=a:b")).all("set-cookie")) == 1


@on_each_loop
async def test_a_redis_that_dies_moves_no_session_that_is_where_the_ring_has_it(
    proxy: InProcessProxy, tmp_path: Path
) -> None:
    async with stage(tmp_path, "abcd") as scene:
        targets = [scene.destination("a", "b", id="x"), scene.destination("c", "d", id="y")]
        await scene.apply(*targets, destinationBalancing=PIN)
        here, there = await scene.clients()
        sessions = await scene.begin(here)
        scene.server.kill()
        assert await scene.again(here, sessions) == await scene.again(there, sessions) == sessions
        meanwhile = await scene.begin(there)
        scene.server.start()
        for client in (here, there):
            await eventually_async(lambda: len(scene.server.ask("CLIENT", "LIST").splitlines()) > 3, what="back")
            assert await scene.again(client, sessions | meanwhile) == sessions | meanwhile
        # What has lost its place in Redis gets it again.
        await scene.apply(*targets, destinationBalancing=PIN, weights=[1, 99])
        assert await scene.again(there, sessions | meanwhile) == sessions | meanwhile


@on_each_loop
async def test_a_redis_that_hangs_costs_the_first_requests_the_limit_of_a_call(
    proxy: InProcessProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage(tmp_path, "abcd") as scene:
        targets = [scene.destination("a", "b", id="x"), scene.destination("c", "d", id="y")]
        await scene.apply(*targets, destinationBalancing=PIN)
        here, _ = await scene.clients()
        sessions = await scene.begin(here)
        assert await scene.again(here, sessions) == sessions
        scene.server.freeze()
        monkeypatch.setattr("vrata.proxy.redis.client.LIMIT", LIMIT)
        with capture_logs() as entries:
            while not entries:
                assert await scene.again(here, sessions) == sessions
            # It is known to be out: who waited for it now would do so for this long.
            monkeypatch.setattr("vrata.proxy.redis.client.LIMIT", 60.0)
            async with asyncio.timeout(30):
                for _ in range(10):
                    assert await scene.again(here, sessions) == sessions
            monkeypatch.setattr("vrata.proxy.redis.client.LIMIT", PATIENCE)
            scene.server.thaw()
            await eventually_async(lambda: len(entries) == 2, what="it is back")
        assert [entry["log_level"] for entry in entries] == ["warning", "info"]
        assert await scene.again(here, sessions) == sessions
