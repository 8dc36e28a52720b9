"""Endpoints of one destination, and the pick among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Generic, Protocol, TypeVar

from vrata.policy.balancing.rotation import Rotation

PoolT = TypeVar("PoolT")


class Endpoint(Generic[PoolT]):
    """One backend: its identifier and its connections, which outlive any snapshot. Never changes."""

    __slots__ = ("identifier", "pool")

    def __init__(self, identifier: str, pool: PoolT) -> None:
        self.identifier = identifier
        """``host:port``, IPv6 hosts in brackets."""
        self.pool = pool

    def __repr__(self) -> str:
        return f"<Endpoint {self.identifier}>"


class EndpointSelector(Protocol[PoolT]):
    """Chooses the endpoint of a request."""

    def pick(self) -> Endpoint[PoolT] | None:
        """The endpoint to use, or None when there is none."""
        ...


class RoundRobinSelector(EndpointSelector[PoolT]):
    """Each endpoint in turn; *rotation* is shared with earlier and later snapshots of the same destination."""

    def __init__(self, endpoints: Sequence[Endpoint[PoolT]], rotation: Rotation) -> None:
        self._endpoints = endpoints
        self._count = len(endpoints)
        self._next = rotation.next

    def pick(self) -> Endpoint[PoolT] | None:
        """The endpoint whose turn it is."""
        return self._endpoints[self._next(self._count)] if self._count else None


class RandomSelector(EndpointSelector[PoolT]):
    """Any endpoint, each as likely as the others."""

    def __init__(self, endpoints: Sequence[Endpoint[PoolT]], random: Random) -> None:
        self._endpoints = endpoints
        self._random: Callable[[], float] = random.random

    def pick(self) -> Endpoint[PoolT] | None:
        """A random endpoint."""
        count = len(self._endpoints)
        return self._endpoints[int(self._random() * count)] if count else None
