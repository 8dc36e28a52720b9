"""The rules of each type of frame: RFC 9113 §6.1 to §6.10, without flow control."""

from __future__ import annotations

import pytest

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
    post,
    sends,
    tolerated_or,
)
from tests.conformance.http2.held import Held
from tests.support import http2_frames as frames
from tests.support.http2_frames import Code, Kind, Setting
from tests.support.recording_backend import RecordingBackend

PADDED_END = frames.END_STREAM | frames.PADDED
HEAD_FLAGS = frames.END_STREAM | frames.END_HEADERS


def block(client: Client) -> bytes:
    return client.block(client.request_fields())


def padded_head(length: int, padding: bytes) -> Case:
    """A HEADERS frame that says *length* bytes of padding follow its block, which *padding* does."""
    return Case(
        "6.2",
        f"HEADERS with {len(padding)} bytes of padding that says {length}",
        sends(
            lambda client: frames.headers(
                1, block(client) + padding, end=True, flags=frames.PADDED, prefix=bytes((length,))
            )
        ),
        answered() if length == len(padding) else connection_error(Code.PROTOCOL_ERROR),
    )


@cases(
    [
        Case("6.1", "DATA on stream 0", sends(frames.data(0, b"x")), connection_error(Code.PROTOCOL_ERROR)),
        Case("6.1", "padding", sends(post(), frames.data(1, b"x", padding=7, end=True)), answered()),
        Case("6.1", "nothing but padding", sends(post(), frames.data(1, padding=255, end=True)), answered()),
        Case(
            "6.1",
            "padding as long as the payload",
            sends(post(), frames.frame(Kind.DATA, PADDED_END, 1, b"\x04abc")),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.1",
            "padding longer than the payload",
            sends(post(), frames.frame(Kind.DATA, PADDED_END, 1, b"\xffabc")),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.1",
            "PADDED without a length",
            sends(post(), frames.frame(Kind.DATA, PADDED_END, 1)),
            error(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR),
        ),
        Case("6.1", "empty DATA without an end", sends(post(), frames.data(1), frames.data(1, end=True)), answered()),
    ]
)
def test_data(client: Client, case: Case) -> None:
    case.run(client)


@pytest.mark.parametrize("padding", [0, 1, 255])
def test_padding_is_no_content(client: Client, backend: RecordingBackend, padding: int) -> None:
    """RFC 9113 §6.1."""
    client.send(client.request_frame(1, method="POST", end=False))
    client.send(frames.data(1, b"con", padding=padding), frames.data(1, b"tent", padding=padding, end=True))
    assert client.await_message(1).status == 200
    assert [seen.body for seen in backend.requests] == [b"content"]


@cases(
    [
        Case("6.2", "HEADERS on stream 0", sends(get(0)), connection_error(Code.PROTOCOL_ERROR)),
        padded_head(0, b""),
        padded_head(5, bytes(5)),
        padded_head(255, b"x"),
        Case(
            "6.2",
            "HEADERS with PADDED and PRIORITY",
            sends(
                lambda client: frames.headers(
                    1,
                    block(client) + bytes(3),
                    end=True,
                    flags=frames.PADDED | frames.PRIORITY_FLAG,
                    prefix=b"\x03\0\0\0\0\x0f",
                )
            ),
            answered(),
        ),
        Case(
            "6.2",
            "HEADERS with PRIORITY and no room for it",
            sends(frames.frame(Kind.HEADERS, HEAD_FLAGS | frames.PRIORITY_FLAG, 1, b"\0\0\0")),
            connection_error(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.2",
            "HEADERS with PADDED and no length",
            sends(frames.frame(Kind.HEADERS, HEAD_FLAGS | frames.PADDED, 1)),
            connection_error(Code.FRAME_SIZE_ERROR, Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.2",
            "END_STREAM on a head that CONTINUATION completes",
            sends(
                lambda client: (
                    (found := block(client))
                    and frames.headers(1, found[:2], end=True, end_headers=False) + frames.continuation(1, found[2:])
                )
            ),
            answered(),
        ),
        Case("6.2", "an empty head", sends(frames.headers(1, b"", end=True)), error(Code.PROTOCOL_ERROR)),
    ]
)
def test_headers(client: Client, case: Case) -> None:
    case.run(client)


@cases(
    [
        # A connection error by the letter; nghttp2 reads no PRIORITY once those of RFC 7540 are off.
        Case("6.3", "PRIORITY on stream 0", sends(frames.priority(0)), tolerated_or(Code.PROTOCOL_ERROR)),
        Case(
            "6.3",
            "PRIORITY of 4 bytes",
            sends(frames.frame(Kind.PRIORITY, 0, 1, bytes(4))),
            error(Code.FRAME_SIZE_ERROR),
        ),
        Case(
            "6.3",
            "PRIORITY of 6 bytes on an open stream",
            sends(post(), frames.frame(Kind.PRIORITY, 0, 1, bytes(6))),
            error(Code.FRAME_SIZE_ERROR),
        ),
        Case("6.4", "RST_STREAM on stream 0", sends(frames.rst_stream(0)), connection_error(Code.PROTOCOL_ERROR)),
        Case(
            "6.4",
            "RST_STREAM of 3 bytes",
            sends(post(), frames.frame(Kind.RST_STREAM, 0, 1, bytes(3))),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
        Case(
            "6.4",
            "RST_STREAM of 5 bytes",
            sends(post(), frames.frame(Kind.RST_STREAM, 0, 1, bytes(5))),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
        Case("6.4", "RST_STREAM with NO_ERROR", sends(post(), frames.rst_stream(1, Code.NO_ERROR)), ignored),
    ]
)
def test_priority_and_rst_stream(client: Client, case: Case) -> None:
    case.run(client)


def setting(key: int, value: int) -> bytes:
    return frames.settings({key: value})


@cases(
    [
        Case(
            "6.5",
            "SETTINGS with ACK and a payload",
            sends(frames.frame(Kind.SETTINGS, frames.ACK, 0, bytes(6))),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
        Case(
            "6.5",
            "SETTINGS on a stream",
            sends(frames.frame(Kind.SETTINGS, 0, 1, bytes(6))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.5",
            "SETTINGS whose length is no multiple of 6",
            sends(frames.frame(Kind.SETTINGS, 0, 0, bytes(5))),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
        Case("6.5", "empty SETTINGS", sends(frames.settings()), ignored),
        Case("6.5.2", "ENABLE_PUSH 0", sends(setting(Setting.ENABLE_PUSH, 0)), ignored),
        Case("6.5.2", "ENABLE_PUSH 1", sends(setting(Setting.ENABLE_PUSH, 1)), ignored),
        Case(
            "6.5.2",
            "ENABLE_PUSH 2",
            sends(setting(Setting.ENABLE_PUSH, 2)),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.5.2",
            "INITIAL_WINDOW_SIZE 2^31",
            sends(setting(Setting.INITIAL_WINDOW_SIZE, 1 << 31)),
            connection_error(Code.FLOW_CONTROL_ERROR),
        ),
        Case(
            "6.5.2",
            "INITIAL_WINDOW_SIZE 2^31-1",
            sends(setting(Setting.INITIAL_WINDOW_SIZE, frames.MAX_WINDOW)),
            ignored,
        ),
        Case(
            "6.5.2",
            "MAX_FRAME_SIZE 2^14-1",
            sends(setting(Setting.MAX_FRAME_SIZE, (1 << 14) - 1)),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case("6.5.2", "MAX_FRAME_SIZE 2^14", sends(setting(Setting.MAX_FRAME_SIZE, 1 << 14)), ignored),
        Case("6.5.2", "MAX_FRAME_SIZE 2^24-1", sends(setting(Setting.MAX_FRAME_SIZE, (1 << 24) - 1)), ignored),
        Case(
            "6.5.2",
            "MAX_FRAME_SIZE 2^24",
            sends(setting(Setting.MAX_FRAME_SIZE, 1 << 24)),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case("6.5.2", "HEADER_TABLE_SIZE 0", sends(setting(Setting.HEADER_TABLE_SIZE, 0)), ignored),
        Case(
            "6.5.2",
            "MAX_HEADER_LIST_SIZE 2^32-1",
            sends(setting(Setting.MAX_HEADER_LIST_SIZE, (1 << 32) - 1)),
            ignored,
        ),
        Case(
            "RFC 8441 3",
            "ENABLE_CONNECT_PROTOCOL of a client",
            sends(setting(Setting.ENABLE_CONNECT_PROTOCOL, 1)),
            ignored,
        ),
        Case(
            "RFC 8441 3",
            "ENABLE_CONNECT_PROTOCOL 2",
            sends(setting(Setting.ENABLE_CONNECT_PROTOCOL, 2)),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "RFC 9218 2.1",
            "NO_RFC7540_PRIORITIES 2",
            sends(setting(Setting.NO_RFC7540_PRIORITIES, 2)),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.5.3",
            "a setting twice: the last counts",
            sends(
                frames.frame(
                    Kind.SETTINGS, 0, 0, b"".join(b"\0\x04" + size.to_bytes(4, "big") for size in (1 << 30, 100))
                )
            ),
            ignored,
        ),
    ]
)
def test_settings(client: Client, case: Case) -> None:
    case.run(client)


def test_a_table_of_any_size_costs_us_no_more_than_a_small_one(silent_client: Client) -> None:
    """RFC 7541 §4.2: the encoder chooses; §7.3: it should not let the peer choose how much memory it takes."""
    silent_client.decoder.max_allowed_table_size = 1 << 16
    silent_client.start({Setting.HEADER_TABLE_SIZE: (1 << 32) - 1})
    assert_unharmed(silent_client)
    assert silent_client.decoder.header_table_size <= 1 << 16


def test_every_settings_frame_is_acknowledged(client: Client) -> None:
    """RFC 9113 §6.5.3: at once, and once each."""
    before = client.settings_acknowledged
    client.send(frames.settings(), frames.settings({Setting.ENABLE_PUSH: 0}), frames.settings())
    client.round_trip()
    assert client.settings_acknowledged == before + 3


def test_an_acknowledgement_of_nothing_is_ignored_or_an_error(client: Client) -> None:
    """RFC 9113 §6.5.3 does not say; it must not confuse the server."""
    client.send(frames.settings_ack())
    tolerated_or(Code.PROTOCOL_ERROR)(client)


def test_a_greater_frame_size_of_the_client_is_only_a_permission(silent_client: Client, held: Held) -> None:
    """RFC 9113 §4.2: frames may be smaller than the peer takes."""
    held.release()
    silent_client.start({Setting.MAX_FRAME_SIZE: 1 << 20})
    silent_client.backend.script = lambda exchange: exchange.respond(body=b"x" * 100_000)
    assert silent_client.exchange(1).content == b"x" * 100_000


def test_frames_are_no_larger_than_the_client_takes(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §4.2 and §6.5.2."""
    backend.script = lambda exchange: exchange.respond(body=b"x" * 100_000)
    message = client.exchange(1)
    assert len(message.content) == 100_000
    assert max(message.sizes) <= frames.MAX_FRAME_SIZE


def test_a_head_greater_than_a_frame_is_continued(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §6.10: what does not fit into HEADERS comes in CONTINUATION."""
    fields = [(f"x-field-{number}", f"{number:04}" * 250) for number in range(24)]
    backend.script = lambda exchange: exchange.respond(headers=fields)
    message = client.exchange(1)
    assert [value for name, value in message.fields if name.startswith(b"x-field-")] == [
        value.encode() for _, value in fields
    ]
    assert max(len(frame.payload) for frame in client.received) <= frames.MAX_FRAME_SIZE


@cases(
    [
        Case(
            "6.6",
            "PUSH_PROMISE of a client",
            sends(post(), lambda client: frames.push_promise(1, 3, block(client))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.6",
            "PUSH_PROMISE on stream 0",
            sends(lambda client: frames.push_promise(0, 2, block(client))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case("6.7", "PING with ACK is not answered", sends(frames.ping(b"unasked!", ack=True)), ignored),
        Case(
            "6.7",
            "PING on a stream",
            sends(frames.frame(Kind.PING, 0, 1, bytes(8))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.7",
            "PING of 7 bytes",
            sends(frames.frame(Kind.PING, 0, 0, bytes(7))),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
        Case(
            "6.7",
            "PING of 9 bytes",
            sends(frames.frame(Kind.PING, 0, 0, bytes(9))),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
        Case(
            "6.8",
            "GOAWAY on a stream",
            sends(frames.frame(Kind.GOAWAY, 0, 1, bytes(8))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.8",
            "GOAWAY of 7 bytes",
            sends(frames.frame(Kind.GOAWAY, 0, 0, bytes(7))),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
    ]
)
def test_push_promise_ping_and_goaway(client: Client, case: Case) -> None:
    case.run(client)


def test_a_ping_is_answered_with_the_same_content(client: Client) -> None:
    """RFC 9113 §6.7: bit by bit."""
    for content in (b"\0" * 8, b"\xff" * 8, b"abcdefgh"):
        client.round_trip(content)
    pongs = [frame for frame in client.received if frame.kind == Kind.PING]
    assert [(frame.is_ack, frame.stream) for frame in pongs] == [(True, 0)] * 3


def test_a_ping_of_the_acknowledging_kind_gets_no_answer(client: Client) -> None:
    """RFC 9113 §6.7: an endpoint must not respond to PING frames with ACK."""
    client.send(frames.ping(b"unasked!", ack=True))
    client.round_trip()
    assert not [frame for frame in client.received if frame.payload == b"unasked!"]


def test_a_client_that_says_goodbye_is_let_go_when_its_streams_are_over(client: Client, held: Held) -> None:
    """RFC 9113 §6.8: both sides finish what has begun; then the connection can be closed."""
    client.request(1)
    held.await_request()
    client.send(frames.goaway(0, Code.NO_ERROR, b"that is all"))
    held.release()
    assert client.await_message(1).status == 200


@cases(
    [
        Case(
            "6.10",
            "CONTINUATION on stream 0",
            sends(frames.continuation(0, b"\x82")),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.10",
            "CONTINUATION after a head that was complete",
            sends(post(), frames.continuation(1, b"\x82")),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.10",
            "CONTINUATION after DATA",
            sends(post(), frames.data(1, b"x"), frames.continuation(1, b"\x82")),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.10",
            "CONTINUATION after a CONTINUATION that completed the head",
            sends(
                lambda client: (
                    (found := block(client))
                    and frames.headers(1, found[:2], end=True, end_headers=False)
                    + frames.continuation(1, found[2:])
                    + frames.continuation(1, b"\x82")
                )
            ),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.10",
            "DATA before the head is complete",
            sends(lambda client: frames.headers(1, block(client), end_headers=False), frames.data(1, b"x", end=True)),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.10",
            "empty CONTINUATION frames, a few",
            sends(
                lambda client: frames.headers(1, block(client), end=True, end_headers=False),
                frames.continuation(1, end_headers=False) * 3,
                frames.continuation(1),
            ),
            answered(),
        ),
    ]
)
def test_continuation(client: Client, case: Case) -> None:
    case.run(client)
