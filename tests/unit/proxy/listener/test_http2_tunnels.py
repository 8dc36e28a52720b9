"""Tunnels over a stream (RFC 8441): a request to upgrade for the upstream, bytes both ways, and every way to end."""

from __future__ import annotations

import pytest

from tests.support.downstream_client import LIMITS, ShortAnswers, local, response_head, settings
from tests.support.multiplexing_client import Answer, MultiplexingClient
from vrata.net.deadlines import INTERVAL
from vrata.proxy.contracts import Failure, FailureClass, LocalResponse
from vrata.wire.http2.errors import CANCEL, INTERNAL_ERROR, NO_ERROR

SWITCHED = response_head(b"Upgrade: websocket", b"Connection: upgrade", b"Sec-WebSocket-Accept: x", status=101)


def asked(
    client: MultiplexingClient | None = None, fields: list[tuple[str, str]] | None = None
) -> tuple[MultiplexingClient, int]:
    """A client that has asked for a tunnel."""
    client = client or MultiplexingClient.started()
    fields = [("sec-websocket-version", "13"), *(fields or [])]
    number = client.request("CONNECT", "/ws", fields, end=False, pseudo=[PROTOCOL])
    return client, number


PROTOCOL = (":protocol", "websocket")


def opened() -> tuple[MultiplexingClient, int]:
    """A client that has got one."""
    client, number = asked()
    client.respond(SWITCHED)
    answer = client.answers[number]
    assert (answer.status, answer.ended) == (200, False)
    assert answer.lines() == set()
    return client, number


def test_the_handler_sees_an_upgrade() -> None:
    client, _ = asked()
    head = client.last.request.head
    assert (head.method, head.target, head.upgrade) == (b"GET", b"/ws", True)
    assert len(head.values(b"sec-websocket-key")[0]) == 24
    assert (client.last.content, client.last.end) == (b"", True)


def test_bytes_pass_both_ways() -> None:
    client, number = opened()
    client.content_of(number, b"ping")
    assert client.last.tunnelled == b"ping"
    client.content(b"pong")
    assert client.answers[number].content == b"pong"


def test_what_comes_early_is_kept_and_gets_no_further_window() -> None:
    client, number = asked()
    for _ in range(16):
        client.content_of(number, b"x" * 16384)
    assert client.h2.local_flow_control_window(number) == 0
    assert client.last.tunnelled == b""
    client.respond(SWITCHED, b"hello")
    assert client.last.tunnelled == b"x" * 262144
    assert client.h2.local_flow_control_window(number) == 262144
    assert client.answers[number].content == b"hello"


def test_the_client_closes_its_half_first() -> None:
    client, number = opened()
    client.content_of(number, b"bye", end=True)
    assert (client.last.tunnelled, client.last.tunnel_ended) == (b"bye", True)
    client.content(b"bye yourself", end=True)
    answer = client.answers[number]
    assert (answer.content, answer.ended, answer.reset) == (b"bye yourself", True, None)
    assert client.owner.in_flight == 0
    assert "idle" in repr(client.served_by)


def test_the_upstream_closes_its_half_first() -> None:
    client, number = opened()
    client.last.request.end_tunnel()
    client.take_in()
    assert (client.answers[number].ended, client.answers[number].reset) == (True, None)
    client.content_of(number, b"still here")
    assert client.last.tunnelled == b"still here"
    client.content_of(number, b"", end=True)
    assert client.last.tunnel_ended
    client.content(b"", end=True)
    assert client.answers[number].reset is None
    assert client.owner.in_flight == 0


def test_the_upstream_closes_all_of_it() -> None:
    client, number = opened()
    client.content(b"over", end=True)
    answer = client.answers[number]
    assert (answer.content, answer.ended, answer.reset) == (b"over", True, NO_ERROR)
    assert client.owner.in_flight == 0


def test_the_upstream_resets_it() -> None:
    client, number = opened()
    client.last.request.fail(Failure(FailureClass.CONNECTION_RESET))
    client.take_in()
    assert client.answers[number].reset == CANCEL
    assert client.owner.in_flight == 0


def test_the_client_resets_it() -> None:
    client, number = opened()
    client.reset_stream(number)
    assert client.last.client_gone == 1
    assert client.owner.in_flight == 0


def test_a_tunnel_ends_when_nothing_passes_and_only_then() -> None:
    client, number = opened()
    idle = LIMITS.idle_between_requests
    for turn in range(4):
        client.advance(idle - 1)
        if turn % 2:
            client.content(b"x")
        else:
            client.content_of(number, b"x")
    client.advance(idle - 1)
    assert (client.answers[number].ended, client.answers[number].reset) == (False, None)
    client.advance(1 + 2 * INTERVAL)
    assert (client.answers[number].ended, client.answers[number].reset) == (True, NO_ERROR)
    assert client.last.client_gone == 1
    assert client.owner.in_flight == 0


def test_a_client_that_takes_nothing_out_of_a_tunnel_is_cut_off() -> None:
    client = MultiplexingClient.started(window=10)
    client.takes_content = False
    client, number = asked(client)
    client.respond(SWITCHED, b"x" * 100000)
    assert client.last.paused
    client.advance(LIMITS.idle_between_requests + 2 * INTERVAL)
    assert client.answers[number].reset == CANCEL
    assert client.last.client_gone == 1


@pytest.mark.parametrize("status", [403, 404, 503])
def test_an_upstream_that_does_not_want_it(status: int) -> None:
    client, number = asked()
    client.respond(response_head(b"Content-Length: 2", status=status), b"no", end=True)
    answer = client.answers[number]
    assert (answer.status, answer.content, answer.ended, answer.reset) == (status, b"no", True, NO_ERROR)


@pytest.mark.parametrize("own", [True, False])
def test_a_success_that_is_no_tunnel_does_not_look_like_one(own: bool) -> None:
    client, number = asked()
    if own:
        client.last.request.respond(local(b"hello"))
    else:
        client.last.request.start_response(response_head(b"Content-Length: 5"), b"hello", True)
    client.take_in()
    answer = client.answers[number]
    assert (answer.status, answer.content) == (502, b"connection_reset")
    assert client.owner.in_flight == 0


GRPC = ("content-type", "application/grpc")


@pytest.mark.parametrize("fields", [[], [GRPC]])
def test_a_failure_is_no_success_whatever_the_tunnel_says_it_carries(fields: list[tuple[str, str]]) -> None:
    client, number = asked(fields=fields)
    client.last.request.fail(Failure(FailureClass.CONNECTION_REFUSED))
    client.take_in()
    assert (client.answers[number].status, client.answers[number].content) == (502, b"connection_refused")
    assert client.owner.in_flight == 0


def test_a_refusal_is_no_success_either() -> None:
    client = MultiplexingClient.started(settings(http2=True, max_fields_size=1000))
    client, number = asked(client, [GRPC, ("x", "y" * 5_000)])
    assert client.answers[number].status == 431


class Successes(ShortAnswers):
    """Answers that all look like successes."""

    def failure(self, failure: Failure, *, grpc: bool) -> LocalResponse:
        return LocalResponse(200, b"", b"all is well")


def test_a_failure_that_looks_like_a_tunnel_is_a_reset() -> None:
    client, number = asked(MultiplexingClient.started(settings(http2=True, answers=Successes())))
    client.respond(response_head(b"Content-Length: 5"), b"hello", end=True)
    assert (client.answers[number].fields, client.answers[number].reset) == ([], INTERNAL_ERROR)
    assert client.last.client_gone == 1
    assert client.owner.in_flight == 0


@pytest.mark.parametrize("fields", [[], [GRPC]])
def test_a_tunnel_without_a_protocol_is_not_offered(fields: list[tuple[str, str]]) -> None:
    client = MultiplexingClient.started()
    number = client.h2.get_next_available_stream_id()
    client.answers[number] = Answer()
    client.h2.send_headers(number, [(":method", "CONNECT"), (":authority", "a:80"), *fields])
    client.flush()
    assert client.answers[number].status == 501


def test_another_protocol_is_not_offered() -> None:
    client = MultiplexingClient.started()
    number = client.request("CONNECT", "/", end=False, pseudo=[(":protocol", "connect-udp")])
    assert client.answers[number].status == 501
