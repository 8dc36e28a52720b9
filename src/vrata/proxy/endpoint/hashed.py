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
    """The endpoint that the request's key leads to; past those that are not to be used, to the next."""

    def __init__(self, endpoints: Sequence[Endpoint[PoolT]], table: HashTable, key: HashKey) -> None:
        self._endpoints = endpoints
        self._table = table
        self._key = key

    def pick(self, request: ClientRequest, sets_cookies: bool = True) -> Endpoint[PoolT] | None:
        """The endpoint of the request's key."""
        index = self._table.pick(self._key.of(request, sets_cookies=sets_cookies))
        return self._endpoints[index] if index >= 0 else None

    def pick_other(self, request: ClientRequest, tried: list[str]) -> Endpoint[PoolT] | None:
        """The first of the key's preferences that is not tried."""
        for index in self._table.preferences(self._key.of(request, sets_cookies=True)):
            endpoint = self._endpoints[index]
            if endpoint.identifier not in tried:
                return endpoint
        return None
