"""How streams and connections of HTTP/2 end when something is wrong, and what is learnt of it."""

from __future__ import annotations

from h2.errors import ErrorCodes

from tests.support.http2_endpoint import Endpoint, with_endpoint
from tests.unit.proxy.upstream.test_http2_pool import answered
from vrata.policy.balancing.peak_ewma import FAILED, PeakEwma


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
