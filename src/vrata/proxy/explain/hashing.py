"""The endpoint that a request's hash key leads to, where endpoints are chosen by hash."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TypeVar

from vrata.model.balancing import HashPolicy
from vrata.model.destination import Destination
from vrata.policy.balancing.hash_ring import building_ring, nodes_by_weight
from vrata.policy.balancing.maglev import building_table
from vrata.policy.session_cookie import SessionCookie
from vrata.proxy.explain.entry import Document
from vrata.proxy.listener.request import DownstreamRequest
from vrata.proxy.selectors import hash_key

MOST_SLOTS = 200_000
"""Slots of a table that is built for one explanation."""

T = TypeVar("T")


def preferred_endpoint(destination: Destination, request: DownstreamRequest) -> Document | None:
    """Say which endpoint of *destination* takes *request* if it can, and what of the request decides.

    None when nothing of the request does, or it would take long to find out.
    """
    balancing = destination.options.endpoint_balancing
    endpoints = destination.static_endpoints
    identities = [endpoint.address.encode() for endpoint in endpoints]
    weights = [endpoint.weight for endpoint in endpoints]
    if balancing.algorithm == "RING_HASH" and balancing.ring_hash.ring_size.min <= MOST_SLOTS:
        policy = balancing.ring_hash.hash_policy
    elif balancing.algorithm == "MAGLEV" and balancing.maglev.table_size <= MOST_SLOTS:
        policy = balancing.maglev.hash_policy
    else:
        return None
    source = _source(policy, request)
    if not source:
        return None
    key = hash_key(policy, destination.id).of(request, sets_cookies=False)
    if balancing.algorithm == "RING_HASH":
        ring = _built(building_ring(identities, nodes_by_weight(weights, balancing.ring_hash.ring_size.min)))
        index = ring.pick(key)
    else:
        index = _built(building_table(identities, weights, balancing.maglev.table_size)).pick(key)
    return {"address": endpoints[index].address, "hashed": source} if index >= 0 else None


def _source(policy: Sequence[HashPolicy], request: DownstreamRequest) -> str:
    """Name what the key of *request* is made of; empty when it begins a session, whose identifier is drawn."""
    for entry in policy:
        if entry.header is not None:
            if request.header(entry.header.name.lower()):
                return f"header {entry.header.name}"
        elif entry.cookie is not None:
            cookie = SessionCookie(entry.cookie.name, entry.cookie.ttl.seconds)
            return f"cookie {entry.cookie.name}" if request.session(cookie, starts=False) else ""
        elif entry.source_ip is not None and entry.source_ip.enabled:
            break
    return "client address"


def _built(building: Generator[None, None, T]) -> T:
    while True:
        try:
            next(building)
        except StopIteration as end:
            built: T = end.value
            return built
