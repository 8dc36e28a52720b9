"""How streams and connections of HTTP/2 end when something is wrong, and what is learnt of it."""

from __future__ import annotations

import asyncio

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.support import http2_frames as frames
from tests.support.conditions import eventually_async
from tests.support.http2_backend import Http2Request
from tests.support.http2_endpoint import Attempt, Endpoint, with_endpoint
from tests.unit.proxy.upstream.test_http2_pool import NOTHING, answered
from vrata.policy.balancing.peak_ewma import FAILED, PeakEwma
from vrata.proxy.contracts import FailureClass
from vrata.proxy.upstream import http2_connection, left_streams
from vrata.wire.http2 import guard

TUNNELS = {SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
WINDOW = 65535


@with_endpoint()
async def test_a_stream_that_is_reset_is_a_failure_of_the_endpoint(endpoint: Endpoint) -> None:
    latency = endpoint.pool.latency = PeakEwma()
    endpoint.attempt()
    connection = await endpoint.backend.accept()
    await answered(connection, endpoint)
    assert latency.expected(endpoint.pool.time()) < FAILED / 2
    attempt = endpoint.attempt()
    (await connection.request()).refuse(ErrorCodes.INTERNAL_ERROR)
    await attempt.until_ended()
    assert latency.expected(endpoint.pool.time()) > FAILED / 2


@with_endpoint()
async def test_the_end_of_a_connection_that_may_have_been_idle_is_none(endpoint: Endpoint) -> None:
    latency = endpoint.pool.latency = PeakEwma()
    endpoint.attempt()
    connection = await endpoint.backend.accept()
    await answered(connection, endpoint)
    attempt = endpoint.attempt()
    await connection.request()
    connection.close()
    await attempt.until_ended()
    assert attempt.exchange.died_idle
    assert latency.expected(endpoint.pool.time()) < FAILED / 2


async def left_tunnel(endpoint: Endpoint, size: int) -> Http2Request:
    """A tunnel that both sides have ended, and of which the upstream has yet to take *size* bytes."""
    attempt = endpoint.attempt(upgrade=True)
    connection = await endpoint.backend.accept()
    request = await connection.request()
    request.acknowledges = False
    request.head([(":status", "200")])
    await attempt.until_status()
    attempt.exchange.tunnel(b"x" * (WINDOW + size), False)
    request.send(b"", end=True)
    await attempt.until_tunnel_end()
    attempt.exchange.tunnel(b"", True)
    await request.until_content(WINDOW)
    return request


def grant(request: Http2Request, size: int) -> None:
    h2 = request.connection.h2
    h2.increment_flow_control_window(size, request.number)
    h2.increment_flow_control_window(size)
    request.connection.flush()


@with_endpoint(TUNNELS)
async def test_a_tunnel_is_not_cut_while_its_last_bytes_are_taken(endpoint: Endpoint) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(left_streams, "LINGER", 1.0)
        request = await left_tunnel(endpoint, 8000)
        for taken in range(1000, 9000, 1000):  # which takes longer than that
            grant(request, 1000)
            await request.until_content(WINDOW + taken)
            await asyncio.sleep(0.15)
        assert (request.is_complete, request.reset) == (True, None)
        assert endpoint.state == "1 connections, 1 idle, 0 dialling, 0 in flight"


@with_endpoint(TUNNELS)
async def test_a_tunnel_is_over_when_the_last_of_it_is_taken(endpoint: Endpoint) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(left_streams, "LINGER", 300.0)
        request = await left_tunnel(endpoint, 1000)
        assert endpoint.state.startswith("1 connections, 0 idle")
        grant(request, 1000)
        await endpoint.until_state("1 connections, 1 idle, 0 dialling, 0 in flight")
    assert request.is_complete


@pytest.mark.parametrize("how", ["silence", "reset", "close"])
def test_a_tunnel_whose_last_bytes_nobody_takes(how: str) -> None:
    @with_endpoint(TUNNELS)
    async def scenario(endpoint: Endpoint) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(left_streams, "LINGER", 0.3 if how == "silence" else 30.0)
            request = await left_tunnel(endpoint, 1000)
            if how == "silence":
                assert await request.until_reset() == ErrorCodes.CANCEL
            elif how == "reset":
                request.refuse(ErrorCodes.CANCEL)
            else:
                request.connection.close()
            state = NOTHING if how == "close" else "1 connections, 1 idle, 0 dialling, 0 in flight"
            await endpoint.until_state(state)

    scenario(asyncio.new_event_loop)


@with_endpoint()
async def test_a_refusal_allows_no_more_than_the_settings(endpoint: Endpoint) -> None:
    attempts = [endpoint.attempt() for _ in range(10)]
    connection = await endpoint.backend.accept()
    requests = [await connection.request() for _ in attempts]
    connection.allow(1)
    await eventually_async(lambda: connection.acknowledged == 2, what="it has been understood")
    requests[9].refuse()
    await attempts[9].until_ended()
    for request, attempt in zip(requests[:2], attempts, strict=False):
        request.answer()
        await attempt.until_ended()
    (found,) = endpoint.pool.shared
    assert (found.streams, found.has_room) == (7, False)
    for request, attempt in zip(requests[2:9], attempts[2:], strict=False):
        request.answer()
        await attempt.until_ended()
    assert found.has_room


@with_endpoint()
async def test_goodbyes_without_end(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt()
    connection = await endpoint.backend.accept()
    await connection.request()
    for _ in range(http2_connection.MAX_GOODBYES):
        connection.go_away(2**31 - 1, ErrorCodes.ENHANCE_YOUR_CALM)
    await asyncio.sleep(0.05)
    assert attempt.ends == 0
    connection.go_away(2**31 - 1, ErrorCodes.ENHANCE_YOUR_CALM)
    await attempt.until_ended()
    assert attempt.detail == "the upstream says goodbye again and again"
    await connection.until_over()


@pytest.mark.parametrize(
    ("flood", "detail"),
    [
        (frames.ping(b"12345678") * (guard.PINGS_AT_ONCE + 1000), "the upstream sends too many frames PING"),
        (frames.settings() * (guard.SETTINGS_AT_ONCE + 20), "the upstream sends too many frames SETTINGS"),
        (
            frames.frame(0x99, 0, 0) * (guard.HINTS_AT_ONCE + 100),
            "the upstream sends too many frames without a meaning",
        ),
    ],
)
def test_an_upstream_that_floods_us(flood: bytes, detail: str) -> None:
    @with_endpoint()
    async def scenario(endpoint: Endpoint) -> None:
        attempt = endpoint.attempt()
        connection = await endpoint.backend.accept()
        await connection.request()
        connection.writer.write(flood)
        await attempt.until_ended()
        assert (attempt.failure, attempt.detail) == (FailureClass.CONNECTION_RESET, detail)
        await connection.until_over()
        await endpoint.until_state(NOTHING)

    scenario(asyncio.new_event_loop)


@with_endpoint({SettingCodes.INITIAL_WINDOW_SIZE: 2**31 - 1})
async def test_a_connection_that_is_broken_and_full_is_gone_at_once(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt(method=b"POST", end=False, chunked=True)
    connection = await endpoint.backend.accept()
    await connection.request()
    connection.h2.increment_flow_control_window(2**31 - 1 - WINDOW)
    connection.flush()
    await asyncio.sleep(0.05)
    connection.hears.clear()
    (found,) = endpoint.pool.shared
    for _ in range(400):
        attempt.exchange.send(b"x" * 65536, False)
        await asyncio.sleep(0)
    assert found._is_full
    connection.writer.write(b"\x00\x00\x02\x00\x00\x00\x00\x00\x00zz")
    await attempt.until_ended()
    assert attempt.detail.startswith("the upstream broke a rule of HTTP/2")
    async with asyncio.timeout(1.8):
        await endpoint.until_state(NOTHING)
    connection.hears.set()


@with_endpoint()
async def test_who_is_given_up_while_another_is_served_leaves_nothing(endpoint: Endpoint) -> None:
    class Jealous(Attempt):
        def on_request_sent(self) -> None:
            super().on_request_sent()
            second.exchange.cancel()

    first, second = endpoint.attempt(), endpoint.attempt()
    first.__class__ = Jealous
    connection = await endpoint.backend.accept()
    (await connection.request()).answer()
    await first.until_ended()
    await endpoint.until_state("1 connections, 1 idle, 0 dialling, 0 in flight")
    assert len(connection.requests) == 1
