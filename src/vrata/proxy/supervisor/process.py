"""A worker process as its supervisor sees it: start, edition, drain, death."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Collection
from typing import assert_never

import structlog

from vrata.proxy import memory_file, worker
from vrata.proxy.channel import (
    AdoptListener,
    AmendDocument,
    AnswerScrape,
    Applied,
    Apply,
    Channel,
    CollectMetrics,
    Drain,
    Drained,
    Event,
    Judge,
    Message,
    MetricsHandedOver,
    ProblemsChanged,
    Rejected,
    ReopenLogs,
    ScrapeArrived,
    ShareBuckets,
    ShareCounts,
    TerminationRequested,
)
from vrata.proxy.status import EntityProblem, WorkerState, WorkerStatus
from vrata.proxy.supervisor import fork_server
from vrata.proxy.supervisor.edition import Edition
from vrata.proxy.supervisor.metrics import MetricsCollector
from vrata.proxy.supervisor.sockets import BoundAddress
from vrata.proxy.watch.publisher import StandingsPublisher
from vrata.proxy.worker import WorkerSettings

_log = structlog.get_logger("vrata.proxy")

APPLY_TIMEOUT = 120.0
"""Seconds a worker may take to apply a document; one that takes longer hangs, and is ended."""

_EXIT_CODE_WAIT = 0.2
"""Seconds to wait for the fork server to report the exit code of a process known to be dead."""


class WorkerExited(Exception):  # noqa: N818 - an outcome, not a fault of the caller
    """The worker ended before it answered."""


class WorkerProcess:
    """One worker, from its start to its end.

    *counts* and *buckets* are the descriptors of the tables that it shares with the others
    (:mod:`vrata.proxy.runtime.shared_counts`, :mod:`~vrata.proxy.runtime.shared_buckets`).
    *metrics* gets what it counts, and *standings* tells it how endpoints stand, from its start to its end.
    *on_exit* is called once, from the event loop, when the process has ended for whatever reason;
    *on_termination_requested* when somebody asked the process itself to end, *on_problems_changed* when it has found
    others with the edition that it serves.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        counts: int,
        buckets: int,
        metrics: MetricsCollector,
        standings: StandingsPublisher,
        on_exit: Callable[[WorkerProcess], None],
        on_termination_requested: Callable[[WorkerProcess], None],
        on_problems_changed: Callable[[], None],
    ) -> None:
        self.slot = settings.slot
        self.state = WorkerState.STARTING
        self.edition: Edition | None = None
        self.problems: tuple[EntityProblem, ...] = ()
        """What it had to leave out of its edition, or answers with errors."""
        self.exit_code: int | None = None
        self.settling = asyncio.Lock()
        """Held while it is brought to the edition that is wanted."""
        self._metrics = metrics
        self._standings = standings
        self._on_exit = on_exit
        self._on_termination_requested = on_termination_requested
        self._on_problems_changed = on_problems_changed
        self._changed = ProblemsChanged(-1, ())
        """What it said last of its problems since an edition was applied."""
        self._loop = asyncio.get_running_loop()
        self._exited: asyncio.Future[None] = self._loop.create_future()
        # What it holds and what it owes.
        self._adopted: dict[str, BoundAddress] = {}
        self._answers: dict[int, asyncio.Future[Applied | Rejected]] = {}
        # The process.
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = fork_server.context.Process(target=worker.main, args=(theirs, settings), daemon=True)
            try:
                self._process.start()
            except (OSError, EOFError):
                ours.close()
                raise
        self.pid = self._process.pid or 0
        self._channel = Channel(ours, self._on_message, self._on_channel_closed)
        self._channel.send(ShareCounts(), counts)
        self._channel.send(ShareBuckets(), buckets)
        metrics.attach(self)
        standings.attach(self)
        self._watch()

    def __repr__(self) -> str:
        return f"<WorkerProcess slot={self.slot} pid={self.pid} {self.state} {self.edition}>"

    @property
    def is_running(self) -> bool:
        """Whether the process has not ended yet."""
        return not self._exited.done()

    def status(self) -> WorkerStatus:
        """Return what is acknowledged of it."""
        return WorkerStatus(self.slot, self.pid, self.state)

    async def reconcile(self, edition: Edition, bound: Collection[BoundAddress]) -> Applied | Rejected:
        """Hand over the sockets of *edition* it does not have yet, and have it applied.

        Raises :class:`WorkerExited`. A worker that does not answer is ended.
        """
        if not self.is_running:
            raise WorkerExited
        assert edition.number not in self._answers, f"{self} is asked for {edition} twice"
        answer: asyncio.Future[Applied | Rejected] = self._loop.create_future()
        self._answers[edition.number] = answer
        try:
            for listening in bound:
                address = listening.address
                if address in edition.addresses and self._adopted.get(address) is not listening:
                    self._adopted[address] = listening
                    self._channel.send(AdoptListener(address), listening.sockets[self.slot].fileno())
            # A worker carries commands out in order, so this is what it holds from here on.
            released = {name: self._adopted.pop(name) for name in self._adopted.keys() - edition.addresses}
            if edition.tls.amendments:
                self._amend(edition)
            self._channel.send(Apply(edition.number), edition.document.descriptor)
            async with asyncio.timeout(APPLY_TIMEOUT):
                verdict = await answer
        except TimeoutError:
            _log.error("worker does not answer: ending it", slot=self.slot, pid=self.pid, seconds=APPLY_TIMEOUT)
            self.kill()
            raise WorkerExited from None
        except OSError as error:
            # What it holds is not known any more; its successor starts afresh.
            _log.error("worker cannot be told: ending it", slot=self.slot, pid=self.pid, reason=str(error))
            self.kill()
            raise WorkerExited from error
        finally:
            self._answers.pop(edition.number, None)
        match verdict:
            case Applied():
                self.edition = edition
                # What it has found since may have come together with its verdict.
                self.problems = (self._changed if self._changed.edition == edition.number else verdict).problems
                for address in edition.document.addresses_of(verdict.problems):
                    self._adopted.pop(address, None)
            case Rejected():
                # It serves what it had, but also holds the sockets it was given for this edition.
                self.edition = None
                self._adopted |= released
            case _:
                assert_never(verdict)
        return verdict

    def _amend(self, edition: Edition) -> None:
        descriptor = memory_file.create("vrata-amendments", edition.tls.amendments)
        try:
            self._channel.send(AmendDocument(edition.number), descriptor)
        finally:
            os.close(descriptor)

    def judge(self, descriptor: int) -> None:
        """Have it go by the standings in *descriptor*, which stays the caller's."""
        try:
            self._channel.send(Judge(), descriptor)
        except OSError as error:
            _log.error("worker cannot be told: ending it", slot=self.slot, pid=self.pid, reason=str(error))
            self.kill()

    def drain(self, timeout: float) -> None:
        """Have it stop accepting, finish and exit."""
        self.state = WorkerState.DRAINING
        self._channel.send(Drain(timeout))

    def collect_metrics(self, collection: int) -> None:
        """Have it hand over what it counted."""
        self._channel.send(CollectMetrics(collection))

    def answer_scrape(self, scrape: int, descriptor: int) -> None:
        """Have it answer a scrape with the text in *descriptor*, which stays the caller's."""
        self._channel.send(AnswerScrape(scrape), descriptor)

    def reopen_logs(self) -> None:
        """Have it open the files of access logs again."""
        self._channel.send(ReopenLogs())

    def kill(self) -> None:
        """End it now; :meth:`exited` follows."""
        if self.is_running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def exited(self) -> None:
        """Return when the process has ended."""
        await asyncio.shield(self._exited)

    def _watch(self) -> None:
        # Not Process.sentinel: that one also fires when the fork server dies, with the worker alive and well.
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            self._pidfd = -1
            self._loop.call_soon(self._on_death)
        else:
            self._loop.add_reader(self._pidfd, self._on_death)

    def _on_death(self) -> None:
        if self._pidfd >= 0:
            self._loop.remove_reader(self._pidfd)
            os.close(self._pidfd)
        try:
            self._channel.receive()  # what it said before it died
        except Exception:  # noqa: BLE001 - whatever it was, its death must not go unnoticed
            _log.exception("last words of a worker not understood", slot=self.slot, pid=self.pid)
        self._channel.close()
        self._metrics.detach(self)
        self._standings.detach(self)
        self._process.join(_EXIT_CODE_WAIT)
        self.exit_code = self._process.exitcode
        if self.exit_code is not None:
            self._process.close()
        self._exited.set_result(None)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(WorkerExited())
        self._on_exit(self)

    def _on_message(self, message: Message, descriptor: int | None) -> None:
        assert isinstance(message, Event), message
        match message:
            case Applied() | Rejected():
                answer = self._answers.get(message.edition)
                if answer is not None and not answer.done():
                    answer.set_result(message)
            case ProblemsChanged():
                self._changed = message
                if self.edition is not None and self.edition.number == message.edition:
                    self.problems = message.problems
                    self._on_problems_changed()
            case Drained():
                if not message.complete:
                    _log.warning("worker cut requests at the drain deadline", slot=self.slot, pid=self.pid)
            case TerminationRequested():
                self._on_termination_requested(self)
            case MetricsHandedOver():
                assert descriptor is not None
                self._metrics.on_handed_over(self, message, descriptor)
            case ScrapeArrived():
                self._metrics.on_scrape(self, message)
            case _:
                assert_never(message)

    def _on_channel_closed(self) -> None:
        """Its end is closed, as the process ends; the rest follows with its death."""
