"""A process of its own that counts in a shared table, for tests of what processes see of each other.

Run as a program it takes what it is to do from its arguments, and talks over its standard input and output.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from types import TracebackType
from typing import Self

from vrata.proxy.runtime.shared_counts import SharedCounts

NAME = "counted"


class CountingProcess:
    """Python running this file with *task*, descriptors and numbers as its arguments; killed at the end."""

    def __init__(self, task: str, *arguments: int, descriptors: tuple[int, ...]) -> None:
        command = [sys.executable, "-m", __name__, task, *map(str, descriptors), *map(str, arguments)]
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


def _say_and_wait(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    tasks: dict[str, Callable[..., None]] = {"hold": _hold, "hammer": _hammer}
    tasks[sys.argv[1]](*map(int, sys.argv[2:]))
