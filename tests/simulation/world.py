"""One run: the proxy's data planes, their upstreams and their clients, on virtual time and a network in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any
from unittest.mock import patch

import structlog

from tests.simulation.backends import Backend
from tests.simulation.clients import Asked, ClientConnection
from tests.simulation.configuration import ADDRESS, PORT, Configuration
from tests.simulation.journal import Journal
from tests.simulation.network import ObservedLoop
from tests.simulation.referee import Referee
from tests.simulation.scenario import GOOD, Behaviour, Request, Scenario, Standing
from tests.simulation.watching import Clock, Watching
from tests.simulation.words import observe_words
from vrata.net.virtual_time import START
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.dataplane import DataPlane
from vrata.proxy.runtime import shared_counts
from vrata.proxy.standing import DestinationStanding

LONGEST = 6.0
"""Seconds after which every limit of a request has passed."""
USERS = 20
MOMENT = 0.00001
"""Seconds in which what has happened has come to rest."""
IDLE = 4.0
"""Seconds after which what is idle is closed."""
TICK = 0.1
"""Seconds between two looks at who waits."""
_QUIET_LEVELS = frozenset({"debug", "info", "warning"})


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one scenario."""

    seed: int
    size: float
    transcript: str
    violations: list[str]
    counted: dict[str, int]
    """How often what the rules look at has happened."""

    @property
    def report(self) -> str:
        """All about a run that has broken a rule."""
        broken = "\n".join(self.violations)
        again = f"python -m tests.simulation --seed {self.seed} --size {self.size:g}"
        return f"{self.transcript}\n{broken}\n\nTo see it again: {again}"


def run(scenario: Scenario) -> Run:
    """Run *scenario*; the same one gives the same transcript, in every process."""
    loop = ObservedLoop()  # type: ignore[abstract] # nobody asks it for the rest
    journal = Journal(loop)
    world = World(scenario, loop, journal)
    with _repeatable(scenario, world):
        try:
            loop.run_until_complete(world.live())
        except Exception as error:  # noqa: BLE001 - whatever it is, the transcript goes with it
            world.referee.violation(f"{type(error).__name__}: {error}")
        finally:
            world.close()
    return Run(scenario.seed, scenario.size, journal.text(), world.referee.violations, world.referee.counted)


@contextmanager
def _repeatable(scenario: Scenario, world: World) -> Iterator[None]:
    """Everything that differs from run to run comes from the seed instead, and what is logged goes to the world."""
    sessions = Random(f"sessions {scenario.seed}")
    steps = count()
    clock = Clock(world.journal)
    processors = structlog.get_config()["processors"]
    structlog.configure(processors=[world.logged])
    try:
        with (
            patch("secrets.token_hex", lambda size: f"{sessions.getrandbits(8 * size):0{2 * size}x}"),
            # Compiling yields to others after so much of its own time: here, every few steps.
            patch("vrata.proxy.compile.perf_counter", lambda: next(steps) / 5000),
            patch("vrata.proxy.watch.prober.random", Random(f"probes {scenario.seed}")),
            patch("vrata.proxy.watch.prober.time", clock),
            patch("vrata.proxy.watch.sweeper.time", clock),
        ):
            yield
    finally:
        structlog.configure(processors=processors)


class World:
    def __init__(self, scenario: Scenario, loop: ObservedLoop, journal: Journal) -> None:
        self._scenario = scenario
        self._loop = loop
        self.journal = journal
        self.referee = Referee(journal)
        loop.network.observer = self.referee
        self._backends: dict[str, Backend] = {}
        self._tasks = TaskSupervisor()
        self._planes: list[DataPlane] = []
        self._descriptor = shared_counts.create()
        self._connections: dict[int, list[ClientConnection]] = {number: [] for number in range(scenario.clients)}
        self._cookies: dict[int, str] = {}
        self._users = Random(f"users {scenario.seed}")
        self._standings: dict[str, Standing] = {}
        self._watching: Watching | None = None
        self._ports = count(1024)
        self._look_again(0.37 * TICK)

    # -- the run ------------------------------------------------------------------------------------------------------

    async def live(self) -> None:
        """From the first snapshot to the last connection."""
        scenario, loop = self._scenario, self._loop
        for identifier, phases in scenario.behaviours.items():
            self._backend(identifier, phases)
        for number in range(scenario.workers):
            plane = DataPlane(self._tasks, random=Random(f"plane {number} {scenario.seed}"))
            plane.share_counts(self._descriptor)
            observe_words(plane._registry.counts, self.referee)
            plane.adopt_listener(f"{ADDRESS}:{PORT}", loop.network.bind(ADDRESS, PORT))
            self._planes.append(plane)
        if scenario.is_watched:
            self._watching = Watching(self._tasks, self._descriptor, self._told)
        (_, first), *swaps = scenario.configurations
        await self._apply(first)
        for at, configuration in swaps:
            loop.call_at(START + at, self._swap, configuration)
        for standing in scenario.standings:
            loop.call_at(START + standing.at, self._stand, standing)
        for request in scenario.requests:
            loop.call_at(START + request.at, self._ask, request)
            loop.call_at(START + request.at + MOMENT, self._look)
        await asyncio.sleep(scenario.seconds)
        await self._calm_down()

    def close(self) -> None:
        """Give up what is held of the real world."""
        os.close(self._descriptor)
        self._loop.close()
        for plane in self._planes:
            plane._registry.counts.close()
        self._planes.clear()
        if self._watching is not None:
            self._watching.close()

    def logged(self, logger: Any, method: str, entry: Any) -> Any:
        """What the proxy logs belongs to the transcript; an error is never in order."""
        values = " ".join(f"{key}={entry[key]}" for key in sorted(entry) if key not in ("event", "exc_info", "seconds"))
        if method in _QUIET_LEVELS:
            self.journal.note(f"     {entry['event']} {values}")
        else:
            self.referee.violation(f"logged as {method}: {entry['event']} {values} {entry.get('exc_info')!r}")
        raise structlog.DropEvent

    def _start(self, work: Any) -> None:
        self._tasks.start(work, name="world")

    def _look_again(self, at: float) -> None:
        """Look every :data:`TICK` from then on, until the world has come to rest."""
        self._next_look = self._loop.call_at(START + at, self._look_and_go_on, at)

    def _look_and_go_on(self, at: float) -> None:
        self._look()
        self._look_again(at + TICK)

    def _look(self) -> None:
        """Check what holds at moments in which nothing happens."""
        self.referee.check_requests()
        waiting: dict[str, int] = {}
        for plane in self._planes:
            for pool in plane._registry._pools.values():
                if pool.line:
                    endpoint = f"{pool.host}:{pool.port}"
                    waiting[endpoint] = waiting.get(endpoint, 0) + len(pool.line)
        self.referee.check_waiting(waiting)

    # -- what changes -------------------------------------------------------------------------------------------------

    def _backend(self, identifier: str, phases: list[tuple[float, Behaviour]]) -> None:
        loop, scenario = self._loop, self._scenario
        backend = self._backends[identifier] = Backend(identifier, loop, loop.network, self.journal, scenario.seed)
        backend.observer = self.referee
        host, _, port = identifier.rpartition(":")
        loop.network.path(host, int(port)).latency = scenario.latencies[identifier]
        backend.behave(phases[0][1])
        for at, behaviour in phases[1:]:
            loop.call_at(START + at, self._behave, backend, behaviour)

    def _behave(self, backend: Backend, behaviour: Behaviour) -> None:
        if behaviour.is_gone:
            self.referee.disturbed(backend.identifier)
        backend.behave(behaviour)

    def _swap(self, configuration: Configuration) -> None:
        self._start(self._apply(configuration))

    async def _apply(self, configuration: Configuration) -> None:
        self.journal.note(f"applies {configuration}")
        self.referee.applies(configuration)
        for plane in self._planes:
            report = await plane.apply(configuration.document())
            if report.problems:
                self.referee.violation(f"not applied: {report.problems}")
        self.journal.note(f"applied snapshot {configuration.number}")
        if self._watching is not None:
            self._watching.configure(configuration)

    def _stand(self, standing: Standing) -> None:
        """The scenario says how endpoints stand."""
        self._standings = {**self._standings, standing.destination: standing}
        self._told({destination_id: found.document() for destination_id, found in self._standings.items()})

    def _told(self, standings: dict[str, DestinationStanding]) -> None:
        """Somebody says how endpoints stand."""
        for destination_id, standing in sorted(standings.items()):
            self.journal.note(f"  {destination_id}: {dict(sorted(standing.endpoints.items()))}")
        self.referee.judges(standings)
        self._start(self._judge(standings))

    async def _judge(self, standings: dict[str, DestinationStanding]) -> None:
        for plane in self._planes:
            await plane.judge(standings)

    # -- clients ------------------------------------------------------------------------------------------------------

    def _ask(self, request: Request) -> None:
        user = f"u{self._users.randrange(USERS)}"
        asked = Asked(request, self._loop.time(), user, self._cookies.get(request.client, ""))
        self.journal.note(
            f"n{request.number} asks {request.method} /{request.route} of client {request.client}, {user}"
        )
        connections = self._connections[request.client]
        while connections and not request.is_fresh:
            connection = connections.pop()
            if connection.is_open:
                self.referee.asks(asked)
                connection.ask(asked)
                return
        self._start(self._connect(asked))

    async def _connect(self, asked: Asked) -> None:
        connection = ClientConnection(self._loop, self._answered, self.referee.violation)
        source = (f"192.0.2.{1 + asked.request.client}", next(self._ports))
        await self._loop.network.dial((ADDRESS, PORT), connection, source=source)
        self.referee.asks(asked)
        connection.ask(asked)

    def _answered(self, connection: ClientConnection, asked: Asked) -> None:
        for value in asked.fields.get(b"set-cookie", []):
            if value.startswith(b"pin="):
                self._cookies[asked.request.client] = value[4:].partition(b";")[0].decode()
        self.referee.ended(asked)
        if connection.is_open:
            self._connections[asked.request.client].append(connection)

    # -- the end ------------------------------------------------------------------------------------------------------

    async def _calm_down(self) -> None:
        """Everybody is done, or runs into a limit; then there must be nothing left of it."""
        referee = self.referee
        for backend in self._backends.values():
            backend.behave(GOOD)
        begin = self._loop.time()
        await self._until(lambda: all(asked.end for asked in referee.asked.values()), begin + LONGEST)
        for asked in referee.asked.values():
            if not asked.end:
                referee.violation(f"n{asked.request.number} has no end")
        for connections in self._connections.values():
            for connection in connections:
                connection.close()
        await self._until(lambda: not any(self._unrest()), begin + LONGEST + IDLE)
        self._next_look.cancel()
        for complaint in self._unrest():
            referee.violation(complaint)
        if self._watching is not None:
            self._watching.stop()
            await asyncio.sleep(0.5)
            for complaint in self._unrest():
                referee.violation(complaint)
        self._loop.network.give_up_closed()
        for plane in self._planes:
            await plane.drain(0)
        for backend in self._backends.values():
            for upstream in list(backend.connections):
                upstream.close()
        await self._until(lambda: not self._loop.timers, begin + LONGEST + IDLE + 1)
        if repr(self._tasks) != "<TaskSupervisor 0 running>":
            referee.violation(f"tasks are left: {self._tasks._tasks}")
        if self._loop.timers:
            referee.violation(f"timers are left: {self._loop!r}")
        for plane in self._planes:
            if plane._sweeper._watched:
                referee.violation(f"something is watched: {list(plane._sweeper._watched)}")
            counts = plane._registry.counts
            if counts._counts or counts._common:
                referee.violation(f"something is counted: {counts._counts} {counts._common}")

    async def _until(self, is_so: Callable[[], bool], deadline: float) -> None:
        """Let time pass until it is so, and no longer than to the *deadline*."""
        while not is_so() and self._loop.time() < deadline:  # noqa: ASYNC110 - nobody tells that it is so
            await asyncio.sleep(TICK)

    def _unrest(self) -> Iterator[str]:
        """What is under way, idle, or judged badly."""
        if self._watching is not None:
            yield from self.referee.not_recovered()
        for plane in self._planes:
            status = plane.status()
            if (status.connections, status.in_flight) != (0, 0):
                yield f"something is under way: {status}"
            registry = plane._registry
            for pool in registry._pools.values():
                if pool.in_flight:
                    yield f"{pool!r} is in use"
            for number in registry.counts._counts.values():
                if number.total:
                    yield f"{number!r} is not zero"
        yield from self.referee.unrest()
