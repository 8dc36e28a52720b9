"""STICKY: a session keeps its endpoint, whichever others come and go."""

from __future__ import annotations

from collections.abc import Sequence

from vrata.proxy.contracts import ClientRequest
from vrata.proxy.endpoint.hash_key import HashKey
from vrata.proxy.endpoint.hashed import HashSelector, HashTable
from vrata.proxy.endpoint.selection import Endpoint, PoolT
from vrata.proxy.sessions.pins import Pins, Places

NODES = 16384
"""On the ring by which new sessions are spread: the share of each of three endpoints is off by about one percent."""


class StickySelector(HashSelector[PoolT], Places[Endpoint[PoolT]]):
    """The endpoints of one destination, whose sessions a store keeps.

    Those that it does not know, or cannot say where they are, go where the ring has them, which is by weight.
    """

    def __init__(self, endpoints: Sequence[Endpoint[PoolT]], ring: HashTable, key: HashKey, pins: Pins) -> None:
        super().__init__(endpoints, ring, key)
        self._pins = pins
        self._by_name: dict[bytes, Endpoint[PoolT]] = {}

    @property
    def sessions(self) -> Places[Endpoint[PoolT]] | None:
        """This."""
        return self

    @property
    def pins(self) -> Pins:
        """How its sessions are kept."""
        return self._pins

    def unpinned(self, request: ClientRequest) -> Endpoint[PoolT] | None:
        """The one that the ring has it at."""
        return self.pick(request)

    def name_of(self, place: Endpoint[PoolT]) -> bytes:
        """``host:port``."""
        return place.identifier.encode()

    def pinned(self, name: bytes) -> Endpoint[PoolT] | None:
        """The endpoint ``host:port``, if it is usable."""
        return self._by_name.get(name) if self.has_usable else None

    def _adopt(self, usable: Sequence[Endpoint[PoolT]]) -> None:
        super()._adopt(usable)
        self._by_name = {endpoint.identifier.encode(): endpoint for endpoint in usable}
