"""The writer of an access log: takes lines from the event loop, and has a thread write them to the file.

The loop never waits for a file. Lines are collected for a moment and handed over together; what waits is bounded in
bytes, and lines beyond that are dropped and counted, as are those that the file does not take.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue

import structlog

from vrata.proxy.meters import QUEUE_FULL, WRITE_ERROR, MiddlewareMeter
from vrata.proxy.middleware.log_file import LogFile

COLLECTED_FOR = 0.05
"""Seconds that lines are collected for, unless they are many: a thread that wakes takes the processor from the loop."""
HANDED_OVER_AT = 256 * 1024
"""Bytes of collected lines that are handed over at once."""
MOST_WAITING = 8 * 1024 * 1024
"""Bytes of lines that wait for one file in one worker."""
COST_OF_LINE = 80
"""Bytes that a waiting line takes beside its text."""
LOG_INTERVAL = 10.0
"""Seconds between two lines in the proxy's log about one file."""

_log = structlog.get_logger("vrata.proxy.accesslog")


@dataclass(slots=True)
class _Batch:
    """Lines that are handed over together, and what counts the loss of each."""

    lines: list[bytes] = field(default_factory=list)
    meters: list[MiddlewareMeter | None] = field(default_factory=list)
    size: int = 0


class _Account:
    """What became of the lines of one file; on the loop alone."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop, on_change: Callable[[], None]) -> None:
        self.waiting = 0
        """Bytes that were taken and not written yet."""
        self.failure = ""
        """Why the file is not open, or not the one that was asked for, and what that means; empty when it is."""
        self.first_opening: asyncio.Future[None] = loop.create_future()
        """Done when it was tried to open the file."""
        self._on_change = on_change
        self._path = path
        self._loop = loop
        self._failing = False
        self._lost = {QUEUE_FULL: 0, WRITE_ERROR: 0}
        self._reason = ""
        self._told_at = -LOG_INTERVAL
        self._telling: asyncio.TimerHandle | None = None

    def refused(self, meter: MiddlewareMeter | None) -> None:
        """A line does not fit any more."""
        self._lose(QUEUE_FULL, meter)

    def settled(self, batch: _Batch, written: int, error: OSError | None) -> None:
        """The first *written* lines of *batch* are in the file, and *error* has prevented the others."""
        self.waiting -= batch.size
        if error is not None:
            self._failing = True
            self._reason = error.strerror or str(error)
            for meter in batch.meters[written:]:
                self._lose(WRITE_ERROR, meter)
        elif self._failing:
            self._failing = False
            self._tell()
            _log.info("access log is written again", path=self._path)

    def not_opened(self, error: OSError, *, is_kept: bool) -> None:
        """The file could not be opened, or not opened again; what was open before may have been kept."""
        effect = "the file that was open before is written on" if is_kept else "its lines go to standard output"
        reason = error.strerror or str(error)
        # The supervisor tells of it, for all workers together.
        _log.debug("access log cannot be opened", path=self._path, reason=reason, effect=effect)
        self._opening(f"{reason}: {effect}")

    def opened(self) -> None:
        """The file was opened, or opened again."""
        self._opening("")

    def _opening(self, failure: str) -> None:
        before, self.failure = self.failure, failure
        _resolve(self.first_opening)
        if failure != before:
            self._on_change()

    def _lose(self, reason: str, meter: MiddlewareMeter | None) -> None:
        self._lost[reason] += 1
        if meter is not None:
            meter.dropped(reason)
        if self._telling is None:
            since = self._loop.time() - self._told_at
            self._telling = self._loop.call_later(max(0.0, LOG_INTERVAL - since), self._tell)

    def _tell(self) -> None:
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
        if not any(self._lost.values()):
            return
        self._told_at = self._loop.time()
        counts = {reason: count for reason, count in self._lost.items() if count}
        reason = {"reason": self._reason} if WRITE_ERROR in counts else {}
        _log.warning("lines of an access log are lost", path=self._path, **counts, **reason)
        self._lost = dict.fromkeys(self._lost, 0)


class _Reopen:
    """Ask for the file to be opened again."""


class _End:
    """Ask the thread to end."""


_Order = _Batch | _Reopen | _End | asyncio.Future[None]
"""What the thread is told; a future is done when everything before it is."""


class LogThread:
    """Carries out the orders of one writer, one after the other, in a thread of its own."""

    def __init__(self, path: str, account: _Account, loop: asyncio.AbstractEventLoop) -> None:
        self.orders: SimpleQueue[_Order] = SimpleQueue()
        self.ended: asyncio.Future[None] = loop.create_future()
        self._file = LogFile(path)
        self._account = account
        self._loop = loop
        # A daemon: a file that hangs must not keep the worker from ending.
        threading.Thread(target=self._run, name=f"access log {path}", daemon=True).start()

    def __repr__(self) -> str:
        return f"<LogThread {self._file}, {self.orders.qsize()} orders>"

    def _run(self) -> None:
        # On a loop that is closed there is nobody left who wants to know.
        with contextlib.suppress(RuntimeError):
            self._open()
            while True:
                order = self.orders.get()
                match order:
                    case _Batch():
                        written, error = self._file.append(order.lines)
                        self._loop.call_soon_threadsafe(self._account.settled, order, written, error)
                    case _Reopen():
                        self._open()
                    case _End():
                        self._file.close()
                        self._loop.call_soon_threadsafe(self._on_end)
                        return
                    case _:
                        self._loop.call_soon_threadsafe(_resolve, order)

    def _on_end(self) -> None:
        self.ended.set_result(None)
        while not self.orders.empty():
            order = self.orders.get()
            if isinstance(order, asyncio.Future):
                _resolve(order)

    def _open(self) -> None:
        try:
            self._file.open()
        except OSError as error:
            self._loop.call_soon_threadsafe(partial(self._account.not_opened, error, is_kept=self._file.is_open))
        else:
            self._loop.call_soon_threadsafe(self._account.opened)


class LogWriter:
    """Takes the lines of one file. It lives as long as somebody holds it, and its thread until all is written."""

    def __init__(
        self,
        path: str,
        loop: asyncio.AbstractEventLoop,
        most_waiting: int = MOST_WAITING,
        on_change: Callable[[], None] | None = None,
    ) -> None:
        """*on_change* is called when :attr:`failure` has changed."""
        self._loop = loop
        self._most_waiting = most_waiting
        self._account = _Account(path, loop, on_change or _nothing)
        self.thread = LogThread(path, self._account, loop)
        self._batch = _Batch()
        self._handing_over: asyncio.TimerHandle | None = None
        weakref.finalize(self, self.thread.orders.put, _End())

    def __repr__(self) -> str:
        return f"<LogWriter {self.thread}, {self._account.waiting} bytes waiting>"

    @property
    def failure(self) -> str:
        """Why the file could not be opened, and what becomes of lines instead; empty when it is open, or may be yet."""
        return self._account.failure

    @property
    def first_opening(self) -> asyncio.Future[None]:
        """Done when it was tried to open the file."""
        return self._account.first_opening

    def write(self, line: bytes, meter: MiddlewareMeter | None) -> None:
        """Have *line*, which ends with its line feed, written soon. *meter* counts it if it is lost."""
        size = len(line) + COST_OF_LINE
        if self._account.waiting + size > self._most_waiting:
            self._account.refused(meter)
            return
        self._account.waiting += size
        batch = self._batch
        batch.lines.append(line)
        batch.meters.append(meter)
        batch.size += size
        if batch.size >= HANDED_OVER_AT:
            self.hand_over()
        elif self._handing_over is None:
            self._handing_over = self._loop.call_later(COLLECTED_FOR, self.hand_over)

    def hand_over(self) -> None:
        """Have everything written that was collected."""
        if self._handing_over is not None:
            self._handing_over.cancel()
            self._handing_over = None
        if self._batch.lines:
            self.thread.orders.put(self._batch)
            self._batch = _Batch()

    def reopen(self) -> None:
        """Open the file again, after what was taken so far is in the one that is open now."""
        self.hand_over()
        self.thread.orders.put(_Reopen())


class LogWriters:
    """The writers of a worker: one for each path, whoever writes there."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.on_change: Callable[[], None] = _nothing
        """Called when :attr:`failures` have changed."""
        self._writers: weakref.WeakValueDictionary[str, LogWriter] = weakref.WeakValueDictionary()
        self._threads: set[LogThread] = set()

    def __repr__(self) -> str:
        return f"<LogWriters {sorted(self._writers)}>"

    def writer(self, path: str) -> LogWriter:
        """Return what writes to *path*; it is closed when nobody holds it any more."""
        writer = self._writers.get(path)
        if writer is None:
            writer = self._writers[path] = LogWriter(path, self._loop, on_change=self._changed)
            thread = writer.thread
            self._threads.add(thread)
            thread.ended.add_done_callback(lambda _: self._threads.discard(thread))
        return writer

    @property
    def failures(self) -> dict[str, str]:
        """By path: why files could not be opened, and what becomes of their lines."""
        return {path: writer.failure for path, writer in list(self._writers.items()) if writer.failure}

    async def opened(self, timeout: float) -> None:
        """Return when it was tried to open every file, or after *timeout* seconds: some file systems hang."""
        awaited = [found.first_opening for found in list(self._writers.values()) if not found.first_opening.done()]
        if awaited:
            await asyncio.wait(awaited, timeout=timeout)

    def _changed(self) -> None:
        self.on_change()

    def reopen(self) -> None:
        """Open every file again, since it may have been moved away."""
        for writer in list(self._writers.values()):
            writer.reopen()

    async def flush(self, timeout: float) -> bool:
        """Return when everything is written that was taken so far, or after *timeout* seconds; False then."""
        for writer in list(self._writers.values()):
            writer.hand_over()
        awaited: list[asyncio.Future[None]] = []
        for thread in self._threads:
            if thread.ended.done():
                continue  # it takes no orders any more, and is about to be forgotten
            done: asyncio.Future[None] = self._loop.create_future()
            thread.orders.put(done)
            awaited.append(done)
        if not awaited:
            return True
        _, pending = await asyncio.wait(awaited, timeout=timeout)
        return not pending


def _nothing() -> None:
    pass


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
