"""Errors that the proxy makes itself: classes, statuses and bodies, and what happens when a response has begun."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.support.conditions import eventually
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.ports import free_port
from tests.support.raw_http import Connection, Response, TruncatedResponse, fetch
from tests.support.recording_backend import Exchange, RecordingBackend, Script

MESSAGES = {
    "no_route": (404, "no matching route"),
    "no_destination": (502, "no destination available"),
    "request_headers_too_large": (431, "request headers too large"),
    "timeout": (504, "request timeout"),
    "connection_refused": (502, "upstream connection refused"),
    "connection_reset": (502, "upstream connection reset"),
    "dns_failure": (502, "upstream host could not be resolved"),
}


def assert_is_error(response: Response, name: str, **more: str) -> None:
    """That *response* is the standard error *name*, with the members *more* beside the usual three."""
    status, message = MESSAGES[name]
    assert response.status == status, response
    assert response["Content-Type"] == "application/json"
    assert response.body.endswith(b"\n")
    assert json.loads(response.body) == {"error": name, "status": status, "message": message, **more}


@pytest.fixture(scope="module")
def unresponsive() -> Iterator[int]:
    """A port whose queue of connections is full, so that the kernel lets connecting clients wait."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port: int = server.getsockname()[1]
        waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            waiting.append(client)
        yield port
        for client in waiting:
            client.close()


class TestClasses:
    @pytest.fixture
    def with_destination(self, gateway: Gateway, port: int) -> Callable[[Document], None]:
        def configure(document: Document, **fields: object) -> None:
            gateway.configure(
                listeners=[listener(port)],
                destinations=[document],
                routes=[route("all", {"pathPrefix": "/to"}, forward=forward(document["id"], **fields))],
            )

        return configure

    def test_no_route(self, gateway: Gateway, port: int) -> None:
        gateway.configure(listeners=[listener(port)])
        assert_is_error(fetch(port, "/nowhere"), "no_route")

    def test_no_destination(self, gateway: Gateway, port: int) -> None:
        gateway.configure(listeners=[listener(port)], routes=[route("lost", forward=forward("missing"))])
        assert_is_error(fetch(port), "no_destination")

    def test_a_head_gets_the_fields_only(self, gateway: Gateway, port: int) -> None:
        gateway.configure(listeners=[listener(port)])
        with Connection(port) as client:
            response = client.exchange("HEAD", "/nowhere")
            assert (response.status, response["Content-Type"]) == (404, "application/json")
            assert_is_error(client.exchange("GET", "/nowhere"), "no_route")

    def test_refused(self, port: int, with_destination: Callable[[Document], None]) -> None:
        with_destination(destination("closed", free_port()))
        assert_is_error(fetch(port, "/to"), "connection_refused")

    def test_unresolvable(self, port: int, with_destination: Callable[[Document], None]) -> None:
        with_destination(destination("nameless", 80, host="no-such-host.invalid"))
        assert_is_error(fetch(port, "/to"), "dns_failure")

    def test_closed_without_an_answer(
        self, port: int, backend: RecordingBackend, with_destination: Callable[[Document], None]
    ) -> None:
        backend.script = lambda exchange: exchange.close()
        with_destination(destination("mute", backend.port))
        assert_is_error(fetch(port, "/to", method="POST", body=b"x"), "connection_reset")

    def test_reset_without_an_answer(
        self, port: int, backend: RecordingBackend, with_destination: Callable[[Document], None]
    ) -> None:
        backend.script = lambda exchange: exchange.reset()
        with_destination(destination("rude", backend.port))
        assert_is_error(fetch(port, "/to", method="POST", body=b"x"), "connection_reset")

    @pytest.mark.parametrize(
        "answer",
        [
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 abc Bad\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        ],
    )
    def test_an_answer_that_is_no_http(
        self, port: int, backend: RecordingBackend, with_destination: Callable[[Document], None], answer: bytes
    ) -> None:
        def babble(exchange: Exchange) -> None:
            exchange.send(answer)
            exchange.close()

        backend.script = babble
        with_destination(destination("babbling", backend.port))
        response = fetch(port, "/to")
        assert response.status == 502
        assert json.loads(response.body)["error"] == "connection_reset"

    def test_no_answer_in_time(
        self, port: int, backend: RecordingBackend, with_destination: Callable[[Document], None], released: Script
    ) -> None:
        backend.script = released
        with_destination(destination("slow", backend.port, timeouts={"responseHeader": "200ms"}))
        assert_is_error(fetch(port, "/to"), "timeout")

    def test_the_budget_of_the_destination(
        self, port: int, backend: RecordingBackend, with_destination: Callable[[Document], None], released: Script
    ) -> None:
        backend.script = released
        with_destination(destination("slow", backend.port, timeouts={"request": "200ms"}))
        assert_is_error(fetch(port, "/to"), "timeout")

    def test_the_budget_of_the_route(
        self, gateway: Gateway, port: int, backend: RecordingBackend, released: Script
    ) -> None:
        backend.script = released
        gateway.configure(
            listeners=[listener(port)],
            destinations=[destination("slow", backend.port)],
            routes=[route("hasty", forward=forward("slow", timeouts={"request": "200ms"}))],
        )
        before = time.monotonic()
        assert_is_error(fetch(port, "/to"), "timeout")
        assert 0.15 < time.monotonic() - before < 20

    def test_no_connection_in_time(
        self, port: int, unresponsive: int, with_destination: Callable[[Document], None]
    ) -> None:
        with_destination(destination("full", unresponsive, timeouts={"connect": "200ms"}))
        assert_is_error(fetch(port, "/to"), "timeout")

    def test_headers_too_large(self, gateway: Gateway, port: int) -> None:
        gateway.configure(
            listeners=[listener(port, maxRequestHeadersKB=1)], routes=[route("all", directResponse={"status": 200})]
        )
        assert fetch(port, "/", headers=[("X-Long", "v" * 900)]).status == 200
        assert_is_error(fetch(port, "/", headers=[("X-Long", "v" * 1100)]), "request_headers_too_large")

    def test_an_error_of_the_backend_is_not_ours(
        self, port: int, backend: RecordingBackend, with_destination: Callable[[Document], None]
    ) -> None:
        backend.script = lambda exchange: exchange.respond(502, body=b"mine")
        with_destination(destination("failing", backend.port))
        assert fetch(port, "/to").body == b"mine"

    def test_the_client_connection_outlives_the_error(
        self, port: int, with_destination: Callable[[Document], None]
    ) -> None:
        with_destination(destination("closed", free_port()))
        with Connection(port) as client:
            for _ in range(3):
                assert_is_error(client.exchange("GET", "/to"), "connection_refused")
                assert_is_error(client.exchange("POST", "/nowhere", body=b"abc"), "no_route")

    @pytest.fixture
    def released(self) -> Iterator[Script]:
        """A script that answers nothing until the test is over."""
        over = threading.Event()

        def hold(exchange: Exchange) -> None:
            over.wait(30)
            exchange.close()

        yield hold
        over.set()


class TestDetail:
    @pytest.fixture
    def closed(self) -> int:
        return free_port()

    def error(self, gateway: Gateway, port: int, closed: int, detail: str, target: str) -> Document:
        gateway.configure(
            listeners=[listener(port, proxyErrors={"detail": detail})],
            destinations=[destination("closed", closed)],
            routes=[route("all", {"pathPrefix": "/to"}, forward=forward("closed"))],
        )
        document: Document = json.loads(fetch(port, target).body)
        return document

    def test_minimal(self, gateway: Gateway, port: int, closed: int) -> None:
        assert self.error(gateway, port, closed, "minimal", "/to") == {"error": "connection_refused", "status": 502}
        assert self.error(gateway, port, closed, "minimal", "/") == {"error": "no_route", "status": 404}

    def test_standard(self, gateway: Gateway, port: int, closed: int) -> None:
        assert list(self.error(gateway, port, closed, "standard", "/to")) == ["error", "status", "message"]

    def test_full(self, gateway: Gateway, port: int, closed: int) -> None:
        before = datetime.now(UTC) - timedelta(seconds=1)
        error = self.error(gateway, port, closed, "full", "/to")
        assert list(error) == ["error", "status", "message", "destination", "endpoint", "endpoints", "timestamp"]
        endpoint = f"127.0.0.1:{closed}"
        assert error["endpoints"] == [
            {"endpoint": endpoint, "verdict": "tried", "reason": "upstream connection refused"}
        ]
        assert (error["destination"], error["endpoint"]) == ("closed", f"127.0.0.1:{closed}")
        assert before <= datetime.strptime(error["timestamp"], "%Y-%m-%dT%H:%M:%S%z") <= datetime.now(UTC)

    def test_full_without_a_destination(self, gateway: Gateway, port: int, closed: int) -> None:
        error = self.error(gateway, port, closed, "full", "/")
        assert list(error) == ["error", "status", "message", "timestamp"]


class TestAfterTheResponseHasBegun:
    """The client must see that the message is not whole: there is no way to say it in HTTP any more."""

    @pytest.fixture(autouse=True)
    def _configured(self, gateway: Gateway, port: int, backend: RecordingBackend) -> None:
        gateway.configure(
            listeners=[listener(port)],
            destinations=[destination("backend", backend.port)],
            routes=[
                route("hasty", {"path": "/hasty"}, forward=forward("backend", timeouts={"request": "300ms"})),
                route("all", forward=forward("backend")),
            ],
        )

    def test_an_upstream_that_dies_within_a_length(self, port: int, backend: RecordingBackend) -> None:
        def die(exchange: Exchange) -> None:
            exchange.send_head(200, [("Content-Length", "1000")])
            exchange.send(b"x" * 100)
            exchange.close()

        backend.script = die
        with pytest.raises(TruncatedResponse) as cut:
            fetch(port)
        assert cut.value.received == b"x" * 100

    @pytest.mark.parametrize("end", ["close", "reset"])
    def test_an_upstream_that_dies_within_chunks(self, port: int, backend: RecordingBackend, end: str) -> None:
        def die(exchange: Exchange) -> None:
            exchange.send_head(200, [("Transfer-Encoding", "chunked")])
            exchange.send(b"64\r\n" + b"x" * 100 + b"\r\n")
            # The proxy must have passed this on before the end, for a reset discards what is unread.
            eventually(lambda: seen.is_set(), what="the client has the first chunk")
            getattr(exchange, end)()

        seen = threading.Event()
        backend.script = die
        with Connection(port) as client:
            client.request("GET", "/")
            assert client.read_head()[0] == 200
            received = b""
            while b"x" * 100 not in received:
                received += client.read_some()
            seen.set()
            # No last chunk may follow.
            assert not (received + client.read_to_end()).endswith(b"0\r\n\r\n")

    def test_an_upstream_that_dies_within_a_chunk(self, port: int, backend: RecordingBackend) -> None:
        def die(exchange: Exchange) -> None:
            exchange.send_head(200, [("Transfer-Encoding", "chunked")])
            exchange.send(b"64\r\n" + b"x" * 50)
            exchange.close()

        backend.script = die
        with pytest.raises(TruncatedResponse):
            fetch(port)

    def test_a_budget_that_ends_within_the_body(self, port: int, backend: RecordingBackend) -> None:
        over = threading.Event()

        def stall(exchange: Exchange) -> None:
            exchange.send_head(200, [("Content-Length", "1000")])
            exchange.send(b"x" * 100)
            over.wait(30)

        backend.script = stall
        try:
            with pytest.raises(TruncatedResponse):
                fetch(port, "/hasty")
        finally:
            over.set()

    def test_a_client_that_leaves_ends_the_upstream_request(self, port: int, backend: RecordingBackend) -> None:
        left = threading.Event()

        def stream(exchange: Exchange) -> None:
            exchange.send_head(200, [("Transfer-Encoding", "chunked")])
            try:
                while True:
                    exchange.send(b"5\r\nhello\r\n")
                    time.sleep(0.005)
            except OSError:
                left.set()

        backend.script = stream
        with Connection(port) as client:
            client.request("GET", "/")
            assert client.read_head()[0] == 200
        assert left.wait(20)

    def test_the_next_request_is_served(self, port: int, backend: RecordingBackend) -> None:
        def die(exchange: Exchange) -> None:
            exchange.send_head(200, [("Content-Length", "9")])
            exchange.close()

        backend.script = die
        with pytest.raises(TruncatedResponse):
            fetch(port)
        backend.forget()
        assert fetch(port).status == 200
