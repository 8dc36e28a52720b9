"""The standing of endpoints: what the supervisor has found out about them, for all its workers.

The supervisor checks, ejects and discovers; workers are told the result as a whole whenever it changes, and replace
what they knew. Only what is out of the ordinary is said: an endpoint that is not mentioned is available.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class EndpointStanding:
    """What stands against one endpoint. Each verdict is on its own, with its reason; none changes another."""

    unhealthy: str = ""
    """Why its health checks have failed; empty while they have not."""
    ejected: str = ""
    """Why outlier detection has ejected it; empty while it has not."""
    ejected_until: float = 0.0
    """When the ejection ends, in seconds since the epoch."""

    @property
    def is_available(self) -> bool:
        """Whether nothing stands against it."""
        return not self.unhealthy and not self.ejected


@dataclass(frozen=True, slots=True)
class DiscoveredEndpoint:
    """An endpoint that was found at run time."""

    host: str
    port: int
    weight: int = 1


@dataclass(frozen=True, slots=True)
class DestinationStanding:
    """What was found out about one destination."""

    endpoints: Mapping[str, EndpointStanding] = field(default_factory=dict)
    """By identifier (``host:port``): those that something stands against."""
    discovered: tuple[DiscoveredEndpoint, ...] | None = None
    """What discovery has found, which may be nothing; None while it has found out nothing, or was not asked for."""
    discovered_for: str = ""
    """What it was found for: the destination's ``host:port`` at that moment. For another it is no answer."""


UNKNOWN = DestinationStanding()
"""Of a destination that nothing is said of."""


def encode(standings: Mapping[str, DestinationStanding]) -> bytes:
    """Write *standings*, by destination ID, as they travel."""
    return json.dumps(
        {destination_id: _document(standing) for destination_id, standing in standings.items()}, separators=(",", ":")
    ).encode()


def decode(content: bytes) -> dict[str, DestinationStanding]:
    """The reverse of :func:`encode`."""
    documents: dict[str, Any] = json.loads(content) if content else {}
    return {destination_id: _standing(document) for destination_id, document in documents.items()}


def _document(standing: DestinationStanding) -> dict[str, Any]:
    document: dict[str, Any] = {
        "endpoints": {
            identifier: [endpoint.unhealthy, endpoint.ejected, endpoint.ejected_until]
            for identifier, endpoint in standing.endpoints.items()
        }
    }
    if standing.discovered is not None:
        document["discovered"] = [[found.host, found.port, found.weight] for found in standing.discovered]
        document["for"] = standing.discovered_for
    return document


def _standing(document: dict[str, Any]) -> DestinationStanding:
    discovered = document.get("discovered")
    return DestinationStanding(
        {identifier: EndpointStanding(*verdicts) for identifier, verdicts in document["endpoints"].items()},
        None if discovered is None else tuple(DiscoveredEndpoint(*found) for found in discovered),
        document.get("for", ""),
    )
