"""Calls of gRPC on their way: deadlines, retries on codes, and what endpoints are judged by."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.support.conditions import eventually_async
from tests.support.faulty_backend import DeadPorts
from tests.support.gateway import route
from tests.support.grpc_answers import CALL, MESSAGE, cut, status_alone, status_of, streamed
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.raw_http import Response
from tests.support.retries import in_turn, respond, retry_budget, retry_to, silence
from tests.support.staged_backend import StagedBackend
from tests.support.stream_client import StreamClient, request
from vrata.policy.circuit_breaker import described
from vrata.policy.grpc_status import (
    DEADLINE_EXCEEDED,
    INTERNAL,
    RESOURCE_EXHAUSTED,
    UNAVAILABLE,
    UNIMPLEMENTED,
    UNKNOWN,
)


async def call(client: StreamClient, *fields: str, path: str = "/a.B/C") -> Response:
    return await client.exchange(f"POST {path}", *CALL, *fields, body=MESSAGE)


async def begin(client: StreamClient, *fields: str) -> None:
    """Send a call, and read the head of its answer."""
    client.send(request("POST /a.B/C", *CALL, *fields, body=MESSAGE))
    assert (await client.read_head()).status == 200


def streak(proxy: InProcessProxy, port: int) -> int:
    """Failures in a row of the endpoint on *port*."""
    word = proxy.data_plane._registry.counts.word(f"5xx backend 127.0.0.1:{port}")
    try:
        return word.value
    finally:
        word.leave()


def circuit(proxy: InProcessProxy) -> str:
    word = proxy.data_plane._registry.counts.word("breaker backend")
    try:
        return described(word.value).state
    finally:
        word.leave()


# -- what the proxy itself answers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detail", "message"),
    [("minimal", "no_route"), ("standard", "no_route: no matching route")],
)
@on_each_loop
async def test_a_call_that_no_route_matches(proxy: InProcessProxy, detail: str, message: str) -> None:
    await proxy.apply(listeners=[proxy.listener(proxyErrors={"detail": detail})])
    client = await proxy.connect()
    assert status_of(await call(client)) == (UNIMPLEMENTED, message)
    # What is no gRPC gets JSON, on the same connection.
    for content_type in ("application/grpc-web+proto", "application/json"):
        response = await client.exchange("POST /", f"Content-Type: {content_type}", body=b"x")
        assert (response.status, response["content-type"]) == (404, "application/json")


@on_each_loop
async def test_a_call_to_nobody(proxy: InProcessProxy) -> None:
    with DeadPorts() as dead:
        await retry_to(proxy, dead.refused)
        client = await proxy.connect()
        code, message = status_of(await call(client))
    assert code == UNAVAILABLE
    assert message.startswith(
        f"connection_refused: upstream connection refused (destination backend; endpoint 127.0.0.1:{dead.refused}; "
    )
    assert message.endswith(f"127.0.0.1:{dead.refused} tried upstream connection refused)")


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        (("Expect: nothing",), UNKNOWN, "bad_request: unknown expectation"),
        (("Content-Length: 1", "Content-Length: 1"), INTERNAL, "bad_request: malformed Content-Length"),
        ((f"X: {'y' * 3000}",), RESOURCE_EXHAUSTED, "request_headers_too_large: request headers too large"),
    ],
)
@on_each_loop
async def test_what_is_no_acceptable_request(
    proxy: InProcessProxy, fields: tuple[str, ...], code: int, message: str
) -> None:
    await proxy.apply(listeners=[proxy.listener(maxRequestHeadersKB=2)])
    client = await proxy.connect()
    client.send(request("POST /a.B/C", *CALL, *fields))
    assert status_of(await client.read_response("POST")) == (code, message)
    assert await client.ending() == "closed"


@on_each_loop
async def test_what_is_configured_is_answered_as_configured(proxy: InProcessProxy) -> None:
    await proxy.apply(route("r", {"grpc": True}, directResponse={"status": 418, "body": "no"}))
    client = await proxy.connect()
    response = await call(client)
    assert (response.status, response.body) == (418, b"no")


@on_each_loop
async def test_a_route_whose_middlewares_cannot_run(proxy: InProcessProxy) -> None:
    await proxy.apply(route("r", directResponse={"status": 200}, middlewareIds=["m"]))
    client = await proxy.connect()
    assert status_of(await call(client)) == (INTERNAL, "middleware unavailable")
    assert (await client.exchange("GET /")).status == 500


# -- deadlines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "members", "shortest"),
    [
        pytest.param("200m", {}, 0.2, id="the client's"),
        pytest.param("1H", {"maxGrpcTimeout": "200ms"}, 0.2, id="the cap of it"),
        pytest.param("0n", {}, 0.0, id="one that has passed"),
        pytest.param("1H", {"timeouts": {"request": "200ms"}}, 0.2, id="ours"),
        pytest.param("soon", {"timeouts": {"request": "200ms"}}, 0.2, id="ours beside one that is none"),
        pytest.param("200m", {"timeouts": {"request": "0s"}}, 0.2, id="the client's where we have none"),
    ],
)
@on_each_loop
async def test_a_call_has_the_smaller_of_both_budgets(
    proxy: InProcessProxy, value: str, members: dict[str, Any], shortest: float
) -> None:
    async with StagedBackend(in_turn(silence)) as backend:
        # A connection that comes about too late for its request is kept.
        await retry_to(proxy, backend.port, limits={"idleConnection": "200ms"}, forwarding=members)
        client = await proxy.connect()
        began = time.monotonic()
        code, message = status_of(await call(client, f"grpc-timeout: {value}"))
        assert shortest <= time.monotonic() - began < 9  # and not what the other one would be
        assert code == DEADLINE_EXCEEDED
        assert message.startswith("timeout: request timeout")
        # The backend's work is cancelled.
        await eventually_async(lambda: backend.open == 0, what="the upstream connection is closed")


@on_each_loop
async def test_a_deadline_is_the_clients_word_in_calls_alone(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await retry_to(proxy, backend.port)
        client = await proxy.connect()
        response = await client.exchange("POST /", "grpc-timeout: 0n", "content-type: application/json", body=b"{}")
        assert response.body == b"ok"


@on_each_loop
async def test_a_deadline_ends_a_response_that_has_begun(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(streamed(0, MESSAGE, release=asyncio.Event()))) as backend:
        await retry_to(proxy, backend.port)
        client = await proxy.connect()
        await begin(client, "grpc-timeout: 200m")
        assert await client.ending() == "reset"


@on_each_loop
async def test_who_is_in_a_hurry_takes_nobody_out(proxy: InProcessProxy) -> None:
    options = {"outlierDetection": {}, "circuitBreaker": {"failureThreshold": 1}}
    async with StagedBackend(in_turn(silence, status_alone(DEADLINE_EXCEEDED), silence)) as backend:
        await retry_to(proxy, backend.port, options=options, limits={"responseHeader": "100ms"})
        client = await proxy.connect()
        for fields in (("grpc-timeout: 1m",), ("grpc-timeout: 1H",)):
            assert (await call(client, *fields))["grpc-status"] == str(DEADLINE_EXCEEDED)
            assert (streak(proxy, backend.port), circuit(proxy)) == (0, "closed")
        # A limit of ours is one that the backend has to keep.
        assert status_of(await call(client, "grpc-timeout: 1H"))[0] == DEADLINE_EXCEEDED
        assert (streak(proxy, backend.port), circuit(proxy)) == (1, "open")


# -- retries ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "on", "is_retried"),
    [
        pytest.param(1, ["cancelled"], True, id="CANCELLED"),
        pytest.param(4, ["deadline-exceeded"], True, id="DEADLINE_EXCEEDED"),
        pytest.param(13, ["internal"], True, id="INTERNAL"),
        pytest.param(8, ["resource-exhausted"], True, id="RESOURCE_EXHAUSTED"),
        pytest.param(14, ["unavailable"], True, id="UNAVAILABLE"),
        pytest.param(14, ["server-error", "internal"], False, id="another code"),
        pytest.param(14, None, False, id="by default"),
        pytest.param(14, ["server-error", "gateway-error"], False, id="statuses of HTTP"),
        pytest.param(0, ["unavailable"], False, id="OK"),
        pytest.param(99, ["unavailable"], False, id="a code that does not exist"),
    ],
)
@on_each_loop
async def test_which_codes_are_retried(
    proxy: InProcessProxy, code: int, on: list[str] | None, is_retried: bool
) -> None:
    async with StagedBackend(in_turn(status_alone(code), streamed(0, MESSAGE))) as backend:
        members: dict[str, Any] = {} if on is None else {"on": on}
        await retry_to(proxy, backend.port, attempts=1, **members)
        client = await proxy.connect()
        response = await call(client)
        assert [found.body for found in backend.requests] == [MESSAGE] * (2 if is_retried else 1)
        if is_retried:
            assert (response.body, response.trailers) == (MESSAGE, (("grpc-status", "0"),))
            assert retry_budget(proxy).is_idle
        else:
            assert response["grpc-status"] == str(code)


@on_each_loop
async def test_a_code_behind_a_message_is_not_retried(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(streamed(UNAVAILABLE), streamed(UNAVAILABLE, MESSAGE))) as backend:
        await retry_to(proxy, backend.port, attempts=1, on=["unavailable"])
        client = await proxy.connect()
        for expected in (b"", MESSAGE):
            response = await call(client)
            assert (response.body, response.trailers) == (expected, (("grpc-status", "14"),))
        assert len(backend.requests) == 2


@on_each_loop
async def test_only_calls_are_retried_on_codes(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(status_alone(UNAVAILABLE))) as backend:
        await retry_to(proxy, backend.port, attempts=1, on=["unavailable"])
        client = await proxy.connect()
        assert (await client.exchange("GET /"))["grpc-status"] == "14"
        assert len(backend.requests) == 1


@on_each_loop
async def test_a_status_of_http_is_retried_as_for_any_request(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(503), status_alone(UNAVAILABLE), streamed(0, MESSAGE))) as backend:
        await retry_to(proxy, backend.port, attempts=2, on=["gateway-error", "unavailable"])
        client = await proxy.connect()
        assert (await call(client)).body == MESSAGE
        assert len(backend.requests) == 3


@on_each_loop
async def test_the_last_status_is_the_answer(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(*[status_alone(UNAVAILABLE)] * 3)) as backend:
        await retry_to(proxy, backend.port, attempts=2, on=["unavailable"], options={"outlierDetection": {}})
        client = await proxy.connect()
        assert (await call(client))["grpc-status"] == "14"
        assert len(backend.requests) == 3
        assert streak(proxy, backend.port) == 3  # every attempt counts
        assert retry_budget(proxy).is_idle


@on_each_loop
async def test_no_attempt_is_begun_that_the_deadline_would_end(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(status_alone(UNAVAILABLE))) as backend:
        backoff = {"base": "10s", "max": "10s"}
        await retry_to(proxy, backend.port, attempts=1, on=["unavailable"], backoff=backoff)
        client = await proxy.connect()
        assert (await call(client, "grpc-timeout: 1S"))["grpc-status"] == "14"
        assert len(backend.requests) == 1


@pytest.mark.parametrize("cap", [{}, {"maxGrpcTimeout": "5s"}])
@on_each_loop
async def test_each_attempt_is_told_how_much_time_is_left(proxy: InProcessProxy, cap: dict[str, str]) -> None:
    async with StagedBackend(in_turn(*[status_alone(UNAVAILABLE)] * 2, streamed(0, MESSAGE))) as backend:
        backoff = {"base": "100ms", "max": "100ms"}
        await retry_to(proxy, backend.port, attempts=2, on=["unavailable"], backoff=backoff, forwarding=cap)
        client = await proxy.connect()
        assert (await call(client, "grpc-timeout: 4S")).body == MESSAGE
        first, second, third = (found.all("grpc-timeout") for found in backend.requests)
        assert first == ["4S"]
        left = [float(value[0].removesuffix("m")) / 1000 for value in (second, third)]
        assert 4 > left[0] > left[1] > 2


@on_each_loop
async def test_other_requests_are_told_nothing(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(503))) as backend:
        await retry_to(proxy, backend.port, attempts=1, on=["gateway-error"])
        client = await proxy.connect()
        assert (await client.exchange("GET /", "grpc-timeout: 4S")).body == b"ok"
        assert [found.all("grpc-timeout") for found in backend.requests] == [["4S"], ["4S"]]


# -- what endpoints are judged by -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "failures"),
    [
        pytest.param(0, 0, id="OK"),
        pytest.param(2, 1, id="UNKNOWN"),
        pytest.param(4, 1, id="DEADLINE_EXCEEDED without a deadline"),
        pytest.param(5, 0, id="NOT_FOUND"),
        pytest.param(8, 0, id="RESOURCE_EXHAUSTED"),
        pytest.param(12, 0, id="UNIMPLEMENTED"),
        pytest.param(13, 1, id="INTERNAL"),
        pytest.param(14, 1, id="UNAVAILABLE"),
        pytest.param(15, 1, id="DATA_LOSS"),
    ],
)
@on_each_loop
async def test_a_call_is_judged_by_its_code(proxy: InProcessProxy, code: int, failures: int) -> None:
    options = {"outlierDetection": {}, "circuitBreaker": {"failureThreshold": 1, "openDuration": "1ms"}}
    release = asyncio.Event()
    kinds = [status_alone(code), streamed(code), streamed(code, MESSAGE), streamed(code, MESSAGE, release=release)]
    expected = "open" if failures else "closed"
    for answer in kinds:
        async with StagedBackend(in_turn(answer)) as backend:
            await retry_to(proxy, backend.port, options=options)
            client = await proxy.connect()
            await begin(client)
            release.set()
            await eventually_async(
                lambda port=backend.port: (streak(proxy, port), circuit(proxy)) == (failures, expected),  # type: ignore[misc]
                what=f"the verdict on {answer}",
            )
            proxy.data_plane._registry.counts.word("breaker backend").put(0)


@pytest.mark.parametrize("messages", [(), (MESSAGE,), (MESSAGE, MESSAGE)])
@on_each_loop
async def test_a_stream_that_is_cut_is_a_failure(proxy: InProcessProxy, messages: tuple[bytes, ...]) -> None:
    release = asyncio.Event()
    async with StagedBackend(in_turn(cut(release, *messages))) as backend:
        await retry_to(proxy, backend.port, options={"outlierDetection": {}, "circuitBreaker": {"failureThreshold": 1}})
        client = await proxy.connect()
        await begin(client)
        release.set()
        assert await client.ending() == "reset"
        assert streak(proxy, backend.port) == 1
        assert circuit(proxy) == "open"


@pytest.mark.parametrize(("messages", "failures"), [((), 1), ((MESSAGE,), 0)])
@on_each_loop
async def test_a_stream_that_our_time_limit_ends_is_none_once_there_are_messages(
    proxy: InProcessProxy, messages: tuple[bytes, ...], failures: int
) -> None:
    async with StagedBackend(in_turn(streamed(0, *messages, release=asyncio.Event()))) as backend:
        options = {"outlierDetection": {}, "circuitBreaker": {"failureThreshold": 1}}
        await retry_to(proxy, backend.port, timeouts={"request": "300ms"}, options=options)
        client = await proxy.connect()
        await begin(client)
        assert await client.ending() == "reset"
        assert streak(proxy, backend.port) == failures
        assert circuit(proxy) == ("open" if failures else "closed")


@on_each_loop
async def test_the_probe_of_a_circuit_is_believed_when_its_stream_begins(proxy: InProcessProxy) -> None:
    release = asyncio.Event()
    answers = [status_alone(UNAVAILABLE), streamed(0, release=release), streamed(0, MESSAGE)]
    async with StagedBackend(in_turn(*answers)) as backend:
        breaker = {"failureThreshold": 1, "openDuration": "50ms"}
        await retry_to(proxy, backend.port, options={"circuitBreaker": breaker})
        client, other = await proxy.connect(), await proxy.connect()
        assert (await call(client))["grpc-status"] == "14"
        assert circuit(proxy) == "open"
        await asyncio.sleep(0.1)  # the open time itself
        await begin(client)
        assert circuit(proxy) == "closed"
        assert (await call(other)).body == MESSAGE
        release.set()
