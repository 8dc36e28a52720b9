"""Streams: RFC 9113 §5.1 (every frame in every state), §5.1.1, §5.1.2, §5.3, and RFC 9218 §2."""

from __future__ import annotations

import contextlib

from tests.conformance.http2.case import (
    Case,
    Client,
    answered,
    assert_unharmed,
    cases,
    connection_error,
    error,
    get,
    ignored,
    ignored_or,
    post,
    sends,
    tolerated_or,
)
from tests.conformance.http2.held import Held
from tests.support import http2_frames as frames
from tests.support.http2_frames import Code, Kind, Setting
from tests.support.http2_peer import PeerGone

UNKNOWN = frames.frame(0x2A, 0, 1, b"whatever")
MISPLACED = (Code.PROTOCOL_ERROR, Code.STREAM_CLOSED)


def goes_back(client: Client) -> None:
    """A request on a stream that the one before has skipped."""
    assert client.exchange(5).status == 200
    client.request(3)


def skips(client: Client) -> None:
    """RFC 9113 §5.1.1: the first use of a stream closes the idle ones with lower numbers."""
    assert client.exchange(5).status == 200
    client.send(frames.data(3))


@cases(
    [
        Case("5.1", "idle: DATA", sends(frames.data(1, b"x", end=True)), connection_error(*MISPLACED)),
        Case("5.1", "idle: RST_STREAM", sends(frames.rst_stream(1)), connection_error(Code.PROTOCOL_ERROR)),
        Case("5.1", "idle: WINDOW_UPDATE", sends(frames.window_update(1, 1)), connection_error(Code.PROTOCOL_ERROR)),
        Case("5.1", "idle: CONTINUATION", sends(frames.continuation(1)), connection_error(Code.PROTOCOL_ERROR)),
        Case("5.1", "idle: PRIORITY", sends(frames.priority(1)), ignored),
        Case("5.1", "idle: PRIORITY, then a request", sends(frames.priority(1), get(1)), answered()),
        Case("5.1", "idle: unknown frame", sends(UNKNOWN), ignored),
        Case(
            "5.1",
            "idle: PUSH_PROMISE",
            sends(lambda client: frames.push_promise(1, 2, client.block(client.request_fields()))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case("5.1", "idle: streams that were skipped: DATA", skips, ignored_or(*MISPLACED)),
        Case(
            "5.1",
            "idle: an even stream: WINDOW_UPDATE",
            sends(frames.window_update(2, 1)),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case("5.1", "idle: an even stream: RST_STREAM", sends(frames.rst_stream(2)), connection_error(*MISPLACED)),
    ]
)
def test_idle(client: Client, case: Case) -> None:
    case.run(client)


@cases(
    [
        Case("5.1", "open: PRIORITY", sends(post(), frames.priority(1), frames.data(1, end=True)), answered()),
        Case("5.1", "open: unknown frame", sends(post(), UNKNOWN, frames.data(1, end=True)), answered()),
        Case(
            "5.1",
            "open: WINDOW_UPDATE",
            sends(post(), frames.window_update(1, 1), frames.data(1, end=True)),
            answered(),
        ),
        Case("5.1", "open: RST_STREAM", sends(post(), frames.rst_stream(1)), ignored),
        Case("5.1", "open: CONTINUATION", sends(post(), frames.continuation(1)), connection_error(Code.PROTOCOL_ERROR)),
        Case(
            "5.1",
            "open: PUSH_PROMISE",
            sends(post(), lambda client: frames.push_promise(1, 2, client.block(client.request_fields()))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case("5.1", "open: a second head that ends nothing", sends(post(), post()), error(*MISPLACED)),
    ]
)
def test_open(client: Client, case: Case) -> None:
    case.run(client)


@cases(
    [
        Case("5.1", "half-closed (remote): DATA", sends(frames.data(1, b"x")), error(Code.STREAM_CLOSED)),
        Case("5.1", "half-closed (remote): empty DATA", sends(frames.data(1)), error(Code.STREAM_CLOSED)),
        Case("5.1", "half-closed (remote): HEADERS", sends(get(1)), error(Code.STREAM_CLOSED)),
        Case("5.1", "half-closed (remote): CONTINUATION", sends(frames.continuation(1)), error(*MISPLACED)),
        Case(
            "5.1",
            "half-closed (remote): PUSH_PROMISE",
            sends(lambda client: frames.push_promise(1, 2, client.block(client.request_fields()))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
    ]
)
def test_half_closed_what_may_not_come(client: Client, held: Held, case: Case) -> None:
    client.request(1)
    held.await_request()
    case.act(client)
    held.release()
    case.expectation(client)


@cases(
    [
        Case("5.1", "half-closed (remote): PRIORITY", sends(frames.priority(1)), answered()),
        Case("5.1", "half-closed (remote): WINDOW_UPDATE", sends(frames.window_update(1, 1)), answered()),
        Case("5.1", "half-closed (remote): unknown frame", sends(UNKNOWN), answered()),
        Case("5.1", "half-closed (remote): RST_STREAM", sends(frames.rst_stream(1)), ignored),
    ]
)
def test_half_closed_what_may_come(client: Client, held: Held, case: Case) -> None:
    client.request(1)
    held.await_request()
    case.act(client)
    client.round_trip()
    held.release()
    case.expectation(client)


@cases(
    [
        Case("5.1", "closed: PRIORITY", sends(frames.priority(1)), ignored),
        Case("5.1", "closed: WINDOW_UPDATE", sends(frames.window_update(1, 1)), ignored),
        Case("5.1", "closed: RST_STREAM", sends(frames.rst_stream(1)), ignored),
        Case("5.1", "closed: unknown frame", sends(UNKNOWN), ignored),
        Case("5.1", "closed: DATA", sends(frames.data(1, b"x", end=True)), ignored_or(*MISPLACED)),
        Case("5.1", "closed: HEADERS", sends(get(1)), ignored_or(*MISPLACED)),
        Case("5.1", "closed: CONTINUATION", sends(frames.continuation(1)), connection_error(*MISPLACED)),
    ]
)
def test_closed_by_both_ends(client: Client, case: Case) -> None:
    assert client.exchange(1).status == 200
    case.run(client)


@cases(
    [
        Case("5.1", "reset by us: PRIORITY", sends(frames.priority(1)), ignored),
        Case("5.1", "reset by us: DATA", sends(frames.data(1, b"x", end=True)), ignored_or(*MISPLACED)),
        Case("5.1", "reset by us: HEADERS", sends(get(1)), ignored_or(*MISPLACED)),
        Case("5.1", "reset by us: WINDOW_UPDATE", sends(frames.window_update(1, 1)), ignored_or(*MISPLACED)),
        Case("5.1", "reset by us: RST_STREAM", sends(frames.rst_stream(1)), ignored_or(*MISPLACED)),
        Case("5.1", "reset by us: CONTINUATION", sends(frames.continuation(1)), connection_error(*MISPLACED)),
    ]
)
def test_closed_by_a_reset_of_the_client(client: Client, case: Case) -> None:
    client.send(client.request_frame(1, method="POST", end=False), frames.rst_stream(1))
    client.round_trip()
    case.run(client)


@cases(
    [
        Case("5.1", "reset by the server: PRIORITY", sends(frames.priority(1)), ignored_or()),
        Case("5.1", "reset by the server: DATA", sends(frames.data(1, b"x")), ignored_or()),
        Case("5.1", "reset by the server: the end", sends(frames.data(1, b"x", end=True)), ignored_or()),
        Case("5.1", "reset by the server: WINDOW_UPDATE", sends(frames.window_update(1, 1)), ignored_or()),
        Case("5.1", "reset by the server: RST_STREAM", sends(frames.rst_stream(1)), ignored_or()),
        Case("5.1", "reset by the server: trailers", sends(get(1)), ignored_or(*MISPLACED)),
    ]
)
def test_closed_by_a_reset_of_the_server(client: Client, case: Case) -> None:
    """RFC 9113 §5.1: whoever sends RST_STREAM must be ready to receive what was on its way, and ignore it."""
    client.head(1, [*client.request_fields(method="POST"), ("Upper", "case")], end=False)
    client.await_that(lambda: client.message(1).reset is not None, "RST_STREAM")
    client.messages.pop(1)
    case.run(client)


@cases(
    [
        Case("5.1.1", "an even number", sends(get(2)), connection_error(Code.PROTOCOL_ERROR)),
        Case("5.1.1", "stream 0", sends(get(0)), connection_error(Code.PROTOCOL_ERROR)),
        # A connection error by the letter, which nghttp2 spares those who send trailers after our reset.
        Case("5.1.1", "lower than the last", goes_back, ignored_or(*MISPLACED)),
        Case("5.1.1", "numbers may be skipped", sends(get(4711)), answered(4711)),
        Case("5.1.1", "the greatest number", sends(get(0x7FFFFFFF)), lambda client: answered_only(client, 0x7FFFFFFF)),
    ]
)
def test_identifiers(client: Client, case: Case) -> None:
    case.run(client)


def answered_only(client: Client, stream: int) -> None:
    """There can be no stream after the greatest."""
    assert client.await_message(stream).status == 200


def test_streams_beyond_the_limit_are_refused(client: Client, held: Held) -> None:
    """RFC 9113 §5.1.2: a stream error of PROTOCOL_ERROR or REFUSED_STREAM; those within the limit are answered."""
    limit = client.settings[Setting.MAX_CONCURRENT_STREAMS]
    for number in range(limit + 3):
        client.request(2 * number + 1)
    beyond = [2 * number + 1 for number in range(limit, limit + 3)]
    client.await_that(lambda: all(client.message(stream).is_over for stream in beyond), "the end of those beyond")
    assert {client.message(stream).reset for stream in beyond} <= {Code.REFUSED_STREAM, Code.PROTOCOL_ERROR}
    held.release()
    within = [2 * number + 1 for number in range(limit)]
    client.await_that(lambda: all(client.message(stream).is_over for stream in within), "all answers")
    assert {client.message(stream).status for stream in within} == {200}
    assert_unharmed(client)


def test_a_place_is_free_again_when_a_stream_has_ended(client: Client) -> None:
    """RFC 9113 §5.1.2: only open and half-closed streams count."""
    limit = client.settings[Setting.MAX_CONCURRENT_STREAMS]
    for number in range(2 * limit):
        assert client.exchange(2 * number + 1).status == 200


def test_a_limit_is_announced(client: Client) -> None:
    """RFC 9113 §6.5.2: it is recommended that the limit be no smaller than 100."""
    assert 100 <= client.settings[Setting.MAX_CONCURRENT_STREAMS] < 1 << 16


def test_the_client_limit_of_streams_is_not_ours(silent_client: Client) -> None:
    """RFC 9113 §5.1.2: the limit is one on the peer; a client may forbid pushes and still ask."""
    silent_client.start({Setting.MAX_CONCURRENT_STREAMS: 0, Setting.ENABLE_PUSH: 0})
    assert_unharmed(silent_client)


@cases(
    [
        # RFC 7540 §5.3.1 made a stream error of it, which RFC 9113 §5.3.2 asks for no more.
        Case("5.3", "PRIORITY on itself", sends(frames.priority(1, 1)), tolerated_or(Code.PROTOCOL_ERROR)),
        Case(
            "5.3",
            "HEADERS with priority",
            sends(get(1, flags=frames.PRIORITY_FLAG, prefix=b"\0\0\0\0\x0f")),
            answered(),
        ),
        Case(
            "5.3",
            "HEADERS with an exclusive dependency on an idle stream",
            sends(get(1, flags=frames.PRIORITY_FLAG, prefix=b"\x80\0\0\x63\xff")),
            answered(),
        ),
        Case("5.3", "PRIORITY of a stream of the server", sends(frames.priority(2, 0)), ignored),
        Case("5.3", "a cycle", sends(frames.priority(3, 1), frames.priority(1, 3)), ignored),
        Case(
            "RFC 9218 2.1",
            "SETTINGS_NO_RFC7540_PRIORITIES that changes",
            sends(frames.settings({Setting.NO_RFC7540_PRIORITIES: 1})),
            tolerated_or(Code.PROTOCOL_ERROR),
        ),
        Case(
            "RFC 9218 7.1",
            "PRIORITY_UPDATE of an idle stream",
            sends(frames.frame(Kind.PRIORITY_UPDATE, 0, 0, b"\0\0\0\1u=1"), get(1)),
            answered(),
        ),
        Case("RFC 9218 5", "a priority field", sends(get(1, ("priority", "u=1, i"))), answered()),
    ]
)
def test_priorities(client: Client, case: Case) -> None:
    case.run(client)


def test_a_client_without_priorities(silent_client: Client) -> None:
    """RFC 9218 §2.1: the setting belongs into the first SETTINGS frame, ours too."""
    silent_client.start({Setting.NO_RFC7540_PRIORITIES: 1})
    assert silent_client.settings.get(Setting.NO_RFC7540_PRIORITIES, 0) in (0, 1)
    assert_unharmed(silent_client)


def test_a_head_that_depends_on_itself(client: Client) -> None:
    """RFC 7540 §5.3.1: a stream error, which RFC 9113 does not ask for any more."""
    client.send(client.request_frame(1, flags=frames.PRIORITY_FLAG, prefix=b"\0\0\0\1\x0f"))
    with contextlib.suppress(PeerGone):
        client.await_message(1)
    if client.message(1).status:
        answered()(client)
    else:
        error(Code.PROTOCOL_ERROR)(client)
