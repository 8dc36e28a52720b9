"""The view of endpoints: the destinations of the snapshot in force, with everything that is known of them now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from vrata.model.destination import Destination
from vrata.policy.availability import is_panic
from vrata.proxy.endpoint_status import (
    ORDINARY,
    DestinationStatus,
    EndpointSource,
    EndpointStatus,
    EndpointWatch,
)
from vrata.proxy.members import members
from vrata.proxy.metrics.loads import IDLE, Loads
from vrata.proxy.standing import DiscoveredEndpoint
from vrata.proxy.supervisor.shared_gauges import SharedGauges

BREAKER_CHECK_INTERVAL: Final = 1.0
"""Seconds after which it is noticed at the latest that a breaker has opened or closed."""
MOST_ENDPOINTS: Final = 10_000
"""Endpoints in one acknowledgement, which a control plane has to take whole. With more of them those are left out that
there is nothing to say of; with more than that, the rest."""


_Discovered: TypeAlias = tuple[DiscoveredEndpoint, ...] | None


class EndpointView:
    """Puts together what *watch*, the workers' *loads* and the shared counts say."""

    def __init__(self, watch: EndpointWatch, loads: Loads, gauges: SharedGauges) -> None:
        self._watch = watch
        self._loads = loads
        self._gauges = gauges
        self._destinations: tuple[Destination, ...] = ()
        # Their endpoints, and with what discovered ones: they seldom change.
        self._known: dict[str, tuple[_Discovered, Mapping[str, tuple[int, EndpointSource]]]] = {}

    def __repr__(self) -> str:
        return f"<EndpointView of {len(self._destinations)} destinations>"

    def adopt(self, destinations: Iterable[Destination]) -> None:
        """These are the destinations that all workers serve."""
        self._destinations = tuple(sorted(destinations, key=lambda destination: destination.id))
        self._known.clear()
        self._gauges.follow(self._destinations)

    def statuses(self) -> tuple[DestinationStatus, ...]:
        """Return the status of every destination, by ID."""
        return tuple(self._status(destination) for destination in self._destinations)

    def acknowledged(self) -> tuple[DestinationStatus, ...]:
        """Return the same within what one acknowledgement holds."""
        statuses = self.statuses()
        if sum(len(status.endpoints) for status in statuses) <= MOST_ENDPOINTS:
            return statuses
        return tuple(_shortened(statuses, MOST_ENDPOINTS))

    async def watch_breakers(self, on_change: Callable[[], None]) -> None:
        """Call *on_change* when a breaker has opened or closed: workers do that, and nobody tells the supervisor."""
        before = self._gauges.breaker_states()
        while True:
            await asyncio.sleep(BREAKER_CHECK_INTERVAL)
            now = self._gauges.breaker_states()
            if now != before:
                before = now
                on_change()

    def _status(self, destination: Destination) -> DestinationStatus:
        watched = self._watch.watched(destination.id)
        loads = self._loads.of(destination.id)
        known = self._members(destination, watched.discovered)
        streaks = self._gauges.streaks(destination.id, known)
        endpoints: list[EndpointStatus] = []
        for identifier, (weight, source) in known.items():
            verdicts = watched.endpoints.get(identifier, ORDINARY)
            active, connections = loads.get(identifier, IDLE)
            streak = None if streaks is None else streaks[identifier]
            endpoints.append(
                EndpointStatus(
                    identifier, weight, source, verdicts.health, verdicts.outlier, active, connections, streak
                )
            )
        breaker, limits = self._gauges.breaker(destination)
        panic = _panic(endpoints, destination.options.panic_threshold)
        return DestinationStatus(
            destination.id,
            tuple(endpoints),
            panic,
            breaker,
            limits,
            watched.stale,
            has_outlier_detection=destination.options.outlier_detection is not None,
        )

    def _members(self, destination: Destination, discovered: _Discovered) -> Mapping[str, tuple[int, EndpointSource]]:
        """The endpoints of a destination by their identifier, each with its weight and source."""
        before = self._known.get(destination.id)
        if before is not None and before[0] == discovered:
            return before[1]
        listed = destination.static_endpoints if discovered is None else destination.endpoints
        static = {endpoint.address for endpoint in listed}
        known = {
            endpoint.address: (
                endpoint.weight,
                EndpointSource.STATIC if endpoint.address in static else EndpointSource.DISCOVERED,
            )
            for endpoint in members(destination, discovered)
        }
        self._known[destination.id] = discovered, known
        return known


def _panic(endpoints: list[EndpointStatus], threshold: int) -> str:
    available = sum(endpoint.is_available for endpoint in endpoints)
    if not is_panic(available, len(endpoints), threshold):
        return ""
    return (
        f"{available} of {len(endpoints)} endpoints are available, which is less than {threshold} %: all take requests"
    )


def _shortened(statuses: Iterable[DestinationStatus], room: int) -> Iterator[DestinationStatus]:
    for status in statuses:
        told = tuple(endpoint for endpoint in status.endpoints if not endpoint.is_ordinary)[:room]
        room -= len(told)
        yield replace(status, endpoints=told, omitted=len(status.endpoints) - len(told))
