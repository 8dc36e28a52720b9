"""The collector, with workers that answer as the test wants; real ones are in the end-to-end tests."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async
from tests.support.exposition import Scraped
from vrata.model import Listener
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy import memory_file
from vrata.proxy.channel import MetricsHandedOver, ScrapeArrived
from vrata.proxy.meters import route_key
from vrata.proxy.metrics.registry import MetricsRegistry
from vrata.proxy.metrics.scope import MetricsScope, listener_key
from vrata.proxy.supervisor.metrics import PATIENCE, MetricsCollector

LISTENER = Listener.parse({"id": "l", "name": "l", "port": 80, "metrics": {}})
KEY = listener_key(LISTENER)
ROUTE = route_key("r", "")
SCOPE = MetricsScope({KEY: LISTENER}, frozenset({ROUTE}), frozenset(), frozenset())


class Worker:
    """Counts for real; its process and its channel are left out."""

    def __init__(self, collector: MetricsCollector, *, is_silent: bool = False) -> None:
        self.is_running = True
        self.is_silent = is_silent
        self.asked: list[int] = []
        self.texts: dict[int, Scraped] = {}
        self.registry = MetricsRegistry()
        self.meters = self.registry.meters(LISTENER)
        self._collector = collector
        collector.attach(self)

    def count(self, requests: int) -> None:
        assert self.meters is not None
        for _ in range(requests):
            matched = self.meters.matched(ROUTE, 0)
            assert matched is not None
            matched.ended(b"GET", 200, 0.001)

    def collect_metrics(self, collection: int) -> None:
        self.asked.append(collection)
        if not self.is_silent:
            asyncio.get_running_loop().call_soon(self.hand_over, collection)

    def hand_over(self, collection: int = 0) -> None:
        content = b"\n".join(line for line, _ in self.registry.take())
        self.say(MetricsHandedOver(collection), content)

    def say(self, message: MetricsHandedOver, content: bytes) -> None:
        self._collector.on_handed_over(self, message, memory_file.create("metrics", content))

    def scrape(self, number: int, *, openmetrics: bool = False) -> None:
        self._collector.on_scrape(self, ScrapeArrived(number, *KEY, openmetrics))

    def answer_scrape(self, scrape: int, descriptor: int) -> None:
        text = memory_file.read(descriptor).decode()
        self.texts[scrape] = Scraped(text, openmetrics=text.endswith("# EOF\n"))

    async def text(self, number: int) -> Scraped:
        await eventually_async(lambda: number in self.texts, what=f"scrape {number} is answered")
        return self.texts[number]


def run(scenario: Callable[[MetricsCollector], Awaitable[None]]) -> None:
    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        tasks = TaskSupervisor()
        collector = MetricsCollector(tasks)
        collector.adopt(SCOPE)
        await scenario(collector)
        await tasks.stop()
        assert len(os.listdir("/proc/self/fd")) <= before  # fewer when the collector closed what others left

    with capture_logs():
        asyncio.run(main())


def test_a_scrape_shows_what_all_workers_have_counted_until_then() -> None:
    async def scenario(collector: MetricsCollector) -> None:
        one, two = Worker(collector), Worker(collector)
        one.count(3)
        two.count(4)
        one.scrape(1)
        assert (await one.text(1))("vrata_route_requests_total", route="r") == 7
        two.count(1)
        two.scrape(1)
        assert (await two.text(1))("vrata_route_requests_total", route="r") == 8

    run(scenario)


def test_scrapes_at_once_share_a_collection_and_later_ones_get_a_new_one() -> None:
    async def scenario(collector: MetricsCollector) -> None:
        one, two = Worker(collector), Worker(collector)
        for number in range(1, 51):
            one.scrape(number)
        two.scrape(1, openmetrics=True)
        await asyncio.sleep(0)  # the first collection has begun
        one.count(1)
        two.scrape(2)
        for worker, number in ((one, 50), (two, 1), (two, 2)):
            await worker.text(number)
        assert two.texts[1].text.endswith("# EOF\n")
        assert two.texts[2]("vrata_route_requests_total") == 1
        assert one.asked == two.asked == [1, 2]

    run(scenario)


def test_a_worker_that_hangs_delays_a_scrape_for_a_limited_time() -> None:
    async def scenario(collector: MetricsCollector) -> None:
        well, hanging = Worker(collector), Worker(collector)
        hanging.count(5)
        well.scrape(1)
        assert (await well.text(1))("vrata_route_requests_total") == 5
        hanging.is_silent = True
        hanging.count(1)
        well.count(1)
        began = asyncio.get_running_loop().time()
        well.scrape(2)
        assert (await well.text(2))("vrata_route_requests_total") == 6, "its part is what was last known"
        assert asyncio.get_running_loop().time() - began >= PATIENCE * 0.9
        hanging.hand_over(hanging.asked[-1])  # at last
        hanging.is_silent = False
        well.scrape(3)
        assert (await well.text(3))("vrata_route_requests_total") == 7

    run(scenario)


def test_a_worker_that_ends_is_not_waited_for_and_keeps_its_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vrata.proxy.supervisor.metrics.PATIENCE", 60.0)

    async def scenario(collector: MetricsCollector) -> None:
        well, dying = Worker(collector), Worker(collector, is_silent=True)
        dying.count(2)
        assert dying.meters is not None
        dying.meters.matched(ROUTE, 0)
        dying.hand_over()
        began = asyncio.get_running_loop().time()
        well.scrape(1)
        await eventually_async(lambda: dying.asked, what="it is asked")
        dying.is_running = False
        collector.detach(dying)
        shown = await well.text(1)
        assert asyncio.get_running_loop().time() - began < 30
        assert shown("vrata_route_requests_total") == 2
        assert shown("vrata_route_inflight_requests") == 0

    run(scenario)


def test_nonsense_of_one_worker_harms_no_other() -> None:
    async def scenario(collector: MetricsCollector) -> None:
        well, mad = Worker(collector), Worker(collector, is_silent=True)
        well.count(1)
        well.scrape(1)
        await eventually_async(lambda: mad.asked, what="it is asked")
        mad.say(MetricsHandedOver(1), b"nonsense")
        assert (await well.text(1))("vrata_route_requests_total") == 1

    run(scenario)


def test_a_listener_without_metrics_shows_nothing() -> None:
    async def scenario(collector: MetricsCollector) -> None:
        worker = Worker(collector)
        worker.count(1)
        collector.adopt(MetricsScope.empty())
        worker.scrape(1)
        assert (await worker.text(1)).samples == {}

    run(scenario)
