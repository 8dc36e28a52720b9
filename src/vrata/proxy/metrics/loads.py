"""Loads: what each endpoint carries at the moment, as the workers last said.

A hand-over names the endpoints that are not idle, whether or not any listener has metrics; all others are idle. The
numbers of a worker that has ended are gone with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

EndpointLoads: TypeAlias = Mapping[str, Sequence[int]]
"""What the endpoints of one destination carry in one worker, by ``host:port``: attempts under way, open connections."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one endpoint carries."""

    active: int = 0
    """Attempts under way."""
    connections: int = 0
    """Open connections, used or idle."""


IDLE: Final = Load()


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

    def of(self, destination_id: str) -> dict[str, Load]:
        """Return the loads of a destination's endpoints that are not idle, by ``host:port``."""
        sums: dict[str, Load] = {}
        for loads in self._by_worker.values():
            for identifier, (active, connections) in loads.get(destination_id, _NONE).items():
                before = sums.get(identifier, IDLE)
                sums[identifier] = Load(before.active + active, before.connections + connections)
        return sums


_NONE: Final[EndpointLoads] = {}
