"""The view of endpoints, put together of what is watched, carried and counted; the counts are real."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.conditions import eventually_async
from vrata.model import Destination
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.circuit_breaker import after_failure
from vrata.proxy.endpoint_status import (
    UNWATCHED,
    BreakerState,
    DestinationStatus,
    EndpointSource,
    EndpointStatus,
    EndpointVerdicts,
    EndpointWatch,
    HealthState,
    HealthVerdict,
    LimitUse,
    OutlierVerdict,
    WatchedDestination,
)
from vrata.proxy.metrics.loads import Loads
from vrata.proxy.runtime.shared_counts import SharedCounts
from vrata.proxy.standing import DiscoveredEndpoint
from vrata.proxy.supervisor import endpoint_view
from vrata.proxy.supervisor.endpoint_view import EndpointView
from vrata.proxy.supervisor.shared_gauges import SharedGauges

SICK = EndpointVerdicts(HealthVerdict(HealthState.UNHEALTHY, "status 500", 1.0, 2.0))
EJECTED = EndpointVerdicts(outlier=OutlierVerdict(True, "5 in a row", 60.0, 1))


class StatedWatch(EndpointWatch):
    def __init__(self) -> None:
        self.says: dict[str, WatchedDestination] = {}

    def watched(self, destination_id: str) -> WatchedDestination:
        return self.says.get(destination_id, UNWATCHED)


class Scene:
    def __init__(self) -> None:
        self.watch = StatedWatch()
        self.loads = Loads()
        self.shared = SharedCounts.private()
        self.view = EndpointView(self.watch, self.loads, SharedGauges(self.shared))

    def only(self) -> DestinationStatus:
        (status,) = self.view.statuses()
        return status


@pytest.fixture
def scene() -> Iterator[Scene]:
    found = Scene()
    yield found
    found.shared.close()


def destination(id: str = "d", endpoints: int = 3, **options: Any) -> Destination:  # noqa: A002
    listed = [{"host": f"10.0.0.{number}", "port": 80, "weight": number} for number in range(1, endpoints + 1)]
    return Destination.parse(
        {"id": id, "name": id, "host": "d.test", "port": 80, "endpoints": listed, "options": options}
    )


def test_of_what_nobody_watches_the_endpoints_are_shown(scene: Scene) -> None:
    scene.view.adopt([destination("b"), destination("a", 0)])
    first, second = scene.view.statuses()
    assert first == DestinationStatus("a", (EndpointStatus("d.test:80"),))
    assert [(found.address, found.weight, found.is_available) for found in second.endpoints] == [
        ("10.0.0.1:80", 1, True),
        ("10.0.0.2:80", 2, True),
        ("10.0.0.3:80", 3, True),
    ]
    scene.view.adopt([])
    assert scene.view.statuses() == ()


def test_each_verdict_is_on_its_own(scene: Scene) -> None:
    scene.view.adopt([destination()])
    scene.watch.says["d"] = WatchedDestination({"10.0.0.1:80": SICK, "10.0.0.2:80": EJECTED})
    one, two, three = scene.only().endpoints
    assert (one.health.state, one.outlier.ejected, one.is_available) == (HealthState.UNHEALTHY, False, False)
    assert (two.health.state, two.outlier.ejected, two.is_available) == (HealthState.UNCHECKED, True, False)
    assert three.is_available
    assert scene.only().panic == ""


def test_a_panic_says_why(scene: Scene) -> None:
    scene.view.adopt([destination(panicThreshold=50)])
    scene.watch.says["d"] = WatchedDestination({"10.0.0.1:80": SICK, "10.0.0.2:80": EJECTED})
    assert scene.only().panic.startswith("1 of 3 endpoints are available, which is less than 50 %")
    scene.view.adopt([destination(panicThreshold=0)])
    scene.watch.says["d"] = WatchedDestination({f"10.0.0.{number}:80": SICK for number in (1, 2, 3)})
    assert scene.only().panic == ""
    scene.view.adopt([destination()])
    assert scene.only().panic.startswith("0 of 3")


def test_discovered_endpoints_stand_beside_those_that_are_listed(scene: Scene) -> None:
    found = (DiscoveredEndpoint("10.0.0.9", 80), DiscoveredEndpoint("10.0.0.1", 80, 7))
    scene.watch.says["d"] = WatchedDestination(discovered=found, stale="no answer since yesterday")
    scene.view.adopt([destination(endpoints=1, discovery={"type": "dns"})])
    status = scene.only()
    assert [(each.address, each.weight, each.source) for each in status.endpoints] == [
        ("10.0.0.1:80", 1, EndpointSource.STATIC),
        ("10.0.0.9:80", 1, EndpointSource.DISCOVERED),
    ]
    assert status.stale == "no answer since yesterday"
    scene.view.adopt([destination(endpoints=0, discovery={"type": "dns"})])
    assert {each.source for each in scene.only().endpoints} == {EndpointSource.DISCOVERED}
    scene.watch.says["d"] = WatchedDestination(discovered=())
    assert scene.only().endpoints == ()
    assert scene.only().panic == ""


def test_loads_are_those_of_all_workers(scene: Scene) -> None:
    scene.view.adopt([destination()])
    scene.loads.put("one", {"d": {"10.0.0.1:80": [2, 3]}})
    scene.loads.put("two", {"d": {"10.0.0.1:80": [1, 4], "10.0.0.2:80": [0, 1]}, "gone": {"x:1": [1, 1]}})
    assert [(each.active_requests, each.connections) for each in scene.only().endpoints] == [(3, 7), (0, 1), (0, 0)]
    scene.loads.put("one", {})
    assert [(each.active_requests, each.connections) for each in scene.only().endpoints] == [(1, 4), (0, 1), (0, 0)]
    scene.loads.forget("two")
    assert not any(each.connections for each in scene.only().endpoints)


def test_the_breaker_and_the_use_of_its_limits_are_read_where_workers_count(scene: Scene) -> None:
    scene.view.adopt([destination(circuitBreaker={"maxRequests": 9, "maxRetries": 4, "maxConnections": 5})])
    status = scene.only()
    assert status.breaker is not None
    assert (status.breaker.state, status.breaker.since) == (BreakerState.CLOSED, 0.0)
    scene.shared.count("requests d").add(3)
    scene.shared.count("retries d").add(1)
    word = scene.shared.word("breaker d")
    word.put(after_failure(word.value, int(time.monotonic() * 1000), 1, is_probe=False))
    status = scene.only()
    assert status.breaker is not None
    assert status.limits is not None
    assert status.breaker.state is BreakerState.OPEN
    assert status.breaker.failures == 1
    assert status.breaker.since == pytest.approx(time.time(), abs=5)
    assert (status.limits.requests, status.limits.retries) == (LimitUse(3, 9), LimitUse(1, 4))
    assert (status.limits.connections, status.limits.pending) == (LimitUse(0, 5), LimitUse(0, 1024))
    scene.view.adopt([destination()])
    assert (scene.only().breaker, scene.only().limits) == (None, None)


def test_streaks_are_shown_where_endpoints_are_judged_by_them(scene: Scene) -> None:
    scene.view.adopt([destination(outlierDetection={})])
    scene.shared.word("5xx d 10.0.0.2:80").add(4)
    assert [each.consecutive_5xx for each in scene.only().endpoints] == [0, 4, 0]
    assert scene.only().has_outlier_detection
    scene.view.adopt([destination(endpoints=1, outlierDetection={})])
    assert [each.consecutive_5xx for each in scene.only().endpoints] == [0]
    scene.view.adopt([destination()])
    assert [each.consecutive_5xx for each in scene.only().endpoints] == [None] * 3


def test_a_breaker_that_opens_is_a_change(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_view, "BREAKER_CHECK_INTERVAL", 0.01)
    scene.view.adopt([destination(circuitBreaker={})])
    word = scene.shared.word("breaker d")
    changes = 0

    def on_change() -> None:
        nonlocal changes
        changes += 1

    async def main() -> None:
        tasks = TaskSupervisor()
        tasks.start(scene.view.watch_breakers(on_change), name="watch breakers")
        await asyncio.sleep(0)
        word.put(after_failure(0, int(time.monotonic() * 1000), 1, is_probe=False))
        await eventually_async(lambda: changes == 1, what="it has opened")
        word.put(0)
        await eventually_async(lambda: changes == 2, what="it has closed")
        await tasks.stop()

    asyncio.run(main())


def test_an_acknowledgement_names_no_more_than_it_can_hold(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint_view, "MOST_ENDPOINTS", 6)
    scene.view.adopt([destination("a"), destination("b")])
    assert scene.view.acknowledged() == scene.view.statuses()
    scene.view.adopt([destination("a"), destination("b"), destination("c")])
    scene.watch.says["b"] = WatchedDestination({"10.0.0.2:80": SICK})
    told = scene.view.acknowledged()
    assert [(each.id, [found.address for found in each.endpoints], each.omitted) for each in told] == [
        ("a", [], 3),
        ("b", ["10.0.0.2:80"], 2),
        ("c", [], 3),
    ]
    for name in "abc":
        scene.watch.says[name] = WatchedDestination({f"10.0.0.{number}:80": SICK for number in (1, 2, 3)})
    assert [len(each.endpoints) for each in scene.view.acknowledged()] == [3, 3, 0]
