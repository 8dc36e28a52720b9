"""Exporters: bring spans to a collector in batches, and never keep anybody waiting for that.

Spans wait in a queue of bounded length. A batch is sent when it is full, or a while after its first span; one that the
collector does not take for now is sent again after a pause. Whatever does not fit into the queue meanwhile is dropped
and counted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from typing import Final, Protocol

import structlog

from vrata.model.listener import Tracing
from vrata.observability.occasions import Occasions
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.backoff import doubled
from vrata.proxy.callout.answer import Answer, CalloutFailure
from vrata.proxy.meters import ListenerMeters
from vrata.proxy.tracing.otlp import export_request, refused_spans

MAX_QUEUED: Final = 8192
"""Spans of one worker that wait for one collector, the batch that is being sent included."""
MAX_BATCH: Final = 512
"""Spans in one request."""
INTERVAL: Final = 2.0
"""Seconds after which a span is sent at the latest, if the collector takes what it is sent."""
TIMEOUT: Final = 10.0
"""Seconds that one request may take."""
MAX_TRIES: Final = 4
"""How often a batch is sent."""
FIRST_PAUSE, MAX_PAUSE = 0.5, 8.0
"""Seconds until a batch is sent again, doubled each time."""

RETRIED: Final = frozenset({429, 502, 503, 504})
"""Statuses after which a batch may be sent again (OTLP 1.x, "Failures")."""

EXPORTED: Final = "exported"
QUEUE_FULL: Final = "queue_full"
UNREACHABLE: Final = "unreachable"
REFUSED: Final = "refused"

_Queued = tuple[bytes, ListenerMeters | None]

_log = structlog.get_logger("vrata.proxy.tracing")


class Fetches(Protocol):
    """What can send requests to destinations (:class:`vrata.proxy.callout.services.Services`)."""

    async def fetch(
        self, destination_id: str, method: bytes, target: bytes, fields: bytes, body: bytes, limit: float
    ) -> Answer | CalloutFailure:
        """Return what comes of a request."""
        ...


class SpanExporter:
    """One collector as one worker sees it. Has a task only while there is something to send."""

    def __init__(self, tracing: Tracing, services: Fetches, tasks: TaskSupervisor) -> None:
        self._destination_id = tracing.destination_id
        self._target = tracing.path.encode("ascii")
        lines = "".join(f"{header.name}: {header.value}\r\n" for header in tracing.headers)
        self._fields = b"content-type: application/x-protobuf\r\n" + lines.encode("utf-8")
        self._service_name = tracing.service_name
        self._services = services
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Queued] = deque()
        self._sending = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_ending = False
        self._reports = Occasions()

    def __repr__(self) -> str:
        return f"<SpanExporter to {self._destination_id}, {len(self._queue) + self._sending} spans waiting>"

    @staticmethod
    def key(tracing: Tracing) -> Hashable:
        """Return what two listeners that may share an exporter have in common."""
        return tracing.destination_id, tracing.path, tracing.headers, tracing.service_name

    def add(self, span: bytes, meters: ListenerMeters | None) -> None:
        """Send *span*, as :func:`encoded_span` makes it, when it is its turn; *meters* count what becomes of it."""
        queue = self._queue
        if len(queue) + self._sending >= MAX_QUEUED:
            _count(meters, QUEUE_FULL)
            self._report("more spans than the collector takes")
            return
        queue.append((span, meters))
        if self._task is None:
            if len(queue) >= MAX_BATCH or self._is_ending:
                self._begin()
            elif self._timer is None:
                self._timer = self._loop.call_later(INTERVAL, self._begin)

    async def flush(self, timeout: float) -> None:
        """The worker ends: send what waits within *timeout* seconds, and nothing twice."""
        self._is_ending = True
        if self._queue and self._task is None:
            self._begin()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout)

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._task = self._tasks.start(self._export(), name="export spans")

    async def _export(self) -> None:
        """Send everything that waits, also what comes while a batch is sent if that is a whole batch."""
        try:
            at_least = 1
            while len(self._queue) >= at_least:
                batch = [self._queue.popleft() for _ in range(min(MAX_BATCH, len(self._queue)))]
                self._sending = len(batch)
                try:
                    await self._send(batch)
                finally:
                    self._sending = 0
                at_least = 1 if self._is_ending else MAX_BATCH
        finally:
            self._task = None
            if self._queue:
                self._timer = self._loop.call_later(INTERVAL, self._begin)

    async def _send(self, batch: list[_Queued]) -> None:
        body = export_request(self._service_name, [span for span, _ in batch])
        for number in range(MAX_TRIES):
            outcome = await self._services.fetch(
                self._destination_id, b"POST", self._target, self._fields, body, TIMEOUT
            )
            if isinstance(outcome, Answer) and outcome.status not in RETRIED:
                self._conclude(batch, outcome)
                return
            reason = f"status {outcome.status}" if isinstance(outcome, Answer) else outcome.reason
            self._report(reason)
            if self._is_ending or number == MAX_TRIES - 1:
                break
            await asyncio.sleep(doubled(FIRST_PAUSE, MAX_PAUSE, number))
        _count_all(batch, UNREACHABLE)

    def _conclude(self, batch: list[_Queued], answer: Answer) -> None:
        if not 200 <= answer.status < 300:
            _count_all(batch, REFUSED)
            self._report(f"status {answer.status}")
            return
        refused, reason = refused_spans(answer.body)
        if reason:
            self._report(reason)
        # Which ones they are is not said.
        refused = min(refused, len(batch))
        _count_all(batch[: len(batch) - refused], EXPORTED)
        _count_all(batch[len(batch) - refused :], REFUSED)

    def _report(self, reason: str) -> None:
        passed_over = self._reports.occurred()
        if passed_over >= 0:
            _log.warning(
                "spans are not taken", destination=self._destination_id, reason=reason, passed_over=passed_over
            )


def _count(meters: ListenerMeters | None, outcome: str) -> None:
    if meters is not None:
        meters.span(outcome)


def _count_all(batch: list[_Queued], outcome: str) -> None:
    for _, meters in batch:
        _count(meters, outcome)
