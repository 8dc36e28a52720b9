"""The contract every store keeps; one test suite runs over all of them."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

SNAPSHOTS = "snapshots"
SECRETS = "secrets"


@dataclass(frozen=True, slots=True)
class Record:
    """One document as it is stored.

    *name* must be unique within the collection; ``None`` exempts the record (snapshots may share a name).
    *summary* is a short form that can be listed without reading every *body*; it may be empty.
    """

    id: str
    name: str | None
    body: bytes = field(repr=False)
    summary: bytes = field(default=b"", repr=False)


class ChangeType(enum.Enum):
    """What a write did."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    ACTIVATED = "activated"
    DEACTIVATED = "deactivated"


@dataclass(frozen=True, slots=True)
class Change:
    """A committed write: *type* happened to the record *id* of *collection*."""

    type: ChangeType
    collection: str
    id: str


@dataclass(frozen=True, slots=True)
class SnapshotCatalogue:
    """The summaries of all snapshots in order of id, and which of them is active."""

    active_id: str | None
    summaries: tuple[bytes, ...]


Subscriber = Callable[[Change], None]


class Store(ABC):
    """Records per collection, a pointer to the active snapshot, and change events.

    A write that returned has been kept and survives a crash, as far as the kind of store promises any durability.
    Changes reach subscribers on the event loop, in commit order, before the writer's ``await`` returns.
    Reads and writes raise :class:`~vrata.controlplane.store.errors.StoreFailedError` if the medium fails.
    """

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call *subscriber* with every change from now on; the returned function ends that."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def _publish(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for subscriber in tuple(self._subscribers):
                subscriber(change)

    @abstractmethod
    async def read(self, collection: str, id: str) -> bytes | None:  # noqa: A002
        """The body of one record, or ``None``."""

    @abstractmethod
    async def contains(self, collection: str, id: str) -> bool:  # noqa: A002
        """Whether the record exists."""

    @abstractmethod
    async def bodies(self, *collections: str) -> Mapping[str, tuple[bytes, ...]]:
        """The bodies of all records of *collections* at one moment, each in byte order of the ids."""

    @abstractmethod
    async def summaries(self, collection: str) -> tuple[bytes, ...]:
        """The summaries of all records in byte order of their ids."""

    @abstractmethod
    async def create(self, collection: str, record: Record) -> None:
        """Add a record. Raises ``RecordExistsError`` or ``NameTakenError``."""

    @abstractmethod
    async def replace(self, collection: str, record: Record) -> None:
        """Replace a record wholly. Raises ``RecordNotFoundError`` or ``NameTakenError``."""

    @abstractmethod
    async def delete(self, collection: str, id: str) -> bool:  # noqa: A002
        """Remove a record; the answer says whether it was the active snapshot, whose pointer is then cleared.

        Raises ``RecordNotFoundError``.
        """

    @abstractmethod
    async def activate(self, snapshot_id: str) -> bytes:
        """Point at a snapshot and return its summary. Raises ``RecordNotFoundError``."""

    @abstractmethod
    async def active_snapshot(self) -> bytes | None:
        """The body of the active snapshot, or ``None`` if none is active."""

    @abstractmethod
    async def catalogue(self) -> SnapshotCatalogue:
        """All snapshots in short form, with the active one, at one moment."""

    @abstractmethod
    async def close(self) -> None:
        """Finish what was begun and release the medium; the store cannot be used afterwards."""
