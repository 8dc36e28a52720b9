"""Everything that one worker serves with: listeners, the plan in force, and the state that outlives plans."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from time import perf_counter
from typing import Any

import structlog

from vrata.net.deadlines import DeadlineSweeper
from vrata.net.resolver import ResolvesNames
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.body_gate import BodyGate
from vrata.proxy.compile import Compiler
from vrata.proxy.contracts import BodyNeeded, Failure, FailureClass
from vrata.proxy.listener.listener import Listener
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.meters import UNMATCHED
from vrata.proxy.metrics import handover
from vrata.proxy.metrics.handover import Line
from vrata.proxy.metrics.scrape import ExpositionSource, ScrapeAction
from vrata.proxy.middleware.python.modules import NO_MODULES, PythonModules
from vrata.proxy.middleware.rate_limit.limits import FleetLimits
from vrata.proxy.plan import Plan
from vrata.proxy.runtime.registry import NOTHING, RuntimeRegistry
from vrata.proxy.runtime.shared_buckets import SharedBuckets
from vrata.proxy.runtime.shared_counts import NoLaneFree, SharedCounts
from vrata.proxy.sessions.store import SessionStore
from vrata.proxy.standing import DestinationStanding
from vrata.proxy.status import EntityProblem
from vrata.wire.http1.errors import MalformedMessage

REMOVED_LISTENER_DRAIN = 30.0
"""Seconds that the connections of a removed listener may take to finish."""

OPEN_TIMEOUT = 1.0
"""Seconds that a snapshot's new access logs are waited for, to be reported of if they cannot be opened."""

FLUSH_TIMEOUT = 2.0
"""Seconds that the last lines of access logs may take."""

_log = structlog.get_logger("vrata.proxy")


@dataclass(frozen=True)
class ApplyReport:
    """What came of a snapshot that was applied."""

    snapshot_id: str
    problems: tuple[EntityProblem, ...]
    seconds: float


@dataclass(frozen=True)
class DataPlaneStatus:
    """What is going on right now."""

    connections: int
    in_flight: int


class DataPlane:
    """One per worker, on a running loop. Only :meth:`apply` changes what it serves."""

    def __init__(
        self,
        tasks: TaskSupervisor,
        cel_body_max_size: int = 65536,
        session_store: SessionStore | None = None,
        *,
        fleet_limits: FleetLimits | None = None,
        resolver: ResolvesNames | None = None,
        random: Random | None = None,
        python_modules: PythonModules = NO_MODULES,
    ) -> None:
        """Expressions see *cel_body_max_size* bytes of a body; 0 = nothing. Sessions are kept in *session_store*.
        Rates that are limited for all proxies are so by *fleet_limits*; None = nobody can do that.

        *resolver* knows the addresses of upstreams that have names; absent = hosts file and DNS, as the system is
        configured. *random* is what balancing draws from. *python_modules* have the middlewares of the user's own.
        """
        loop = asyncio.get_running_loop()
        self._tasks = tasks
        self._sweeper = DeadlineSweeper(loop)
        self._bodies = BodyGate(cel_body_max_size, loop.time)
        self._registry = RuntimeRegistry(
            self._sweeper, tasks, session_store, resolver, self._bodies, python_modules, fleet_limits
        )
        self._compiler = Compiler(self._registry, self._sweeper, random)
        self._scrapes = ScrapeAction(tasks)
        self._applying = asyncio.Lock()
        self._sockets: dict[str, socket.socket] = {}
        self._listeners: dict[str, Listener] = {}
        self._closing: set[Listener] = set()
        self._plan: Plan | None = None
        self._is_draining = False
        # What is wrong with the plan and the listeners; files of access logs come and go beside that.
        self._problems: tuple[EntityProblem, ...] = ()
        self._reported: tuple[EntityProblem, ...] = ()
        self._is_applying = False
        self._on_problems: Callable[[tuple[EntityProblem, ...]], None] | None = None
        self._registry.log_writers.on_change = self._review_problems
        self._populated_with = self._registry.all_discovered
        """What was discovered when the plan's destinations got their endpoints."""
        self._sweeper.start()

    def __repr__(self) -> str:
        snapshot = self._plan.snapshot_id if self._plan is not None else None
        return f"<DataPlane snapshot {snapshot}, listeners {sorted(self._listeners)}>"

    def share_counts(self, descriptor: int) -> None:
        """Count together with the proxy's other workers, in the table behind *descriptor*, which stays the caller's."""
        try:
            self._registry.share(SharedCounts(descriptor))
        except (NoLaneFree, OSError) as error:
            _log.error("limits hold for this worker alone", reason=str(error))

    def share_buckets(self, descriptor: int) -> None:
        """Limit rates together with the proxy's other workers, by the buckets behind *descriptor*, which stays the
        caller's."""
        try:
            self._registry.share_buckets(SharedBuckets(descriptor))
        except OSError as error:
            _log.error("rates are limited for this worker alone", reason=str(error))

    def adopt_listener(self, address: str, sock: socket.socket) -> None:
        """Take the bound, listening *sock* for *address*; it is served from the next apply that names the address."""
        previous = self._sockets.pop(address, None)
        if previous is not None:
            previous.close()
        self._sockets[address] = sock

    async def apply(self, document: Mapping[str, Any]) -> ApplyReport:
        """Compile a snapshot document, put the plan in force, and bring the listeners in line with it.

        Requests under way finish with the plan they began with. Raises
        :class:`~vrata.proxy.reading.SnapshotRejected` and changes nothing when the document cannot be used at all;
        single bad entities are left out and reported.
        """
        async with self._applying:
            # What changes meanwhile is reported in the end.
            self._is_applying = True
            try:
                return await self._apply(document)
            finally:
                self._is_applying = False
                self._review_problems()

    async def _apply(self, document: Mapping[str, Any]) -> ApplyReport:
        started = perf_counter()
        found = self._registry.all_discovered
        plan = await self._compiler.compile(document)
        self._put_in_force(plan)
        self._populated_with = found
        await self._follow_discovery()
        self._problems = (*plan.problems, *await self._reconcile_listeners(plan))
        await self._registry.log_writers.opened(OPEN_TIMEOUT)
        problems = self._reported = self._all_problems()
        seconds = perf_counter() - started
        _log.debug("snapshot applied", snapshot=plan.snapshot_id, problems=len(problems), seconds=round(seconds, 3))
        return ApplyReport(plan.snapshot_id, problems, seconds)

    def watch_problems(self, on_change: Callable[[tuple[EntityProblem, ...]], None]) -> None:
        """Call *on_change* with all problems when they are others than what was reported of the last apply."""
        self._on_problems = on_change

    def judge(self, standings: Mapping[str, DestinationStanding]) -> asyncio.Task[None]:
        """Choose endpoints by these *standings*, by destination ID, from now on, even while something is applied.

        The task is done when the endpoints that were discovered are used as well.
        """
        self._registry.judge(standings)
        return self._tasks.start(self._catch_up_with_discovery(), name="catch up with discovery")

    async def _catch_up_with_discovery(self) -> None:
        async with self._applying:
            await self._follow_discovery()

    async def _follow_discovery(self) -> None:
        """Have the plan in force use the endpoints that are discovered by now, unless it is on its way out."""
        while (
            self._plan is not None and not self._is_draining and self._registry.all_discovered != self._populated_with
        ):
            self._populated_with = self._registry.all_discovered
            self._put_in_force(await self._compiler.repopulate(self._plan))

    def _review_problems(self) -> None:
        """Tell of other problems than were reported."""
        problems = self._all_problems()
        if problems != self._reported and not self._is_applying and self._on_problems is not None:
            self._reported = problems
            self._on_problems(problems)

    def _all_problems(self) -> tuple[EntityProblem, ...]:
        return (*self._problems, *self._log_problems())

    def _log_problems(self) -> Iterator[EntityProblem]:
        """The access logs of the plan in force whose files cannot be opened."""
        failures = self._registry.log_writers.failures
        for middleware, _ in self._plan.instances.values() if self._plan is not None and failures else ():
            settings = middleware.access_log
            if middleware.type == "accessLog" and settings is not None and settings.path in failures:
                reason = f"access log {settings.path} cannot be opened: {failures[settings.path]}"
                yield EntityProblem(middleware.kind, middleware.id, middleware.name, reason)

    def _put_in_force(self, plan: Plan) -> None:
        self._plan = plan
        self._registry.services.destinations = plan.destinations
        self._registry.metrics.adopt(plan.metrics_scope)
        self._registry.keep_only(plan.uses)
        self._registry.instances.keep_only(plan.instances)
        tracers = [settings.tracer for settings in plan.listeners.values()]
        self._registry.spans.keep_only(tracer.exporter for tracer in tracers if tracer is not None)

    async def drain(self, timeout: float) -> bool:
        """Stop accepting, finish what is in flight within *timeout* seconds; True when nothing was cut."""
        self._is_draining = True
        async with self._applying:
            listeners = list(self._listeners.values())
            self._listeners.clear()
            self._close_sockets(self._sockets)
            self._closing.update(listeners)
            for listener in list(self._closing):
                await listener.close()
            began = perf_counter()
            results = await asyncio.gather(*(listener.drained(timeout) for listener in self._closing))
            await self._registry.copies.drained(timeout - (perf_counter() - began))
            await self._registry.spans.flush(timeout - (perf_counter() - began))
            self._registry.services.close()  # who waited for an answer is gone by now
            # What was cut ends a moment later, and is to be counted as well.
            for _ in range(3):
                await asyncio.sleep(0)
            self._registry.keep_only(NOTHING)
            self._registry.instances.close()
            closings = self._registry.instances.resources.closings
            if closings:
                await asyncio.wait(closings, timeout=FLUSH_TIMEOUT)
            if not await self._registry.log_writers.flush(FLUSH_TIMEOUT):
                _log.warning("lines of access logs are lost: their files take too long", seconds=FLUSH_TIMEOUT)
            self._sweeper.stop()
            return all(results)

    def reopen_logs(self) -> None:
        """Open the files of access logs again: they may have been moved away."""
        self._registry.log_writers.reopen()

    def take_metrics(self) -> Iterator[Line]:
        """Give, bit by bit, what was counted since the last time."""
        for listener in (*self._listeners.values(), *self._closing):
            listener.count()
        status = self.status()
        yield handover.worker(status.connections, status.in_flight)
        yield from self._registry.take_metrics()

    def answer_scrapes_from(self, source: ExpositionSource) -> None:
        """Show the metrics of *source*."""
        self._scrapes.source = source

    def status(self) -> DataPlaneStatus:
        """Count what is going on."""
        listeners = [*self._listeners.values(), *self._closing]
        return DataPlaneStatus(
            connections=sum(listener.connections for listener in listeners),
            in_flight=sum(listener.in_flight for listener in listeners),
        )

    async def _reconcile_listeners(self, plan: Plan) -> list[EntityProblem]:
        """Close, configure and open listeners as *plan* says; returns the ones that could not be opened."""
        problems: list[EntityProblem] = []
        for address in self._listeners.keys() - plan.listeners.keys():
            listener = self._listeners.pop(address)
            self._closing.add(listener)
            try:
                await listener.close()
            finally:
                self._tasks.start(self._finish_removed(listener), name=f"drain {address}")
        self._close_sockets(self._sockets.keys() - plan.listeners.keys())
        for address, settings in plan.listeners.items():
            existing = self._listeners.get(address)
            if existing is not None:
                existing.configure(settings)
                continue
            sock = self._sockets.pop(address, None)
            if sock is None:
                continue  # could not be bound; the supervisor reports it, tries again and applies again
            listener = Listener(sock, settings, self._sweeper, self._handle, self._registry.count)
            try:
                await listener.open()
            except OSError as error:
                sock.close()
                reason = f"cannot accept connections: {error}"
                problems.append(EntityProblem("listener", settings.listener_id, settings.name, reason))
                continue
            except BaseException:
                self._sockets[address] = sock  # cancelled: the next apply finds it where this one did
                raise
            self._listeners[address] = listener
        return problems

    def _close_sockets(self, addresses: Iterable[str]) -> None:
        """Give up adopted sockets that nobody serves: clients are to be refused there, not left in a queue."""
        for address in list(addresses):
            self._sockets.pop(address).close()

    async def _finish_removed(self, listener: Listener) -> None:
        await listener.drained(REMOVED_LISTENER_DRAIN)
        self._closing.discard(listener)

    def _handle(self, request: DownstreamRequest, content: bytes, end: bool) -> None:
        """Find the route of a request and let its action take over."""
        self._handle_by(self._plan, request, content, end)

    def _handle_by(self, plan: Plan | None, request: DownstreamRequest, content: bytes, end: bool) -> None:
        try:
            meters = request.meters
            trace = request.trace
            if meters is not None and request.path == meters.path:
                if trace is not None:
                    trace.forget()
                self._scrapes.run(request, (meters.listener_id, meters.address))
                return
            match = plan.table.match(request) if plan is not None else None
            if meters is not None:
                key = match.payload.meter_key if match is not None else UNMATCHED
                request.route_meter = meters.matched(key, len(content))
            if trace is not None and match is not None:
                route = match.payload
                trace.matched(route.name, route.group)
            if match is None:
                request.fail(Failure(FailureClass.NO_ROUTE))
            else:
                match.payload.action.run(request, match, content, end)
            return
        except BodyNeeded as needed:
            expression = str(needed)
        except MalformedMessage:
            # What middlewares have added to the head was too much for it.
            request.fail(Failure(FailureClass.REQUEST_HEADERS_TOO_LARGE))
            return
        except Exception:  # noqa: BLE001 - one request must never take the worker down
            _log.exception("request handling failed", request=repr(request))
            request.fail(Failure(FailureClass.INTERNAL))
            return
        self._bodies.hold_back(request, content, end, expression, partial(self._handle_by, plan, request))
