"""Requests that wait for the session store: nothing of them is lost, and nobody else waits."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from tests.support.conditions import eventually_async
from tests.support.forwarding import error
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.redis_server import RedisServer
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import StreamClient, request
from vrata.proxy.holding import MAX_HELD
from vrata.proxy.redis.settings import RedisSettings

PIN = {"algorithm": "STICKY", "sticky": {"cookie": {"name": "pin"}}}
KNOWN = "Cookie: pin=known"


async def digest_body(connection: StagedConnection) -> None:
    """Answer with the digest of what came."""
    while True:
        found = await connection.read_request()
        connection.respond(hashlib.sha256(found.body).hexdigest().encode())


class Scene:
    """A Redis, a backend, and a proxy that asks the one before requests with a session get to the other."""

    def __init__(self, directory: Path) -> None:
        self.redis = RedisServer(directory)
        self.backend = StagedBackend(digest_body)

    async def __aenter__(self) -> Scene:
        self.redis.start()
        await self.backend.__aenter__()
        self.proxy = InProcessProxy(sessions=RedisSettings("127.0.0.1", self.redis.port))
        self.status = self.proxy.data_plane.status
        target = destination("d", self.backend.port, endpointBalancing=PIN)
        await self.proxy.apply(route("r", forward=forward("d")), destinations=[target])
        client = await self.client()
        assert (await client.exchange("GET /", KNOWN)).status == 200
        self.backend.requests.clear()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.proxy.end()
        await self.backend.__aexit__(None, None, None)
        self.redis.kill()

    async def client(self) -> StreamClient:
        return await self.proxy.connect()

    async def freeze(self) -> None:
        """Have the Redis, which answers, answer no more."""
        store = self.proxy.data_plane._registry.session_store
        assert store is not None
        await eventually_async(lambda: not store.is_out, what="the store answers")
        self.backend.requests.clear()
        self.redis.freeze()

    async def received(self) -> None:
        """Wait until the proxy has a request that waits."""
        await eventually_async(lambda: self.status().in_flight == 1, what="a request is there")
        assert not self.backend.requests


@on_each_loop
async def test_what_comes_of_the_body_meanwhile_goes_on(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with Scene(tmp_path) as scene:
        for size in (1, 1000, MAX_HELD + 1, 40 * MAX_HELD):
            await scene.freeze()
            client = await scene.client()
            body = b"0123456789abcdef" * (size // 16) + b"x" * (size % 16)
            whole = request("POST /", KNOWN, body=body)
            head = len(whole) - len(body)
            client.send(whole[:head])
            await scene.received()
            for at in range(head, len(whole), 100_000):
                client.send(whole[at : at + 100_000])
                await asyncio.sleep(0)
            scene.redis.thaw()
            response = await client.read_response()
            assert response.body.decode() == hashlib.sha256(body).hexdigest()
            assert "set-cookie" not in response


@on_each_loop
async def test_a_client_that_leaves_ends_the_wait(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with Scene(tmp_path) as scene:
        for unfinished in (request("GET /", KNOWN), request("POST /", KNOWN, "Content-Length: 9") + b"x"):
            await scene.freeze()
            client = await scene.client()
            client.send(unfinished)
            await scene.received()
            client.reset()
            await eventually_async(lambda: scene.status().in_flight == 0, what="nothing waits")
            scene.redis.thaw()
            later = await scene.client()
            assert (await later.exchange("GET /later", KNOWN)).status == 200
            assert [found.target for found in scene.backend.requests] == ["/later"]


@on_each_loop
async def test_a_body_that_is_none_is_refused(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with Scene(tmp_path) as scene:
        await scene.freeze()
        client = await scene.client()
        client.send(request("POST /", KNOWN, "Transfer-Encoding: chunked"))
        await scene.received()
        client.send(b"nonsense\r\n")
        assert error(await client.read_response()) == (400, "bad_request")
        scene.redis.thaw()
        assert await client.ending() == "closed"
        assert not scene.backend.requests


@on_each_loop
async def test_pipelined_requests_are_answered_in_order(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with Scene(tmp_path) as scene:
        client = await scene.client()
        bodies = [b"%d" % number for number in range(20)]
        client.send(b"".join(request("POST /", KNOWN, body=body) for body in bodies))
        for body in bodies:
            assert (await client.read_response()).body.decode() == hashlib.sha256(body).hexdigest()


@on_each_loop
async def test_nobody_else_waits(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with Scene(tmp_path) as scene:
        await scene.freeze()
        waiting, other = await scene.client(), await scene.client()
        waiting.send(request("GET /", KNOWN))
        await scene.received()
        # A session that begins does not ask.
        response = await other.exchange("GET /new")
        assert response.status == 200
        assert "set-cookie" in response
        assert [found.target for found in scene.backend.requests] == ["/new"]
        scene.redis.thaw()
        assert (await waiting.read_response()).status == 200


@on_each_loop
async def test_a_client_that_waits_to_send_its_body_is_invited(proxy: InProcessProxy, tmp_path: Path) -> None:
    async with Scene(tmp_path) as scene:
        client = await scene.client()
        client.send(request("POST /", KNOWN, "Expect: 100-continue", "Content-Length: 2"))
        assert (await client.read_response(interim=True)).status == 100
        client.send(b"ok")
        assert (await client.read_response()).body.decode() == hashlib.sha256(b"ok").hexdigest()
