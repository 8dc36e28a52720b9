"""A clock that moves only when a test moves it, in place of an event loop."""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any, cast


class ManualTimer:
    """What ``call_later`` returns."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class ManualLoop:
    """The part of an event loop that connections and their deadlines use: time, timers, and "soon"."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._soon: deque[Callable[[], object]] = deque()
        self._timers: list[tuple[float, int, ManualTimer, Callable[[], object]]] = []
        self._order = count()

    def time(self) -> float:
        return self._now

    def is_closed(self) -> bool:
        return False

    def call_soon(self, callback: Callable[..., object], *args: Any) -> None:
        self._soon.append(lambda: callback(*args))

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> ManualTimer:
        timer = ManualTimer()
        heapq.heappush(self._timers, (self._now + delay, next(self._order), timer, lambda: callback(*args)))
        return timer

    def settle(self) -> None:
        """Run what is due now."""
        while self._soon:
            self._soon.popleft()()

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass."""
        self.settle()
        end = self._now + seconds
        while self._timers and self._timers[0][0] <= end:
            self._now, _, timer, callback = heapq.heappop(self._timers)
            if not timer.cancelled:
                callback()
            self.settle()
        self._now = end

    def as_event_loop(self) -> asyncio.AbstractEventLoop:
        """This, for those who ask for a whole loop."""
        return cast(asyncio.AbstractEventLoop, self)
