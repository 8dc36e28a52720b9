"""A trial: one fault of one of the backends behind one proxy, under load from before it until after it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from bench.faults.backend import Backend
from bench.faults.fault import Fault
from bench.faults.findings import WINDOW, Findings, Period, back_after, find
from bench.faults.load import OpenLoad
from bench.faults.tap import Tap, attempts


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the parts of a trial are, in seconds, and how heavy its load, in requests per second."""

    rate: float = 400.0
    before: float = 2.0
    fault: float = 15.0
    after: float = 12.0
    """At most; the trial ends as soon as the backend is back."""

    @property
    def longest(self) -> float:
        """Seconds that a trial can take, without what starts and ends it."""
        return self.before + self.fault + self.after


async def attempt(port: int, fault: Fault, backends: Sequence[Backend], pace: Pace, *, tapped: bool) -> Findings:
    """Run the trial through the proxy at *port*. The backend that fails is the second one, and serves at the end.

    Raises ``RuntimeError`` when there were failures before anything was made to fail.
    """
    backend = backends[1]
    share = pace.rate / len(backends)
    load = OpenLoad(port, pace.rate)
    with ExitStack() as stack:
        tap = stack.enter_context(Tap(backend.port)) if tapped else None
        load.start()
        try:
            await asyncio.sleep(pace.before)
            wrong = sum(not answer.is_good for answer in load.answers)
            if wrong or not load.answers:
                raise RuntimeError(f"{wrong} of {len(load.answers)} requests were lost before the fault")
            begin = time.monotonic()
            await fault.begin(backend)
            await asyncio.sleep(begin + pace.fault - time.monotonic())
            await fault.end(backend)
            period = Period(begin, time.monotonic(), backend.name, share)
            while time.monotonic() < period.end + pace.after:
                await asyncio.sleep(0.2)
                back = back_after(load.answers, period)
                if back is not None and time.monotonic() > period.end + back + WINDOW:
                    break
        finally:
            await load.stop()
    return find(load.answers, attempts(tap.sights) if tap else None, period)
