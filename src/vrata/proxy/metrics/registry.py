"""The meters of one worker, by listener."""

from __future__ import annotations

from collections.abc import Iterator

from vrata.model.listener import Listener
from vrata.proxy.meters import ListenerMeters
from vrata.proxy.metrics import handover
from vrata.proxy.metrics.handover import Line
from vrata.proxy.metrics.scope import ListenerKey, MetricsScope, listener_key


class MetricsRegistry:
    """Lives as long as the worker; plans come and go."""

    def __init__(self) -> None:
        self._listeners: dict[ListenerKey, ListenerMeters] = {}

    def __repr__(self) -> str:
        return f"<MetricsRegistry {list(self._listeners.values())}>"

    def meters(self, listener: Listener) -> ListenerMeters | None:
        """Return the meters of *listener*, the same ones from plan to plan; None when it asks for no metrics.

        They go on as they were configured until :meth:`adopt`.
        """
        if listener.metrics is None:
            return None
        key = listener_key(listener)
        meters = self._listeners.get(key)
        if meters is None:
            meters = self._listeners[key] = ListenerMeters(*key, listener.metrics)
        return meters

    def adopt(self, scope: MetricsScope) -> None:
        """A plan with *scope* is in force: configure every listener's meters, and forget what it does not name."""
        for key in self._listeners.keys() - scope.listeners.keys():
            del self._listeners[key]
        for key, meters in self._listeners.items():
            metrics = scope.listeners[key].metrics
            assert metrics is not None
            meters.configure(metrics)
            meters.keep_only(scope.routes, scope.destinations, scope.endpoints, scope.middlewares)

    def take(self) -> Iterator[Line]:
        """Give, bit by bit, what was counted since the last time."""
        for meters in list(self._listeners.values()):
            yield from handover.take(meters)
