"""Totals: what all workers have counted together, the ones that are no more included."""

from __future__ import annotations

import json
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, Final

from vrata.model.listener import Listener
from vrata.proxy.meters import UNMATCHED, ListenerMeters
from vrata.proxy.metrics import handover
from vrata.proxy.metrics.loads import EndpointLoads, Loads
from vrata.proxy.metrics.scope import ListenerKey, MetricsScope
from vrata.proxy.response_meter import ResponseMeter


class ListenerTotals:
    """The totals of one listener."""

    def __init__(self, listener: Listener) -> None:
        assert listener.metrics is not None
        self.name = listener.name
        self.terminates_tls = listener.tls is not None
        self.meters = ListenerMeters(listener.id, listener.bind_address, listener.metrics)
        """The sums. What is no sum, and so is zero there, is stated by each worker."""
        self._statements: dict[object, dict[object, int]] = {}

    def __repr__(self) -> str:
        return f"<ListenerTotals of {self.meters!r}>"

    def stated(self, meter: object) -> int:
        """Return the sum of what the workers last stated of *meter*."""
        return sum(statements.get(meter, 0) for statements in self._statements.values())

    def highest_stated(self, meter: object) -> int:
        """Return the highest value that any worker last stated of *meter*."""
        return max((statements.get(meter, 0) for statements in self._statements.values()), default=0)

    def begin_statements(self, worker: object) -> dict[object, int]:
        """Forget what *worker* stated, and return where its new statements belong."""
        statements: dict[object, int] = {}
        self._statements[worker] = statements
        return statements

    def forget(self, worker: object) -> None:
        """*worker* is no more: what it counted stays, what it stated is over."""
        self._statements.pop(worker, None)

    def configure(self, listener: Listener) -> None:
        """Go on as *listener* asks."""
        assert listener.metrics is not None
        self.name = listener.name
        self.terminates_tls = listener.tls is not None
        self.meters.configure(listener.metrics)


class Totals:
    """The totals of a proxy, kept by its supervisor.

    Hand-overs count as far as they are in scope: a worker that drains may still speak of routes that are gone.
    """

    def __init__(self) -> None:
        self._listeners: dict[ListenerKey, ListenerTotals] = {}
        self._scope = MetricsScope.empty()
        self._expected: MetricsScope | None = None
        self._accepted = self._scope
        self.loads = Loads()
        self.carried: dict[object, tuple[int, int]] = {}
        """By worker: connections of clients and their requests, as it last said."""

    def __repr__(self) -> str:
        return f"<Totals of {list(self._listeners)}>"

    def listener(self, key: ListenerKey) -> ListenerTotals | None:
        """Return the totals of one listener; None when it has no metrics."""
        totals = self._listeners.get(key)
        if totals is None and key in self._accepted.listeners:
            totals = self._listeners[key] = ListenerTotals(self._accepted.listeners[key])
        return totals

    def expect(self, scope: MetricsScope) -> None:
        """Workers are about to apply a snapshot with *scope*: until :meth:`adopt`, theirs and the present one count."""
        self._expected = scope
        self._accepted = self._scope.united_with(scope)

    def adopt(self, scope: MetricsScope) -> None:
        """A snapshot with *scope* is in force: drop everything else."""
        self._scope = self._accepted = scope
        self._expected = None
        for key in self._listeners.keys() - scope.listeners.keys():
            del self._listeners[key]
        for key, totals in self._listeners.items():
            totals.configure(scope.listeners[key])
            found = {key for key in totals.meters.endpoints if key[0] in scope.discovering}
            totals.meters.keep_only(scope.routes, scope.destinations, scope.endpoints | found, scope.middlewares)

    def keep_discovered(self, endpoints: AbstractSet[tuple[str, str]]) -> None:
        """Of the endpoints that were found at run time there are these: drop the series of others."""
        for totals in self._listeners.values():
            meters = totals.meters.endpoints
            for key in meters.keys() - endpoints - self._accepted.endpoints:
                del meters[key]

    def add(self, worker: object, content: bytes) -> None:
        """Add a hand-over of *worker*, and take what it states for what is so now."""
        reader = _Reader(self, self._accepted, worker)
        loads: dict[str, EndpointLoads] = {}
        for line in content.splitlines():
            dimension, *fields = json.loads(line)
            if dimension == handover.LOAD:
                destination_id, loads[destination_id] = fields
            elif dimension == handover.WORKER:
                connections, in_flight = fields
                self.carried[worker] = connections, in_flight
            else:
                reader.read(dimension, fields)
        self.loads.put(worker, loads)

    def forget(self, worker: object) -> None:
        """*worker* has ended."""
        self.loads.forget(worker)
        self.carried.pop(worker, None)
        for totals in self._listeners.values():
            totals.forget(worker)

    def dimensions(self, key: ListenerKey) -> frozenset[str]:
        """Return which dimensions of the listener *key* count at the moment, now or as expected."""
        scopes = (self._scope, self._expected) if self._expected is not None else (self._scope,)
        listeners = [scope.listeners[key] for scope in scopes if key in scope.listeners]
        return frozenset(name for listener in listeners for name in _collected(listener))

    def agrees_on(self, key: ListenerKey, bounds: tuple[float, ...]) -> bool:
        """Tell whether durations in buckets with *bounds* can be added; expected ones come into force with that."""
        totals = self._listeners[key]
        if bounds == totals.meters.bounds:
            return True
        expected = self._expected.listeners.get(key) if self._expected is not None else None
        if expected is None or expected.metrics is None or expected.metrics.histograms.duration_buckets != bounds:
            return False  # of a worker that drains on a plan that is gone
        totals.configure(expected)
        return True


class _Reader:
    """Reads one hand-over line by line."""

    def __init__(self, totals: Totals, scope: MetricsScope, worker: object) -> None:
        self._totals = totals
        self._scope = scope
        self._worker = worker
        # The listener that is being read.
        self._meters: ListenerMeters | None = None
        self._dimensions: frozenset[str] = frozenset()
        self._statements: dict[object, int] = {}
        self._with_durations = False

    def read(self, dimension: str, fields: list[Any]) -> None:
        if dimension == handover.LISTENER:
            self._begin_listener(*fields)
        elif self._meters is not None and dimension in self._dimensions:
            _READERS[dimension](self, self._meters, *fields)

    def _begin_listener(
        self,
        listener_id: str,
        address: str,
        bounds: list[float],
        connected: int,
        accepted: int,
        tls_failures: int,
        errors: dict[str, int],
        spans: dict[str, int],
    ) -> None:
        key = (listener_id, address)
        totals = self._totals.listener(key)
        if totals is None:
            self._meters = None
            return
        self._meters = meters = totals.meters
        self._dimensions = self._totals.dimensions(key)
        self._with_durations = self._totals.agrees_on(key, tuple(bounds))
        self._statements = totals.begin_statements(self._worker)
        if handover.LISTENER in self._dimensions:
            self._statements[meters] = connected
            meters.accepted += accepted
            meters.tls_failures += tls_failures
            for error, count in errors.items():
                meters.errors[error] = meters.errors.get(error, 0) + count
            for outcome, count in spans.items():
                meters.spans[outcome] = meters.spans.get(outcome, 0) + count

    def read_route(
        self,
        meters: ListenerMeters,
        key: str,
        in_flight: int,
        request_bytes: int,
        response_bytes: int,
        methods: dict[str, list[Any]],
        retries: dict[str, int],
    ) -> None:
        if key in self._scope.routes or key == UNMATCHED:
            route = meters.route(key)
            route.request_bytes += request_bytes
            route.response_bytes += response_bytes
            self._statements[route] = in_flight
            for method, responses in methods.items():
                self._add(route.with_method(method.encode("ascii")), *responses)
            for number, count in retries.items():
                route.retries[int(number)] = route.retries.get(int(number), 0) + count

    def read_destination(
        self, meters: ListenerMeters, destination_id: str, in_flight: int, responses: list[Any]
    ) -> None:
        if destination_id in self._scope.destinations:
            destination = meters.destination(destination_id)
            self._statements[destination] = in_flight
            self._add(destination.responses, *responses)

    def read_endpoint(
        self, meters: ListenerMeters, destination_id: str, identifier: str, failures: int, responses: list[Any]
    ) -> None:
        if (destination_id, identifier) in self._scope.endpoints or destination_id in self._scope.discovering:
            endpoint = meters.endpoint(destination_id, identifier)
            self._statements[endpoint] = failures
            self._add(endpoint.responses, *responses)

    def read_mirror(
        self, meters: ListenerMeters, key: str, destination_id: str, sent: int, skipped: dict[str, int]
    ) -> None:
        if key in self._scope.routes and destination_id in self._scope.destinations:
            mirror = meters.mirror(key, destination_id)
            mirror.sent += sent
            for reason, count in skipped.items():
                mirror.skip(reason, count)

    def read_middleware(
        self,
        meters: ListenerMeters,
        key: str,
        passes: int,
        rejections: dict[str, int],
        errors: int,
        dropped_lines: dict[str, int],
        counts: list[int],
        seconds: float,
    ) -> None:
        if key in self._scope.middlewares:
            middleware = meters.with_middleware(key)
            middleware.passes += passes
            middleware.errors += errors
            for reason, count in dropped_lines.items():
                middleware.dropped(reason, count)
            for text, count in rejections.items():
                status = int(text)
                middleware.rejections[status] = middleware.rejections.get(status, 0) + count
            if self._with_durations:
                middleware.add(counts, seconds)

    def _add(
        self,
        responses: ResponseMeter,
        statuses: dict[str, int],
        counts: list[int],
        seconds: float,
        exemplars: dict[str, tuple[str, float, float]] | None = None,
    ) -> None:
        responses.add_statuses({int(status): count for status, count in statuses.items()})
        if self._with_durations:
            responses.add(counts, seconds)
            for trace_id, value, at in (exemplars or {}).values():
                responses.exemplify(value, trace_id, at)


_READERS: Final[dict[str, Callable[..., None]]] = {
    handover.ROUTE: _Reader.read_route,
    handover.DESTINATION: _Reader.read_destination,
    handover.ENDPOINT: _Reader.read_endpoint,
    handover.MIRROR: _Reader.read_mirror,
    handover.MIDDLEWARE: _Reader.read_middleware,
}


def _collected(listener: Listener) -> list[str]:
    """The dimensions that *listener* collects, by the names that hand-overs use."""
    assert listener.metrics is not None
    collect = listener.metrics.collect
    collected = {
        handover.LISTENER: collect.listener,
        handover.ROUTE: collect.route,
        handover.MIRROR: collect.route,
        handover.DESTINATION: collect.destination,
        handover.ENDPOINT: collect.endpoint,
        handover.MIDDLEWARE: collect.middleware,
    }
    return [dimension for dimension, is_collected in collected.items() if is_collected]
