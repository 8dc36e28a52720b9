"""A worker that runs out of file descriptors, for real: in a process of its own that may open only a few."""

from __future__ import annotations

import json
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.bounded_proxy import LOOPS, BoundedProxy
from tests.support.conditions import eventually
from tests.support.raw_http import Connection
from tests.support.recording_backend import RecordingBackend

each_loop = pytest.mark.parametrize("loop", LOOPS)


def connect(proxy: BoundedProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10)


def is_served(sock: socket.socket) -> bool:
    """Ask over *sock*: true for an answer, false when the connection ends instead."""
    try:
        sock.sendall(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        return sock.recv(1000).endswith(b"hello")
    except ConnectionError:
        return False


def answers(proxy: BoundedProxy) -> bool:
    """Whether a new client is served."""
    with connect(proxy) as sock:
        return is_served(sock)


@each_loop
def test_clients_leave_descriptors_for_the_rest(loop: str, tmp_path: Path) -> None:
    with (
        RecordingBackend() as backend,
        BoundedProxy(loop, backend.port, tmp_path / "log") as proxy,
        ExitStack() as stack,
    ):
        proxy.leave_descriptors(60)
        proxy.apply()
        clients = [stack.enter_context(connect(proxy)) for _ in range(100)]
        served = [sock for sock in clients if is_served(sock)]
        assert 20 <= len(served) <= 60
        # Those that are in get everything, a connection to the backend for each of several included.
        for sock in served[:5]:
            sock.sendall(b"GET /forwarded HTTP/1.1\r\nHost: a\r\n\r\n")
        for sock in served[:5]:
            assert sock.recv(100_000).startswith(b"HTTP/1.1 200 ")
        for sock in clients:
            sock.close()
        eventually(lambda: answers(proxy), what="there is room again")
    assert "clients turned away" in proxy.log


@each_loop
def test_nothing_left_to_accept_with(loop: str, tmp_path: Path) -> None:
    with (
        RecordingBackend() as backend,
        BoundedProxy(loop, backend.port, tmp_path / "log") as proxy,
        ExitStack() as stack,
    ):
        staying = stack.enter_context(connect(proxy))
        assert is_served(staying)
        proxy.leave_descriptors(3)
        # Some get in, the others are closed or wait; nobody is promised anything.
        crowd = [stack.enter_context(connect(proxy)) for _ in range(20)]
        assert is_served(staying)
        began, computed = time.monotonic(), proxy.cpu_seconds()
        while time.monotonic() - began < 1:
            assert is_served(staying)
            time.sleep(0.05)
        assert proxy.cpu_seconds() - computed < 0.5, "it spins"
        for sock in crowd:
            sock.close()
        eventually(lambda: answers(proxy), what="it accepts again")


@each_loop
def test_nothing_left_to_dial_with(loop: str, tmp_path: Path) -> None:
    with RecordingBackend() as backend, BoundedProxy(loop, backend.port, tmp_path / "log") as proxy:
        client = Connection(proxy.port)
        assert client.exchange("GET", "/hello").status == 200
        proxy.leave_descriptors(0)
        for _ in range(3):
            response = client.exchange("GET", "/forwarded")
            assert (response.status, json.loads(response.body)["error"]) == (502, "connection_refused")
        proxy.leave_descriptors(10)
        assert client.exchange("GET", "/forwarded").status == 200
        client.close()
    assert "Too many open files" in proxy.log
