"""How a connection begins, and frames as such: RFC 9113 §3.4, §4, §5.4 and §5.5."""

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
    ignored,
    post,
    sends,
    stream_error,
)
from tests.support import http2_frames as frames
from tests.support.http2_frames import Code, Kind, Setting
from tests.support.recording_backend import RecordingBackend


def request_block(client: Client) -> bytes:
    return client.block(client.request_fields())


def test_settings_are_the_first_frame_of_the_server(silent_client: Client) -> None:
    """RFC 9113 §3.4: the server's preface is a SETTINGS frame, which is the first it sends."""
    silent_client.start()
    first = silent_client.received[0]
    assert (first.kind, first.flags, first.stream) == (Kind.SETTINGS, 0, 0)


def test_a_request_in_the_same_bytes_as_the_preface_is_answered(silent_client: Client) -> None:
    """RFC 9113 §3.4: clients may send frames without waiting for the server's preface."""
    silent_client.send(frames.PREFACE, frames.settings(), silent_client.request_frame(1))
    assert silent_client.await_message(1).status == 200


def test_a_preface_in_pieces_is_read(silent_client: Client) -> None:
    for at in range(len(frames.PREFACE)):
        silent_client.send(frames.PREFACE[at : at + 1])
    silent_client.send(frames.settings())
    silent_client.await_settings()
    assert_unharmed(silent_client)


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", id="wrong end"),
        pytest.param(b"PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n", id="wrong version"),
        pytest.param(frames.settings() + frames.PREFACE, id="frames before it"),
        pytest.param(b"\0" * 64, id="zeros"),
    ],
)
def test_an_invalid_preface_ends_the_connection(silent_client: Client, beginning: bytes) -> None:
    """RFC 9113 §3.4; on a port that speaks HTTP/1.1 too, the answer may be one of HTTP/1.1."""
    silent_client.send(beginning, frames.settings())
    silent_client.sock.settimeout(10)
    received = b""
    try:
        while data := silent_client.sock.recv(65536):
            received += data
    except ConnectionResetError:
        pass
    assert b" 200 " not in received, received
    assert not silent_client.backend.requests


@pytest.mark.parametrize(
    ("first", "code"),
    [
        pytest.param(frames.ping(), Code.PROTOCOL_ERROR, id="PING"),
        pytest.param(frames.window_update(0, 1), Code.PROTOCOL_ERROR, id="WINDOW_UPDATE"),
        pytest.param(frames.settings_ack(), Code.PROTOCOL_ERROR, id="SETTINGS with ACK"),
    ],
)
def test_the_preface_is_followed_by_settings(silent_client: Client, first: bytes, code: Code) -> None:
    """RFC 9113 §3.4: the sequence must be followed by a SETTINGS frame."""
    silent_client.send(frames.PREFACE, first)
    connection_error(code)(silent_client)


@cases(
    [
        Case("4.1", "an unknown type of frame is ignored", sends(frames.frame(0x16, 0, 0, b"whatever")), ignored),
        Case("4.1", "all flags of an unknown type", sends(frames.frame(0xFF, 0xFF, 0, b"whatever")), ignored),
        Case(
            "4.1",
            "flags that a type does not define are ignored",
            sends(frames.frame(Kind.PING, 0xFE, 0, b"01234567")),
            ignored,
        ),
        Case(
            "4.1",
            "the reserved bit is ignored, PING",
            sends(frames.frame(Kind.PING, 0, 0, b"01234567", reserved=1)),
            ignored,
        ),
        Case(
            "4.1",
            "the reserved bit is ignored, HEADERS",
            sends(
                lambda client: frames.frame(
                    Kind.HEADERS, frames.END_STREAM | frames.END_HEADERS, 1, request_block(client), reserved=1
                )
            ),
            answered(),
        ),
        Case(
            "4.2",
            "DATA of the greatest size that was announced",
            sends(post(), frames.data(1, bytes(frames.MAX_FRAME_SIZE), end=True)),
            answered(),
        ),
        Case(
            "4.2",
            "DATA that is too large",
            sends(post(), lambda client: frames.data(1, bytes(max_frame_size(client) + 1), end=True)),
            error(Code.FRAME_SIZE_ERROR),
        ),
        Case(
            "4.2",
            "HEADERS that are too large",
            sends(lambda client: frames.headers(1, bytes(max_frame_size(client) + 1), end=True)),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
        Case(
            "4.2",
            "SETTINGS that are too large",
            sends(lambda client: frames.frame(Kind.SETTINGS, 0, 0, bytes(max_frame_size(client) // 6 * 6 + 6))),
            connection_error(Code.FRAME_SIZE_ERROR, Code.ENHANCE_YOUR_CALM),
        ),
        Case(
            "4.2",
            "an unknown frame that is too large",
            sends(lambda client: frames.frame(0x16, 0, 0, bytes(max_frame_size(client) + 1))),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
    ]
)
def test_frame_format(client: Client, case: Case) -> None:
    case.run(client)


def max_frame_size(client: Client) -> int:
    """What the server has announced."""
    return client.settings.get(Setting.MAX_FRAME_SIZE, frames.MAX_FRAME_SIZE)


@cases(
    [
        Case(
            "4.3",
            "a block that cannot be decoded",
            sends(frames.headers(1, b"\xff\xff\xff\xff\xff\xff", end=True)),
            connection_error(Code.COMPRESSION_ERROR),
        ),
        Case(
            "4.3",
            "a block in many frames",
            lambda client: client.send(*split(request_block(client))),
            answered(),
        ),
        Case(
            "4.3",
            "a PRIORITY frame within a block",
            lambda client: client.send(*interrupted(client, frames.priority(1, 0))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "4.3",
            "a PING within a block",
            lambda client: client.send(*interrupted(client, frames.ping())),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "4.3",
            "an unknown frame within a block",
            lambda client: client.send(*interrupted(client, frames.frame(0x16, 0, 1, b"x"))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "4.3",
            "HEADERS of another stream within a block",
            lambda client: client.send(*interrupted(client, frames.headers(3, b"\x82", end=True))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "4.3",
            "CONTINUATION of another stream within a block",
            lambda client: client.send(*interrupted(client, frames.continuation(3, b"\x82"))),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "5.5",
            "an unknown frame on an idle stream",
            sends(frames.frame(0x2A, 0, 7, b"whatever")),
            ignored,
        ),
        Case(
            "5.5",
            "an unknown setting",
            sends(frames.settings({0xFFFE: 0xFFFFFFFF})),
            ignored,
        ),
        Case(
            "5.5",
            "an unknown frame between DATA frames",
            sends(post(), frames.data(1, b"ab"), frames.frame(0x2A, 0, 1, b"no"), frames.data(1, b"c", end=True)),
            answered(),
        ),
        Case(
            "7",
            "an unknown error code in GOAWAY",
            sends(frames.goaway(0, 0xDEADBEEF)),
            connection_error(Code.NO_ERROR, silently=True),
        ),
        Case(
            "7",
            "an unknown error code in RST_STREAM",
            sends(post(), frames.rst_stream(1, 0xDEADBEEF)),
            ignored,
        ),
    ]
)
def test_header_blocks_and_extensions(client: Client, case: Case) -> None:
    case.run(client)


def split(block: bytes) -> list[bytes]:
    """A request on stream 1 with a byte in each frame."""
    first, *middle, last = (block[at : at + 1] for at in range(len(block)))
    return [
        frames.headers(1, first, end=True, end_headers=False),
        *(frames.continuation(1, part, end_headers=False) for part in middle),
        frames.continuation(1, last),
    ]


def interrupted(client: Client, between: bytes) -> list[bytes]:
    """A request on stream 1 in two frames with something *between* them."""
    block = request_block(client)
    return [
        frames.headers(1, block[:3], end=True, end_headers=False),
        between,
        frames.continuation(1, block[3:]),
    ]


def test_a_refused_block_is_decoded_all_the_same(client: Client) -> None:
    """RFC 9113 §4.3: a receiver must decode every block, else the compression context is not what the sender has."""
    client.head(1, [*client.request_fields(), ("learnt-from-a-refused-head", "value"), ("Upper", "case")])
    stream_error(Code.PROTOCOL_ERROR)(client)
    client.request(301, ("learnt-from-a-refused-head", "value"))
    assert client.await_message(301).status == 200
    (seen,) = [found for found in client.backend.requests if found.all("learnt-from-a-refused-head")]
    assert seen.all("learnt-from-a-refused-head") == ["value"]


def test_a_connection_error_names_the_last_stream_that_was_acted_on(client: Client) -> None:
    """RFC 9113 §5.4.1: GOAWAY includes the identifier of the last stream successfully received."""
    client.exchange(1)
    client.exchange(3)
    client.send(frames.frame(Kind.PING, 0, 0, b"short"))
    client.await_end()
    assert client.goodbye is not None
    assert (client.goodbye.last_stream, client.goodbye.code) == (3, Code.FRAME_SIZE_ERROR)


def test_a_stream_error_leaves_other_streams_alone(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §5.4.2: stream errors do not affect other streams."""
    client.request(1, method="POST", end=False)
    client.head(3, [*client.request_fields(), ("Upper", "case")])
    client.await_that(lambda: client.message(3).reset is not None, "RST_STREAM")
    client.send(frames.data(1, b"content", end=True))
    assert client.await_message(1).status == 200
    assert [seen.body for seen in backend.requests] == [b"content"]


def test_a_reset_is_not_answered_with_a_reset(client: Client) -> None:
    """RFC 9113 §5.4.2: an endpoint must not send RST_STREAM in response to RST_STREAM."""
    client.request(1, method="POST", end=False)
    client.send(frames.rst_stream(1))
    client.round_trip()
    assert client.message(1).reset is None


def test_a_client_that_closes_without_a_word_is_no_trouble(client: Client) -> None:
    client.request(1, method="POST", end=False)
    client.send(frames.data(1, b"part"))
    client.round_trip()
    client.close()


def test_bytes_after_goaway_of_the_client_are_still_read(client: Client) -> None:
    """RFC 9113 §6.8: the sender of GOAWAY may go on with streams it has begun; their responses come."""
    client.request(1, method="POST", end=False)
    client.send(frames.goaway(), frames.data(1, b"content", end=True))
    assert client.await_message(1).status == 200
