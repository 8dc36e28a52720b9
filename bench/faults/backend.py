"""Backends: processes that can be made to fail, and to serve again, on the same port."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from bench.comparison.cores import pin
from bench.comparison.installation import ROOT
from tests.support.ports import free_port

_PATIENCE = 10.0
"""Seconds that a process has to say that it did as it was told."""


@dataclass(frozen=True, slots=True)
class Counted:
    """What a backend has seen in a while, health checks left out."""

    requests: int
    most_requests: int
    """At once."""
    most_connections: int
    """At once, those of health checks included."""


class Backend:
    """One backend on *core*; an asynchronous context manager. Its answers name it in ``X-Backend``."""

    def __init__(self, name: str, core: int) -> None:
        self.name = name
        self.port = free_port()
        self._core = core
        self._process: Process | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.kill()

    async def start(self) -> None:
        """Start the process; on return it serves."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.faults.server", self.name, str(self.port)),
            stdin=PIPE,
            stdout=PIPE,
            cwd=ROOT,
            start_new_session=True,
        )
        pin(self._process.pid, self._core)
        await self._hear("ready")

    async def kill(self) -> None:
        """End the process at once: its connections are reset, and new ones refused. Does nothing without one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()  # reaches a stopped process as well
        await process.wait()

    async def tell(self, manner: str) -> None:
        """Have it answer in another manner; see :mod:`bench.faults.server`."""
        self._say(manner)
        await self._hear(manner)

    async def count(self) -> Counted:
        """What there was since this was last asked."""
        self._say("count")
        return Counted(**json.loads(await self._line()))

    def stop(self) -> None:
        """It does nothing any more; the kernel still accepts connections for it."""
        self._running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on where it was stopped."""
        self._running.send_signal(signal.SIGCONT)

    @property
    def _running(self) -> Process:
        if self._process is None:
            raise RuntimeError(f"backend {self.name} does not run")
        return self._process

    def _say(self, line: str) -> None:
        stdin = self._running.stdin
        assert stdin is not None
        stdin.write(f"{line}\n".encode())

    async def _line(self) -> str:
        stdout = self._running.stdout
        assert stdout is not None
        return (await asyncio.wait_for(stdout.readline(), _PATIENCE)).decode().strip()

    async def _hear(self, expected: str) -> None:
        line = await self._line()
        if line != expected:
            raise RuntimeError(f"backend {self.name} said {line!r} instead of {expected!r}")
