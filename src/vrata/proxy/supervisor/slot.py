"""A slot: the place of one worker, which is never left empty."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Protocol

import structlog

from vrata.observability.tasks import TaskSupervisor
from vrata.policy.restart import RestartPace
from vrata.proxy.channel import Rejected
from vrata.proxy.status import WorkerState, WorkerStatus
from vrata.proxy.supervisor.edition import Edition
from vrata.proxy.supervisor.metrics import MetricsCollector
from vrata.proxy.supervisor.process import WorkerExited, WorkerProcess
from vrata.proxy.supervisor.sockets import BoundAddress
from vrata.proxy.watch.publisher import StandingsPublisher
from vrata.proxy.worker import WorkerSettings

_log = structlog.get_logger("vrata.proxy")

LONG_LIFE, FIRST_DELAY, MAX_DELAY = 5.0, 0.1, 10.0
"""The pace at which a worker that keeps dying is replaced, in seconds."""
GROUP_SIGNAL_DELAY = 0.1
"""Seconds between a worker's wish to end and the start of its successor."""
DRAIN_GRACE = 5.0
"""Seconds beyond its drain deadline after which a worker is killed."""


class Wanted(Protocol):
    """What every worker is to serve at the moment."""

    @property
    def edition(self) -> Edition:
        """The last good edition."""
        ...

    @property
    def bound(self) -> Collection[BoundAddress]:
        """Every address listened on."""
        ...


class WorkerSlot:
    """Starts a worker, brings it to the wanted edition, and replaces it when it ends.

    *counts* and *buckets* are the tables that the workers share. *metrics* gets what they count, and *standings* tells
    them how endpoints stand. *on_death* is called with the number of each process that has ended, and *on_change*
    whenever :meth:`statuses` would answer something else.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        index: int,
        counts: int,
        buckets: int,
        metrics: MetricsCollector,
        standings: StandingsPublisher,
        wanted: Wanted,
        tasks: TaskSupervisor,
        on_death: Callable[[int], None],
        on_change: Callable[[], None],
    ) -> None:
        self._settings = replace(settings, slot=index)
        self._counts = counts
        self._buckets = buckets
        self._metrics = metrics
        self._standings = standings
        self._wanted = wanted
        self._tasks = tasks
        self._on_death = on_death
        self._on_change = on_change
        self._index = index
        self.starts = 0
        """Workers that were started."""
        self.deaths = 0
        """Workers that ended though nobody wanted them to."""
        # The workers: who serves, who is to take over, who is on the way out.
        self._current: WorkerProcess | None = None
        self._successor: WorkerProcess | None = None
        self._draining: set[WorkerProcess] = set()
        # Restarts.
        self._is_stopping = False
        self._started_at = 0.0
        self._pace = RestartPace(LONG_LIFE, FIRST_DELAY, MAX_DELAY)

    def __repr__(self) -> str:
        return (
            f"<WorkerSlot {self._index} {self._current}, successor {self._successor}, {len(self._draining)} draining>"
        )

    @property
    def workers(self) -> list[WorkerProcess]:
        """The processes that take or will take traffic."""
        return [worker for worker in (self._current, self._successor) if worker is not None and worker.is_running]

    def statuses(self) -> list[WorkerStatus]:
        """Return the state of every process of the slot."""
        draining = sorted(self._draining, key=lambda worker: worker.pid)
        return [worker.status() for worker in dict.fromkeys((*self.workers, *draining))]

    def carried(self) -> tuple[int, int]:
        """Return the connections of clients and the requests that its processes carry, up to five seconds ago."""
        carried = [self._metrics.carried_by(worker) for worker in {*self.workers, *self._draining}]
        return sum(connections for connections, _ in carried), sum(requests for _, requests in carried)

    def is_stopping(self) -> bool:
        """Whether workers that end are not replaced any more."""
        return self._is_stopping

    def start(self) -> None:
        """Start a worker in the empty slot."""
        worker = self._launch()
        if worker is None:
            delay = self._pace.delay_after(0.0)
            self._tasks.start(self._restart(delay), name=f"restart worker {self._index}")
        else:
            self._current = worker
            self._tasks.start(self._bring_up(worker), name=f"bring up worker {self._index}")

    async def settle(self, worker: WorkerProcess) -> bool:
        """Bring *worker* to the wanted edition, even if that changes meanwhile; false if it ended or had to be."""
        # Whoever brings a new worker up and whoever concludes an apply may come here at once.
        async with worker.settling:
            while worker.is_running and worker.edition is not self._wanted.edition:
                try:
                    answer = await worker.reconcile(self._wanted.edition, self._wanted.bound)
                except WorkerExited:
                    return False
                if isinstance(answer, Rejected):
                    # Others serve this document, so the fault lies with the process.
                    _log.error("worker refuses the document that others serve: ending it", reason=answer.reason)
                    worker.kill()
                    return False
            return worker.is_running

    async def replace_worker(self, drain_timeout: float) -> bool:
        """Start a successor on the same sockets; once it serves, drain the old worker. False if it did not come up."""
        predecessor = self._current
        if predecessor is None or self._successor is not None or self.is_stopping():
            return False
        self._successor = successor = self._launch()
        came_up = successor is not None and await self._bring_up(successor)
        self._successor = None
        if self.is_stopping():
            return False
        if not came_up:
            if not predecessor.is_running:
                self._on_exit(predecessor)
            return False
        self._current = successor
        if predecessor.is_running:
            self._draining.add(predecessor)
            predecessor.drain(drain_timeout)
            self._tasks.start(_end(predecessor, drain_timeout), name=f"retire worker {self._index}")
        self._on_change()
        return True

    async def drain(self, timeout: float) -> None:
        """Drain every worker of the slot and return when the last has ended; nobody takes their place."""
        self._is_stopping = True
        for worker in self.workers:
            self._draining.add(worker)
            worker.drain(timeout)
        await asyncio.gather(*(_end(worker, timeout) for worker in self._draining))

    def reopen_logs(self) -> None:
        """Have every process of the slot open the files of access logs again."""
        for worker in dict.fromkeys((*self.workers, *self._draining)):
            worker.reopen_logs()

    def kill(self) -> None:
        """End every process of the slot at once."""
        self._is_stopping = True
        for worker in (*self.workers, *self._draining):
            worker.kill()

    def _launch(self) -> WorkerProcess | None:
        try:
            worker = WorkerProcess(
                self._settings,
                self._counts,
                self._buckets,
                self._metrics,
                self._standings,
                self._on_exit,
                self._on_termination_requested,
                self._on_change,
            )
        except (OSError, EOFError) as error:
            # Out of processes or descriptors, or the fork server has just died; it is started again when next needed.
            _log.error("worker cannot be started", slot=self._index, reason=str(error) or type(error).__name__)
            return None
        self.starts += 1
        self._started_at = self._now()
        self._on_change()
        return worker

    async def _bring_up(self, worker: WorkerProcess) -> bool:
        started_at = self._now()
        if not await self.settle(worker):
            return False
        if worker.state is WorkerState.STARTING:
            worker.state = WorkerState.SERVING
            seconds = round(self._now() - started_at, 4)
            _log.info("worker serves", slot=self._index, pid=worker.pid, seconds=seconds)
            self._on_change()
        return True

    def _on_exit(self, worker: WorkerProcess) -> None:
        if worker in self._draining:
            self._draining.discard(worker)
        elif not self._is_stopping:
            self.deaths += 1
        self._on_death(worker.pid)
        # A successor that is coming up takes the place of a worker that did not live to see it.
        if worker is self._current and self._successor is None and not self._is_stopping:
            delay = self._pace.delay_after(self._now() - self._started_at)
            _log.error("worker died", slot=self._index, pid=worker.pid, exit_code=worker.exit_code, restart_in=delay)
            self._tasks.start(self._restart(delay), name=f"restart worker {self._index}")
        self._on_change()

    def _on_termination_requested(self, worker: WorkerProcess) -> None:
        if worker is self._current:
            self._tasks.start(self._replace_soon(), name=f"replace worker {self._index}")

    async def _replace_soon(self) -> None:
        # Who ends a whole group of processes has sent a signal to the supervisor too; then nobody is to be replaced.
        await asyncio.sleep(GROUP_SIGNAL_DELAY)
        await self.replace_worker(self._settings.drain_timeout)

    async def _restart(self, delay: float) -> None:
        await asyncio.sleep(delay)
        # Meanwhile a successor may have been asked for.
        if not self.is_stopping() and not self.workers:
            self.start()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()


async def _end(worker: WorkerProcess, drain_timeout: float) -> None:
    """Return when the draining *worker* has ended, by itself or because its time is over."""
    try:
        async with asyncio.timeout(drain_timeout + DRAIN_GRACE):
            await worker.exited()
    except TimeoutError:
        _log.error("worker does not end: killing it", slot=worker.slot, pid=worker.pid)
        worker.kill()
        await worker.exited()
