"""Scrapes: requests for the metrics of a listener, answered before any routing. They count as no request of a route."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

import structlog

from vrata.observability.exposition import OPENMETRICS_TYPE, PROMETHEUS_TYPE, wants_openmetrics
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.contracts import ClientRequest, LocalResponse
from vrata.proxy.metrics.scope import ListenerKey

TIMEOUT: Final = 5.0
"""Seconds that a scrape may take; Prometheus gives up after 10 by default."""

_NOT_ALLOWED: Final = LocalResponse(
    405,
    b"content-type: application/json\r\nallow: GET, HEAD\r\n",
    b'{"error":"method_not_allowed","status":405,"message":"metrics are read with GET"}\n',
)
_UNAVAILABLE: Final = LocalResponse(
    503,
    b"content-type: application/json\r\n",
    b'{"error":"metrics_unavailable","status":503,"message":"metrics cannot be collected at the moment"}\n',
)

_log = structlog.get_logger("vrata.proxy.metrics")


class MetricsUnavailable(Exception):  # noqa: N818 - an outcome, not a fault of the caller
    """Nobody is there who knows the totals."""


class ExpositionSource(Protocol):
    """Who knows the totals over all workers."""

    async def exposition(self, key: ListenerKey, *, openmetrics: bool) -> bytes:
        """Return the text of one listener's metrics as of now. Raises :class:`MetricsUnavailable`."""
        ...


class NoSource(ExpositionSource):
    """The source of a data plane that has none."""

    async def exposition(self, key: ListenerKey, *, openmetrics: bool) -> bytes:
        """Raise :class:`MetricsUnavailable`."""
        raise MetricsUnavailable("nobody collects metrics")


class ScrapeAction:
    """Answers scrapes with what *source* says."""

    def __init__(self, tasks: TaskSupervisor) -> None:
        self._tasks = tasks
        self.source: ExpositionSource = NoSource()

    def run(self, request: ClientRequest, key: ListenerKey) -> None:
        """Answer *request*, whatever its content, with the metrics of the listener *key*."""
        if request.head.method not in (b"GET", b"HEAD"):
            request.respond(_NOT_ALLOWED)
            return
        openmetrics = wants_openmetrics(request.header("accept") or "")
        # No handler: an answer to a client that has gone is dropped, and was asked for already.
        self._tasks.start(self._answer(request, key, openmetrics), name="scrape")

    async def _answer(self, request: ClientRequest, key: ListenerKey, openmetrics: bool) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                text = await self.source.exposition(key, openmetrics=openmetrics)
        except (TimeoutError, MetricsUnavailable, OSError) as error:
            _log.warning("metrics cannot be shown", listener=key[0], reason=str(error) or type(error).__name__)
            request.respond(_UNAVAILABLE)
            return
        media_type = OPENMETRICS_TYPE if openmetrics else PROMETHEUS_TYPE
        request.respond(LocalResponse(200, b"content-type: " + media_type + b"\r\n", text))
