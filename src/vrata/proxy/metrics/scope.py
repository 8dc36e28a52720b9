"""The scope of metrics: which series a snapshot can have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from vrata.model.destination import Destination
from vrata.model.listener import Listener
from vrata.proxy.meters import middleware_key, route_key

ListenerKey: TypeAlias = tuple[str, str]
"""ID and address: a listener on another address is another one, and counts anew."""


def listener_key(listener: Listener) -> ListenerKey:
    """Return what the metrics of *listener* are kept under."""
    return listener.id, listener.bind_address


@dataclass(frozen=True, slots=True)
class MetricsScope:
    """What of a snapshot may be counted. Series of anything else are dropped."""

    listeners: Mapping[ListenerKey, Listener]
    """Those that ask for metrics."""
    routes: frozenset[str]
    """By :func:`~vrata.proxy.meters.route_key`."""
    destinations: frozenset[str]
    endpoints: frozenset[tuple[str, str]]
    """By the destination's ID and ``host:port``; of those that are listed."""
    discovering: frozenset[str] = frozenset()
    """Destinations that have other endpoints as well, found at run time."""
    middlewares: frozenset[str] = frozenset()
    """By :func:`~vrata.proxy.meters.middleware_key`."""

    @classmethod
    def empty(cls) -> MetricsScope:
        """Return the scope in which nothing is counted."""
        return cls({}, frozenset(), frozenset(), frozenset())

    @classmethod
    def of_documents(
        cls, listeners: Iterable[Listener], destinations: Iterable[Destination], entities: Mapping[str, Any]
    ) -> MetricsScope:
        """Read the scope off the *entities* of a snapshot document, of which two kinds have been parsed."""
        metered = {listener_key(listener): listener for listener in listeners if listener.metrics is not None}
        if not metered:
            return cls.empty()
        endpoints: set[tuple[str, str]] = set()
        discovering: set[str] = set()
        if any(listener.metrics and listener.metrics.collect.endpoint for listener in metered.values()):
            for destination in destinations:
                endpoints.update((destination.id, endpoint.address) for endpoint in destination.static_endpoints)
                if destination.options.discovery is not None:
                    discovering.add(destination.id)
        destination_ids = frozenset(document["id"] for document in _objects(entities, "destinations"))
        routes = frozenset(_routes(entities))
        return cls(
            metered, routes, destination_ids, frozenset(endpoints), frozenset(discovering), middleware_keys(entities)
        )

    def united_with(self, other: MetricsScope) -> MetricsScope:
        """Return the scope of both; a listener of both is as *other* has it."""
        return MetricsScope(
            {**self.listeners, **other.listeners},
            self.routes | other.routes,
            self.destinations | other.destinations,
            self.endpoints | other.endpoints,
            self.discovering | other.discovering,
            self.middlewares | other.middlewares,
        )


def middleware_keys(entities: Mapping[str, Any]) -> frozenset[str]:
    """Return what the middlewares among the *entities* of a snapshot document are counted under."""
    return frozenset(
        middleware_key(document["name"], document["type"])
        for document in _objects(entities, "middlewares")
        if isinstance(document.get("type"), str)
    )


def _objects(entities: Mapping[str, Any], collection: str) -> list[dict[str, Any]]:
    """The documents of *collection* that have an ID and a name."""
    documents = entities.get(collection)
    return [
        document
        for document in (documents if isinstance(documents, list) else ())
        if isinstance(document, dict) and isinstance(document.get("id"), str) and isinstance(document.get("name"), str)
    ]


def _routes(entities: Mapping[str, Any]) -> Iterable[str]:
    names = {document["id"]: document["name"] for document in _objects(entities, "routes")}
    grouped: set[str] = set()
    for group in _objects(entities, "groups"):
        route_ids = group.get("routeIds")
        for route_id in route_ids if isinstance(route_ids, list) else ():
            if isinstance(route_id, str) and route_id in names:
                grouped.add(route_id)
                yield route_key(names[route_id], group["name"])
    for route_id, name in names.items():
        if route_id not in grouped:
            yield route_key(name, "")
