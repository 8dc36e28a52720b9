"""The request to stop a process: by signal, or because the process that started it is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable

LIFELINE = "VRATA_LIFELINE_FD"
"""Environment variable with the descriptor of a pipe, whose other end the starting process holds for as long as it
lives: the end of file on it asks to stop."""


class StopRequest:
    """Waits for SIGTERM, SIGINT, the end of the lifeline, or the end of the terminal we were started from.

    A second signal is from somebody who will not wait: *on_insist* is called, and the process exits at once with
    128 plus the signal's number. A SIGHUP that does not come from a terminal that ended calls *on_hangup*,
    and without one is a request like the others. A SIGUSR1, by which log files are rotated, calls *on_rotation*.
    """

    def __init__(
        self,
        on_insist: Callable[[], None],
        on_hangup: Callable[[], object] | None = None,
        on_rotation: Callable[[], object] = lambda: None,
    ) -> None:
        self._on_insist = on_insist
        self._on_hangup = self.make if on_hangup is None else on_hangup
        self._requested = asyncio.Event()
        self._lifeline = _lifeline()
        self._terminals = [descriptor for descriptor in (0, 1, 2) if os.isatty(descriptor)]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_sighup)
        loop.add_signal_handler(signal.SIGUSR1, on_rotation)
        if self._lifeline is not None:
            loop.add_reader(self._lifeline, self._on_lifeline)

    def __repr__(self) -> str:
        return f"<StopRequest {'made' if self.is_made else 'awaited'}>"

    @property
    def is_made(self) -> bool:
        """Whether somebody has asked."""
        return self._requested.is_set()

    def make(self) -> None:
        """Ask, from within the process."""
        self._leave_dead_terminal()
        self._requested.set()

    async def wait(self) -> None:
        """Return when somebody asks."""
        await self._requested.wait()

    def _on_signal(self, number: signal.Signals) -> None:
        if not self.is_made:
            self.make()
            return
        self._on_insist()
        sys.stdout.flush()
        os._exit(128 + number)

    def _on_sighup(self) -> None:
        if self._leave_dead_terminal():
            self.make()
        else:
            self._on_hangup()

    def _leave_dead_terminal(self) -> bool:
        """Have nothing more to do with a terminal that has ended: writing to it would fail. Whether it has."""
        dead = [descriptor for descriptor in self._terminals if not os.isatty(descriptor)]
        if dead:
            self._terminals = []
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in dead:
                os.dup2(null, descriptor)
            os.close(null)
        return bool(dead)

    def _on_lifeline(self) -> None:
        # Nothing is ever written to it: that it can be read means that it has ended.
        asyncio.get_running_loop().remove_reader(self._lifeline or 0)
        self.make()


def _lifeline() -> int | None:
    text = os.environ.get(LIFELINE)
    if not text:
        return None
    descriptor = int(text)
    # Or our own children would inherit it.
    os.set_inheritable(descriptor, False)
    return descriptor
