"""The connections of a destination and the requests that wait for one, exact with one, two and four workers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.conditions import eventually
from tests.support.gateway import Gateway, forward, listener, route
from tests.support.kernel_sockets import connections_to
from tests.support.load import Load
from tests.support.ports import free_port
from tests.support.recording_backend import Exchange, RecordingBackend

CONNECTIONS = 5
PENDING = 7


class HoldingBackends:
    """Backends that hold every response until they are released; together they know how much they had at once."""

    def __init__(self, number: int) -> None:
        self.released = threading.Event()
        self.now = self.most = self.served = 0
        """Requests."""
        self.most_connected = 0
        """Connections with at least one request, at the moment of any request."""
        self._last_on: dict[tuple[str, int], Exchange] = {}
        self._count = threading.Lock()
        self._stack = contextlib.ExitStack()
        self.backends = [
            self._stack.enter_context(RecordingBackend(f"holding-{index}", self._answer)) for index in range(number)
        ]

    def close(self) -> None:
        self.released.set()
        self._stack.close()

    def connected(self) -> int:
        """Connections to all of them, as the kernel knows them."""
        return connections_to([backend.port for backend in self.backends])

    def _answer(self, exchange: Exchange) -> None:
        with self._count:
            self.now += 1
            self.most = max(self.most, self.now)
            # What is connected still now was so when the count began: no connection is counted beside its successor.
            self._last_on[exchange.backend, exchange.connection] = exchange
            self._last_on = {key: last for key, last in self._last_on.items() if last.is_connected}
            self.most_connected = max(self.most_connected, len(self._last_on))
        self.released.wait(30)
        with self._count:
            self.now -= 1
            self.served += 1
        exchange.respond(body=b"ok")


@pytest.fixture
def holding() -> Iterator[HoldingBackends]:
    backends = HoldingBackends(3)
    yield backends
    backends.close()


@pytest.fixture(scope="module", params=[1, 2, 4])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("limits"), proxy={"workers": request.param}) as running:
        yield running
        assert "Traceback" not in running.process.text()


def limited(gateway: Gateway, port: int, holding: HoldingBackends, **breaker: int) -> None:
    """Forward all from *port* to the *holding* backends, whose failures open no circuit."""
    endpoints = [{"host": "127.0.0.1", "port": backend.port} for backend in holding.backends]
    destination = {
        "id": "limited",
        "name": "limited",
        "host": "127.0.0.1",
        "port": holding.backends[0].port,
        "endpoints": endpoints,
        "options": {
            "circuitBreaker": {"failureThreshold": 0, **breaker},
            "endpointBalancing": {"algorithm": "ROUND_ROBIN"},
        },
    }
    gateway.configure(
        listeners=[listener(port)], destinations=[destination], routes=[route("all", forward=forward("limited"))]
    )


class Client:
    """One request on a connection of its own."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        self._received = b""

    def close(self) -> None:
        self._socket.close()

    def is_answered(self) -> bool:
        """Whether anything of a response is there."""
        self._socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            self._received += self._socket.recv(65536)
        self._socket.settimeout(20)
        return bool(self._received)

    def answer(self) -> tuple[int, bytes]:
        """Status and body, when all of it has come."""
        while data := self._socket.recv(65536):
            self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        return int(head.split()[1]), body


def test_as_many_are_connected_and_wait_as_may(gateway: Gateway, holding: HoldingBackends) -> None:
    port = free_port()
    limited(gateway, port, holding, maxConnections=CONNECTIONS, maxPendingRequests=PENDING)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(contextlib.closing(Client(port))) for _ in range(CONNECTIONS + PENDING + 12)]
        refused: list[Client] = []

        def are_refused() -> bool:
            refused.extend(client for client in clients if client not in refused and client.is_answered())
            return len(refused) == 12

        eventually(are_refused, what="those are refused that are too many")
        for client in refused:
            status, body = client.answer()
            assert (status, b"circuit_open" in body) == (503, True)
        eventually(lambda: holding.now == CONNECTIONS, what="the connections are in use")
        assert holding.connected() == CONNECTIONS
        waiting = [client for client in clients if client not in refused]
        # As many as gave up may wait in their place.
        clients_gone = [client for client in waiting if not client.is_answered()]
        assert len(clients_gone) == CONNECTIONS + PENDING
        holding.released.set()
        assert [client.answer() for client in waiting] == [(200, b"ok")] * (CONNECTIONS + PENDING)
    assert (holding.most, holding.served) == (CONNECTIONS, CONNECTIONS + PENDING)


def test_under_load_the_connections_are_never_more(gateway: Gateway, holding: HoldingBackends) -> None:
    port = free_port()
    holding.released.set()
    limited(gateway, port, holding, maxConnections=CONNECTIONS, maxPendingRequests=1000)
    with Load(port, clients=16, reconnect=True) as load:
        load.more(600)
        assert 1 <= holding.most_connected <= CONNECTIONS
        # A limit changes while it is used.
        limited(gateway, port, holding, maxConnections=2, maxPendingRequests=1000)
        eventually(lambda: holding.connected() <= 2, what="no more than the new limit are connected")
        holding.most_connected = 0
        load.more(300)
        assert 1 <= holding.most_connected <= 2
    assert not load.failures
    assert holding.most <= CONNECTIONS
    assert load.slowest < 5


def test_what_a_killed_worker_held_is_free_again(gateway: Gateway, holding: HoldingBackends) -> None:
    port = free_port()
    limited(gateway, port, holding, maxConnections=CONNECTIONS, maxPendingRequests=PENDING)
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS + PENDING):
            stack.enter_context(contextlib.closing(Client(port)))
        eventually(lambda: holding.now == CONNECTIONS, what="the connections are in use")
        before = gateway.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: len(gateway.workers()) == len(before) and not {*gateway.workers()} & {*before}, what="new")
        holding.released.set()
        eventually(lambda: holding.now == 0, what="the backends have noticed")
        holding.released.clear()
        holding.most = 0
        clients = [stack.enter_context(contextlib.closing(Client(port))) for _ in range(CONNECTIONS + PENDING)]
        eventually(lambda: holding.now == CONNECTIONS, what="all connections are in use again")
        holding.released.set()
        assert [client.answer() for client in clients] == [(200, b"ok")] * (CONNECTIONS + PENDING)
    assert holding.most == CONNECTIONS
