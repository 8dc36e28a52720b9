"""A data plane in a process of its own, whose number of file descriptors a test bounds while it runs.

Run as a program it serves ``/hello`` by itself and forwards everything else, and carries out what it reads from its
standard input, one command a line, each answered by one line.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.gateway import destination, forward, route
from tests.support.held_response import says
from tests.support.in_process_proxy import listening_socket, snapshot_document
from vrata.net.event_loop import new_event_loop
from vrata.observability import logging
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.dataplane import DataPlane

LOOPS = {"uvloop": new_event_loop, "asyncio": asyncio.new_event_loop}


class BoundedProxy:
    """The process, ended with the context; what it logs is in ``log`` then."""

    def __init__(self, loop: str, backend_port: int, log: Path) -> None:
        self._log = log
        reading, writing = os.pipe()
        with log.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, loop, str(backend_port), str(writing)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                pass_fds=(writing,),
            )
        os.close(writing)
        self._answers = open(reading)  # noqa: SIM115 - closed at the end of the context
        self.port = 0

    @property
    def log(self) -> str:
        return self._log.read_text()

    def __enter__(self) -> Self:
        self.port = int(self._read())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._process.communicate("end\n", timeout=20)
        finally:
            self._process.kill()
            self._process.wait()
            self._answers.close()
        assert error is not None or self._process.returncode == 0, self.log

    def leave_descriptors(self, number: int) -> None:
        """Let it open *number* descriptors more than it has, and no others."""
        self._ask(f"leave {number}")

    def apply(self) -> None:
        """Have it apply its snapshot once more, with a listener more that has the bounds of now."""
        self.port = int(self._ask("apply"))

    def cpu_seconds(self) -> float:
        """The time that it has computed for."""
        return float(self._ask("cpu"))

    def _ask(self, command: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> str:
        answer = self._answers.readline().strip()
        assert answer, f"it has ended: {self.log}"
        return answer


class _Program:
    def __init__(self, backend_port: int, answers: int) -> None:
        self._answers = answers
        self._backend_port = backend_port
        self._tasks = TaskSupervisor()
        self._data_plane = DataPlane(self._tasks)

    async def run(self) -> None:
        self._say(await self._apply())
        while command := (await asyncio.to_thread(sys.stdin.readline)).split():
            match command:
                case ["leave", number]:
                    bound = next(itertools.islice(_free_descriptors(), int(number), None))
                    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
                    resource.setrlimit(resource.RLIMIT_NOFILE, (bound, hard))
                    self._say(bound)
                case ["apply"]:
                    self._say(await self._apply())
                case ["cpu"]:
                    self._say(time.process_time())
                case _:
                    break
        await self._data_plane.drain(0)
        await self._tasks.stop()

    async def _apply(self) -> int:
        sock = listening_socket()
        port: int = sock.getsockname()[1]
        self._data_plane.adopt_listener(f"127.0.0.1:{port}", sock)
        document = snapshot_document(
            "s",
            listeners=[{"id": "l", "name": "l", "address": "127.0.0.1", "port": port}],
            routes=[says("hello", path="/hello"), route("all", forward=forward("backend"))],
            destinations=[destination("backend", self._backend_port)],
        )
        await self._data_plane.apply(document)
        return port

    def _say(self, word: object) -> None:
        os.write(self._answers, f"{word}\n".encode())


def _free_descriptors() -> Iterator[int]:
    """The numbers that nothing has, in ascending order."""
    for number in itertools.count():
        try:
            os.fstat(number)
        except OSError:
            yield number


if __name__ == "__main__":
    logging.configure("json", "info")
    with asyncio.Runner(loop_factory=LOOPS[sys.argv[1]]) as runner:

        async def _main() -> None:
            await _Program(*map(int, sys.argv[2:])).run()

        runner.run(_main())
