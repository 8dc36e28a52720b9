"""Mirroring: what is copied, what is not, and that nobody but the mirror ever notices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.client_request import client_request
from tests.support.conditions import eventually_async, settled
from tests.support.exposition import Scraped
from tests.support.forwarding import EVENT_STREAM, stay_silent
from tests.support.gateway import destination, forward, route
from tests.support.held_response import Held, says
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.ports import free_port
from tests.support.staged_backend import ReceivedRequest, Script, StagedBackend, StagedConnection, answer_ok
from tests.support.stream_client import request, within
from vrata.net.deadlines import DeadlineSweeper
from vrata.policy.balancing.rotation import Rotation
from vrata.proxy.action.mirror import MAX_BODY, MAX_COPIES, MAX_HELD, Copies, Copy, MirrorDestination, is_sampled
from vrata.proxy.contracts import UpstreamTimeouts
from vrata.proxy.destination.destination import Destination
from vrata.proxy.endpoint.selection import RoundRobinSelector
from vrata.proxy.meters import MirrorMeter

SENT = "vrata_mirror_requests_total"
SKIPPED = "vrata_mirror_skipped_total"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


class Mirrored:
    """A proxy with one route to *backend* whose requests are copied to *mirror*."""

    def __init__(self, proxy: InProcessProxy, backend: StagedBackend, mirror: StagedBackend) -> None:
        self.proxy = proxy
        self.backend = backend
        self.mirror = mirror
        self._metrics = InProcessMetrics(proxy)

    async def apply(
        self, *, percentage: int = 0, mirror: Any = None, options: Any = None, match: Any = None, **settings: Any
    ) -> None:
        copied = {"destinationId": "mirror"} | ({"percentage": percentage} if percentage else {})
        found = mirror or destination("mirror", self.mirror.port)
        await self.proxy.apply(
            route("r", match, forward=forward("backend", mirror=copied, **settings)),
            listeners=[self.proxy.listener(metrics={})],
            destinations=[destination("backend", self.backend.port), found | ({"options": options} if options else {})],
        )

    async def copied(self, count: int = 1) -> list[ReceivedRequest]:
        """Wait until *count* requests have come to the mirror, and no more."""
        await eventually_async(lambda: len(self.mirror.requests) >= count, what=f"{count} copies")
        assert len(await settled(lambda: list(self.mirror.requests), 0.02)) == count
        return self.mirror.requests

    async def over(self) -> None:
        """Wait until no copy is under way."""
        copies = self.proxy.data_plane._registry.copies
        await eventually_async(lambda: repr(copies) == "<Copies 0 under way, 0 bytes>", what=f"over: {copies}")

    async def counted(self) -> tuple[float, dict[str, float]]:
        """Copies sent, and those that were not, by reason."""
        shown: Scraped = await self._metrics.scrape()
        skipped = {dict(labels)["reason"]: value for (name, labels), value in shown.samples.items() if name == SKIPPED}
        return sum(shown.all(SENT, route="r", destination="mirror")), skipped


@contextlib.asynccontextmanager
async def mirrored(
    proxy: InProcessProxy, mirror: Script = answer_ok, backend: Script = answer_ok, **settings: Any
) -> AsyncIterator[Mirrored]:
    async with StagedBackend(backend) as first, StagedBackend(mirror) as second:
        found = Mirrored(proxy, first, second)
        await found.apply(**settings)
        yield found


# -- which requests are copied ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percentage", "chance", "sampled"),
    [
        (0, 0.999999, True),
        (100, 0.999999, True),
        (100, 0.0, True),
        (1, 0.0, True),
        (1, 0.009999, True),
        (1, 0.01, False),
        (30, 0.299999, True),
        (30, 0.3, False),
        (30, 0.999999, False),
        (99, 0.989999, True),
        (99, 0.99, False),
    ],
)
def test_sampling(percentage: int, chance: float, sampled: bool) -> None:
    assert is_sampled(percentage, chance) is sampled


@on_each_loop
async def test_a_share_of_the_requests_is_copied(proxy: InProcessProxy) -> None:
    proxy.data_plane._compiler._random.seed(7)
    async with mirrored(proxy, percentage=25) as scene:
        client = await proxy.connect()
        for _ in range(200):
            assert (await client.exchange("GET /")).body == b"ok"
        await scene.over()
        assert 30 <= len(scene.mirror.requests) <= 70
        assert await scene.counted() == (len(scene.mirror.requests), {})


@on_each_loop
async def test_an_upgrade_is_not_copied(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(SWITCHED)
        await connection.gone()

    async with mirrored(proxy, backend=script) as scene:
        client = await proxy.connect()
        client.send(request("GET /", "Connection: Upgrade", "Upgrade: websocket"))
        assert (await client.read_head()).status == 101
        await client.gone()
        await scene.over()
        assert await scene.counted() == (0, {})
        assert scene.mirror.requests == []


@on_each_loop
async def test_a_destination_that_does_not_exist_gets_nothing(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        report = await proxy.apply(
            route("r", forward=forward("b", mirror={"destinationId": "gone"})),
            destinations=[destination("b", backend.port)],
        )
        assert report.problems == ()
        client = await proxy.connect()
        assert (await client.exchange("POST /", body=b"x")).body == b"ok"


# -- what a copy is ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        request("GET /api/a%20b?q=1", "X-One: 1", "X-One: 2", "Cookie: a=b"),
        request("HEAD /api/x"),
        request("POST /api/x", "Content-Type: text/plain", body=b"content"),
        request("POST /api/x", "Expect: 100-continue", body=b"content"),
        request("PUT /api/x", "Transfer-Encoding: chunked", "TE: trailers")
        + b"3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n",
        request("DELETE /api/x", body=b""),
    ],
)
@on_each_loop
async def test_a_copy_is_what_the_upstream_gets(proxy: InProcessProxy, message: bytes) -> None:
    rewrite = {"path": "/internal", "host": "inside.test"}
    async with mirrored(proxy, match={"pathPrefix": "/api"}, rewrite=rewrite) as scene:
        client = await proxy.connect()
        client.send(message)
        assert (await client.read_response(message.split(b" ")[0].decode())).status == 200
        (copy,) = await scene.copied()
        (original,) = scene.backend.requests
        assert copy == original
        assert copy.target.startswith("/internal/")
        assert copy.all("host") == ["inside.test"]
        assert copy.all("x-forwarded-for") == ["127.0.0.1"]
        assert len(copy.all("x-request-id")) == 1
        await scene.over()
        assert await scene.counted() == (1, {})


@on_each_loop
async def test_the_cap_of_a_grpc_timeout_holds_for_the_copy(proxy: InProcessProxy) -> None:
    async with mirrored(proxy, maxGrpcTimeout="1s") as scene:
        client = await proxy.connect()
        assert (await client.exchange("POST /", "grpc-timeout: 1H", body=b"x")).body == b"ok"
        (copy,) = await scene.copied()
        assert copy.all("grpc-timeout") == ["1000m"]


@pytest.mark.parametrize("body", [None, b"content"])
@on_each_loop
async def test_a_request_that_is_tried_again_is_copied_once(proxy: InProcessProxy, body: bytes | None) -> None:
    async def script(connection: StagedConnection) -> None:
        for status in (503, 503, 200):
            await connection.read_request()
            connection.respond(b"ok", status=status)
        await connection.gone()

    retry = {"attempts": 2, "on": ["server-error"], "backoff": {"base": "1ms", "max": "1ms"}}
    async with mirrored(proxy, backend=script, retry=retry) as scene:
        client = await proxy.connect()
        assert (await client.exchange("PUT /", body=body)).status == 200
        assert len(scene.backend.requests) == 3
        (copy,) = await scene.copied()
        assert copy.body == (body or b"")
        assert copy.names == scene.backend.requests[0].names
        await scene.over()
        assert await scene.counted() == (1, {})


@on_each_loop
async def test_a_body_that_goes_on_over_two_attempts_is_copied_whole(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        received = await connection.read_head()
        if connection.number == 0:
            connection.respond(b"no", status=503)
        else:
            await connection.read_body(received)
            connection.respond(b"ok")
        await connection.gone()

    retry = {"attempts": 1, "backoff": {"base": "1ms", "max": "1ms"}}
    async with mirrored(proxy, backend=script, retry=retry) as scene:
        client = await proxy.connect()
        client.send(request("PUT /", "Content-Length: 10") + b"12345")
        await eventually_async(lambda: len(scene.backend.requests) == 2, what="the second attempt")
        client.send(b"67890")
        assert (await client.read_response()).body == b"ok"
        assert scene.backend.requests[1].body == b"1234567890"
        (copy,) = await scene.copied()
        assert copy.body == b"1234567890"


@on_each_loop
async def test_a_body_that_comes_in_pieces_is_copied_whole(proxy: InProcessProxy) -> None:
    pieces = [bytes([number]) * 7_000 for number in range(20)]
    async with mirrored(proxy) as scene:
        client = await proxy.connect()
        client.send(request("POST /", f"Content-Length: {7_000 * 20}"))
        for number, piece in enumerate(pieces):
            client.send(piece)
            await client.writer.drain()
            await asyncio.sleep(0)
            assert not scene.mirror.requests or number == 19
        assert (await client.read_response()).body == b"ok"
        (copy,) = await scene.copied()
        assert copy.body == b"".join(pieces)
        await scene.over()


@on_each_loop
async def test_a_body_of_the_greatest_length_is_copied(proxy: InProcessProxy) -> None:
    async with mirrored(proxy) as scene:
        client = await proxy.connect()
        assert (await client.exchange("POST /", body=b"x" * MAX_BODY)).body == b"ok"
        (copy,) = await scene.copied()
        await eventually_async(lambda: len(copy.body) == MAX_BODY, what="the whole copy")


@on_each_loop
async def test_the_endpoints_of_the_mirror_take_turns(proxy: InProcessProxy) -> None:
    async with mirrored(proxy) as scene, StagedBackend() as other:
        endpoints = [{"host": "127.0.0.1", "port": port} for port in (scene.mirror.port, other.port)]
        await scene.apply(mirror=destination("mirror", 1) | {"endpoints": endpoints})
        client = await proxy.connect()
        for _ in range(6):
            assert (await client.exchange("GET /")).body == b"ok"
        await scene.over()
        assert (len(scene.mirror.requests), len(other.requests)) == (3, 3)


@pytest.mark.parametrize("algorithm", ["RING_HASH", "LEAST_REQUEST"])
@on_each_loop
async def test_the_balancing_of_the_mirror_sets_no_cookie(proxy: InProcessProxy, algorithm: str) -> None:
    policy = {"ringHash": {"hashPolicy": [{"cookie": {"name": "pin"}}]}} if algorithm == "RING_HASH" else {}
    async with mirrored(proxy, options={"endpointBalancing": {"algorithm": algorithm, **policy}}) as scene:
        client = await proxy.connect()
        for _ in range(3):
            assert "set-cookie" not in await client.exchange("GET /")
        await scene.copied(3)


@on_each_loop
async def test_connections_to_the_mirror_are_used_again_and_answers_dropped(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            connection.respond(b"x" * 300_000, "Set-Cookie: mirror=1", status=500)

    async with mirrored(proxy, script) as scene:
        client = await proxy.connect()
        for count in range(1, 4):
            response = await client.exchange("POST /", body=b"1")
            assert (response.status, response.body, "set-cookie" in response) == (200, b"ok", False)
            await scene.copied(count)
            await scene.over()
        assert len(scene.mirror.connections) == 1


# -- what is too much -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunked", [False, True])
@on_each_loop
async def test_a_body_that_is_too_long_is_not_copied(proxy: InProcessProxy, chunked: bool) -> None:
    body = b"x" * (MAX_BODY + 1)
    async with mirrored(proxy) as scene:
        client = await proxy.connect()
        if chunked:
            client.send(request("POST /", "Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
            assert (await client.read_response()).body == b"ok"
        else:
            assert (await client.exchange("POST /", body=body)).body == b"ok"
        assert len(scene.backend.requests[0].body) == len(body)
        assert (await client.exchange("GET /after")).body == b"ok"
        (copy,) = await scene.copied()
        assert copy.target == "/after"
        await scene.over()
        assert await scene.counted() == (1, {"body_too_large": 1})


@on_each_loop
async def test_copies_to_a_destination_are_limited_in_number(proxy: InProcessProxy) -> None:
    async with mirrored(proxy, stay_silent) as scene:
        client = await proxy.connect()
        for _ in range(MAX_COPIES + 3):
            assert (await client.exchange("GET /")).body == b"ok"
        await scene.copied(MAX_COPIES)
        assert await scene.counted() == (MAX_COPIES, {"too_many_copies": 3})
        # Those to another one have limits of their own.
        await proxy.apply(
            route("r", forward=forward("backend", mirror={"destinationId": "other"})),
            destinations=[destination("backend", scene.backend.port), destination("other", scene.mirror.port)],
        )
        assert (await client.exchange("GET /")).body == b"ok"
        await scene.copied(MAX_COPIES + 1)


@on_each_loop
async def test_the_bytes_that_copies_hold_are_limited(proxy: InProcessProxy) -> None:
    async with mirrored(proxy, stay_silent) as scene:
        client = await proxy.connect()
        for _ in range(MAX_HELD // MAX_BODY):
            assert (await client.exchange("POST /", body=b"x" * MAX_BODY)).body == b"ok"
        assert (await client.exchange("POST /", body=b"x")).body == b"ok"
        assert (await client.exchange("GET /")).body == b"ok"
        await scene.copied(MAX_HELD // MAX_BODY + 1)
        assert f"{MAX_HELD} bytes" in repr(proxy.data_plane._registry.copies)
        assert await scene.counted() == (MAX_HELD // MAX_BODY + 1, {"too_many_copies": 1})


# -- nobody else notices ----------------------------------------------------------------------------------------------


@on_each_loop
async def test_a_mirror_that_cannot_be_reached(proxy: InProcessProxy) -> None:
    mirror = StagedBackend()  # bound, and not listening yet
    async with StagedBackend() as backend, StagedBackend() as healthy:
        scene = Mirrored(proxy, backend, mirror)
        await scene.apply()
        client = await proxy.connect()
        for method in ("GET", "POST", "GET"):
            assert (await client.exchange(f"{method} /", body=b"x")).body == b"ok"
            await scene.over()
        assert await scene.counted() == (0, {"connection_refused": 1, "unreachable": 2})
        # Other endpoints of the same destination get their share.
        endpoints = [{"host": "127.0.0.1", "port": port} for port in (mirror.port, healthy.port)]
        await scene.apply(mirror=destination("mirror", 1) | {"endpoints": endpoints})
        for _ in range(4):
            assert (await client.exchange("GET /")).body == b"ok"
        await scene.over()
        assert len(healthy.requests) == 2
        # After the pause it is tried again.
        async with mirror:
            for _ in range(100):
                assert (await client.exchange("GET /")).body == b"ok"
                await scene.over()
                if mirror.requests:
                    break
                await asyncio.sleep(0.03)
            assert mirror.requests


@pytest.mark.parametrize(
    "answer", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", SWITCHED, b""]
)
@on_each_loop
async def test_a_mirror_that_breaks_its_answer(proxy: InProcessProxy, answer: bytes) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(answer)
        await connection.flush()
        connection.reset()

    async with mirrored(proxy, script) as scene:
        client = await proxy.connect()
        for _ in range(2):
            assert (await client.exchange("POST /", body=b"x")).body == b"ok"
        await scene.over()
        assert await scene.counted() == (2, {})


@on_each_loop
async def test_a_mirror_that_does_not_read(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        await asyncio.Event().wait()

    async with StagedBackend() as backend, StagedBackend(script, receive_buffer=4096) as mirror:
        scene = Mirrored(proxy, backend, mirror)
        await scene.apply()
        client = await proxy.connect()
        for _ in range(3):
            assert (await client.exchange("POST /", body=b"x" * MAX_BODY)).body == b"ok"


@on_each_loop
async def test_an_answer_without_an_end_is_not_waited_for(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(EVENT_STREAM + b"6\r\ndata:1\r\n")
        await connection.gone()

    async with mirrored(proxy, script, options={"timeouts": {"request": "0s"}}) as scene:
        client = await proxy.connect()
        assert (await client.exchange("GET /")).body == b"ok"
        await scene.copied()
        await scene.over()
        await eventually_async(lambda: scene.mirror.open == 0, what="the mirror's connection is closed")


@pytest.mark.parametrize("limit", ["request", "responseHeader"])
@on_each_loop
async def test_a_copy_has_the_limits_of_its_destination(proxy: InProcessProxy, limit: str) -> None:
    async with mirrored(proxy, stay_silent, options={"timeouts": {limit: "60ms"}}) as scene:
        client = await proxy.connect()
        assert (await client.exchange("GET /")).body == b"ok"
        await scene.copied()
        await scene.over()
        await eventually_async(lambda: scene.mirror.open == 0, what="the mirror's connection is closed")
        assert await scene.counted() == (1, {})


@on_each_loop
async def test_the_response_header_limit_is_over_with_the_head(proxy: InProcessProxy) -> None:
    script = Held()
    async with mirrored(proxy, script, options={"timeouts": {"responseHeader": "400ms"}}) as scene:
        client = await proxy.connect()
        for _ in range(2):
            assert (await client.exchange("GET /")).body == b"ok"
            await asyncio.sleep(0.6)
            script.release.set()
            await scene.over()
        assert len(scene.mirror.connections) == 1


@on_each_loop
async def test_a_wait_for_a_connection_to_the_mirror_has_an_end(proxy: InProcessProxy) -> None:
    options = {"maxConnsPerHost": 1, "timeouts": {"request": "150ms"}}
    async with mirrored(proxy, stay_silent, options=options) as scene:
        client = await proxy.connect()
        for _ in range(3):
            assert (await client.exchange("GET /")).body == b"ok"
        await scene.over()
        sent, skipped = await scene.counted()
        assert (sent + sum(skipped.values()), set(skipped)) == (3, {"timeout"})


# -- whose end a copy shares ------------------------------------------------------------------------------------------


@on_each_loop
async def test_a_client_that_leaves_after_its_request_does_not_stop_the_copy(proxy: InProcessProxy) -> None:
    script = Held()
    async with mirrored(proxy, script, backend=stay_silent) as scene:
        client = await proxy.connect()
        client.send(request("POST /", body=b"four"))
        (copy,) = await scene.copied()
        await eventually_async(lambda: scene.backend.requests, what="the request is at the backend")
        client.reset()
        await eventually_async(lambda: scene.backend.open == 0, what="the backend's connection is closed")
        assert (copy.body, scene.mirror.open) == (b"four", 1)
        script.release.set()
        await scene.over()
        assert scene.mirror.open == 1  # kept for the next one
        assert await scene.counted() == (1, {})


@on_each_loop
async def test_of_half_a_request_there_is_no_copy(proxy: InProcessProxy) -> None:
    async with mirrored(proxy, backend=stay_silent) as scene:
        client = await proxy.connect()
        client.send(request("POST /", "Content-Length: 10") + b"12345")
        await eventually_async(lambda: scene.backend.requests, what="the request is at the backend")
        client.reset()
        await scene.over()
        assert await scene.counted() == (0, {"incomplete": 1})
        assert scene.mirror.connections == []


@on_each_loop
async def test_nor_of_one_that_was_answered_before_its_end(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.respond(b"enough", status=413)
        await connection.gone()

    async with mirrored(proxy, backend=script) as scene:
        client = await proxy.connect()
        client.send(request("POST /", "Content-Length: 10") + b"12345")
        assert (await client.read_response()).status == 413
        await scene.over()
        assert await scene.counted() == (0, {"incomplete": 1})


@on_each_loop
async def test_a_request_that_the_upstream_does_not_answer_is_copied(proxy: InProcessProxy) -> None:
    async with mirrored(proxy) as scene:
        await proxy.apply(
            route("r", forward=forward("backend", mirror={"destinationId": "mirror"})),
            destinations=[destination("backend", free_port()), destination("mirror", scene.mirror.port)],
        )
        client = await proxy.connect()
        assert (await client.exchange("POST /", body=b"x")).status == 502
        (copy,) = await scene.copied()
        assert copy.body == b"x"


@on_each_loop
async def test_a_copy_outlives_the_plan(proxy: InProcessProxy) -> None:
    script = Held()
    async with mirrored(proxy, script) as scene:
        client = await proxy.connect()
        assert (await client.exchange("GET /")).body == b"ok"
        await scene.copied()
        await proxy.apply(says("x"))
        assert scene.mirror.open == 1
        script.release.set()
        await scene.over()
        await eventually_async(lambda: scene.mirror.open == 0, what="nothing is kept of what is not configured")


@on_each_loop
async def test_a_drain_waits_for_copies_a_moment(proxy: InProcessProxy) -> None:
    script = Held()
    async with mirrored(proxy, script) as scene:
        client = await proxy.connect()
        assert (await client.exchange("GET /")).body == b"ok"
        await scene.copied()
        client.close()
        draining = asyncio.gather(proxy.data_plane.drain(10))
        await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="the clients are gone")
        assert not draining.done()
        script.release.set()
        (complete,) = await within(draining, "the drain")
        assert complete is True


@on_each_loop
async def test_and_then_cuts_them(proxy: InProcessProxy) -> None:
    async with mirrored(proxy, stay_silent) as scene:
        client = await proxy.connect()
        assert (await client.exchange("GET /")).body == b"ok"
        await scene.copied()
        client.close()
        assert await within(proxy.data_plane.drain(0.3), "the drain") is True
        await scene.over()
        await eventually_async(lambda: scene.mirror.open == 0, what="the mirror's connection is closed")


# -- what is counted --------------------------------------------------------------------------------------------------


@on_each_loop
async def test_copies_count_by_route_and_for_nothing_else(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend, StagedBackend() as mirror:
        copied = route("same name", forward=forward("b", mirror={"destinationId": "m"}))
        groups = [
            {"id": name, "name": name, "pathPrefix": f"/{name}", "routeIds": ["same name"]} for name in ("one", "two")
        ]
        destinations = [destination("b", backend.port), destination("m", mirror.port)]
        await proxy.apply(copied, listeners=[proxy.listener(metrics={})], groups=groups, destinations=destinations)
        metrics = InProcessMetrics(proxy)
        client = await proxy.connect()
        for path in ("/one", "/two", "/two"):
            assert (await client.exchange(f"GET {path}")).body == b"ok"
        await eventually_async(lambda: len(mirror.requests) == 3, what="three copies")
        shown = await metrics.scrape()
        assert shown(SENT, route="same name", destination="m") == 3
        assert shown.all("vrata_destination_requests_total", destination="m") == []
        await proxy.apply(
            copied,
            listeners=[proxy.listener(metrics={"collect": {"route": False}})],
            groups=groups,
            destinations=destinations,
        )
        assert (await client.exchange("GET /one")).body == b"ok"
        assert (await metrics.scrape()).all(SENT) == []


@pytest.mark.parametrize(
    ("selector", "reason"), [(RoundRobinSelector([], Rotation()), "no_endpoint"), (None, "internal_error")]
)
def test_a_copy_that_finds_no_endpoint_or_a_fault_of_ours_is_counted(selector: Any, reason: str) -> None:
    async def main() -> None:
        copies, meter = Copies(DeadlineSweeper(asyncio.get_running_loop())), MirrorMeter()
        nowhere: MirrorDestination = Destination("d", b"d:80", "d", selector, 30.0, UpstreamTimeouts())
        copy = Copy(copies, nowhere, client_request(), b"GET / HTTP/1.1\r\n\r\n", meter)
        assert "1 under way" in repr(copies)
        copy.add(b"", True)
        copy.add(b"more", True)
        copy.abandon()
        copy.end("again")
        assert (meter.sent, meter.skipped) == (0, {reason: 1})
        assert "0 under way" in repr(copies)

    asyncio.run(main())
