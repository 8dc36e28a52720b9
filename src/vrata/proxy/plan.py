"""A plan: one snapshot, compiled. Immutable; swapped as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vrata.model import Destination as DestinationEntity
from vrata.proxy.action.forward import PooledDestination
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.listener.settings import ListenerSettings
from vrata.proxy.metrics.scope import MetricsScope
from vrata.proxy.middlewares import Used
from vrata.proxy.routing.candidate import Match
from vrata.proxy.routing.table import RouteTable
from vrata.proxy.runtime.registry import Uses
from vrata.proxy.status import EntityProblem


class Action(Protocol):
    """What a route does with the requests that match it."""

    def run(self, request: ClientRequest, match: Match[PlannedRoute], content: bytes, end: bool) -> None:
        """Take *request* over; its body begins with *content* and is complete when *end*."""
        ...


@dataclass(frozen=True)
class PlannedRoute:
    """One entry of the routing table: a route in one group, or on its own."""

    route_id: str
    name: str
    group: str
    """Name of the group, empty for a route on its own."""
    action: Action
    meter_key: str
    """What its requests are counted under (``meters.route_key``)."""


@dataclass(frozen=True)
class Plan:
    """Everything a worker serves with."""

    snapshot_id: str
    listeners: Mapping[str, ListenerSettings]
    """By bound address."""
    table: RouteTable[PlannedRoute]
    destinations: Mapping[str, PooledDestination]
    """By ID."""
    entities: Mapping[str, DestinationEntity]
    """What the destinations were made of, by ID."""
    uses: Uses
    """What it needs of what outlives plans."""
    instances: Used
    """Its middlewares."""
    metrics_scope: MetricsScope
    problems: tuple[EntityProblem, ...]
    """Entities that were left out."""
