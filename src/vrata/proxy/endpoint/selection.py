"""Endpoints of one destination, and the pick among those that are available."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Generic, TypeVar

from vrata.policy.availability import is_panic, usable
from vrata.policy.balancing.rotation import Rotation
from vrata.policy.balancing.weighted_random import WeightedRandom
from vrata.policy.balancing.weighted_rotation import WeightedRotation
from vrata.proxy.contracts import CensusEntry, ClientRequest
from vrata.proxy.endpoint.live_standing import LiveStanding
from vrata.proxy.endpoint.streaks import FailureStreaks
from vrata.proxy.sessions.pins import Places

PoolT = TypeVar("PoolT")


class Endpoint(Generic[PoolT]):
    """One backend: its identifier, and what outlives any snapshot: its connections and streaks. Never changes."""

    __slots__ = ("identifier", "pool", "streaks", "weight")

    def __init__(self, identifier: str, pool: PoolT, weight: int = 1, streaks: FailureStreaks | None = None) -> None:
        self.identifier = identifier
        """``host:port``, IPv6 hosts in brackets."""
        self.pool = pool
        self.weight = weight
        """Its share among the endpoints of its destination; positive."""
        self.streaks = streaks
        """Its failures in a row, where outlier detection wants to know them."""

    def __repr__(self) -> str:
        return f"<Endpoint {self.identifier}>"


class EndpointSelector(Generic[PoolT]):
    """Chooses the endpoint of a request. Each algorithm is a class below this one.

    The endpoints are fixed; which of them are *usable* follows their standing, and is looked at when that has changed.
    """

    def __init__(self, endpoints: Sequence[Endpoint[PoolT]]) -> None:
        self.endpoints = list(endpoints)
        self._live = LiveStanding()
        self._panic_threshold = 0
        self._version = -1
        self._usable: list[Endpoint[PoolT]] = []
        self._is_panic = False

    def __repr__(self) -> str:
        panic = ", panic" if self.is_panic else ""
        return f"<{type(self).__name__} {len(self.usable)} of {len(self.endpoints)} usable{panic}>"

    def follow(self, live: LiveStanding, panic_threshold: int) -> None:
        """Pass over endpoints as *live* says; none while fewer than *panic_threshold* percent of them are available."""
        self._live = live
        self._panic_threshold = panic_threshold
        self._version = -1

    @property
    def usable(self) -> list[Endpoint[PoolT]]:
        """Those that take requests now."""
        if self._live.version != self._version:
            self._refresh()
        return self._usable

    @property
    def has_usable(self) -> bool:
        """Whether there is one that takes requests."""
        return bool(self.usable)

    @property
    def is_panic(self) -> bool:
        """Whether so few are available that all take requests."""
        if self._live.version != self._version:
            self._refresh()
        return self._is_panic

    @property
    def sessions(self) -> Places[Endpoint[PoolT]] | None:
        """What knows where sessions are, where a store keeps them; None where :meth:`pick` is all there is to ask."""
        return None

    def pick(self, request: ClientRequest, sets_cookies: bool = True) -> Endpoint[PoolT] | None:
        """The endpoint for *request*, or None when there is none.

        With *sets_cookies* a client without the cookie that decides is given one.
        """
        raise NotImplementedError

    def pick_other(self, request: ClientRequest, tried: list[str]) -> Endpoint[PoolT] | None:
        """One that is not *tried* (identifiers), or None when all are."""
        raise NotImplementedError

    def census(self) -> Iterator[CensusEntry]:
        """Say of each endpoint how it stands."""
        for endpoint in self.endpoints:
            standing = self._live.of(endpoint.identifier)
            verdict = "unhealthy" if standing.unhealthy else "ejected" if standing.ejected else "available"
            reason = "; ".join(filter(None, (standing.unhealthy, standing.ejected)))
            yield CensusEntry(endpoint.identifier, verdict, reason)

    def _refresh(self) -> None:
        endpoints = self.endpoints
        available = [self._live.of(endpoint.identifier).is_available for endpoint in endpoints]
        self._version = self._live.version
        self._is_panic = is_panic(sum(available), len(endpoints), self._panic_threshold)
        self._usable = [endpoints[index] for index in usable(available, self._panic_threshold)]
        self._adopt(self._usable)

    def _adopt(self, usable: Sequence[Endpoint[PoolT]]) -> None:
        """Choose among these from now on."""


class RoundRobinSelector(EndpointSelector[PoolT]):
    """Each endpoint in turn; *rotation* is shared with earlier and later snapshots of the same destination."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint[PoolT]],
        rotation: Rotation,
    ) -> None:
        super().__init__(endpoints)
        self._next = rotation.next

    def pick(self, request: ClientRequest, sets_cookies: bool = True) -> Endpoint[PoolT] | None:
        """The endpoint whose turn it is."""
        usable = self.usable
        count = len(usable)
        return usable[self._next(count)] if count else None

    def pick_other(self, request: ClientRequest, tried: list[str]) -> Endpoint[PoolT] | None:
        """The first untried one, from the one whose turn it is."""
        usable = self.usable
        count = len(usable)
        for _ in range(count):
            endpoint = usable[self._next(count)]
            if endpoint.identifier not in tried:
                return endpoint
        return None


class WeightedRoundRobinSelector(EndpointSelector[PoolT]):
    """Each endpoint in turn, the heavier ones more often."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint[PoolT]],
        random: Random,
    ) -> None:
        """They begin in an order of chance, and again when others are usable."""
        super().__init__(endpoints)
        self._random: Callable[[], float] = random.random
        self._rotation: WeightedRotation | None = None

    def pick(self, request: ClientRequest, sets_cookies: bool = True) -> Endpoint[PoolT] | None:
        """The endpoint whose turn it is."""
        usable, rotation = self.usable, self._rotation
        return usable[rotation.next()] if rotation is not None else None

    def pick_other(self, request: ClientRequest, tried: list[str]) -> Endpoint[PoolT] | None:
        """One of those that are not tried, by weight."""
        return untried_by_weight(self.usable, tried, self._random)

    def _adopt(self, usable: Sequence[Endpoint[PoolT]]) -> None:
        weights = [endpoint.weight for endpoint in usable]
        self._rotation = WeightedRotation(weights, self._random) if weights else None


class RandomSelector(EndpointSelector[PoolT]):
    """Any endpoint, each as likely as its weight says."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint[PoolT]],
        random: Random,
    ) -> None:
        super().__init__(endpoints)
        self._random: Callable[[], float] = random.random
        self._weighted: WeightedRandom | None = None

    def pick(self, request: ClientRequest, sets_cookies: bool = True) -> Endpoint[PoolT] | None:
        """A random endpoint."""
        usable = self.usable
        if self._weighted is not None:
            return usable[self._weighted.pick(self._random)]
        count = len(usable)
        return usable[int(self._random() * count)] if count else None

    def pick_other(self, request: ClientRequest, tried: list[str]) -> Endpoint[PoolT] | None:
        """A random one of those that are not tried, by weight."""
        return untried_by_weight(self.usable, tried, self._random)

    def _adopt(self, usable: Sequence[Endpoint[PoolT]]) -> None:
        weights = [endpoint.weight for endpoint in usable]
        self._weighted = WeightedRandom(weights) if len(set(weights)) > 1 else None


def untried_by_weight(
    endpoints: Sequence[Endpoint[PoolT]], tried: list[str], random: Callable[[], float]
) -> Endpoint[PoolT] | None:
    """One of the *endpoints* that are not *tried*, by weight; None when all are."""
    untried = [endpoint for endpoint in endpoints if endpoint.identifier not in tried]
    return untried[WeightedRandom([endpoint.weight for endpoint in untried]).pick(random)] if untried else None
