"""The reporter: a worker's side of the talk with its supervisor about metrics."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Final

import structlog

from vrata.proxy import memory_file
from vrata.proxy.channel import Channel, MetricsHandedOver, ScrapeArrived
from vrata.proxy.metrics.handover import Line
from vrata.proxy.metrics.scope import ListenerKey
from vrata.proxy.metrics.scrape import ExpositionSource, MetricsUnavailable

INTERVAL: Final = 5.0
"""Seconds between two hand-overs that nobody asked for, and so the most that is lost when the worker is killed."""
SLICE: Final = 0.001
"""Seconds of work between two turns of the event loop."""
UNASKED: Final = 0
"""Number of the collection that nobody began."""

_log = structlog.get_logger("vrata.proxy.metrics")


class MetricsReporter(ExpositionSource):
    """Hands over what *take* gives, and gets the totals for scrapes."""

    def __init__(self, channel: Channel, take: Callable[[], Iterator[Line]]) -> None:
        self._channel = channel
        self._take = take
        # What a worker states must arrive in the order in which it was so.
        self._one_at_a_time = asyncio.Lock()
        self._last = b""
        self._undelivered = b""
        self._scrapes: dict[int, asyncio.Future[bytes]] = {}
        self._last_scrape = 0

    async def report_forever(self) -> None:
        """Hand over now and then."""
        while True:
            await asyncio.sleep(INTERVAL)
            await self.hand_over(UNASKED)

    async def hand_over(self, collection: int) -> None:
        """Send what was counted since the last time; if it was not asked for, only when something has changed."""
        async with self._one_at_a_time:
            if self._channel.is_closed:
                return
            if self._undelivered and not self._deliver(UNASKED, self._undelivered):
                return  # what is counted waits where it is
            pieces: list[bytes] = []
            counted = False
            deadline = perf_counter() + SLICE
            for line, has_counts in self._take():
                pieces.append(line)
                counted |= has_counts
                if perf_counter() >= deadline:
                    await asyncio.sleep(0)
                    deadline = perf_counter() + SLICE
            content = b"\n".join(pieces)
            if counted or collection != UNASKED or content != self._last:
                self._last = content
                self._deliver(collection, content)

    def _deliver(self, collection: int, content: bytes) -> bool:
        """Send *content*, or keep it for the next time."""
        self._undelivered = content
        try:
            descriptor = memory_file.create("vrata-metrics", content)
            try:
                self._channel.send(MetricsHandedOver(collection), descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            _log.warning("metrics cannot be handed over now", reason=str(error))
            return False
        self._undelivered = b""
        return True

    async def exposition(self, key: ListenerKey, *, openmetrics: bool) -> bytes:
        """Return the text that the supervisor makes of the totals."""
        if self._channel.is_closed:
            raise MetricsUnavailable("the supervisor is gone")
        self._last_scrape += 1
        number = self._last_scrape
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._scrapes[number] = answer
        try:
            self._channel.send(ScrapeArrived(number, *key, openmetrics))
            return await answer
        finally:
            del self._scrapes[number]

    def answer_scrape(self, scrape: int, descriptor: int) -> None:
        """The supervisor has answered; *descriptor* holds the text, and is closed here."""
        try:
            answer = self._scrapes.get(scrape)
            if answer is not None and not answer.done():
                answer.set_result(memory_file.read(descriptor))
        finally:
            os.close(descriptor)
