"""Pools and balancing positions by identity: a plan asks for what it needs, a swap retires what it no longer does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from vrata.model.host import host_and_port
from vrata.net.deadlines import DeadlineSweeper
from vrata.net.resolver import Resolver, ResolvesNames
from vrata.net.upstream_tls import UpstreamTls
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.balancing.rotation import Rotation
from vrata.policy.retry_budget import RetryBudget
from vrata.proxy.action.mirror import Copies
from vrata.proxy.body_gate import BodyGate
from vrata.proxy.callout.services import Services
from vrata.proxy.destination.protection import Protection, ProtectionSettings
from vrata.proxy.endpoint.live_standing import LiveStanding
from vrata.proxy.endpoint.streaks import FailureStreaks
from vrata.proxy.metrics import handover
from vrata.proxy.metrics.handover import Line
from vrata.proxy.metrics.loads import carried
from vrata.proxy.metrics.registry import MetricsRegistry
from vrata.proxy.middleware.key_sets import KeySets
from vrata.proxy.middleware.log_writer import LogWriters
from vrata.proxy.middleware.python.modules import NO_MODULES, PythonModules
from vrata.proxy.middleware.rate_limit.limits import FleetLimits
from vrata.proxy.middlewares import Instances, Resources
from vrata.proxy.runtime.shared_buckets import SharedBuckets
from vrata.proxy.runtime.shared_counts import SharedCounts
from vrata.proxy.runtime.shared_names import breaker_name, streak_names
from vrata.proxy.runtime.shared_numbers import SharedCount
from vrata.proxy.sessions.store import SessionStore
from vrata.proxy.standing import UNKNOWN, DestinationStanding, DiscoveredEndpoint
from vrata.proxy.tracing.exporters import SpanExporters
from vrata.proxy.upstream.pool import EndpointPool
from vrata.proxy.upstream.queue import UNLIMITED, ConnectionLimits, Queue


@dataclass(frozen=True)
class Speech:
    """How the endpoints of a destination are spoken to."""

    tls: UpstreamTls | None = None
    """How connections are secured; None = they are in clear."""
    http2: bool = False
    max_requests: int = 0
    """Requests over one connection; 0 = any number."""

    def shape(self, pool: EndpointPool) -> None:
        """Have *pool* speak like that from now on."""
        pool.max_requests = self.max_requests
        pool.secure(self.tls, http2=self.http2)


IN_CLEAR: Final = Speech()

PoolKey = tuple[str, str, int]
"""Destination ID, host, port: two destinations never share connections, since their protection differs."""


@dataclass(frozen=True)
class Uses:
    """What a plan needs of the runtime. The rest is given up when it comes into force."""

    pools: Mapping[PoolKey, ConnectionLimits] = field(default_factory=dict)
    """Each with the limits of its destination."""
    destinations: frozenset[str] = frozenset()
    protected: frozenset[str] = frozenset()
    """Destinations with a circuit breaker."""
    judged: frozenset[str] = frozenset()
    """Destinations whose endpoints are judged by their failures."""
    speech: Mapping[str, Speech] = field(default_factory=dict)
    """By destination ID. The others are spoken to as :data:`IN_CLEAR`."""


NOTHING: Final = Uses()


class RuntimeRegistry:
    """Lives as long as the worker."""

    def __init__(
        self,
        sweeper: DeadlineSweeper,
        tasks: TaskSupervisor,
        session_store: SessionStore | None = None,
        resolver: ResolvesNames | None = None,
        bodies: BodyGate | None = None,
        python_modules: PythonModules = NO_MODULES,
        fleet_limits: FleetLimits | None = None,
    ) -> None:
        """*session_store* keeps sessions for all proxies; None = nothing does. *resolver* is what pools ask for the
        addresses of names; None = the system's name servers. *bodies* holds requests back whose bodies middlewares
        read by expressions; None = these see no body. *python_modules* are those with middlewares of the user's own.
        *fleet_limits* is where proxies limit rates together; None = nowhere."""
        self.session_store = session_store
        self._sweeper = sweeper
        self._tasks = tasks
        self._now = asyncio.get_running_loop().time
        self._resolver = resolver if resolver is not None else Resolver(tasks)
        self._pools: dict[PoolKey, EndpointPool] = {}
        self._queues: dict[str, Queue] = {}
        self._speech: Mapping[str, Speech] = {}
        self._streaks: dict[PoolKey, FailureStreaks] = {}
        self._rotations: dict[str, Rotation] = {}
        self._retry_budgets: dict[str, RetryBudget] = {}
        self._protections: dict[str, Protection] = {}
        self._standings: Mapping[str, DestinationStanding] = {}
        self._live: dict[str, LiveStanding] = {}
        self.metrics = MetricsRegistry()
        self.copies = Copies(sweeper)
        self.services = Services(sweeper)
        self.spans = SpanExporters(self.services, tasks)
        self.log_writers = LogWriters(asyncio.get_running_loop())
        gate = bodies or BodyGate(0, self._now)
        self.instances = Instances(
            Resources(
                sweeper,
                tasks,
                self.services,
                KeySets(self.services, sweeper),
                gate,
                self.log_writers,
                self._buckets_in_use,
                python_modules,
                fleet_limits,
            ),
            asyncio.get_running_loop(),
        )
        self._counts: SharedCounts | None = None
        self._buckets: SharedBuckets | None = None

    def __repr__(self) -> str:
        return f"<RuntimeRegistry {len(self._pools)} pools>"

    def share(self, counts: SharedCounts) -> None:
        """Count in *counts*, together with the other workers of the proxy; to be said before anything is counted."""
        assert self._counts is None, "something was counted already"
        self._counts = counts

    @property
    def counts(self) -> SharedCounts:
        """The numbers that all workers share; this worker's own where nobody has said with whom to share them."""
        if self._counts is None:
            self._counts = SharedCounts.private()
        return self._counts

    def share_buckets(self, buckets: SharedBuckets) -> None:
        """Limit rates by *buckets*, together with the other workers; to be said before anything is limited."""
        assert self._buckets is None, "a rate was limited already"
        self._buckets = buckets

    def _buckets_in_use(self) -> SharedBuckets:
        """The buckets that all workers share; this worker's own where nobody has said with whom to share them."""
        if self._buckets is None:
            self._buckets = SharedBuckets.private()
        return self._buckets

    def count(self, name: str) -> SharedCount:
        """The number of that name."""
        return self.counts.count(name)

    # -- what plans ask for: the same object for as long as some plan uses it ------------------------------------------

    def pool(self, destination_id: str, host: str, port: int) -> EndpointPool:
        """The pool of this endpoint."""
        key = (destination_id, host, port)
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = EndpointPool(host, port, self._sweeper, self._tasks, self._resolver)
            self._speech.get(destination_id, IN_CLEAR).shape(pool)
        return pool

    def streaks(self, destination_id: str, host: str, port: int) -> FailureStreaks:
        """The failures of this endpoint in a row."""
        key = (destination_id, host, port)
        streaks = self._streaks.get(key)
        if streaks is None:
            errors, gateway_errors = (self.counts.word(name) for name in streak_names(*key))
            streaks = self._streaks[key] = FailureStreaks(errors, gateway_errors)
        return streaks

    def rotation(self, destination_id: str) -> Rotation:
        """The round-robin position of this destination."""
        return self._rotations.setdefault(destination_id, Rotation())

    def retry_budget(self, destination_id: str) -> RetryBudget:
        """What counts the requests to this destination that try again."""
        budget = self._retry_budgets.get(destination_id)
        if budget is None:
            active, retrying = self.count(f"retriable {destination_id}"), self.count(f"retrying {destination_id}")
            budget = self._retry_budgets[destination_id] = RetryBudget(active, retrying)
        return budget

    def protection(self, destination_id: str, settings: ProtectionSettings) -> Protection:
        """The circuit breaker and the limits of this destination, which act by *settings* from now on."""
        protection = self._protections.get(destination_id)
        if protection is None:
            protection = self._protections[destination_id] = Protection(
                settings,
                self.counts.word(breaker_name(destination_id)),
                self.count(f"requests {destination_id}"),
                self.count(f"retries {destination_id}"),
                self._now,
            )
        protection.configure(settings)
        return protection

    def live_standing(self, destination_id: str) -> LiveStanding:
        """How the endpoints of this destination stand."""
        live = self._live.get(destination_id)
        if live is None:
            live = self._live[destination_id] = LiveStanding(self._standings.get(destination_id, UNKNOWN))
        return live

    # -- what is handed over ------------------------------------------------------------------------------------------

    def take_metrics(self) -> Iterator[Line]:
        """Give, bit by bit, what endpoints carry now and what was counted since the last time."""
        # All at one moment: the owner of this generator lets requests pass between two lines.
        for destination_id, endpoints in carried(self._pools).items():
            yield handover.load(destination_id, endpoints)
        yield from self.metrics.take()

    # -- what comes into force ----------------------------------------------------------------------------------------

    def judge(self, standings: Mapping[str, DestinationStanding]) -> None:
        """Endpoints stand as *standings* say, by destination ID."""
        self._standings = standings
        for destination_id, live in self._live.items():
            live.replace(standings.get(destination_id, UNKNOWN))

    def discovered(self, destination_id: str, host: str, port: int) -> tuple[DiscoveredEndpoint, ...] | None:
        """The endpoints that were found at run time; None while nothing is known of them."""
        standing = self._standings.get(destination_id, UNKNOWN)
        return standing.discovered if standing.discovered_for == host_and_port(host, port) else None

    @property
    def all_discovered(self) -> dict[str, tuple[str, tuple[DiscoveredEndpoint, ...]]]:
        """Those of every destination of which anything is known, and what they were found for."""
        return {
            destination_id: (standing.discovered_for, standing.discovered)
            for destination_id, standing in self._standings.items()
            if standing.discovered is not None
        }

    def keep_only(self, uses: Uses) -> None:
        """A new plan is in force: what it does not use takes no new work and goes when its last exchange has ended."""
        self._speech = uses.speech
        for key in [key for key in self._pools if key not in uses.pools]:
            self._pools.pop(key).retire()
        for key, pool in self._pools.items():
            uses.speech.get(key[0], IN_CLEAR).shape(pool)
        self._limit(uses.pools)
        for key in list(self._streaks):
            if key not in uses.pools or key[0] not in uses.judged:
                self._streaks.pop(key).leave()
        for destination_id in self._rotations.keys() - uses.destinations:
            del self._rotations[destination_id]
        for destination_id in self._live.keys() - uses.destinations:
            del self._live[destination_id]
        for destination_id in self._retry_budgets.keys() - uses.destinations:
            self._retry_budgets.pop(destination_id).retire()
        for destination_id in self._protections.keys() - uses.protected:
            self._protections.pop(destination_id).retire()

    def _limit(self, pools: Mapping[PoolKey, ConnectionLimits]) -> None:
        limited: set[str] = set()
        for key, limits in pools.items():
            destination_id = key[0]
            queue: Queue | None = None
            if limits != UNLIMITED:
                limited.add(destination_id)
                queue = self._queues.get(destination_id)
                if queue is None:
                    queue = self._queues[destination_id] = Queue(destination_id, self.count, self._sweeper, self._now)
                queue.configure(limits)
            self._pools[key].limit(queue, limits.per_endpoint)
        for destination_id in self._queues.keys() - limited:
            self._queues.pop(destination_id).retire()
