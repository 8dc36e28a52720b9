"""The worker: the process that serves traffic, told by its supervisor on what sockets and with which snapshot.

It holds no state that could not be rebuilt: killed at any moment, its successor adopts the same sockets and applies
the same document.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol, assert_never

import structlog

from vrata.net import descriptors, server_tls
from vrata.net.event_loop import new_event_loop
from vrata.observability import logging, process
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy import memory_file, standing
from vrata.proxy.amendments import Amendments, amend, decode
from vrata.proxy.channel import (
    AdoptListener,
    AmendDocument,
    AnswerScrape,
    Applied,
    Apply,
    Channel,
    CollectMetrics,
    Command,
    Drain,
    Drained,
    Judge,
    Message,
    ProblemsChanged,
    Rejected,
    ReopenLogs,
    ShareBuckets,
    ShareCounts,
    TerminationRequested,
)
from vrata.proxy.metrics.handover import Line
from vrata.proxy.metrics.reporter import UNASKED, MetricsReporter
from vrata.proxy.metrics.scrape import ExpositionSource
from vrata.proxy.redis.settings import RedisSettings
from vrata.proxy.standing import DestinationStanding
from vrata.proxy.status import EntityProblem

_log = structlog.get_logger("vrata.proxy")

MAX_PROBLEMS = 100
"""Problems named in one message; the rest is counted."""
MAX_REASON = 300
"""Characters of one problem's reason in a message."""


class Report(Protocol):
    """What a data plane says of an apply that went well."""

    @property
    def problems(self) -> tuple[EntityProblem, ...]:
        """The entities that were left out."""
        ...


class ServesTraffic(Protocol):
    """The data plane as the worker drives it."""

    def share_counts(self, descriptor: int) -> None:
        """Count together with the proxy's other workers, in the table behind *descriptor*, which stays the caller's."""
        ...

    def share_buckets(self, descriptor: int) -> None:
        """Limit rates together with them, by the buckets behind *descriptor*, which stays the caller's."""
        ...

    def adopt_listener(self, address: str, sock: socket.socket) -> None:
        """Own the listening *sock*; it serves *address* from the next apply on."""
        ...

    def judge(self, standings: Mapping[str, DestinationStanding]) -> Awaitable[None]:
        """The endpoints of the destinations stand like that, by destination ID; nothing stands against any other.

        Verdicts act at once. What is returned is done when the endpoints that were discovered are used as well.
        """
        ...

    async def apply(self, document: Mapping[str, Any]) -> Report:
        """Serve with *document*, or raise and change nothing."""
        ...

    def watch_problems(self, on_change: Callable[[tuple[EntityProblem, ...]], None]) -> None:
        """Call *on_change* with all problems when they are others than what was reported of the last apply."""
        ...

    async def drain(self, timeout: float) -> bool:
        """Stop accepting and finish what is in flight; true if nothing was cut."""
        ...

    def reopen_logs(self) -> None:
        """Open the files of access logs again."""
        ...

    def take_metrics(self) -> Iterator[Line]:
        """Give, bit by bit, what was counted since the last time."""
        ...

    def answer_scrapes_from(self, source: ExpositionSource) -> None:
        """Show the metrics of *source*."""
        ...


_InOrder = ShareCounts | ShareBuckets | AdoptListener | AmendDocument | Apply | Drain
"""The commands that are carried out one after the other."""

DataPlaneFactory = Callable[[TaskSupervisor], ServesTraffic]


def build_data_plane(
    tasks: TaskSupervisor,
    cel_body_max_size: int = 65536,
    session_store: RedisSettings | None = None,
    name_servers: Sequence[tuple[str, int]] = (),
    python_directories: Sequence[Path] = (),
) -> ServesTraffic:
    """Return the data plane that workers serve with, unless a test has them use another.

    *cel_body_max_size* are the bytes of a body that expressions see; 0 = none. Sessions, and the buckets of rate limits
    for all proxies, are kept in *session_store*. *name_servers* (address and port) resolve the names of upstreams; none
    = the system's. The modules in *python_directories* are loaded, for middlewares of the user's own.
    """
    # Imported by the worker alone: the supervisor passes this function on without paying for it.
    from vrata.net.resolver import Resolver
    from vrata.proxy.dataplane import DataPlane
    from vrata.proxy.middleware.python.modules import load_modules

    modules = load_modules(python_directories)
    resolver = Resolver(tasks, name_servers)
    if session_store is None:
        return DataPlane(tasks, cel_body_max_size, resolver=resolver, python_modules=modules)
    # Only who keeps something in Redis pays for its client.
    from vrata.proxy.redis.rate_limits import RedisRateLimits
    from vrata.proxy.sessions.redis_store import RedisSessionStore

    store = RedisSessionStore(session_store, tasks, Random().random)
    limits = RedisRateLimits(session_store, tasks, Random().random)
    return DataPlane(tasks, cel_body_max_size, store, fleet_limits=limits, resolver=resolver, python_modules=modules)


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What a worker is started with. It travels to the new process, so the factory must be a module's own name, or a
    ``partial`` of one."""

    slot: int
    drain_timeout: float
    """Seconds to drain when the supervisor is gone and cannot say."""
    data_plane: DataPlaneFactory = build_data_plane
    log_format: str = "console"
    log_level: str = "info"


COLLECTOR_THRESHOLDS = (700, 10, 1000)
"""Of the garbage collector. Full collections are a hundred times rarer than usual: each walks the whole plan, which for
50,000 routes keeps requests waiting for a quarter of a second, and compiling such a plan would set off a dozen.
"""


def main(sock: socket.socket, settings: WorkerSettings) -> None:
    """Run a worker until it has drained; the entry point of its process. *sock* is its end of the channel."""
    # A terminal sends these to the whole process group; what they mean is for the supervisor to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    process.set_name(f"vrata-worker-{settings.slot}")
    logging.configure(settings.log_format, settings.log_level, worker=settings.slot)
    descriptors.raise_limit()
    server_tls.ignore_unreadable_names()
    # What the fork server imported stays for ever: keep the collector from walking (and so copying) those pages.
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(Worker(settings).run(sock))


class Worker:
    """Carries out the supervisor's commands one after the other."""

    def __init__(self, settings: WorkerSettings) -> None:
        self._settings = settings
        self._tasks = TaskSupervisor()
        self._commands: asyncio.Queue[tuple[_InOrder, int | None]] = asyncio.Queue()
        self._data_plane: ServesTraffic | None = None
        self._reporter: MetricsReporter | None = None
        self._amendments: tuple[int, Amendments] = (0, {})
        self._edition = 0
        """The last one that was applied."""

    async def run(self, sock: socket.socket) -> None:
        """Serve until told to drain or until the supervisor is gone; then drain and return."""
        tasks = self._tasks
        data_plane = self._data_plane = self._settings.data_plane(tasks)
        channel = Channel(sock, self._on_message, self._on_supervisor_gone)
        reporter = self._reporter = MetricsReporter(channel, data_plane.take_metrics)
        data_plane.answer_scrapes_from(reporter)
        data_plane.watch_problems(lambda found: channel.send(ProblemsChanged(self._edition, _portable(found))))
        tasks.start(reporter.report_forever(), name="report metrics")
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, channel.send, TerminationRequested())
        try:
            drain = await self._carry_out_until_drain(data_plane, channel)
            complete = await data_plane.drain(drain.timeout)
            await reporter.hand_over(UNASKED)
            channel.send(Drained(complete))
        finally:
            await tasks.stop()
            channel.close()

    async def _carry_out_until_drain(self, data_plane: ServesTraffic, channel: Channel) -> Drain:
        while True:
            command, descriptor = await self._commands.get()
            match command:
                case ShareCounts():
                    assert descriptor is not None
                    data_plane.share_counts(descriptor)
                    os.close(descriptor)
                case ShareBuckets():
                    assert descriptor is not None
                    data_plane.share_buckets(descriptor)
                    os.close(descriptor)
                case AdoptListener(address=address):
                    assert descriptor is not None
                    data_plane.adopt_listener(address, socket.socket(fileno=descriptor))
                case AmendDocument(edition=edition):
                    assert descriptor is not None
                    self._amendments = edition, decode(memory_file.read(descriptor))
                    os.close(descriptor)
                case Apply(edition=edition):
                    assert descriptor is not None
                    amended, amendments = self._amendments
                    answer = await _apply(data_plane, edition, descriptor, amendments if amended == edition else {})
                    if isinstance(answer, Applied):
                        self._edition = edition
                    channel.send(answer)
                case Drain():
                    return command
                case _:
                    assert_never(command)

    def _on_message(self, message: Message, descriptor: int | None) -> None:
        assert isinstance(message, Command), message
        match message:
            case CollectMetrics(collection=collection):
                # Whoever asks does not wait for an apply that is going on.
                if self._reporter is not None:
                    self._tasks.start(self._reporter.hand_over(collection), name="hand over metrics")
            case AnswerScrape(scrape=scrape):
                assert descriptor is not None
                assert self._reporter is not None
                self._reporter.answer_scrape(scrape, descriptor)
            case Judge():
                # Verdicts act also while a snapshot is applied, which may take long, and while the worker drains.
                assert descriptor is not None
                content = memory_file.read(descriptor)
                os.close(descriptor)
                if self._data_plane is not None:
                    self._data_plane.judge(standing.decode(content))
            case ReopenLogs():
                # Also while the worker drains: its requests still write lines.
                if self._data_plane is not None:
                    self._data_plane.reopen_logs()
            case _:
                self._commands.put_nowait((message, descriptor))

    def _on_supervisor_gone(self) -> None:
        _log.warning("the supervisor is gone: draining")
        self._commands.put_nowait((Drain(self._settings.drain_timeout), None))


async def _apply(
    data_plane: ServesTraffic, edition: int, descriptor: int, amendments: Amendments
) -> Applied | Rejected:
    try:
        document = json.loads(memory_file.read(descriptor))
        if amendments:
            amend(document, amendments)
        report = await data_plane.apply(document)
    except Exception as error:  # noqa: BLE001 - whatever a document does, the worker goes on with the last good one
        if not _is_verdict(error):
            _log.exception("applying a snapshot failed")
        return Rejected(edition, _cut(str(error) or type(error).__name__))
    finally:
        os.close(descriptor)
    return Applied(edition, _portable(report.problems))


def _is_verdict(error: Exception) -> bool:
    """Whether *error* says that the document is bad, and not that we are: then it is of a class of ours."""
    return type(error).__module__.startswith("vrata.")


def _portable(problems: tuple[EntityProblem, ...]) -> tuple[EntityProblem, ...]:
    """Return as many problems as fit in one message."""
    # Listeners first: the supervisor has to know which of their sockets nobody serves.
    ordered = sorted(problems, key=lambda problem: problem.kind != "listener")
    named = tuple(
        EntityProblem(problem.kind, _cut(problem.id), _cut(problem.name), _cut(problem.reason))
        for problem in ordered[:MAX_PROBLEMS]
    )
    if len(problems) > MAX_PROBLEMS:
        named += (EntityProblem("", "", "", f"and {len(problems) - MAX_PROBLEMS} more, see the proxy's log"),)
    return named


def _cut(text: str) -> str:
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"
