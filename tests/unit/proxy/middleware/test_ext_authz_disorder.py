"""External authorization where everything happens at any moment: nothing may be left over, and nobody let in."""

from __future__ import annotations

import asyncio
import contextlib
from random import Random
from typing import Any

import pytest

from tests.support.callouts import services
from tests.support.conditions import eventually_async
from tests.support.gateway import Document, destination, forward, route
from tests.support.http2_backend import Http2Backend, Http2BackendConnection
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.raw_http import TruncatedResponse
from tests.support.staged_backend import Script, StagedBackend, StagedConnection, answer_ok
from tests.support.stream_client import request
from tests.unit.proxy.middleware.test_ext_authz_http import middleware
from vrata.wire.authorizer import decode_response
from vrata.wire.grpc_frames import framed

CLIENTS, REQUESTS = 12, 12
HEAD = [(":status", "200"), ("content-type", "application/grpc")]
ALLOWED = b"\x08\x01"
assert decode_response(ALLOWED).allowed


async def ask_around(proxy: InProcessProxy, random: Random) -> list[int]:
    """Send requests of which some are given up; the statuses of the others."""
    statuses: list[int] = []

    async def one_after_the_other(seed: int) -> None:
        chance = Random(seed)
        client = await proxy.connect()
        for _ in range(REQUESTS):
            body = bytes(chance.choice((0, 10, 100_000)))
            client.send(request("POST /", body=body))
            if chance.random() < 0.2:
                await asyncio.sleep(chance.random() * 0.01)
                client.reset()
                client = await proxy.connect()
                continue
            try:
                response = await client.read_response()
            except (TruncatedResponse, ConnectionError):
                client = await proxy.connect()
                continue
            statuses.append(response.status)
            if response.all("connection") == ["close"]:
                client = await proxy.connect()

    await asyncio.gather(*(one_after_the_other(random.getrandbits(32)) for _ in range(CLIENTS)))
    return statuses


def tolerant(script: Script) -> Script:
    """The same, by a backend that may write to a connection whose other end is gone already."""

    async def run(connection: StagedConnection) -> None:
        with contextlib.suppress(RuntimeError):  # uvloop's word for that
            await script(connection)

    return run


async def see_nothing_left(proxy: InProcessProxy) -> None:
    registry = proxy.data_plane._registry
    under_way = registry.count("requests authorizer")
    try:
        await eventually_async(lambda: services(proxy).under_way == 0, what="no question is under way")
        await eventually_async(lambda: under_way.total == 0, what="nobody is counted")
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 0, what="no request is under way")
    finally:
        under_way.leave()


async def protect(proxy: InProcessProxy, upstream: int, authorizer: Document, **settings: Any) -> None:
    authorizer["options"] = {**authorizer.get("options", {}), "circuitBreaker": {"failureThreshold": 0}}
    await proxy.apply(
        route("all", forward=forward("upstream"), middlewareIds=["m"]),
        destinations=[destination("upstream", upstream), authorizer],
        middlewares=[middleware(decisionTimeout="1s", **settings)],
    )


@pytest.mark.parametrize("includes_body", [False, True])
@on_our_loop
async def test_by_http(proxy: InProcessProxy, includes_body: bool) -> None:
    random = Random(7)
    allowed = 0

    async def any_answer(connection: StagedConnection) -> None:
        nonlocal allowed
        while True:
            found = await connection.read_request()
            chance = random.random()
            await asyncio.sleep(random.random() * 0.005)
            if chance < 0.4:
                allowed += 1
                connection.respond(b"", "X-User: bob", f"X-Asked: {found.all('x-forwarded-method')[0]}")
            elif chance < 0.8:
                connection.respond(b"no", status=401)
            elif chance < 0.85:
                await connection.gone()
                return
            elif chance < 0.9:
                connection.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n")
                return
            elif chance < 0.95:
                connection.reset()
                return
            else:
                connection.send(b"nonsense\r\n\r\n")
                return

    async with StagedBackend(tolerant(any_answer)) as authorizer, StagedBackend(tolerant(answer_ok)) as upstream:
        await protect(proxy, upstream.port, destination("authorizer", authorizer.port), includeBody=includes_body)
        statuses = await ask_around(proxy, random)
        await see_nothing_left(proxy)
        assert set(statuses) == {200, 401, 403}
        assert statuses.count(200) <= len(upstream.requests) <= allowed


@on_our_loop
async def test_by_grpc(proxy: InProcessProxy) -> None:
    random = Random(11)
    allowed = 0

    async def any_answer(connection: Http2BackendConnection) -> None:
        nonlocal allowed
        while True:
            found = await connection.next()
            await found.until_complete()
            chance = random.random()
            await asyncio.sleep(random.random() * 0.002)
            if found.reset is not None:
                continue
            if chance < 0.1:
                continue
            if chance < 0.15:
                found.refuse()
                continue
            if chance < 0.18:
                connection.close()
                return
            found.head(HEAD)
            if chance < 0.5:
                allowed += 1
                found.send(framed(ALLOWED))
            elif chance < 0.9:
                found.send(framed(b""))
            else:
                found.send(b"\1nonsense")
                continue
            found.finish([("grpc-status", "0")])

    async with Http2Backend() as authorizer, StagedBackend(tolerant(answer_ok)) as upstream:

        async def accept_all() -> None:
            while True:
                connection = await authorizer.next()
                proxy.tasks.start(_until_gone(any_answer(connection)), name="an authorizer's connection")

        accepting = proxy.tasks.start(accept_all(), name="authorizer")
        document = destination("authorizer", authorizer.port, http2=True)
        await protect(proxy, upstream.port, document, mode="grpc")
        statuses = await ask_around(proxy, random)
        await see_nothing_left(proxy)
        accepting.cancel()
        assert set(statuses) == {200, 403}
        assert statuses.count(200) <= len(upstream.requests) <= allowed


async def _until_gone(serving: Any) -> None:
    try:
        await serving
    except (TimeoutError, ConnectionError, AssertionError):
        return
