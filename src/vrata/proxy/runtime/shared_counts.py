"""Numbers that all workers of a proxy share, without a lock where requests pass.

A *table* lies in a memory file that the supervisor makes and every worker maps. It has one *row* per counted thing and
one *lane* per worker: a worker writes its own lane alone, and reads a number as the sum over all lanes. A row is found
by the digest of its name, so the workers need not talk to agree on it.

A worker's claim to its lane is a lock that the kernel drops when the process ends, however it ends. A lane whose lock
can be taken belongs to nobody: the supervisor empties it as soon as it hears of a death (:func:`reap`), and so does
whoever claims it next. Workers that drain and their successors hold different lanes, and all of them count.

:meth:`SharedCount.reserve` never lets a number exceed its limit. It first adds to its own lane, where everybody sees
it, and only then looks at the sum: of those who reach for the last place at the same moment, the one whose addition
came last sees the others' and steps back. The price is that two may see each other and both step back; the place then
stays free until somebody tries again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import struct
import weakref
from collections.abc import Iterator
from threading import Lock

import structlog

LANES = 128
"""Processes that can count at once: the workers, and those that still drain."""
ROWS = 65536
"""Numbers that there is room for."""
PROBES = 64
"""Rows in which a name may stand."""

_WORD = 8
_KEYS = mmap.PAGESIZE
"""Where the digests of names begin; the page before holds the header."""
_KEY = 16
_LANE = ROWS * _WORD
_FIRST_LANE = _KEYS + ROWS * _KEY
_SIZE = _FIRST_LANE + LANES * _LANE

_LANES_USED = 0
"""The header's only word: how many lanes were ever claimed. Those behind are empty."""

_HELD = 1 << 48
"""Stands in a lane beside the number for as long as the lane's process uses the row."""
_NUMBER = _HELD - 1

# Locks lie on offsets of the file; the bytes there have nothing to do with it.
_KEYS_LOCK = 0
_LANE_LOCKS = 1

_log = structlog.get_logger("vrata.proxy")


class NoLaneFree(Exception):  # noqa: N818 - an outcome, which the caller can live with
    """As many processes as there are lanes count already."""


def create() -> int:
    """Return the descriptor of an empty table, which the caller closes. It takes memory only where it is used."""
    descriptor = os.memfd_create("vrata-counts", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, _SIZE)
    return descriptor


def reap(descriptor: int) -> int:
    """Empty the lanes that belong to nobody and return how many there are.

    *descriptor* is what :func:`create` returned, in the process that called it.
    """
    free = 0
    with _locked_keys(descriptor):
        used = int.from_bytes(os.pread(descriptor, _WORD, _LANES_USED * _WORD), "little")
        for lane in range(used):
            if _lock(descriptor, _LANE_LOCKS + lane, wait=False):
                os.pwrite(descriptor, bytes(_LANE), _FIRST_LANE + lane * _LANE)
                _unlock(descriptor, _LANE_LOCKS + lane)
                free += 1
    return free


class SharedCount:
    """One row, as a process sees it that owns a lane."""

    __slots__ = ("_index", "_row", "_table", "_words", "name", "users")

    def __init__(self, table: SharedCounts, name: str, words: memoryview, row: int, index: int) -> None:
        self._table = table
        self._words = words
        self._row = row
        self._index = index
        self.name = name
        self.users = 0
        """How often it was asked for and not left yet."""

    def __repr__(self) -> str:
        return f"<SharedCount {self.name!r} {self.own} of {self.total}>"

    @property
    def own(self) -> int:
        """This worker's share."""
        share: int = self._words[self._index]
        return share & _NUMBER

    @property
    def total(self) -> int:
        """The sum over all workers."""
        return sum(self._table.lanes(self._row)) & _NUMBER

    def add(self, amount: int) -> None:
        """Add to this worker's share; a negative *amount* takes away."""
        self._words[self._index] += amount

    def put(self, number: int) -> None:
        """Make *number* this worker's share."""
        self._words[self._index] = _HELD | number

    def reserve(self, limit: int) -> bool:
        """Add one if the sum stays within *limit*; false if it would not."""
        if self.total >= limit:
            return False  # to step forward and back would only get in the way of others
        words, index = self._words, self._index
        words[index] += 1
        self._table.fence()
        if sum(self._table.lanes(self._row)) & _NUMBER <= limit:
            return True
        words[index] -= 1
        return False

    def others(self) -> list[int]:
        """The shares of the other workers that are not zero, in no particular order."""
        shares = [word & _NUMBER for word in self._table.lanes(self._row)]
        shares.remove(self.own)
        return [share for share in shares if share]

    def leave(self) -> None:
        """Count no more; the worker's share is gone when the last user in this process has left."""
        self._table.leave(self)

    def clear(self) -> None:
        """Give the row up."""
        self._words[self._index] = 0


class SharedCounts:
    """A table, and the lane in it that belongs to this process until :meth:`close` or its end."""

    def __init__(self, descriptor: int) -> None:
        """Claim a lane of the table behind *descriptor*, which stays the caller's. Raises :class:`NoLaneFree`."""
        # An open file of our own: locks belong to it, and would be shared with everybody who shares the caller's.
        self._file = os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)
        self._closing = weakref.finalize(self, os.close, self._file)
        self._map = mmap.mmap(self._file, _SIZE)
        self._words = memoryview(self._map).cast("q")
        self._counts: dict[str, SharedCount] = {}
        self._surplus: SharedCounts | None = None
        # Giving a lock back and taking it again is the one full memory barrier that plain Python offers.
        self._barrier = Lock()
        self._barrier.acquire()
        with _locked_keys(self._file):
            self._lane = self._claim_lane()

    def __repr__(self) -> str:
        return f"<SharedCounts lane {self._lane}, {len(self._counts)} counts>"

    @classmethod
    def private(cls) -> SharedCounts:
        """Return a table that no other process shares."""
        descriptor = create()
        try:
            return cls(descriptor)
        finally:
            os.close(descriptor)

    def count(self, name: str) -> SharedCount:
        """The number called *name*, the same one in every worker. Whoever asks for it leaves it at the end.

        If the table has no room for it, this worker counts alone, which is logged.
        """
        count = self._counts.get(name)
        if count is None:
            row = self._join(hashlib.blake2b(name.encode(), digest_size=_KEY).digest())
            if row is None:
                _log.error("too many shared counts: this worker counts alone", count=name)
                if self._surplus is None:
                    self._surplus = self.private()
                return self._surplus.count(name)
            count = self._counts[name] = SharedCount(self, name, self._words, row, self._index(row))
        count.users += 1
        return count

    def leave(self, count: SharedCount) -> None:
        """*count* has one user less."""
        count.users -= 1
        if not count.users:
            del self._counts[count.name]
            count.clear()

    def lanes(self, row: int) -> memoryview:
        """The words of *row*, one for each lane that was ever claimed."""
        first = _FIRST_LANE // _WORD + row
        used: int = self._words[_LANES_USED]
        return self._words[first : first + used * ROWS : ROWS]

    def fence(self) -> None:
        """Let the others see what we wrote before we read on."""
        self._barrier.release()
        self._barrier.acquire()

    def close(self) -> None:
        """Give the lane up. Counts of this table cannot be used any more."""
        self._words.release()
        self._map.close()
        self._closing()

    def _index(self, row: int) -> int:
        return _FIRST_LANE // _WORD + self._lane * ROWS + row

    def _claim_lane(self) -> int:
        used: int = self._words[_LANES_USED]
        for lane in range(LANES):
            if _lock(self._file, _LANE_LOCKS + lane, wait=False):
                if lane < used:
                    first = _FIRST_LANE + lane * _LANE
                    self._map[first : first + _LANE] = bytes(_LANE)
                else:
                    self._words[_LANES_USED] = lane + 1
                return lane
        raise NoLaneFree(f"{LANES} processes count already")

    def _join(self, key: bytes) -> int | None:
        """The row of *key*, marked as used by this process; None if there is none left for it."""
        with _locked_keys(self._file):
            row = self._find(key)
            if row is not None:
                self._words[self._index(row)] = _HELD
            return row

    def _find(self, key: bytes) -> int | None:
        unused: int | None = None
        home = int.from_bytes(key, "little") % ROWS
        for row in ((home + step) % ROWS for step in range(PROBES)):
            at = _KEYS + row * _KEY
            found = self._map[at : at + _KEY]
            if found == key:
                return row
            if unused is None and not any(self.lanes(row)):
                unused = row
            if not any(found):
                break  # it was never used, so nobody has gone past it
        if unused is not None:
            at = _KEYS + unused * _KEY
            self._map[at : at + _KEY] = key
        return unused


@contextlib.contextmanager
def _locked_keys(descriptor: int) -> Iterator[None]:
    _lock(descriptor, _KEYS_LOCK, wait=True)
    try:
        yield
    finally:
        _unlock(descriptor, _KEYS_LOCK)


def _lock(descriptor: int, offset: int, *, wait: bool) -> bool:
    """Lock one offset for the open file behind *descriptor* (not for the process, as POSIX locks are)."""
    command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
    try:
        fcntl.fcntl(descriptor, command, _flock(fcntl.F_WRLCK, offset))
    except BlockingIOError:
        return False
    return True


def _unlock(descriptor: int, offset: int) -> None:
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, _flock(fcntl.F_UNLCK, offset))


def _flock(kind: int, offset: int) -> bytes:
    """A ``struct flock`` of one byte at *offset*."""
    return struct.pack("@hhqqi4x", kind, os.SEEK_SET, offset, 1, 0)
