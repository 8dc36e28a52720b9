"""The tables of the SQLite store, as the list of migrations that leads to them.

A migration, once released, is never edited: a change of the tables is a new entry at the end.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

# "VRTA": tells a store of ours from any other SQLite file.
APPLICATION_ID = 0x56525441


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from schema ``version - 1`` to ``version``."""

    version: int
    description: str
    statements: tuple[str, ...]


MIGRATIONS = (
    Migration(
        1,
        "records of all collections, meta values",
        (
            # The body comes last: SQLite can then read a summary without walking the overflow pages of a 10 MB body.
            """
            CREATE TABLE records (
                collection TEXT NOT NULL,
                id TEXT NOT NULL,
                unique_name TEXT,
                summary BLOB NOT NULL,
                body BLOB NOT NULL,
                PRIMARY KEY (collection, id),
                UNIQUE (collection, unique_name)
            ) STRICT
            """,
            "CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT",
        ),
    ),
)

LATEST = MIGRATIONS[-1].version


class ForeignDatabaseError(Exception):
    """The file is a SQLite database, but not one of ours."""


class NewerSchemaError(Exception):
    """A newer Vrata wrote this file."""

    def __init__(self, found: int) -> None:
        super().__init__(f"was written by a newer Vrata: it has schema {found}, this build knows up to {LATEST}")
        self.found = found


def migrate(connection: sqlite3.Connection, migrations: tuple[Migration, ...] = MIGRATIONS) -> int:
    """Bring the database to the newest schema, in one transaction, and return its version.

    Raises :class:`ForeignDatabaseError` or :class:`NewerSchemaError` and changes nothing then.
    """
    (application_id,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != APPLICATION_ID and tables:
        raise ForeignDatabaseError("is a SQLite database of another program")
    connection.execute("BEGIN IMMEDIATE")
    try:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations "
            "(version INTEGER PRIMARY KEY, description TEXT NOT NULL, applied_at TEXT NOT NULL) STRICT"
        )
        (current,) = connection.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchone()
        if current > migrations[-1].version:
            raise NewerSchemaError(current)
        for migration in migrations:
            if migration.version > current:
                for statement in migration.statements:
                    connection.execute(statement)
                connection.execute(
                    "INSERT INTO migrations VALUES (?, ?, ?)",
                    (migration.version, migration.description, datetime.now(UTC).isoformat()),
                )
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return migrations[-1].version
