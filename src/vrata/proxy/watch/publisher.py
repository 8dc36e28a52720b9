"""The publisher: tells every worker how endpoints stand, whenever that has changed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from vrata.proxy import memory_file
from vrata.proxy.standing import UNKNOWN, DestinationStanding, encode

DELAY: Final = 0.05
"""Seconds in which changes come together before the workers are told."""
RETRY: Final = 1.0
"""Seconds until it is tried again to tell them."""

_NOTHING: Final = -1

_log = structlog.get_logger("vrata.proxy.watch")


class JudgedWorker(Protocol):
    """A worker as far as standings go."""

    def judge(self, descriptor: int) -> None:
        """Have it go by the standings in *descriptor*, which stays the caller's."""
        ...


class StandingsPublisher:
    """Keeps the standings that workers go by. *standing_of* gives that of one destination as it is now.

    A worker knows of nothing when it starts, so it is told at once, before anything else that is to rely on it.
    """

    def __init__(self, standing_of: Callable[[str], DestinationStanding], on_published: Callable[[], None]) -> None:
        self._standing_of = standing_of
        self._on_published = on_published
        self._workers: set[JudgedWorker] = set()
        # What they were told.
        self._standings: dict[str, DestinationStanding] = {}
        self._descriptor = _NOTHING
        # What they are to be told.
        self._changed: set[str] = set()
        self._is_new = False
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<StandingsPublisher {len(self._standings)} standings, {len(self._workers)} workers>"

    def attach(self, worker: JudgedWorker) -> None:
        """*worker* was started."""
        self._publish()
        self._workers.add(worker)
        if self._descriptor != _NOTHING:
            worker.judge(self._descriptor)

    def detach(self, worker: JudgedWorker) -> None:
        """*worker* has ended."""
        self._workers.discard(worker)

    def changed(self, destination_id: str) -> None:
        """The standing of this destination may be another one now."""
        self._changed.add(destination_id)
        self._publish_in(DELAY)

    def stop(self) -> None:
        """Tell nobody anything more."""
        self._workers.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._descriptor != _NOTHING:
            os.close(self._descriptor)
            self._descriptor = _NOTHING

    def _publish_in(self, delay: float) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(delay, self._publish)

    def _publish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for destination_id in self._changed:
            standing = self._standing_of(destination_id)
            if standing == self._standings.get(destination_id, UNKNOWN):
                continue
            self._is_new = True
            if standing == UNKNOWN:
                del self._standings[destination_id]
            else:
                self._standings[destination_id] = standing
        self._changed.clear()
        if self._is_new and self._renew():
            self._is_new = False
            for worker in self._workers:
                worker.judge(self._descriptor)
            self._on_published()

    def _renew(self) -> bool:
        """Put the standings into a new file; false if that is to be tried again."""
        try:
            descriptor = memory_file.create("vrata-standings", encode(self._standings))
        except OSError as error:
            _log.error("workers cannot be told how endpoints stand", reason=str(error), retry_in=RETRY)
            self._publish_in(RETRY)
            return False
        if self._descriptor != _NOTHING:
            os.close(self._descriptor)
        self._descriptor = descriptor
        return True
