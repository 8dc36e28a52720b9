"""One destination of a plan, and the choice between the destinations of a route."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Generic, TypeVar

from vrata.policy.balancing.weighted_random import WeightedRandom
from vrata.proxy.contracts import ClientRequest, UpstreamTimeouts

SelectorT = TypeVar("SelectorT")


class Destination(Generic[SelectorT]):
    """Never changes; what survives a swap (pools, rotation) hangs on the selector's endpoints."""

    __slots__ = ("authority", "destination_id", "host", "request_timeout", "selector", "timeouts")

    def __init__(
        self,
        destination_id: str,
        authority: bytes,
        host: str,
        selector: SelectorT,
        request_timeout: float,
        timeouts: UpstreamTimeouts,
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

    def __repr__(self) -> str:
        return f"<Destination {self.destination_id}>"


class DestinationSplit(Generic[SelectorT]):
    """The destinations of one route by weight. Unknown ones are left out when the plan is made."""

    __slots__ = ("_destinations", "_random", "_weighted")

    def __init__(self, destinations: Sequence[tuple[Destination[SelectorT], int]], random: Random) -> None:
        self._destinations = [destination for destination, _ in destinations]
        self._weighted = WeightedRandom([weight for _, weight in destinations]) if len(destinations) > 1 else None
        self._random: Callable[[], float] = random.random

    def pick(self, request: ClientRequest) -> Destination[SelectorT] | None:
        """The destination of *request*; None when the route has none that exists."""
        if self._weighted is not None:
            return self._destinations[self._weighted.pick(self._random)]
        return self._destinations[0] if self._destinations else None
