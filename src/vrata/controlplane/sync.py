"""The active snapshot on its way to the proxies.

A :class:`SnapshotFeed` turns the active snapshot into one *frame* of bytes that all streams share. A stream subscribes,
then always sends the latest frame it has not sent yet; frames in between are skipped, never queued, so no activation is
lost and none is delivered late. Every activation makes a frame, also of the snapshot that was active already; creating
and deleting snapshots makes none.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from vrata.controlplane.store.base import Change, ChangeType, Store

KEEPALIVE_SECONDS = 15.0
KEEPALIVE = b": keepalive\n\n"
# A slice the size of the transport's write buffer: a slow proxy then holds back its own stream and not the memory.
CHUNK_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class Frame:
    """One ``snapshot`` event, ready to be written. *number* grows with every activation."""

    number: int
    data: bytes


def encode_event(document: bytes) -> bytes:
    """The server-sent event that carries *document*, which must be JSON on one line."""
    return b"event: snapshot\ndata: " + document + b"\n\n"


class Subscription:
    """One stream's view of the feed. Both sides may end it: the feed on closing, the stream when its client is gone."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()
        self._is_over = False

    def __repr__(self) -> str:
        return f"<Subscription {'over' if self._is_over else 'open'}>"

    @property
    def is_over(self) -> bool:
        """Whether the stream has nothing to expect any more."""
        return self._is_over

    def end(self) -> None:
        """End it; whoever waits in :meth:`wait` is woken."""
        self._is_over = True
        self._changed.set()

    def announce(self) -> None:
        """There may be a new frame."""
        self._changed.set()

    def forget(self) -> None:
        """Wait only for what is announced from now on. To be called before the latest frame is read, not after."""
        if not self._is_over:
            self._changed.clear()

    async def wait(self, timeout: float) -> bool:
        """Wait for an announcement or the end; the answer is false if neither came within *timeout* seconds."""
        try:
            async with asyncio.timeout(timeout):
                return await self._changed.wait()
        except TimeoutError:
            return False


class SnapshotFeed:
    """The latest frame, for any number of streams."""

    def __init__(self, store: Store) -> None:
        # Shared
        self._store = store
        self._unsubscribe = store.subscribe(self._changed)
        self._subscriptions: set[Subscription] = set()
        self._is_closed = False

        # Per activation
        self._loading = asyncio.Lock()
        self._number = 1
        self._loaded = 0
        self._frame: Frame | None = None

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"activation {self._number}"
        return f"<SnapshotFeed {state}, {len(self._subscriptions)} streams>"

    def close(self) -> None:
        """End all streams, and those that come later as well."""
        if not self._is_closed:
            self._is_closed = True
            self._unsubscribe()
            for subscription in self._subscriptions:
                subscription.end()

    @contextlib.contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """A subscription for the time inside the context."""
        subscription = Subscription()
        if self._is_closed:
            subscription.end()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)

    async def latest(self) -> Frame | None:
        """The frame of the active snapshot as of now, or ``None`` if none is active.

        The first caller after an activation reads the store; the others wait for it and share the bytes.
        """
        async with self._loading:
            while self._loaded != self._number:
                number = self._number
                document = await self._store.active_snapshot()
                self._frame = None if document is None else Frame(number, encode_event(document))
                self._loaded = number
            return self._frame

    async def stream(self, subscription: Subscription, keepalive: float = KEEPALIVE_SECONDS) -> AsyncIterator[bytes]:
        """The bytes of one stream, in pieces of at most :data:`CHUNK_BYTES`, until the subscription is over.

        After *keepalive* seconds without an event a comment is sent.
        """
        sent = 0
        while not subscription.is_over:
            subscription.forget()
            frame = await self.latest()
            if frame is not None and frame.number != sent:
                for start in range(0, len(frame.data), CHUNK_BYTES):
                    yield frame.data[start : start + CHUNK_BYTES]
                sent = frame.number
            elif not await subscription.wait(keepalive):
                yield KEEPALIVE

    def _changed(self, change: Change) -> None:
        match change.type:
            case ChangeType.ACTIVATED:
                self._number += 1
                for subscription in self._subscriptions:
                    subscription.announce()
            case ChangeType.DEACTIVATED:
                # Nothing to send, but a stream that opens now must not be given what is gone.
                self._number += 1
            case _:
                pass
