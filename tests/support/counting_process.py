"""A process of its own that counts in a shared table, for tests of what processes see of each other.

Run as a program it takes what it is to do from its arguments, and talks over its standard input and output.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from types import TracebackType
from typing import Self

from vrata.proxy.runtime import interpreted_numbers, shared_counts
from vrata.proxy.runtime.shared_counts import SharedCounts
from vrata.proxy.runtime.shared_numbers import SharedWord

NAME = "counted"
ROUND = "round"

try:
    TWINS = {"compiled": import_module("vrata.proxy.runtime.compiled_numbers"), "interpreted": interpreted_numbers}
except ImportError:  # no compiler was at hand
    TWINS = {"interpreted": interpreted_numbers}


def twin_in_use() -> str:
    """Which of the twins counts in tables that are opened now."""
    return next(name for name, twin in TWINS.items() if twin.SharedCount is vars(shared_counts)["SharedCount"])


def use_twin(name: str) -> None:
    """Count with that one in tables that are opened from now on."""
    vars(shared_counts).update(SharedCount=TWINS[name].SharedCount, SharedWord=TWINS[name].SharedWord)


class CountingProcess:
    """Python running this file with *task*, descriptors and numbers as its arguments; killed at the end.

    It counts with the twin that is used here.
    """

    def __init__(self, task: str, *arguments: int, descriptors: tuple[int, ...]) -> None:
        numbers = map(str, (*descriptors, *arguments))
        command = [sys.executable, "-m", __name__, twin_in_use(), task, *numbers]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, pass_fds=descriptors
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()

    def says(self) -> str:
        """The next line that it prints, empty at its end."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def go_on(self) -> None:
        """Let it do the next thing."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _hold(descriptor: int, number: int) -> None:
    """Add *number*, say the sum, and wait."""
    count = SharedCounts(descriptor).count(NAME)
    count.add(number)
    _say_and_wait(count.total)


def _hammer(descriptor: int, take_token: int, return_token: int, limit: int, rounds: int) -> None:
    """Get *rounds* reservations, as fast as it goes; whoever holds one takes one of *limit* bytes out of a pipe.

    The pipe is the witness: when it is empty and somebody gets a reservation, the limit is exceeded.
    """
    count = SharedCounts(descriptor).count(NAME)
    _say_and_wait("ready")
    got = refused = exceeded = 0
    while got < rounds:
        if not count.reserve(limit):
            refused += 1
            continue
        got += 1
        try:
            os.read(take_token, 1)
        except BlockingIOError:
            exceeded += 1
        else:
            os.write(return_token, b"x")
        count.add(-1)
    _say_and_wait(exceeded, refused)


def _duel(descriptor: int, rounds: int, rivals: int, limit: int) -> None:
    """In each of *rounds* reach for one place, all *rivals* at the same moment; say how many were got.

    Nobody gives a place back before everybody has tried, and nobody begins before all were given back: a place that
    is left was refused by mistake.
    """
    counts = SharedCounts(descriptor)
    count, turn = counts.count(NAME), counts.word(ROUND)
    _say_and_wait("ready")
    got = 0
    for number in range(rounds):
        _meet(turn, (3 * number + 1) * rivals)
        if is_mine := count.reserve(limit):
            got += 1
        _meet(turn, (3 * number + 2) * rivals)
        if is_mine:
            count.add(-1)
        _meet(turn, (3 * number + 3) * rivals)
    _say_and_wait(got)


def _meet(turn: SharedWord, number: int) -> None:
    turn.add(1)
    while turn.value < number:
        pass


def _increase(descriptor: int, rounds: int) -> None:
    """Add 1 to the word, *rounds* times, by turns with each of the two operations."""
    word = SharedCounts(descriptor).word(NAME)
    _say_and_wait("ready")
    for number in range(rounds):
        if number % 2:
            word.add(1)
        else:
            while not word.swap(found := word.value, found + 1):
                pass
    _say_and_wait(word.value)


def _say_and_wait(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    tasks: dict[str, Callable[..., None]] = {"hold": _hold, "hammer": _hammer, "duel": _duel, "increase": _increase}
    use_twin(sys.argv[1])
    tasks[sys.argv[2]](*map(int, sys.argv[3:]))
