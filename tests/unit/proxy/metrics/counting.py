"""Workers that count without processes, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tests.support.exposition import Scraped
from vrata.model import Listener
from vrata.observability import exposition
from vrata.proxy.endpoint_status import DestinationStatus
from vrata.proxy.meters import ListenerMeters, middleware_key, route_key
from vrata.proxy.metrics import families
from vrata.proxy.metrics.registry import MetricsRegistry
from vrata.proxy.metrics.scope import MetricsScope, listener_key
from vrata.proxy.metrics.totals import Totals

A, B = route_key("a", ""), route_key("b", "group")
CORS, LOG = middleware_key("m", "cors"), middleware_key("log", "accessLog")
EVERYTHING = {"route": True, "destination": True, "endpoint": True, "middleware": True, "listener": True}
KEY = ("l", "0.0.0.0:80")


def listener(id: str = "l", port: int = 80, **metrics: Any) -> Listener:  # noqa: A002
    metrics.setdefault("collect", EVERYTHING)
    return Listener.parse({"id": id, "name": f"listener {id}", "port": port, "metrics": metrics})


def scope(
    *listeners: Listener,
    routes: Iterable[str] = (A, B),
    destinations: Iterable[str] = ("d",),
    endpoints: Iterable[tuple[str, str]] = (("d", "e:1"),),
    middlewares: Iterable[str] = (CORS, LOG),
) -> MetricsScope:
    found = listeners or (listener(),)
    keyed = {listener_key(each): each for each in found}
    return MetricsScope(
        keyed,
        frozenset(routes),
        frozenset(destinations),
        frozenset(endpoints),
        middlewares=frozenset(middlewares),
    )


class Worker:
    """One worker's part, without a process."""

    def __init__(self, wanted: MetricsScope) -> None:
        self.registry = MetricsRegistry()
        self.serve(wanted)

    def serve(self, wanted: MetricsScope) -> None:
        self.meters: dict[tuple[str, str], ListenerMeters] = {}
        for key, each in wanted.listeners.items():
            meters = self.registry.meters(each)
            assert meters is not None
            self.meters[key] = meters
        self.registry.adopt(wanted)

    def request(
        self, route: str = A, status: int = 200, *, to: str = "", seconds: float = 0.001, retries: int = 0
    ) -> None:
        (meters,) = self.meters.values()
        matched = meters.matched(route, 10)
        forwarded = meters.forwarded(to, "e:1") if to else None
        for number in range(1, retries + 1):
            if matched is not None:
                matched.retried(number)
            if forwarded is not None:
                forwarded.attempt_failed(503, seconds)
                forwarded = meters.forwarded_again(forwarded, to, "e:1")
        if matched is not None:
            matched.response_bytes += 100 if status else 0
            matched.ended(b"GET", status, seconds)
        if forwarded is not None:
            forwarded.ended(status, seconds)

    def hand_over(self) -> bytes:
        return b"\n".join(line for line, _ in self.registry.take())


def shown(totals: Totals, key: tuple[str, str] = KEY, destinations: Sequence[DestinationStatus] = ()) -> Scraped:
    found = totals.listener(key)
    samples = families.samples(found, destinations) if found is not None else ()
    return Scraped("".join(exposition.lines(samples, openmetrics=False)))
