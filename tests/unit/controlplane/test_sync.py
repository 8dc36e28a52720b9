"""The feed: what a stream gets, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from vrata.controlplane.store.base import Record
from vrata.controlplane.store.memory import MemoryStore
from vrata.controlplane.sync import CHUNK_BYTES, KEEPALIVE, SnapshotFeed, Subscription, encode_event

FOREVER = 60.0


async def store_with(*ids: str) -> MemoryStore:
    store = MemoryStore()
    for id_ in ids:
        await store.create("snapshots", Record(id_, None, body_of(id_), b"{}"))
    return store


def body_of(id_: str) -> bytes:
    return f'{{"id":"{id_}"}}'.encode()


def check(scenario: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(30):
            await scenario()

    asyncio.run(run())


async def wait_until_idle() -> None:
    """Let every task run until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


async def read_all(stream: AsyncIterator[bytes], into: list[bytes]) -> None:
    async for piece in stream:
        into += [piece]


def test_a_stream_begins_with_the_active_snapshot() -> None:
    async def scenario() -> None:
        store = await store_with("s1")
        await store.activate("s1")
        feed = SnapshotFeed(store)
        with feed.subscribe() as subscription:
            assert await anext(feed.stream(subscription, FOREVER)) == b'event: snapshot\ndata: {"id":"s1"}\n\n'

    check(scenario)


def test_each_activation_is_one_event_and_nothing_else_is() -> None:
    async def scenario() -> None:
        store = await store_with("s1", "s2")
        feed = SnapshotFeed(store)
        seen: list[bytes] = []
        with feed.subscribe() as subscription:
            async with asyncio.TaskGroup() as group:
                group.create_task(read_all(feed.stream(subscription, FOREVER), seen))
                await wait_until_idle()
                assert seen == []
                expected = []
                for id_ in ("s1", "s2", "s2", "s1"):
                    await store.activate(id_)
                    await wait_until_idle()
                    expected.append(encode_event(body_of(id_)))
                    assert seen == expected
                await store.create("snapshots", Record("s3", None, b"{}", b"{}"))
                await store.delete("snapshots", "s2")
                await store.delete("snapshots", "s1")
                await wait_until_idle()
                assert seen == expected
                await store.activate("s3")
                await wait_until_idle()
                assert seen == [*expected, encode_event(b"{}")]
                feed.close()

    check(scenario)


def test_a_slow_stream_skips_to_the_latest_snapshot() -> None:
    async def scenario() -> None:
        store = await store_with("s1", "s2", "s3")
        feed = SnapshotFeed(store)
        with feed.subscribe() as subscription:
            stream = feed.stream(subscription, FOREVER)
            for id_ in ("s1", "s2", "s3"):
                await store.activate(id_)
            assert await anext(stream) == encode_event(body_of("s3"))

    check(scenario)


def test_an_event_that_was_begun_is_finished_before_the_next() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        big = b"x" * (CHUNK_BYTES * 3)
        await store.create("snapshots", Record("big", None, big, b"{}"))
        await store.create("snapshots", Record("small", None, b"{}", b"{}"))
        await store.activate("big")
        feed = SnapshotFeed(store)
        with feed.subscribe() as subscription:
            stream = feed.stream(subscription, FOREVER)
            pieces = [await anext(stream)]
            await store.activate("small")
            while not pieces[-1].endswith(b"\n\n"):
                pieces.append(await anext(stream))
            assert b"".join(pieces) == encode_event(big)
            assert max(map(len, pieces)) == CHUNK_BYTES
            assert await anext(stream) == encode_event(b"{}")

    check(scenario)


@pytest.mark.parametrize("turns", range(6))
def test_an_activation_at_any_moment_of_the_opening_is_not_lost(turns: int) -> None:
    class SlowStore(MemoryStore):
        async def active_snapshot(self) -> bytes | None:
            found = await super().active_snapshot()
            for _ in range(3):
                await asyncio.sleep(0)
            return found

    async def scenario() -> None:
        store = SlowStore()
        for id_ in ("s1", "s2"):
            await store.create("snapshots", Record(id_, None, body_of(id_), b"{}"))
        await store.activate("s1")
        feed = SnapshotFeed(store)
        seen: list[bytes] = []
        with feed.subscribe() as subscription:
            async with asyncio.TaskGroup() as group:
                group.create_task(read_all(feed.stream(subscription, FOREVER), seen))
                for _ in range(turns):
                    await asyncio.sleep(0)
                await store.activate("s2")
                await wait_until_idle()
                feed.close()
        assert seen[-1] == encode_event(body_of("s2"))

    check(scenario)


def test_all_streams_share_one_reading_of_the_store() -> None:
    class CountingStore(MemoryStore):
        readings = 0

        async def active_snapshot(self) -> bytes | None:
            self.readings += 1
            await asyncio.sleep(0)
            return await super().active_snapshot()

    async def scenario() -> None:
        store = CountingStore()
        await store.create("snapshots", Record("s1", None, body_of("s1"), b"{}"))
        await store.activate("s1")
        feed = SnapshotFeed(store)
        frames = await asyncio.gather(*(feed.latest() for _ in range(50)))
        assert store.readings == 1
        assert len({id(frame) for frame in frames}) == 1
        await store.activate("s1")
        await asyncio.gather(*(feed.latest() for _ in range(50)))
        assert store.readings == 2

    check(scenario)


def test_after_deleting_the_active_snapshot_new_streams_get_none() -> None:
    async def scenario() -> None:
        store = await store_with("s1")
        await store.activate("s1")
        feed = SnapshotFeed(store)
        assert await feed.latest() is not None
        await store.delete("snapshots", "s1")
        assert await feed.latest() is None

    check(scenario)


def test_silence_is_filled_with_comments() -> None:
    async def scenario() -> None:
        feed = SnapshotFeed(await store_with())
        with feed.subscribe() as subscription:
            stream = feed.stream(subscription, 0.01)
            assert [await anext(stream) for _ in range(3)] == [KEEPALIVE] * 3

    check(scenario)


@pytest.mark.parametrize("is_open_before", [True, False])
def test_closing_ends_every_stream(is_open_before: bool) -> None:
    async def scenario() -> None:
        feed = SnapshotFeed(await store_with())
        if not is_open_before:
            feed.close()
        with feed.subscribe() as subscription:
            async with asyncio.TaskGroup() as group:
                group.create_task(read_all(feed.stream(subscription, FOREVER), []))
                await wait_until_idle()
                feed.close()
        feed.close()

    check(scenario)


def test_a_subscription_that_is_over_stays_over() -> None:
    async def scenario() -> None:
        subscription = Subscription()
        subscription.end()
        subscription.forget()
        assert await subscription.wait(0.01)
        assert subscription.is_over

    check(scenario)
