"""Frames in, right and wrong: what ends a stream, what ends the connection, and what is ignored (RFC 9113 §4 to §6)."""

from __future__ import annotations

import time

import pytest

from tests.support.http2_frames import ACK, END_HEADERS, frame, goaway, window_update
from tests.support.http2_frames import data as content
from tests.support.http2_frames import rst_stream as reset
from tests.support.session_engines import (
    CONTINUATION,
    DATA,
    ENGINES,
    GET,
    GOAWAY,
    HEADERS,
    OK,
    PING,
    POST,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Engine,
    block,
    head,
    observed,
    output,
    settings,
)
from vrata.wire.http2 import errors, events
from vrata.wire.http2.contract import PREFACE, Session, SessionLimits

pytestmark = pytest.mark.parametrize("engine", ENGINES)

ASK = b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n"


def fails(session: Session, data: bytes, *codes: int) -> None:
    """The connection ends with one of *codes*, is said to, and takes nothing more."""
    *_, (kind, stream, reason, code) = session.receive(data)
    assert (kind, stream) == (events.FAILED, 0)
    assert reason
    assert code in codes
    was_over = session.is_over
    *_, (kind, _, _, payload) = output(session)
    assert kind == GOAWAY
    assert int.from_bytes(payload[4:8], "big") == code
    assert (was_over, session.is_over) == (False, True)
    assert session.streams == 0
    assert session.receive(head(99, GET, end=True)) == []
    assert session.outgoing() == b""


# -- What a session begins with --------------------------------------------------------------------------------------


def test_a_server_tells_its_limits(engine: Engine) -> None:
    limits = SessionLimits(concurrent_streams=7, stream_window=70000, connection_window=80000, header_list=9000)
    first, second = output(engine.server(limits))
    assert first[:3] == (SETTINGS, 0, 0)
    payload = first[3]
    told = {
        int.from_bytes(payload[at : at + 2], "big"): int.from_bytes(payload[at + 2 : at + 6], "big")
        for at in range(0, len(payload), 6)
    }
    asked = {3: 7, 4: 70000, 6: 9000, 8: 1, 9: 1}
    assert {key: told.get(key) for key in asked} == asked
    # What else is told changes nothing of the defaults.
    assert {key: value for key, value in told.items() if key not in asked}.items() <= {1: 4096, 2: 0, 5: 16384}.items()
    assert second == (WINDOW_UPDATE, 0, 0, (80000 - 65535).to_bytes(4, "big"))


def test_a_client_wants_nothing_pushed(engine: Engine) -> None:
    client = engine.client()
    data = client.outgoing()
    assert data.startswith(PREFACE)
    assert b"\x00\x02\x00\x00\x00\x00" in data


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", PREFACE[:-1] + b"x", b"\x16\x03\x01" + bytes(30)])
def test_another_protocol(engine: Engine, data: bytes) -> None:
    fails(engine.server(), data, errors.PROTOCOL_ERROR)


@pytest.mark.parametrize("first", [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, ACK, 0)])
def test_no_settings_at_first(engine: Engine, first: bytes) -> None:
    fails(engine.server(), PREFACE + first, errors.PROTOCOL_ERROR)


def test_settings_and_pings_are_answered(engine: Engine) -> None:
    server = engine.server()
    output(server)
    assert server.receive(PREFACE + settings((5, 20000))) == [(events.SETTINGS, 0, b"", 0)]
    assert output(server) == [(SETTINGS, ACK, 0, b"")]
    assert server.receive(frame(SETTINGS, ACK, 0) + frame(PING, 0, 0, b"12345678")) == []
    assert output(server) == [(PING, ACK, 0, b"12345678")]


# -- Errors of the connection ----------------------------------------------------------------------------------------

PUSHED = frame(PUSH_PROMISE, END_HEADERS, 1, (2).to_bytes(4, "big") + block(GET))


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        (frame(DATA, 0, 0, b"a"), (1,)),
        (frame(HEADERS, END_HEADERS, 0, block(GET)), (1,)),
        (frame(HEADERS, END_HEADERS, 2, block(GET)), (1,)),
        (frame(RST_STREAM, 0, 0, bytes(4)), (1,)),
        (frame(RST_STREAM, 0, 1, bytes(4)), (1,)),
        (frame(RST_STREAM, 0, 1, bytes(3)), (6,)),
        (frame(SETTINGS, 0, 1), (1,)),
        (frame(SETTINGS, 0, 0, bytes(5)), (6,)),
        (frame(SETTINGS, ACK, 0, bytes(6)), (6,)),
        (settings((2, 2)), (1,)),
        (settings((4, 2**31)), (3,)),
        (settings((5, 16383)), (1,)),
        (settings((5, 2**24)), (1,)),
        (frame(PING, 0, 0, bytes(7)), (6,)),
        (frame(PING, 0, 1, bytes(8)), (1,)),
        (frame(GOAWAY, 0, 0, bytes(7)), (6,)),
        (frame(GOAWAY, 0, 1, bytes(8)), (1,)),
        (window_update(0, 0), (1,)),
        (window_update(1, 1), (1,)),
        (window_update(0, 2**31 - 1), (3,)),
        (frame(WINDOW_UPDATE, 0, 0, bytes(3)), (6,)),
        (frame(PRIORITY, 0, 1, bytes(4)), (6,)),
        (settings((9, 2)), (1,)),
        (frame(CONTINUATION, END_HEADERS, 1, block(GET)), (1,)),
        (frame(HEADERS, 0, 1, block(GET)) + frame(PING, 0, 0, bytes(8)), (1,)),
        (frame(HEADERS, 0, 1, block(GET)) + frame(CONTINUATION, END_HEADERS, 3, b""), (1,)),
        (frame(HEADERS, 0, 1, block(GET)) + frame(0x77, 0, 1, b""), (1,)),
        (frame(HEADERS, 0, 1, block(GET)) + frame(HEADERS, END_HEADERS, 1, block(GET)), (1,)),
        (frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff\xff"), (9,)),
        (frame(HEADERS, END_HEADERS, 1, b"\x80"), (9,)),
        (frame(HEADERS, 0x8 | END_HEADERS, 1, b"\x09" + block(GET)[:5]), (1,)),
        (content(1, b"a"), (1, 5)),
        (frame(PRIORITY, 0, 0, bytes(5)), (1,)),
        (PUSHED, (1,)),
        (frame(DATA, 0, 1, bytes(16385)), (6,)),
        (frame(0x77, 0, 1, bytes(16385)), (6,)),
        (head(1, POST) + content(1, b"", padding=1)[:9] + b"\x01" + b"", ()),
    ],
)
def test_errors_of_the_connection(engine: Engine, data: bytes, codes: tuple[int, ...]) -> None:
    server = engine.ready_server()
    if codes:
        fails(server, data, *codes)
    else:  # one that is not complete, to see that the others fail because of what they hold
        assert [each[0] for each in server.receive(data)] == [events.HEAD]


def test_padding_longer_than_its_frame(engine: Engine) -> None:
    fails(engine.ready_server(), head(1, POST) + frame(DATA, 0x8, 1, b"\x05abc"), errors.PROTOCOL_ERROR)


def test_nothing_is_pushed_to_a_client(engine: Engine) -> None:
    client = engine.ready_client()
    client.receive(frame(SETTINGS, ACK, 0))
    client.request(ASK, True)
    output(client)
    fails(client, PUSHED, errors.PROTOCOL_ERROR)


def test_responses_that_nobody_asked_for(engine: Engine) -> None:
    fails(engine.ready_client(), head(1, OK, end=True), errors.PROTOCOL_ERROR, errors.STREAM_CLOSED)


def test_more_streams_than_allowed(engine: Engine) -> None:
    """RFC 9113 §5.1.2."""
    server = engine.ready_server(SessionLimits(concurrent_streams=2))
    server.receive(frame(SETTINGS, ACK, 0) + head(1, GET, end=True) + head(3, GET, end=True))
    happened = observed(server.receive(head(5, POST) + content(5, b"a") + head(7, GET, end=True)))
    assert happened == [(events.STREAM_ERROR, each, b"", errors.REFUSED_STREAM) for each in (5, 7)]
    assert {each[2] for each in output(server) if each[0] == RST_STREAM} == {5, 7}
    assert server.streams == 2
    server.respond(1, b"HTTP/1.1 200 OK\r\n\r\n", True)
    output(server)
    assert [each[:2] for each in server.receive(head(9, GET, end=True))] == [(events.HEAD, 9)]


def test_more_content_than_the_window(engine: Engine) -> None:
    limits = SessionLimits(stream_window=65535, connection_window=65535)
    server = engine.ready_server(limits)
    server.receive(frame(SETTINGS, ACK, 0) + head(1, POST))
    for _ in range(3):
        server.receive(content(1, bytes(16384)))
    fails(server, content(1, bytes(16384)), errors.FLOW_CONTROL_ERROR)


def test_more_content_than_the_window_of_a_stream(engine: Engine) -> None:
    server = engine.ready_server(SessionLimits(stream_window=65535, connection_window=2**20))
    server.receive(frame(SETTINGS, ACK, 0) + head(1, POST))
    happened = observed(server.receive(content(1, bytes(16384)) * 4))
    assert happened[-1][0] in (events.FAILED, events.STREAM_ERROR)
    assert happened[-1][3] == errors.FLOW_CONTROL_ERROR


# -- Errors of a stream ----------------------------------------------------------------------------------------------


def test_a_window_that_overflows(engine: Engine) -> None:
    server = engine.ready_server()
    server.receive(head(1, GET, end=True))
    assert observed(server.receive(window_update(1, 2**31 - 1))) == [(events.STREAM_ERROR, 1, b"", 3)]
    assert server.streams == 0
    assert [each[:2] for each in server.receive(head(3, GET, end=True))] == [(events.HEAD, 3)]


def test_content_after_the_end(engine: Engine) -> None:
    server = engine.ready_server()
    server.receive(head(1, POST, end=True))
    happened = observed(server.receive(content(1, b"a")))
    assert happened in ([(events.STREAM_ERROR, 1, b"", 5)], [(events.FAILED, 0, b"", 5)])


def test_content_before_a_response(engine: Engine) -> None:
    client = engine.ready_client()
    client.request(ASK, True)
    output(client)
    happened = observed(client.receive(content(1, b"a")))
    assert happened in ([(events.STREAM_ERROR, 1, b"", 1)], [(events.FAILED, 0, b"", 1)])


def test_a_stream_that_should_have_begun_before_another(engine: Engine) -> None:
    """RFC 9113 §5.1.1 wants an error of the connection; nghttp2 takes it for one that was and is over."""
    happened = observed(engine.ready_server().receive(head(3, GET, end=True) + head(1, GET, end=True)))
    assert happened[0][:2] == (events.HEAD, 3)
    assert happened[1:] in ([], [(events.FAILED, 0, b"", 1)])


def test_frames_on_a_stream_that_we_have_reset(engine: Engine) -> None:
    """They may have been on their way (RFC 9113 §5.1)."""
    server = engine.ready_server()
    server.receive(head(1, POST))
    server.reset(1, errors.CANCEL)
    output(server)
    late = content(1, b"a") + window_update(1, 5) + head(1, ((b"x", b"1"),), end=True) + reset(1)
    assert [each for each in server.receive(late) if each[1]] == []
    assert output(server) == []
    assert [each for each in server.receive(content(1, b"a") * 50) if each[1]] == []
    assert output(server) == []
    assert [each[:2] for each in server.receive(head(3, GET, end=True))] == [(events.HEAD, 3)]


def test_resets_by_the_peer(engine: Engine) -> None:
    server = engine.ready_server()
    data = head(1, POST) + content(1, b"a") + reset(1, 7) + window_update(1, 5) + reset(1, 7)
    assert observed(server.receive(data))[1:] == [(events.CONTENT, 1, b"a", 0), (events.RESET, 1, b"", 7)]
    assert server.streams == 0
    server.respond(1, b"HTTP/1.1 200 OK\r\n\r\n", True)
    assert [each for each in output(server) if each[2] == 1] == []


# -- What is ignored -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ignored",
    [
        frame(0x77, 0xFF, 0, b"abc"),
        frame(0x77, 0xFF, 5, b""),
        frame(0x10, 0, 0, bytes(4) + b"u=1, i"),
        frame(0xA, 0, 0, b"\x00\x01a"),
        frame(PRIORITY, 0, 1, bytes(4) + b"\x0f"),
        frame(PRIORITY, 0, 99, bytes(4) + b"\x0f"),
        settings((0x1234, 5), (9, 0)),
        frame(PING, ACK, 0, bytes(8)),
        window_update(0, 1 + 2**31),
    ],
)
def test_frames_without_a_meaning(engine: Engine, ignored: bytes) -> None:
    server = engine.ready_server()
    happened = observed(server.receive(ignored + head(1, POST) + ignored + content(1, b"a") + ignored))
    told = [each for each in happened if each[0] not in (events.SETTINGS, events.PONG)]
    assert [each[:2] for each in told] == [(events.HEAD, 1), (events.CONTENT, 1)]


def test_the_reserved_bit_of_a_stream(engine: Engine) -> None:
    server = engine.ready_server()
    data = bytearray(head(1, GET, end=True))
    data[5] |= 0x80
    assert [each[:2] for each in server.receive(bytes(data))] == [(events.HEAD, 1)]


def test_padding_and_priority_of_a_head(engine: Engine) -> None:
    server = engine.ready_server()
    payload = b"\x03" + bytes(4) + b"\x0f" + block(GET) + bytes(3)
    assert [each[:2] for each in server.receive(frame(HEADERS, 0x2D, 1, payload))] == [(events.HEAD, 1)]


def test_padding_is_no_content_and_renews_its_window(engine: Engine) -> None:
    limits = SessionLimits(stream_window=65535, connection_window=65535)
    server = engine.ready_server(limits)
    server.receive(frame(SETTINGS, ACK, 0) + head(1, POST))
    sent = 0
    renewed = 0
    for _ in range(2000):
        happened = server.receive(content(1, b"a", padding=200))
        assert observed(happened) == [(events.CONTENT, 1, b"a", 0)]
        sent += 202
        renewed += sum(int.from_bytes(each[3], "big") for each in output(server) if each[:3] == (WINDOW_UPDATE, 0, 1))
        assert sent - renewed < 65535
        server.consumed(1, 1)
    assert renewed > 300000


# -- Windows ---------------------------------------------------------------------------------------------------------


def test_windows_are_renewed_as_content_is_consumed(engine: Engine) -> None:
    server = engine.ready_server(SessionLimits(stream_window=100000, connection_window=100000))
    server.receive(frame(SETTINGS, ACK, 0) + head(1, POST))
    for _ in range(6):
        server.receive(content(1, bytes(16384)))
    assert output(server) == []
    server.consumed(1, 6 * 16384)
    renewed = {each[2]: int.from_bytes(each[3], "big") for each in output(server)}
    assert renewed == {0: 6 * 16384, 1: 6 * 16384}


def test_a_smaller_window_in_new_settings(engine: Engine) -> None:
    """It may become negative (RFC 9113 §6.9.2)."""
    server = engine.ready_server()
    server.receive(head(1, GET, end=True))
    server.respond(1, b"HTTP/1.1 200 OK\r\n\r\n", False)
    server.send(1, bytes(100000), True)
    assert sum(len(each[3]) for each in output(server) if each[0] == DATA) == 65535
    server.receive(settings((4, 1000)) + window_update(0, 100000) + window_update(1, 60000))
    assert [each for each in output(server) if each[0] == DATA] == []
    server.receive(window_update(1, 10000))
    assert sum(len(each[3]) for each in output(server) if each[0] == DATA) == 65535 - 65535 + 1000 + 70000 - 65535


def test_the_largest_frame_of_the_peer(engine: Engine) -> None:
    server = engine.server()
    server.receive(PREFACE + settings((5, 100000), (4, 2**20)) + window_update(0, 2**20))
    server.receive(head(1, GET, end=True))
    server.respond(1, b"HTTP/1.1 200 OK\r\n\r\n", False)
    server.send(1, bytes(200000), True)
    assert sum(len(each[3]) for each in output(server) if each[0] == DATA) == 200000


# -- Ends ------------------------------------------------------------------------------------------------------------


def test_a_goodbye_with_words(engine: Engine) -> None:
    server = engine.ready_server()
    server.receive(head(1, GET, end=True))
    assert server.receive(goaway(0, 11, b"why")) == [(events.GOAWAY, 0, b"why", 11)]
    assert not server.is_over
    server.respond(1, b"HTTP/1.1 200 OK\r\n\r\n", True)
    output(server)
    assert server.is_over


def test_a_goodbye_of_ours_with_words(engine: Engine) -> None:
    server = engine.ready_server()
    server.receive(head(1, GET, end=True))
    server.go_away(errors.ENHANCE_YOUR_CALM, b"too many")
    assert output(server)[-1] == (GOAWAY, 0, 0, (1).to_bytes(4, "big") + (11).to_bytes(4, "big") + b"too many")


def test_requests_after_a_goodbye_are_not_taken(engine: Engine) -> None:
    server = engine.ready_server()
    server.go_away(errors.NO_ERROR)
    assert server.receive(head(1, GET, end=True)) == []
    output(server)
    assert server.is_over


def test_a_failure_with_content_that_waits(engine: Engine) -> None:
    server = engine.ready_server()
    server.receive(head(1, GET, end=True))
    server.respond(1, b"HTTP/1.1 200 OK\r\n\r\n", False)
    server.send(1, bytes(10**6), True)
    server.receive(window_update(0, 0))
    data = b""
    while piece := server.outgoing():
        data += piece
    assert len(data) < 200000
    assert server.is_over
    assert server.send(1, b"a", True) is False
    server.respond(1, b"HTTP/1.1 200 OK\r\n\r\n", True)
    server.go_away(errors.NO_ERROR)
    server.ping(bytes(8))
    assert server.outgoing() == b""


def test_answers_are_kept_and_counted(engine: Engine) -> None:
    """How many there may be is for :mod:`vrata.wire.http2.guard` to say, and for whoever owns the transport."""
    server = engine.ready_server()
    assert server.held_answers == 0
    for turn in range(1, 6):
        assert server.receive(frame(PING, 0, 0, bytes(8)) * 1000) == []
        assert server.held_answers == turn * 17_000
    server.receive(head(1, GET, end=True))
    server.respond(1, b"HTTP/1.1 200 OK\r\n\r\n", False)
    server.send(1, bytes(10**6), True)
    frames = output(server)
    assert sum(each[0] == PING for each in frames) == 5000
    assert server.held_answers == 0


def test_answers_are_kept_at_a_cost_that_does_not_grow(engine: Engine) -> None:
    server = engine.ready_server()
    pings = frame(PING, 0, 0, bytes(8)) * 200

    def seconds() -> float:
        began = time.process_time()
        for _ in range(20):
            server.receive(pings)
        return time.process_time() - began

    first = min(seconds() for _ in range(5))
    for _ in range(1000):
        server.receive(pings)
    assert server.held_answers > 3 * 10**6
    assert min(seconds() for _ in range(5)) < 5 * first


def test_a_late_window_update_is_ignored_whatever_it_says(engine: Engine) -> None:
    """RFC 9113 §5.1: it may have been sent before the stream ended."""
    server = engine.ready_server()
    server.receive(head(1, GET, end=True))
    server.respond(1, b"HTTP/1.1 204 No Content\r\n\r\n", True)
    output(server)
    for increment in (1, 0, 2**31 - 1):
        assert server.receive(window_update(1, increment)) == []
    assert server.receive(head(3, GET, end=True))[0][:2] == (events.HEAD, 3)


# -- Upgrades from HTTP/1 (RFC 7540 §3.2) ----------------------------------------------------------------------------


def test_an_upgraded_connection(engine: Engine) -> None:
    server = engine.server(upgraded=b"\x00\x04\x00\x00\x00\x05")
    assert server.streams == 1
    server.respond(1, b"HTTP/1.1 200 OK\r\n\r\n", False)
    server.send(1, b"abcdefgh", True)
    assert server.receive(PREFACE + settings((4, 5))) == [(events.SETTINGS, 0, b"", 0)]
    frames = output(server)
    assert [each[3] for each in frames if each[:3] == (DATA, 0, 1)] == [b"abcde"]
    assert [each[:2] for each in server.receive(window_update(1, 100) + head(3, GET, end=True))] == [(events.HEAD, 3)]
    assert [each[3] for each in output(server) if each[0] == DATA] == [b"fgh"]


def test_an_upgrade_makes_no_larger_table_than_a_frame(engine: Engine) -> None:
    heads = [b"HTTP/1.1 200 OK\r\nx-request-id: %0128d\r\n\r\n" % number for number in range(200)]

    def size_of_repeated(server: Session, first: int) -> int:
        """Bytes of heads of which all were sent before: those that the table still knows are short."""
        size = 0
        for turn in range(2):
            for number, text in enumerate(heads):
                stream = first + 2 * (turn * len(heads) + number)
                server.receive(head(stream, GET, end=True))
                server.respond(stream, text, True)
                sent = sum(len(each[3]) for each in output(server) if each[0] == HEADERS)
                size += turn * sent
        return size

    larger = b"\x00\x01\x00\x01\x00\x00"
    upgraded = engine.server(upgraded=larger)
    upgraded.respond(1, b"HTTP/1.1 204 No Content\r\n\r\n", True)
    upgraded.receive(PREFACE + settings())
    output(upgraded)
    told = engine.server()
    told.receive(PREFACE + settings((1, 65536)))
    output(told)
    assert size_of_repeated(upgraded, 3) == size_of_repeated(told, 1) > 200 * 64


@pytest.mark.parametrize(
    "payload",
    [
        b"\x00\x04\x00",
        b"\x00\x04\xff\xff\xff\xff",
        b"\x00\x05\x00\x00\x00\x05",
        b"\x00\x08\x00\x00\x00\x02",
        b"\x00\x09\x00\x00\x00\x02",
    ],
)
def test_an_upgrade_with_malformed_settings(engine: Engine, payload: bytes) -> None:
    with pytest.raises(ValueError, match="HTTP2-Settings"):
        engine.server(upgraded=payload)
