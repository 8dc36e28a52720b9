"""Endpoints of one destination, and the pick among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Generic, Protocol, TypeVar

from vrata.policy.balancing.rotation import Rotation
from vrata.policy.balancing.weighted_random import WeightedRandom
from vrata.policy.balancing.weighted_rotation import WeightedRotation
from vrata.proxy.contracts import ClientRequest

PoolT = TypeVar("PoolT")


class Endpoint(Generic[PoolT]):
    """One backend: its identifier and its connections, which outlive any snapshot. Never changes."""

    __slots__ = ("identifier", "pool", "weight")

    def __init__(self, identifier: str, pool: PoolT, weight: int = 1) -> None:
        self.identifier = identifier
        """``host:port``, IPv6 hosts in brackets."""
        self.pool = pool
        self.weight = weight
        """Its share among the endpoints of its destination; positive."""

    def __repr__(self) -> str:
        return f"<Endpoint {self.identifier}>"


class EndpointSelector(Protocol[PoolT]):
    """Chooses the endpoint of a request."""

    def pick(self, request: ClientRequest, sets_cookies: bool = True) -> Endpoint[PoolT] | None:
        """The endpoint for *request*, or None when there is none.

        With *sets_cookies* a client without the cookie that decides is given one.
        """
        ...

    def pick_other(self, request: ClientRequest, tried: list[str]) -> Endpoint[PoolT] | None:
        """One that is not *tried* (identifiers), or None when all are."""
        ...


class RoundRobinSelector(EndpointSelector[PoolT]):
    """Each endpoint in turn; *rotation* is shared with earlier and later snapshots of the same destination."""

    def __init__(self, endpoints: Sequence[Endpoint[PoolT]], rotation: Rotation) -> None:
        self._endpoints = endpoints
        self._count = len(endpoints)
        self._next = rotation.next

    def pick(self, request: ClientRequest, sets_cookies: bool = True) -> Endpoint[PoolT] | None:
        """The endpoint whose turn it is."""
        return self._endpoints[self._next(self._count)] if self._count else None

    def pick_other(self, request: ClientRequest, tried: list[str]) -> Endpoint[PoolT] | None:
        """The first untried one, from the one whose turn it is."""
        for _ in range(self._count):
            endpoint = self._endpoints[self._next(self._count)]
            if endpoint.identifier not in tried:
                return endpoint
        return None


class WeightedRoundRobinSelector(EndpointSelector[PoolT]):
    """Each endpoint in turn, the heavier ones more often."""

    def __init__(self, endpoints: Sequence[Endpoint[PoolT]], random: Random) -> None:
        """*endpoints*, of which there is at least one, begin in an order of chance."""
        self._endpoints = endpoints
        self._random: Callable[[], float] = random.random
        self._next = WeightedRotation([endpoint.weight for endpoint in endpoints], self._random).next

    def pick(self, request: ClientRequest, sets_cookies: bool = True) -> Endpoint[PoolT] | None:
        """The endpoint whose turn it is."""
        return self._endpoints[self._next()]

    def pick_other(self, request: ClientRequest, tried: list[str]) -> Endpoint[PoolT] | None:
        """One of those that are not tried, by weight."""
        return _untried_by_weight(self._endpoints, tried, self._random)


class RandomSelector(EndpointSelector[PoolT]):
    """Any endpoint, each as likely as its weight says."""

    def __init__(self, endpoints: Sequence[Endpoint[PoolT]], random: Random) -> None:
        self._endpoints = endpoints
        self._random: Callable[[], float] = random.random
        weights = [endpoint.weight for endpoint in endpoints]
        self._weighted = WeightedRandom(weights) if len(set(weights)) > 1 else None

    def pick(self, request: ClientRequest, sets_cookies: bool = True) -> Endpoint[PoolT] | None:
        """A random endpoint."""
        if self._weighted is not None:
            return self._endpoints[self._weighted.pick(self._random)]
        count = len(self._endpoints)
        return self._endpoints[int(self._random() * count)] if count else None

    def pick_other(self, request: ClientRequest, tried: list[str]) -> Endpoint[PoolT] | None:
        """A random one of those that are not tried, by weight."""
        return _untried_by_weight(self._endpoints, tried, self._random)


def _untried_by_weight(
    endpoints: Sequence[Endpoint[PoolT]], tried: list[str], random: Callable[[], float]
) -> Endpoint[PoolT] | None:
    untried = [endpoint for endpoint in endpoints if endpoint.identifier not in tried]
    return untried[WeightedRandom([endpoint.weight for endpoint in untried]).pick(random)] if untried else None
