"""A store that forgets: for tests and for trying things out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from vrata.controlplane.store.base import SNAPSHOTS, Change, ChangeType, Record, SnapshotCatalogue, Store
from vrata.controlplane.store.errors import NameTakenError, RecordExistsError, RecordNotFoundError


class MemoryStore(Store):
    """Records in dictionaries; no method ever waits."""

    def __init__(self) -> None:
        super().__init__()
        self._records: defaultdict[str, dict[str, Record]] = defaultdict(dict)
        self._active_id: str | None = None

    def __repr__(self) -> str:
        counts = ", ".join(f"{len(records)} {name}" for name, records in sorted(self._records.items()))
        return f"<MemoryStore {counts or 'empty'}>"

    async def read(self, collection: str, id: str) -> bytes | None:  # noqa: A002
        """See :class:`Store`."""
        record = self._records[collection].get(id)
        return None if record is None else record.body

    async def contains(self, collection: str, id: str) -> bool:  # noqa: A002
        """See :class:`Store`."""
        return id in self._records[collection]

    async def bodies(self, *collections: str) -> Mapping[str, tuple[bytes, ...]]:
        """See :class:`Store`."""
        return {collection: tuple(record.body for record in self._in_order(collection)) for collection in collections}

    async def summaries(self, collection: str) -> tuple[bytes, ...]:
        """See :class:`Store`."""
        return tuple(record.summary for record in self._in_order(collection))

    async def create(self, collection: str, record: Record) -> None:
        """See :class:`Store`."""
        if record.id in self._records[collection]:
            raise RecordExistsError(collection, record.id)
        self._put(collection, record)
        self._publish([Change(ChangeType.CREATED, collection, record.id)])

    async def replace(self, collection: str, record: Record) -> None:
        """See :class:`Store`."""
        if record.id not in self._records[collection]:
            raise RecordNotFoundError(collection, record.id)
        self._put(collection, record)
        self._publish([Change(ChangeType.UPDATED, collection, record.id)])

    async def delete(self, collection: str, id: str) -> bool:  # noqa: A002
        """See :class:`Store`."""
        if self._records[collection].pop(id, None) is None:
            raise RecordNotFoundError(collection, id)
        changes = [Change(ChangeType.DELETED, collection, id)]
        was_active = collection == SNAPSHOTS and id == self._active_id
        if was_active:
            self._active_id = None
            changes.append(Change(ChangeType.DEACTIVATED, collection, id))
        self._publish(changes)
        return was_active

    async def activate(self, snapshot_id: str) -> bytes:
        """See :class:`Store`."""
        record = self._records[SNAPSHOTS].get(snapshot_id)
        if record is None:
            raise RecordNotFoundError(SNAPSHOTS, snapshot_id)
        self._active_id = snapshot_id
        self._publish([Change(ChangeType.ACTIVATED, SNAPSHOTS, snapshot_id)])
        return record.summary

    async def active_snapshot(self) -> bytes | None:
        """See :class:`Store`."""
        return None if self._active_id is None else self._records[SNAPSHOTS][self._active_id].body

    async def catalogue(self) -> SnapshotCatalogue:
        """See :class:`Store`."""
        return SnapshotCatalogue(self._active_id, await self.summaries(SNAPSHOTS))

    async def close(self) -> None:
        """See :class:`Store`."""

    def _put(self, collection: str, record: Record) -> None:
        records = self._records[collection]
        if record.name is not None and any(
            other.name == record.name and other.id != record.id for other in records.values()
        ):
            raise NameTakenError(collection, record.name)
        records[record.id] = record

    def _in_order(self, collection: str) -> list[Record]:
        # Code point order of str is byte order of UTF-8, which is what SQLite's BINARY collation gives.
        records = self._records[collection]
        return [records[id_] for id_ in sorted(records)]
