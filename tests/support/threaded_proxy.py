"""A data plane in this process, on the loop of a thread of its own: for clients and backends that block."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from tests.support.in_process_proxy import InProcessProxy
from vrata.net.event_loop import new_event_loop

T = TypeVar("T")


class ThreadedProxy:
    """A context manager that leaves nothing running; :attr:`proxy` is used on its loop alone, by :meth:`run`."""

    def __init__(self) -> None:
        self.proxy: InProcessProxy
        self.port = 0
        self._loop = new_event_loop()
        self._surprises: list[dict[str, Any]] = []
        self._logs = structlog.testing.LogCapture()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    def __enter__(self) -> Self:
        self._processors = structlog.get_config()["processors"]
        structlog.configure(processors=[self._logs])
        self._loop.set_exception_handler(lambda _, context: self._surprises.append(context))
        self._thread.start()
        self.run(self._begin())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.run(self.proxy.end())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
            self._loop.close()
            structlog.configure(processors=self._processors)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* on the loop of the proxy and return what it comes to."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def complaints(self) -> list[object]:
        """What was logged as an error, or happened on the loop unhandled, since the last call."""
        found: list[object] = [entry for entry in self._logs.entries if entry["log_level"] in ("error", "critical")]
        found += self._surprises
        self._logs.entries.clear()
        self._surprises.clear()
        return found

    async def _begin(self) -> None:
        self.proxy = InProcessProxy()
        self.port = self.proxy.port
