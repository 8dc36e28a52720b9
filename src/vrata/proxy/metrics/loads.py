"""Loads: what each endpoint carries at the moment, as the workers last said.

A hand-over names the endpoints that are not idle, whether or not any listener has metrics; all others are idle. The
numbers of a worker that has ended are gone with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from vrata.model.host import host_and_port

EndpointLoads: TypeAlias = Mapping[str, Sequence[int]]
"""What the endpoints of one destination carry, by ``host:port``: attempts under way, and open connections."""


IDLE: Final = (0, 0)


class Carrier(Protocol):
    """Who carries the requests to one endpoint."""

    @property
    def in_flight(self) -> int:
        """Attempts under way."""
        ...

    @property
    def connections(self) -> int:
        """Open connections."""
        ...


def carried(carriers: Mapping[tuple[str, str, int], Carrier]) -> dict[str, EndpointLoads]:
    """Return the loads of the endpoints that are not idle, by destination ID.

    *carriers* are those of one worker, by the destination's ID, host and port.
    """
    loads: dict[str, dict[str, Sequence[int]]] = {}
    for (destination_id, host, port), carrier in carriers.items():
        active, connections = carrier.in_flight, carrier.connections
        if active or connections:
            loads.setdefault(destination_id, {})[host_and_port(host, port)] = (active, connections)
    return dict(loads)


class Loads:
    """The sums over all workers of a proxy."""

    def __init__(self) -> None:
        self._by_worker: dict[object, Mapping[str, EndpointLoads]] = {}

    def __repr__(self) -> str:
        return f"<Loads of {len(self._by_worker)} workers>"

    def put(self, worker: object, loads: Mapping[str, EndpointLoads]) -> None:
        """*worker* carries these *loads*, by destination, and nothing else."""
        self._by_worker[worker] = loads

    def forget(self, worker: object) -> None:
        """*worker* is no more."""
        self._by_worker.pop(worker, None)

    def of(self, destination_id: str) -> EndpointLoads:
        """Return the loads of a destination's endpoints that are not idle."""
        found = [loads[destination_id] for loads in self._by_worker.values() if destination_id in loads]
        if len(found) < 2:
            return found[0] if found else {}
        sums: dict[str, Sequence[int]] = {}
        for loads in found:
            for identifier, (active, connections) in loads.items():
                before = sums.get(identifier, IDLE)
                sums[identifier] = before[0] + active, before[1] + connections
        return sums
