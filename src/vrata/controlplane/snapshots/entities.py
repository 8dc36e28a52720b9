"""The entities of a snapshot as decoded documents, and who refers to whom among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

Document = dict[str, Any]

KINDS_OF_COLLECTIONS: Final[Mapping[str, str]] = {
    "listeners": "listener",
    "routes": "route",
    "groups": "group",
    "destinations": "destination",
    "middlewares": "middleware",
}
"""The five collections of a snapshot in the order of its document, and what one entity of each is called."""

COLLECTIONS: Final = tuple(KINDS_OF_COLLECTIONS)

_DESTINATION_OF_MIDDLEWARE = (("jwt", "jwksDestinationId"), ("extAuthz", "destinationId"), ("extProc", "destinationId"))


@dataclass(frozen=True, slots=True)
class Reference:
    """The member *path* of *source* holds the id *target* of an entity of *target_kind*."""

    kind: str
    source: Document
    path: str
    target_kind: str
    target: str


class Entities:
    """All documents of one snapshot, by collection, with secrets resolved."""

    def __init__(self, documents: Mapping[str, list[Document]]) -> None:
        self._documents = documents

    def __repr__(self) -> str:
        return f"<Entities {', '.join(f'{len(found)} {name}' for name, found in self._documents.items())}>"

    def __iter__(self) -> Iterator[tuple[str, Document]]:
        """Every entity with its kind."""
        for collection, kind in KINDS_OF_COLLECTIONS.items():
            for document in self._documents[collection]:
                yield kind, document

    def of(self, kind: str) -> list[Document]:
        """The documents of one kind."""
        return self._documents[kind + "s"]

    @cached_property
    def ids(self) -> Mapping[str, frozenset[str]]:
        """The ids of each kind."""
        return {kind: frozenset(document["id"] for document in self.of(kind)) for kind in KINDS_OF_COLLECTIONS.values()}

    @cached_property
    def references(self) -> tuple[Reference, ...]:
        """Every reference between entities, overrides of middlewares included."""
        return tuple(_references(self))

    @cached_property
    def dangling(self) -> tuple[Reference, ...]:
        """References to what is not there."""
        return tuple(
            reference for reference in self.references if reference.target not in self.ids[reference.target_kind]
        )

    @cached_property
    def attached_middlewares(self) -> frozenset[str]:
        """Ids of the middlewares that some route or group runs."""
        return frozenset(
            reference.target for reference in self.references if reference.path.startswith("middlewareIds")
        )


def _references(entities: Entities) -> Iterator[Reference]:
    for listener in entities.of("listener"):
        if "tracing" in listener:
            target = listener["tracing"]["destinationId"]
            yield Reference("listener", listener, "tracing.destinationId", "destination", target)
    for route in entities.of("route"):
        forward = route.get("forward", {})
        for index, entry in enumerate(forward.get("destinations", ())):
            path = f"forward.destinations[{index}].destinationId"
            yield Reference("route", route, path, "destination", entry["destinationId"])
        if "mirror" in forward:
            path = "forward.mirror.destinationId"
            yield Reference("route", route, path, "destination", forward["mirror"]["destinationId"])
        yield from _middleware_references("route", route)
    for group in entities.of("group"):
        for index, route_id in enumerate(group.get("routeIds", ())):
            yield Reference("group", group, f"routeIds[{index}]", "route", route_id)
        yield from _middleware_references("group", group)
    for middleware in entities.of("middleware"):
        for settings, member in _DESTINATION_OF_MIDDLEWARE:
            # Settings of another type than the middleware's own are not used.
            if middleware["type"] == settings and middleware.get(settings, {}).get(member):
                target = middleware[settings][member]
                yield Reference("middleware", middleware, f"{settings}.{member}", "destination", target)


def _middleware_references(kind: str, document: Document) -> Iterator[Reference]:
    for index, middleware_id in enumerate(document.get("middlewareIds", ())):
        yield Reference(kind, document, f"middlewareIds[{index}]", "middleware", middleware_id)
    for middleware_id in document.get("middlewareOverrides", ()):
        yield Reference(kind, document, f"middlewareOverrides.{middleware_id}", "middleware", middleware_id)
