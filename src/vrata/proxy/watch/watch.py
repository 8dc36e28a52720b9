"""The watch itself: destinations in, standings out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from vrata.model.destination import Destination
from vrata.model.host import host_and_port
from vrata.net.discovered import Discovery, DiscoveryTarget, FoundEndpoints, OnFound
from vrata.net.resolver import ResolvesNames
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.health import EndpointHealth
from vrata.policy.outlier import CLEAN, Record
from vrata.proxy.endpoint_status import (
    NO_OUTLIER,
    UNCHECKED,
    UNWATCHED,
    EndpointVerdicts,
    EndpointWatch,
    HealthState,
    HealthVerdict,
    OutlierVerdict,
    WatchedDestination,
)
from vrata.proxy.members import members
from vrata.proxy.standing import DestinationStanding, DiscoveredEndpoint, EndpointStanding
from vrata.proxy.watch.prober import Addresses, Prober
from vrata.proxy.watch.publisher import StandingsPublisher
from vrata.proxy.watch.sweeper import Ejection, Sweeper, WordOf

DiscoveryFactory = Callable[[OnFound], Discovery]
"""Makes what discovers endpoints and tells of them."""

_UNPROBED: Final = EndpointHealth()


class Watch(EndpointWatch):
    """Watches the endpoints of the destinations that are served.

    *words* gives the numbers that workers count streaks in. *on_change* is called when :meth:`watched` would answer
    something else; single probes are left aside. *discovery* is who finds endpoints; without it nobody does.
    *resolver* knows the addresses of endpoints that have names; absent = the system's name servers.
    """

    def __init__(
        self,
        tasks: TaskSupervisor,
        words: WordOf,
        on_change: Callable[[], None],
        discovery: DiscoveryFactory | None = None,
        resolver: ResolvesNames | None = None,
    ) -> None:
        self.publisher = StandingsPublisher(self._standing_of, on_change)
        self._prober = Prober(tasks, self.publisher.changed, resolver=resolver)
        self._sweeper = Sweeper(words, self.publisher.changed, on_change)
        self._destinations: dict[str, Destination] = {}
        # What was discovered, and for what.
        self._discovery = None if discovery is None else discovery(self._on_found)
        self._wanted: dict[str, DiscoveryTarget] = {}
        self._found: dict[str, tuple[DiscoveredEndpoint, ...]] = {}

    def __repr__(self) -> str:
        return f"<Watch {len(self._destinations)} destinations, {self._prober}, {self._sweeper}>"

    def configure(self, destinations: Iterable[Destination]) -> None:
        """Watch exactly these from now on. What is known of endpoints that are still there is kept."""
        before, self._destinations = self._destinations, {found.id: found for found in destinations}
        self._discover()
        for destination_id in before.keys() - self._destinations.keys():
            self._prober.forget(destination_id)
            self._sweeper.forget(destination_id)
            self.publisher.changed(destination_id)
        for destination_id, destination in self._destinations.items():
            if before.get(destination_id) != destination:
                self._look_at(destination)

    def watched(self, destination_id: str) -> WatchedDestination:
        """Return what is known of a destination at this moment."""
        destination = self._destinations.get(destination_id)
        if destination is None:
            return UNWATCHED
        health = self._prober.health(destination_id)
        records = self._sweeper.records(destination_id)
        ejections = self._sweeper.ejections(destination_id)
        verdicts = {
            identifier: EndpointVerdicts(
                _health_verdict(health.get(identifier, _UNPROBED)),
                _outlier_verdict(records.get(identifier, CLEAN), ejections.get(identifier)),
            )
            for identifier in self._addresses(destination)
            if identifier in health or identifier in records
        }
        stale = "" if self._discovery is None else self._discovery.trouble(destination_id)
        return WatchedDestination(verdicts, self._found.get(destination_id), stale)

    def stop(self) -> None:
        """Watch nothing any more, and tell nobody."""
        if self._discovery is not None:
            self._discovery.watch({})
        self._prober.stop()
        self._sweeper.stop()
        self.publisher.stop()

    def _discover(self) -> None:
        wanted = {
            destination.id: DiscoveryTarget(destination.options.discovery.type, destination.host, destination.port)
            for destination in self._destinations.values()
            if destination.options.discovery is not None
        }
        before, self._wanted = self._wanted, wanted
        for destination_id, target in before.items():
            # What was found for another target is no answer.
            if wanted.get(destination_id) != target:
                self._found.pop(destination_id, None)
        if self._discovery is not None and wanted != before:
            self._discovery.watch(wanted)

    def _on_found(self, destination_id: str, found: FoundEndpoints | None) -> None:
        destination = self._destinations.get(destination_id)
        if destination is None or destination_id not in self._wanted:
            return
        if found is None:
            self._found.pop(destination_id, None)
        else:
            self._found[destination_id] = tuple(DiscoveredEndpoint(host, port) for host, port in found)
        self._look_at(destination)

    def _look_at(self, destination: Destination) -> None:
        """The endpoints of a destination, or what is to be done with them, may have changed."""
        addresses = self._addresses(destination)
        self._prober.watch(destination, addresses)
        self._sweeper.watch(destination, addresses)
        self.publisher.changed(destination.id)

    def _addresses(self, destination: Destination) -> Addresses:
        found = members(destination, self._found.get(destination.id))
        return {endpoint.address: (endpoint.host, endpoint.port) for endpoint in found}

    def _standing_of(self, destination_id: str) -> DestinationStanding:
        unhealthy = {
            identifier: health.cause
            for identifier, health in self._prober.health(destination_id).items()
            if not health.is_healthy
        }
        ejections = self._sweeper.ejections(destination_id)
        endpoints: dict[str, EndpointStanding] = {}
        for identifier in sorted(unhealthy.keys() | ejections.keys()):
            ejection = ejections.get(identifier)
            endpoints[identifier] = EndpointStanding(
                unhealthy=unhealthy.get(identifier, ""),
                ejected="" if ejection is None else ejection.reason,
                ejected_until=0.0 if ejection is None else ejection.until,
            )
        found, target = self._found.get(destination_id), self._wanted.get(destination_id)
        if found is None or target is None:
            return DestinationStanding(endpoints)
        return DestinationStanding(endpoints, found, host_and_port(target.host, target.port))


def _health_verdict(health: EndpointHealth) -> HealthVerdict:
    if health.probed_at is None:
        return UNCHECKED
    return HealthVerdict(
        HealthState.HEALTHY if health.is_healthy else HealthState.UNHEALTHY,
        reason=health.reason if health.is_failing or not health.is_healthy else "",
        since=health.since or 0.0,
        last_probe=health.probed_at,
    )


def _outlier_verdict(record: Record, ejection: Ejection | None) -> OutlierVerdict:
    if record is CLEAN:
        return NO_OUTLIER
    return OutlierVerdict(
        ejected=ejection is not None,
        reason=record.reason,
        until=0.0 if ejection is None else ejection.until,
        ejections=record.ejections_ever,
        held_back=record.held_back_ever,
        held_back_reason=record.held_back,
    )
