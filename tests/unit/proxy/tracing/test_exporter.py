"""How spans get to their collector: batches, what it does not take, and the end of a worker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from tests.support.conditions import eventually_async
from tests.support.gateway import destination
from tests.support.held_response import says
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_each_loop, on_our_loop
from tests.support.otlp_collector import Answers, OtlpCollector, accept
from tests.support.ports import free_port
from tests.support.staged_backend import StagedConnection
from vrata.proxy.tracing import exporter
from vrata.proxy.tracing.otlp import refused_spans

SPANS = "vrata_trace_spans_total"


async def traced(proxy: InProcessProxy, port: int, **settings: Any) -> InProcessMetrics:
    """Record what comes to the one route, and tell the collector on *port*."""
    tracing = {"destinationId": "collector", **settings}
    listeners = [proxy.listener(tracing=tracing, metrics={})]
    await proxy.apply(says("x"), listeners=listeners, destinations=[destination("collector", port)])
    return InProcessMetrics(proxy)


async def ask(proxy: InProcessProxy, count: int) -> None:
    client = await proxy.connect()
    for _ in range(count):
        assert (await client.exchange("GET /")).status == 200


async def outcomes(metrics: InProcessMetrics) -> dict[str, float]:
    shown = await metrics.scrape()
    return {dict(labels)["outcome"]: value for (name, labels), value in shown.samples.items() if name == SPANS}


def answering(*statuses: int) -> Answers:
    """One status for each request, and then what is right."""

    async def answer(connection: StagedConnection, number: int) -> None:
        if number < len(statuses):
            connection.respond(b"no", status=statuses[number])
        else:
            await accept(connection, number)

    return answer


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for more spans to send, nor long before sending them again."""
    monkeypatch.setattr(exporter, "INTERVAL", 0.0)
    monkeypatch.setattr(exporter, "FIRST_PAUSE", 0.001)


@pytest.mark.usefixtures("soon")
@on_each_loop
async def test_what_is_sent_to_whom(proxy: InProcessProxy) -> None:
    async with OtlpCollector() as collector:
        headers = [{"name": "x-key", "value": "k"}, {"name": "X-Two", "value": "2"}]
        metrics = await traced(proxy, collector.port, path="/otlp?a=b", headers=headers)
        await ask(proxy, 1)
        await collector.collected()
        (received,) = collector.requests
        assert received.line == "POST /otlp?a=b HTTP/1.1"
        assert (received.all("x-key"), received.all("x-two")) == (["k"], ["2"])
        assert await outcomes(metrics) == {"exported": 1}


@on_each_loop
async def test_spans_wait_for_each_other_until_a_batch_is_full(proxy: InProcessProxy) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "MAX_BATCH", 4)
        async with OtlpCollector() as collector:
            await traced(proxy, collector.port)
            await ask(proxy, 3)
            assert collector.batches == []
            await ask(proxy, 2)
            await collector.collected(4)
            assert len(collector.batches) == 1
            # The fifth is sent when the worker ends, without anybody waiting for the interval.
            assert await proxy.data_plane.drain(5)
            assert [len(batch.resource_spans[0].scope_spans[0].spans) for batch in collector.batches] == [4, 1]


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("status", sorted(exporter.RETRIED))
@on_each_loop
async def test_a_batch_that_is_not_taken_for_now_is_sent_again(proxy: InProcessProxy, status: int) -> None:
    async with OtlpCollector(answering(status, status)) as collector:
        metrics = await traced(proxy, collector.port)
        await ask(proxy, 1)
        await eventually_async(lambda: len(collector.batches) == 3, what="the third try")
        assert {span.span_id for span in collector.spans} == {collector.spans[0].span_id}
        assert await eventually_exported(metrics, {"exported": 1})


@pytest.mark.usefixtures("soon")
@on_our_loop
async def test_nothing_waits_after_the_last_try(proxy: InProcessProxy) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "MAX_TRIES", 1)
        patch.setattr(exporter, "FIRST_PAUSE", 60.0)
        patch.setattr(exporter, "MAX_PAUSE", 60.0)
        async with OtlpCollector(answering(503)) as collector:
            metrics = await traced(proxy, collector.port)
            await ask(proxy, 1)
            assert await eventually_exported(metrics, {"unreachable": 1})


async def eventually_exported(metrics: InProcessMetrics, expected: dict[str, float]) -> bool:
    found: dict[str, float] = {}
    for _ in range(1000):
        found = await outcomes(metrics)
        if found == expected:
            return True
        await asyncio.sleep(0.005)
    raise AssertionError(found)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 302])
@on_each_loop
async def test_a_batch_that_is_refused_is_dropped(proxy: InProcessProxy, status: int) -> None:
    async with OtlpCollector(answering(status)) as collector:
        metrics = await traced(proxy, collector.port)
        await ask(proxy, 1)
        assert await eventually_exported(metrics, {"refused": 1})
        assert len(collector.batches) == 1


@pytest.mark.usefixtures("soon")
@on_each_loop
async def test_a_collector_that_is_not_there(proxy: InProcessProxy) -> None:
    metrics = await traced(proxy, free_port())
    await ask(proxy, 3)
    assert await eventually_exported(metrics, {"unreachable": 3})
    # One that the snapshot does not have is no other case.
    await proxy.apply(says("x"), listeners=[proxy.listener(tracing={"destinationId": "gone"}, metrics={})])
    await ask(proxy, 1)
    assert await eventually_exported(metrics, {"unreachable": 4})


@pytest.mark.usefixtures("soon")
@on_each_loop
async def test_spans_that_are_refused_among_others(proxy: InProcessProxy) -> None:
    async def partly(connection: StagedConnection, number: int) -> None:
        partial = ExportTracePartialSuccess(rejected_spans=1, error_message="too old")
        connection.respond(ExportTraceServiceResponse(partial_success=partial).SerializeToString())

    async with OtlpCollector(partly) as collector:
        metrics = await traced(proxy, collector.port)
        await ask(proxy, 1)
        assert await eventually_exported(metrics, {"refused": 1})


@on_each_loop
async def test_the_queue_has_an_end_and_nobody_waits_for_it(proxy: InProcessProxy) -> None:
    held = asyncio.Event()

    async def hold(connection: StagedConnection, number: int) -> None:
        await held.wait()
        await accept(connection, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "MAX_BATCH", 2)
        patch.setattr(exporter, "MAX_QUEUED", 5)
        patch.setattr(exporter, "INTERVAL", 0.0)
        async with OtlpCollector(hold) as collector:
            metrics = await traced(proxy, collector.port)
            await ask(proxy, 12)
            await eventually_async(lambda: len(collector.batches) == 1, what="the first batch is sent")
            assert await outcomes(metrics) == {"queue_full": 7}
            held.set()
            await collector.collected(5)
            assert await eventually_exported(metrics, {"exported": 5, "queue_full": 7})


@on_each_loop
async def test_what_waits_is_sent_though_another_collector_is_configured(proxy: InProcessProxy) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporter, "INTERVAL", 0.05)
        async with OtlpCollector() as collector, OtlpCollector() as other:
            await traced(proxy, collector.port)
            await ask(proxy, 2)
            tracing = {"destinationId": "other"}
            known = [destination("collector", collector.port), destination("other", other.port)]
            await proxy.apply(says("x"), listeners=[proxy.listener(tracing=tracing)], destinations=known)
            await ask(proxy, 1)
            await collector.collected(2)
            await other.collected(1)


@on_each_loop
async def test_the_end_of_a_worker_does_not_wait_for_batches_either(proxy: InProcessProxy) -> None:
    async with OtlpCollector() as collector, OtlpCollector() as other:
        await traced(proxy, collector.port)
        await ask(proxy, 2)
        tracing = {"destinationId": "other"}
        known = [destination("collector", collector.port), destination("other", other.port)]
        await proxy.apply(says("x"), listeners=[proxy.listener(tracing=tracing)], destinations=known)
        await ask(proxy, 1)
        assert (collector.batches, other.batches) == ([], [])
        assert await proxy.data_plane.drain(5)
        assert (len(collector.spans), len(other.spans)) == (2, 1)


@on_each_loop
async def test_a_worker_ends_though_its_collector_does_not_answer(proxy: InProcessProxy) -> None:
    async def never(connection: StagedConnection, number: int) -> None:
        await connection.gone()

    async with OtlpCollector(never) as collector:
        await traced(proxy, collector.port)
        await ask(proxy, 1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await proxy.data_plane.drain(0.2)
        assert len(collector.batches) == 1
        assert loop.time() - began < 9


@pytest.mark.parametrize(
    ("partial", "expected"),
    [
        ({}, (0, "")),
        ({"rejected_spans": 3}, (3, "")),
        ({"rejected_spans": 2, "error_message": "why"}, (2, "why")),
        ({"error_message": "a warning"}, (0, "a warning")),
        ({"rejected_spans": -1}, (0, "")),
    ],
)
def test_what_a_collector_says_of_spans_that_it_did_not_take(
    partial: dict[str, Any], expected: tuple[int, str]
) -> None:
    message = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(**partial))
    assert refused_spans(message.SerializeToString()) == expected


@pytest.mark.parametrize("body", [b"", b"{}", b"\xff\xff", b"\x0a\x7f"])
def test_an_answer_that_is_no_message_refuses_nothing(body: bytes) -> None:
    assert refused_spans(body) == (0, "")
