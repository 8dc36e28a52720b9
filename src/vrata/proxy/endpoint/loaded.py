"""LEAST_REQUEST and PEAK_EWMA: by what the endpoints have to do, and how long they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from vrata.policy.balancing.least_request import least_request_cost
from vrata.policy.balancing.peak_ewma import PeakEwma, peak_ewma_cost
from vrata.policy.balancing.power_of_choices import PowerOfChoices, cheapest
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.endpoint.selection import Endpoint, EndpointSelector, PoolT


class Load(Protocol):
    """What is asked of an endpoint's pool."""

    @property
    def in_flight(self) -> int:
        """Requests of this worker that the endpoint has not answered in full."""
        ...


class LeastRequestSelector(EndpointSelector[PoolT]):
    """Of a few by chance the least busy one."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint[PoolT]],
        loads: Sequence[Load],
        choices: int,
        random: Random,
    ) -> None:
        """*loads* are those of the *endpoints*, in their order."""
        super().__init__(endpoints)
        self._load_of = {endpoint.identifier: load for endpoint, load in zip(endpoints, loads, strict=True)}
        self._choices = choices
        self._random: Callable[[], float] = random.random
        # Of the usable ones.
        self._loads: list[Load] = []
        self._weights: list[int] = []
        self._choice = PowerOfChoices([], choices)

    def pick(self, request: ClientRequest, sets_cookies: bool = True) -> Endpoint[PoolT] | None:
        """The least busy of those drawn."""
        usable = self.usable
        index = self._choice.pick(self._random, self._cost)
        return usable[index] if index >= 0 else None

    def pick_other(self, request: ClientRequest, tried: list[str]) -> Endpoint[PoolT] | None:
        """The least busy of all that are not tried."""
        usable = self.usable
        untried = [at for at, endpoint in enumerate(usable) if endpoint.identifier not in tried]
        index = cheapest(untried, self._random, self._cost)
        return usable[index] if index >= 0 else None

    def _adopt(self, usable: Sequence[Endpoint[PoolT]]) -> None:
        self._loads = [self._load_of[endpoint.identifier] for endpoint in usable]
        self._weights = [endpoint.weight for endpoint in usable]
        self._choice = PowerOfChoices(self._weights, self._choices)

    def _cost(self, index: int) -> float:
        return least_request_cost(self._loads[index].in_flight, self._weights[index])


class PeakEwmaSelector(LeastRequestSelector[PoolT]):
    """Of two by chance the one that is expected to answer first."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint[PoolT]],
        loads: Sequence[Load],
        latencies: Sequence[PeakEwma],
        random: Random,
        now: Callable[[], float],
    ) -> None:
        """*latencies* are those of the *endpoints*, in their order, on the clock of *now*."""
        super().__init__(endpoints, loads, 2, random)
        self._latency_of = {
            endpoint.identifier: latency for endpoint, latency in zip(endpoints, latencies, strict=True)
        }
        self._latencies: list[PeakEwma] = []
        self._now = now

    def _adopt(self, usable: Sequence[Endpoint[PoolT]]) -> None:
        super()._adopt(usable)
        self._latencies = [self._latency_of[endpoint.identifier] for endpoint in usable]

    def _cost(self, index: int) -> float:
        expected = self._latencies[index].expected(self._now())
        return peak_ewma_cost(expected, self._loads[index].in_flight, self._weights[index])
