"""Breaker gauges: what all workers count together of a destination with a circuit breaker, read from shared memory.

The supervisor only reads. It holds the rows as long as the destination has a breaker, as the workers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeAlias

from vrata.model.destination import Destination
from vrata.proxy.endpoint_status import BreakerStatus, LimitsUse, LimitUse

Described: TypeAlias = Callable[[int], BreakerStatus]
"""What the word of a breaker says."""


class Count(Protocol):
    """A number that workers count together."""

    @property
    def total(self) -> int:
        """The sum over all of them."""
        ...

    def leave(self) -> None:
        """Want to know no more."""
        ...


class Word(Protocol):
    """A number that every worker changes."""

    @property
    def value(self) -> int:
        """What it is now."""
        ...

    def leave(self) -> None:
        """Want to know no more."""
        ...


class Shared(Protocol):
    """The table that the workers share."""

    def count(self, name: str) -> Count:
        """The number called *name*."""
        ...

    def word(self, name: str) -> Word:
        """The word called *name*."""
        ...


LIMITED: Final = ("connections", "pending", "requests", "retries")
"""What a circuit breaker limits, as the names of the counts begin."""


class _Gauge:
    def __init__(self, shared: Shared, destination_id: str) -> None:
        self.breaker = shared.word(f"breaker {destination_id}")
        self.counts = [shared.count(f"{name} {destination_id}") for name in LIMITED]

    def leave(self) -> None:
        self.breaker.leave()
        for count in self.counts:
            count.leave()


class BreakerGauges:
    """The gauges of all destinations with a circuit breaker. *described* says what the word of a breaker means."""

    def __init__(self, shared: Shared, described: Described) -> None:
        self._shared = shared
        self._described = described
        self._gauges: dict[str, _Gauge] = {}

    def __repr__(self) -> str:
        return f"<BreakerGauges of {len(self._gauges)} destinations>"

    def follow(self, destinations: Iterable[Destination]) -> None:
        """Read those of *destinations* that have a breaker, and no others."""
        wanted = {found.id for found in destinations if found.options.circuit_breaker is not None}
        for destination_id in self._gauges.keys() - wanted:
            self._gauges.pop(destination_id).leave()
        for destination_id in wanted - self._gauges.keys():
            self._gauges[destination_id] = _Gauge(self._shared, destination_id)

    def read(self, destination: Destination) -> tuple[BreakerStatus | None, LimitsUse | None]:
        """Return the state of the breaker and the use of its limits as of now; None twice where there is none."""
        gauge, settings = self._gauges.get(destination.id), destination.options.circuit_breaker
        if gauge is None or settings is None:
            return None, None
        connections, pending, requests, retries = (count.total for count in gauge.counts)
        limits = LimitsUse(
            LimitUse(connections, settings.max_connections),
            LimitUse(pending, settings.max_pending_requests),
            LimitUse(requests, settings.max_requests),
            LimitUse(retries, settings.max_retries),
        )
        return self._described(gauge.breaker.value), limits
