"""Workers that share limits of connections, in one process, and the real backends that they connect to."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable, Sequence

from tests.support.conditions import eventually_async
from tests.support.in_process_proxy import EACH_LOOP, LoopFactory
from tests.support.recording_attempt import RecordingAttempt
from tests.support.scripted_backend import BackendConnection, ScriptedBackend
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.contracts import UpstreamTimeouts
from vrata.proxy.runtime.shared_counts import SharedCounts
from vrata.proxy.runtime.shared_counts import create as create_table
from vrata.proxy.runtime.shared_numbers import SharedCount
from vrata.proxy.upstream.exchange import Exchange
from vrata.proxy.upstream.pool import EndpointPool
from vrata.proxy.upstream.queue import UNLIMITED, ConnectionLimits, Queue

HEAD = b"GET /%d HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LAST_OK = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"
TIMEOUTS = UpstreamTimeouts()


class Attempt(RecordingAttempt):
    """An attempt with its exchange and its number, by which the backend knows it."""

    exchange: Exchange

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


class Worker:
    """The pools of one worker, one for each backend, all of one destination."""

    def __init__(self, proxy: Proxy, limits: ConnectionLimits) -> None:
        self._proxy = proxy
        self.sweeper = DeadlineSweeper(asyncio.get_running_loop())
        self.sweeper.start()
        self.counts = SharedCounts(proxy.table)
        self.pools = [EndpointPool("127.0.0.1", backend.port, self.sweeper, proxy.tasks) for backend in proxy.backends]
        self.queue = Queue("d", self.counts.count, self.sweeper, asyncio.get_running_loop().time)
        if limits != UNLIMITED:
            self.limit(limits)

    @property
    def pool(self) -> EndpointPool:
        """That of the first backend."""
        return self.pools[0]

    def limit(self, limits: ConnectionLimits) -> None:
        """Act by *limits*, as a plan that comes into force has it."""
        self.queue.configure(limits)
        for pool in self.pools:
            pool.limit(self.queue if limits != UNLIMITED else None, limits.per_endpoint)

    def retire(self) -> None:
        """The destination is not configured any more."""
        for pool in self.pools:
            pool.retire()
        self.queue.retire()

    def attempt(self, to: int = 0, *, fresh: bool = False, content: bytes = b"", end: bool = True) -> Attempt:
        """Begin an attempt at the backend with the index *to*."""
        attempt = Attempt(len(self._proxy.attempts))
        self._proxy.attempts.append(attempt)
        attempt.exchange = Exchange(attempt, self.pools[to], TIMEOUTS, b"GET")
        attempt.exchange.start(HEAD % attempt.number, content, end, chunked=False, fresh=fresh)
        return attempt

    @property
    def state(self) -> str:
        """What the first pool says of itself, without its address."""
        return self.states[0]

    @property
    def states(self) -> list[str]:
        """What each pool says of itself, without its address."""
        return [repr(pool).partition(f":{pool.port} ")[2].rstrip(">") for pool in self.pools]

    def is_done(self) -> bool:
        """Whether there is no connection, and nothing has a deadline."""
        return not any(pool.connections for pool in self.pools) and repr(self.sweeper) == "<DeadlineSweeper 0 watched>"


class Proxy:
    """Workers that share a table, and the backends that they share."""

    def __init__(self, backends: Sequence[ScriptedBackend]) -> None:
        self.backends = backends
        self.tasks = TaskSupervisor()
        self.table = create_table()
        self.attempts: list[Attempt] = []
        self.workers: list[Worker] = []

    @property
    def backend(self) -> ScriptedBackend:
        """The first one."""
        return self.backends[0]

    def connections(self, counts: SharedCounts, to: int = 0) -> SharedCount:
        """The number of connections to one backend that are limited by themselves."""
        return counts.count(f"connections d 127.0.0.1:{self.backends[to].port}")

    def worker(self, limit: int = 0, *, connections: int = 0, pending: int = 0) -> Worker:
        """Add a worker; *limit* is that of each endpoint."""
        worker = Worker(self, ConnectionLimits(limit, connections, pending))
        self.workers.append(worker)
        return worker

    async def serve(self, answer: bytes = OK, *, by: int = 0) -> tuple[BackendConnection, int]:
        """Answer the first request of the next connection to the backend *by*; returns which it was."""
        connection = await self.backends[by].accept()
        return connection, await self.answer(connection, answer)

    async def answer(self, connection: BackendConnection, answer: bytes = OK) -> int:
        number = int((await connection.read_head()).split()[1][1:])
        connection.send(answer)
        await self.attempts[number].until_ended()
        assert self.attempts[number].content == b"ok"
        return number

    async def close(self) -> None:
        """End everything, and see that nothing is counted any more."""
        for attempt in self.attempts:
            attempt.exchange.cancel()
        for worker in self.workers:
            worker.retire()
            await eventually_async(worker.is_done, what=f"nothing is left of {worker.pools}")
        counts = SharedCounts(self.table)
        leftovers = [self.connections(counts, to) for to in range(len(self.backends))]
        leftovers += [counts.count("connections d"), counts.count("pending d")]
        assert [leftover.total for leftover in leftovers] == [0] * len(leftovers)
        assert not any(" 0 counts" not in repr(worker.counts) for worker in self.workers)
        await self.tasks.stop()
        for worker in self.workers:
            worker.sweeper.stop()
        os.close(self.table)


Play = Callable[[Proxy], Awaitable[None]]
Scenario = Callable[[LoopFactory], None]


def scenario(play: Play) -> Scenario:
    """The test that plays it with one backend on each event loop and checks that no connection and no place is left."""
    return scenario_with(1)(play)


def scenario_with(backends: int) -> Callable[[Play], Scenario]:
    """The same with as many *backends*."""

    def decorated(play: Play) -> Scenario:
        async def main() -> None:
            async with contextlib.AsyncExitStack() as stack:
                proxy = Proxy([await stack.enter_async_context(ScriptedBackend()) for _ in range(backends)])
                try:
                    await play(proxy)
                finally:
                    await proxy.close()

        def test(loop_factory: LoopFactory) -> None:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(main())

        return EACH_LOOP(test)

    return decorated
