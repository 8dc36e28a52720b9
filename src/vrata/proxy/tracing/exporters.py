"""The exporters of one worker, from plan to plan."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable
from weakref import WeakSet

from vrata.model.listener import Tracing
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.tracing.exporter import Fetches, SpanExporter

LEAST_DRAIN, DRAIN = 0.5, 5.0
"""Seconds that spans get to leave when a worker ends and its clients are served: at least, and at most."""


class SpanExporters:
    """Listeners that say the same of their collector share an exporter."""

    def __init__(self, services: Fetches, tasks: TaskSupervisor) -> None:
        self._services = services
        self._tasks = tasks
        self._exporters: dict[Hashable, SpanExporter] = {}
        # With those that no plan names any more, for as long as they have something to send or may get it.
        self._alive: WeakSet[SpanExporter] = WeakSet()

    def __repr__(self) -> str:
        return f"<SpanExporters {list(self._exporters.values())}>"

    def exporter(self, tracing: Tracing) -> SpanExporter:
        """Return the exporter for *tracing*."""
        key = SpanExporter.key(tracing)
        exporter = self._exporters.get(key)
        if exporter is None:
            exporter = self._exporters[key] = SpanExporter(tracing, self._services, self._tasks)
            self._alive.add(exporter)
        return exporter

    def keep_only(self, used: Iterable[SpanExporter]) -> None:
        """A plan is in force that uses these: forget the others, which send by themselves what they still have."""
        kept = {id(exporter) for exporter in used}
        self._exporters = {key: exporter for key, exporter in self._exporters.items() if id(exporter) in kept}

    async def flush(self, timeout: float) -> None:
        """The worker ends: have everything sent within *timeout* seconds, or what it gets in any case."""
        limit = min(max(timeout, LEAST_DRAIN), DRAIN)
        await asyncio.gather(*(exporter.flush(limit) for exporter in list(self._alive)))
