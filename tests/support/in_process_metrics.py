"""The supervisor's part in metrics, for a data plane in the process of the test."""

from __future__ import annotations

from tests.support.exposition import Scraped
from tests.support.in_process_proxy import InProcessProxy
from tests.support.stream_client import StreamClient
from vrata.observability import exposition
from vrata.proxy.metrics import families
from vrata.proxy.metrics.scope import ListenerKey
from vrata.proxy.metrics.scrape import ExpositionSource
from vrata.proxy.metrics.totals import Totals


class InProcessMetrics(ExpositionSource):
    """Answers the scrapes of *proxy*, its only worker."""

    def __init__(self, proxy: InProcessProxy) -> None:
        self._proxy = proxy
        self._totals = Totals()
        self._client: StreamClient | None = None
        proxy.data_plane.answer_scrapes_from(self)

    async def exposition(self, key: ListenerKey, *, openmetrics: bool) -> bytes:
        plan = self._proxy.data_plane._plan
        assert plan is not None
        self._totals.adopt(plan.metrics_scope)
        content = b"\n".join(line for line, _ in self._proxy.data_plane.take_metrics())
        self._totals.add("the worker", content)
        totals = self._totals.listener(key)
        assert totals is not None
        samples = families.samples(totals, exemplars=openmetrics)
        return "".join(exposition.lines(samples, openmetrics=openmetrics)).encode()

    async def scrape(self, *, openmetrics: bool = False) -> Scraped:
        """Scrape the first listener, on a connection kept for that."""
        if self._client is None:
            self._client = await self._proxy.connect()
        wanted = ("Accept: application/openmetrics-text; version=1.0.0",) if openmetrics else ()
        response = await self._client.exchange("GET /metrics", *wanted)
        assert response.status == 200, response
        return Scraped(response.body.decode(), openmetrics=openmetrics)
