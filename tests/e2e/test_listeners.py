"""Listeners follow the snapshots, and what did not change is not touched."""

from __future__ import annotations

import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.conditions import accepts, eventually
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.ports import free_port
from tests.support.raw_http import Connection, fetch
from tests.support.recording_backend import Exchange, RecordingBackend

AUTHORITY = Authority("servers")
ROUTES = [route("all", directResponse={"status": 200, "body": "ok"})]


@pytest.fixture
def second_port() -> int:
    return free_port()


def configure(gateway: Gateway, *listeners: Document) -> None:
    gateway.configure(listeners=listeners, routes=ROUTES)


def test_a_listener_is_added_and_removed(gateway: Gateway, port: int, second_port: int) -> None:
    configure(gateway, listener(port))
    assert not accepts(second_port)
    with Connection(port) as unchanged:
        assert unchanged.exchange("GET", "/").status == 200
        configure(gateway, listener(port), listener(second_port, "second"))
        assert fetch(second_port).body == b"ok"
        assert unchanged.exchange("GET", "/").status == 200
        configure(gateway, listener(port))
        eventually(lambda: not accepts(second_port), what="the removed listener is closed")
        assert unchanged.exchange("GET", "/").status == 200


def test_a_keep_alive_connection_of_a_removed_listener_ends_in_order(
    gateway: Gateway, port: int, second_port: int
) -> None:
    configure(gateway, listener(port), listener(second_port, "second"))
    with Connection(second_port) as idle:
        assert idle.exchange("GET", "/").status == 200
        configure(gateway, listener(port))
        assert idle.is_closed_by_peer()


def test_a_request_in_flight_on_a_removed_listener_is_finished(
    gateway: Gateway, port: int, second_port: int, backend: RecordingBackend
) -> None:
    go_on = threading.Event()

    def slowly(exchange: Exchange) -> None:
        assert go_on.wait(20)
        exchange.respond(body=b"finished")

    backend.script = slowly
    gateway.configure(
        listeners=[listener(port), listener(second_port, "second")],
        destinations=[destination("backend", backend.port)],
        routes=[route("all", forward=forward("backend"))],
    )
    with Connection(second_port) as client:
        client.request("GET", "/")
        eventually(lambda: backend.requests, what="the request is at the backend")
        configure(gateway, listener(port))
        go_on.set()
        response = client.read_response()
        assert (response.status, response.body) == (200, b"finished")
        assert response["Connection"].lower() == "close"
        assert client.is_closed_by_peer()


def test_a_listener_moves_to_another_port(gateway: Gateway, port: int, second_port: int) -> None:
    configure(gateway, listener(port))
    configure(gateway, listener(second_port))
    assert fetch(second_port).status == 200
    eventually(lambda: not accepts(port), what="the old port is closed")
    configure(gateway, listener(port))
    assert fetch(port).status == 200


def test_settings_change_while_the_connection_stays(gateway: Gateway, port: int) -> None:
    configure(gateway, listener(port, serverName="one"))
    with Connection(port) as client:
        assert client.exchange("GET", "/")["Server"] == "one"
        configure(gateway, listener(port, serverName="two"))
        assert fetch(port)["Server"] == "two"
        # Whether the old connection sees the new name is not promised; that it goes on is.
        assert client.exchange("GET", "/").status == 200


def test_a_listener_on_a_taken_port_comes_up_when_it_is_free(gateway: Gateway, port: int, second_port: int) -> None:
    with socket.create_server(("127.0.0.1", second_port)):
        configure(gateway, listener(port), listener(second_port, "second"))
        assert fetch(port).status == 200
    eventually(lambda: accepts(second_port), 40, what="the listener was bound after all")
    assert fetch(second_port).status == 200


def test_a_listener_on_ipv6(gateway: Gateway, port: int, second_port: int) -> None:
    configure(gateway, listener(port), listener(second_port, "six", address="::1"))
    with Connection(second_port, "::1") as client:
        assert client.exchange("GET", "/").status == 200


def test_no_request_is_lost_while_listeners_come_and_go(gateway: Gateway, port: int, second_port: int) -> None:
    configure(gateway, listener(port))
    over = threading.Event()
    failures: list[str] = []
    answered = [0, 0]

    def keep_alive() -> None:
        with Connection(port) as client:
            while not over.is_set():
                if client.exchange("GET", "/").body != b"ok":
                    failures.append("keep-alive")
                answered[0] += 1

    def new_connections() -> None:
        while not over.is_set():
            if fetch(port).body != b"ok":
                failures.append("new connection")
            answered[1] += 1

    def guarded(work: object) -> None:
        try:
            work()  # type: ignore[operator]
        except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
            failures.append(repr(error))

    clients = [threading.Thread(target=guarded, args=(work,)) for work in (keep_alive, new_connections, keep_alive)]
    for thread in clients:
        thread.start()
    try:
        begun = time.monotonic()
        # For four seconds, or as much longer as a busy machine takes to serve enough.
        while (elapsed := time.monotonic() - begun) < 4 or (min(answered) <= 50 and elapsed < 60 and not failures):
            configure(gateway, listener(port), listener(second_port, "second"))
            configure(gateway, listener(port, serverName="changed"))
    finally:
        over.set()
        for thread in clients:
            thread.join(30)
    assert failures == []
    assert min(answered) > 50


class TestTimeouts:
    def test_an_idle_connection_is_closed_quietly(self, gateway: Gateway, port: int) -> None:
        configure(gateway, listener(port, timeouts={"idleBetweenRequests": "300ms"}))
        with Connection(port) as client:
            before = time.monotonic()
            assert client.exchange("GET", "/").status == 200
            assert client.is_closed_by_peer()
            assert 0.2 < time.monotonic() - before < 30

    def test_a_head_that_does_not_end_is_not_waited_for(self, gateway: Gateway, port: int) -> None:
        configure(gateway, listener(port, timeouts={"clientHeader": "300ms"}))
        with Connection(port) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
            assert client.is_closed_by_peer()

    def test_a_body_that_does_not_end_is_not_waited_for(self, gateway: Gateway, port: int) -> None:
        configure(gateway, listener(port, timeouts={"clientRequest": "300ms"}))
        with Connection(port) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf")
            client.read_to_end()  # with or without an answer: it ends


def test_the_status_of_a_listener_says_what_has_become_of_it(
    gateway: Gateway, port: int, second_port: int, tmp_path: Path
) -> None:
    def status(listener_id: str) -> Document:
        answer = gateway.api.get(f"/listeners/{listener_id}/status")
        assert answer.status_code == 200, answer.text
        (found,) = [entry for entry in answer.json()["proxies"] if entry["connected"]]
        assert found["proxyId"] == next(proxy["id"] for proxy in gateway.proxies() if proxy["connected"])
        return dict(found)

    default, further = AUTHORITY.issue("a.test"), AUTHORITY.issue("*.b.test")
    missing = {"cert": str(tmp_path / "cert.pem"), "key": str(tmp_path / "key.pem")}
    tls = {
        "cert": default.cert_text,
        "key": default.key_text,
        "certificates": [{"cert": further.cert_text, "key": further.key_text}, missing],
    }
    with socket.create_server(("127.0.0.1", second_port)):
        configure(gateway, listener(port, tls=tls), listener(second_port, "second"))
        taken = status("second")
        assert (taken["state"], taken["reason"], taken["tls"]) == ("failed", "Address already in use", None)
        assert taken["bindError"]["reason"] == "Address already in use"
        attempt = datetime.fromisoformat(taken["bindError"]["nextAttempt"])
        assert abs((attempt - datetime.now(UTC)).total_seconds()) < 60
    secured = status("main")
    assert (secured["state"], secured["bindError"]) == ("listening", None)
    assert secured["activeSnapshot"]["id"]
    left_out = f"tls.certificates[1].cert: {missing['cert']}: No such file or directory (left out)"
    assert secured["tls"]["problems"] == [left_out]
    names = [(found["names"], found["isDefault"]) for found in secured["tls"]["certificates"]]
    assert names == [(["a.test"], True), (["*.b.test"], False)]
    loaded_at = datetime.fromisoformat(secured["tls"]["loadedAt"])
    assert timedelta(0) <= datetime.now(UTC) - loaded_at < timedelta(minutes=1)
    ends = [datetime.fromisoformat(found["notAfter"]) for found in secured["tls"]["certificates"]]
    assert all(timedelta(minutes=50) < end - loaded_at < timedelta(minutes=70) for end in ends)
    eventually(lambda: status("second")["bindError"] is None, 40, what="it was bound after all")
    assert status("second")["state"] == "listening"
    AUTHORITY.issue("c.test").cert_file(Path(missing["cert"]))
    eventually(lambda: "key.pem" in str(status("main")["tls"]["problems"]), 20, what="the certificate was found")
    assert gateway.api.get("/listeners/nobody/status").status_code == 404
