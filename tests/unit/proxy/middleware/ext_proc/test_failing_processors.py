"""What becomes of transactions whose processor fails, in whichever way and phase."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
import structlog

from tests.support.callouts import services
from tests.support.conditions import eventually_async
from tests.support.faulty_backend import DeadPorts
from tests.support.gateway import destination, forward, route
from tests.support.http2_backend import Http2Backend
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_each_loop, on_our_loop
from tests.support.processing import process
from tests.support.processors import (
    DIE,
    HANG,
    LEAVE,
    PROCESSORS,
    Do,
    EnvoyProcessor,
    GrpcProcessor,
    HttpProcessor,
    Processor,
    Reply,
    Seen,
    VrataProcessor,
)
from tests.support.raw_http import Response
from tests.support.recording_backend import RecordingBackend
from tests.support.staged_backend import StagedBackend, StagedConnection

Kind = type[Processor]
EACH = pytest.mark.parametrize("kind", PROCESSORS)
BOTH = {"requestBody": "buffered", "responseBody": "buffered"}
ALL = ["requestHeaders", "requestBody", "responseHeaders", "responseBody"]


def failed(response: Response, status: int = 500) -> None:
    """Check that the client got what the proxy answers for a processor that fails."""
    assert (response.status, response["content-type"]) == (status, "application/json")
    assert json.loads(response.body) == {"error": "external processor failed"}


def misbehave(phase: str, reply: Reply) -> Any:
    return lambda seen: reply if seen.phase == phase else Do()


async def exchanged(proxy: InProcessProxy) -> Response:
    client = await proxy.connect()
    response = await client.exchange("POST /", body=b"12345")
    client.close()
    return response


WAYS: list[tuple[Kind, Reply, str, str]] = [
    *((kind, reply, phase, "5s") for kind in PROCESSORS for reply in (DIE, b"garbage") for phase in ALL),
    *((kind, HANG, "requestHeaders", "200ms") for kind in PROCESSORS),
    *((kind, HANG, "responseBody", "500ms") for kind in (VrataProcessor, HttpProcessor)),
]
"""To fail: who, how, in which phase, and what each answer may take."""


@pytest.mark.parametrize(("kind", "reply", "phase", "timeout"), WAYS)
@on_our_loop
async def test_a_processor_that_fails_in_some_phase(
    proxy: InProcessProxy, kind: Kind, reply: Reply, phase: str, timeout: str
) -> None:
    with RecordingBackend() as backend, kind(misbehave(phase, reply)) as found:
        await process(proxy, found, backend.port, phases=BOTH, statusOnError=503, phaseTimeout=timeout)
        failed(await exchanged(proxy), 503)
        assert len(backend.requests) == phase.startswith("response")
        until_there = ALL[: ALL.index(phase) + 1]
        assert list(dict.fromkeys(found.phases)) == until_there
        override = {"allowOnError": True}
        await process(proxy, found, backend.port, phases=BOTH, override=override, phaseTimeout=timeout)
        response = await exchanged(proxy)
        assert (response.status, json.loads(response.body)["bodySize"]) == (200, 5)
        assert list(dict.fromkeys(found.phases)) == until_there  # nothing is shown after a failure


@EACH
@on_our_loop
async def test_answers_that_cannot_be_acted_on(proxy: InProcessProxy, kind: Kind) -> None:
    replies = [Do({"x a": "b"}), Do({"x-a": "b\r\nx-b: c"}), Do({f"x-{n}": "a" * 1000 for n in range(120)})]
    with RecordingBackend() as backend, kind() as found:
        await process(proxy, found, backend.port)
        for reply in replies:
            for phase in ("requestHeaders", "responseHeaders"):
                found.script = misbehave(phase, reply)
                failed(await exchanged(proxy))
        assert len(backend.requests) == 3


@EACH
@on_our_loop
async def test_a_client_that_leaves_no_room_gets_past_nothing(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend() as backend, kind(misbehave("requestHeaders", Do({"x-scope": "a"}))) as found:
        await process(proxy, found, backend.port, allowOnError=True)
        client = await proxy.connect()
        fields = [f"X-{number}: a" for number in range(98)]
        assert (await client.exchange("GET /", *fields)).status == 431
        assert (await client.exchange("GET /")).status == 200
        assert [each.all("x-scope") for each in backend.requests] == [["a"]]


@EACH
@pytest.mark.parametrize("allow_on_error", [False, True])
@on_our_loop
async def test_a_head_without_room_for_another_framing(proxy: InProcessProxy, kind: Kind, allow_on_error: bool) -> None:
    """A hundred lines, and the identifier of the request comes on top. There is no way back to what was replaced."""
    with RecordingBackend() as backend, kind(misbehave("requestBody", Do(body=b"longer"))) as found:
        await process(proxy, found, backend.port, phases={"requestBody": "buffered"}, allowOnError=allow_on_error)
        client = await proxy.connect()
        fields = [f"X-{number}: a" for number in range(98)]
        failed(await client.exchange("POST /", *fields, body=b"12345"))
        assert not backend.requests


@pytest.mark.parametrize(
    ("kind", "reply"),
    [
        (VrataProcessor, VrataProcessor.answer_to("responseHeaders")),
        (VrataProcessor, b""),
        (EnvoyProcessor, EnvoyProcessor.answer_to("requestBody")),
        (EnvoyProcessor, b""),
        (HttpProcessor, b'{"action":"responseHeaders"}'),
        (HttpProcessor, b"{}"),
        (HttpProcessor, b""),
    ],
)
@on_our_loop
async def test_answers_to_what_was_not_asked(proxy: InProcessProxy, kind: Kind, reply: bytes) -> None:
    with RecordingBackend() as backend, kind(misbehave("requestHeaders", reply)) as found:
        await process(proxy, found, backend.port)
        failed(await exchanged(proxy))
        assert not backend.requests


@on_our_loop
async def test_a_processor_of_http_with_another_status(proxy: InProcessProxy) -> None:
    with RecordingBackend() as backend, RecordingBackend(script=lambda exchange: exchange.respond(204)) as found:
        processor = HttpProcessor()
        with processor:
            documents = processor.entities()
            documents["destinations"] = [destination("processor", found.port), destination("backend", backend.port)]
            await proxy.apply(route("all", forward=forward("backend"), middlewareIds=["processing"]), **documents)
            failed(await exchanged(proxy))


@EACH
@on_our_loop
async def test_a_processor_that_is_not_there(proxy: InProcessProxy, kind: Kind) -> None:
    with DeadPorts() as ports, RecordingBackend() as backend, kind() as found:
        found.port = ports.refused
        await process(proxy, found, backend.port)
        failed(await exchanged(proxy))
        await process(proxy, found, backend.port, allowOnError=True)
        assert (await exchanged(proxy)).status == 200
        documents = found.entities()
        documents["destinations"] = [destination("backend", backend.port)]
        await proxy.apply(route("all", forward=forward("backend"), middlewareIds=["processing"]), **documents)
        failed(await exchanged(proxy))


@on_our_loop
async def test_a_processor_that_leaves(proxy: InProcessProxy) -> None:
    """A stream that ends without an error lets everything pass by Envoy's contract, but by ours only between phases."""
    with RecordingBackend() as backend, EnvoyProcessor(misbehave("requestHeaders", LEAVE)) as found:
        await process(proxy, found, backend.port, phases=BOTH)
        assert (await exchanged(proxy)).status == 200
        assert found.phases == ["requestHeaders"]
    with RecordingBackend() as backend, VrataProcessor(misbehave("requestBody", LEAVE)) as ours:
        await process(proxy, ours, backend.port, phases=BOTH)
        failed(await exchanged(proxy))


@pytest.mark.parametrize(("code", "status"), [("0", 200), ("13", 500)])
@on_our_loop
async def test_a_stream_that_ends_between_two_phases(proxy: InProcessProxy, code: str, status: int) -> None:
    async def answer(connection: StagedConnection) -> None:
        await connection.read_request()
        await has_ended.wait()
        connection.respond()

    has_ended = asyncio.Event()
    message = VrataProcessor.answer_to("requestHeaders")
    async with StagedBackend(answer) as backend, Http2Backend() as found:
        with VrataProcessor() as processor:
            processor.port = found.port
            await process(proxy, processor, backend.port)
            exchange = proxy.tasks.start(exchanged(proxy), name="exchange")
            request = await (await found.accept()).next()
            request.head([(":status", "200"), ("content-type", "application/grpc")])
            await request.until_content(1)
            request.send(b"\0" + len(message).to_bytes(4, "big") + message)
            request.finish([("grpc-status", code)])
            await eventually_async(lambda: backend.requests, what="the request has gone on")
            await eventually_async(lambda: services(proxy).under_way == 0, what="the stream has ended")
            has_ended.set()
            assert (await exchange).status == status


@pytest.mark.parametrize("kind", PROCESSORS[:2])
@on_our_loop
async def test_that_streams_end_with_their_transactions(proxy: InProcessProxy, kind: type[GrpcProcessor]) -> None:
    with RecordingBackend() as backend, kind() as found:
        await process(proxy, found, backend.port, phases=BOTH)
        for _ in range(3):
            assert (await exchanged(proxy)).status == 200
        await eventually_async(lambda: found.ended == 3, what="streams have ended")
        assert found.cancelled == 0
        found.script = misbehave("requestBody", DIE)
        failed(await exchanged(proxy))
        await eventually_async(lambda: found.ended == 4, what="streams have ended")


@pytest.mark.parametrize("kind", PROCESSORS[:2])
@on_our_loop
async def test_that_a_client_that_goes_away_cancels_the_stream(
    proxy: InProcessProxy, kind: type[GrpcProcessor]
) -> None:
    with RecordingBackend() as backend, kind(misbehave("requestHeaders", HANG)) as found:
        await process(proxy, found, backend.port, phaseTimeout="20s")
        client = await proxy.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually_async(lambda: found.seen, what="the head was seen")
        client.reset()
        await eventually_async(lambda: found.cancelled == 1, what="the stream is cancelled")
        assert not backend.requests


@on_each_loop
async def test_that_failures_are_counted_and_told_in_the_log(proxy: InProcessProxy) -> None:
    with RecordingBackend() as backend, VrataProcessor(misbehave("responseHeaders", DIE)) as found:
        documents = found.entities()
        documents["destinations"].append(destination("backend", backend.port))
        entry = route("all", forward=forward("backend"), middlewareIds=["processing"])
        await proxy.apply(entry, listeners=[proxy.listener(metrics={})], **documents)
        metrics = InProcessMetrics(proxy)
        with structlog.testing.capture_logs() as entries:
            failed(await exchanged(proxy))
        (told,) = [entry for entry in entries if entry["event"] == "external processor failed"]
        assert (told["middleware"], told["reason"]) == ("processing", "INTERNAL: died")
        found.script = misbehave("requestHeaders", DIE)
        failed(await exchanged(proxy))
        scraped = await metrics.scrape()
        labels = {"middleware": "processing", "type": "extProc"}
        assert scraped("vrata_middleware_errors_total", **labels) == 2
        assert scraped("vrata_middleware_passed_total", **labels) == 1
        assert scraped("vrata_middleware_rejections_total", **labels, status_code="500") == 2


@on_our_loop
async def test_that_each_answer_has_its_time(proxy: InProcessProxy) -> None:
    """Four phases may take four times as long as one."""

    def script(seen: Seen) -> Reply:
        found.pause.wait(0.4)
        return Do()

    with RecordingBackend() as backend, VrataProcessor(script) as found:
        await process(proxy, found, backend.port, phases=BOTH, phaseTimeout="1500ms")
        assert (await exchanged(proxy)).status == 200
