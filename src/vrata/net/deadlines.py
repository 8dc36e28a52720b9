"""One coarse timer for all deadlines of a worker.

A ``call_later`` per request and per phase costs more than reading the request. Here, setting a deadline is storing a
number: an object is watched for as long as it lives, and a sweep every :data:`INTERVAL` finds what is overdue. Ten
thousand idle connections cost well under one percent of a core.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

INTERVAL = 0.05
"""Seconds between sweeps, hence the most by which a deadline is noticed late."""

NEVER = float("inf")


_log = structlog.get_logger("vrata.net")


class Watched(Protocol):
    """Something with a deadline."""

    deadline: float
    """Loop time at which :meth:`expire` is due; :data:`NEVER` for none."""

    def expire(self) -> None:
        """The deadline has passed. Must move the deadline or end the watch."""
        ...


class DeadlineSweeper:
    """Watches objects and calls ``expire`` on those whose deadline has passed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        # By age, so that what is overdue at the same time expires in the same order in every run.
        self._watched: dict[Watched, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<DeadlineSweeper {len(self._watched)} watched>"

    def watch(self, watched: Watched) -> None:
        """Call :meth:`Watched.expire` when its deadline has passed."""
        self._watched[watched] = None

    def forget(self, watched: Watched) -> None:
        """It is of no interest any more, if it was."""
        self._watched.pop(watched, None)

    def start(self) -> None:
        """Begin to sweep."""
        if self._timer is None:
            self._timer = self._loop.call_later(INTERVAL, self._sweep)

    def stop(self) -> None:
        """Sweep no more; what is watched stays as it is."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now = self._loop.time()
        overdue = [watched for watched in self._watched if watched.deadline <= now]
        self._timer = self._loop.call_later(INTERVAL, self._sweep)
        for watched in overdue:
            try:
                watched.expire()
            except Exception:  # noqa: BLE001 - the others are due as well
                _log.exception("expiry failed", watched=repr(watched))
