"""A circuit breaker and a limit of requests, exact with one, two and four workers."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import pytest

from tests.support.conditions import eventually
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.ports import free_port
from tests.support.raw_http import Connection
from tests.support.recording_backend import Exchange, RecordingBackend

THRESHOLD = 7
REQUESTS = 9
NUMBERS = count(1)


class Behaviour:
    """What a backend does, as the test says at the moment."""

    def __init__(self) -> None:
        self.status = 200
        self.holds = False
        self.released = threading.Event()
        self.asked = 0
        self.now = self.most = 0
        self._count = threading.Lock()

    def __call__(self, exchange: Exchange) -> None:
        with self._count:
            self.asked += 1
            self.now += 1
            self.most = max(self.most, self.now)
        if self.holds:
            self.released.wait(30)
        with self._count:
            self.now -= 1
        exchange.respond(self.status, body=b"x")


@pytest.fixture(scope="module", params=[1, 2, 4])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with Gateway(tmp_path_factory.mktemp("breaker"), proxy={"workers": request.param}) as running:
        yield running
        assert "Traceback" not in running.process.text()


@pytest.fixture
def behaviour() -> Behaviour:
    return Behaviour()


@pytest.fixture
def port(gateway: Gateway, behaviour: Behaviour) -> Iterator[int]:
    """A listener before a protected backend; each test has a destination of its own, as circuits outlive snapshots."""
    with RecordingBackend("protected", behaviour) as backend:
        port = free_port()
        breaker = {"failureThreshold": THRESHOLD, "openDuration": "700ms", "maxRequests": REQUESTS}
        name = f"d{next(NUMBERS)}"
        gateway.configure(
            listeners=[listener(port, proxyErrors={"detail": "full"})],
            destinations=[destination(name, backend.port, circuitBreaker=breaker)],
            routes=[route("all", forward=forward(name))],
        )
        yield port
        behaviour.released.set()


def get(port: int) -> tuple[int, str]:
    """Status and, of an error of the proxy, its class, over a connection of its own, so to any worker."""
    with Connection(port) as client:
        response = client.exchange("GET", "/")
    if response.all("content-type") == ["application/json"]:
        return response.status, json.loads(response.body)["error"]
    return response.status, ""


def test_failures_in_a_row_are_counted_over_all_workers(port: int, behaviour: Behaviour) -> None:
    behaviour.status = 500
    assert [get(port)[0] for _ in range(THRESHOLD - 1)] == [500] * (THRESHOLD - 1)
    behaviour.status = 200
    assert get(port) == (200, "")
    behaviour.status = 500
    answers = Counter(get(port) for _ in range(THRESHOLD + 10))
    assert answers == {(500, ""): THRESHOLD, (503, "circuit_open"): 10}


def test_exactly_one_probe_finds_out_whether_the_destination_is_well(port: int, behaviour: Behaviour) -> None:
    behaviour.status = 503
    eventually(lambda: get(port) == (503, "circuit_open"), what="the circuit is open")
    asked, behaviour.status, behaviour.holds = behaviour.asked, 200, True
    with ThreadPoolExecutor(20) as clients:
        probes = []

        def is_probing() -> bool:
            probes.append(clients.submit(get, port))
            return behaviour.asked > asked

        eventually(is_probing, what="a probe has reached the backend")
        refused = [found.result() for found in [clients.submit(get, port) for _ in range(15)]]
        assert set(refused) == {(503, "circuit_open")}
        assert behaviour.asked == asked + 1
        behaviour.released.set()
        assert Counter(found.result() for found in probes)[200, ""] == 1
    assert {get(port) for _ in range(10)} == {(200, "")}


def test_a_probe_whose_worker_is_killed_is_not_waited_for(gateway: Gateway, port: int, behaviour: Behaviour) -> None:
    behaviour.status = 503
    eventually(lambda: get(port) == (503, "circuit_open"), what="the circuit is open")
    asked, behaviour.holds = behaviour.asked, True
    clients: list[Connection] = []

    def has_probe() -> bool:
        if behaviour.asked == asked:
            clients.append(Connection(port))
            clients[-1].send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return behaviour.asked > asked

    eventually(has_probe, what="a probe has reached the backend", interval=0.1)
    for worker in gateway.workers():
        os.kill(worker, signal.SIGKILL)
    behaviour.status, behaviour.holds = 200, False
    behaviour.released.set()

    def serves() -> bool:
        try:
            return get(port) == (200, "")
        except (OSError, EOFError):
            return False

    eventually(serves, what="the next request is the probe")
    for client in clients:
        client.close()


def test_requests_at_once_are_limited_exactly(port: int, behaviour: Behaviour) -> None:
    behaviour.holds = True
    with ThreadPoolExecutor(40) as clients:
        answers = [clients.submit(get, port) for _ in range(40)]
        eventually(lambda: sum(each.done() for each in answers) >= 40 - REQUESTS, what="what is too much is refused")
        eventually(lambda: behaviour.now == REQUESTS, what="all others have come to the backend")
        behaviour.released.set()
        counted = Counter(each.result() for each in answers)
    assert counted == {(200, ""): REQUESTS, (503, "circuit_open"): 40 - REQUESTS}
    assert behaviour.most == REQUESTS
