"""Slots for token buckets in shared memory, in plain Python: every change takes a lock of the kernel.

:mod:`vrata.proxy.runtime.compiled_buckets` does the same with atomic operations. A *set* has :data:`WAYS` slots, first
the keys of all, then for each the moment at which its bucket is full again; 0 is a slot that was never used. A key may
stand in one set only, and at most once.

A bucket that is full is like one that nobody has asked for. Its slot is therefore free, and goes to whoever needs one.
Where none is free the bucket that would be full first has to go: its client has got the fewest tokens that it could not
have had anyway. That is counted.

How it goes without locks: a token is taken by swapping the moment for a later one, which succeeds for one of those who
try at once. Only who brings a new key to a set locks the set, so that a key is never brought twice. It swaps the moment
of the free slot for 0, which fails if somebody has taken a token meanwhile, then writes its key, then its moment, which
is later than any before. So whoever has seen a moment, then the key, and swaps that moment, knows that it is the
key's; and a process that is killed at any point of this leaves a slot that is free. For "later than any before" to be
true, and to know what is free, the clock is read again once the set is locked: the caller may have waited.
"""

from __future__ import annotations

from mmap import mmap
from time import monotonic_ns

from vrata.proxy.runtime.file_locks import locked

WAYS = 16
"""Slots of a set: two cache lines of keys, and two of moments."""
OVERFLOWS = 0
"""The word of the memory that counts the buckets which had to go before they were full."""


class BucketSlots:
    """The slots, as every process sees them."""

    __slots__ = ("_file", "_first", "_sets", "_words")

    def __init__(self, memory: mmap, file: int, first: int, sets: int) -> None:
        """*sets* sets, a power of two, begin at word *first* of *memory*. *file* is its descriptor, for locks."""
        self._words = memoryview(memory).cast("q")
        self._file = file
        self._first = first
        self._sets = sets

    @property
    def overflows(self) -> int:
        """How many buckets had to go before they were full, for want of room."""
        count: int = self._words[OVERFLOWS]
        return count

    def take(self, key: int, now: int, interval: int, capacity: int) -> int:
        """Take a token of the bucket *key* (not 0, 63 bits), at the nanosecond *now* of the monotonic clock.

        Returns the moment at which it is full again, and that negative if there was no token.
        """
        number = key % self._sets
        first = self._first + number * 2 * WAYS
        # The set alone: the memory may have been let go of.
        words = self._words[first : first + 2 * WAYS]
        with locked(self._file, number):
            keys, moments = words[:WAYS].tolist(), words[WAYS:].tolist()
            if key in keys:
                way = keys.index(key)
                then = moments[way]
            else:
                now = max(now, monotonic_ns())
                way = min(range(WAYS), key=moments.__getitem__)
                if moments[way] > now:
                    self._words[OVERFLOWS] += 1
                then = 0
                words[way] = key
            after: int = max(then, now) + interval
            if after - now > capacity:
                return -int(then)
            words[WAYS + way] = after
            return after

    def detach(self) -> None:
        """Let go of the memory."""
        self._words.release()
