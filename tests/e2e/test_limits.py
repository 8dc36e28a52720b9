"""Limits that hold for the whole proxy: its two workers share what each of them may use."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.conditions import eventually
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.kernel_sockets import connections_to
from tests.support.load import Load
from tests.support.ports import free_port
from tests.support.recording_backend import Exchange, RecordingBackend

CLIENTS = 12


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One whose workers may be killed."""
    with Gateway(tmp_path_factory.mktemp("limits"), log={"format": "json"}) as running:
        yield running
        assert "Traceback" not in running.process.text()


def workers(gateway: Gateway) -> list[int]:
    """Ids of the serving workers, all of them."""

    def serving() -> list[int]:
        found = gateway.proxies()[0]["workers"]
        pids = [worker["pid"] for worker in found if worker["state"] == "serving"]
        return pids if len(pids) == len(found) == 2 else []

    return eventually(serving, what="two workers serve")


class SlowBackend(RecordingBackend):
    """Takes a moment for each request; knows what is connected to it, and how many requests it had at once."""

    def __init__(self, seconds: float = 0.005) -> None:
        self.seconds = seconds
        self.most = 0
        """Requests at once, at most."""
        self._now = 0
        self._count = threading.Lock()
        super().__init__("slow", self._answer)

    def _answer(self, exchange: Exchange) -> None:
        with self._count:
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self.seconds)
        with self._count:
            self._now -= 1
        exchange.respond(body=b"ok")

    def connected(self) -> int:
        """Connections to it, as the kernel knows them."""
        return connections_to([self.port])


@pytest.fixture
def slow() -> Iterator[SlowBackend]:
    with SlowBackend() as running:
        yield running


def limited(gateway: Gateway, port: int, backend: SlowBackend, limit: int) -> None:
    """Forward all from *port* to *backend* over at most *limit* connections."""
    gateway.configure(
        listeners=[listener(port)],
        destinations=[destination("slow", backend.port, maxConnsPerHost=limit)],
        routes=[route("all", forward=forward("slow"))],
    )


@pytest.mark.parametrize("limit", [1, 3])
def test_the_connections_to_an_endpoint(gateway: Gateway, slow: SlowBackend, limit: int) -> None:
    port = free_port()
    limited(gateway, port, slow, limit)
    seen = 0
    # New connections again and again, so that both workers have clients whatever the kernel does.
    with Load(port, clients=CLIENTS, reconnect=True) as load:
        for _ in range(10):
            load.more(30)
            seen = max(seen, slow.connected())
    assert not load.failures
    assert slow.most <= limit
    assert 1 <= seen <= limit
    # Everybody had a turn: with these numbers it comes after some hundredths of a second.
    assert load.slowest < 2


def test_a_worker_that_is_killed_gives_up_its_connections(gateway: Gateway, slow: SlowBackend) -> None:
    port = free_port()
    limited(gateway, port, slow, 2)
    with Load(port, clients=CLIENTS, reconnect=True) as load:
        for _ in range(3):
            load.more(50)
            os.kill(workers(gateway)[0], signal.SIGKILL)
            load.more(50)
            workers(gateway)
        load.more(50)
    # What the dead had under way is lost; whatever else came was answered.
    assert all("status" not in reason for reason in load.failures), load.failures
    assert slow.most <= 2 + 1  # the backend may not have noticed yet that a client of its is dead
    eventually(lambda: slow.connected() <= 2, what="no more than the limit is connected")


def test_workers_that_are_replaced_share_with_those_that_drain(gateway: Gateway, slow: SlowBackend) -> None:
    port = free_port()
    limited(gateway, port, slow, 2)
    before = workers(gateway)
    with Load(port, clients=CLIENTS, reconnect=True) as load:
        load.more()
        gateway.process.signal(signal.SIGHUP)
        eventually(lambda: not {*workers(gateway)} & {*before}, what="both are replaced")
        load.more(100)
    assert not load.failures
    assert slow.most <= 2


def test_a_limit_changes_while_it_is_used(gateway: Gateway, slow: SlowBackend) -> None:
    port = free_port()

    def change(limit: int, load: Load) -> None:
        limited(gateway, port, slow, limit)
        eventually(lambda: slow.connected() <= limit, what=f"at most {limit}")
        slow.most = 0
        load.more(200)
        assert 0 < slow.most <= limit

    with contextlib.ExitStack() as stack:
        limited(gateway, port, slow, 2)
        load = stack.enter_context(Load(port, clients=CLIENTS, reconnect=True))
        for limit in (2, 5, 1):
            change(limit, load)
        limited(gateway, port, slow, 0)
        eventually(lambda: slow.connected() > 5, what="there are as many as are needed")
        change(3, load)
    assert not load.failures


def hold(port: int) -> socket.socket:
    """A client that is connected."""
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def is_served(client: socket.socket) -> bool:
    try:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return client.recv(10_000).startswith(b"HTTP/1.1 200 ")
    except ConnectionError:
        return False


HELLO: Document = route("all", directResponse={"status": 200, "body": "hello"})


def test_the_connections_of_a_listener(gateway: Gateway) -> None:
    port = free_port()
    gateway.configure(listeners=[listener(port, maxConnections=6)], routes=[HELLO])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(hold(port)) for _ in range(20)]
        inside = [client for client in clients if is_served(client)]
        assert len(inside) == 6
        for client in inside[:2]:
            client.close()

        def more() -> bool:
            client = hold(port)
            if is_served(client):
                inside.append(stack.enter_context(client))
            else:
                client.close()
            return len(inside) == 8

        eventually(more, what="two more are let in")
        assert not is_served(stack.enter_context(hold(port)))
        assert all(is_served(client) for client in inside[2:])
    gateway.process.wait_for_text("clients turned away")
    assert gateway.process.text().count("clients turned away") <= 4


def test_clients_of_a_worker_that_was_killed_count_no_more(gateway: Gateway) -> None:
    port = free_port()
    gateway.configure(listeners=[listener(port, maxConnections=4)], routes=[HELLO])
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(hold(port)) for _ in range(20)]
        assert sum(is_served(client) for client in clients) == 4
        for pid in workers(gateway):
            os.kill(pid, signal.SIGKILL)
            workers(gateway)
        again = [stack.enter_context(hold(port)) for _ in range(20)]
        assert sum(is_served(client) for client in again) == 4


def test_a_worker_without_descriptors_still_takes_a_snapshot(gateway: Gateway) -> None:
    port, other = free_port(), free_port()
    gateway.configure(listeners=[listener(port)], routes=[HELLO])
    before = workers(gateway)
    previous = {pid: resource.prlimit(pid, resource.RLIMIT_NOFILE) for pid in before}
    with contextlib.ExitStack() as stack:
        for pid, (_, hard) in previous.items():
            highest = max(int(number) for number in os.listdir(f"/proc/{pid}/fd"))
            resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, hard))
        # Of these some take what numbers are left below the limit, and the others are closed.
        clients = [stack.enter_context(hold(port)) for _ in range(30)]
        assert not all(is_served(client) for client in clients)
        gateway.configure(listeners=[listener(port)], routes=[route("all", directResponse={"status": 204})])
        assert workers(gateway) == before
        for pid in before:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, previous[pid])
    gateway.configure(listeners=[listener(port), listener(other, "other")], routes=[HELLO])
    for number in (port, other):
        with hold(number) as client:
            assert is_served(client)
    assert workers(gateway) == before
