"""One client's connection comes to its end: by the client, by a drain, by a limit of time."""

from __future__ import annotations

import pytest

from tests.support.downstream_client import (
    GET,
    LIMITS,
    POST,
    DownstreamClient,
    head_and_body,
    immediately,
    lines_of,
    local,
    response_head,
    settings,
)
from vrata.net.deadlines import INTERVAL, NEVER
from vrata.proxy.contracts import Failure, FailureClass
from vrata.proxy.listener.settings import ListenerTimeouts
from vrata.proxy.listener.time_limits import DRAIN_IDLE_GRACE

# -- the client goes -------------------------------------------------------------------------------------------------


def test_a_client_that_sends_no_more_still_gets_its_answer() -> None:  # RFC 9112 §9.6
    client = DownstreamClient()
    client.send(GET % b"1")
    client.transport.receive_eof()
    assert not client.transport.is_closing()
    client.answer(b"abc")
    assert client.transport.take().endswith(b"abc")
    assert client.transport.closed


def test_a_client_that_sends_no_more_gets_all_its_answers() -> None:
    client = DownstreamClient()
    client.send(GET % b"1" + GET % b"2")
    client.transport.receive_eof()
    client.answer(b"one")
    client.answer(b"two")
    assert client.transport.take().endswith(b"two")
    assert client.transport.closed


def test_a_request_that_the_client_does_not_finish_is_given_up() -> None:
    client = DownstreamClient()
    client.send(POST % 10 + b"ab")
    client.transport.receive_eof()
    assert client.last.client_gone == 1
    assert client.transport.closed
    assert client.owner.in_flight == 0
    assert not client.owner.connections


def test_a_pipelined_request_that_the_client_does_not_finish_is_given_up() -> None:
    client = DownstreamClient()
    client.send(GET % b"1" + POST % 10 + b"ab")
    client.transport.receive_eof()
    client.answer(b"one")
    assert client.transport.take().endswith(b"one")
    assert len(client.handled) == 2
    assert client.last.client_gone == 1
    assert client.transport.closed
    assert client.owner.in_flight == 0
    assert not client.owner.connections


def test_a_client_that_sends_no_more_is_not_waited_for_when_a_pipelined_request_is_refused() -> None:
    client = DownstreamClient()
    client.send(GET % b"1" + b"nonsense\r\n\r\n")
    client.transport.receive_eof()
    client.answer(b"one")
    assert b"HTTP/1.1 400 " in client.transport.take()
    assert client.transport.closed


@pytest.mark.parametrize("data", [b"", b"GET / HT", GET % b"1"])
def test_a_client_that_goes_away(data: bytes) -> None:
    client = DownstreamClient()
    if data:
        client.send(data)
    client.transport.reset()
    assert [handled.client_gone for handled in client.handled] == [1] * len(client.handled)
    assert client.owner.in_flight == 0
    assert not client.owner.connections
    assert client.connection.deadline == NEVER


def test_nothing_is_sent_to_a_client_that_is_gone() -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    client.transport.reset()
    client.respond(response_head(), b"late")
    client.content(b"late", end=True)
    client.last.request.fail(Failure(FailureClass.TIMEOUT))
    client.last.request.pause_body()
    client.last.request.resume_body()
    assert client.transport.take() == b""
    assert client.owner.in_flight == 0


def test_a_late_event_never_touches_the_next_response() -> None:
    client = DownstreamClient()
    client.send(GET % b"1" + GET % b"2")
    client.answer(b"one")
    first, second = client.handled
    client.transport.take()
    late = first.request
    late.respond(local(b"late"))
    late.fail(Failure(FailureClass.TIMEOUT))
    late.inform(response_head(status=103))
    late.start_response(response_head(), b"late", True)
    late.send_content(b"late", True)
    late.pause_body()
    late.handled_by(first)
    assert client.transport.take() == b""
    assert client.transport.is_reading()
    second.request.respond(local(b"two"))
    assert client.transport.take().endswith(b"two")
    client.loop.settle()
    first.request.send_content(b"late", True)
    assert client.transport.take() == b""
    assert client.connection.is_idle
    assert client.owner.in_flight == 0


# -- drain -----------------------------------------------------------------------------------------------------------


def test_an_idle_connection_drains_after_a_grace() -> None:
    client = DownstreamClient()
    client.drain()
    client.loop.advance(DRAIN_IDLE_GRACE - 2 * INTERVAL)
    assert not client.transport.is_closing()
    client.loop.advance(4 * INTERVAL)
    assert client.transport.closed
    assert client.transport.take() == b""


def test_a_request_within_the_grace_is_answered_and_told_to_close() -> None:
    client = DownstreamClient()
    client.drain()
    client.send(GET % b"1")
    client.loop.advance(5)
    client.answer()
    assert b"connection: close" in lines_of(client.transport.take())
    assert client.transport.closed


def test_a_request_under_way_is_finished_and_told_to_close() -> None:
    client = DownstreamClient()
    client.send(GET % b"1" + GET % b"2")
    client.drain()
    client.loop.advance(5)
    client.answer(b"one")
    lines, body = head_and_body(client.transport.take())
    assert b"connection: close" in lines
    assert body == b"one"
    assert client.transport.closed
    assert client.targets == [b"/1"]


# -- limits of time --------------------------------------------------------------------------------------------------


def test_a_connection_without_a_request_is_closed() -> None:
    client = DownstreamClient()
    client.loop.advance(LIMITS.client_header - INTERVAL)
    assert not client.transport.is_closing()
    client.loop.advance(3 * INTERVAL)
    assert client.transport.closed
    assert client.transport.take() == b""


def test_the_limit_of_a_head_runs_from_its_first_byte() -> None:
    client = DownstreamClient(answer=immediately)
    client.send(GET % b"1")
    client.transport.take()
    client.loop.advance(50)
    for octet in b"GET / HTT":
        client.send(bytes((octet,)))
        client.loop.advance(1)
    assert not client.transport.is_closing()
    client.loop.advance(1 + 2 * INTERVAL)
    assert client.transport.closed
    assert client.transport.take() == b""


def test_the_limit_of_a_request_runs_to_the_end_of_its_body() -> None:
    client = DownstreamClient()
    client.send(POST % 1000)
    for _ in range(5):
        client.send(b"x")
        client.loop.advance(11)
    assert not client.transport.is_lost()
    client.loop.advance(LIMITS.client_request - 55 + 2 * INTERVAL)
    assert client.transport.is_lost()
    assert client.last.client_gone == 1
    assert client.transport.take() == b""


def test_no_limit_of_the_client_runs_while_the_upstream_works() -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    client.loop.advance(1000)
    assert not client.transport.is_closing()


def test_the_limit_of_a_response_runs_from_its_first_byte() -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    client.loop.advance(100)
    client.respond(response_head(), b"a")
    for _ in range(3):
        client.loop.advance(LIMITS.client_response / 4)
        client.content(b"a")
    assert not client.transport.is_lost()
    client.loop.advance(LIMITS.client_response / 4 + 2 * INTERVAL)
    assert client.transport.aborted
    assert client.last.client_gone == 1


def test_the_limit_between_requests() -> None:
    client = DownstreamClient(answer=immediately)
    client.send(GET % b"1")
    client.transport.take()
    client.loop.advance(LIMITS.idle_between_requests - INTERVAL)
    assert not client.transport.is_closing()
    client.loop.advance(3 * INTERVAL)
    assert client.transport.closed
    assert client.transport.take() == b""


def test_0s_is_no_limit() -> None:
    client = DownstreamClient(settings(timeouts=ListenerTimeouts(NEVER, NEVER, NEVER, NEVER)))
    client.loop.advance(500)
    client.send(POST % 3)
    client.loop.advance(500)
    client.send(b"abc")
    client.respond(response_head(), b"a")
    client.loop.advance(500)
    client.content(b"b", end=True)
    client.loop.advance(500)
    assert not client.transport.is_closing()


def test_the_repr_says_what_the_connection_does() -> None:
    client = DownstreamClient()
    assert repr(client.connection) == "<DownstreamConnection 192.0.2.1 idle>"
    client.send(b"GET")
    assert repr(client.connection) == "<DownstreamConnection 192.0.2.1 reading a head>"
    client.send((GET % b"1")[3:])
    assert repr(client.connection) == "<DownstreamConnection 192.0.2.1 waiting for a response>"
    client.respond(response_head())
    client.drain()
    assert repr(client.connection) == "<DownstreamConnection 192.0.2.1 responding draining>"


def test_a_client_that_sends_no_more_gets_all_its_immediate_answers() -> None:
    client = DownstreamClient(answer=lambda request: None if request.head.target == b"/1" else immediately(request))
    client.send(GET % b"1" + GET % b"2" + GET % b"3")
    client.transport.receive_eof()
    client.answer(b"/1")
    assert client.transport.take().count(b"HTTP/1.1 200 OK") == 3
    assert client.transport.closed


def test_an_unfinished_request_behind_the_last_whole_one_is_not_waited_for() -> None:
    client = DownstreamClient()
    client.send(GET % b"1" + b"GET /2")
    client.transport.receive_eof()
    client.answer()
    assert client.transport.closed


def test_a_drain_that_begins_under_a_response() -> None:
    client = DownstreamClient()
    client.send(GET % b"1")
    client.respond(response_head(), b"a")
    client.drain()
    client.content(b"b", end=True)
    client.loop.advance(DRAIN_IDLE_GRACE + 2 * INTERVAL)
    assert client.transport.closed


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
def test_a_client_that_never_reads_the_end_of_its_answer(connection: bytes) -> None:
    client = DownstreamClient()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: " + connection + b"\r\n\r\n")
    client.transport.stop_reading()
    client.answer(b"x" * 1000)
    client.loop.advance(500)
    assert client.transport.is_lost()


def test_the_limit_of_a_response_that_begins_before_the_request_has_ended() -> None:
    client = DownstreamClient()
    client.send(POST % 3)
    client.respond(response_head(), b"a")
    client.loop.advance(LIMITS.client_response - 5)
    client.send(b"abc")
    client.loop.advance(5 + 2 * INTERVAL)
    assert client.transport.aborted


def test_an_empty_line_in_two_pieces_starts_no_clock() -> None:
    client = DownstreamClient(answer=immediately)
    client.send(GET % b"1")
    client.send(b"\r")
    client.send(b"\n")
    client.loop.advance(LIMITS.client_header + 1)
    assert not client.transport.is_closing()
    client.send(b"GET /2")
    client.loop.advance(5)
    client.send(b" HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.targets == [b"/1", b"/2"]
