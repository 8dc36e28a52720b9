"""Exchanges over HTTP/2 with a real backend: what goes, what comes back, and how streams end."""

from __future__ import annotations

from tests.support.http2_endpoint import Endpoint, with_endpoint


@with_endpoint()
async def test_a_request_and_its_response(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt()
    connection = await endpoint.backend.accept()
    request = await (await connection.request()).until_complete()
    assert request.fields == [(":method", "GET"), (":scheme", "http"), (":path", "/0"), (":authority", "a.test")]
    request.answer(b"content")
    await attempt.until_ended()
    assert (attempt.status, attempt.content, attempt.failure) == (200, b"content", None)
    assert attempt.requests_sent == 1
    assert endpoint.state == "1 connections, 1 idle, 0 dialling, 0 in flight"


@with_endpoint()
async def test_many_streams_share_one_connection(endpoint: Endpoint) -> None:
    attempts = [endpoint.attempt() for _ in range(50)]
    assert endpoint.state == "0 connections, 0 idle, 1 dialling, 50 in flight"
    connection = await endpoint.backend.accept()
    requests = [await connection.request() for _ in attempts]
    assert [request.path for request in requests] == [f"/{number}" for number in range(50)]
    assert endpoint.state == "1 connections, 0 idle, 0 dialling, 50 in flight"
    more = endpoint.attempt()
    requests.append(await connection.request())
    for request in reversed(requests):
        request.answer(request.path.encode())
    for attempt in [*attempts, more]:
        await attempt.until_ended()
        assert attempt.content == b"/%d" % attempt.number
    assert endpoint.backend.connections == 1
    assert endpoint.state == "1 connections, 1 idle, 0 dialling, 0 in flight"
