"""STICKY: a session keeps its destination, whatever becomes of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from vrata.policy.balancing.hash_ring import HashRing
from vrata.policy.session_cookie import SessionCookie
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.destination.consistent import ConsistentSplit
from vrata.proxy.destination.destination import Destination, SelectorT
from vrata.proxy.sessions.pins import Pins, Places


class StickySplit(ConsistentSplit[SelectorT], Places[Destination[SelectorT]]):
    """The destinations of one route, whose sessions a store keeps.

    Those that it does not know, or cannot say where they are, go where the ring has them, which is by weight.
    """

    __slots__ = ("_indexes", "_pins")

    def __init__(
        self,
        destinations: Sequence[tuple[Destination[SelectorT], int]],
        random: Random,
        ring: HashRing,
        cookie: SessionCookie,
        route_id: str,
        pins: Pins,
    ) -> None:
        super().__init__(destinations, random, ring, cookie, route_id)
        self._pins = pins
        self._indexes = {each.destination_id.encode(): index for index, each in enumerate(self.destinations)}

    @property
    def sessions(self) -> Places[Destination[SelectorT]] | None:
        """This."""
        return self

    @property
    def pins(self) -> Pins:
        """How its sessions are kept."""
        return self._pins

    def unpinned(self, request: ClientRequest) -> Destination[SelectorT] | None:
        """The one that the ring has it at."""
        return self.pick(request)

    def name_of(self, place: Destination[SelectorT]) -> bytes:
        """Its ID."""
        return place.destination_id.encode()

    def pinned(self, name: bytes) -> Destination[SelectorT] | None:
        """The destination of that ID, if it may be chosen. Its weight does not matter."""
        index = self._indexes.get(name, -1)
        if index < 0:
            return None
        destination = self.destinations[index]
        selector = destination.selector
        if (selector.has_usable and not selector.is_panic) or index in self.candidates():
            return destination
        return None
