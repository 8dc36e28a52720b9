"""Numbers that all processes of a proxy share, without a lock where requests pass.

A *table* lies in a memory file that the supervisor makes and every process maps. It has one *row* per shared number,
with one *lane* per process, and one *common word*. A number is either a *count*, of which each process holds a share:
it writes its own lane alone, and reads the sum over all lanes. Or it is a *word*, which all of them change, atomically.
What a process counts goes when it ends; what it has made of a word stays. A row is found by the digest of its name, so
the processes need not talk to agree on it. The lane of each also says which rows it uses. When nobody uses a row any
more it may get another name, and its word is 0 again; until then it is what it was for whoever comes back.

A process's claim to its lane is a lock that the kernel drops when the process ends, however it ends. A lane whose lock
can be taken belongs to nobody: the supervisor empties it as soon as it hears of a death (:func:`reap`), and so does
whoever claims it next. Workers that drain and their successors hold different lanes, and all of them count.

What is done with the numbers is in :mod:`vrata.proxy.runtime.shared_numbers`.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import weakref

import structlog

from vrata.proxy.runtime.file_locks import lock, locked, unlock
from vrata.proxy.runtime.shared_numbers import HELD, SharedCount, SharedWord

LANES = 128
"""Processes that can count at once: the workers, those that still drain, and their supervisor."""
ROWS = 65536
"""Numbers that there is room for."""
PROBES = 64
"""Rows in which a name may stand."""

_WORD = 8
_KEYS = mmap.PAGESIZE
"""Where the digests of names begin; the page before holds the header."""
_KEY = 16
_COMMON = _KEYS + ROWS * _KEY
_LANE = ROWS * _WORD
_FIRST_LANE = _COMMON + ROWS * _WORD
_SIZE = _FIRST_LANE + LANES * _LANE

_LANES_USED = 0
"""The header's only word: how many lanes were ever claimed. Those behind are empty."""

# Offsets of locks.
_KEYS_LOCK = 0
_LANE_LOCKS = 1
_WORD_LOCKS = _LANE_LOCKS + LANES

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
    with locked(descriptor, _KEYS_LOCK):
        used = int.from_bytes(os.pread(descriptor, _WORD, _LANES_USED * _WORD), "little")
        for lane in range(used):
            if lock(descriptor, _LANE_LOCKS + lane, wait=False):
                os.pwrite(descriptor, bytes(_LANE), _FIRST_LANE + lane * _LANE)
                unlock(descriptor, _LANE_LOCKS + lane)
                free += 1
    return free


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
        self._common: dict[str, SharedWord] = {}
        self._surplus: SharedCounts | None = None
        with locked(self._file, _KEYS_LOCK):
            self._lane = self._claim_lane()

    def __repr__(self) -> str:
        words = f", {len(self._common)} words" if self._common else ""
        return f"<SharedCounts lane {self._lane}, {len(self._counts)} counts{words}>"

    @classmethod
    def private(cls) -> SharedCounts:
        """Return a table that no other process shares."""
        descriptor = create()
        try:
            return cls(descriptor)
        finally:
            os.close(descriptor)

    def count(self, name: str) -> SharedCount:
        """The count called *name*, the same one in every process. Whoever asks for it leaves it at the end.

        If the table has no room for it, this process counts alone, which is logged.
        """
        count = self._counts.get(name)
        if count is None:
            row = self._join(name, b"")
            if row is None:
                return self._alone(name).count(name)
            first = _FIRST_LANE // _WORD + row
            count = SharedCount(self, name, row, self._map, self._file, first, _LANE // _WORD, self._lane)
            self._counts[name] = count
        count.users += 1
        return count

    def word(self, name: str) -> SharedWord:
        """The word called *name*, the same one in every process; counts have names of their own.

        Whoever asks for it leaves it at the end. If the table has no room for it, this process has one of its own,
        which is logged.
        """
        word = self._common.get(name)
        if word is None:
            row = self._join(name, b"word")
            if row is None:
                return self._alone(name).word(name)
            word = SharedWord(self, name, row, self._map, self._file, _COMMON // _WORD + row, _WORD_LOCKS + row)
            self._common[name] = word
        word.users += 1
        return word

    def leave(self, number: SharedCount | SharedWord) -> None:
        """*number* has one user less. After the last one it goes on, but is shared with nobody."""
        number.users -= 1
        if number.users:
            return
        if isinstance(number, SharedCount):
            del self._counts[number.name]
        else:
            del self._common[number.name]
        number.detach()
        self._words[self._index(number.row)] = 0

    def close(self) -> None:
        """Give the lane up. Numbers of this table go on, shared with nobody."""
        numbers: list[SharedCount | SharedWord] = [*self._counts.values(), *self._common.values()]
        for number in numbers:
            number.detach()
            number.users = 0
        self._counts.clear()
        self._common.clear()
        self._words.release()
        self._map.close()
        self._closing()

    def _alone(self, name: str) -> SharedCounts:
        _log.error("too many shared counts: this worker counts alone", count=name)
        if self._surplus is None:
            self._surplus = self.private()
        return self._surplus

    def _index(self, row: int) -> int:
        return (_FIRST_LANE + self._lane * _LANE) // _WORD + row

    def _claim_lane(self) -> int:
        used: int = self._words[_LANES_USED]
        for lane in range(LANES):
            if lock(self._file, _LANE_LOCKS + lane, wait=False):
                if lane < used:
                    first = _FIRST_LANE + lane * _LANE
                    self._map[first : first + _LANE] = bytes(_LANE)
                else:
                    self._words[_LANES_USED] = lane + 1
                return lane
        raise NoLaneFree(f"{LANES} processes count already")

    def _join(self, name: str, kind: bytes) -> int | None:
        """The row of that *name*, marked as used by this process; None if there is none left for it."""
        key = hashlib.blake2b(name.encode(), digest_size=_KEY, person=kind).digest()
        with locked(self._file, _KEYS_LOCK):
            row = self._find(key)
            if row is not None:
                self._words[self._index(row)] = HELD
            return row

    def _find(self, key: bytes) -> int | None:
        unused: int | None = None
        home = int.from_bytes(key, "little") % ROWS
        for row in ((home + step) % ROWS for step in range(PROBES)):
            at = _KEYS + row * _KEY
            found = self._map[at : at + _KEY]
            if found == key:
                return row
            if unused is None and not any(self._lanes(row)):
                unused = row
            if not any(found):
                break  # it was never used, so nobody has gone past it
        if unused is not None:
            self._words[_COMMON // _WORD + unused] = 0
            at = _KEYS + unused * _KEY
            self._map[at : at + _KEY] = key
        return unused

    def _lanes(self, row: int) -> memoryview:
        """The words of *row*, one for each lane that was ever claimed."""
        first = _FIRST_LANE // _WORD + row
        used: int = self._words[_LANES_USED]
        stride = _LANE // _WORD
        return self._words[first : first + used * stride : stride]
