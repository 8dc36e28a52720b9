"""Observe mode: everything is shown, nothing waits for it, and what cannot be shown is dropped and counted."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
import structlog

from tests.support.callouts import services
from tests.support.conditions import eventually_async
from tests.support.gateway import destination, forward, route
from tests.support.http2_backend import Http2Backend
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.processing import process
from tests.support.processors import (
    DIE,
    LEAVE,
    PROCESSORS,
    Do,
    EnvoyProcessor,
    GrpcProcessor,
    HttpProcessor,
    Processor,
    Reject,
    Reply,
    Seen,
    VrataProcessor,
)
from tests.support.recording_backend import RecordingBackend
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import request

Kind = type[Processor]
EACH = pytest.mark.parametrize("kind", PROCESSORS)
OBSERVE = {"observeMode": {"enabled": True}}
ALL = ["requestHeaders", "requestBody", "responseHeaders", "responseBody"]


@EACH
@pytest.mark.parametrize("mode", ["buffered", "bufferedPartial", "streamed"])
@on_our_loop
async def test_that_transactions_are_shown_and_not_changed(proxy: InProcessProxy, kind: Kind, mode: str) -> None:
    def script(seen: Seen) -> Reply:
        return Reject(418) if seen.phase == "requestHeaders" else Do({"x-a": "b"}, body=b"instead", last=True)

    reply = (("x-kept", "1"),)
    with (
        RecordingBackend(script=lambda each: each.respond(headers=reply, body=each.body)) as backend,
        kind(script) as found,
    ):
        phases = {"requestBody": mode, "responseBody": mode}
        await process(proxy, found, backend.port, phases=phases, **OBSERVE)
        client = await proxy.connect()
        for _ in range(3):
            response = await client.exchange("POST /a", body=b"12345")
            assert (response.status, response.body, "x-a" in response) == (200, b"12345", False)
        await eventually_async(lambda: len(found.seen) >= 12, what="everything was seen")
        assert sorted(found.phases) == sorted(ALL * 3)
        assert all(seen.observed for seen in found.seen)
        assert found.body("requestBody") == found.body("responseBody") == b"12345" * 3
        assert [seen.end for seen in found.of("requestBody")] == [True] * 3
        if isinstance(found, GrpcProcessor):
            for stream in range(3):
                assert [seen.phase for seen in found.seen if seen.stream == stream] == ALL
            await eventually_async(lambda: found.ended == 3, what="streams have ended")


@EACH
@on_our_loop
async def test_that_nothing_waits_for_a_processor_that_does_not_answer(proxy: InProcessProxy, kind: Kind) -> None:
    go_on = threading.Event()

    def script(seen: Seen) -> Reply:
        go_on.wait(20)
        return Do()

    with RecordingBackend() as backend, kind(script) as found:
        await process(proxy, found, backend.port, phaseTimeout="20s", **OBSERVE)
        client = await proxy.connect()
        for _ in range(5):
            assert (await client.exchange("GET /")).status == 200
        assert len(found.seen) <= 5  # and the others are not answered
        go_on.set()
        await eventually_async(lambda: len(found.seen) == 10, what="everything was seen")


@pytest.mark.parametrize("kind", [VrataProcessor, HttpProcessor])
@on_our_loop
async def test_that_what_does_not_fit_in_the_queue_is_dropped(proxy: InProcessProxy, kind: Kind) -> None:
    go_on = threading.Event()

    def script(seen: Seen) -> Reply:
        go_on.wait(20)
        return Do()

    with RecordingBackend() as backend, kind(script) as found:
        observe = {"enabled": True, "workers": 2, "queueSize": 3}
        documents = found.entities(observeMode=observe, phaseTimeout="20s")
        documents["destinations"].append(destination("backend", backend.port))
        entry = route("all", forward=forward("backend"), middlewareIds=["processing"])
        await proxy.apply(entry, listeners=[proxy.listener(metrics={})], **documents)
        metrics = InProcessMetrics(proxy)
        client = await proxy.connect()
        with structlog.testing.capture_logs() as entries:
            for _ in range(10):
                assert (await client.exchange("GET /")).status == 200
        # Two are under way, three wait, and fifteen of the twenty are lost.
        scraped = await metrics.scrape()
        labels = {"middleware": "processing", "type": "extProc"}
        assert scraped("vrata_middleware_errors_total", **labels) == 15
        assert scraped("vrata_middleware_passed_total", **labels) == 10
        told = [entry for entry in entries if "dropped" in entry["event"]]
        assert [(entry["middleware"], entry["log_level"]) for entry in told] == [("processing", "warning")]
        go_on.set()
        await eventually_async(lambda: len(found.seen) == 5, what="what was kept is seen")


@EACH
@on_our_loop
async def test_that_a_processor_that_dies_loses_its_transaction_alone(proxy: InProcessProxy, kind: Kind) -> None:
    def script(seen: Seen) -> Reply:
        return DIE if (":path", "/die") in seen.pairs else Do()

    with RecordingBackend() as backend, kind(script) as found:
        await process(proxy, found, backend.port, **OBSERVE)
        client = await proxy.connect()
        assert (await client.exchange("GET /die")).status == 200
        await eventually_async(lambda: found.seen, what="the head was seen")
        assert (await client.exchange("GET /live")).status == 200
        expected = {"/die", "/live"}
        await eventually_async(
            lambda: {seen[":path"] for seen in found.of("requestHeaders")} == expected, what="both heads were seen"
        )
        await eventually_async(lambda: found.of("responseHeaders"), what="the response was seen")


@EACH
@on_our_loop
async def test_that_a_processor_that_is_not_there_harms_nobody(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend() as backend, kind() as found:
        documents = found.entities(**OBSERVE)
        documents["destinations"] = [destination("backend", backend.port)]
        await proxy.apply(route("all", forward=forward("backend"), middlewareIds=["processing"]), **documents)
        client = await proxy.connect()
        for _ in range(3):
            assert (await client.exchange("POST /", body=b"12345")).status == 200


@EACH
@on_our_loop
async def test_what_is_shown_of_long_bodies(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend(script=lambda exchange: exchange.respond(body=b"r" * 11)) as backend, kind() as found:
        phases = {"requestBody": "buffered", "responseBody": "bufferedPartial", "maxBodyBytes": 10}
        await process(proxy, found, backend.port, phases=phases, **OBSERVE)
        client = await proxy.connect()
        response = await client.exchange("POST /", body=b"q" * 11)
        assert response.body == b"r" * 11
        await eventually_async(lambda: found.of("responseBody"), what="the part was seen")
        assert (found.body("responseBody"), found.of("responseBody")[0].end) == (b"r" * 10, False)
        assert found.phases == ["requestHeaders", "responseHeaders", "responseBody"]


@EACH
@on_our_loop
async def test_that_a_client_that_goes_away_ends_the_account(proxy: InProcessProxy, kind: Kind) -> None:
    gone = asyncio.Event()

    async def answer(connection: StagedConnection) -> None:
        await connection.read_request()
        await connection.gone()
        gone.set()

    async with StagedBackend(answer) as backend:
        with kind() as found:
            await process(proxy, found, backend.port, **OBSERVE)
            client = await proxy.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await eventually_async(lambda: found.seen and backend.requests, what="the request was seen")
            client.reset()
            await asyncio.wait_for(gone.wait(), 30)
            if isinstance(found, GrpcProcessor):
                await eventually_async(lambda: found.ended == 1, what="the stream has ended")


@on_our_loop
async def test_that_envoys_processors_need_not_answer(proxy: InProcessProxy) -> None:
    class Silent(EnvoyProcessor):
        def _process(self, requests: Any, context: Any) -> Any:
            for number, message in enumerate(requests):
                self.seen.append(self._read(self._requests.FromString(message), number))
            yield from ()

    with RecordingBackend() as backend, Silent() as found:
        observe = {"enabled": True, "workers": 1}
        await process(proxy, found, backend.port, observeMode=observe, phaseTimeout="20s")
        client = await proxy.connect()
        for _ in range(20):
            assert (await client.exchange("GET /")).status == 200
        await eventually_async(lambda: len(found.seen) == 40, what="everything was seen")


@on_our_loop
async def test_that_a_processor_may_want_to_see_no_more(proxy: InProcessProxy) -> None:
    async def answer(connection: StagedConnection) -> None:
        await connection.read_request()
        await has_left.wait()
        connection.respond()

    has_left = asyncio.Event()
    async with StagedBackend(answer) as backend:
        with EnvoyProcessor(lambda seen: LEAVE) as found:
            await process(proxy, found, backend.port, **OBSERVE)
            client = await proxy.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await eventually_async(lambda: services(proxy).under_way == 0 and found.seen, what="the stream has ended")
            has_left.set()
            with structlog.testing.capture_logs() as entries:
                assert (await client.read_response()).status == 200
            assert found.phases == ["requestHeaders"]
            assert not [entry for entry in entries if "dropped" in entry["event"]]


@on_our_loop
async def test_that_trailers_are_shown(proxy: InProcessProxy) -> None:
    async def answer(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-sum: 2\r\n\r\n")

    async with StagedBackend(answer) as backend:
        with EnvoyProcessor() as found:
            phases = {"requestTrailers": "send", "responseTrailers": "send", "responseBody": "buffered"}
            await process(proxy, found, backend.port, phases=phases, **OBSERVE)
            client = await proxy.connect()
            head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            client.send(head + b"1\r\na\r\n0\r\nx-sum: 1\r\n\r\n")
            assert (await client.read_response()).body == b"a"
            await eventually_async(lambda: found.of("responseTrailers"), what="everything was seen")
            assert [found.of(f"{way}Trailers")[0]["x-sum"] for way in ("request", "response")] == ["1", "2"]
            assert not found.of("responseBody")[0].end


@on_our_loop
async def test_that_a_processor_that_does_not_read_makes_room_for_others(proxy: InProcessProxy) -> None:
    async with Http2Backend() as peer, StagedBackend() as backend:
        found = EnvoyProcessor()
        found.port = peer.port
        phases = {"requestBody": "streamed"}
        observe = {"enabled": True, "workers": 1}
        await process(proxy, found, backend.port, phases=phases, phaseTimeout="200ms", observeMode=observe)
        client = await proxy.connect()
        client.send(request("POST /", "Content-Length: 400000"))
        connection = await peer.accept()
        stuck = await connection.next()
        stuck.acknowledges = False
        client.send(bytes(400_000))
        assert (await client.read_response("POST")).status == 200
        assert (await client.exchange("GET /")).status == 200
        await connection.next()  # it is its turn
