"""Upgraded connections (RFC 9110 §7.8), as WebSocket uses them: after 101 the bytes belong to the two peers."""

from __future__ import annotations

import threading

import pytest

from tests.support.conditions import eventually
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.raw_http import Connection
from tests.support.recording_backend import Exchange, RecordingBackend

UPGRADE = [("Connection", "keep-alive, Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Key", "a2V5")]


@pytest.fixture(autouse=True)
def _configured(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    gateway.configure(
        listeners=[listener(port, timeouts={"clientRequest": "500ms", "clientResponse": "500ms"})],
        destinations=[destination("backend", backend.port, timeouts={"responseHeader": "500ms"})],
        routes=[route("all", forward=forward("backend", timeouts={"request": "500ms"}))],
    )


def shouting(exchange: Exchange) -> None:
    """Switch protocols and send everything back in capitals."""
    exchange.send_head(101, [("Connection", "Upgrade"), ("Upgrade", exchange.all("Upgrade")[0])])
    exchange.send(b"welcome ")
    while data := exchange.receive():
        exchange.send(data.upper())
    exchange.close()


def test_bytes_pass_both_ways_until_one_side_closes(port: int, backend: RecordingBackend) -> None:
    backend.script = shouting
    with Connection(port) as client:
        client.request("GET", "/ws?room=1", headers=UPGRADE)
        # What the client sends without waiting belongs to the tunnel too.
        client.send(b"early ")
        response = client.read_response(interim=True)
        assert response.status == 101
        assert response["Upgrade"] == "websocket"
        assert client.read_exactly(14) == b"welcome EARLY "
        for number in range(100):
            message = b"%d-\x00\xff-" % number * 100
            client.send(message)
            assert client.read_exactly(len(message)) == message.upper()
        client.finish_writing()
        assert client.is_closed_by_peer()
    (seen,) = backend.requests
    assert seen.target == "/ws?room=1"
    assert seen.all("Upgrade") == ["websocket"]
    assert "upgrade" in ",".join(seen.all("Connection")).lower()
    assert seen.all("Sec-WebSocket-Key") == ["a2V5"]


def test_a_tunnel_outlives_the_time_limits_of_a_request(port: int, backend: RecordingBackend) -> None:
    go_on = threading.Event()

    def patient(exchange: Exchange) -> None:
        exchange.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")])
        # Twice the longest limit that is configured above.
        go_on.wait(1.0)
        exchange.send(b"still here")
        exchange.close()

    backend.script = patient
    with Connection(port) as client:
        client.request("GET", "/", headers=UPGRADE)
        assert client.read_response(interim=True).status == 101
        assert client.read_to_end() == b"still here"


def test_an_upgrade_that_the_backend_does_not_want(port: int, backend: RecordingBackend) -> None:
    backend.script = lambda exchange: exchange.respond(body=b"plain")
    with Connection(port) as client:
        assert client.exchange("GET", "/", headers=UPGRADE).body == b"plain"
        assert client.exchange("GET", "/again").body == b"plain"


def test_the_backend_learns_that_the_client_has_gone(port: int, backend: RecordingBackend) -> None:
    ended = threading.Event()

    def listening(exchange: Exchange) -> None:
        exchange.send_head(101, [("Connection", "Upgrade"), ("Upgrade", "websocket")])
        exchange.await_end()
        ended.set()

    backend.script = listening
    with Connection(port) as client:
        client.request("GET", "/", headers=UPGRADE)
        assert client.read_response(interim=True).status == 101
    assert ended.wait(10)


def test_a_tunnel_survives_a_new_snapshot(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    backend.script = shouting
    with Connection(port) as client:
        client.request("GET", "/", headers=UPGRADE)
        assert client.read_response(interim=True).status == 101
        assert client.read_exactly(8) == b"welcome "
        gateway.configure(listeners=[listener(port)], routes=[route("all", directResponse={"status": 200})])
        client.send(b"hello")
        assert client.read_exactly(5) == b"HELLO"
    eventually(lambda: len(backend.requests) == 1, what="one request")
