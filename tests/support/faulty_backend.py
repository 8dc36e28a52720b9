"""A backend that fails in the way that a request asks for, over real sockets and fast enough for load.

    python -m tests.support.faulty_backend

prints its port and serves until its standard input ends; :class:`FaultyBackendProcess` starts that, and
:class:`FaultyBackend` serves in a thread. Targets are those of :mod:`tests.support.faulty_connection`; the names of the
faults are in :mod:`tests.support.faults`. ``/-/state`` answers with what is open right now.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import tests.support.faults  # noqa: F401 - it registers them
from tests.support.faulty_connection import FaultyConnection, Tally
from tests.support.raw_http import fetch
from vrata.net.event_loop import new_event_loop


class DeadPorts:
    """Two ports that no connection comes from: one *refuses*, one has a *full* queue. A context manager."""

    def __init__(self) -> None:
        self._refusing = socket.socket()
        self._refusing.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can begin to listen there
        self.refused: int = self._refusing.getsockname()[1]
        self._listening = socket.socket()
        self._listening.bind(("127.0.0.1", 0))
        self._listening.listen(0)
        self.full: int = self._listening.getsockname()[1]
        self._waiting: list[socket.socket] = []

    def __enter__(self) -> Self:
        while True:
            waiting = socket.socket()
            self._waiting.append(waiting)
            waiting.settimeout(0.1)
            try:
                waiting.connect(("127.0.0.1", self.full))
            except TimeoutError:
                return self  # the kernel drops what comes now

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in (self._refusing, self._listening, *self._waiting):
            sock.close()


async def _serve(started: Callable[[int, Tally], None], over: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    tally = Tally()
    server = await loop.create_server(lambda: FaultyConnection(tally), "127.0.0.1", 0, backlog=1024)
    started(server.sockets[0].getsockname()[1], tally)
    await over.wait()
    server.close()
    for connection in list(tally.connections):
        connection.transport.abort()
    await asyncio.sleep(0)


class FaultyBackend:
    """The backend in a thread of its own; a context manager."""

    def __init__(self) -> None:
        self.port = 0
        self.tally = Tally()
        self._started = threading.Event()
        self._over: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="faulty backend", daemon=True)

    @property
    def open(self) -> int:
        """Connections that neither side has ended."""
        return len(self.tally.connections)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._loop is not None
        assert self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        await _serve(self._ready, self._over)

    def _ready(self, port: int, tally: Tally) -> None:
        self.port, self.tally = port, tally
        self._started.set()


class FaultyBackendProcess:
    """The backend in a process of its own, which takes no time from whoever drives the load; a context manager."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.faulty_backend"],
            cwd=Path(__file__).parents[2],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.communicate(timeout=10)

    def state(self) -> dict[str, Any]:
        """What it has open (the connection that asks is among them), and what it has seen."""
        found: dict[str, Any] = json.loads(fetch(self.port, "/-/state").body)
        return found


async def _main() -> None:
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), over.set)

    def started(port: int, tally: Tally) -> None:
        sys.stdout.write(f"{port}\n")
        sys.stdout.flush()

    await _serve(started, over)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=new_event_loop) as _runner:
        _runner.run(_main())
