"""File descriptors: how many this process may open, and a few held back for what must not fail for the want of one."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Iterator

MOST = 1 << 20
"""The kernel's own bound unless somebody has raised it (``fs.nr_open``)."""


def raise_limit() -> int:
    """Let the process open as many as its hard limit allows, and return how many these are.

    The soft limit is often 1024, for the sake of programs that use ``select``; ours do not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # some systems refuse what they call allowed
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return limit()


def limit() -> int:
    """How many the process may open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if soft == resource.RLIM_INFINITY else soft


class Reserve:
    """Descriptors that are open only so that they can be closed when one is needed."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._held: list[int] = []
        self._refill()

    def __repr__(self) -> str:
        return f"<Reserve {len(self._held)} of {self._number} descriptors>"

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """The numbers are free for the time inside the context; what is left of them after it is held again."""
        self.close()
        try:
            yield
        finally:
            self._refill()

    def close(self) -> None:
        """Hold none."""
        while self._held:
            os.close(self._held.pop())

    def _refill(self) -> None:
        with contextlib.suppress(OSError):
            while len(self._held) < self._number:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
