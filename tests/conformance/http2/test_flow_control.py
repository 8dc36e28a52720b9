"""Flow control: RFC 9113 §5.2, §6.9, §6.9.1 and §6.9.2."""

from __future__ import annotations

from tests.conformance.http2.case import (
    Case,
    Client,
    assert_unharmed,
    cases,
    connection_error,
    error,
    ignored,
    post,
    sends,
    stream_error,
)
from tests.conformance.http2.server import Server
from tests.support import http2_frames as frames
from tests.support.http2_frames import INITIAL_WINDOW, MAX_WINDOW, Code, Kind, Setting
from tests.support.recording_backend import RecordingBackend


def answer(backend: RecordingBackend, size: int) -> None:
    """Let every request be answered with so many bytes."""
    backend.script = lambda exchange: exchange.respond(body=b"x" * size)


@cases(
    [
        Case(
            "6.9",
            "an increment of 0 for the connection",
            sends(frames.window_update(0, 0)),
            connection_error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.9",
            "an increment of 0 for a stream",
            sends(post(), frames.window_update(1, 0)),
            error(Code.PROTOCOL_ERROR),
        ),
        Case(
            "6.9",
            "WINDOW_UPDATE of 3 bytes",
            sends(frames.frame(Kind.WINDOW_UPDATE, 0, 0, bytes(3))),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
        Case(
            "6.9",
            "WINDOW_UPDATE of 5 bytes on a stream",
            sends(post(), frames.frame(Kind.WINDOW_UPDATE, 0, 1, bytes(5))),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
        Case(
            "6.9",
            "the reserved bit of the increment is ignored",
            sends(frames.window_update(0, 1 << 31 | 1)),
            ignored,
        ),
        Case(
            "6.9.1",
            "the greatest window of the connection",
            sends(frames.window_update(0, MAX_WINDOW - INITIAL_WINDOW)),
            ignored,
        ),
        Case(
            "6.9.1",
            "a window of the connection above 2^31-1",
            sends(frames.window_update(0, MAX_WINDOW)),
            connection_error(Code.FLOW_CONTROL_ERROR),
        ),
        Case(
            "6.9.1",
            "the same in two steps",
            sends(frames.window_update(0, MAX_WINDOW - INITIAL_WINDOW), frames.window_update(0, 1)),
            connection_error(Code.FLOW_CONTROL_ERROR),
        ),
        Case(
            "6.9.1",
            "a window of a stream above 2^31-1",
            sends(post(), frames.window_update(1, MAX_WINDOW)),
            stream_error(Code.FLOW_CONTROL_ERROR),
        ),
        Case(
            "6.9.2",
            "SETTINGS that raise a window above 2^31-1",
            sends(
                post(),
                frames.window_update(1, MAX_WINDOW - INITIAL_WINDOW),
                frames.settings({Setting.INITIAL_WINDOW_SIZE: INITIAL_WINDOW + 1}),
            ),
            # A connection error by the letter; nghttp2 and nginx reset the streams whose windows would be too large.
            error(Code.FLOW_CONTROL_ERROR),
        ),
    ]
)
def test_window_updates(client: Client, case: Case) -> None:
    case.run(client)


def test_no_more_is_sent_than_the_window_of_the_stream_lets_pass(
    silent_client: Client, backend: RecordingBackend
) -> None:
    """RFC 9113 §6.9.1 and §6.9.2: a window of 1, opened byte by byte."""
    answer(backend, 3)
    silent_client.renews = False
    silent_client.start({Setting.INITIAL_WINDOW_SIZE: 1})
    silent_client.request(1)
    message = silent_client.message(1)
    for size in (1, 2, 3):
        silent_client.await_that(lambda size=size: len(message.content) >= size, f"byte {size}")  # type: ignore[misc]
        silent_client.round_trip()
        assert len(message.content) == size
        silent_client.send(frames.window_update(1, 1))
    assert silent_client.await_message(1).content == b"xxx"


def test_a_window_of_0_lets_heads_pass(silent_client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §5.2.1: only DATA frames are subject to flow control."""
    answer(backend, 10)
    silent_client.start({Setting.INITIAL_WINDOW_SIZE: 0})
    silent_client.request(1)
    message = silent_client.await_head(1)
    silent_client.round_trip()
    assert (message.status, message.content, message.ended) == (200, b"", False)
    silent_client.send(frames.window_update(1, 100))
    assert silent_client.await_message(1).content == b"x" * 10


def test_a_window_of_0_holds_no_empty_answer(silent_client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §6.9.1: an empty DATA frame with END_STREAM needs no window."""
    answer(backend, 0)
    silent_client.start({Setting.INITIAL_WINDOW_SIZE: 0})
    assert silent_client.exchange(1).status == 200


def test_no_more_is_sent_than_the_window_of_the_connection_lets_pass(
    silent_client: Client, backend: RecordingBackend
) -> None:
    """RFC 9113 §6.9.1: the connection has a window of its own, which starts at 65,535 whatever SETTINGS say."""
    answer(backend, 100_000)
    silent_client.renews = False
    silent_client.start({Setting.INITIAL_WINDOW_SIZE: 1 << 20})
    silent_client.request(1)
    message = silent_client.message(1)
    silent_client.await_that(lambda: len(message.content) >= INITIAL_WINDOW, "a window full")
    silent_client.round_trip()
    assert len(message.content) == INITIAL_WINDOW
    silent_client.send(frames.window_update(0, 100_000))
    assert len(silent_client.await_message(1).content) == 100_000


def test_settings_change_the_windows_of_streams_that_are_open(silent_client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §6.9.2: by the difference, which opens a stream that waits."""
    answer(backend, 8)
    silent_client.renews = False
    silent_client.start({Setting.INITIAL_WINDOW_SIZE: 0})
    silent_client.request(1)
    silent_client.await_head(1)
    silent_client.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 5}))
    message = silent_client.message(1)
    silent_client.await_that(lambda: len(message.content) >= 5, "5 bytes")
    silent_client.round_trip()
    assert len(message.content) == 5
    silent_client.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 8}))
    assert silent_client.await_message(1).content == b"x" * 8


def test_a_window_can_be_negative(silent_client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §6.9.2: after SETTINGS that lower it, nothing is sent until it is positive again."""
    answer(backend, 8)
    silent_client.renews = False
    silent_client.start({Setting.INITIAL_WINDOW_SIZE: 3})
    silent_client.request(1)
    message = silent_client.message(1)
    silent_client.await_that(lambda: len(message.content) >= 3, "3 bytes")
    silent_client.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1}), frames.window_update(1, 2))
    silent_client.round_trip()
    assert len(message.content) == 3
    silent_client.send(frames.window_update(1, 1))
    silent_client.await_that(lambda: len(message.content) >= 4, "the 4th byte")
    silent_client.round_trip()
    assert len(message.content) == 4
    silent_client.send(frames.window_update(1, 4))
    assert silent_client.await_message(1).content == b"x" * 8


def test_lower_settings_hold_for_new_streams(silent_client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §6.5.3: values act as soon as they are acknowledged."""
    answer(backend, 8)
    silent_client.renews = False
    silent_client.start()
    silent_client.send(frames.settings({Setting.INITIAL_WINDOW_SIZE: 2}))
    silent_client.request(1)
    message = silent_client.message(1)
    silent_client.await_that(lambda: len(message.content) >= 2, "2 bytes")
    silent_client.round_trip()
    assert len(message.content) == 2


def test_one_stream_that_waits_does_not_hold_another(silent_client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §5.2: flow control is for each stream."""
    answer(backend, 10)
    silent_client.renews = False
    silent_client.start({Setting.INITIAL_WINDOW_SIZE: 0})
    silent_client.request(1)
    silent_client.await_head(1)
    silent_client.request(3)
    silent_client.send(frames.window_update(3, 10))
    assert silent_client.await_message(3).content == b"x" * 10
    assert silent_client.message(1).content == b""


def test_the_client_may_not_send_more_than_our_window(client: Client, server: Server) -> None:
    """RFC 9113 §6.9.1: FLOW_CONTROL_ERROR, of the stream or of the connection, when nobody reads what comes."""
    client.send(client.request_frame(1, method="POST", path=server.UNREAD, end=False))
    piece = frames.data(1, bytes(frames.MAX_FRAME_SIZE))
    # More than the buffers on the way to a backend that does not read can take.
    for _ in range(40 * (1 << 20) // len(piece)):
        client.send(piece)
    error(Code.FLOW_CONTROL_ERROR)(client)


def test_padding_counts_for_windows(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §6.9.1: the whole payload; a server that renewed only content would starve the client."""
    client.request(1, method="POST", end=False)
    sent = 0
    while sent < 3 * client.settings.get(Setting.INITIAL_WINDOW_SIZE, INITIAL_WINDOW):
        await_room(client, sent, 512)
        client.send(frames.data(1, bytes(256), padding=255))
        sent += 512
    client.send(frames.data(1, b"", end=True))
    assert client.await_message(1).status == 200
    assert_unharmed(client)


def await_room(client: Client, sent: int, size: int) -> int:
    """Wait until at least *size* more bytes than *sent* may be sent on stream 1; returns how many may."""
    window = client.settings.get(Setting.INITIAL_WINDOW_SIZE, INITIAL_WINDOW)

    def room() -> int:
        return min(window + increments(client, 1), INITIAL_WINDOW + increments(client, 0)) - sent

    client.await_that(lambda: room() >= size, "WINDOW_UPDATE")
    return room()


def increments(client: Client, stream: int) -> int:
    """What the server has renewed of the window of *stream*."""
    return sum(
        int.from_bytes(frame.payload, "big")
        for frame in client.received
        if frame.kind == Kind.WINDOW_UPDATE and frame.stream == stream
    )


def test_a_large_upload_is_let_through(client: Client, backend: RecordingBackend) -> None:
    """RFC 9113 §6.9: windows are renewed as the content goes on."""
    size = 1 << 20
    client.request(1, ("content-length", str(size)), method="POST", end=False)
    sent = 0
    while sent < size:
        part = min(await_room(client, sent, 1), frames.MAX_FRAME_SIZE, size - sent)
        sent += part
        client.send(frames.data(1, b"y" * part, end=sent == size))
    assert client.await_message(1).status == 200
    assert [len(seen.body) for seen in backend.requests] == [size]
