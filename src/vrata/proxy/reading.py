"""Reading a snapshot document: its entities, and the entries that its routes and groups make, in their order.

What serves requests and what explains them read by the same rules: a bad entity is left out and reported, and only a
document that is no snapshot at all is rejected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from vrata.model import Entity, InvalidEntity, Route, RouteGroup
from vrata.proxy.status import EntityProblem

Read = dict[str, dict[str, tuple[Any, Entity]]]
"""By collection and ID: the document of each entity, and the entity."""

EntityT = TypeVar("EntityT", bound=Entity)


class SnapshotRejected(Exception):  # noqa: N818 - an outcome, named as the acknowledgement names it
    """The document is not a snapshot that this proxy can read; ``args[0]`` says why."""


class SnapshotReading:
    """One document, read bit by bit: the steps of every iterator here are short."""

    def __init__(self, document: Mapping[str, Any], before: Read) -> None:
        """*before* is what was read of an earlier document: what did not change is not parsed again.

        Raises :class:`SnapshotRejected`.
        """
        snapshot_id, content = document.get("id"), document.get("snapshot")
        if not isinstance(snapshot_id, str) or not isinstance(content, Mapping):
            raise SnapshotRejected("not a snapshot document: id and snapshot are required")
        self.snapshot_id = snapshot_id
        self._content = content
        self._before = before
        self._grouped: set[str] = set()
        self.read: Read = {}
        self.problems: list[EntityProblem] = []
        """Entities that could not be read, and whatever the caller adds."""

    def entities(self, kind: type[EntityT]) -> Iterator[EntityT | None]:
        """Give the entities of one *kind* in ascending order of ID; None in the place of one that cannot be read.

        Raises :class:`SnapshotRejected`.
        """
        documents = self._content.get(kind.collection)
        if not isinstance(documents, list):
            raise SnapshotRejected(f"not a snapshot document: snapshot.{kind.collection} must be an array")
        before = self._before.get(kind.collection, {})
        read = self.read.setdefault(kind.collection, {})
        for document in sorted(documents, key=_id_of):
            identity = _id_of(document)
            known = before.get(identity)
            if known is not None and known[0] == document:
                entity = known[1]
            else:
                try:
                    entity = kind.parse(document)
                except InvalidEntity as error:
                    name = str(document.get("name", "")) if isinstance(document, dict) else ""
                    self.problems.append(EntityProblem(kind.kind, identity, name, str(error)))
                    if kind is RouteGroup:
                        # On their own they would serve without the group's conditions.
                        self._grouped.update(_route_ids_of(document))
                    yield None
                    continue
            assert isinstance(entity, kind)
            read[identity] = (document, entity)
            yield entity

    def entries(self) -> Iterator[tuple[Route, RouteGroup | None] | None]:
        """Give routes in the order in which the table is built; None between them, where nothing is to be added.

        It is the routes of each group in the group's order, groups by ID, and then the routes of no group, by ID.
        Raises :class:`SnapshotRejected`.
        """
        groups: list[RouteGroup] = []
        for group in self.entities(RouteGroup):
            yield None
            if group is not None:
                groups.append(group)
        routes: dict[str, Route] = {}
        for route in self.entities(Route):
            yield None
            if route is not None:
                routes[route.id] = route
        for group in groups:
            for route_id in group.route_ids:
                self._grouped.add(route_id)
                found = routes.get(route_id)
                yield None if found is None else (found, group)
        for route_id, route in routes.items():
            yield None if route_id in self._grouped else (route, None)


def _id_of(document: Any) -> str:
    identity = document.get("id") if isinstance(document, dict) else None
    return identity if isinstance(identity, str) else ""


def _route_ids_of(document: Any) -> set[str]:
    """What *document*, a group that could not be read, says of its routes as far as that can be understood."""
    route_ids = document.get("routeIds") if isinstance(document, dict) else None
    return {each for each in route_ids if isinstance(each, str)} if isinstance(route_ids, list) else set()
