"""A crowd: many connections that are mostly idle, each asking now and then.

wrk cannot do this, it keeps every connection busy; tools with a rate per connection send in bursts, because all
connections begin together. The crowd spreads its requests evenly over time and connections.
"""

from __future__ import annotations

import select
import socket
import time
from types import TracebackType
from typing import Self

from bench.comparison.cores import running_on
from bench.comparison.measurement import Load
from bench.comparison.workload import Workload

_PATIENCE = 5.0
"""Seconds to wait for the last answers."""


class Crowd:
    """Connections to *port*, each of which has been answered once; a context manager that closes them."""

    def __init__(self, workload: Workload, port: int, core: int) -> None:
        (path,) = workload.paths()
        self._request = (
            f"{workload.method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
        ).encode()
        self._ending = b"x" * workload.answer_bytes
        self._size = workload.connections
        self._rate = workload.rate
        self._port = port
        self._core = core
        self._members: list[_Member] = []

    def __enter__(self) -> Self:
        for _ in range(self._size):
            connection = socket.create_connection(("127.0.0.1", self._port), timeout=5)
            self._members.append(_Member(connection))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(self._request)
            answer = b""
            while not answer.endswith(self._ending):
                part = connection.recv(65536)
                if not part:
                    raise RuntimeError(f"the connection was closed after {answer[:200]!r}")
                answer += part
            connection.setblocking(False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in self._members:
            member.connection.close()
        self._members.clear()

    def run(self, seconds: float) -> Load:
        """Ask at the workload's rate for *seconds*, one connection after the other."""
        with running_on(self._core), select.epoll() as poll:
            members = {member.connection.fileno(): member for member in self._members}
            for descriptor in members:
                poll.register(descriptor, select.EPOLLIN)
            return self._exchange(poll, members, seconds)

    def _exchange(self, poll: select.epoll, members: dict[int, _Member], seconds: float) -> Load:
        latencies: list[float] = []
        turns = asked = failed = 0
        start = now = time.monotonic()
        end = start + seconds
        while now < end or (len(latencies) + failed < asked and now < end + _PATIENCE):
            while now < end and turns < (now - start) * self._rate:
                member = self._members[turns % self._size]
                turns += 1
                if not member.asked_at and not member.closed:
                    asked += 1
                    member.asked_at = time.monotonic()
                    member.connection.send(self._request)
            for descriptor, _ in poll.poll(0.001, 256):
                member = members[descriptor]
                if not member.read(self._ending):
                    continue
                if member.closed:
                    poll.unregister(descriptor)
                    failed += 1
                else:
                    latencies.append(time.monotonic() - member.asked_at)
                member.asked_at = 0.0
            now = time.monotonic()
        latencies.sort()
        p50, p99 = (1000 * latencies[int(len(latencies) * share)] if latencies else 0.0 for share in (0.5, 0.99))
        unanswered = asked - len(latencies) - failed
        return Load(requests=len(latencies), failed=failed + unanswered, seconds=seconds, p50_ms=p50, p99_ms=p99)


class _Member:
    """One connection of the crowd."""

    __slots__ = ("asked_at", "closed", "connection", "received")

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.closed = False
        self.asked_at = 0.0
        self.received = b""

    def read(self, ending: bytes) -> bool:
        """Read what has arrived; whether that ends the answer, or the connection."""
        try:
            part = self.connection.recv(65536)
        except BlockingIOError:
            return False
        except OSError:
            part = b""
        self.closed = not part
        self.received += part
        if self.closed or self.received.endswith(ending):
            self.received = b""
            return True
        return False
