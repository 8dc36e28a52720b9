"""Tracing by real workers: spans of all of them, also of those that are replaced before their batch is due."""

from __future__ import annotations

import signal

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.conditions import eventually
from tests.support.exposition import Scraped
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.otlp_collector import attributes
from tests.support.raw_http import Connection
from tests.support.recording_backend import RecordingBackend

REQUESTS = 40


def serving(gateway: Gateway) -> set[int]:
    (proxy,) = gateway.proxies()
    return {worker["pid"] for worker in proxy["workers"] if worker["state"] == "serving"}


def test_no_span_is_lost_when_workers_are_replaced(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    with RecordingBackend("collector") as collector:
        # The collector's key is a secret.
        gateway.call("POST", "/secrets", {"id": "collector-key", "name": "key of the collector", "value": "k-1"})
        headers = [{"name": "x-key", "value": "{{secret:value:collector-key}}"}]
        tracing = {"destinationId": "collector", "serviceName": "shop", "headers": headers}
        gateway.configure(
            listeners=[listener(port, tracing=tracing, metrics={})],
            destinations=[destination("b", backend.port), destination("collector", collector.port)],
            routes=[route("all", forward=forward("b"))],
        )
        for _ in range(REQUESTS):
            with Connection(port) as client:
                assert client.exchange("GET", "/").status == 200
        before = serving(gateway)
        gateway.process.signal(signal.SIGHUP)
        eventually(lambda: not before & serving(gateway) and len(serving(gateway)) == 2, what="new workers serve")
        eventually(lambda: len(gateway.proxies()[0]["workers"]) == 2, what="the old workers have ended")

        batches = [ExportTraceServiceRequest.FromString(received.body) for received in collector.requests]
        assert {received.target for received in collector.requests} == {"/v1/traces"}
        assert {value for received in collector.requests for value in received.all("x-key")} == {"k-1"}
        resources = [found for batch in batches for found in batch.resource_spans]
        assert {attributes(found.resource.attributes)["process.pid"] for found in resources} == before
        spans = [span for found in resources for span in found.scope_spans[0].spans]
        # Whatever worker has made it, no identity comes twice.
        assert len({span.trace_id for span in spans}) == len({span.span_id for span in spans}) == REQUESTS
        parents = {received.all("traceparent")[0] for received in backend.requests}
        assert parents == {f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01" for span in spans}
        with Connection(port) as client:
            shown = Scraped(client.exchange("GET", "/metrics").body.decode())
            assert shown("vrata_trace_spans_total", outcome="exported") == REQUESTS
            accept = ("Accept", "application/openmetrics-text; version=1.0.0")
            text = client.exchange("GET", "/metrics", headers=[accept]).body.decode()
        examples = Scraped(text, openmetrics=True).exemplars("vrata_route_duration_seconds")
        assert {trace_id for trace_id, _, _ in examples.values()} <= {span.trace_id.hex() for span in spans}
        assert examples
