"""WEIGHTED_CONSISTENT_HASH: a session keeps its destination, on every proxy."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from vrata.policy.balancing.hash_ring import HashRing
from vrata.policy.balancing.stable_hash import stable_hash
from vrata.policy.session_cookie import SessionCookie
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.destination.destination import Destination, DestinationSplit, SelectorT

NODES_PER_WEIGHT = 100
"""Nodes on the ring of a destination of weight 1. Without weight there are none: no session begins there."""


class ConsistentSplit(DestinationSplit[SelectorT]):
    """The destinations of one route on a ring, and the cookie whose session is looked up on it."""

    __slots__ = ("_cookie", "_ring", "_salt")

    def __init__(
        self,
        destinations: Sequence[tuple[Destination[SelectorT], int]],
        random: Random,
        ring: HashRing,
        cookie: SessionCookie,
        route_id: str,
    ) -> None:
        """*ring* is that of the *destinations*; *route_id* keeps routes apart that share a cookie."""
        super().__init__(destinations, random)
        self._ring = ring
        self._cookie = cookie
        self._salt = f":{route_id}".encode()

    def pick(self, request: ClientRequest) -> Destination[SelectorT] | None:
        """The destination of the request's session, which begins here if it has none."""
        key = stable_hash(request.session(self._cookie) + self._salt)
        index = self._ring.pick(key)
        if index >= 0:
            destination = self.destinations[index]
            selector = destination.selector
            if selector.has_usable and not selector.is_panic:
                return destination
            candidates = self.candidates()
            for index in self._ring.preferences(key):
                if index in candidates:
                    return self.destinations[index]
        return super().pick(request)
