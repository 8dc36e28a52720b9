"""Cases: what a client does on a connection that has begun well, and what has to come of it.

An *expectation* reads what the server does about it; a server is wherever the fixture ``client`` is connected to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import pytest

from tests.support import http2_frames as frames
from tests.support.http2_frames import Code
from tests.support.http2_peer import Http2Peer, PeerGone, describe
from tests.support.recording_backend import RecordingBackend


class Client(Http2Peer):
    """A client of a proxy, and the HTTP/1 backend behind that."""

    backend: RecordingBackend


Act = Callable[[Client], None]
Expectation = Callable[[Client], None]


@dataclass(frozen=True, slots=True)
class Case:
    """A rule of *section* (of RFC 9113, or of the RFC that is named in it)."""

    section: str
    what: str
    act: Act
    expectation: Expectation

    def run(self, client: Client) -> None:
        self.act(client)
        self.expectation(client)


def cases(found: Iterable[Case]) -> pytest.MarkDecorator:
    """The test for each of the cases, which it takes as ``case``."""
    rows: Sequence[Case] = list(found)
    names = [f"{case.section}: {case.what}" for case in rows]
    assert len(set(names)) == len(names), sorted(name for name in names if names.count(name) > 1)
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=name) for case, name in zip(rows, names, strict=True)]
    )


Made = Callable[[Client], bytes]
"""Bytes that depend on the client: on the state of its HPACK, or on what the server has announced."""


def sends(*parts: bytes | Made) -> Act:
    """Send *parts* in one piece; those that are functions are made when it is their turn."""

    def act(client: Client) -> None:
        client.send(*(part if isinstance(part, bytes) else part(client) for part in parts))

    return act


def get(stream: int = 1, *extra: tuple[bytes | str, bytes | str], flags: int = 0, prefix: bytes = b"") -> Made:
    """A whole request."""
    return lambda client: client.request_frame(stream, *extra, flags=flags, prefix=prefix)


def post(stream: int = 1, *extra: tuple[bytes | str, bytes | str]) -> Made:
    """The head of a request whose content is to follow."""
    return lambda client: client.request_frame(stream, *extra, method="POST", end=False)


def head(stream: int, fields: Iterable[tuple[bytes | str, bytes | str]], *, end: bool = True) -> Made:
    """A HEADERS frame with exactly these fields."""
    listed = list(fields)
    return lambda client: frames.headers(stream, client.block(listed), end=end)


# expectations


def connection_error(*codes: Code, silently: bool = False) -> Expectation:
    """The server says goodbye with one of the *codes* and closes; if it may do so *silently*, without a word too.

    A goodbye can be lost when TCP answers what the server has not read with a reset.
    """

    def expect(client: Client) -> None:
        client.await_end()
        goodbye = client.goodbye
        if goodbye is None:
            assert silently or client.ended == "reset", f"{client.ended} without GOAWAY"
            return
        assert goodbye.code in codes, f"GOAWAY {describe(goodbye.code)} {goodbye.payload[8:]!r}"

    return expect


def stream_error(*codes: Code, stream: int = 1) -> Expectation:
    """The server resets *stream* with one of the *codes*, perhaps after an answer of 4xx; the connection goes on."""

    def expect(client: Client) -> None:
        message = client.message(stream)
        client.await_that(lambda: message.reset is not None, f"RST_STREAM on stream {stream}, not {message}")
        assert message.reset is not None
        assert message.reset in codes, f"RST_STREAM {describe(message.reset)}"
        assert not message.status or 400 <= message.status < 500, message
        assert_unharmed(client)

    return expect


def malformed(client: Client) -> None:
    """The request is malformed, and the backend hears nothing of it.

    Its stream ends with PROTOCOL_ERROR, or with an answer that refuses it (RFC 9113 §8.1.1).
    """
    refused(client)
    assert [(seen.method, seen.target) for seen in client.backend.requests] == [("GET", "/unharmed")]


def refused(client: Client) -> None:
    """The stream of a malformed request ends as it should, and the connection goes on."""
    message = client.message(1)
    client.await_that(lambda: message.is_over, f"the end of stream 1, not {message}")
    assert message.reset in (Code.PROTOCOL_ERROR, Code.NO_ERROR, None), f"RST_STREAM {describe(message.reset or 0)}"
    if message.reset != Code.PROTOCOL_ERROR:
        assert message.ended
        assert 400 <= message.status < 500 or message.status == 501, message
    assert_unharmed(client)


def error(*codes: Code, stream: int = 1) -> Expectation:
    """A stream error, which the server may treat as a connection error (RFC 9113 §5.4.1), with one of the *codes*."""

    def expect(client: Client) -> None:
        message = client.message(stream)
        try:
            client.await_that(lambda: message.reset is not None or client.goodbye is not None, "RST_STREAM or GOAWAY")
        except PeerGone:
            raise AssertionError(f"{client.ended} without GOAWAY") from None
        if client.goodbye is not None:
            connection_error(*codes)(client)
        else:
            stream_error(*codes, stream=stream)(client)

    return expect


def answered(stream: int = 1, status: int = 200) -> Expectation:
    """The request on *stream* gets a whole answer, and the connection goes on."""

    def expect(client: Client) -> None:
        message = client.await_message(stream)
        assert (message.status, message.reset) == (status, None), message
        assert_unharmed(client)

    return expect


def ignored(client: Client) -> None:
    """Nothing comes of it, and the connection goes on."""
    client.round_trip()
    assert client.goodbye is None
    assert not [message for message in client.messages.values() if message.reset is not None]
    assert_unharmed(client)


def ignored_or(*codes: Code, stream: int = 1) -> Expectation:
    """What is sent on a closed *stream* may be ignored, or be an error with one of the *codes* (RFC 9113 §5.1).

    In no case a second request reaches the backend.
    """

    def expect(client: Client) -> None:
        before = len(client.backend.requests)
        try:
            client.round_trip()
        except PeerGone:
            connection_error(*codes)(client)
        assert len(client.backend.requests) == before
        reset = client.message(stream).reset
        assert reset is None or reset in (*codes, Code.CANCEL, Code.NO_ERROR), describe(reset)

    return expect


def tolerated_or(*codes: Code) -> Expectation:
    """It is ignored, or an error with one of the *codes*."""

    def expect(client: Client) -> None:
        with contextlib.suppress(PeerGone):
            client.round_trip()
        if client.goodbye is None and client.message(1).reset is None:
            ignored(client)
        else:
            error(*codes)(client)

    return expect


def assert_unharmed(client: Client) -> None:
    """A further request on the connection is answered."""
    stream = max((stream for stream in client.messages if stream % 2), default=-1) + 100
    stream += 1 - stream % 2
    client.head(stream, client.request_fields(path="/unharmed"))
    message = client.await_message(stream)
    assert message.status == 200, message
