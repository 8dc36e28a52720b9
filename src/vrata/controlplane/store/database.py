"""One SQLite file, synchronously: every statement the store executes is here.

Used by one thread at a time. Durability: write-ahead log with ``synchronous=FULL``, so a committed write survives a
crash of the process and of the machine. The file is held in exclusive locking mode for as long as it is open: a second
process is refused at once instead of corrupting what this one believes to be the active snapshot.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vrata.controlplane.store.base import SNAPSHOTS, Change, ChangeType, Record, SnapshotCatalogue
from vrata.controlplane.store.encryption import SEALED_COLLECTIONS, Cipher, Sealed, WrongKeyError, choose_cipher
from vrata.controlplane.store.errors import (
    NameTakenError,
    RecordExistsError,
    RecordNotFoundError,
    StoreFailedError,
    StoreOpenError,
)
from vrata.controlplane.store.schema import ForeignDatabaseError, NewerSchemaError, migrate

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
LOCK_WAIT_SECONDS = 1.0  # a predecessor that is just closing gets this long
LOG_SIZE_LIMIT_BYTES = 64 << 20

_ACTIVE = "active_snapshot_id"
_ENCRYPTED = "encrypted"
_SENTINEL = "encryption_sentinel"


class Database:
    """The open file *path*, which is created with its directory if need be.

    *key* (32 bytes) encrypts secrets and snapshots. Raises ``StoreOpenError`` if the file cannot be used.
    """

    def __init__(self, path: Path, key: bytes | None) -> None:
        self._path = path
        _prepare_file(path)
        try:
            self._connection = sqlite3.connect(
                path, timeout=LOCK_WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            try:
                self._set_up()
                self._cipher: Cipher = self._agree_on_encryption(key)
            except BaseException:
                self._connection.close()
                raise
        except (ForeignDatabaseError, NewerSchemaError, WrongKeyError) as error:
            raise StoreOpenError(path, str(error)) from None
        except sqlite3.Error as error:
            raise StoreOpenError(path, _reason_not_opened(error)) from error

    def __repr__(self) -> str:
        return f"<Database {self._path}>"

    def close(self) -> None:
        """Fold the log into the file and release the lock."""
        self._connection.close()

    # Reading

    def read(self, collection: str, id_: str) -> bytes | None:
        """The body of one record, or ``None``."""
        with _translated_errors():
            row = self._one("SELECT body FROM records WHERE collection = ? AND id = ?", collection, id_)
        return None if row is None else self._cipher.unseal(collection, id_, "body", row[0])

    def contains(self, collection: str, id_: str) -> bool:
        """Whether the record exists."""
        with _translated_errors():
            return self._one("SELECT 1 FROM records WHERE collection = ? AND id = ?", collection, id_) is not None

    def bodies(self, collections: tuple[str, ...]) -> Mapping[str, tuple[bytes, ...]]:
        """All bodies of *collections*; one thread owns the file, so they are of one moment."""
        return {collection: self._column(collection, "body") for collection in collections}

    def summaries(self, collection: str) -> tuple[bytes, ...]:
        """All summaries of a collection."""
        return self._column(collection, "summary")

    def active_snapshot(self) -> bytes | None:
        """The body of the active snapshot, or ``None``."""
        active_id = self._active_id()
        return None if active_id is None else self.read(SNAPSHOTS, active_id)

    def catalogue(self) -> SnapshotCatalogue:
        """All snapshots in short form."""
        return SnapshotCatalogue(self._active_id(), self.summaries(SNAPSHOTS))

    # Writing

    def create(self, collection: str, record: Record) -> tuple[Change, ...]:
        """Add a record."""
        with self._transaction():
            if self._holds(collection, record.id):
                raise RecordExistsError(collection, record.id)
            unique_name = self._claim_name(collection, record)
            self._connection.execute(
                "INSERT INTO records (collection, id, unique_name, summary, body) VALUES (?, ?, ?, ?, ?)",
                (collection, record.id, unique_name, *self._sealed_parts(collection, record)),
            )
        return (Change(ChangeType.CREATED, collection, record.id),)

    def replace(self, collection: str, record: Record) -> tuple[Change, ...]:
        """Replace a record wholly."""
        with self._transaction():
            if not self._holds(collection, record.id):
                raise RecordNotFoundError(collection, record.id)
            unique_name = self._claim_name(collection, record)
            self._connection.execute(
                "UPDATE records SET unique_name = ?, summary = ?, body = ? WHERE collection = ? AND id = ?",
                (unique_name, *self._sealed_parts(collection, record), collection, record.id),
            )
        return (Change(ChangeType.UPDATED, collection, record.id),)

    def delete(self, collection: str, id_: str) -> tuple[Change, ...]:
        """Remove a record; the last change says so if it was the active snapshot."""
        with self._transaction():
            was_active = collection == SNAPSHOTS and self._active_id() == id_
            deleted = self._connection.execute("DELETE FROM records WHERE collection = ? AND id = ?", (collection, id_))
            if not deleted.rowcount:
                raise RecordNotFoundError(collection, id_)
            if was_active:
                self._connection.execute("DELETE FROM meta WHERE key = ?", (_ACTIVE,))
        change = Change(ChangeType.DELETED, collection, id_)
        return (change, Change(ChangeType.DEACTIVATED, collection, id_)) if was_active else (change,)

    def activate(self, snapshot_id: str) -> tuple[Change, bytes]:
        """Point at a snapshot; answers with its summary too."""
        with self._transaction():
            row = self._one("SELECT summary FROM records WHERE collection = ? AND id = ?", SNAPSHOTS, snapshot_id)
            if row is None:
                raise RecordNotFoundError(SNAPSHOTS, snapshot_id)
            summary = self._cipher.unseal(SNAPSHOTS, snapshot_id, "summary", row[0])
            self._set_meta(_ACTIVE, snapshot_id.encode())
        return Change(ChangeType.ACTIVATED, SNAPSHOTS, snapshot_id), summary

    # Opening

    def _set_up(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute(f"PRAGMA journal_size_limit = {LOG_SIZE_LIMIT_BYTES}")
        execute("PRAGMA secure_delete = ON")  # a deleted secret must not stay readable in a free page
        (verdict,) = execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            # Its first line only names the database; the finding follows.
            raise sqlite3.DatabaseError(verdict.splitlines()[-1])
        migrate(self._connection)

    def _agree_on_encryption(self, key: bytes | None) -> Cipher:
        marked = self._meta(_ENCRYPTED) is not None
        marks = ", ".join("?" * len(SEALED_COLLECTIONS))
        sensitive = self._one(f"SELECT 1 FROM records WHERE collection IN ({marks}) LIMIT 1", *SEALED_COLLECTIONS)
        cipher = choose_cipher(
            key, marked_encrypted=marked, holds_sensitive=sensitive is not None, sentinel=self._meta(_SENTINEL)
        )
        if isinstance(cipher, Sealed) and not marked:
            with self._transaction():
                self._set_meta(_SENTINEL, cipher.new_sentinel())
                self._set_meta(_ENCRYPTED, b"true")
            # Secrets that were deleted in clear text may linger in free pages and in the log.
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return cipher

    # Statements

    def _one(self, statement: str, *parameters: str) -> Any:
        return self._connection.execute(statement, parameters).fetchone()

    def _column(self, collection: str, part: str) -> tuple[bytes, ...]:
        with _translated_errors():
            rows = self._connection.execute(
                f"SELECT id, {part} FROM records WHERE collection = ? ORDER BY id", (collection,)
            ).fetchall()
        unseal = self._cipher.unseal
        return tuple(unseal(collection, id_, part, value) for id_, value in rows)

    def _holds(self, collection: str, id_: str) -> bool:
        return self._one("SELECT 1 FROM records WHERE collection = ? AND id = ?", collection, id_) is not None

    def _claim_name(self, collection: str, record: Record) -> str | None:
        if record.name is None:
            return None
        unique_name = self._cipher.unique_name(collection, record.name)
        holder = self._one("SELECT id FROM records WHERE collection = ? AND unique_name = ?", collection, unique_name)
        if holder is not None and holder[0] != record.id:
            raise NameTakenError(collection, record.name)
        return unique_name

    def _sealed_parts(self, collection: str, record: Record) -> tuple[bytes, bytes]:
        seal = self._cipher.seal
        return seal(collection, record.id, "summary", record.summary), seal(collection, record.id, "body", record.body)

    def _active_id(self) -> str | None:
        with _translated_errors():
            value = self._meta(_ACTIVE)
        return None if value is None else value.decode()

    def _meta(self, key: str) -> bytes | None:
        row = self._one("SELECT value FROM meta WHERE key = ?", key)
        return None if row is None else row[0]

    def _set_meta(self, key: str, value: bytes) -> None:
        self._connection.execute(
            "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (key, value),
        )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated_errors():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite ends the transaction by itself after some errors, such as a full disk.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise


@contextlib.contextmanager
def _translated_errors() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreFailedError(str(error)) from error


def _prepare_file(path: Path) -> None:
    """Make sure the file exists and is ours alone, before SQLite opens it with whatever the umask allows."""
    try:
        path.parent.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreOpenError(path, f"its directory cannot be created: {_os_reason(error)}") from None
    if path.is_dir():
        raise StoreOpenError(path, "is a directory")
    try:
        # O_EXCL: closing a descriptor of a file that is already open elsewhere in this process drops SQLite's locks.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE))
    except FileExistsError:
        if not os.access(path, os.R_OK | os.W_OK):
            raise StoreOpenError(path, "is not writable") from None
        with contextlib.suppress(PermissionError):
            path.chmod(FILE_MODE)
    except OSError as error:
        raise StoreOpenError(path, f"cannot be created: {_os_reason(error)}") from None


def _os_reason(error: OSError) -> str:
    return error.strerror or str(error)


def _reason_not_opened(error: sqlite3.Error) -> str:
    # Extended codes carry the primary one in the low byte (https://sqlite.org/rescode.html).
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "is in use by another process"
        case sqlite3.SQLITE_NOTADB:
            return "is not a SQLite database, or its start is damaged"
        case sqlite3.SQLITE_CORRUPT:
            return f"is damaged: {error}"
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return f"is not writable: {error}"
        case _:
            return f"cannot be opened: {error}"
