"""Exchanges over HTTP/2 with a real backend: what goes, what comes back, and how streams end."""

from __future__ import annotations

import asyncio

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.support.conditions import eventually_async
from tests.support.http2_backend import Fields, Http2Request
from tests.support.http2_endpoint import Attempt, Endpoint, with_endpoint
from vrata.proxy.contracts import FailureClass
from vrata.proxy.upstream import silence
from vrata.proxy.upstream.http2_stream import PIECE
from vrata.wire.http2.contract import HIGH, SessionLimits

WINDOW = SessionLimits().stream_window
IDLE = "1 connections, 1 idle, 0 dialling, 0 in flight"
UNKNOWN_LENGTH: Fields = [(":status", "200")]


async def begun(endpoint: Endpoint, attempt: Attempt) -> Http2Request:
    """The request of the first *attempt*, whole."""
    connection = await endpoint.backend.accept()
    request = await connection.request()
    assert request.path == f"/{attempt.number}"
    return await request.until_complete()


@with_endpoint()
async def test_a_request_and_its_response(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt()
    request = await begun(endpoint, attempt)
    assert request.fields == [(":method", "GET"), (":scheme", "http"), (":path", "/0"), (":authority", "a.test")]
    request.answer(b"content")
    await attempt.until_ended()
    assert (attempt.status, attempt.content, attempt.failure) == (200, b"content", None)
    assert (attempt.requests_sent, attempt.ends) == (1, 1)
    assert endpoint.state == IDLE


@with_endpoint()
async def test_bodies_and_trailers_go_both_ways(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt(b"one ", method=b"POST", end=False, chunked=True)
    connection = await endpoint.backend.accept()
    request = await connection.request()
    await request.until_content(4)
    assert "transfer-encoding" not in dict(request.fields)
    request.head(UNKNOWN_LENGTH)
    await attempt.until_status()
    request.send(b"three ")
    await attempt.until_content(6)
    attempt.exchange.send(b"two", True, b"x-sum: 1\r\n")
    await request.until_complete()
    assert (request.content, request.trailers) == (b"one two", [("x-sum", "1")])
    request.send(b"four")
    request.finish([("grpc-status", "0")])
    await attempt.until_ended()
    assert (attempt.content, attempt.trailers) == (b"three four", b"grpc-status: 0\r\n")
    assert request.reset is None
    assert endpoint.state == IDLE


@with_endpoint()
async def test_trailers_come_with_a_body_that_is_whole_at_once(endpoint: Endpoint) -> None:
    endpoint.attempt(b"ab", method=b"POST", chunked=True, trailers=b"x-sum: 1\r\n")
    request = await begun(endpoint, endpoint.attempts[0])
    assert (request.content, request.trailers) == (b"ab", [("x-sum", "1")])
    endpoint.attempt(method=b"POST", chunked=True, trailers=b"x-sum: 2\r\n")
    second = await (await request.connection.request()).until_complete()
    assert (second.content, second.trailers) == (b"", [("x-sum", "2")])


@with_endpoint()
async def test_what_came_during_the_dial_is_sent_whole(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt(b"a", method=b"POST", end=False, chunked=True)
    attempt.exchange.send(b"b", False)
    attempt.exchange.send(b"c", True, b"x-sum: 1\r\n")
    request = await begun(endpoint, attempt)
    assert (request.content, request.trailers) == (b"abc", [("x-sum", "1")])
    assert attempt.requests_sent == 1


@with_endpoint()
async def test_interim_responses(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt()
    request = await begun(endpoint, attempt)
    request.head([(":status", "103"), ("link", "</a>")])
    request.head([(":status", "100")])
    request.answer()
    await attempt.until_ended()
    assert (attempt.informational, attempt.status) == ([103, 100], 200)


@with_endpoint()
async def test_a_client_that_does_not_read_gets_no_interim_responses(endpoint: Endpoint) -> None:
    attempt, other = endpoint.attempt(), endpoint.attempt()
    request = await begun(endpoint, attempt)
    attempt.exchange.pause_response()
    request.head([(":status", "103")])
    (await request.connection.request()).answer()
    await other.until_ended()
    attempt.exchange.resume_response()
    request.answer()
    await attempt.until_ended()
    assert (attempt.informational, attempt.status) == ([], 200)


@pytest.mark.parametrize("ends", ["with the head", "with empty content"])
@pytest.mark.parametrize(
    ("method", "fields"),
    [
        (b"HEAD", [(":status", "200"), ("content-length", "7")]),
        (b"GET", [(":status", "204")]),
        (b"GET", [(":status", "304"), ("content-length", "7")]),
    ],
)
def test_a_response_without_content(method: bytes, fields: Fields, ends: str) -> None:
    @with_endpoint()
    async def scenario(endpoint: Endpoint) -> None:
        attempt = endpoint.attempt(method=method)
        request = await begun(endpoint, attempt)
        if ends == "with the head":
            request.head(fields, end=True)
        else:
            request.head(fields)
            request.send(b"", end=True)
        await attempt.until_ended()
        assert (attempt.status, attempt.content) == (int(fields[0][1]), b"")
        await endpoint.until_state(IDLE)

    scenario(asyncio.new_event_loop)


@with_endpoint()
async def test_a_response_that_is_there_before_the_request_is(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt(b"first", method=b"POST", end=False, chunked=True)
    connection = await endpoint.backend.accept()
    request = await connection.request()
    request.answer(b"early", 413)
    await attempt.until_ended()
    assert (attempt.status, attempt.content, attempt.failure) == (413, b"early", None)
    # The rest of the request is not sent; the connection serves others.
    assert await request.until_reset() == ErrorCodes.CANCEL
    attempt.exchange.send(b"more", True)
    second = endpoint.attempt()
    (await connection.request()).answer()
    await second.until_ended()
    assert second.status == 200
    assert request.content in (b"", b"first")


@with_endpoint()
async def test_no_error_after_an_early_response_is_no_failure(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt(b"first", method=b"POST", end=False, chunked=True)
    connection = await endpoint.backend.accept()
    request = await connection.request()
    h2 = connection.h2
    h2.send_headers(request.number, [(":status", "200")], end_stream=True)
    h2.reset_stream(request.number, ErrorCodes.NO_ERROR)
    connection.flush()
    await attempt.until_ended()
    assert (attempt.status, attempt.failure) == (200, None)
    await endpoint.until_state(IDLE)


@pytest.mark.parametrize("code", list(ErrorCodes))
@pytest.mark.parametrize("begins", [False, True])
def test_a_reset_ends_an_attempt(code: ErrorCodes, begins: bool) -> None:
    @with_endpoint()
    async def scenario(endpoint: Endpoint) -> None:
        attempt = endpoint.attempt()
        request = await begun(endpoint, attempt)
        other = endpoint.attempt()
        second = await request.connection.request()
        if begins:
            request.head(UNKNOWN_LENGTH)
            request.send(b"part")
            await attempt.until_content(4)
        request.refuse(code)
        await attempt.until_ended()
        assert (attempt.failure, attempt.ends) == (FailureClass.CONNECTION_RESET, 1)
        assert attempt.exchange.unprocessed == (code == ErrorCodes.REFUSED_STREAM)
        if code != ErrorCodes.REFUSED_STREAM:
            assert attempt.detail == f"the upstream has reset the stream: {code.name}"
        second.answer()
        await other.until_ended()
        assert other.status == 200

    scenario(asyncio.new_event_loop)


@with_endpoint()
async def test_a_malformed_response_ends_its_stream_alone(endpoint: Endpoint) -> None:
    attempt, other = endpoint.attempt(), endpoint.attempt()
    request = await begun(endpoint, attempt)
    second = await request.connection.request()
    request.head([(":status", "200"), ("content-length", "1")])
    request.send(b"two")
    await attempt.until_ended()
    assert (attempt.failure, attempt.detail) == (
        FailureClass.CONNECTION_RESET,
        "content is not what content-length says",
    )
    assert await request.until_reset() == ErrorCodes.PROTOCOL_ERROR
    second.answer()
    await other.until_ended()
    assert other.status == 200


@with_endpoint()
async def test_a_broken_connection_ends_all_its_attempts(endpoint: Endpoint) -> None:
    attempts = [endpoint.attempt() for _ in range(3)]
    request = await begun(endpoint, attempts[0])
    request.answer()
    await attempts[0].until_ended()
    request.connection.writer.write(b"\x00\x00\x01\x06\x00\x00\x00\x00\x00x")  # a PING of one byte
    for attempt in attempts[1:]:
        await attempt.until_ended()
        assert (attempt.failure, attempt.ends) == (FailureClass.CONNECTION_RESET, 1)
        assert attempt.detail.startswith("the upstream broke a rule of HTTP/2: ")
        assert not attempt.exchange.unprocessed
    await request.connection.until_over()
    assert request.connection.goodbye == ErrorCodes.FRAME_SIZE_ERROR
    await endpoint.until_state("0 connections, 0 idle, 0 dialling, 0 in flight")


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_connection_that_is_gone(end: str) -> None:
    @with_endpoint()
    async def scenario(endpoint: Endpoint) -> None:
        whole, cut = endpoint.attempt(), endpoint.attempt()
        request = await begun(endpoint, whole)
        request.answer()
        await whole.until_ended()
        second = await request.connection.request()
        second.head(UNKNOWN_LENGTH)
        second.send(b"part")
        await cut.until_content(4)
        if end == "close":
            request.connection.close()
        else:
            request.connection.writer.transport.abort()
        await cut.until_ended()
        assert (cut.failure, cut.ends, cut.content) == (FailureClass.CONNECTION_RESET, 1, b"part")
        assert (whole.failure, whole.ends) == (None, 1)

    scenario(asyncio.new_event_loop)


@with_endpoint()
async def test_a_cancelled_attempt_resets_its_stream_alone(endpoint: Endpoint) -> None:
    attempt, other = endpoint.attempt(), endpoint.attempt()
    request = await begun(endpoint, attempt)
    second = await request.connection.request()
    request.head(UNKNOWN_LENGTH)
    await attempt.until_status()
    attempt.exchange.cancel()
    assert await request.until_reset() == ErrorCodes.CANCEL
    assert endpoint.state == "1 connections, 0 idle, 0 dialling, 1 in flight"
    second.answer()
    await other.until_ended()
    assert (attempt.ends, other.status) == (0, 200)
    assert endpoint.state == IDLE


@with_endpoint()
async def test_a_client_that_does_not_read_holds_up_nobody_else(endpoint: Endpoint) -> None:
    slow, quick = endpoint.attempt(), endpoint.attempt()
    request = await begun(endpoint, slow)
    second = await request.connection.request()
    h2 = request.connection.h2
    request.head(UNKNOWN_LENGTH)
    await slow.until_status()
    slow.exchange.pause_response()
    sent = 0

    def fill() -> bool:
        nonlocal sent
        room = min(h2.local_flow_control_window(request.number), h2.max_outbound_frame_size)
        if room:
            request.send(b"x" * room)
            sent += room
        return sent >= WINDOW

    await eventually_async(fill, what="the window is used up")
    assert (sent, slow.content) == (WINDOW, b"")
    second.head(UNKNOWN_LENGTH)
    total = 0
    while total < 20 * WINDOW:  # more than the window of the connection
        room = min(h2.local_flow_control_window(second.number), h2.max_outbound_frame_size)
        if room:
            second.send(b"y" * room)
            total += room
        else:
            await asyncio.sleep(0)
    second.send(b"", end=True)
    await quick.until_ended()
    assert len(quick.content) == total
    assert (slow.content, h2.local_flow_control_window(request.number)) == (b"", 0)
    slow.exchange.resume_response()
    assert len(slow.content) == WINDOW
    await eventually_async(lambda: h2.local_flow_control_window(request.number) > 0, what="there is a window again")
    request.send(b"end", end=True)
    await slow.until_ended()
    assert len(slow.content) == WINDOW + 3


@with_endpoint()
async def test_what_is_held_goes_on_piece_by_piece_and_survives_the_connection(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt()
    request = await begun(endpoint, attempt)
    request.head(UNKNOWN_LENGTH)
    await attempt.until_status()
    attempt.exchange.pause_response()
    sent = [each * PIECE for each in (b"a", b"b", b"c")]
    for piece in sent:
        request.send(piece)
        await asyncio.sleep(0.01)
    request.send(b"d", end=True)
    await asyncio.sleep(0.01)
    request.connection.close()
    await eventually_async(lambda: not endpoint.pool.connections, what="the connection is gone")
    pieces = []

    class Picky(Attempt):
        def on_response_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
            super().on_response_content(content, end, trailers)
            pieces.append(content)
            if not end:
                self.exchange.pause_response()

    attempt.__class__ = Picky
    assert attempt.content == b""
    while not attempt.ends:
        before = len(pieces)
        attempt.exchange.resume_response()
        assert len(pieces) == before + 1
    assert (attempt.content, attempt.failure, attempt.ends) == (b"".join([*sent, b"d"]), None, 1)
    assert len(pieces) > 1


@with_endpoint()
async def test_small_messages_are_held_together(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt()
    request = await begun(endpoint, attempt)
    request.head(UNKNOWN_LENGTH)
    await attempt.until_status()
    attempt.exchange.pause_response()
    (stream,) = endpoint.pool.shared[0]._streams.values()
    for _ in range(1000):
        request.send(b"small")
    await eventually_async(lambda: sum(len(each.content) for each in stream._held or ()) == 5000, what="all is there")
    assert stream._held is not None
    assert len(stream._held) == 1
    request.finish([("grpc-status", "0")])
    await asyncio.sleep(0.05)
    attempt.exchange.resume_response()
    assert (attempt.content, attempt.ends) == (b"small" * 1000, 1)


@with_endpoint({SettingCodes.INITIAL_WINDOW_SIZE: 1000})
async def test_a_slow_upstream_holds_the_client_back(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt(method=b"POST", end=False, chunked=True)
    request = await (await endpoint.backend.accept()).request()
    request.acknowledges = False
    request.connection.h2.increment_flow_control_window(1 << 20)
    attempt.exchange.send(b"x" * 1000, False)
    await request.until_content(1000)
    was_full = [attempt.full]
    for size in (HIGH, 1):
        attempt.exchange.send(b"x" * size, False)
        was_full.append(attempt.full)
    assert was_full == [False, False, True]
    request.connection.h2.increment_flow_control_window(HIGH, request.number)
    request.connection.flush()
    await eventually_async(lambda: not attempt.full, what="the client goes on")
    attempt.exchange.send(b"", True)
    request.connection.h2.increment_flow_control_window(10, request.number)
    request.connection.flush()
    await request.until_complete()
    assert len(request.content) == 1001 + HIGH


@with_endpoint()
async def test_an_upstream_that_takes_nothing_is_not_written_to_without_end(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt(method=b"POST", end=False, chunked=True)
    connection = await endpoint.backend.accept()
    request = await connection.request()
    connection.h2.increment_flow_control_window(1 << 29)
    connection.h2.increment_flow_control_window(1 << 29, request.number)
    connection.flush()
    connection.hears.clear()
    sent = 0
    while not attempt.full:
        attempt.exchange.send(b"x" * HIGH, False)
        sent += HIGH
        assert sent < 1 << 28
        await asyncio.sleep(0)
    connection.hears.set()
    await eventually_async(lambda: not attempt.full, what="the client goes on")
    attempt.exchange.send(b"", True)
    await request.until_complete()
    assert len(request.content) == sent


@with_endpoint({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
async def test_a_tunnel(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt(upgrade=True)
    connection = await endpoint.backend.accept()
    request = await connection.request()
    assert (request[":method"], request[":protocol"], request.path) == ("CONNECT", "websocket", "/0")
    assert not request.is_complete
    request.head([(":status", "200")])
    await attempt.until_status()
    assert attempt.status == 101
    attempt.exchange.tunnel(b"ping", False)
    await request.until_content(4)
    request.send(b"pong")
    await attempt.until_content(4)
    attempt.exchange.tunnel(b"", True)
    await request.until_complete()
    assert attempt.ends == 0
    request.send(b" last", end=True)
    await attempt.until_ended()
    assert (attempt.content, attempt.failure, request.reset) == (b"pong last", None, None)
    await endpoint.until_state(IDLE)


@with_endpoint({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
async def test_a_tunnel_whose_upstream_ends_first(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt(upgrade=True)
    request = await (await endpoint.backend.accept()).request()
    request.head([(":status", "200")])
    request.send(b"bye", end=True)
    await attempt.until_tunnel_end()
    assert (attempt.content, attempt.ends) == (b"bye", 0)
    attempt.exchange.tunnel(b"well", True)
    await request.until_complete()
    assert (request.content, attempt.ends, request.reset) == (b"well", 1, None)
    await endpoint.until_state(IDLE)


@with_endpoint({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1})
async def test_a_tunnel_that_is_refused_or_cut(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt(upgrade=True)
    connection = await endpoint.backend.accept()
    request = await connection.request()
    request.answer(b"no", 403)
    await attempt.until_ended()
    assert (attempt.status, attempt.content, attempt.failure) == (403, b"no", None)
    assert await request.until_reset() == ErrorCodes.CANCEL  # our side was open yet
    second = endpoint.attempt(upgrade=True)
    request = await connection.request()
    request.head([(":status", "200")])
    await second.until_status()
    request.refuse(ErrorCodes.CANCEL)
    await second.until_ended()
    assert second.failure is FailureClass.CONNECTION_RESET


def test_an_upstream_that_does_not_answer_a_ping_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "PING_AFTER", 0.1)
    monkeypatch.setattr(silence, "PING_AGAIN", 0.3)
    monkeypatch.setattr(silence, "PING_LIMIT", 0.5)

    @with_endpoint()
    async def scenario(endpoint: Endpoint) -> None:
        attempt = endpoint.attempt()
        request = await begun(endpoint, attempt)
        connection = request.connection
        await eventually_async(lambda: connection.pings >= 2, what="it is asked again and again")
        assert attempt.ends == 0
        # Without a word of its own it is not asked as often.
        before, began = connection.pings, asyncio.get_running_loop().time()
        await eventually_async(lambda: connection.pings >= before + 2, what="it is asked again")
        assert asyncio.get_running_loop().time() - began > 0.3
        connection.hears.clear()
        await attempt.until_ended()
        assert (attempt.failure, attempt.detail) == (FailureClass.CONNECTION_RESET, "no answer to a ping within 0.5 s")
        connection.hears.set()
        await connection.until_over()

    scenario(asyncio.new_event_loop)
