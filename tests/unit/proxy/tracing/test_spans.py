"""Spans of requests as a collector gets them, and the context that upstreams see."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.conditions import eventually_async
from tests.support.gateway import destination, forward, route
from tests.support.grpc_answers import MESSAGE, cut, status_alone, streamed
from tests.support.guide import DOCUMENTATION
from tests.support.held_response import says
from tests.support.http2_requester import Http2Requester
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_each_loop, on_our_loop
from tests.support.otlp_collector import OtlpCollector, attributes
from tests.support.ports import free_port
from tests.support.retries import in_turn, respond
from tests.support.staged_backend import StagedBackend, StagedConnection
from vrata import __version__
from vrata.proxy.tracing import exporter

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"traceparent: 00-{TRACE}-{PARENT}-01"
UNSAMPLED = f"traceparent: 00-{TRACE}-{PARENT}-00"
NEW_PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[01])")


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for more spans to send."""
    monkeypatch.setattr(exporter, "INTERVAL", 0.0)


async def traced(
    proxy: InProcessProxy, collector: OtlpCollector, *routes: Any, destinations: Any = (), **settings: Any
) -> None:
    tracing = {"destinationId": "collector", **settings}
    await proxy.apply(
        *routes,
        listeners=[proxy.listener(tracing=tracing, metrics={}, http2=True)],
        destinations=[*destinations, destination("collector", collector.port)],
    )


@on_each_loop
async def test_the_span_of_a_forwarded_request(proxy: InProcessProxy) -> None:
    before = time.time_ns()
    async with OtlpCollector() as collector, StagedBackend() as backend:
        group = {"id": "g", "name": "the group", "routeIds": ["all"]}
        await proxy.apply(
            route("all", forward=forward("b")),
            groups=[group],
            listeners=[proxy.listener(tracing={"destinationId": "collector", "serviceName": "shop"})],
            destinations=[destination("b", backend.port), destination("collector", collector.port)],
        )
        client = await proxy.connect()
        fields = ("Host: shop.test:8443", "User-Agent: test", "X-Request-Id: r-1", SAMPLED)
        client.send("\r\n".join(("GET /a%20b?secret=1 HTTP/1.1", *fields, "", "")).encode())
        assert (await client.read_response()).body == b"ok"
        (span,) = await collector.collected()
        assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, PARENT)
        assert (span.name, span.kind) == ("GET all", Span.SPAN_KIND_SERVER)
        assert span.flags == 0x301
        assert before < span.start_time_unix_nano < span.end_time_unix_nano < time.time_ns()
        assert span.status.code == Status.STATUS_CODE_UNSET
        endpoint = f"127.0.0.1:{backend.port}"
        assert attributes(span.attributes) == {
            "http.request.method": "GET",
            "url.scheme": "http",
            "url.path": "/a%20b",
            "server.address": "shop.test",
            "server.port": 8443,
            "client.address": "127.0.0.1",
            "network.peer.address": "127.0.0.1",
            "network.protocol.version": "1.1",
            "user_agent.original": "test",
            "http.route": "all",
            "http.response.status_code": 200,
            "http.response.body.size": 2,
            "vrata.listener": f"listener {proxy.port}",
            "vrata.group": "the group",
            "vrata.destination": "b",
            "vrata.endpoint": endpoint,
            "vrata.request_id": "r-1",
        }
        (event,) = span.events
        told = attributes(event.attributes)
        assert 0 < told.pop("vrata.attempt.seconds") < 30  # type: ignore[operator]
        assert (event.name, told) == (
            "attempt",
            {
                "vrata.attempt.number": 1,
                "vrata.destination": "b",
                "vrata.endpoint": endpoint,
                "vrata.attempt.outcome": "status 200",
            },
        )
        assert span.start_time_unix_nano < event.time_unix_nano <= span.end_time_unix_nano
        ((resource, scope),) = collector.scopes
        of = attributes(resource.attributes)
        assert (of["service.name"], of["service.version"]) == ("shop", __version__)
        assert (scope.scope.name, scope.scope.version) == ("vrata", __version__)
        # The upstream's parent is this span.
        assert backend.requests[0].all("traceparent") == [f"00-{TRACE}-{span.span_id.hex()}-01"]


@on_each_loop
async def test_attempts_are_events(proxy: InProcessProxy) -> None:
    failing = in_turn(respond(503), respond(503), respond(200, b"at last"))
    async with OtlpCollector() as collector, StagedBackend(failing) as backend:
        retry = {"attempts": 2, "on": ["gateway-error"], "backoff": {"base": "1ms", "max": "1ms"}}
        retried = route("all", forward=forward("b", retry=retry))
        await traced(proxy, collector, retried, destinations=[destination("b", backend.port)])
        client = await proxy.connect()
        assert (await client.exchange("GET /")).body == b"at last"
        (span,) = await collector.collected()
        told = [attributes(event.attributes) for event in span.events]
        assert [(each["vrata.attempt.number"], each["vrata.attempt.outcome"]) for each in told] == [
            (1, "status 503"),
            (2, "status 503"),
            (3, "status 200"),
        ]
        # All attempts stem from the one span, which began here.
        assert not span.parent_span_id
        assert {value for received in backend.requests for value in received.all("traceparent")} == {
            f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"
        }


@on_each_loop
async def test_errors_and_answers_of_the_proxy(proxy: InProcessProxy) -> None:
    async with OtlpCollector() as collector:
        broken = {"middlewareIds": ["gone"]}
        retry = {"attempts": 1, "on": ["connection-failure"], "backoff": {"base": "1ms", "max": "1ms"}}
        await traced(
            proxy,
            collector,
            route("refused", {"path": "/refused"}, forward=forward("b", retry=retry)),
            says("here", path="/here"),
            {**says("closed", path="/closed"), **broken},
            destinations=[destination("b", free_port())],
        )
        client = await proxy.connect()
        statuses = [(await client.exchange(f"GET {path}")).status for path in ("/refused", "/here", "/closed", "/x")]
        assert statuses == [502, 200, 500, 404]
        refused, here, closed, absent = await collector.collected(4)
        told = attributes(refused.attributes)
        assert (told["error.type"], told["http.response.status_code"]) == ("connection_refused", 502)
        assert (refused.status.code, refused.status.message) == (Status.STATUS_CODE_ERROR, "connection_refused")
        # The attempt after which there was another one, and the last one.
        outcomes = [attributes(event.attributes)["vrata.attempt.outcome"] for event in refused.events]
        assert outcomes == ["connection_refused", "connection_refused"]
        assert "error.type" not in attributes(here.attributes)
        assert not here.events
        assert attributes(closed.attributes)["vrata.rejected_by"] == "gone"
        assert (closed.status.code, closed.status.message) == (Status.STATUS_CODE_ERROR, "status 500")
        # What a client asks for in vain is no error of ours.
        assert (absent.name, absent.status.code) == ("GET", Status.STATUS_CODE_UNSET)
        assert attributes(absent.attributes)["error.type"] == "no_route"


@on_each_loop
async def test_a_client_that_leaves_and_a_response_that_is_cut(proxy: InProcessProxy) -> None:
    async def half(connection: StagedConnection) -> None:
        received = await connection.read_request()
        if received.target == "/cut":
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            await connection.flush()
            connection.reset()
        else:
            await connection.gone()

    async with OtlpCollector() as collector, StagedBackend(half) as backend:
        everything = route("all", forward=forward("b"))
        await traced(proxy, collector, everything, destinations=[destination("b", backend.port)])
        client = await proxy.connect()
        client.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually_async(lambda: len(backend.requests) == 1, what="the request is at the backend")
        client.reset()
        (left,) = await collector.collected()
        # That is no error of ours.
        assert left.status.code == Status.STATUS_CODE_UNSET
        told = attributes(left.attributes)
        assert told["vrata.incomplete"] is True
        assert told.keys().isdisjoint({"http.response.status_code", "error.type"})
        assert attributes(left.events[0].attributes)["vrata.attempt.outcome"] == "cut"
        client = await proxy.connect()
        client.send(b"GET /cut HTTP/1.1\r\nHost: a\r\n\r\n")
        await client.gone()
        _, cut = await collector.collected(2)
        assert (cut.status.code, cut.status.message) == (Status.STATUS_CODE_ERROR, "connection_reset")
        told = attributes(cut.attributes)
        assert (told["http.response.status_code"], told["error.type"], told["vrata.incomplete"]) == (
            200,
            "connection_reset",
            True,
        )


@on_each_loop
async def test_a_tunnel_is_one_span(proxy: InProcessProxy) -> None:
    async def switch(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        connection.send(await connection.reader.readexactly(4))
        await connection.gone()

    async with OtlpCollector() as collector, StagedBackend(switch) as backend:
        everything = route("all", forward=forward("b"))
        await traced(proxy, collector, everything, destinations=[destination("b", backend.port)])
        client = await proxy.connect()
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert (await client.read_response(interim=True)).status == 101
        client.send(b"ping")
        assert await client.read_exactly(4) == b"ping"
        assert collector.batches == []
        client.close()
        (span,) = await collector.collected()
        told = attributes(span.attributes)
        assert (told["http.response.status_code"], span.status.code) == (101, Status.STATUS_CODE_UNSET)
        assert told.keys().isdisjoint({"vrata.incomplete", "error.type"})
        assert backend.requests[0].all("traceparent") == [f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"]


@on_each_loop
async def test_requests_of_http2(proxy: InProcessProxy) -> None:
    async with OtlpCollector() as collector, StagedBackend() as backend:
        everything = route("all", forward=forward("b"))
        await traced(proxy, collector, everything, destinations=[destination("b", backend.port)])
        async with Http2Requester(proxy.port) as client:
            stream = client.begin("GET", "/", ("traceparent", f"00-{TRACE}-{PARENT}-01"))
            await client.send(stream, b"")
            assert (await client.response(stream)).status == 200
        (span,) = await collector.collected()
        assert attributes(span.attributes)["network.protocol.version"] == "2"
        assert span.trace_id.hex() == TRACE
        assert backend.requests[0].all("traceparent") == [f"00-{TRACE}-{span.span_id.hex()}-01"]


@on_each_loop
async def test_calls_of_grpc(proxy: InProcessProxy) -> None:
    """By the conventions for gRPC, of whose codes some are errors of a server."""
    release = asyncio.Event()
    release.set()
    script = in_turn(streamed(0, MESSAGE), status_alone(5), streamed(13, MESSAGE), cut(release, MESSAGE))
    async with OtlpCollector() as collector, StagedBackend(script) as backend:
        calls = route("all", {"pathPrefix": "/shop.Orders"}, forward=forward("b"))
        await traced(proxy, collector, calls, destinations=[destination("b", backend.port)])
        async with Http2Requester(proxy.port) as client:
            for path in (*(f"/shop.Orders/{method}" for method in ("Get", "Find", "Fail", "Cut")), "/nobody"):
                stream = client.begin("POST", path, ("content-type", "application/grpc"), ("te", "trailers"))
                await client.send(stream, b"")
                assert (await client.response(stream)).status == 200
        spans = {str(attributes(span.attributes)["rpc.method"]): span for span in await collector.collected(5)}
        told = {method: attributes(span.attributes) for method, span in spans.items()}
        assert {each["rpc.system"] for each in told.values()} == {"grpc"}
        assert told["Get"]["rpc.service"] == "shop.Orders"
        unset, error = Status.STATUS_CODE_UNSET, Status.STATUS_CODE_ERROR
        assert {
            method: (each["rpc.grpc.status_code"], each.get("error.type"), spans[method].status.code)
            for method, each in told.items()
        } == {
            "Get": (0, None, unset),
            "Find": (5, None, unset),
            "Fail": (13, "INTERNAL", error),
            # The proxy itself tells the client how the call has ended.
            "Cut": (14, "connection_reset", error),
            "nobody": (12, "no_route", error),
        }
        # What is no call has nothing of one.
        requester = await proxy.connect()
        assert (await requester.exchange("GET /")).status == 404
        plain = (await collector.collected(6))[-1]
        assert not [name for name in attributes(plain.attributes) if name.startswith("rpc.")]


CONTEXTS = [
    # What the client says, the ratio, whether its parent decides, and then: whether there is a span.
    ([], 1.0, True, True),
    ([], 0.0, True, False),
    ([SAMPLED], 0.0, True, True),
    ([UNSAMPLED], 1.0, True, False),
    ([SAMPLED], 0.0, False, False),
    ([UNSAMPLED], 1.0, False, True),
    (["traceparent: 00-nonsense"], 1.0, True, True),
    (["traceparent: 00-nonsense"], 0.0, True, False),
]


@pytest.mark.parametrize(("fields", "ratio", "parent_based", "recorded"), CONTEXTS)
@on_each_loop
async def test_who_is_recorded_and_what_goes_on(
    proxy: InProcessProxy, fields: list[str], ratio: float, parent_based: bool, recorded: bool
) -> None:
    async with OtlpCollector() as collector, StagedBackend() as backend:
        everything = route("all", forward=forward("b"))
        sampling = {"samplingRatio": ratio, "parentBased": parent_based}
        await traced(proxy, collector, everything, destinations=[destination("b", backend.port)], **sampling)
        client = await proxy.connect()
        assert (await client.exchange("GET /", *fields, "tracestate: a=1")).status == 200
        assert (await client.exchange("GET /", SAMPLED, "tracestate: broken")).status == 200
        first, second = backend.requests
        (value,) = first.all("traceparent")
        found = NEW_PARENT.fullmatch(value)
        assert found is not None
        known = fields in ([SAMPLED], [UNSAMPLED])
        # A context that is none is replaced by a new one, and then its state is none either.
        assert (found[1] == TRACE) == known
        assert first.all("tracestate") == (["a=1"] if known else [])
        assert second.all("tracestate") == []
        spans = await collector.collected(recorded + (parent_based or ratio == 1.0))
        if recorded:
            span = spans[0]
            assert (found[1], found[2], found[3]) == (span.trace_id.hex(), span.span_id.hex(), "01")
        elif known:
            # It goes on as it came: no span stands between the client's and the upstream's.
            assert f"traceparent: {value}" == fields[0]
        else:
            assert found[3] == "00"


@on_each_loop
async def test_without_tracing_everything_goes_on_as_it_came(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await proxy.apply(route("all", forward=forward("b")), destinations=[destination("b", backend.port)])
        client = await proxy.connect()
        await client.exchange("GET /", "traceparent: 00-nonsense", "tracestate: broken")
        await client.exchange("GET /")
        assert [(found.all("traceparent"), found.all("tracestate")) for found in backend.requests] == [
            (["00-nonsense"], ["broken"]),
            ([], []),
        ]


@on_each_loop
async def test_mirrors_belong_to_the_same_trace(proxy: InProcessProxy) -> None:
    async with OtlpCollector() as collector, StagedBackend() as backend, StagedBackend() as mirror:
        mirrored = route("all", forward=forward("b", mirror={"destinationId": "m"}))
        known = [destination("b", backend.port), destination("m", mirror.port)]
        await traced(proxy, collector, mirrored, destinations=known)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 200
        (span,) = await collector.collected()
        await eventually_async(lambda: len(mirror.requests) == 1, what="the copy")
        parent = f"00-{span.trace_id.hex()}-{span.span_id.hex()}-01"
        assert mirror.requests[0].all("traceparent") == backend.requests[0].all("traceparent") == [parent]


@on_each_loop
async def test_what_middlewares_ask_of_others_belongs_to_the_trace(proxy: InProcessProxy) -> None:
    async with OtlpCollector() as collector, StagedBackend() as authorizer:
        settings = {"destinationId": "authz", "onCheck": {"forwardHeaders": ["traceparent"]}}
        guard = {"id": "authz", "name": "authz", "type": "extAuthz", "extAuthz": settings}
        guarded = {**says("all"), "middlewareIds": ["authz"]}
        known = [destination("authz", authorizer.port), destination("collector", collector.port)]
        listener = proxy.listener(tracing={"destinationId": "collector"})
        await proxy.apply(guarded, listeners=[listener], destinations=known, middlewares=[guard])
        client = await proxy.connect()
        assert (await client.exchange("GET /", SAMPLED)).body == b"all"
        (span,) = await collector.collected()
        assert authorizer.requests[0].all("traceparent") == [f"00-{TRACE}-{span.span_id.hex()}-01"]
        # What nobody records is passed on as it came, and only where it is wanted.
        assert (await client.exchange("GET /", UNSAMPLED)).body == b"all"
        assert [f"traceparent: {value}" for value in authorizer.requests[1].all("traceparent")] == [UNSAMPLED]
        # Nor does the request that brings the spans belong to any trace.
        assert collector.requests[0].all("traceparent") == []


@on_each_loop
async def test_examples_of_durations_lead_to_traces(proxy: InProcessProxy) -> None:
    async with OtlpCollector() as collector, StagedBackend() as backend:
        everything = route("all", forward=forward("b"))
        await traced(proxy, collector, everything, destinations=[destination("b", backend.port)])
        metrics = InProcessMetrics(proxy)
        client = await proxy.connect()
        assert (await client.exchange("GET /", SAMPLED)).status == 200
        assert (await client.exchange("GET /", UNSAMPLED.replace(TRACE, "f" * 32))).status == 200
        await collector.collected()
        shown = await metrics.scrape(openmetrics=True)
        for family in ("vrata_route_duration_seconds", "vrata_destination_duration_seconds"):
            assert [trace_id for trace_id, _, _ in shown.exemplars(family).values()] == [TRACE]
        # A scrape is no request to be told of.
        await eventually_async(lambda: len(collector.spans) == 1, what="one span")
        assert shown("vrata_trace_spans_total", outcome="exported") == 1


@on_our_loop
async def test_the_example_of_the_guide(proxy: InProcessProxy) -> None:
    page = (DOCUMENTATION / "docs" / "guide" / "tracing.md").read_text(encoding="utf-8")
    traces, web = (json.loads(text) for text in re.findall(r"^```json\n(.*?)^```$", page, re.MULTILINE | re.DOTALL))
    async with OtlpCollector() as collector:
        listener = proxy.listener(**{key: value for key, value in web.items() if key not in ("id", "name", "port")})
        await proxy.apply(says("x"), listeners=[listener], destinations=[{**traces, "port": collector.port}])
        client = await proxy.connect()
        assert (await client.exchange("GET /", SAMPLED)).status == 200
        await collector.collected()
        ((resource, _),) = collector.scopes
        assert attributes(resource.attributes)["service.name"] == "edge"
