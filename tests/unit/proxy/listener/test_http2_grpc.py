"""Calls of gRPC on streams: failures that are told as a status, also in a response, and time that others limit."""

from __future__ import annotations

import pytest

from tests.support.downstream_client import LIMITS, response_head, settings
from tests.support.multiplexing_client import MultiplexingClient
from vrata.net.deadlines import INTERVAL
from vrata.proxy.contracts import Failure, FailureClass
from vrata.wire.http2.errors import CANCEL, INTERNAL_ERROR, NO_ERROR

GRPC = ("content-type", "application/grpc+proto")
BEGUN = response_head(b"Content-Type: application/grpc")
MESSAGE = b"\0\0\0\0\2ok"
RESET = Failure(FailureClass.CONNECTION_RESET)


def calling(*fields: tuple[str, str], end: bool = False) -> tuple[MultiplexingClient, int]:
    client = MultiplexingClient.started()
    number = client.request("POST", "/a.B/C", [GRPC, ("te", "trailers"), *fields], end=end)
    return client, number


def fail(client: MultiplexingClient, failure: Failure = RESET) -> None:
    client.last.request.fail(failure)
    client.take_in()


@pytest.mark.parametrize("end", [True, False])
def test_a_failure_is_a_status_and_nothing_else(end: bool) -> None:
    client, number = calling(end=end)
    fail(client)
    answer = client.answers[number]
    assert (answer.status, answer.content, answer.ended) == (200, b"", True)
    assert "grpc-status: 14" in answer.lines()
    # Who has not sent everything is told that it is of no interest, and that nothing is wrong with it.
    assert answer.reset == (None if end else NO_ERROR)
    assert client.owner.in_flight == 0


@pytest.mark.parametrize("content", [b"", MESSAGE, MESSAGE[:3]])
@pytest.mark.parametrize("end", [True, False])
def test_a_response_that_has_begun_ends_with_its_status(content: bytes, end: bool) -> None:
    client, number = calling(end=end)
    client.respond(BEGUN, content)
    fail(client, Failure(FailureClass.TIMEOUT))
    answer = client.answers[number]
    assert (answer.content, answer.trailers, answer.ended) == (content, [("grpc-status", "4")], True)
    assert answer.reset == (None if end else NO_ERROR)
    assert client.owner.in_flight == 0
    # The connection goes on.
    number = client.request(path="/next")
    client.answer(b"next")
    assert client.answers[number].content == b"next"


@pytest.mark.parametrize(
    "head",
    [
        response_head(b"Content-Type: application/grpc", b"Content-Length: 10"),
        response_head(b"Content-Type: application/json"),
        response_head(b"Content-Type: application/grpc-web"),
        response_head(),
    ],
)
def test_what_may_be_taken_for_whole_is_cut(head: object) -> None:
    client, number = calling(end=True)
    client.respond(head, b"abc")  # type: ignore[arg-type]
    fail(client)
    answer = client.answers[number]
    assert (answer.content, answer.trailers, answer.ended) == (b"abc", [], False)
    assert answer.reset == INTERNAL_ERROR


def test_who_has_not_called_does_not_look_for_a_status() -> None:
    client = MultiplexingClient.started()
    number = client.request()
    client.respond(BEGUN, MESSAGE)
    fail(client)
    assert (client.answers[number].ended, client.answers[number].reset) == (False, INTERNAL_ERROR)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ([GRPC, ("expect", "nothing")], {"grpc-status: 2", "grpc-message: bad_request: unknown expectation"}),
        ([("content-type", "application/grpc-web"), ("expect", "nothing")], set()),
        ([GRPC, ("x", "y" * 5_000)], {"grpc-status: 8"}),
    ],
)
def test_a_refusal_is_a_status_where_the_head_is_seen_to_be_a_calls(
    fields: list[tuple[str, str]], status: set[str]
) -> None:
    client = MultiplexingClient.started(settings(http2=True, max_fields_size=1000))
    number = client.request("POST", "/a.B/C", fields)
    answer = client.answers[number]
    if status:
        assert (answer.status, answer.content) == (200, b"")
        assert status <= answer.lines()
    else:
        assert answer.status == 417


def test_a_handler_that_limits_a_call_itself_keeps_it_as_long_as_it_likes() -> None:
    client, number = calling()
    client.last.request.limited_by_handler()
    client.advance(LIMITS.client_request + 2 * INTERVAL)
    assert client.answers[number].reset is None
    client.respond(BEGUN, MESSAGE)
    client.advance(LIMITS.client_response + 2 * INTERVAL)
    client.content(MESSAGE)
    assert client.answers[number].content == MESSAGE * 2
    # Not so a call that nobody has taken up in this way.
    client, number = calling()
    client.advance(LIMITS.client_request + 2 * INTERVAL)
    assert client.answers[number].reset == CANCEL


def test_a_client_that_takes_nothing_is_not_kept_for_ever() -> None:
    client = MultiplexingClient.started(window=100)
    client.takes_content = False
    number = client.request("POST", "/a.B/C", [GRPC], end=False)
    client.last.request.limited_by_handler()
    client.respond(BEGUN, b"x" * 100_000)
    client.advance(LIMITS.idle_between_requests + 2 * INTERVAL)
    assert client.answers[number].reset == CANCEL
