"""The proxy's watch on virtual time: what it finds goes to the data planes as it would from a supervisor."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.simulation.configuration import Configuration
from tests.simulation.journal import Journal
from vrata.model.destination import Destination
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy import memory_file
from vrata.proxy.runtime.shared_counts import SharedCounts
from vrata.proxy.standing import DestinationStanding, decode
from vrata.proxy.watch.watch import Watch

EPOCH = 1_700_000_000.0
"""Seconds since the epoch when a run begins."""

Judge = Callable[[dict[str, DestinationStanding]], None]


class Clock:
    """Stands for the module ``time``, where the time of day is asked for."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def time(self) -> float:
        return EPOCH + self._journal.now

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class Watching:
    """A supervisor, as far as the endpoints of its workers are concerned."""

    def __init__(self, tasks: TaskSupervisor, descriptor: int, judge: Judge) -> None:
        self._judge = judge
        self._counts = SharedCounts(descriptor)
        self._watch = Watch(tasks, self._counts.word, lambda: None)
        self._watch.publisher.attach(self)

    def judge(self, descriptor: int) -> None:
        self._judge(decode(memory_file.read(descriptor)))

    def configure(self, configuration: Configuration) -> None:
        self._watch.configure(Destination.parse(found.document()) for found in configuration.destinations)

    def stop(self) -> None:
        self._watch.stop()

    def close(self) -> None:
        self._counts.close()
