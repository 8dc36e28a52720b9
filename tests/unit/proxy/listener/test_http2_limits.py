"""Limits of time of HTTP/2 clients, their goodbyes and ours."""

from __future__ import annotations

import pytest

from tests.support.downstream_client import LIMITS, immediately, local, response_head, settings
from tests.support.multiplexing_client import MultiplexingClient
from vrata.net.deadlines import INTERVAL, NEVER
from vrata.proxy.listener.http2_stream import SHARES
from vrata.proxy.listener.http2_time_limits import DRAIN_GRACE
from vrata.proxy.listener.settings import ListenerTimeouts
from vrata.proxy.listener.time_limits import LINGER
from vrata.wire.http2.errors import CANCEL, NO_ERROR
from vrata.wire.http2.session import HIGH, PREFACE

MARGIN = 2 * INTERVAL
IDLE = LIMITS.idle_between_requests
NO_LIMIT = ListenerTimeouts(10, 60, NEVER, IDLE)
EVENTS = b"Content-Type: text/event-stream"
LAST = 2**31 - 1


def with_limits(timeouts: ListenerTimeouts = LIMITS) -> MultiplexingClient:
    return MultiplexingClient.started(settings(http2=True, timeouts=timeouts))


def taking_nothing(timeouts: ListenerTimeouts = LIMITS) -> tuple[MultiplexingClient, int]:
    """A client that has opened a window of ten bytes on the only stream, and does not open it any further."""
    client = MultiplexingClient.started(settings(http2=True, timeouts=timeouts), window=10)
    client.takes_content = False
    return client, client.request()


# -- beginning and idling --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [PREFACE[:3], PREFACE, PREFACE + b"\x00\x00\x06\x04\x00"])
def test_a_preface_and_its_settings_have_to_come_in_time(sent: bytes) -> None:
    client = MultiplexingClient()
    client.send(sent)
    client.loop.advance(LIMITS.client_header - INTERVAL)
    assert not client.transport.is_lost()
    client.loop.advance(INTERVAL + MARGIN)
    assert client.transport.is_lost()


def test_an_idle_connection_is_ended_in_good_order() -> None:
    client = with_limits()
    client.advance(IDLE - INTERVAL)
    assert not client.goaways
    client.advance(INTERVAL + MARGIN)
    assert [(event.error_code, event.last_stream_id) for event in client.goaways] == [(NO_ERROR, 0)]
    assert client.transport.ended
    client.loop.advance(LINGER + MARGIN)
    assert client.transport.closed


def test_the_idle_limit_begins_with_the_last_answer_and_pings_do_not_renew_it() -> None:
    client = with_limits()
    client.request()
    client.advance(30)
    client.answer()
    for _ in range(10):
        client.advance(IDLE / 10 - INTERVAL)
        assert not client.goaways
        client.h2.ping(b"12345678")
        client.flush()
    client.advance(10 * INTERVAL + MARGIN)
    assert len(client.goaways) == 1


def test_a_connection_with_a_stream_is_not_idle() -> None:
    client = with_limits()
    client.request()
    client.advance(10 * IDLE)
    client.answer()
    assert client.answers[1].content == b"own"
    assert not client.goaways


@pytest.mark.parametrize(
    "begun",
    [b"\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82", b"\x00\x00\x20\x01\x04\x00\x00\x00\x01\x82"],
    ids=["to be continued", "within a frame"],
)
def test_a_head_has_to_come_in_time_whatever_else_goes_on(begun: bytes) -> None:
    client = with_limits()
    client.request("POST", end=False)
    client.send(begun)
    client.loop.advance(LIMITS.client_header - INTERVAL)
    assert not client.transport.is_lost()
    client.loop.advance(INTERVAL + MARGIN)
    assert client.transport.aborted
    assert client.last.client_gone == 1


# -- requests and responses ------------------------------------------------------------------------------------------


def test_the_limit_of_a_request_ends_its_stream_alone() -> None:
    client = with_limits()
    slow = client.request("POST", "/slow", end=False)
    client.advance(LIMITS.client_request - INTERVAL)
    other = client.request(path="/other")
    assert client.answers[slow].reset is None
    client.advance(INTERVAL + MARGIN)
    assert client.answers[slow].reset == CANCEL
    assert client.handled_at("/slow").client_gone == 1
    assert client.owner.in_flight == 1
    client.handled_at("/other").request.respond(local(b"fine"))
    client.take_in()
    assert client.answers[other].content == b"fine"
    assert client.owner.in_flight == 0


def test_a_request_that_is_whole_has_no_limit_of_the_listener() -> None:
    client = with_limits()
    number = client.request("POST", end=False)
    client.content_of(number, b"abc", end=True)
    client.advance(10 * LIMITS.client_request)
    client.answer()
    assert client.answers[number].content == b"own"


@pytest.mark.parametrize("end", [True, False], ids=["whole", "unfinished"])
@pytest.mark.parametrize("own", [True, False], ids=["own", "relayed"])
def test_the_limit_of_a_response_covers_the_taking_of_it(own: bool, end: bool) -> None:
    client, number = taking_nothing()
    if own:
        client.answer(b"x" * 100)
    else:
        client.respond(response_head(), b"x" * 100, end=end)
    for _ in range(3):
        client.advance(LIMITS.client_response / 4)
        client.open_window(1, number)
        client.last.request.send_content(b"x", False)
    client.advance(LIMITS.client_response / 4 - INTERVAL)
    assert client.answers[number].reset is None
    client.advance(INTERVAL + MARGIN)
    assert client.answers[number].reset == CANCEL
    assert client.owner.in_flight == 0
    assert not client.goaways


def test_an_event_stream_has_no_limit_as_long_as_it_is_taken() -> None:
    client = with_limits()
    number = client.request()
    client.respond(response_head(EVENTS), b"1")
    client.advance(10 * LIMITS.client_response)
    client.content(b"2", end=True)
    assert (client.answers[number].content, client.answers[number].ended) == (b"12", True)


@pytest.mark.parametrize("end", [True, False], ids=["whole", "unfinished"])
@pytest.mark.parametrize("fields", [(), (EVENTS,)], ids=["plain", "events"])
def test_a_client_that_opens_no_window_is_cut_off(fields: tuple[bytes, ...], end: bool) -> None:
    client, number = taking_nothing(NO_LIMIT)
    client.respond(response_head(*fields), b"x" * (HIGH + 11), end=end)
    assert end or client.last.paused
    client.advance(IDLE - INTERVAL)
    assert client.answers[number].reset is None
    client.advance(INTERVAL + MARGIN)
    assert client.answers[number].reset == CANCEL
    assert client.last.client_gone == (0 if end else 1)
    assert client.owner.in_flight == 0


@pytest.mark.parametrize("end", [True, False], ids=["whole", "unfinished"])
@pytest.mark.parametrize("fields", [(), (EVENTS,)], ids=["plain", "events"])
def test_a_client_that_opens_it_bit_by_bit_is_not(fields: tuple[bytes, ...], end: bool) -> None:
    client, number = taking_nothing(NO_LIMIT)
    waiting = HIGH + 100
    client.respond(response_head(*fields), b"x" * waiting, end=end)
    for _ in range(5):
        client.advance(IDLE - 1)
        client.open_window(waiting // SHARES + 1, number)
    assert client.answers[number].reset is None
    client.advance(2 * IDLE)
    assert client.answers[number].reset == CANCEL


@pytest.mark.parametrize("end", [True, False], ids=["whole", "unfinished"])
@pytest.mark.parametrize("fields", [(), (EVENTS,)], ids=["plain", "events"])
def test_a_client_that_takes_next_to_nothing_takes_nothing(fields: tuple[bytes, ...], end: bool) -> None:
    client, number = taking_nothing(NO_LIMIT)
    client.respond(response_head(*fields), b"x" * (HIGH + 100), end=end)
    for _ in range(4):
        client.advance(IDLE / 4 - INTERVAL)
        assert client.answers[number].reset is None
        client.open_window(100, number)
    client.advance(5 * INTERVAL + MARGIN)
    assert client.answers[number].reset == CANCEL


def test_a_client_that_leaves_the_rest_of_a_response_is_cut_off() -> None:
    client, number = taking_nothing(NO_LIMIT)
    client.respond(response_head(), b"x" * (HIGH + 11), end=True)
    client.open_window(HIGH - 100, number)
    client.advance(2 * IDLE + MARGIN)
    assert client.answers[number].reset == CANCEL


def test_a_stalled_stream_does_not_hold_up_a_connection() -> None:
    client, _ = taking_nothing(NO_LIMIT)
    client.respond(response_head(), b"x" * (HIGH + 11))
    for _ in range(3):
        client.advance(IDLE / 4)
        number = client.request(path="/quick")
        client.answer(b"quick")
        assert client.answers[number].content == b"quick"


def test_a_client_that_reads_nothing_is_cut() -> None:
    client = MultiplexingClient.started(settings(http2=True, timeouts=NO_LIMIT), window=1 << 20)
    client.open_window(1 << 20)
    client.request()
    client.transport.stop_reading()
    client.respond(response_head(), b"x" * 500000)
    assert client.last.paused
    client.loop.advance(IDLE - INTERVAL)
    assert not client.transport.is_lost()
    client.transport.read_some(1)
    client.loop.advance(IDLE - INTERVAL)
    assert not client.transport.is_lost()
    client.loop.advance(3 * MARGIN)
    assert client.transport.aborted
    assert client.last.client_gone == 1


def test_the_last_response_has_to_be_read_as_well() -> None:
    client = MultiplexingClient.started(window=1 << 20)
    client.request()
    client.transport.stop_reading()
    client.answer(b"x" * 1000)
    client.loop.advance(LIMITS.client_response - INTERVAL)
    assert not client.transport.is_lost()
    client.loop.advance(INTERVAL + MARGIN)
    assert client.transport.aborted


def test_no_limits_at_all() -> None:
    client = with_limits(ListenerTimeouts(NEVER, NEVER, NEVER, NEVER))
    number = client.request("POST", end=False)
    client.advance(1e4)
    client.respond(response_head(), b"a")
    client.advance(1e4)
    client.content_of(number, b"", end=True)
    client.content(b"b", end=True)
    assert client.answers[number].content == b"ab"
    client.advance(1e4)
    assert not client.goaways


# -- our goodbye -----------------------------------------------------------------------------------------------------


def test_a_drain_is_announced_and_streams_on_their_way_are_served() -> None:
    client = with_limits()
    client.owner.connections.copy().pop().drain()
    number = client.h2.get_next_available_stream_id()  # begun before the client has heard of it
    client.h2.send_headers(
        number, [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/late")], end_stream=True
    )
    client.send(client.h2.data_to_send())
    assert client.targets == [b"/late"]
    said = client.transport.take()
    assert b"\x07\x00\x00\x00\x00\x00\x7f\xff\xff\xff\x00\x00\x00\x00" in said  # GOAWAY, 2^31-1, NO_ERROR
    assert b"farewell" in said
    client.send(b"\x00\x00\x08\x06\x01\x00\x00\x00\x00farewell")
    said = client.transport.take()
    assert b"\x07\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00" in said  # GOAWAY, 1, NO_ERROR
    assert not client.transport.has_ended()
    client.handled[0].request.respond(local(b"the last"))
    client.loop.settle()
    assert b"the last" in client.transport.take()
    assert client.transport.has_ended()
    client.transport.receive_eof()
    assert client.transport.closed


@pytest.mark.parametrize("answers", [True, False])
def test_an_idle_connection_drains_at_the_clients_answer_or_after_a_grace(answers: bool) -> None:
    client = with_limits()
    client.owner.connections.copy().pop().drain()
    client.loop.settle()
    if answers:
        client.send(b"\x00\x00\x08\x06\x01\x00\x00\x00\x00farewell")
    else:
        client.loop.advance(DRAIN_GRACE - INTERVAL)
        assert not client.transport.ended
        client.loop.advance(INTERVAL + MARGIN)
    assert client.transport.ended
    client.loop.advance(LINGER + MARGIN)
    assert client.transport.closed


def test_a_stream_begun_after_the_goodbye_is_not_served() -> None:
    client = with_limits()
    client.request(path="/open")
    client.owner.connections.copy().pop().drain()
    client.loop.advance(DRAIN_GRACE + MARGIN)
    client.transport.take()
    client.h2.send_headers(3, [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/late")])
    client.send(client.h2.data_to_send())
    assert client.targets == [b"/open"]
    # REFUSED_STREAM, or nothing: the client knows from the GOAWAY.
    assert client.transport.take() in (b"", b"\x00\x00\x04\x03\x00\x00\x00\x00\x03\x00\x00\x00\x07")
    client.handled[0].request.respond(local(b"open"))
    client.loop.settle()
    assert client.transport.ended


def test_a_connection_of_a_listener_that_drains_drains_from_the_start() -> None:
    client = MultiplexingClient(answer=immediately)
    for connection in list(client.owner.connections):
        connection.drain()
    client.h2.initiate_connection()
    client.send(client.h2.data_to_send())
    assert b"farewell" in client.transport.take()
    client.loop.advance(DRAIN_GRACE + MARGIN)
    assert client.transport.ended


def test_an_abort_cuts_everything() -> None:
    client = with_limits()
    client.request()
    for connection in list(client.owner.connections):
        connection.abort()
    client.loop.settle()
    assert client.transport.aborted
    assert client.last.client_gone == 1
    assert not client.owner.connections
