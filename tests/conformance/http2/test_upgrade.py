"""HTTP/2 by upgrade from HTTP/1.1: RFC 7540 §3.2, which RFC 9113 has let go."""

from __future__ import annotations

import base64
from threading import Event

import pytest

from tests.conformance.http2.case import Client, assert_unharmed
from tests.support import http2_frames as frames
from tests.support.http2_frames import Code, Setting
from tests.support.recording_backend import Exchange, RecordingBackend


def encoded(payload: bytes) -> bytes:
    """What HTTP2-Settings holds (RFC 7540 §3.2.1)."""
    return base64.urlsafe_b64encode(payload).rstrip(b"=")


def asking(
    *lines: bytes, settings: bytes = b"", connection: bytes = b"Upgrade, HTTP2-Settings", first: bytes = b"GET /up"
) -> bytes:
    """A request that asks for HTTP/2."""
    fields = [b"Host: proxy.test", b"Connection: " + connection, b"Upgrade: h2c", b"HTTP2-Settings: " + settings]
    return b"\r\n".join([first + b" HTTP/1.1", *fields, *lines, b"", b""])


def test_the_request_becomes_stream_1(silent_client: Client, backend: RecordingBackend) -> None:
    """RFC 7540 §3.2: 101, then SETTINGS, then the response on stream 1; the client begins with a preface."""
    silent_client.send(asking())
    head = silent_client.read_http1_head()
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"upgrade: h2c" in head.lower()
    silent_client.start()
    message = silent_client.await_message(1)
    assert message.status == 200
    (seen,) = backend.requests
    assert (seen.method, seen.target) == ("GET", "/up")
    assert not seen.all("upgrade") + seen.all("http2-settings")
    assert_unharmed(silent_client)


def test_the_settings_of_the_request_act(silent_client: Client, backend: RecordingBackend) -> None:
    """RFC 7540 §3.2.1: as if they had come in a SETTINGS frame, and without an acknowledgement."""
    payload = frames.settings({Setting.INITIAL_WINDOW_SIZE: 3})[9:]
    backend.script = lambda exchange: exchange.respond(body=b"x" * 5)
    silent_client.send(asking(settings=encoded(payload)))
    silent_client.read_http1_head()
    silent_client.renews = False
    silent_client.send(frames.PREFACE, frames.settings({Setting.INITIAL_WINDOW_SIZE: 3}))
    message = silent_client.message(1)
    silent_client.await_that(lambda: len(message.content) >= 3, "3 bytes")
    silent_client.round_trip()
    assert message.content == b"xxx"
    silent_client.send(frames.window_update(1, 2))
    assert silent_client.await_message(1).content == b"x" * 5


def test_stream_1_is_half_closed(silent_client: Client, backend: RecordingBackend) -> None:
    """RFC 7540 §3.2: the client has sent all of its request."""
    arrived, may_answer = Event(), Event()

    def answer(exchange: Exchange) -> None:
        arrived.set()
        may_answer.wait(30)
        exchange.respond()

    backend.script = answer
    silent_client.send(asking())
    silent_client.read_http1_head()
    silent_client.start()
    assert arrived.wait(30)
    silent_client.send(frames.data(1, b"more", end=True))
    silent_client.await_that(
        lambda: silent_client.message(1).is_over or silent_client.goodbye is not None, "the end of stream 1"
    )
    may_answer.set()
    assert [(seen.target, seen.body) for seen in backend.requests if seen.target == "/up"] == [("/up", b"")]


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(asking(connection=b"Upgrade"), id="HTTP2-Settings that is not nominated"),
        pytest.param(asking(settings=b"!!!"), id="settings that are no base64"),
        pytest.param(asking(settings=b"AAAA"), id="half a setting"),
        pytest.param(
            asking(settings=encoded(frames.settings({Setting.MAX_FRAME_SIZE: 1})[9:])), id="a value out of bounds"
        ),
        pytest.param(asking(b"HTTP2-Settings: "), id="two HTTP2-Settings"),
        pytest.param(asking(b"Content-Length: 4", first=b"POST /up") + b"body", id="a request with content"),
    ],
)
def test_what_is_not_upgraded(silent_client: Client, backend: RecordingBackend, request_bytes: bytes) -> None:
    """RFC 7540 §3.2.1: a server must not upgrade; it may answer over HTTP/1.1 as if it had not been asked."""
    silent_client.send(request_bytes)
    assert silent_client.read_http1_head().split(b" ")[1] in (b"200", b"400")
    assert len(backend.requests) <= 1


def test_nothing_but_a_preface_may_follow(silent_client: Client) -> None:
    """RFC 7540 §3.5."""
    silent_client.send(asking())
    silent_client.read_http1_head()
    silent_client.send(b"GET /smuggled HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
    silent_client.await_end()
    assert silent_client.goodbye is None or silent_client.goodbye.code == Code.PROTOCOL_ERROR
    assert "/smuggled" not in [seen.target for seen in silent_client.backend.requests]
