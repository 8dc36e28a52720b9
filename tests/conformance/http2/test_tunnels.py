"""WebSocket over HTTP/2: RFC 8441."""

from __future__ import annotations

import base64
import hashlib

from tests.conformance.http2.case import Case, Client, assert_unharmed, cases, head, malformed, sends
from tests.support import http2_frames as frames
from tests.support.http2_frames import Code, Setting
from tests.support.recording_backend import Exchange, RecordingBackend

CONNECT = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "http"),
    (":path", "/chat"),
    (":authority", "proxy.test"),
    ("sec-websocket-version", "13"),
]


def accept(exchange: Exchange) -> None:
    """Switch to WebSocket, then send back what comes."""
    (key,) = exchange.all("sec-websocket-key")
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    fields = [("Connection", "Upgrade"), ("Upgrade", "websocket")]
    exchange.send_head(101, [*fields, ("Sec-WebSocket-Accept", base64.b64encode(digest).decode())])
    while data := exchange.receive():
        exchange.send(data)
    exchange.send(b"bye")
    exchange.close()


def without(name: str) -> list[tuple[str, str]]:
    return [(found, value) for found, value in CONNECT if found != name]


def test_the_setting_is_announced(client: Client) -> None:
    """RFC 8441 §3: without it no client may ask for a tunnel."""
    assert client.settings[Setting.ENABLE_CONNECT_PROTOCOL] == 1


@cases(
    [
        Case("RFC 8441 4", "without :path", sends(head(1, without(":path"), end=False)), malformed),
        Case("RFC 8441 4", "without :scheme", sends(head(1, without(":scheme"), end=False)), malformed),
        Case("RFC 8441 4", "without :authority", sends(head(1, without(":authority"), end=False)), malformed),
        Case(
            "RFC 8441 4",
            ":protocol with another method",
            sends(head(1, [(":method", "GET"), *without(":method")])),
            malformed,
        ),
        Case(
            "RFC 8441 4",
            ":protocol twice",
            sends(head(1, [(":protocol", "websocket"), *CONNECT], end=False)),
            malformed,
        ),
        Case(
            "RFC 8441 4",
            "an empty :protocol",
            sends(head(1, [(":protocol", ""), *without(":protocol")], end=False)),
            malformed,
        ),
        Case("RFC 8441 4", "connection and upgrade", sends(head(1, [*CONNECT, ("upgrade", "websocket")])), malformed),
    ]
)
def test_malformed_requests(client: Client, case: Case) -> None:
    case.run(client)


def test_a_tunnel_carries_bytes_both_ways(client: Client, backend: RecordingBackend) -> None:
    """RFC 8441 §5: the backend sees an upgrade, the client a 200 and DATA frames."""
    backend.script = accept
    client.head(1, CONNECT, end=False)
    message = client.await_head(1)
    assert (message.status, message.ended) == (200, False)
    names = {name for name, _ in message.fields}
    assert not names & {b"sec-websocket-accept", b"upgrade", b"connection", b"transfer-encoding", b"content-length"}
    client.send(frames.data(1, b"hello"))
    client.await_that(lambda: message.content == b"hello", "the echo")
    (seen,) = backend.requests
    assert (seen.method, seen.target) == ("GET", "/chat")
    assert [value.lower() for value in seen.all("upgrade")] == ["websocket"]
    assert len(base64.b64decode(seen.all("sec-websocket-key")[0])) == 16
    assert seen.all("sec-websocket-version") == ["13"]
    assert not seen.all("transfer-encoding")
    client.send(frames.data(1, b"", end=True))
    assert client.await_message(1).content == b"hellobye"
    assert client.message(1).ended
    backend.forget()
    assert_unharmed(client)


def test_a_reset_of_the_client_ends_the_backend_connection(client: Client, backend: RecordingBackend) -> None:
    """RFC 8441 §5: RST_STREAM with CANCEL stands for a reset of the TCP connection."""
    ended: list[str] = []

    def script(exchange: Exchange) -> None:
        try:
            accept(exchange)
        finally:
            ended.append("ended")

    backend.script = script
    client.head(1, CONNECT, end=False)
    client.await_head(1)
    client.send(frames.data(1, b"x"))
    message = client.message(1)
    client.await_that(lambda: message.content == b"x", "the echo")
    client.send(frames.rst_stream(1, Code.CANCEL))
    client.round_trip()
    assert message.reset is None
    backend.forget()
    assert_unharmed(client)


def test_a_refusal_of_the_backend_is_a_response(client: Client, backend: RecordingBackend) -> None:
    backend.script = lambda exchange: exchange.respond(403, body=b"no")
    client.head(1, CONNECT, end=False)
    client.await_that(lambda: client.message(1).content == b"no", "the answer")
    assert client.message(1).status == 403
    client.send(frames.rst_stream(1))
    backend.forget()
    assert_unharmed(client)


def test_another_protocol_is_not_offered(client: Client, backend: RecordingBackend) -> None:
    """RFC 9220 §3 and RFC 8441 §4 leave it to the server; 501 is what the HTTP/1 side says."""
    client.head(1, [(":protocol", "connect-udp"), *without(":protocol")], end=False)
    message = client.await_head(1)
    assert message.status == 501 or message.reset is not None, message
    assert not backend.requests
    assert_unharmed(client)
