"""A proxy, a backend and an nginx that serve many tests, on one event loop that runs only while a test does."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Coroutine, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import structlog

from tests.robustness.nginx_reader import NginxReader
from tests.support.conditions import eventually_async
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy
from vrata.net.event_loop import new_event_loop

T = TypeVar("T")


class Upstream(Protocol):
    """What the session needs of a backend."""

    port: int
    open: int
    """Connections that neither side has ended."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class ProxySession:
    """A context manager: everything runs inside of it, and nothing is left at its end."""

    def __init__(self, directory: Path, upstream: Upstream) -> None:
        self._runner = asyncio.Runner(loop_factory=new_event_loop)
        self._surprises: list[dict[str, Any]] = []
        self._logs = structlog.testing.LogCapture()
        self._upstream = upstream
        self.nginx = NginxReader(directory)
        self.proxy: InProcessProxy

    def __enter__(self) -> Self:
        self._processors = structlog.get_config()["processors"]
        structlog.configure(processors=[self._logs])
        self._runner.__enter__()
        self.run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.run(self._stop())
        finally:
            self._runner.close()
            structlog.configure(processors=self._processors)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* on the loop; what it leaves in the log as an error, or unhandled on the loop, fails it."""
        try:
            result = self._runner.run(work)
        except Exception:
            self._runner.run(self.renew())
            self._logs.entries.clear()
            self._surprises.clear()
            raise
        errors = [entry for entry in self._logs.entries if entry["log_level"] in ("error", "critical")]
        surprises, self._surprises = self._surprises, []
        self._logs.entries.clear()
        assert not errors
        assert not surprises
        return result

    async def settled(self) -> None:
        """Wait until nothing is under way: only idle connections to the backend are left, each with its watch."""
        await eventually_async(self._is_settled, what=f"nothing is left, but {self._state()}", interval=0)

    def _is_settled(self) -> bool:
        return self._state()[:2] == (0, 0) and self.proxy.watched == self._upstream.open

    def _state(self) -> tuple[int, int, int, int]:
        status = self.proxy.data_plane.status()
        return status.connections, status.in_flight, self.proxy.watched, self._upstream.open

    async def _start(self) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self._surprises.append(context))
        await self._upstream.start()
        await self.nginx.start()
        await self._start_proxy()

    async def _start_proxy(self) -> None:
        self.proxy = InProcessProxy()
        await self.proxy.apply(route("all", forward=forward("b")), destinations=[destination("b", self._upstream.port)])

    async def renew(self) -> None:
        """Go on with a fresh proxy after one that did not do what it should: the next test is about something else."""
        await self.proxy.end()
        await self._start_proxy()

    async def _stop(self) -> None:
        await self.proxy.end()
        await self.nginx.stop()
        await eventually_async(lambda: self._upstream.open == 0, what="no connection to the backend is left")
        await self._upstream.stop()


async def exchange(port: int, pieces: Iterable[bytes]) -> bytes:
    """Send *pieces* so that each is read by itself, close the sending half, and return all that comes back."""
    loop = asyncio.get_running_loop()
    received = []
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        with contextlib.suppress(OSError):  # the proxy may have had enough before the end
            for piece in pieces:
                await loop.sock_sendall(sock, piece)
                # Loopback has delivered by now, and the loop polls between these turns.
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while data := await loop.sock_recv(sock, 1 << 16):
                received.append(data)
    return b"".join(received)
