"""The collector: brings together what the workers counted, and has their scrapes answered."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from vrata.observability import exposition
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy import memory_file
from vrata.proxy.channel import MetricsHandedOver, ScrapeArrived
from vrata.proxy.endpoint_status import DestinationStatus, EndpointSource
from vrata.proxy.metrics import families
from vrata.proxy.metrics.loads import Loads
from vrata.proxy.metrics.scope import ListenerKey, MetricsScope
from vrata.proxy.metrics.totals import Totals

PATIENCE: Final = 1.0
"""Seconds that a scrape waits for workers to hand over; what one that hangs has counted is shown as last known."""

_log = structlog.get_logger("vrata.proxy.metrics")


class MeteredWorker(Protocol):
    """A worker as far as metrics go."""

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        ...

    def collect_metrics(self, collection: int) -> None:
        """Have it hand over what it counted."""
        ...

    def answer_scrape(self, scrape: int, descriptor: int) -> None:
        """Have it answer a scrape with the text in *descriptor*, which stays the caller's."""
        ...


class MetricsCollector:
    """Owns the totals. All workers are asked at once for any number of scrapes that wait.

    *destinations* returns the status of every destination as of now.
    """

    def __init__(
        self, tasks: TaskSupervisor, destinations: Callable[[], Sequence[DestinationStatus]] = lambda: ()
    ) -> None:
        self._tasks = tasks
        self._destinations = destinations
        self._totals = Totals()
        self._workers: set[MeteredWorker] = set()
        # Scrapes.
        self._waiting: list[tuple[MeteredWorker, ScrapeArrived]] = []
        self._answering: asyncio.Task[None] | None = None
        # The collection that is going on.
        self._collection = 0
        self._awaited: set[MeteredWorker] = set()
        self._complete = asyncio.Event()

    def __repr__(self) -> str:
        return f"<MetricsCollector {len(self._workers)} workers, {len(self._waiting)} scrapes waiting>"

    @property
    def loads(self) -> Loads:
        """What endpoints carry."""
        return self._totals.loads

    def carried_by(self, worker: MeteredWorker) -> tuple[int, int]:
        """Return the connections of clients and the requests of *worker*, as it last said."""
        return self._totals.carried.get(worker, (0, 0))

    # what is to be counted

    def expect(self, scope: MetricsScope) -> None:
        """Workers are about to apply a snapshot with *scope*."""
        self._totals.expect(scope)

    def adopt(self, scope: MetricsScope) -> None:
        """All workers serve a snapshot with *scope*: series of anything else are dropped."""
        self._totals.adopt(scope)

    # workers

    def attach(self, worker: MeteredWorker) -> None:
        """*worker* was started."""
        self._workers.add(worker)

    def detach(self, worker: MeteredWorker) -> None:
        """*worker* has ended, and said all that it had to say."""
        self._workers.discard(worker)
        self._totals.forget(worker)
        self._no_longer_await(worker)

    def on_handed_over(self, worker: MeteredWorker, message: MetricsHandedOver, descriptor: int) -> None:
        """*worker* has counted what is in *descriptor*, which is closed here."""
        try:
            self._totals.add(worker, memory_file.read(descriptor))
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the channel has other things to say
            _log.exception("metrics of a worker not understood", worker=repr(worker))
        finally:
            os.close(descriptor)
            if message.collection == self._collection:
                self._no_longer_await(worker)

    def on_scrape(self, worker: MeteredWorker, message: ScrapeArrived) -> None:
        """A scrape has come to *worker*."""
        self._waiting.append((worker, message))
        if self._answering is None or self._answering.done():
            self._answering = self._tasks.start(self._answer_waiting(), name="answer scrapes")

    def _no_longer_await(self, worker: MeteredWorker) -> None:
        self._awaited.discard(worker)
        if not self._awaited:
            self._complete.set()

    # scrapes

    async def _answer_waiting(self) -> None:
        while self._waiting:
            # What comes from here on has to see what was counted until then: it waits for the next round.
            scrapes, self._waiting = self._waiting, []
            await self._collect()
            destinations = self._destinations()
            self._totals.keep_discovered(
                {
                    (destination.id, endpoint.address)
                    for destination in destinations
                    for endpoint in destination.endpoints
                    if endpoint.source is EndpointSource.DISCOVERED
                }
            )
            texts: dict[tuple[ListenerKey, bool], bytes] = {}
            for worker, scrape in scrapes:
                wanted = ((scrape.listener_id, scrape.address), scrape.openmetrics)
                if wanted not in texts:
                    texts[wanted] = await self._text(destinations, *wanted)
                _answer(worker, scrape.scrape, texts[wanted])

    async def _collect(self) -> None:
        """Return when every worker has handed over, or is not going to."""
        self._collection += 1
        self._awaited = {worker for worker in self._workers if worker.is_running}
        self._complete.clear()
        for worker in list(self._awaited):
            try:
                worker.collect_metrics(self._collection)
            except OSError as error:
                _log.warning("a worker cannot be asked for metrics", worker=repr(worker), reason=str(error))
                self._awaited.discard(worker)
        try:
            async with asyncio.timeout(PATIENCE):
                if self._awaited:
                    await self._complete.wait()
        except TimeoutError:
            _log.warning("workers do not hand over metrics", workers=[repr(worker) for worker in self._awaited])

    async def _text(self, destinations: Sequence[DestinationStatus], key: ListenerKey, openmetrics: bool) -> bytes:
        totals = self._totals.listener(key)
        samples = families.samples(totals, destinations, exemplars=openmetrics) if totals is not None else ()
        return await exposition.text(samples, openmetrics=openmetrics)


def _answer(worker: MeteredWorker, scrape: int, text: bytes) -> None:
    try:
        descriptor = memory_file.create("vrata-exposition", text)
        try:
            worker.answer_scrape(scrape, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        _log.error("a scrape cannot be answered", reason=str(error))
