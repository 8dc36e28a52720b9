"""A sample over TLS against a real process: RFC 9113 §3.2, §3.3, §9.2, and a few of what is tried in clear."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.http2.case import (
    Case,
    Client,
    answered,
    cases,
    connection_error,
    head,
    ignored,
    malformed,
    post,
    sends,
    stream_error,
)
from tests.support import http2_frames as frames
from tests.support.certificates import Authority
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.http2_frames import MAX_WINDOW, Code, Kind, Setting
from tests.support.ports import free_port
from tests.support.raw_http import Connection
from tests.support.recording_backend import RecordingBackend


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("servers")


@pytest.fixture(scope="module")
def recording() -> Iterator[RecordingBackend]:
    with RecordingBackend() as found:
        yield found


@pytest.fixture(scope="module")
def port(authority: Authority, recording: RecordingBackend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Of a listener with TLS and HTTP/2, whose process is alive at the end and has complained of nothing."""
    directory: Path = tmp_path_factory.mktemp("gateway")
    found = free_port()
    certificate = authority.issue("proxy.test")
    with Gateway(directory, proxy={"workers": 1}) as gateway:
        gateway.configure(
            listeners=[listener(found, http2=True, tls={"cert": certificate.cert_text, "key": certificate.key_text})],
            destinations=[destination("backend", recording.port)],
            routes=[route("all", forward=forward("backend"))],
        )
        workers = gateway.workers()
        yield found
        assert gateway.workers() == workers
        assert "Traceback" not in gateway.process.text(), gateway.process.text()


@pytest.fixture
def context(authority: Authority) -> ssl.SSLContext:
    found = authority.client_context()
    found.set_alpn_protocols(["h2", "http/1.1"])
    return found


@pytest.fixture
def client(port: int, context: ssl.SSLContext, recording: RecordingBackend) -> Iterator[Client]:
    recording.forget()
    with Client.connect(port, tls=context) as found:
        found.backend = recording
        found.start()
        yield found


@cases(
    [
        Case(
            "8.1",
            "a request",
            sends(head(1, [(":method", "GET"), (":scheme", "https"), (":path", "/"), (":authority", "a")])),
            answered(),
        ),
        Case("8.1", "content", sends(post(), frames.data(1, b"x" * 1000, end=True)), answered()),
        Case("4.1", "an unknown frame", sends(frames.frame(0x2A, 0, 0, b"x")), ignored),
        Case(
            "4.3",
            "a block that cannot be decoded",
            sends(frames.headers(1, b"\xff" * 6)),
            connection_error(Code.COMPRESSION_ERROR),
        ),
        Case(
            "5.1",
            "DATA on an idle stream",
            sends(frames.data(1, b"x")),
            connection_error(Code.PROTOCOL_ERROR, Code.STREAM_CLOSED),
        ),
        Case(
            "6.5.2",
            "INITIAL_WINDOW_SIZE 2^31",
            sends(frames.settings({Setting.INITIAL_WINDOW_SIZE: 1 << 31})),
            connection_error(Code.FLOW_CONTROL_ERROR),
        ),
        Case(
            "6.7",
            "PING of 7 bytes",
            sends(frames.frame(Kind.PING, 0, 0, bytes(7))),
            connection_error(Code.FRAME_SIZE_ERROR),
        ),
        Case(
            "6.9.1",
            "a window of a stream above 2^31-1",
            sends(post(), frames.window_update(1, MAX_WINDOW)),
            stream_error(Code.FLOW_CONTROL_ERROR),
        ),
        Case("8.2.1", "an upper-case name", sends(lambda client: client.request_frame(1, ("X", "y"))), malformed),
        Case(
            "8.2.2",
            "connection: close",
            sends(lambda client: client.request_frame(1, ("connection", "close"))),
            malformed,
        ),
    ]
)
def test_the_same_as_in_clear(client: Client, case: Case) -> None:
    case.run(client)


def test_a_response_larger_than_a_record(client: Client, recording: RecordingBackend) -> None:
    recording.script = lambda exchange: exchange.respond(body=b"x" * 1_000_000)
    assert len(client.exchange(1).content) == 1_000_000


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (["h2", "http/1.1"], "h2"),
        (["http/1.1", "h2"], "h2"),
        (["h2"], "h2"),
        (["http/1.1"], "http/1.1"),
        ([], None),
    ],
)
def test_alpn_decides(
    port: int, authority: Authority, recording: RecordingBackend, offered: list[str], chosen: str | None
) -> None:
    """RFC 9113 §3.2 and §3.3: HTTP/2 over TLS is chosen by ALPN alone."""
    recording.forget()
    context = authority.client_context()
    if offered:
        context.set_alpn_protocols(offered)
    if chosen == "h2":
        with Client.connect(port, tls=context) as client:
            assert isinstance(client.sock, ssl.SSLSocket)
            assert client.sock.selected_alpn_protocol() == "h2"
            client.start()
            assert client.exchange(1).status == 200
    else:
        with Connection(port, tls=context) as connection:
            assert isinstance(connection.sock, ssl.SSLSocket)
            assert connection.sock.selected_alpn_protocol() == chosen
            assert connection.exchange("GET", "/").status == 200


def test_http_1_where_http_2_was_agreed_on(port: int, context: ssl.SSLContext, recording: RecordingBackend) -> None:
    """RFC 9113 §3.4: what does not begin with the preface is no HTTP/2, and nothing else was agreed on."""
    recording.forget()
    with Connection(port, tls=context) as connection:
        connection.send(b"GET / HTTP/1.1\r\nHost: proxy.test\r\n\r\n")
        assert b" 200 " not in connection.read_to_end()
    assert not recording.requests


def test_a_secure_request_is_told_to_the_backend_as_one(client: Client, recording: RecordingBackend) -> None:
    """The scheme is that of the connection, whatever the client writes into :scheme."""
    client.head(1, client.request_fields(scheme="http"))
    client.await_message(1)
    assert [seen.all("x-forwarded-proto") for seen in recording.requests] == [["https"]]
