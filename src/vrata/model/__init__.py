"""The model: entities as the API, the store and snapshots know them.

An *entity* (listener, destination, route, group, middleware, secret) is one JSON *document*; a *part* is an object
inside it. Reading a document checks everything that can be judged by looking at this document alone; each broken
rule becomes a *problem* that names the member and the reason. Flow: document → `parse` → frozen entity →
`document` → store and snapshot. Nothing here does I/O, and no entity looks at another one.
"""

from types import MappingProxyType

from vrata.model.destination import Destination, Endpoint
from vrata.model.duration import Duration, parse_duration
from vrata.model.entity import Entity
from vrata.model.errors import InvalidEntity, Problem
from vrata.model.group import RouteGroup
from vrata.model.listener import Listener
from vrata.model.middleware import Middleware
from vrata.model.route import Route
from vrata.model.secret import Secret

KINDS: MappingProxyType[str, type[Entity]] = MappingProxyType(
    {entity.kind: entity for entity in (Listener, Destination, Route, RouteGroup, Middleware, Secret)}
)
"""Entity classes by the name of their kind."""

__all__ = [
    "KINDS",
    "Destination",
    "Duration",
    "Endpoint",
    "Entity",
    "InvalidEntity",
    "Listener",
    "Middleware",
    "Problem",
    "Route",
    "RouteGroup",
    "Secret",
    "parse_duration",
]
