"""The SQLite file itself: what survives, and what is refused with which message."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from vrata.controlplane.store import schema
from vrata.controlplane.store.base import Record, Store
from vrata.controlplane.store.database import Database
from vrata.controlplane.store.errors import StoreFailedError, StoreOpenError
from vrata.controlplane.store.schema import Migration
from vrata.controlplane.store.sqlite import SqliteStore


def refusal(path: Path) -> str:
    with pytest.raises(StoreOpenError) as refused:
        Database(path, None)
    message = str(refused.value)
    assert message == f"store {path}: {refused.value.reason}"
    assert "\n" not in message
    return refused.value.reason


def filled(path: Path, count: int = 200) -> None:
    database = Database(path, None)
    for number in range(count):
        database.create("routes", Record(f"r{number}", f"route {number}", b"x" * 500))
    database.close()


def test_directory_and_file_are_created_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "vrata.db"
    old = os.umask(0)
    try:
        Database(path, None).close()
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_others_could_read_is_closed_to_them(tmp_path: Path) -> None:
    path = tmp_path / "vrata.db"
    filled(path, 1)
    path.chmod(0o644)
    Database(path, None).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_log_is_as_private_as_the_file(tmp_path: Path) -> None:
    database = Database(tmp_path / "vrata.db", None)
    database.create("routes", Record("r1", "one", b"{}"))
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    database.close()


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = tmp_path / "vrata.db"
        store: Store = await SqliteStore.open(path)
        await store.create("snapshots", Record("s1", None, b"body", b"summary"))
        await store.activate("s1")
        await store.close()
        store = await SqliteStore.open(path)
        assert await store.active_snapshot() == b"body"
        await store.close()

    asyncio.run(scenario())


def test_writes_are_flushed_to_the_disk(tmp_path: Path) -> None:
    database = Database(tmp_path / "vrata.db", None)
    pragmas = {name: database._one(f"PRAGMA {name}")[0] for name in ("journal_mode", "synchronous", "secure_delete")}
    database.close()
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1}


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vrata.db"
    opener = (
        "import sys; from pathlib import Path; from vrata.controlplane.store.database import Database\n"
        "Database(Path(sys.argv[1]), None); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", opener, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"open\n"
        assert refusal(path) == "is in use by another process"
        holder.kill()
    Database(path, None).close()


def test_a_second_store_in_this_process_is_refused(tmp_path: Path) -> None:
    first = Database(tmp_path / "vrata.db", None)
    assert refusal(tmp_path / "vrata.db") == "is in use by another process"
    first.create("routes", Record("r1", "one", b"{}"))
    first.close()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "its directory cannot be created: " in refusal(tmp_path / "file" / "vrata.db")


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vrata.db").mkdir()
    assert refusal(tmp_path / "vrata.db") == "is a directory"


def test_an_unwritable_directory_is_refused() -> None:
    # Unlike the mode of a directory, /proc refuses also the superuser, as whom tests may run.
    assert "cannot be created: " in refusal(Path("/proc/vrata.db"))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everything")
def test_an_unwritable_file_is_refused(tmp_path: Path) -> None:
    filled(tmp_path / "vrata.db", 1)
    (tmp_path / "vrata.db").chmod(0o400)
    assert refusal(tmp_path / "vrata.db") == "is not writable"


@pytest.mark.parametrize("content", [b"not a database, " * 400, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "vrata.db"
    path.write_bytes(content)
    assert "is not a SQLite database, or its start is damaged" in refusal(path)
    assert path.read_bytes() == content


def test_damage_inside_the_file_is_found_at_start(tmp_path: Path) -> None:
    path = tmp_path / "vrata.db"
    filled(path)
    with path.open("r+b") as file:
        file.seek(4096 * 8)
        file.write(b"\xde\xad" * 6144)
    assert refusal(path).startswith("is damaged: ")


def test_a_database_of_another_program_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "vrata.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    assert refusal(path) == "is a SQLite database of another program"
    other = sqlite3.connect(path)
    assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]
    other.close()


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vrata.db"
    database = Database(path, None)
    database._connection.execute("INSERT INTO migrations VALUES (99, 'from the future', '')")
    database.close()
    assert refusal(path) == (f"was written by a newer Vrata: it has schema 99, this build knows up to {schema.LATEST}")


def test_migrations_run_once_each_and_all_or_nothing() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    first = Migration(1, "one", ("CREATE TABLE a (x)",))
    second = Migration(2, "two", ("ALTER TABLE a ADD COLUMN y", "INSERT INTO a VALUES (1, 2)"))
    broken = Migration(3, "three", ("INSERT INTO a VALUES (3, 4)", "CREATE TABLE a (x)"))
    assert schema.migrate(connection, (first,)) == 1
    assert schema.migrate(connection, (first, second)) == 2
    assert schema.migrate(connection, (first, second)) == 2
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection, (first, second, broken))
    assert connection.execute("SELECT * FROM a").fetchall() == [(1, 2)]
    assert connection.execute("SELECT version, description FROM migrations").fetchall() == [(1, "one"), (2, "two")]
    connection.close()


def test_the_versions_of_the_migrations_are_consecutive() -> None:
    assert [migration.version for migration in schema.MIGRATIONS] == list(range(1, schema.LATEST + 1))


def test_a_failed_write_says_why_and_keeps_the_store_usable(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await SqliteStore.open(tmp_path / "vrata.db")
        connection = store._database._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(StoreFailedError, match="full"):
            await store.create("routes", Record("r1", "one", b"x" * 100_000))
        assert not await store.contains("routes", "r1")
        await store.create("routes", Record("r2", "two", b"{}"))
        await store.close()

    asyncio.run(scenario())


def test_the_event_loop_goes_on_while_the_store_works(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await SqliteStore.open(tmp_path / "vrata.db")
        writing = store.create("snapshots", Record("s1", None, b"x" * (32 << 20)))
        turns = 0
        async with asyncio.TaskGroup() as group:
            task = group.create_task(writing)
            while not task.done():
                await asyncio.sleep(0)
                turns += 1
        assert turns > 20
        await store.close()

    asyncio.run(scenario())


def test_a_cancelled_writer_still_has_its_change_told(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = await SqliteStore.open(tmp_path / "vrata.db")
        told = asyncio.Event()
        store.subscribe(lambda _: told.set())
        async with asyncio.TaskGroup() as group:
            task = group.create_task(store.create("snapshots", Record("s1", None, b"x" * (4 << 20))))
            await asyncio.sleep(0)
            task.cancel()
        if await store.contains("snapshots", "s1"):
            await asyncio.wait_for(told.wait(), 30)
        await store.close()

    asyncio.run(scenario())
