"""A thread that works beside the load of a benchmark, bit by bit, until the load is over."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Companion(ABC):
    """A context manager: the thread lives as long as the block."""

    def __init__(self, name: str, interval: float) -> None:
        """*interval* in seconds is the pause before each bit of work."""
        self._interval = interval
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    @abstractmethod
    def work(self) -> None:
        """The next bit; what fails in it is for the work to note."""

    def _run(self) -> None:
        while not self._over.wait(self._interval):
            self.work()
