"""A data plane that serves next to nothing, but for real: it stands in for the real one under the supervisor.

It answers every HTTP request with ``<pid> <snapshot id>``; ``/slow`` with the head first and the rest a while later;
``/judged`` with the destinations, separated by commas, that it had been told something of when it applied its first
document. What a document wants of it stands in its name:
``reject``, ``die``, ``hang``; or in a middleware named ``slow`` (half a second to apply), ``leave out listeners``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from vrata.model.errors import InvalidEntity, Problem
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.metrics.handover import Line
from vrata.proxy.metrics.scrape import ExpositionSource
from vrata.proxy.standing import DestinationStanding
from vrata.proxy.status import EntityProblem

SLOW_REQUEST = 0.3
"""Seconds between the head and the rest of what ``/slow`` is answered."""


@dataclass(frozen=True, slots=True)
class StandInReport:
    problems: tuple[EntityProblem, ...]


class StandInDataPlane:
    def __init__(self, tasks: TaskSupervisor) -> None:
        self._tasks = tasks
        self._pending: dict[str, socket.socket] = {}
        self._servers: dict[str, asyncio.Server] = {}
        self._snapshot_id = ""
        self._judged: tuple[str, ...] = ()
        self._judged_first: tuple[str, ...] | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._is_draining = False

    def share_counts(self, descriptor: int) -> None:
        os.fstat(descriptor)

    def share_buckets(self, descriptor: int) -> None:
        os.fstat(descriptor)

    def take_metrics(self) -> Iterator[Line]:
        return iter(())

    def reopen_logs(self) -> None:
        pass

    def watch_problems(self, on_change: Callable[[tuple[EntityProblem, ...]], None]) -> None:
        pass

    def answer_scrapes_from(self, source: ExpositionSource) -> None:
        pass

    def adopt_listener(self, address: str, sock: socket.socket) -> None:
        assert address not in self._pending, f"{address} adopted twice"
        assert address not in self._servers, f"{address} adopted though it is served"
        self._pending[address] = sock

    def judge(self, standings: Mapping[str, DestinationStanding]) -> asyncio.Future[None]:
        self._judged = tuple(sorted(standings))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def apply(self, document: Mapping[str, Any]) -> StandInReport:
        marks = {middleware["name"] for middleware in document["snapshot"]["middlewares"]}
        if "slow" in marks:
            await asyncio.sleep(0.5)
        if "reject" in marks:
            raise InvalidEntity([Problem("", "this document is to be rejected")])
        if "die" in marks:
            os.kill(os.getpid(), signal.SIGKILL)
        if "hang" in marks:
            await asyncio.Event().wait()
        problems: tuple[EntityProblem, ...] = ()
        listeners = document["snapshot"]["listeners"]
        if "leave out listeners" in marks:
            problems = tuple(EntityProblem("listener", found["id"], found["name"], "left out") for found in listeners)
            listeners = []
        if self._judged_first is None:
            self._judged_first = self._judged
        await self._serve_only({_address(found) for found in listeners})
        self._snapshot_id = document["id"]
        return StandInReport(problems)

    async def drain(self, timeout: float) -> bool:
        self._is_draining = True
        await self._serve_only(set())
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while self._connections and loop.time() < deadline:  # noqa: ASYNC110 - as plain as it gets
            await asyncio.sleep(0.005)
        return not self._connections

    async def _serve_only(self, addresses: set[str]) -> None:
        for address in self._servers.keys() - addresses:
            self._servers.pop(address).close()
        for address in self._pending.keys() - addresses:
            self._pending.pop(address).close()
        for address in list(self._pending):
            self._servers[address] = await asyncio.start_server(self._connection, sock=self._pending.pop(address))

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            answer = ",".join(self._judged_first or ()) if request.startswith(b"GET /judged") else self._snapshot_id
            body = f"{os.getpid()} {answer}".encode()
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body))
            await writer.drain()
            if request.startswith(b"GET /slow"):
                await asyncio.sleep(SLOW_REQUEST)
            writer.write(body)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.discard(writer)
            writer.close()


class UnbuildableDataPlane(StandInDataPlane):
    """One that every worker fails to build."""

    def __init__(self, tasks: TaskSupervisor) -> None:
        raise RuntimeError("this data plane cannot be built")


def _address(listener: Mapping[str, Any]) -> str:
    host = listener["address"]
    return f"[{host}]:{listener['port']}" if ":" in host else f"{host}:{listener['port']}"
