"""RING_HASH and MAGLEV: the same endpoint for the same key, on every proxy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from vrata.proxy.contracts import ClientRequest
from vrata.proxy.endpoint.hash_key import HashKey
from vrata.proxy.endpoint.selection import Endpoint, EndpointSelector, PoolT


class HashTable(Protocol):
    """A ring, or a table."""

    def pick(self, key: int) -> int:
        """The index of the endpoint for *key*; -1 when there is none."""
        ...

    def preferences(self, key: int) -> Iterator[int]:
        """That one, and where *key* goes without it, and so on."""
        ...


class HashSelector(EndpointSelector[PoolT]):
    """The endpoint that the request's key leads to; past those that are not usable, to the next.

    The table is that of all endpoints, usable or not: keys of the others stay where they are.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint[PoolT]],
        table: HashTable,
        key: HashKey,
    ) -> None:
        super().__init__(endpoints)
        self._table = table
        self._key = key
        self._passed_over: frozenset[str] = frozenset()

    def pick(self, request: ClientRequest, sets_cookies: bool = True) -> Endpoint[PoolT] | None:
        """The endpoint of the request's key."""
        usable = self.usable
        key = self._key.of(request, sets_cookies=sets_cookies)
        if len(usable) < len(self.endpoints):
            return self._preferred(key, [])
        index = self._table.pick(key)
        return self.endpoints[index] if index >= 0 else None

    def pick_other(self, request: ClientRequest, tried: list[str]) -> Endpoint[PoolT] | None:
        """The first of the key's preferences that is usable and not tried."""
        if not self.usable:
            return None
        return self._preferred(self._key.of(request, sets_cookies=True), tried)

    def _preferred(self, key: int, tried: list[str]) -> Endpoint[PoolT] | None:
        passed_over = self._passed_over
        for index in self._table.preferences(key):
            endpoint = self.endpoints[index]
            if endpoint.identifier not in passed_over and endpoint.identifier not in tried:
                return endpoint
        return None

    def _adopt(self, usable: Sequence[Endpoint[PoolT]]) -> None:
        good = {endpoint.identifier for endpoint in usable}
        self._passed_over = frozenset(each.identifier for each in self.endpoints if each.identifier not in good)
