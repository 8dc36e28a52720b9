"""From balancing settings to what chooses: the selectors of destinations, the splits of routes, and their tables.

Tables are built in slices, and kept for the next plan while what they depend on stays the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Sequence
from random import Random
from typing import TypeAlias

from vrata.model import Destination as DestinationEntity
from vrata.model.balancing import HashPolicy
from vrata.model.forward import Forward
from vrata.policy.balancing.hash_ring import HashRing, building_ring, nodes_by_weight
from vrata.policy.balancing.maglev import MaglevTable, building_table
from vrata.policy.balancing.peak_ewma import PeakEwma
from vrata.policy.session_cookie import SessionCookie
from vrata.proxy.action.forward import PooledDestination, PooledEndpoint
from vrata.proxy.destination.consistent import NODES_PER_WEIGHT, ConsistentSplit
from vrata.proxy.destination.destination import DestinationSplit
from vrata.proxy.destination.sticky import StickySplit
from vrata.proxy.endpoint.hash_key import AddressSource, CookieSource, HashKey, HashSource, HeaderSource
from vrata.proxy.endpoint.hashed import HashSelector
from vrata.proxy.endpoint.loaded import LeastRequestSelector, PeakEwmaSelector
from vrata.proxy.endpoint.selection import (
    EndpointSelector,
    RandomSelector,
    RoundRobinSelector,
    WeightedRoundRobinSelector,
)
from vrata.proxy.endpoint.sticky import NODES, StickySelector
from vrata.proxy.runtime.registry import RuntimeRegistry
from vrata.proxy.sessions.pins import Pins
from vrata.proxy.upstream.pool import EndpointPool

Selector: TypeAlias = EndpointSelector[EndpointPool]
Split: TypeAlias = DestinationSplit[Selector]
RingKey: TypeAlias = tuple[tuple[bytes, ...], tuple[int, ...]]
TableKey: TypeAlias = tuple[tuple[bytes, ...], tuple[int, ...], int]


class Tables:
    """Rings by identities and numbers of nodes, and Maglev tables by identities, weights and size."""

    def __init__(self) -> None:
        self.rings: dict[RingKey, HashRing] = {}
        """Of endpoints."""
        self.splits: dict[RingKey, HashRing] = {}
        """Of the destinations of routes."""
        self.maglevs: dict[TableKey, MaglevTable] = {}


class SelectorFactory:
    """Makes the selectors and splits of one plan."""

    def __init__(self, registry: RuntimeRegistry, random: Random, before: Tables) -> None:
        """*before* are the tables of the last plan."""
        self._registry = registry
        self._random = random
        self._before = before
        self._now: Callable[[], float] = asyncio.get_running_loop().time
        self.tables = Tables()
        """Those of this plan."""

    def selecting(
        self, entity: DestinationEntity, endpoints: Sequence[PooledEndpoint]
    ) -> Generator[None, None, Selector]:
        """Make what chooses among the *endpoints* of *entity*."""
        balancing = entity.options.endpoint_balancing
        weights = [endpoint.weight for endpoint in endpoints]
        match balancing.algorithm:
            case "RANDOM":
                return RandomSelector(endpoints, self._random)
            case "LEAST_REQUEST":
                pools = [endpoint.pool for endpoint in endpoints]
                return LeastRequestSelector(endpoints, pools, balancing.least_request.choice_count, self._random)
            case "PEAK_EWMA":
                pools = [endpoint.pool for endpoint in endpoints]
                latencies = [_measured(pool) for pool in pools]
                return PeakEwmaSelector(endpoints, pools, latencies, self._random, self._now)
            case "RING_HASH":
                nodes = nodes_by_weight(weights, balancing.ring_hash.ring_size.min)
                ring = yield from self._ring([endpoint.identifier for endpoint in endpoints], nodes)
                return HashSelector(endpoints, ring, hash_key(balancing.ring_hash.hash_policy, entity.id))
            case "MAGLEV":
                identities = tuple(endpoint.identifier.encode() for endpoint in endpoints)
                table = yield from self._maglev((identities, tuple(weights), balancing.maglev.table_size))
                return HashSelector(endpoints, table, hash_key(balancing.maglev.hash_policy, entity.id))
            case "STICKY":
                return (yield from self._sticky(entity, endpoints, weights))
            case _:
                if len(set(weights)) > 1:
                    return WeightedRoundRobinSelector(endpoints, self._random)
                return RoundRobinSelector(endpoints, self._registry.rotation(entity.id))

    def splitting(
        self, forward: Forward, route_id: str, known: Sequence[tuple[PooledDestination, int]]
    ) -> Generator[None, None, Split]:
        """Make what chooses among the *known* destinations of a route, which have weights."""
        balancing = forward.destination_balancing
        if balancing.algorithm == "WEIGHTED_RANDOM" or len(known) < 2:
            return DestinationSplit(known, self._random)
        nodes = [weight * NODES_PER_WEIGHT for _, weight in known]
        key = _ring_key([destination.destination_id for destination, _ in known], nodes)
        ring = yield from _building(key, self.tables.splits, self._before.splits)
        if balancing.algorithm == "WEIGHTED_CONSISTENT_HASH":
            settings = balancing.weighted_consistent_hash.cookie
            cookie = SessionCookie(settings.name, settings.ttl.seconds)
            return ConsistentSplit(known, self._random, ring, cookie, route_id)
        settings = balancing.sticky.cookie
        cookie = SessionCookie(settings.name, settings.ttl.seconds, is_strict=True)
        store = self._registry.session_store
        if store is None:
            return ConsistentSplit(known, self._random, ring, cookie, route_id)
        store.open()
        pins = Pins(store, cookie, settings.ttl.seconds, route_id)
        return StickySplit(known, self._random, ring, cookie, route_id, pins)

    def _sticky(
        self, entity: DestinationEntity, endpoints: Sequence[PooledEndpoint], weights: Sequence[int]
    ) -> Generator[None, None, Selector]:
        ring = yield from self._ring([endpoint.identifier for endpoint in endpoints], nodes_by_weight(weights, NODES))
        settings = entity.options.endpoint_balancing.sticky.cookie
        cookie = SessionCookie(settings.name, settings.ttl.seconds, is_strict=True)
        key = HashKey([CookieSource(cookie)], entity.id)
        store = self._registry.session_store
        if store is None:
            return HashSelector(endpoints, ring, key)
        store.open()
        return StickySelector(endpoints, ring, key, Pins(store, cookie, settings.ttl.seconds, f"{entity.id}:ep"))

    def _ring(self, identities: Sequence[str], nodes: Sequence[int]) -> Generator[None, None, HashRing]:
        return (yield from _building(_ring_key(identities, nodes), self.tables.rings, self._before.rings))

    def _maglev(self, key: TableKey) -> Generator[None, None, MaglevTable]:
        table = self.tables.maglevs.get(key) or self._before.maglevs.get(key)
        if table is None:
            table = yield from building_table(*key)
        self.tables.maglevs[key] = table
        return table


def _ring_key(identities: Sequence[str], nodes: Sequence[int]) -> RingKey:
    return tuple(identity.encode() for identity in identities), tuple(nodes)


def _building(
    key: RingKey, rings: dict[RingKey, HashRing], before: dict[RingKey, HashRing]
) -> Generator[None, None, HashRing]:
    """Put the ring of *key* among *rings*: one of those that were there *before*, or else a new one."""
    ring = rings.get(key) or before.get(key)
    if ring is None:
        ring = yield from building_ring(*key)
    rings[key] = ring
    return ring


def _measured(pool: EndpointPool) -> PeakEwma:
    """What is known of the endpoint's times, which are measured from now on."""
    if pool.latency is None:
        pool.latency = PeakEwma()
    return pool.latency


def hash_key(policy: Sequence[HashPolicy], destination_id: str) -> HashKey:
    """What of a request decides where the destination chooses by *policy*."""
    sources: list[HashSource] = []
    for entry in policy:
        if entry.header is not None:
            sources.append(HeaderSource(entry.header.name))
        elif entry.cookie is not None:
            sources.append(CookieSource(SessionCookie(entry.cookie.name, entry.cookie.ttl.seconds)))
        elif entry.source_ip is not None and entry.source_ip.enabled:
            sources.append(AddressSource())
    return HashKey(sources, destination_id)
