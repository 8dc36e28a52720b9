"""Retries of a forwarded request, over real sockets: when there are some, where they go, and how they end."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import AsyncExitStack
from itertools import pairwise
from typing import Any

import pytest

from tests.support.conditions import eventually_async
from tests.support.faulty_backend import DeadPorts
from tests.support.forwarding import error
from tests.support.gateway import destination, forward, route
from tests.support.held_response import says
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.raw_http import TruncatedResponse
from tests.support.retries import AT_ONCE, Answer, close, in_turn, reset, respond, retry_budget, retry_to, silence
from tests.support.staged_backend import ReceivedRequest, StagedBackend, StagedConnection, answer_ok
from tests.support.stream_client import request

COUNTERS = ("x-vrata-attempt-count", "x-request-attempt-count")
LARGE = b"x" * 300_000
LAST = "Connection: close"
"""Of a response after which the next attempt cannot meet a pooled connection."""


# -- which failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "members", "is_retried"),
    [
        pytest.param(respond(500), {}, True, id="500"),
        pytest.param(respond(503, LARGE), {}, True, id="503 with a large body"),
        pytest.param(respond(404), {}, False, id="404"),
        pytest.param(reset, {}, True, id="reset"),
        pytest.param(close, {}, True, id="close"),
        pytest.param(silence, {"perAttemptTimeout": "500ms"}, True, id="silence"),
        pytest.param(respond(500), {"on": ["gateway-error"]}, False, id="500 is no gateway error"),
        pytest.param(respond(502), {"on": ["gateway-error"]}, True, id="502"),
        pytest.param(reset, {"on": ["server-error"]}, False, id="reset is no server error"),
        pytest.param(silence, {"on": ["server-error"], "perAttemptTimeout": "100ms"}, False, id="silence is none"),
        pytest.param(respond(500), {"on": ["connection-failure"]}, False, id="500 is no connection failure"),
        pytest.param(respond(409), {"on": ["retriable-codes"], "retriableCodes": [409]}, True, id="409"),
        pytest.param(respond(409), {"retriableCodes": [409]}, False, id="409 without its condition"),
        pytest.param(respond(500), {"attempts": 0}, False, id="no attempts"),
    ],
)
@on_each_loop
async def test_what_is_retried(
    proxy: InProcessProxy, failure: Answer, members: dict[str, Any], is_retried: bool
) -> None:
    async with StagedBackend(in_turn(failure)) as backend:
        await retry_to(proxy, backend.port, **{"attempts": 1, **members})
        client = await proxy.connect()
        response = await client.exchange("GET /path?query", "X-Field: value")
        assert len(backend.requests) == (2 if is_retried else 1)
        assert (response.body == b"ok") is is_retried
        if is_retried:
            first, second = backend.requests
            assert (first.line, first.fields) == (second.line, second.fields)
            assert (await client.exchange("GET /")).body == b"ok"
            assert retry_budget(proxy).is_idle


@pytest.mark.parametrize(
    ("failure", "on", "is_retried"),
    [
        pytest.param(respond(503), None, False, id="503 by default"),
        pytest.param(respond(503), ["server-error"], True, id="503 as stated"),
        pytest.param(reset, None, False, id="reset"),
        pytest.param(reset, ["connection-failure"], False, id="reset although stated"),
        pytest.param(silence, ["connection-failure"], False, id="silence although stated"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PATCH"])
@on_each_loop
async def test_what_may_have_been_done_is_not_done_again(
    proxy: InProcessProxy, method: str, failure: Answer, on: list[str] | None, is_retried: bool
) -> None:
    async with StagedBackend(in_turn(failure)) as backend:
        members: dict[str, Any] = {} if on is None else {"on": on}
        limit = "200ms" if failure is silence else "20s"
        await retry_to(proxy, backend.port, attempts=1, perAttemptTimeout=limit, **members)
        client = await proxy.connect()
        response = await client.exchange(f"{method} /", body=b"content")
        assert (response.status == 200) is is_retried
        assert [found.body for found in backend.requests] == [b"content"] * (2 if is_retried else 1)


@on_each_loop
async def test_a_post_that_was_not_sent_is_sent_elsewhere(proxy: InProcessProxy) -> None:
    with DeadPorts() as dead:
        async with StagedBackend() as backend:
            for port in (dead.refused, dead.full):
                await retry_to(proxy, port, backend.port, limits={"connect": "300ms"}, attempts=1)
                client = await proxy.connect()
                for _ in range(4):
                    assert (await client.exchange("POST /", body=b"content")).body == b"ok"
            assert [found.body for found in backend.requests] == [b"content"] * 8


@on_each_loop
async def test_names_that_do_not_resolve_are_retried(proxy: InProcessProxy) -> None:
    document = destination("backend", 80)
    async with StagedBackend() as backend:
        document["endpoints"] = [{"host": "name.invalid", "port": 80}, {"host": "127.0.0.1", "port": backend.port}]
        settings = forward("backend", retry={"attempts": 1, "backoff": AT_ONCE})
        await proxy.apply(route("all", forward=settings), destinations=[document])
        client = await proxy.connect()
        for _ in range(2):
            assert (await client.exchange("POST /", body=b"x")).body == b"ok"


# -- where, and how often ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["ROUND_ROBIN", "RANDOM", "LEAST_REQUEST", "PEAK_EWMA", "RING_HASH", "MAGLEV"])
@on_each_loop
async def test_each_attempt_goes_to_another_endpoint(proxy: InProcessProxy, algorithm: str) -> None:
    order: list[int] = []

    def failing(number: int) -> StagedBackend:
        async def script(connection: StagedConnection) -> None:
            while True:
                await connection.read_request()
                order.append(number)
                connection.respond(status=503)

        return StagedBackend(script)

    async with AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(failing(number)) for number in range(3)]
        balancing = {"endpointBalancing": {"algorithm": algorithm}}
        await retry_to(proxy, *(backend.port for backend in backends), options=balancing, attempts=5)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 503
        assert len(order) == 6
        assert set(order[:3]) == {0, 1, 2}
        assert all(first != second for first, second in pairwise(order))


@on_each_loop
async def test_the_last_response_is_passed_on_whole(proxy: InProcessProxy) -> None:
    async with StagedBackend(
        in_turn(respond(500, b"first", LAST), reset, respond(502, LARGE, "X-Which: last"))
    ) as backend:
        await retry_to(proxy, backend.port, attempts=2)
        client = await proxy.connect()
        response = await client.exchange("GET /")
        assert (response.status, response["x-which"], response.body) == (502, "last", LARGE)
        assert len(backend.requests) == 3
        assert (await client.exchange("GET /")).body == b"ok"


@on_each_loop
async def test_the_last_error_is_the_answer(proxy: InProcessProxy) -> None:
    with DeadPorts() as dead:
        async with StagedBackend(in_turn(respond(503, b"", LAST), reset)) as backend:
            await retry_to(proxy, backend.port, attempts=1)
            client = await proxy.connect()
            assert error(await client.exchange("GET /")) == (502, "connection_reset")
            await retry_to(proxy, dead.refused, attempts=2)
            response = await client.exchange("GET /")
            assert error(response) == (502, "connection_refused")
            assert json.loads(response.body)["endpoint"] == f"127.0.0.1:{dead.refused}"


@pytest.mark.parametrize(
    ("own", "default", "attempts"),
    [
        pytest.param({}, {"attempts": 2}, 3, id="default"),
        pytest.param({"attempts": 1}, {"attempts": 2}, 2, id="own"),
        pytest.param({"attempts": 0}, {"attempts": 2}, 1, id="switched off"),
    ],
)
@on_each_loop
async def test_the_default_of_the_group(
    proxy: InProcessProxy, own: dict[str, Any], default: dict[str, Any], attempts: int
) -> None:
    async with StagedBackend(in_turn(*[respond(500)] * 3)) as backend:
        await retry_to(proxy, backend.port, group={"retryDefault": {"backoff": AT_ONCE, **default}}, **own)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 500
        assert len(backend.requests) == attempts


@on_each_loop
async def test_a_dead_pooled_connection_costs_no_attempt(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        # Every connection dies with its second request in its hands.
        await connection.read_request()
        connection.respond(b"ok", status=200 if connection.number == 0 else 503)
        await connection.read_head()

    async with StagedBackend(script) as backend:
        await retry_to(proxy, backend.port, group={"includeAttemptCount": True}, attempts=1)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 200
        assert (await client.exchange("GET /")).status == 503
        assert [found.all(COUNTERS[0]) for found in backend.requests] == [["1"], ["1"], ["1"], ["2"], ["2"]]


@on_each_loop
async def test_an_upgrade_is_not_retried(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(503))) as backend:
        await retry_to(proxy, backend.port, attempts=3)
        client = await proxy.connect()
        response = await client.exchange("GET /", "Connection: Upgrade", "Upgrade: websocket")
        assert (response.status, len(backend.requests)) == (503, 1)


@on_each_loop
async def test_a_response_that_has_begun_is_not_retried(proxy: InProcessProxy) -> None:
    async def breaks_off(connection: StagedConnection, found: ReceivedRequest) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab")
        await connection.flush()
        raise EOFError

    async with StagedBackend(in_turn(breaks_off)) as backend:
        await retry_to(proxy, backend.port, attempts=3)
        client = await proxy.connect()
        with pytest.raises((TruncatedResponse, ConnectionResetError)):
            await client.exchange("GET /")
        assert len(backend.requests) == 1


@on_each_loop
async def test_requests_that_may_not_even_wait_are_not_retried(
    proxy: InProcessProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vrata.proxy.upstream.queue.MAX_WAITING", 0)
    async with StagedBackend(in_turn(silence)) as backend:
        await retry_to(proxy, backend.port, options={"maxConnsPerHost": 1}, attempts=3)
        first, second = await proxy.connect(), await proxy.connect()
        first.send(request("GET /first"))
        await eventually_async(lambda: backend.requests, what="the only connection is taken")
        assert error(await second.exchange("GET /second")) == (503, "circuit_open")


@on_each_loop
async def test_a_request_that_waited_too_long_for_a_connection_was_not_sent(proxy: InProcessProxy) -> None:
    release = asyncio.Event()

    async def hold(connection: StagedConnection, found: ReceivedRequest) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        await release.wait()
        connection.send(b"ok")

    async with StagedBackend(in_turn(hold)) as backend:
        pause = {"base": "100ms", "max": "100ms"}
        limit = {"maxConnsPerHost": 1}
        await retry_to(proxy, backend.port, options=limit, attempts=1, perAttemptTimeout="500ms", backoff=pause)
        first, second = await proxy.connect(), await proxy.connect()
        first.send(request("GET /first"))
        assert (await first.read_head()).status == 200
        second.send(request("POST /second", body=b"content"))
        await eventually_async(lambda: retry_budget(proxy).retrying == 1, what="the pause of the second request")
        release.set()
        assert (await second.read_response()).body == b"ok"
        assert [found.body for found in backend.requests] == [b"", b"content"]


# -- the number of the attempt ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "retry", "told"),
    [
        pytest.param({"includeAttemptCount": True}, {"attempts": 2}, [["1"], ["2"], ["3"]], id="asked for"),
        pytest.param({"includeAttemptCount": True}, {}, [["1"]], id="without retries"),
        pytest.param({}, {"attempts": 2}, [[], [], []], id="not asked for"),
        pytest.param(None, {}, [[]], id="no group"),
    ],
)
@on_each_loop
async def test_the_backend_is_told_the_number_of_the_attempt(
    proxy: InProcessProxy, group: dict[str, Any] | None, retry: dict[str, Any], told: list[list[str]]
) -> None:
    async with StagedBackend(in_turn(respond(500), respond(500))) as backend:
        await retry_to(proxy, backend.port, group=group, **retry)
        client = await proxy.connect()
        lies = [f"{name}: 77" for name in ("X-Vrata-Attempt-Count", "x-request-attempt-count", "X_Vrata_Attempt_Count")]
        await client.exchange("PUT /", *lies, "X-Last: kept", body=b"content")
        assert [found.all(COUNTERS[0]) for found in backend.requests] == told
        assert [found.all(COUNTERS[1]) for found in backend.requests] == told
        assert all(found.body == b"content" and found.all("x-last") == ["kept"] for found in backend.requests)
        assert not any("x_vrata_attempt_count" in found.names for found in backend.requests)


# -- limits of time ---------------------------------------------------------------------------------------------------


@on_each_loop
async def test_the_limit_of_an_attempt_does_not_cut_a_body(proxy: InProcessProxy) -> None:
    release = asyncio.Event()

    async def slow(connection: StagedConnection, found: ReceivedRequest) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
        await release.wait()
        connection.send(b"cd")

    async with StagedBackend(in_turn(silence, slow)) as backend:
        await retry_to(proxy, backend.port, attempts=1, perAttemptTimeout="500ms")
        client = await proxy.connect()
        client.send(request("GET /"))
        assert (await client.read_head()).status == 200
        assert await client.read_exactly(2) == b"ab"
        assert await client.is_silent(0.7)
        release.set()
        assert await client.read_exactly(2) == b"cd"


@on_each_loop
async def test_attempts_that_all_take_too_long(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(silence, silence, silence)) as backend:
        # A connection that comes about too late for its attempt is kept.
        limits = {"idleConnection": "300ms"}
        await retry_to(proxy, backend.port, limits=limits, attempts=2, perAttemptTimeout="200ms")
        client = await proxy.connect()
        assert error(await client.exchange("GET /")) == (504, "timeout")
        assert len(backend.requests) == 3
        await eventually_async(lambda: backend.open == 0, what="every attempt is cancelled")


@on_each_loop
async def test_the_response_header_limit_begins_with_each_attempt(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(silence, silence)) as backend:
        await retry_to(proxy, backend.port, limits={"responseHeader": "500ms"}, attempts=2)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).body == b"ok"
        assert len(backend.requests) == 3


@pytest.mark.parametrize("where", ["route", "destination"])
@on_each_loop
async def test_the_request_budget_is_over_all_attempts(proxy: InProcessProxy, where: str) -> None:
    budget = {"request": "250ms"}
    async with StagedBackend(in_turn(*[silence] * 9)) as backend:
        await retry_to(
            proxy,
            backend.port,
            limits=budget if where == "destination" else None,
            timeouts=budget if where == "route" else None,
            attempts=9,
            perAttemptTimeout="80ms",
        )
        client = await proxy.connect()
        began = time.monotonic()
        assert error(await client.exchange("GET /")) == (504, "timeout")
        assert 0.2 <= time.monotonic() - began < 15
        assert 1 <= len(backend.requests) <= 4


@on_each_loop
async def test_a_pause_that_would_pass_the_budget_is_not_begun(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(503, b"as it is", LAST), reset)) as backend:
        slow = {"base": "1m", "max": "1m"}
        await retry_to(proxy, backend.port, timeouts={"request": "20s"}, attempts=3, backoff=slow)
        client = await proxy.connect()
        response = await client.exchange("GET /")
        assert (response.status, response.body) == (503, b"as it is")
        assert error(await client.exchange("GET /")) == (502, "connection_reset")
        assert len(backend.requests) == 2


@on_each_loop
async def test_the_pauses(proxy: InProcessProxy) -> None:
    times: list[float] = []

    async def fail(connection: StagedConnection, found: ReceivedRequest) -> None:
        times.append(time.monotonic())
        connection.respond(status=503)

    async with StagedBackend(in_turn(fail, fail, fail)) as backend:
        await retry_to(proxy, backend.port, attempts=2, backoff={"base": "80ms", "max": "100ms"})
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 503
        first, second = (later - earlier for earlier, later in pairwise(times))
        # A backend may learn of the first attempt later than of the next one.
        assert 0.035 <= first < 15
        assert 0.045 <= second < 15


# -- together ---------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_few_requests_retry_at_the_same_time(proxy: InProcessProxy) -> None:
    release = asyncio.Event()
    first_ones: set[str] = set()

    async def script(connection: StagedConnection) -> None:
        while True:
            found = await connection.read_request()
            if found.target in first_ones:
                await release.wait()
                connection.respond(b"ok")
            else:
                first_ones.add(found.target)
                connection.respond(status=503)

    async with StagedBackend(script) as backend:
        await retry_to(proxy, backend.port, attempts=1)
        clients = [await proxy.connect() for _ in range(10)]
        for number, client in enumerate(clients):
            client.send(request(f"GET /{number}"))
        await eventually_async(lambda: len(backend.requests) == 13, what="ten requests and three retries")
        release.set()
        statuses = sorted([(await client.read_response()).status for client in clients])
        assert statuses == [200] * 3 + [503] * 7
        assert retry_budget(proxy).is_idle


@on_each_loop
async def test_what_is_counted(proxy: InProcessProxy) -> None:
    metrics = proxy.listener(metrics={"collect": {"endpoint": True}})
    with DeadPorts() as dead:
        async with StagedBackend(in_turn(respond(503), respond(200), respond(200))) as backend:
            await retry_to(proxy, dead.refused, backend.port, listeners=[metrics], attempts=3, group={})
            shown_by = InProcessMetrics(proxy)
            client = await proxy.connect()
            # The dead one, the other with 503, the dead one again, the other.
            assert (await client.exchange("GET /")).status == 200
            shown = await shown_by.scrape()
            retries = {"route": "all", "group": "g"}
            counts = [shown("vrata_route_retries_total", **retries, attempt=str(number)) for number in (1, 2, 3)]
            assert counts == [1, 1, 1]
            assert shown("vrata_route_requests_total", **retries, status_code="200") == 1
            assert shown("vrata_destination_requests_total", destination="backend", status_code="200") == 1
            assert len(shown.all("vrata_destination_requests_total")) == 1
            refused, other = ({"endpoint": f"127.0.0.1:{port}"} for port in (dead.refused, backend.port))
            assert shown("vrata_endpoint_requests_total", **refused, status_code="502") == 2
            assert shown("vrata_endpoint_consecutive_5xx", **refused) == 2
            assert shown("vrata_endpoint_requests_total", **other, status_code="503") == 1
            assert shown("vrata_endpoint_requests_total", **other, status_code="200") == 1
            assert shown("vrata_endpoint_consecutive_5xx", **other) == 0
            for name in ("vrata_destination_inflight_requests", "vrata_route_inflight_requests"):
                assert all(value == 0 for value in shown.all(name))


@on_each_loop
async def test_a_swap_in_a_pause_changes_nothing_for_the_request(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(503))) as backend, StagedBackend(answer_ok) as other:
        pause = {"base": "300ms", "max": "300ms"}
        await retry_to(proxy, backend.port, attempts=1, backoff=pause)
        client = await proxy.connect()
        client.send(request("GET /"))
        await eventually_async(lambda: backend.requests, what="the first attempt")
        await eventually_async(lambda: not retry_budget(proxy).is_idle, what="the pause")
        await retry_to(proxy, other.port)
        await proxy.apply(says("other"))
        assert (await client.read_response()).body == b"ok"  # by the plan it began with, which is gone
        assert len(backend.requests) == 2
        assert (await client.exchange("GET /")).body == b"other"
        await eventually_async(lambda: backend.open == 0, what="the pool of the old plan is closed")


@on_each_loop
async def test_a_drain_waits_for_a_request_in_a_pause(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(503))) as backend:
        await retry_to(proxy, backend.port, attempts=1, backoff={"base": "300ms", "max": "300ms"})
        client = await proxy.connect()
        client.send(request("GET /"))
        await eventually_async(lambda: backend.requests, what="the first attempt")
        assert await proxy.data_plane.drain(10) is True
        response = await client.read_response()
        assert (response.body, response["connection"]) == (b"ok", "close")
