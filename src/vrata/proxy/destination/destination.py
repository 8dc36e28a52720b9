"""One destination of a plan, and the choice between the destinations of a route."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Generic, Protocol, TypeVar

from vrata.policy.balancing.weighted_random import WeightedRandom
from vrata.proxy.contracts import CensusEntry, ClientRequest, UpstreamTimeouts
from vrata.proxy.destination.protection import Protection
from vrata.proxy.sessions.pins import Places


class ChoosesEndpoints(Protocol):
    """What a split asks of a destination's selector."""

    @property
    def has_usable(self) -> bool:
        """Whether there is an endpoint that takes requests."""
        ...

    @property
    def is_panic(self) -> bool:
        """Whether so few are available that all take requests."""
        ...

    def census(self) -> Iterator[CensusEntry]:
        """Say of each endpoint how it stands."""
        ...


SelectorT = TypeVar("SelectorT", bound=ChoosesEndpoints)


class Destination(Generic[SelectorT]):
    """What survives a swap (pools, rotation, standing) hangs on the selector and the protection.

    Nothing of it changes but the selector, when other endpoints are discovered.
    """

    __slots__ = ("authority", "destination_id", "host", "protection", "request_timeout", "selector", "timeouts")

    def __init__(
        self,
        destination_id: str,
        authority: bytes,
        host: str,
        selector: SelectorT,
        request_timeout: float,
        timeouts: UpstreamTimeouts,
        protection: Protection | None = None,
    ) -> None:
        self.destination_id = destination_id
        self.authority = authority
        """``host:port`` as it stands in a Host field."""
        self.host = host
        """The configured host alone."""
        self.selector = selector
        self.request_timeout = request_timeout
        """Seconds for a whole proxied request unless its route says otherwise; infinite for ``0s``."""
        self.timeouts = timeouts
        self.protection = protection
        """Circuit breaker and limits; None where there are none."""

    def __repr__(self) -> str:
        return f"<Destination {self.destination_id}>"


class DestinationSplit(Generic[SelectorT]):
    """The destinations of one route by weight. Unknown ones are left out when the plan is made.

    A destination without endpoints that take requests is passed over; so is one in panic, where others are not. One
    destination alone is taken as it is.
    """

    __slots__ = ("_random", "_weighted", "_weights", "destinations")

    def __init__(self, destinations: Sequence[tuple[Destination[SelectorT], int]], random: Random) -> None:
        self.destinations = [destination for destination, _ in destinations]
        self._weights = [weight for _, weight in destinations]
        self._weighted = WeightedRandom(self._weights) if len(destinations) > 1 else None
        self._random: Callable[[], float] = random.random

    @property
    def sessions(self) -> Places[Destination[SelectorT]] | None:
        """What knows where sessions are, where a store keeps them; None where :meth:`pick` is all there is to ask."""
        return None

    def pick(self, request: ClientRequest) -> Destination[SelectorT] | None:
        """The destination of *request*; None when the route has none that could take it."""
        if self._weighted is None:
            return self.destinations[0] if self.destinations else None
        destination = self.destinations[self._weighted.pick(self._random)]
        selector = destination.selector
        if selector.has_usable and not selector.is_panic:
            return destination
        candidates = self.candidates()
        if not candidates:
            return None
        weights = [self._weights[index] for index in candidates]
        return self.destinations[candidates[WeightedRandom(weights).pick(self._random)]]

    def candidates(self) -> list[int]:
        """The indexes of the destinations that may be chosen now."""
        usable = [index for index, each in enumerate(self.destinations) if each.selector.has_usable]
        calm = [index for index in usable if not self.destinations[index].selector.is_panic]
        return calm or usable

    def census(self) -> Iterator[CensusEntry]:
        """Say of each endpoint of each destination how it stands."""
        for destination in self.destinations:
            for entry in destination.selector.census():
                yield replace(entry, destination=destination.destination_id)
