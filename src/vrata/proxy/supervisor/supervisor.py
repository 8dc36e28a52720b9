"""The supervisor itself: documents in, editions out to every worker, one status back."""

from __future__ import annotations

import asyncio
import os
import random
import weakref
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from vrata import __version__
from vrata.net.resolver import ResolvesNames
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.backoff import doubled
from vrata.proxy.channel import Applied, Rejected
from vrata.proxy.endpoint_status import DestinationStatus
from vrata.proxy.runtime import shared_buckets, shared_counts
from vrata.proxy.runtime.shared_buckets import SharedBuckets
from vrata.proxy.runtime.shared_counts import NoLaneFree, SharedCounts
from vrata.proxy.status import (
    ApplyOutcome,
    BindError,
    EntityProblem,
    ListenerState,
    ListenerStatus,
    ProxyStatus,
    Verdict,
)
from vrata.proxy.supervisor.apply_history import ApplyHistory
from vrata.proxy.supervisor.cache import SnapshotCache
from vrata.proxy.supervisor.document import ListenerEntry, MalformedSnapshot, SnapshotDocument
from vrata.proxy.supervisor.edition import Edition
from vrata.proxy.supervisor.endpoint_view import EndpointView
from vrata.proxy.supervisor.metrics import MetricsCollector
from vrata.proxy.supervisor.process import WorkerExited, WorkerProcess
from vrata.proxy.supervisor.shared_gauges import SharedGauges
from vrata.proxy.supervisor.slot import WorkerSlot
from vrata.proxy.supervisor.sockets import BoundAddress, ListeningSockets
from vrata.proxy.supervisor.tls_review import Stamps, TlsReview, have_changed, review
from vrata.proxy.watch.watch import DiscoveryFactory, Watch
from vrata.proxy.worker import WorkerSettings

_log = structlog.get_logger("vrata.proxy")

OVERFLOW_INTERVAL = 60.0
"""Seconds between two looks at whether there was room for the buckets of rate limits."""

FIRST_BIND_RETRY, MAX_BIND_RETRY = 1.0, 30.0
"""Seconds until an address that could not be bound is tried again, doubled each time; jitter takes up to half."""


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """How many workers of what kind, and where the last good snapshot is kept."""

    workers: int
    worker: WorkerSettings
    """Its slot is filled in for each worker."""
    state_path: Path
    file_check_interval: float = 5.0
    """Seconds after which a change of the certificates' files is noticed at the latest."""


class Supervisor:
    """Keeps workers serving the newest document that all of them can apply.

    Documents are applied one at a time; of those that arrive meanwhile only the newest is kept. One that a worker
    rejects is given up for all, and the last good one goes on.

    *on_change* is called whenever :meth:`status` would answer something else. *discovery* is who finds endpoints,
    *resolver* who knows the addresses of those that have names.
    """

    def __init__(
        self,
        settings: SupervisorSettings,
        tasks: TaskSupervisor,
        on_change: Callable[[], None],
        discovery: DiscoveryFactory | None = None,
        resolver: ResolvesNames | None = None,
    ) -> None:
        self._tasks = tasks
        self._on_change = on_change
        self._cache = SnapshotCache(settings.state_path)
        # What is served.
        self._sockets = ListeningSockets(settings.workers)
        self._edition = Edition(0, SnapshotDocument.empty())
        self._last_edition_number = 0
        self._served: frozenset[str] = frozenset()  # addresses; those a worker could not use are left out
        self._good_outcome: ApplyOutcome | None = None
        self._last_outcome: ApplyOutcome | None = None
        self.history = ApplyHistory()
        # Who serves it.
        self._counts = shared_counts.create()
        weakref.finalize(self, os.close, self._counts)
        self._buckets = shared_buckets.create()
        weakref.finalize(self, os.close, self._buckets)
        self._metrics = MetricsCollector(tasks, self.destinations)
        self._shared = _shared(self._counts)
        self._watch = Watch(tasks, self._shared.word, on_change, discovery, resolver)
        self._gauges = SharedGauges(self._shared)
        self._view = EndpointView(self._watch, self._metrics.loads, self._gauges)
        self._slots = [
            WorkerSlot(
                settings.worker,
                index,
                self._counts,
                self._buckets,
                self._metrics,
                self._watch.publisher,
                self,
                tasks,
                self._on_worker_death,
                self._on_worker_change,
            )
            for index in range(settings.workers)
        ]
        self._workers_changed = asyncio.Event()
        # What is to be done.
        self._waiting: SnapshotDocument | None = None
        self._wake = asyncio.Event()
        self._applying: asyncio.Task[None] | None = None
        # Certificates in files.
        self._file_check_interval = settings.file_check_interval
        self._stamps: Stamps = {}
        self._is_file_change_due = False
        self._watching: asyncio.Task[None] | None = None
        # Listeners that could not be bound.
        self._bind_retries = 0
        self._bind_retry: asyncio.TimerHandle | None = None
        self._bind_retry_at: datetime | None = None
        self._is_bind_due = False

    def __repr__(self) -> str:
        return f"<Supervisor {self._edition}, waiting {self._waiting}, {self._sockets}, {self._slots}>"

    # what every worker is to serve (supervisor.slot.Wanted)

    @property
    def edition(self) -> Edition:
        """The last good edition."""
        return self._edition

    @property
    def bound(self) -> Collection[BoundAddress]:
        """Every address listened on."""
        return self._sockets.bound

    # life

    def start(self) -> None:
        """Start the workers and have them apply the cached snapshot, if there is a sound one."""
        for slot in self._slots:
            slot.start()
        self._waiting = self._cache.load()
        if self._waiting is not None:
            _log.info("cached snapshot found", snapshot=self._waiting.identity.id, name=self._waiting.identity.name)
            self._wake.set()
        self._applying = self._tasks.start(self._apply_forever(), name="apply snapshots")
        self._watching = self._tasks.start(self._watch_files(), name="watch certificates")
        self._tasks.start(self._watch_buckets(), name="watch buckets")
        self._tasks.start(self._view.watch_breakers(self._on_change), name="watch breakers")

    def submit(self, content: bytes) -> None:
        """Have the document in *content* applied as soon as possible, instead of any that waits."""
        try:
            document = SnapshotDocument.read(content)
        except MalformedSnapshot as error:
            self._conclude(ApplyOutcome(error.snapshot_id, Verdict.REJECTED, 0.0, reason=str(error)))
            return
        if self._waiting is not None:
            self._waiting.close()
        self._waiting = document
        self._wake.set()

    async def replace_workers(self, drain_timeout: float) -> None:
        """Replace every worker, one slot after the other, without losing a request."""
        for slot in self._slots:
            if not await slot.replace_worker(drain_timeout):
                _log.error("worker was not replaced", slot=self._slots.index(slot))

    def reopen_logs(self) -> None:
        """Have every worker open the files of access logs again, those that drain as well."""
        for slot in self._slots:
            slot.reopen_logs()

    async def drain(self, timeout: float) -> None:
        """Stop listening, let the workers finish for at most *timeout* seconds, and return when all have ended."""
        if self._applying is not None:
            self._applying.cancel()
        if self._watching is not None:
            self._watching.cancel()
        if self._bind_retry is not None:
            self._bind_retry.cancel()
        self._watch.stop()
        draining = [self._tasks.start(slot.drain(timeout), name="drain slot") for slot in self._slots]
        # The workers have sockets of their own to finish the queues with.
        self._sockets.close_except(())
        self._on_change()
        await asyncio.gather(*draining)

    def kill(self) -> None:
        """End every worker at once."""
        for slot in self._slots:
            slot.kill()

    def status(self) -> ProxyStatus:
        """Return what the proxy acknowledges."""
        document = self._edition.document
        return ProxyStatus(
            version=__version__,
            active_snapshot=None if document.is_empty else document.identity,
            last_apply=self._last_outcome,
            listeners=self.listeners(),
            workers=tuple(status for slot in self._slots for status in slot.statuses()),
            destinations=self._view.acknowledged(),
        )

    @property
    def good_outcome(self) -> ApplyOutcome | None:
        """What became of the document that is served; None before the first."""
        return self._good_outcome

    @property
    def is_draining(self) -> bool:
        """Whether it is on its way out."""
        return any(slot.is_stopping() for slot in self._slots)

    @property
    def slots(self) -> Sequence[WorkerSlot]:
        """The places of the workers."""
        return self._slots

    def listeners(self) -> tuple[ListenerStatus, ...]:
        """Return the status of every listener that is served."""
        return tuple(self._listener_status(listener) for listener in self._edition.document.listeners)

    def destinations(self) -> tuple[DestinationStatus, ...]:
        """Return the status of every destination that is served, and of its endpoints."""
        return self._view.statuses()

    def _listener_status(self, listener: ListenerEntry) -> ListenerStatus:
        reason = self._sockets.failures.get(listener.address, "")
        for problem in self._good_outcome.problems if self._good_outcome is not None else ():
            if problem.kind == "listener" and problem.id == listener.id:
                reason = problem.reason
        is_served = listener.address in self._served and listener.address not in self._sockets.failures
        state = ListenerState.LISTENING if is_served else ListenerState.FAILED
        failure = self._sockets.failures.get(listener.address)
        bind_error = None if failure is None else BindError(failure, self._bind_retry_at)
        tls = self._edition.tls.status.get(listener.id)
        return ListenerStatus(listener.id, listener.name, listener.address, state, reason, bind_error, tls)

    # applying

    async def _apply_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            document, self._waiting = self._waiting, None
            try:
                if document is not None:
                    await self._apply(document)
                elif self._is_bind_due:
                    await self._bind_again()
                elif self._is_file_change_due:
                    self._is_file_change_due = False
                    document = self._edition.document
                    await self._apply(document)
            except Exception as error:  # noqa: BLE001 - the next document must find somebody who takes it
                _log.exception("applying failed")
                if document is not None:
                    await self._recover(document, str(error))

    async def _recover(self, document: SnapshotDocument, reason: str) -> None:
        """Go on with the last good edition after applying *document* has failed on our side, as far as possible."""
        try:
            await self._settle()
            self._sockets.close_except(self._served)
            self._retry_failed_binds()
            self._adopt(self._edition)
        except Exception:  # noqa: BLE001 - what failed once may fail again, and the next document still has to be taken
            _log.exception("recovering from a failed apply failed")
        if document is self._edition.document:
            self._on_change()  # it is served; what failed came after that
            return
        document.close()
        self._conclude(ApplyOutcome(document.identity.id, Verdict.REJECTED, 0.0, reason=reason))

    async def _apply(self, document: SnapshotDocument) -> None:
        began = asyncio.get_running_loop().time()
        tls = await asyncio.to_thread(review, document, self._edition.tls)
        present = self._edition.document
        if document.is_same_as(present) and self._good_outcome is not None:
            if document is not present:
                document.close()
            document = present
            if tls == self._edition.tls:
                self._stamps = tls.stamps
                self._conclude(self._good_outcome)
                return
        _report_changes(tls, self._edition.tls)
        edition = self._next_edition(document, tls)
        await self._sockets.open(edition.addresses)
        self._metrics.expect(document.metrics_scope)
        verdict = await self._publish(edition)
        seconds = asyncio.get_running_loop().time() - began
        if isinstance(verdict, Rejected):
            outcome = ApplyOutcome(document.identity.id, Verdict.REJECTED, seconds, reason=verdict.reason)
            if document is not present:
                document.close()
        else:
            outcome = ApplyOutcome(document.identity.id, Verdict.APPLIED, seconds, problems=(*tls.problems, *verdict))
            self._edition = edition
            self._stamps = tls.stamps
            self._served = edition.addresses - document.addresses_of(verdict)
            self._good_outcome = outcome
            self._bind_retries = 0
            if document is not present:
                present.close()
        await self._settle()
        self._adopt(self._edition)
        self._sockets.close_except(self._served)
        self._retry_failed_binds()
        self._conclude(outcome)
        if self._edition is edition and document is not present:
            await asyncio.to_thread(self._cache.store, document)

    async def _publish(self, edition: Edition) -> tuple[EntityProblem, ...] | Rejected:
        """Have every worker apply *edition*; return the problems they met, or the first rejection.

        A worker that dies meanwhile is no verdict: its successor gets the outcome. Only when all of them die, twice,
        is it the document's fault.
        """
        for _ in range(2):
            workers = await self._running_workers()
            answers = await asyncio.gather(*(self._ask(worker, edition) for worker in workers))
            for answer in answers:
                if isinstance(answer, Rejected):
                    return answer
            applied = [answer for answer in answers if isinstance(answer, Applied)]
            if applied:
                return _distinct(problem for answer in applied for problem in answer.problems)
        return Rejected(edition.number, "every worker died while applying it")

    async def _ask(self, worker: WorkerProcess, edition: Edition) -> Applied | Rejected | None:
        try:
            return await worker.reconcile(edition, self._sockets.bound)
        except WorkerExited:
            return None

    async def _settle(self) -> None:
        """Bring every worker to the last good edition: those that took a rejected one, those that came meanwhile."""
        await asyncio.gather(*(slot.settle(worker) for slot in self._slots for worker in slot.workers))

    async def _running_workers(self) -> list[WorkerProcess]:
        while True:
            workers = [worker for slot in self._slots for worker in slot.workers]
            if workers:
                return workers
            self._workers_changed.clear()
            await self._workers_changed.wait()

    def _adopt(self, edition: Edition) -> None:
        """All workers serve *edition*."""
        self._metrics.adopt(edition.document.metrics_scope)
        self._watch.configure(edition.destinations)
        self._view.adopt(edition.destinations)

    def _next_edition(self, document: SnapshotDocument, tls: TlsReview) -> Edition:
        self._last_edition_number += 1
        return Edition(self._last_edition_number, document, tls)

    def _conclude(self, outcome: ApplyOutcome) -> None:
        if outcome is not self._last_outcome:
            _report_problems(outcome, self._last_outcome, self._edition.tls)
            self._last_outcome = outcome
            self.history.note(outcome)
            _report(outcome)
        self._review_problems()
        self._on_change()

    def _review_problems(self) -> None:
        """Take over what the workers that serve now say of the document: files change, and new ones find other code."""
        before = self._good_outcome
        workers = [worker for slot in self._slots for worker in slot.workers]
        if before is None or not workers or any(worker.edition is not self._edition for worker in workers):
            return  # whoever concludes the apply, or brings the worker up, comes here again
        problems = _distinct((*self._edition.tls.problems, *(found for worker in workers for found in worker.problems)))
        if problems == before.problems:
            return
        self._good_outcome = replace(before, problems=problems)
        if self._last_outcome is before:
            self._last_outcome = self._good_outcome
        _report_problems(self._good_outcome, before, self._edition.tls)
        _log.warning("workers report other problems", snapshot=before.snapshot_id, problems=len(problems))

    def _on_worker_death(self, process: int) -> None:
        """What the worker had of what all share is free again."""
        shared_counts.reap(self._counts)
        self._gauges.release_probes(process)

    def _on_worker_change(self) -> None:
        self._workers_changed.set()
        self._review_problems()
        self._on_change()

    # certificates in files

    async def _watch_files(self) -> None:
        """Have the document applied again when a file has changed that it names."""
        while True:
            await asyncio.sleep(self._file_check_interval)
            if not self._stamps:
                continue
            if await asyncio.to_thread(have_changed, self._stamps):
                self._is_file_change_due = True
                self._wake.set()

    async def _watch_buckets(self) -> None:
        buckets = SharedBuckets(self._buckets)
        while True:
            await asyncio.sleep(OVERFLOW_INTERVAL)
            buckets.log_overflows()

    # listeners that could not be bound

    def _retry_failed_binds(self) -> None:
        if self._bind_retry is not None:
            self._bind_retry.cancel()
            self._bind_retry = None
        self._bind_retry_at = None
        if self._sockets.failures:
            delay = doubled(FIRST_BIND_RETRY, MAX_BIND_RETRY, self._bind_retries)
            self._bind_retries += 1
            jittered = delay * random.uniform(0.5, 1.0)
            self._bind_retry = asyncio.get_running_loop().call_later(jittered, self._bind_is_due)
            self._bind_retry_at = datetime.now(UTC) + timedelta(seconds=jittered)

    def _bind_is_due(self) -> None:
        self._is_bind_due = True
        self._wake.set()

    async def _bind_again(self) -> None:
        self._is_bind_due = False
        if await self._sockets.open(self._served):
            self._edition = self._next_edition(self._edition.document, self._edition.tls)
            await self._settle()
            self._review_problems()
        self._retry_failed_binds()
        self._on_change()


def _shared(counts: int) -> SharedCounts:
    """The table of the workers, as far as the supervisor reads and changes it."""
    try:
        return SharedCounts(counts)
    except (NoLaneFree, OSError) as error:
        _log.error("no endpoint can be ejected: what workers count cannot be read", reason=str(error))
        return SharedCounts.private()


def _distinct(problems: Iterable[EntityProblem]) -> tuple[EntityProblem, ...]:
    return tuple(dict.fromkeys(problems))


def _report_changes(tls: TlsReview, before: TlsReview) -> None:
    for problem in set(tls.problems) - set(before.problems):
        _log.error("certificate cannot be used", kind=problem.kind, name=problem.name, reason=problem.reason)
    _report_changed("listener", tls.material, before.material)
    _report_changed("destination", tls.destinations, before.destinations)


def _report_changed(kind: str, material: Mapping[str, object], before: Mapping[str, object]) -> None:
    for identity in material.keys() & before.keys():
        if material[identity] != before[identity]:
            _log.info("certificate or its settings changed", kind=kind, id=identity)


def _report_problems(outcome: ApplyOutcome, before: ApplyOutcome | None, tls: TlsReview) -> None:
    """Log problems of workers as they come up: each worker has them, and one apply after the other."""
    known = {*tls.problems, *(before.problems if before is not None else ())}
    for found in outcome.problems:
        if found not in known:
            _log.warning("entity does not act as configured", **asdict(found))


def _report(outcome: ApplyOutcome) -> None:
    seconds = round(outcome.seconds, 4)
    if outcome.verdict is Verdict.APPLIED:
        _log.info("snapshot applied", snapshot=outcome.snapshot_id, seconds=seconds, problems=len(outcome.problems))
    else:
        _log.error("snapshot rejected", snapshot=outcome.snapshot_id, seconds=seconds, reason=outcome.reason)
