"""What is counted of requests: every way in which one can end, over real sockets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.conditions import eventually_async
from tests.support.exposition import Scraped
from tests.support.gateway import destination, forward, route
from tests.support.held_response import Held, begin, says
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.ports import free_port
from tests.support.raw_http import TruncatedResponse
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import request

REQUESTS = "vrata_route_requests_total"
IN_FLIGHT = "vrata_route_inflight_requests"
DURATIONS = "vrata_route_duration_seconds_count"
TO_DESTINATION = "vrata_destination_requests_total"
ERRORS = "vrata_proxy_errors_total"


async def measured(proxy: InProcessProxy, *routes: Any, metrics: Any = None, **others: Any) -> InProcessMetrics:
    """Apply *routes* with a listener that counts, and return who shows what was counted."""
    await proxy.apply(*routes, listeners=[proxy.listener(metrics=metrics or {})], **others)
    return InProcessMetrics(proxy)


async def forwarding(proxy: InProcessProxy, port: int, *, metrics: Any = None, **options: Any) -> InProcessMetrics:
    """The same with one route, ``all``, to a backend on *port*, which is the destination ``b``."""
    destinations = [destination("b", port, **options)]
    return await measured(proxy, route("all", forward=forward("b")), metrics=metrics, destinations=destinations)


@on_each_loop
async def test_an_answered_request_counts_once_everywhere(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        metrics = await forwarding(proxy, backend.port, metrics={"collect": {"endpoint": True}})
        client = await proxy.connect()
        for _ in range(3):
            assert (await client.exchange("POST /", body=b"12345")).body == b"ok"
        shown = await metrics.scrape()
        labels = {"route": "all", "group": "", "method": "POST"}
        assert shown(REQUESTS, **labels, status_code="200", status_class="2xx") == 3
        assert shown(DURATIONS, **labels) == 3
        assert shown("vrata_route_duration_seconds_bucket", **labels, le="+Inf") == 3
        assert shown("vrata_route_request_bytes_total", route="all") == 15
        assert shown("vrata_route_response_bytes_total", route="all") == 6
        assert shown(IN_FLIGHT, route="all") == 0
        assert shown(TO_DESTINATION, destination="b", status_code="200", status_class="2xx") == 3
        assert shown("vrata_destination_duration_seconds_count", destination="b") == 3
        assert shown("vrata_destination_inflight_requests", destination="b") == 0
        endpoint = {"destination": "b", "endpoint": f"127.0.0.1:{backend.port}"}
        assert shown("vrata_endpoint_requests_total", **endpoint, status_code="200") == 3
        assert shown("vrata_endpoint_duration_seconds_count", **endpoint) == 3
        assert shown("vrata_endpoint_consecutive_5xx", **endpoint) == 0
        assert shown.all(ERRORS) == []


@on_each_loop
async def test_a_request_on_its_way_is_in_flight_and_not_counted_yet(proxy: InProcessProxy) -> None:
    script = Held()
    async with StagedBackend(script) as backend:
        metrics = await forwarding(proxy, backend.port)
        client = await proxy.connect()
        await begin(client)
        shown = await metrics.scrape()
        assert shown(IN_FLIGHT, route="all") == shown("vrata_destination_inflight_requests", destination="b") == 1
        assert shown.all(REQUESTS) == []
        script.release.set()
        assert await client.read_exactly(2) == b"cd"
        shown = await metrics.scrape()
        assert shown(IN_FLIGHT, route="all") == shown("vrata_destination_inflight_requests", destination="b") == 0
        assert shown(REQUESTS, route="all", status_code="200") == 1
        assert shown("vrata_route_response_bytes_total", route="all") == 4


@on_each_loop
async def test_what_no_route_takes_has_an_empty_route(proxy: InProcessProxy) -> None:
    metrics = await measured(proxy, says("here", path="/here"))
    client = await proxy.connect()
    assert (await client.exchange("GET /there")).status == 404
    shown = await metrics.scrape()
    assert shown(REQUESTS, route="", group="", method="GET", status_code="404", status_class="4xx") == 1
    assert shown(ERRORS, error="no_route", listener=f"listener {proxy.port}") == 1
    assert shown.all(TO_DESTINATION) == []


@on_each_loop
async def test_the_group_is_a_label(proxy: InProcessProxy) -> None:
    group = {"id": "g", "name": "the group", "pathPrefix": "/g", "routeIds": ["says-x"]}
    metrics = await measured(proxy, says("x"), groups=[group])
    client = await proxy.connect()
    assert (await client.exchange("GET /g")).body == b"x"
    assert (await metrics.scrape())(REQUESTS, route="says-x", group="the group") == 1


@on_each_loop
async def test_a_destination_that_does_not_exist_is_not_counted(proxy: InProcessProxy) -> None:
    metrics = await measured(proxy, route("r", forward=forward("gone")))
    client = await proxy.connect()
    assert (await client.exchange("GET /")).status == 502
    shown = await metrics.scrape()
    assert shown(REQUESTS, route="r", status_code="502", status_class="5xx") == 1
    assert shown(ERRORS, error="no_destination") == 1
    assert shown.all(TO_DESTINATION) == []


@on_each_loop
async def test_a_refused_connection_counts_for_route_destination_and_endpoint(proxy: InProcessProxy) -> None:
    port = free_port()
    metrics = await forwarding(proxy, port, metrics={"collect": {"endpoint": True}})
    client = await proxy.connect()
    for row in (1, 2):
        assert (await client.exchange("GET /")).status == 502
        shown = await metrics.scrape()
        assert shown(REQUESTS, route="all", status_code="502") == row
        assert shown(TO_DESTINATION, destination="b", status_code="502", status_class="5xx") == row
        assert shown("vrata_endpoint_consecutive_5xx", endpoint=f"127.0.0.1:{port}") == row
        assert shown(ERRORS, error="connection_refused") == row


@on_each_loop
async def test_a_success_ends_a_row_of_failures(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        for status in (500, 503, 404, 599):
            await connection.read_request()
            connection.respond(status=status)
        await connection.gone()

    async with StagedBackend(script) as backend:
        metrics = await forwarding(proxy, backend.port, metrics={"collect": {"endpoint": True}})
        client = await proxy.connect()
        for row in (1, 2, 0, 1):
            await client.exchange("GET /")
            assert (await metrics.scrape())("vrata_endpoint_consecutive_5xx") == row


@on_each_loop
async def test_a_timeout_counts_with_the_status_that_the_client_got(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.gone()

    async with StagedBackend(script) as backend:
        metrics = await forwarding(proxy, backend.port, timeouts={"responseHeader": "100ms"})
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 504
        shown = await metrics.scrape()
        assert shown(REQUESTS, route="all", status_code="504") == shown(TO_DESTINATION, status_code="504") == 1
        assert shown(ERRORS, error="timeout") == 1
        assert 0.09 <= shown("vrata_route_duration_seconds_sum", route="all") < 20


@on_each_loop
async def test_a_response_cut_by_the_upstream_counts_with_its_status_and_as_an_error(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await connection.flush()
        connection.reset()

    async with StagedBackend(script) as backend:
        metrics = await forwarding(proxy, backend.port)
        client = await proxy.connect()
        client.send(request("GET /"))
        with pytest.raises((TruncatedResponse, ConnectionResetError)):
            await client.read_response()
        shown = await metrics.scrape()
        assert shown(REQUESTS, route="all", status_code="200") == 1
        assert shown(ERRORS, error="connection_reset") == 1
        assert shown(IN_FLIGHT, route="all") == 0


@on_each_loop
async def test_a_client_that_leaves_before_its_answer_is_not_counted(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        await connection.gone()

    async with StagedBackend(script) as backend:
        metrics = await forwarding(proxy, backend.port)
        client = await proxy.connect()
        client.send(request("POST /", body=b"four"))
        await eventually_async(lambda: backend.requests, what="the request is at the backend")
        assert (await metrics.scrape())(IN_FLIGHT, route="all") == 1
        client.reset()
        await eventually_async(lambda: backend.open == 0, what="the backend's connection is closed")
        shown = await metrics.scrape()
        assert shown(IN_FLIGHT, route="all") == shown("vrata_destination_inflight_requests", destination="b") == 0
        assert shown.all(REQUESTS) == shown.all(TO_DESTINATION) == shown.all(DURATIONS) == shown.all(ERRORS) == []
        assert shown("vrata_route_request_bytes_total", route="all") == 4


@on_each_loop
async def test_a_client_that_leaves_within_its_answer_counts_with_the_status_it_has_seen(
    proxy: InProcessProxy,
) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await connection.gone()

    async with StagedBackend(script) as backend:
        metrics = await forwarding(proxy, backend.port)
        client = await proxy.connect()
        await begin(client)
        client.reset()
        await eventually_async(lambda: backend.open == 0, what="the backend's connection is closed")
        shown = await metrics.scrape()
        assert shown(REQUESTS, route="all", status_code="200") == shown(TO_DESTINATION, status_code="200") == 1
        assert shown(IN_FLIGHT, route="all") == 0


@on_each_loop
async def test_a_tunnel_counts_when_it_ends_with_what_went_through_it(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        assert await connection.reader.readexactly(3) == b"you"
        connection.close()

    async with StagedBackend(script) as backend:
        metrics = await forwarding(proxy, backend.port)
        client = await proxy.connect()
        client.send(request("GET /", "Connection: Upgrade", "Upgrade: websocket"))
        assert (await client.read_head()).status == 101
        assert await client.read_exactly(5) == b"hello"
        shown = await metrics.scrape()
        assert shown(IN_FLIGHT, route="all") == 1
        assert shown.all(REQUESTS) == []
        client.send(b"you")
        assert await client.ending() == "closed"
        await client.gone()
        await eventually_async(lambda: proxy.data_plane.status().connections == 1, what="the tunnel is closed")
        shown = await metrics.scrape()
        assert shown(REQUESTS, route="all", status_code="101", status_class="1xx") == 1
        assert shown(TO_DESTINATION, status_code="101") == 1
        assert shown("vrata_route_response_bytes_total", route="all") == 5
        assert shown("vrata_route_request_bytes_total", route="all") == 3
        assert shown(IN_FLIGHT, route="all") == 0


@on_each_loop
async def test_interim_responses_are_no_results(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        connection.respond(b"ok")
        await connection.gone()

    async with StagedBackend(script) as backend:
        metrics = await forwarding(proxy, backend.port)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).body == b"ok"
        shown = await metrics.scrape()
        assert shown.all(REQUESTS) == [1]
        assert shown(REQUESTS, status_code="200") == 1


@on_each_loop
async def test_bodies_without_a_length_count_without_their_framing(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n")
        await connection.flush()
        connection.send(b"3\r\nefg\r\n0\r\n\r\n")
        await connection.gone()

    async with StagedBackend(script) as backend:
        metrics = await forwarding(proxy, backend.port)
        client = await proxy.connect()
        client.send(request("POST /", "Transfer-Encoding: chunked") + b"2\r\nxy\r\n")
        client.send(b"3;a=b\r\nzzz\r\n0\r\nTrailer: t\r\n\r\n")
        assert (await client.read_response()).body == b"abcdefg"
        shown = await metrics.scrape()
        assert shown("vrata_route_request_bytes_total", route="all") == 5
        assert shown("vrata_route_response_bytes_total", route="all") == 7


@on_each_loop
async def test_an_answer_to_head_has_no_bytes(proxy: InProcessProxy) -> None:
    metrics = await measured(proxy, says("twelve bytes"))
    client = await proxy.connect()
    assert (await client.exchange("HEAD /"))["content-length"] == "12"
    assert (await client.exchange("GET /")).body == b"twelve bytes"
    shown = await metrics.scrape()
    assert shown(REQUESTS, method="HEAD") == shown(REQUESTS, method="GET") == 1
    assert shown("vrata_route_response_bytes_total") == 12


@on_each_loop
async def test_unknown_methods_are_counted_together(proxy: InProcessProxy) -> None:
    metrics = await measured(proxy, says("x"))
    client = await proxy.connect()
    for method in ("BREW", "get", "PROPFIND", "GET", "PATCH", "OTHER"):
        await client.exchange(f"{method} /")
    shown = await metrics.scrape()
    assert shown(REQUESTS, method="OTHER") == 4
    assert shown.values("method") == {"OTHER", "GET", "PATCH"}


@on_each_loop
async def test_pipelined_requests_count_one_by_one(proxy: InProcessProxy) -> None:
    metrics = await measured(proxy, says("a", path="/a"), says("b", path="/b"))
    client = await proxy.connect()
    client.send(request("GET /a") + request("GET /b") + request("GET /a"))
    for _ in range(3):
        await client.read_response()
    shown = await metrics.scrape()
    assert (shown(REQUESTS, route="says-a"), shown(REQUESTS, route="says-b")) == (2, 1)


@on_each_loop
async def test_what_is_no_request_counts_as_unmatched(proxy: InProcessProxy) -> None:
    listeners = [proxy.listener(metrics={}, maxRequestHeadersKB=1)]
    await proxy.apply(says("x"), listeners=listeners)
    metrics = InProcessMetrics(proxy)
    for data, status in (
        (b"nonsense\r\n\r\n", 400),
        (request("GET /", f"X: {'x' * 2000}"), 431),
        (request("POST /", "Transfer-Encoding: chunked") + b"zz\r\n", 400),
    ):
        client = await proxy.connect()
        client.send(data)
        assert (await client.read_response()).status == status
    shown = await metrics.scrape()
    assert shown(REQUESTS, route="", method="OTHER", status_code="400") == 1
    assert shown(REQUESTS, route="", status_code="400") == 2
    assert shown(REQUESTS, route="", status_code="431") == 1
    assert shown(ERRORS, error="bad_request") == 2
    assert shown(ERRORS, error="request_headers_too_large") == 1
    assert shown(IN_FLIGHT, route="") == 0


@on_each_loop
async def test_a_body_that_turns_out_malformed_is_answered_and_counted_for_its_route(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.gone()

    async with StagedBackend(script) as backend:
        metrics = await forwarding(proxy, backend.port)
        client = await proxy.connect()
        client.send(request("POST /", "Transfer-Encoding: chunked") + b"2\r\nxy\r\n")
        await eventually_async(lambda: backend.open, what="the request is on its way")
        client.send(b"zz\r\n")
        assert (await client.read_response()).status == 400
        shown = await metrics.scrape()
        assert shown(REQUESTS, route="all", method="POST", status_code="400") == 1
        assert shown(ERRORS, error="bad_request") == 1
        assert shown(IN_FLIGHT, route="all") == 0


@on_each_loop
async def test_connections_are_counted(proxy: InProcessProxy) -> None:
    metrics = await measured(proxy, says("x"))
    await metrics.scrape()  # opens a connection of its own
    clients = [await proxy.connect() for _ in range(3)]
    for client in clients:
        await client.exchange("GET /")
    await clients[0].gone()
    labels = {"listener": f"listener {proxy.port}", "address": f"127.0.0.1:{proxy.port}"}

    await eventually_async(lambda: proxy.data_plane.status().connections == 3, what="one is gone")
    shown = await metrics.scrape()
    assert shown("vrata_listener_connections_total", **labels) == 4
    assert shown("vrata_listener_active_connections", **labels) == 3
    assert shown.all("vrata_listener_tls_handshake_errors_total") == []


@on_each_loop
async def test_what_a_drain_cuts_is_counted(proxy: InProcessProxy) -> None:
    script = Held()
    async with StagedBackend(script) as backend:
        metrics = await forwarding(proxy, backend.port)
        client = await proxy.connect()
        await begin(client)
        await proxy.data_plane.drain(0)
        script.release.set()
        shown = await metrics.exposition((f"listener-{proxy.port}", f"127.0.0.1:{proxy.port}"), openmetrics=False)
        assert Scraped(shown.decode())(REQUESTS, route="all", status_code="200") == 1


# -- what is collected ------------------------------------------------------------------------------------------------

DIMENSIONS = {
    "route": "vrata_route_",
    "destination": "vrata_destination_",
    "endpoint": "vrata_endpoint_",
    "listener": "vrata_listener_",
}


def shown_dimensions(shown: Scraped) -> set[str]:
    return {name for name, prefix in DIMENSIONS.items() if any(f.name.startswith(prefix) for f in shown.families)}


@pytest.mark.parametrize("dimension", DIMENSIONS)
@on_each_loop
async def test_each_dimension_can_be_left_out_and_added_in_place(proxy: InProcessProxy, dimension: str) -> None:
    async with StagedBackend() as backend:
        every = {"route": True, "destination": True, "endpoint": True, "listener": True}
        without = {**every, dimension: False}
        metrics = await forwarding(proxy, backend.port, metrics={"collect": every})
        client = await proxy.connect()
        await client.exchange("GET /")
        assert shown_dimensions(await metrics.scrape()) == {*DIMENSIONS}
        metrics = await forwarding(proxy, backend.port, metrics={"collect": without})
        await client.exchange("GET /")
        shown = await metrics.scrape()
        assert shown_dimensions(shown) == {*DIMENSIONS} - {dimension}
        metrics = await forwarding(proxy, backend.port, metrics={"collect": every})
        await client.exchange("GET /")
        assert shown_dimensions(await metrics.scrape()) == {*DIMENSIONS}


@on_each_loop
async def test_endpoints_are_left_out_unless_asked_for(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        metrics = await forwarding(proxy, backend.port)
        client = await proxy.connect()
        await client.exchange("GET /")
        assert shown_dimensions(await metrics.scrape()) == {*DIMENSIONS} - {"endpoint"}


@on_each_loop
async def test_other_buckets_begin_anew_and_leave_the_counters(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        metrics = await forwarding(proxy, backend.port)
        client = await proxy.connect()
        await client.exchange("GET /")
        assert len((await metrics.scrape()).all("vrata_route_duration_seconds_bucket")) == 12
        await proxy.apply(
            route("all", forward=forward("b")),
            listeners=[proxy.listener(metrics={"histograms": {"durationBuckets": [60]}})],
            destinations=[destination("b", backend.port)],
        )
        await client.exchange("GET /")
        shown = await metrics.scrape()
        assert shown.all("vrata_route_duration_seconds_bucket") == [1, 1]
        assert shown.all("vrata_destination_duration_seconds_bucket") == [1, 1]
        assert shown(REQUESTS, route="all") == shown(TO_DESTINATION, destination="b") == 2


@on_each_loop
async def test_what_a_snapshot_no_longer_names_is_dropped(proxy: InProcessProxy) -> None:
    script = Held()
    async with StagedBackend(script) as backend:
        routes = [says("kept", path="/kept"), route("held", forward=forward("b"))]
        metrics = await measured(proxy, *routes, destinations=[destination("b", backend.port)])
        client, held = await proxy.connect(), await proxy.connect()
        await client.exchange("GET /kept")
        await client.exchange("GET /kept/not", "Expect: nonsense")
        await begin(held)
        assert {"held", "says-kept", ""} == (await metrics.scrape()).values("route")
        await proxy.apply(says("kept", path="/kept"), listeners=[proxy.listener(metrics={})])
        shown = await metrics.scrape()
        assert shown.values("route") == {"says-kept", ""}
        assert shown.values("destination") == set()
        # What was in flight ends on meters that nobody shows any more.
        script.release.set()
        await held.read_exactly(2)
        shown = await metrics.scrape()
        assert shown.values("route") == {"says-kept", ""}
        assert shown(REQUESTS, route="says-kept") == 1


@on_each_loop
async def test_each_listener_counts_its_own_traffic(proxy: InProcessProxy) -> None:
    other = proxy.listen()
    await proxy.apply(
        says("x"), listeners=[proxy.listener(metrics={}), proxy.listener(other, metrics={"path": "/other"})]
    )
    InProcessMetrics(proxy)
    first, second = await proxy.connect(), await proxy.connect(other)
    await first.exchange("GET /")
    for _ in range(2):
        await second.exchange("GET /metrics")  # a route like any other on that listener
    assert Scraped((await first.exchange("GET /metrics")).body.decode())(REQUESTS) == 1
    shown = Scraped((await second.exchange("GET /other")).body.decode())
    assert shown(REQUESTS) == 2
    assert shown.values("listener") == {f"listener {other}"}


@on_each_loop
async def test_metrics_come_and_go_in_place(proxy: InProcessProxy) -> None:
    await proxy.apply(says("x"))
    metrics = InProcessMetrics(proxy)
    client = await proxy.connect()
    assert (await client.exchange("GET /metrics")).body == b"x"
    await proxy.apply(says("x"), listeners=[proxy.listener(metrics={})])
    await client.exchange("GET /")
    shown = await metrics.scrape()
    assert shown(REQUESTS) == 1
    assert shown("vrata_listener_connections_total") == 1, "the one that came when nobody counted is left out"
    assert shown("vrata_listener_active_connections") == 2
    await proxy.apply(says("x"))
    assert (await client.exchange("GET /metrics")).body == b"x"


# -- scrapes ----------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_a_scrape_comes_before_any_route_and_counts_for_none(proxy: InProcessProxy) -> None:
    metrics = await measured(proxy, says("hidden", path="/metrics"), metrics={"path": "/metrics"})
    client = await proxy.connect()
    for _ in range(2):
        response = await client.exchange("GET /metrics?name%5B%5D=x")
        assert response["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert Scraped(response.body.decode()).all(REQUESTS) == []
    assert (await metrics.scrape()).all(IN_FLIGHT) == []


@pytest.mark.parametrize("target", ["/metrics/", "/metrics/x", "/Metrics", "//metrics", "/x/../metrics"])
@on_each_loop
async def test_the_path_is_exact(proxy: InProcessProxy, target: str) -> None:
    await measured(proxy, says("routed"))
    client = await proxy.connect()
    assert (await client.exchange(f"GET {target}")).body == b"routed"


@on_each_loop
async def test_openmetrics_for_who_asks(proxy: InProcessProxy) -> None:
    await measured(proxy, says("x"))
    client = await proxy.connect()
    await client.exchange("GET /")
    response = await client.exchange("GET /metrics", "Accept: application/openmetrics-text;version=1.0.0")
    assert response["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert Scraped(response.body.decode(), openmetrics=True)(REQUESTS, status_code="200") == 1


@on_each_loop
async def test_head_tells_what_get_would(proxy: InProcessProxy) -> None:
    await measured(proxy, says("x"))
    client = await proxy.connect()
    get, head = await client.exchange("GET /metrics"), await client.exchange("HEAD /metrics")
    assert (head.status, head.body, head["content-length"]) == (200, b"", str(len(get.body)))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
@on_each_loop
async def test_metrics_are_only_read(proxy: InProcessProxy, method: str) -> None:
    await measured(proxy, says("x"))
    client = await proxy.connect()
    response = await client.exchange(f"{method} /metrics", body=b"{}")
    assert (response.status, response["allow"]) == (405, "GET, HEAD")
    assert (await client.exchange("GET /")).body == b"x"


@on_each_loop
async def test_without_anybody_who_knows_a_scrape_is_refused(proxy: InProcessProxy) -> None:
    await proxy.apply(says("x"), listeners=[proxy.listener(metrics={})])
    client = await proxy.connect()
    response = await client.exchange("GET /metrics")
    assert response.status == 503
    assert b'"metrics_unavailable"' in response.body
    assert (await client.exchange("GET /")).body == b"x"
