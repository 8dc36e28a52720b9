"""The embedded store: one SQLite file, one thread that reads and writes it, and an event loop that never waits for it.

The single thread is what makes every method atomic and gives writes one order. It publishes each change before it
hands back the result, so a subscriber has seen a write by the time the writer's answer goes out, also if the writer was
cancelled in the meantime.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from vrata.controlplane.store.base import Change, ChangeType, Record, SnapshotCatalogue, Store
from vrata.controlplane.store.database import Database

P = ParamSpec("P")
T = TypeVar("T")

FILE_NAME = "vrata.db"


class SqliteStore(Store):
    """Made by :meth:`open`."""

    def __init__(self, database: Database, executor: ThreadPoolExecutor) -> None:
        super().__init__()
        self._database = database
        self._executor = executor
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        return f"<SqliteStore {self._database!r}>"

    @classmethod
    async def open(cls, path: Path, key: bytes | None = None) -> SqliteStore:
        """Open or create the file *path*; *key* (32 bytes) encrypts secrets and snapshots at rest.

        Raises ``StoreOpenError`` if the file cannot be used as it is.
        """
        executor = ThreadPoolExecutor(1, thread_name_prefix="vrata-store")
        try:
            database = await asyncio.get_running_loop().run_in_executor(executor, Database, path, key)
        except BaseException:
            executor.shutdown(wait=False)
            raise
        return cls(database, executor)

    async def read(self, collection: str, id: str) -> bytes | None:  # noqa: A002
        """See :class:`Store`."""
        return await self._run(self._database.read, collection, id)

    async def contains(self, collection: str, id: str) -> bool:  # noqa: A002
        """See :class:`Store`."""
        return await self._run(self._database.contains, collection, id)

    async def bodies(self, *collections: str) -> Mapping[str, tuple[bytes, ...]]:
        """See :class:`Store`."""
        return await self._run(self._database.bodies, collections)

    async def summaries(self, collection: str) -> tuple[bytes, ...]:
        """See :class:`Store`."""
        return await self._run(self._database.summaries, collection)

    async def create(self, collection: str, record: Record) -> None:
        """See :class:`Store`."""
        await self._run(self._write, self._database.create, collection, record)

    async def replace(self, collection: str, record: Record) -> None:
        """See :class:`Store`."""
        await self._run(self._write, self._database.replace, collection, record)

    async def delete(self, collection: str, id: str) -> bool:  # noqa: A002
        """See :class:`Store`."""
        changes = await self._run(self._write, self._database.delete, collection, id)
        return any(change.type is ChangeType.DEACTIVATED for change in changes)

    async def activate(self, snapshot_id: str) -> bytes:
        """See :class:`Store`."""
        return await self._run(self._activate, snapshot_id)

    async def active_snapshot(self) -> bytes | None:
        """See :class:`Store`."""
        return await self._run(self._database.active_snapshot)

    async def catalogue(self) -> SnapshotCatalogue:
        """See :class:`Store`."""
        return await self._run(self._database.catalogue)

    async def close(self) -> None:
        """See :class:`Store`."""
        await self._run(self._database.close)
        self._executor.shutdown(wait=False)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    # In the store's thread

    def _write(
        self, function: Callable[P, tuple[Change, ...]], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[Change, ...]:
        changes = function(*args, **kwargs)
        self._announce(changes)
        return changes

    def _activate(self, snapshot_id: str) -> bytes:
        change, summary = self._database.activate(snapshot_id)
        self._announce((change,))
        return summary

    def _announce(self, changes: tuple[Change, ...]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._publish, changes)
