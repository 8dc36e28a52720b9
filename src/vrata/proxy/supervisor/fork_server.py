"""The fork server: a process that has imported what workers need, and of which every worker is a fork.

A new worker is therefore ready in milliseconds: it imports nothing. This module itself imports next to nothing, so
that the fork server can be started before anything else and does its imports while the supervisor does its own.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from multiprocessing import forkserver

# A worker imports the console script again; with what that one imports at hand, this costs nothing.
PRELOADED = ("vrata.proxy.worker", "vrata.proxy.dataplane", "vrata.__main__")
"""By name: importing them is the fork server's work, not ours."""

context = multiprocessing.get_context("forkserver")
"""Where worker processes are made."""


def start(preload: Sequence[str] = PRELOADED) -> None:
    """Start the fork server. Returns at once, while it imports *preload*, what workers need."""
    context.set_forkserver_preload(list(preload))
    with _terminal_signals_ignored():
        forkserver.ensure_running()


_IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
"""What a terminal, or who rotates logs, may send to the whole process group: the supervisor alone acts on it."""


@contextlib.contextmanager
def _terminal_signals_ignored() -> Iterator[None]:
    """Have a child process start with the terminal's signals ignored, and pass that on to its own children."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in _IGNORED}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
