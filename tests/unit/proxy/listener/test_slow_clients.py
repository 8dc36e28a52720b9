"""Clients that do not take their responses: until when they may, and what counts as taking something."""

from __future__ import annotations

import pytest

from tests.support.downstream_client import (
    GET,
    LIMITS,
    POST,
    DownstreamClient,
    immediately,
    response_head,
    settings,
)
from tests.support.memory_transport import HIGH_WATER
from vrata.net.deadlines import INTERVAL, NEVER
from vrata.proxy.listener.settings import ListenerTimeouts
from vrata.proxy.listener.time_limits import LINGER

MARGIN = 2 * INTERVAL
IDLE = LIMITS.idle_between_requests
NO_LIMIT = ListenerTimeouts(10, 60, NEVER, IDLE)
EVENTS = b"Content-Type: text/event-stream"
LARGE = b"x" * (HIGH_WATER + 1)


def asked(timeouts: ListenerTimeouts = LIMITS, request: bytes = GET % b"1") -> DownstreamClient:
    """A client that has sent a request and reads nothing."""
    client = DownstreamClient(settings(timeouts=timeouts))
    client.send(request)
    client.transport.stop_reading()
    return client


@pytest.mark.parametrize("body", [b"x", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("connection", [b"keep-alive", b"close"])
@pytest.mark.parametrize("own", [True, False], ids=["own", "relayed"])
def test_the_limit_of_a_response_covers_the_taking_of_it(body: bytes, connection: bytes, own: bool) -> None:
    client = asked(request=b"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + connection + b"\r\n\r\n")
    if own:
        client.answer(body)
    else:
        client.respond(response_head(b"Content-Length: %d" % len(body)), body, end=True)
    client.loop.advance(LIMITS.client_response - INTERVAL)
    assert not client.transport.is_lost()
    client.loop.advance(INTERVAL + MARGIN)
    assert client.transport.aborted


def test_the_limit_runs_from_the_first_byte_whenever_the_last_was_written() -> None:
    client = asked()
    client.respond(response_head(b"Content-Length: 2"), b"a")
    client.loop.advance(LIMITS.client_response - 10)
    client.content(b"b", end=True)
    client.loop.advance(10 - INTERVAL)
    assert not client.transport.is_lost()
    client.loop.advance(INTERVAL + MARGIN)
    assert client.transport.aborted


def test_the_idle_limit_begins_when_the_response_was_taken() -> None:
    client = asked()
    client.answer(LARGE)
    client.loop.advance(LIMITS.client_response - 1)
    client.transport.read_again()
    client.loop.advance(IDLE - INTERVAL)
    assert not client.transport.is_closing()
    client.loop.advance(INTERVAL + MARGIN)
    assert client.transport.closed


def test_an_idle_client_that_has_taken_little_late_is_still_idle_from_the_responses_end() -> None:
    client = asked()
    client.answer(b"small")
    client.loop.advance(LIMITS.client_response - 1)
    client.transport.read_again()
    client.loop.advance(IDLE - LIMITS.client_response)
    assert not client.transport.is_closing()
    client.loop.advance(1 + MARGIN)
    assert client.transport.closed


def test_the_next_request_of_a_slow_client_is_served() -> None:
    client = asked()
    client.answer(LARGE)
    client.send(GET % b"2")
    assert client.targets == [b"/1"]
    client.loop.advance(LIMITS.client_response - 1)
    client.transport.read_again()
    client.answer(b"two")
    assert client.targets == [b"/1", b"/2"]
    client.loop.advance(LIMITS.client_response)
    assert not client.transport.is_closing()


# -- without a limit of the response ---------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [True, False], ids=["whole", "unfinished"])
@pytest.mark.parametrize("fields", [(), (EVENTS,)], ids=["plain", "events"])
def test_a_client_that_takes_nothing_is_cut(fields: tuple[bytes, ...], end: bool) -> None:
    client = asked(NO_LIMIT)
    client.respond(response_head(*fields), LARGE, end=end)
    assert end or client.last.paused
    client.loop.advance(IDLE - INTERVAL)
    assert not client.transport.is_lost()
    client.loop.advance(INTERVAL + MARGIN)
    assert client.transport.aborted
    # Whoever works for it is told, and so stops.
    assert client.last.client_gone == (0 if end else 1)
    assert client.owner.in_flight == 0


@pytest.mark.parametrize("end", [True, False], ids=["whole", "unfinished"])
def test_a_client_that_takes_something_now_and_then_is_not_cut(end: bool) -> None:
    client = asked(NO_LIMIT)
    client.respond(response_head(), LARGE, end=end)
    for _ in range(5):
        client.loop.advance(IDLE - 1)
        client.transport.read_some(1000)
    assert not client.transport.is_lost()
    client.loop.advance(2 * IDLE)
    assert client.transport.aborted


def test_events_go_on_to_a_client_that_takes_them_however_long() -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    client.respond(response_head(EVENTS), b"data: 1\n\n")
    for _ in range(10):
        client.loop.advance(IDLE)
        client.content(b"data: 2\n\n")
    assert not client.transport.is_closing()
    # And when they end, the connection is one as any other.
    client.content(b"", end=True)
    client.loop.advance(IDLE - INTERVAL)
    assert not client.transport.is_closing()
    client.loop.advance(INTERVAL + MARGIN)
    assert client.transport.closed


def test_events_do_not_go_on_to_a_client_that_takes_none() -> None:
    client = asked()
    client.respond(response_head(EVENTS), b"data: 1\n\n")
    while not client.last.paused:
        client.loop.advance(10)
        client.content(b"data: %s\n\n" % (b"x" * 1000))
    client.loop.advance(IDLE + MARGIN)
    assert client.transport.aborted
    assert client.last.client_gone == 1


def test_a_little_that_nobody_takes_is_not_kept_for_ever() -> None:
    client = asked(NO_LIMIT)
    client.answer(b"small")
    client.loop.advance(IDLE - INTERVAL)
    assert not client.transport.is_lost()
    client.loop.advance(IDLE + 2 * MARGIN)
    assert client.transport.aborted


def test_a_client_that_has_caught_up_is_not_held_to_when_it_had_not() -> None:
    client = asked(NO_LIMIT)
    client.respond(response_head(), LARGE)
    client.loop.advance(IDLE - 1)
    client.transport.read_again()
    client.loop.advance(10 * IDLE)
    assert not client.transport.is_closing()
    client.content(b"end", end=True)
    assert client.transport.take().endswith(b"end\r\n0\r\n\r\n")


def test_a_body_that_ends_while_its_response_waits_does_not_end_the_limit() -> None:
    client = asked(NO_LIMIT, request=POST % 2)
    client.respond(response_head(), LARGE)
    client.loop.advance(10)
    client.send(b"ab")
    client.loop.advance(IDLE - 10 + MARGIN)
    assert client.transport.aborted


# -- the end of the connection ---------------------------------------------------------------------------------------


def test_a_drain_lets_a_slow_client_take_its_response() -> None:
    client = asked()
    client.answer(b"small")
    client.drain()
    client.loop.advance(LIMITS.client_response - 1)
    assert not client.transport.is_lost()
    client.transport.read_again()
    client.loop.advance(1 + MARGIN)
    assert client.transport.closed
    assert client.transport.take().endswith(b"small")


def test_a_refused_upload_leaves_a_slow_client_the_time_to_read_why() -> None:
    client = asked(request=POST % 1000)
    client.answer(b"too large", status=413)
    client.loop.advance(LIMITS.client_response - 1)
    assert not client.transport.is_lost()
    client.transport.read_again()
    client.loop.advance(1 + MARGIN)
    assert client.transport.closed
    assert client.transport.take().endswith(b"too large")


def test_a_refused_upload_does_not_linger_for_long_once_its_answer_was_read() -> None:
    client = asked(request=POST % 1000)
    client.answer(LARGE, status=413)
    client.loop.advance(1)
    client.transport.read_again()
    client.loop.advance(LINGER + MARGIN)
    assert client.transport.closed


def test_a_refused_upload_of_a_client_that_reads_nothing() -> None:
    client = asked(request=POST % 1000)
    client.answer(b"too large", status=413)
    client.loop.advance(LIMITS.client_response + MARGIN)
    assert client.transport.aborted


def test_a_limit_of_the_response_that_passes_when_all_was_taken_ends_nothing() -> None:
    client = DownstreamClient(answer=immediately)
    client.send(GET % b"1")
    client.loop.advance(LIMITS.client_response + MARGIN)
    client.send(GET % b"2")
    assert client.targets == [b"/1", b"/2"]
    assert not client.transport.is_closing()


def test_a_tunnel_lasts_for_as_long_as_its_client_takes_something() -> None:
    upgrade = (b"Connection: upgrade", b"Upgrade: websocket")
    client = asked(request=b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n%s\r\n\r\n" % upgrade)
    client.respond(response_head(*upgrade, status=101))
    client.content(LARGE)
    for _ in range(3):
        client.loop.advance(IDLE - 1)
        client.transport.read_some(1000)
    assert not client.transport.is_lost()
    client.loop.advance(IDLE)
    client.loop.advance(IDLE + MARGIN)
    assert client.transport.aborted
