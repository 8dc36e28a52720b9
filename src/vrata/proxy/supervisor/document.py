"""Snapshot documents: one configuration as it was received, ready to be handed to workers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from vrata.model.destination import Destination
from vrata.model.entity import Entity
from vrata.model.errors import InvalidEntity
from vrata.model.listener import Listener
from vrata.model.tls import DestinationTls, ListenerTls
from vrata.proxy import memory_file
from vrata.proxy.metrics.scope import MetricsScope
from vrata.proxy.status import EntityProblem, SnapshotIdentity

EntityT = TypeVar("EntityT", bound=Entity)

COLLECTIONS = ("listeners", "routes", "groups", "destinations", "middlewares")


class MalformedSnapshot(Exception):  # noqa: N818 - named after what it reports
    """Bytes that are no snapshot document; the text says why. ``snapshot_id`` is empty when even that is unknown."""

    def __init__(self, reason: str, snapshot_id: str = "") -> None:
        self.snapshot_id = snapshot_id
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class ListenerEntry:
    """What the supervisor needs to know of a listener: who it is, and where it wants to listen."""

    id: str
    name: str
    address: str
    """``host:port``, an IPv6 host in brackets."""
    tls: ListenerTls | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SecuredDestination:
    """What the supervisor needs to know of a destination that is spoken to over TLS."""

    id: str
    name: str
    host: str
    tls: DestinationTls = field(repr=False)


class SnapshotDocument:
    """One snapshot, its text held in a sealed memory file.

    The file can be passed to other processes: it is the same memory for all, and nobody can change it.
    """

    def __init__(
        self,
        content: bytes,
        identity: SnapshotIdentity,
        listeners: tuple[ListenerEntry, ...],
        destinations: tuple[Destination, ...],
        metrics_scope: MetricsScope,
        sizes: Mapping[str, int],
    ) -> None:
        self.identity = identity
        self.listeners = listeners
        self.destinations = destinations
        self.metrics_scope = metrics_scope
        self.sizes = sizes
        """How many entities there are, by collection."""
        self.addresses = frozenset(listener.address for listener in listeners)
        self.digest = hashlib.sha256(content).digest()
        self.descriptor = memory_file.create("vrata-snapshot", content)

    def __repr__(self) -> str:
        return f"<SnapshotDocument {self.identity.id!r} {self.identity.name!r}>"

    @classmethod
    def read(cls, content: bytes) -> SnapshotDocument:
        """Check the shape of *content* and keep it. What the entities say is for the data plane to judge.

        Raises :class:`MalformedSnapshot`.
        """
        try:
            document = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise MalformedSnapshot(f"not JSON: {error}") from None
        if not isinstance(document, dict):
            raise MalformedSnapshot("not an object")
        identity = SnapshotIdentity(_text(document, "id"), _text(document, "name"))
        entities = document.get("snapshot")
        if not isinstance(entities, dict):
            raise MalformedSnapshot("snapshot: must be an object", identity.id)
        for collection in COLLECTIONS:
            if not isinstance(entities.get(collection), list):
                raise MalformedSnapshot(f"snapshot.{collection}: must be an array", identity.id)
        listeners = list(_entities(Listener, entities["listeners"]))
        entries = tuple(
            ListenerEntry(listener.id, listener.name, listener.bind_address, listener.tls) for listener in listeners
        )
        destinations = tuple(_entities(Destination, entities["destinations"]))
        scope = MetricsScope.of_documents(listeners, destinations, entities)
        sizes = {collection: len(entities[collection]) for collection in COLLECTIONS}
        return cls(content, identity, entries, destinations, scope, sizes)

    @classmethod
    def empty(cls) -> SnapshotDocument:
        """Return the document that a proxy serves before it ever received one: nothing."""
        entities: dict[str, list[Any]] = {collection: [] for collection in COLLECTIONS}
        content = json.dumps({"id": "", "name": "", "snapshot": entities}).encode()
        return cls(content, SnapshotIdentity("", ""), (), (), MetricsScope.empty(), dict.fromkeys(COLLECTIONS, 0))

    @property
    def secured_destinations(self) -> tuple[SecuredDestination, ...]:
        """The destinations that are spoken to over TLS."""
        return tuple(
            SecuredDestination(found.id, found.name, found.host, found.options.tls)
            for found in self.destinations
            if found.options.tls.mode != "none"
        )

    @property
    def is_empty(self) -> bool:
        """Whether this is the document before the first."""
        return not self.identity.id

    def is_same_as(self, other: SnapshotDocument) -> bool:
        """Whether both are the same bytes."""
        return self.digest == other.digest

    def addresses_of(self, problems: Iterable[EntityProblem]) -> set[str]:
        """Return the addresses of the listeners among *problems*: nobody serves those."""
        broken = {problem.id for problem in problems if problem.kind == Listener.kind}
        return {listener.address for listener in self.listeners if listener.id in broken}

    def content(self) -> bytes:
        """Return the bytes as received."""
        return memory_file.read(self.descriptor)

    def close(self) -> None:
        """Free the memory, as far as this process holds it."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _text(document: dict[str, Any], member: str) -> str:
    value = document.get(member)
    if not isinstance(value, str) or not value:
        raise MalformedSnapshot(f"{member}: must be a non-empty string")
    return value


def _entities(kind: type[EntityT], documents: list[Any]) -> Iterator[EntityT]:
    for document in documents:
        try:
            yield kind.parse(document)
        except InvalidEntity:
            continue  # the data plane reports it, as every entity it cannot use
