"""Open-loop load: requests at a constant rate, whether those before them were answered or not.

Times count from the moment a request was meant to be sent: what a stalled proxy, or a stalled client, keeps waiting is
not forgotten (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import cast

from vrata.observability.tasks import TaskSupervisor

PATIENCE = 10.0
"""Seconds after which a client gives up."""
TICK = 0.002

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_BACKEND = re.compile(rb"\r\nx-backend: *(\S+)\r\n", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close\r\n", re.IGNORECASE)


@dataclass(slots=True)
class Answer:
    """What became of one request."""

    at: float
    """When it was to be sent, on the monotonic clock."""
    taken: float = 0.0
    """Seconds until it was over, from :attr:`at`."""
    status: int = 0
    """0 when the connection failed or the client gave up."""
    backend: str = ""
    """Who answered, if a backend did."""

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300


class OpenLoad:
    """*rate* requests per second to *port* of loopback. :attr:`answers` are in the order in which they were over."""

    def __init__(self, port: int, rate: float, path: str = "/") -> None:
        self.answers: list[Answer] = []
        self.sent = 0
        self.under_way = 0
        self.idle: list[_Client] = []
        fields = f"Host: 127.0.0.1:{port}\r\nUser-Agent: bench\r\nAccept: */*\r\n"
        self.request = f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode()
        self._port = port
        self._interval = 1 / rate
        self._stopped = asyncio.Event()
        self._drained = asyncio.Event()
        self._tasks = TaskSupervisor()

    def start(self) -> None:
        """Begin."""
        self._tasks.start(self._run(), name="load")

    async def stop(self) -> None:
        """Send no more, and return when everything is over."""
        self._stopped.set()
        if self.under_way:
            await asyncio.wait_for(self._drained.wait(), PATIENCE + 1)
        await self._tasks.stop()
        for client in self.idle:
            client.close()

    def over(self, answer: Answer) -> None:
        """*answer* is complete."""
        answer.taken = time.monotonic() - answer.at
        self.under_way -= 1
        self.answers.append(answer)
        if self._stopped.is_set() and not self.under_way:
            self._drained.set()

    async def _run(self) -> None:
        start = time.monotonic()
        while not self._stopped.is_set():
            due = start + self.sent * self._interval
            if due <= time.monotonic():
                self._send(Answer(due))
            else:
                await asyncio.sleep(max(TICK, due - time.monotonic()))

    def _send(self, answer: Answer) -> None:
        self.sent += 1
        self.under_way += 1
        if self.idle:
            self.idle.pop().send(answer)
        else:
            self._tasks.start(self._connect(answer), name="connect")

    async def _connect(self, answer: Answer) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(PATIENCE):
                _, client = await loop.create_connection(lambda: _Client(self), "127.0.0.1", self._port)
        except OSError:
            self.over(answer)
        else:
            client.send(answer)


class _Client(asyncio.Protocol):
    """One connection; back to the idle ones after each answer."""

    def __init__(self, load: OpenLoad) -> None:
        self._load = load
        self._loop = asyncio.get_running_loop()
        self._transport = cast(asyncio.Transport, None)
        self._received = b""
        self._answer: Answer | None = None
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._load.idle:
            self._load.idle.remove(self)
        self._end()

    def send(self, answer: Answer) -> None:
        """Ask; what comes back is put into *answer*."""
        self._answer, self._received = answer, b""
        self._patience = self._loop.call_at(self._loop.time() + PATIENCE, self.close)
        if self._transport.is_closing():
            self._end()
        else:
            self._transport.write(self._load.request)

    def close(self) -> None:
        """End the connection, whatever it waits for."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        answer = self._answer
        if answer is None:
            self.close()
            return
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return
        head += b"\r\n"
        length = _LENGTH.search(head)
        if length is not None and len(body) < int(length[1]):
            return
        backend = _BACKEND.search(head)
        answer.status = int(head[9:12])
        answer.backend = backend[1].decode() if backend else ""
        self._end()
        if length is None or _CLOSE.search(head):
            self.close()
        else:
            self._load.idle.append(self)

    def _end(self) -> None:
        answer, self._answer = self._answer, None
        if answer is not None:
            assert self._patience is not None
            self._patience.cancel()
            self._load.over(answer)
