"""What every store promises, run over every store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from vrata.controlplane.store.base import Change, ChangeType, Record, SnapshotCatalogue, Store
from vrata.controlplane.store.errors import NameTakenError, RecordExistsError, RecordNotFoundError
from vrata.controlplane.store.memory import MemoryStore
from vrata.controlplane.store.sqlite import SqliteStore

Opener = Callable[[], Awaitable[Store]]


@pytest.fixture(params=["memory", "sqlite", "sqlite encrypted"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    async def open_store() -> Store:
        match request.param:
            case "memory":
                return MemoryStore()
            case "sqlite":
                return await SqliteStore.open(tmp_path / "vrata.db")
            case _:
                return await SqliteStore.open(tmp_path / "vrata.db", bytes(range(32)))

    return open_store


def check(opener: Opener, scenario: Callable[[Store], Awaitable[None]]) -> None:
    async def run() -> None:
        store = await opener()
        try:
            await scenario(store)
        finally:
            await store.close()

    asyncio.run(run())


def record(id_: str, name: str | None = "a name", body: bytes = b"{}", summary: bytes = b"") -> Record:
    return Record(id_, name, body, summary)


def test_a_record_is_read_as_it_was_created(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        body = '{"text":"ü\\u0000"}'.encode()
        await store.create("secrets", record("s1", body=body, summary=b"short"))
        assert await store.read("secrets", "s1") == body
        assert await store.contains("secrets", "s1")
        assert await store.summaries("secrets") == (b"short",)

    check(opener, scenario)


def test_what_was_never_created_is_not_there(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        await store.create("routes", record("r1"))
        assert await store.read("routes", "r2") is None
        assert not await store.contains("routes", "r2")
        assert await store.read("groups", "r1") is None
        assert await store.bodies("groups") == {"groups": ()}

    check(opener, scenario)


def test_lists_are_in_byte_order_of_the_ids(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        ids = ["b", "B", "a", "10", "9", "é", "𝄞", "~", "\uffff"]
        for id_ in ids:
            await store.create("routes", record(id_, id_, body=id_.encode(), summary=id_.encode()))
        expected = tuple(sorted(id_.encode() for id_ in ids))
        assert await store.bodies("routes") == {"routes": expected}
        assert await store.summaries("routes") == expected

    check(opener, scenario)


def test_an_id_is_taken_once(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        await store.create("routes", record("r1", "first", b"1"))
        with pytest.raises(RecordExistsError) as refused:
            await store.create("routes", record("r1", "second", b"2"))
        assert (refused.value.collection, refused.value.id) == ("routes", "r1")
        assert await store.read("routes", "r1") == b"1"
        await store.create("groups", record("r1", "first"))

    check(opener, scenario)


@pytest.mark.parametrize("collection", ["routes", "secrets"])
def test_a_name_is_taken_once_per_collection(opener: Opener, collection: str) -> None:
    async def scenario(store: Store) -> None:
        await store.create(collection, record("r1", "same"))
        with pytest.raises(NameTakenError) as refused:
            await store.create(collection, record("r2", "same"))
        assert (refused.value.collection, refused.value.name) == (collection, "same")
        assert not await store.contains(collection, "r2")
        await store.create(collection, record("r2", "Same"))
        await store.create("groups", record("r3", "same"))

    check(opener, scenario)


def test_records_without_a_name_never_conflict(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        await store.create("snapshots", record("s1", None))
        await store.create("snapshots", record("s2", None))
        assert len((await store.bodies("snapshots"))["snapshots"]) == 2

    check(opener, scenario)


def test_replacing_keeps_nothing_of_the_old_record(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        await store.create("secrets", record("s1", "old", b"old", b"old"))
        await store.replace("secrets", record("s1", "new", b"new", b"new"))
        assert await store.bodies("secrets") == {"secrets": (b"new",)}
        assert await store.summaries("secrets") == (b"new",)
        await store.create("secrets", record("s2", "old"))

    check(opener, scenario)


def test_replacing_may_keep_the_name_but_not_take_anothers(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        await store.create("routes", record("r1", "one", b"1"))
        await store.create("routes", record("r2", "two", b"2"))
        await store.replace("routes", record("r1", "one", b"11"))
        with pytest.raises(NameTakenError):
            await store.replace("routes", record("r1", "two", b"111"))
        assert await store.bodies("routes") == {"routes": (b"11", b"2")}

    check(opener, scenario)


def test_replacing_and_deleting_need_a_record(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        with pytest.raises(RecordNotFoundError):
            await store.replace("routes", record("r1"))
        with pytest.raises(RecordNotFoundError):
            await store.delete("routes", "r1")
        with pytest.raises(RecordNotFoundError):
            await store.activate("s1")
        assert not await store.contains("routes", "r1")

    check(opener, scenario)


def test_deleting_frees_id_and_name(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        await store.create("routes", record("r1", "one", b"1"))
        assert not await store.delete("routes", "r1")
        assert await store.read("routes", "r1") is None
        await store.create("routes", record("r1", "one", b"2"))
        assert await store.read("routes", "r1") == b"2"

    check(opener, scenario)


def test_one_snapshot_or_none_is_active(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        assert await store.active_snapshot() is None
        for id_ in ("s1", "s2"):
            await store.create("snapshots", record(id_, None, f"body {id_}".encode(), f"summary {id_}".encode()))
        assert await store.catalogue() == SnapshotCatalogue(None, (b"summary s1", b"summary s2"))
        assert await store.activate("s2") == b"summary s2"
        assert await store.active_snapshot() == b"body s2"
        assert await store.activate("s1") == b"summary s1"
        assert await store.activate("s1") == b"summary s1"
        assert await store.catalogue() == SnapshotCatalogue("s1", (b"summary s1", b"summary s2"))
        assert not await store.delete("snapshots", "s2")
        assert await store.delete("snapshots", "s1")
        assert await store.active_snapshot() is None
        assert await store.catalogue() == SnapshotCatalogue(None, ())

    check(opener, scenario)


def test_only_deleting_a_snapshot_can_clear_the_active_one(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        await store.create("snapshots", record("same id", None))
        await store.create("routes", record("same id"))
        await store.activate("same id")
        assert not await store.delete("routes", "same id")
        assert await store.active_snapshot() is not None

    check(opener, scenario)


def test_changes_are_told_in_order_before_the_write_returns(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        told: list[Change] = []
        end = store.subscribe(told.append)
        await store.create("snapshots", record("s1", None))
        assert told == [Change(ChangeType.CREATED, "snapshots", "s1")]
        await store.activate("s1")
        await store.create("routes", record("r1"))
        await store.replace("routes", record("r1"))
        await store.delete("snapshots", "s1")
        for failing in (store.create("routes", record("r1")), store.delete("routes", "r2")):
            with pytest.raises((RecordExistsError, RecordNotFoundError)):
                await failing
        assert [(change.type.value, change.collection) for change in told[1:]] == [
            ("activated", "snapshots"),
            ("created", "routes"),
            ("updated", "routes"),
            ("deleted", "snapshots"),
            ("deactivated", "snapshots"),
        ]
        end()
        await store.delete("routes", "r1")
        assert len(told) == 6

    check(opener, scenario)


def test_of_many_writers_of_one_name_one_wins(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        results = await asyncio.gather(
            *(store.create("routes", record(f"r{n}", "wanted")) for n in range(20)), return_exceptions=True
        )
        assert sorted(type(result).__name__ for result in results) == ["NameTakenError"] * 19 + ["NoneType"]
        assert len((await store.bodies("routes"))["routes"]) == 1

    check(opener, scenario)


def test_several_collections_are_read_at_one_moment(opener: Opener) -> None:
    async def scenario(store: Store) -> None:
        # Each pair of writes adds to "groups" before "routes": no reader may see more routes than groups.
        async def write() -> None:
            for n in range(50):
                await store.create("groups", record(f"{n}", f"{n}"))
                await store.create("routes", record(f"{n}", f"{n}"))

        async def read() -> None:
            for _ in range(50):
                seen = await store.bodies("routes", "groups")
                assert 0 <= len(seen["groups"]) - len(seen["routes"]) <= 1

        await asyncio.gather(write(), read())

    check(opener, scenario)
