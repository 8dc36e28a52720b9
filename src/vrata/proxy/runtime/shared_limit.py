"""The buckets of one limit among all that processes share."""

from __future__ import annotations

import hashlib
from typing import Final, Protocol

from vrata.policy.token_bucket import TokenBucket

MAX_KNOWN: Final = 1024
"""Values whose keys are known without a digest being made, which costs more than all the rest."""
LONGEST_KNOWN: Final = 64
"""Bytes of such a value."""


class Slots(Protocol):
    """Where buckets lie (:class:`vrata.proxy.runtime.interpreted_buckets.BucketSlots`)."""

    def take(self, key: int, now: int, interval: int, capacity: int) -> int: ...  # noqa: D102


class Table(Protocol):
    """The table that has the slots. It closes its file when nobody has it any more."""

    @property
    def slots(self) -> Slots: ...  # noqa: D102


class SharedLimit:
    """A bucket for each value."""

    __slots__ = ("_capacity", "_interval", "_keys", "_secret", "_slots", "_table", "bucket")

    def __init__(self, table: Table, secret: bytes, bucket: TokenBucket) -> None:
        """*secret*, of up to 64 bytes, tells its values from those of other limits."""
        self._table = table
        self._slots = table.slots
        self._secret = secret
        self._keys: dict[bytes, int] = {}
        self.bucket = bucket
        """What all of them are like."""
        self._interval = bucket.interval
        self._capacity = bucket.capacity

    def __repr__(self) -> str:
        return f"<SharedLimit {self.bucket!r}>"

    def take(self, value: bytes, now: int) -> int:
        """Take a token of the bucket for *value*, at the nanosecond *now* of the system's monotonic clock.

        Returns when it is full again, and that negative if there was no token.
        """
        key = self._keys.get(value)
        if key is None:
            key = self._key(value)
        return self._slots.take(key, now, self._interval, self._capacity)

    def _key(self, value: bytes) -> int:
        digest = hashlib.blake2b(value, key=self._secret, digest_size=8).digest()
        # 63 bits, and not 0, which stands in slots that were never used.
        key = int.from_bytes(digest, "little") >> 1 or 1
        if len(value) <= LONGEST_KNOWN:
            if len(self._keys) >= MAX_KNOWN:
                self._keys.clear()
            self._keys[value] = key
        return key
