"""Token buckets that all processes of a proxy share: what one of them lets through, the others know of.

A *table* of buckets lies in a memory file that the supervisor makes and every worker maps. It has room for
:data:`SETS` times :data:`~vrata.proxy.runtime.interpreted_buckets.WAYS` buckets that are not full, a million, and takes
memory only where it is used, 16 MiB at most. A bucket is found by a digest of what it is for, 63 bits of it. The digest
depends on a secret that the supervisor has drawn, so nobody outside can look for values whose buckets meet; that two of
a million buckets do by chance has a likelihood of 1 in ten million.

How buckets stay exact while everybody takes tokens is told in :mod:`vrata.proxy.runtime.interpreted_buckets`. Nothing
in the table belongs to a process, so nothing has to be done when one dies.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import weakref
from typing import TYPE_CHECKING

import structlog

from vrata.compilation import INTERPRETED
from vrata.policy.token_bucket import TokenBucket
from vrata.proxy.runtime.interpreted_buckets import WAYS
from vrata.proxy.runtime.shared_limit import SharedLimit

if TYPE_CHECKING or INTERPRETED:
    from vrata.proxy.runtime.interpreted_buckets import BucketSlots
else:
    from vrata.proxy.runtime.compiled_buckets import BucketSlots

SETS = 65536
"""A power of two."""

_FIRST = mmap.PAGESIZE
"""Where the sets begin; the page before holds a count and the secret."""
_SECRET = slice(64, 128)
_SET = 2 * WAYS * 8

_log = structlog.get_logger("vrata.proxy")


def create(sets: int = SETS) -> int:
    """Return the descriptor of a table without buckets, which the caller closes; *sets* is a power of two."""
    descriptor = os.memfd_create("vrata-buckets", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, _FIRST + sets * _SET)
    os.pwrite(descriptor, os.urandom(_SECRET.stop - _SECRET.start), _SECRET.start)
    return descriptor


class SharedBuckets:
    """A table, as this process sees it."""

    def __init__(self, descriptor: int) -> None:
        """Map the table behind *descriptor*, which stays the caller's."""
        # An open file of our own: locks belong to it, and would be shared with everybody who shares the caller's.
        self._file = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
        self._closing = weakref.finalize(self, os.close, self._file)
        self._map = mmap.mmap(self._file, 0)
        self._secret = self._map[_SECRET]
        self._sets = (len(self._map) - _FIRST) // _SET
        self.slots = BucketSlots(self._map, self._file, _FIRST // 8, self._sets)
        self._overflows = self.slots.overflows

    def __repr__(self) -> str:
        return f"<SharedBuckets {self._sets * WAYS} slots>"

    @classmethod
    def private(cls) -> SharedBuckets:
        """Return a table that no other process shares."""
        descriptor = create()
        try:
            return cls(descriptor)
        finally:
            os.close(descriptor)

    def limit(self, name: str, bucket: TokenBucket) -> SharedLimit:
        """The limit called *name*, the same one in every process: a bucket like that for each value."""
        secret = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=32).digest()
        return SharedLimit(self, secret, bucket)

    def log_overflows(self) -> None:
        """Say in the log if buckets had to go before they were full, since the last time."""
        overflows = self.slots.overflows
        if overflows != self._overflows:
            reason = "more clients at once than there is room for: some got tokens anew too early"
            _log.warning("rate limit buckets overflow", buckets=overflows - self._overflows, reason=reason)
            self._overflows = overflows

    def close(self) -> None:
        """Let go of the table; no limit of it can be used any more."""
        self.slots.detach()
        self._map.close()
        self._closing()
