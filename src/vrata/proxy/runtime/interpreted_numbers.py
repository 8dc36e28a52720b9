"""Numbers in shared memory: counts, of which each process holds a share, and words, which everybody changes.

Both are views of one row of a table (:mod:`vrata.proxy.runtime.shared_counts`). This is the readable twin of
``compiled_numbers.pyx``, used where there was no C compiler. What is atomic there takes a lock of the kernel here.

A *count* is a row of lanes. A lane has one writer. :meth:`SharedCount.reserve` never lets the sum exceed the limit: it
first writes into its lane, where everybody sees it, that it *reaches* for a place, and only then looks at the sum. Of
those who reach for the last place at the same moment, the one who wrote last sees all others, so not everybody can
believe that there is room. Who reaches is not counted yet, so nobody takes a moment's contention for a full house; of
those who get in each other's way, the one with the lowest lane goes first and the others step back until it has done.
A free place is therefore refused only to those who wait for a process that was stopped by the system, or killed, in
the middle of it.

A number that was left goes on by itself, shared with nobody: a request that has begun with it may end with it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from mmap import mmap
from threading import Lock
from typing import Protocol

from vrata.proxy.runtime.file_locks import locked

HELD = 1 << 55
"""Stands in a lane beside the number for as long as the lane's process uses the row. 128 of them fit."""
REACHING = 1 << 47
"""Stands in a lane beside the number while its process reaches for a place."""
NUMBER = REACHING - 1
"""Where in a lane, or a sum of lanes, the number is. It is never negative."""

TRIES = 200
"""How often somebody who is in another's way looks again before taking the place for taken."""


# Giving a lock back and taking it again is the one full memory barrier that plain Python offers.
_barrier = Lock()
_barrier.acquire()


class Table(Protocol):
    """Whom a number tells that it has a user less."""

    def leave(self, number: SharedCount | SharedWord) -> None: ...  # noqa: D102


class SharedCount:
    """One row of lanes, as the process sees it that owns one of them."""

    __slots__ = ("_first", "_lane", "_own", "_stride", "_table", "_words", "name", "row", "users")

    def __init__(
        self, table: Table, name: str, row: int, memory: mmap, file: int, first: int, stride: int, lane: int
    ) -> None:
        """*memory* is the table's. Its first word says how many lanes are in use.

        The row's lane 0 is in word *first*, the next ones *stride* words apart, and *lane* is ours. *file* is the
        descriptor of the table.
        """
        del file  # a word needs it
        self._table = table
        self._words = memoryview(memory).cast("q")
        self._first = first
        self._stride = stride
        self._lane = lane
        self._own = first + lane * stride
        self.name = name
        self.row = row
        self.users = 0
        """How often it was asked for and not left yet."""

    def __repr__(self) -> str:
        return f"<SharedCount {self.name!r} {self.own} of {self.total}>"

    @property
    def own(self) -> int:
        """This process's share."""
        share: int = self._words[self._own]
        return share & NUMBER

    @property
    def total(self) -> int:
        """The sum over all processes."""
        return sum(self._lanes()) & NUMBER

    def add(self, amount: int) -> None:
        """Add to this process's share; a negative *amount* takes away."""
        self._words[self._own] += amount

    def put(self, number: int) -> None:
        """Make *number* this process's share."""
        self._words[self._own] = HELD | number

    def reserve(self, limit: int) -> bool:
        """Add one if the sum stays within *limit*; false if it would not."""
        words, own, lane = self._words, self._own, self._lane
        reaching = full = False
        for _ in range(TRIES):
            lanes = self._lanes().tolist()
            total = sum(lanes)
            number = total & NUMBER
            if number >= limit:
                # What moved from lane to lane while we read was counted twice; it is not so the next time.
                if full:
                    break
                full = True
                continue
            full = False
            if not reaching:
                # To reach while others do, and go first, would only get in their way.
                if number + _reaching(sum(lanes[:lane])) < limit:
                    words[own] += REACHING
                    reaching = True
                    _fence()
            elif number + _reaching(total) <= limit:
                words[own] += 1 - REACHING
                return True
            elif number + _reaching(sum(lanes[:lane])) >= limit:
                words[own] -= REACHING
                reaching = False
        if reaching:
            words[own] -= REACHING
        return False

    def others(self) -> list[int]:
        """The shares of the other processes that are not zero, in no particular order."""
        shares = [word & NUMBER for word in self._lanes()]
        del shares[self._lane]
        return [share for share in shares if share]

    def leave(self) -> None:
        """Count no more; the process's share is gone when the last user in this process has left."""
        self._table.leave(self)

    def detach(self) -> None:
        """Go on in memory of our own."""
        own = self.own
        self._words.release()
        self._words = memoryview(bytearray(16)).cast("q")
        self._words[0] = 1
        self._words[1] = own
        self._first = self._own = 1
        self._lane = 0

    def _lanes(self) -> memoryview:
        words = self._words
        used: int = words[0]
        return words[self._first : self._first + used * self._stride : self._stride]


class SharedWord:
    """One 64-bit number with a sign, which every process changes."""

    __slots__ = ("_at", "_locked", "_table", "_words", "name", "row", "users")

    def __init__(self, table: Table, name: str, row: int, memory: mmap, file: int, at: int, lock: int) -> None:
        """It is word *at* of the table's *memory*. Who changes it holds the lock *lock* of the table's *file*."""
        self._table = table
        self._words = memoryview(memory).cast("q")
        self._at = at
        self._locked: Callable[[], AbstractContextManager[None]] = lambda: locked(file, lock)
        self.name = name
        self.row = row
        self.users = 0
        """How often it was asked for and not left yet."""

    def __repr__(self) -> str:
        return f"<SharedWord {self.name!r} {self.value}>"

    @property
    def value(self) -> int:
        """The number as it is now."""
        value: int = self._words[self._at]
        return value

    def put(self, value: int) -> None:
        """Make it *value*, whatever it was."""
        with self._locked():
            self._words[self._at] = value

    def add(self, amount: int) -> int:
        """Add *amount* and return what has become of it."""
        with self._locked():
            self._words[self._at] += amount
            return self.value

    def swap(self, expected: int, new: int) -> bool:
        """Make it *new* if it is *expected*; false if it is not."""
        with self._locked():
            if self.value != expected:
                return False
            self._words[self._at] = new
            return True

    def leave(self) -> None:
        """Use it no more. It keeps its value for others, and for whoever asks for it before its row is needed."""
        self._table.leave(self)

    def detach(self) -> None:
        """Go on in memory of our own."""
        value = self.value
        self._words.release()
        self._words = memoryview(bytearray(8)).cast("q")
        self._words[0] = value
        self._at = 0
        self._locked = nullcontext


def _reaching(total: int) -> int:
    """How many of the lanes that *total* is the sum of reach for a place."""
    return (total & (HELD - 1)) // REACHING


def _fence() -> None:
    """Let the others see what we wrote before we read on."""
    _barrier.release()
    _barrier.acquire()
