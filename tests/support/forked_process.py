"""A child of the test's own process that does one thing at once, and says what has come of it in numbers.

It is forked, so it costs next to nothing to start; what it does must be plain computing.
"""

from __future__ import annotations

import os
import signal
from array import array
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self


class ForkedProcess:
    """Runs *task* in a child; killed at the end."""

    def __init__(self, task: Callable[[], Iterable[int]]) -> None:
        self._results, there = os.pipe()
        self._pid = os.fork()
        if not self._pid:
            code = 1
            try:
                with open(there, "wb") as results:
                    array("q", task()).tofile(results)
                code = 0
            finally:
                os._exit(code)
        os.close(there)
        self._code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._code is None:
            self.kill()
        os.close(self._results)

    def result(self) -> list[int]:
        """What the task returned, once it is over."""
        numbers = array("q")
        with open(self._results, "rb", closefd=False) as results:
            numbers.frombytes(results.read())
        self._wait()
        assert self._code == 0
        return numbers.tolist()

    def kill(self) -> None:
        """End it, wherever it is."""
        os.kill(self._pid, signal.SIGKILL)
        self._wait()

    def _wait(self) -> None:
        self._code = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
