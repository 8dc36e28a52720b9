"""The prober: probes endpoints again and again, many at once, and keeps their health."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from vrata.model.destination import Destination
from vrata.model.health_check import HealthCheck
from vrata.net.resolver import Resolver, ResolvesNames
from vrata.net.tls_material import TlsMaterialError
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.health import EndpointHealth, Thresholds, first_probe_at, next_probe_at
from vrata.proxy.watch.kept import Kept
from vrata.proxy.watch.probe import NoResult, ProbeFailed, Target, probe, target

AT_ONCE: Final = 512
"""Probes under way at once. Those that hang hold their place until their time is over, so a few would not do.
One destination has at most half of those that the others leave."""

QUIET: Final = 10.0
"""Seconds in which it is said once that probes cannot be made."""

Addresses = Mapping[str, tuple[str, int]]
"""Host and port of endpoints, by their identifier."""

_log = structlog.get_logger("vrata.proxy.watch")


class Prober:
    """Probes the endpoints of the destinations that it is told of.

    *on_verdict* is called with a destination's ID when an endpoint of it has become unhealthy or healthy.
    """

    def __init__(
        self,
        tasks: TaskSupervisor,
        on_verdict: Callable[[str], None],
        at_once: int = AT_ONCE,
        resolver: ResolvesNames | None = None,
    ) -> None:
        self._tasks = tasks
        self.resolver = resolver if resolver is not None else Resolver(tasks)
        self._on_verdict = on_verdict
        self._at_once = at_once
        self._destinations: dict[str, _Destination] = {}
        self._running = 0
        self._complained_at = float("-inf")
        self._waiting: deque[_Destination] = deque()
        """Those of which endpoints wait for a place, each once."""

    def __repr__(self) -> str:
        waiting = sum(len(destination.waiting) for destination in self._waiting)
        return f"<Prober {len(self._destinations)} destinations, {self._running} probes, {waiting} waiting>"

    def watch(self, destination: Destination, addresses: Addresses) -> None:
        """Probe the endpoints at *addresses* from now on, as *destination* says, and no others of it."""
        check = destination.options.health_check
        if check is None:
            self.forget(destination.id)
            return
        watched = self._destinations.get(destination.id)
        if watched is None:
            watched = self._destinations[destination.id] = _Destination(self, destination, check)
        try:
            watched.configure(destination, check, addresses)
        except (TlsMaterialError, ValueError) as error:
            _log.error(
                "endpoints cannot be probed", destination=destination.id, name=destination.name, reason=str(error)
            )
            self.forget(destination.id)

    def forget(self, destination_id: str) -> None:
        """Probe no endpoint of this destination."""
        watched = self._destinations.pop(destination_id, None)
        if watched is not None:
            watched.stop()

    def health(self, destination_id: str) -> Mapping[str, EndpointHealth]:
        """The health of the endpoints of this destination that are probed, by their identifier."""
        watched = self._destinations.get(destination_id)
        return {} if watched is None else {name: found.health for name, found in watched.endpoints.items()}

    def stop(self) -> None:
        """Probe nothing any more."""
        for destination_id in list(self._destinations):
            self.forget(destination_id)

    def start(self, endpoint: _Endpoint) -> None:
        """A probe is due: make it when there is a place for it."""
        destination = endpoint.destination
        if not destination.waiting and self._has_place(destination):
            self._start(endpoint)
            return
        if not destination.waiting:
            self._waiting.append(destination)
        destination.waiting.append(endpoint)

    def judged(self, destination_id: str) -> None:
        """The health of an endpoint of this destination has changed."""
        self._on_verdict(destination_id)

    def lacks(self, reason: str) -> None:
        """A probe could not be made, for a *reason* that lies here and not with the endpoint."""
        now = asyncio.get_running_loop().time()
        if now >= self._complained_at + QUIET:
            self._complained_at = now
            _log.error("probes cannot be made", reason=reason)

    def _has_place(self, destination: _Destination) -> bool:
        # No destination has more places than it leaves free, so there is always one for another.
        return destination.running < self._at_once - self._running

    def _start(self, endpoint: _Endpoint) -> None:
        destination = endpoint.destination
        self._running += 1
        destination.running += 1
        endpoint.task = self._tasks.start(endpoint.probe(), name="probe")
        # Not a `finally` of the task: one that is cancelled at once never comes that far.
        endpoint.task.add_done_callback(lambda _: self._ended(destination))

    def _ended(self, destination: _Destination) -> None:
        self._running -= 1
        destination.running -= 1
        # Each that waits has its turn, one probe at a time; those that have had their share are passed over.
        passed_over = 0
        while self._running < self._at_once and passed_over < len(self._waiting):
            following = self._waiting.popleft()
            while following.waiting and following.waiting[0].is_stopped:
                following.waiting.popleft()
            if not following.waiting:
                continue
            if self._has_place(following):
                self._start(following.waiting.popleft())
                passed_over = 0
            else:
                passed_over += 1
            if following.waiting:
                self._waiting.append(following)


class _Destination:
    """A destination whose endpoints are probed."""

    def __init__(self, prober: Prober, destination: Destination, check: HealthCheck) -> None:
        self.prober = prober
        self.destination = destination
        self.check = check
        self.thresholds = Thresholds(check.unhealthy_threshold, check.healthy_threshold)
        self.endpoints: dict[str, _Endpoint] = {}
        self.running = 0
        """Probes under way."""
        self.waiting: deque[_Endpoint] = deque()
        """Endpoints whose probes are due."""
        self._kept: Kept[EndpointHealth] = Kept()

    def configure(self, destination: Destination, check: HealthCheck, addresses: Addresses) -> None:
        before, self.destination, self.check = self.destination, destination, check
        self.thresholds = Thresholds(check.unhealthy_threshold, check.healthy_threshold)
        now = asyncio.get_running_loop().time()
        for identifier in [each for each in self.endpoints if each not in addresses]:
            gone = self.endpoints.pop(identifier)
            gone.stop()
            if gone.health.probed_at is not None:
                self._kept.keep(identifier, gone.health, now)
        is_changed = _what_matters(before) != _what_matters(destination)
        for identifier, (host, port) in addresses.items():
            endpoint = self.endpoints.get(identifier)
            if endpoint is None:
                endpoint = _Endpoint(self, identifier, self._kept.take(identifier, now))
                self.endpoints[identifier] = endpoint
            elif not is_changed:
                continue
            endpoint.configure(target(destination, check, host, port))

    def stop(self) -> None:
        for endpoint in self.endpoints.values():
            endpoint.stop()


class _Endpoint:
    """An endpoint that is probed: one probe after the other."""

    __slots__ = ("_identifier", "_is_due", "_target", "_timer", "destination", "health", "is_stopped", "task")

    def __init__(self, destination: _Destination, identifier: str, health: EndpointHealth | None) -> None:
        self.destination = destination
        self._identifier = identifier
        self._target: Target | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False
        """It is being probed, or waits for its turn."""
        self.task: asyncio.Task[None] | None = None
        self.is_stopped = False
        self.health = health if health is not None else EndpointHealth()

    def configure(self, target: Target) -> None:
        """Probe it soon, as *target* says; its health stays what it is until then."""
        self._target = target
        if self.task is not None:
            # It asks what nobody wants to know any more.
            self.task.cancel()
            self.task = None
            self._is_due = False
        if not self._is_due:
            loop = asyncio.get_running_loop()
            self._schedule(first_probe_at(loop.time(), self.destination.check.interval.seconds, random.random()))

    def stop(self) -> None:
        """Probe it no more."""
        self.is_stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.task is not None:
            self.task.cancel()
            self.task = None

    async def probe(self) -> None:
        """Make one probe, and see to the next one."""
        began = asyncio.get_running_loop().time()
        assert self._target is not None
        reason: str | None = ""
        try:
            await probe(self._target, self.destination.prober.resolver)
        except ProbeFailed as failure:
            reason = str(failure)
        except NoResult as lack:
            reason = None
            self.destination.prober.lacks(str(lack))
        except Exception as error:  # noqa: BLE001 - an endpoint that was probed no more would never come back
            _log.exception("probe failed in an unknown way", endpoint=self._identifier)
            reason = str(error) or type(error).__name__
        if self.task is not asyncio.current_task():
            return  # stopped, or begun anew
        self.task = None
        if reason is not None:
            self._judge(reason)
        self._is_due = False
        self._schedule(next_probe_at(began, self.destination.check.interval.seconds, random.random()))

    def _judge(self, reason: str) -> None:
        destination, health = self.destination, self.health
        if not reason:
            if health.succeeded(time.time(), destination.thresholds):
                _log.info("endpoint is healthy again", **self._names)
                destination.prober.judged(destination.destination.id)
        elif health.failed(time.time(), destination.thresholds, reason):
            _log.warning("endpoint is unhealthy", reason=reason, **self._names)
            destination.prober.judged(destination.destination.id)

    @property
    def _names(self) -> dict[str, str]:
        destination = self.destination.destination
        return {"destination": destination.id, "name": destination.name, "endpoint": self._identifier}

    def _schedule(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(at, self._due)

    def _due(self) -> None:
        self._timer = None
        self._is_due = True
        self.destination.prober.start(self)


def _what_matters(destination: Destination) -> tuple[object, ...]:
    """The settings that make a probe what it is."""
    options = destination.options
    return (
        options.health_check,
        options.tls,
        options.http2,
        options.timeouts.dual_stack_fallback,
        destination.host,
    )
