"""Faulty backends, changing configuration, workers that are replaced: minutes of load, and every answer is checked.

    python -m bench.fault_soak [--seconds 600] [--connections 300] [--interval 1] [--workers 2]

Clients ask healthy and faulty backends (``tests/support/fault_load.py``), some of them leave in the middle or read
slowly. Meanwhile a snapshot is activated every second, all workers are replaced once near the beginning, and the first
of them again and again; the others live on, and their memory is watched. Exit code 0 when no answer was wrong, the
memory is flat, and no connection is left at the end; else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench.companion import Companion
from bench.processes import print_table, resident
from tests.support.conditions import eventually
from tests.support.fault_load import FaultLoad, destinations, routes
from tests.support.faulty_backend import DeadPorts, FaultyBackendProcess
from tests.support.gateway import Entities, Gateway, listener
from tests.support.ports import free_port
from tests.support.processes import open_sockets
from vrata.net.event_loop import new_event_loop

VARIANTS = 3
REPLACE_EVERY = 15.0
"""Seconds between replacements of the first worker."""
REPLACE_ALL_AFTER = 0.1
"""Part of the run after which all workers are replaced at once."""
WARM_UP = 0.3
"""Part of the run after which memory must not grow."""
MAX_SLOPE = 0.5
"""MiB a minute by which a worker may seem to grow; what has no trend swings by as much."""
MAX_SWING = 2.0
"""MiB from the first to the last of a run that is too short to see a trend."""


@dataclass
class Sample:
    """Resident memory of one worker, MiB over seconds."""

    times: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)

    def after(self, start: float) -> Sample:
        pairs = [(when, size) for when, size in zip(self.times, self.sizes, strict=True) if when >= start]
        return Sample([when for when, _ in pairs], [size for _, size in pairs])

    @property
    def slope(self) -> float:
        """MiB a minute, by least squares; 0 for less than two samples."""
        count = len(self.times)
        if count < 2:
            return 0.0
        middle, average = sum(self.times) / count, sum(self.sizes) / count
        spread = sum((when - middle) ** 2 for when in self.times)
        return 60 * sum((w - middle) * (s - average) for w, s in zip(self.times, self.sizes, strict=True)) / spread

    @property
    def growth(self) -> float:
        """MiB from the first fifth to the last one, each on average."""
        part = max(1, len(self.sizes) // 5)
        return sum(self.sizes[-part:]) / part - sum(self.sizes[:part]) / part


class Disturbance(Companion):
    """Changes the configuration, replaces workers, and samples their memory."""

    def __init__(self, gateway: Gateway, snapshots: list[str], interval: float, seconds: float) -> None:
        super().__init__("disturbance", interval)
        self.activations = 0
        self.replaced = 0
        self.failures: list[str] = []
        self.samples: dict[int, Sample] = {}
        self._started = time.monotonic()
        self._gateway = gateway
        self._snapshots = snapshots
        self._replace_all = seconds * REPLACE_ALL_AFTER
        self._replace_one = REPLACE_EVERY

    def work(self) -> None:
        elapsed = time.monotonic() - self._started
        try:
            if elapsed >= self._replace_all:
                self._replace_all = float("inf")
                self._gateway.process.signal(signal.SIGHUP)
            elif elapsed >= self._replace_one:
                self._replace_one = elapsed + REPLACE_EVERY
                os.kill(self._gateway.workers()[0], signal.SIGTERM)
                self.replaced += 1
            self.activations += 1
            self._gateway.activate(self._snapshots[self.activations % len(self._snapshots)], timeout=30)
            self._sample(elapsed)
        except Exception as error:  # noqa: BLE001 - any failure is a finding
            self.failures.append(f"after {elapsed:.0f} s: {error!r}")

    def _sample(self, elapsed: float) -> None:
        for pid in self._gateway.workers():
            try:
                size = resident(pid)
            except OSError:
                continue  # it is being replaced
            sample = self.samples.setdefault(pid, Sample())
            sample.times.append(elapsed)
            sample.sizes.append(size)


def report_memory(samples: dict[int, Sample], seconds: float) -> bool:
    """Print how the memory of the workers went that lived to the end; whether it is flat."""
    good, seen = True, False
    for pid, sample in samples.items():
        late = sample.after(seconds * WARM_UP)
        if len(late.times) < 5 or late.times[0] > seconds * (WARM_UP + 0.1) or late.times[-1] < seconds * 0.8:
            continue
        seen = True
        flat = late.slope <= MAX_SLOPE or late.growth <= MAX_SWING
        good = good and flat
        sizes = f"{sample.sizes[0]:.1f} MiB at first, {late.sizes[0]:.1f} warm, {late.sizes[-1]:.1f} at the end"
        trend = f"slope {late.slope:+.2f} MiB/min, {late.growth:+.1f} MiB in all"
        print(f"worker {pid}: {sizes}; {trend}: {'flat' if flat else 'GROWS'}")
    if not seen:
        print("no worker lived long enough to see a trend")
    return good and seen


def report_load(load: FaultLoad, seconds: float) -> bool:
    """Print what clients saw; whether it was all right."""
    print(f"clients: {load.answered} answers checked, {load.answered / seconds:.0f}/s; {load.left} left in the middle;")
    print(f"clients: {load.asked_again} asked on a connection that was just closed, as it may be when idle")
    for outcome, number in load.outcomes.most_common():
        print(f"  {outcome:<26} {number:>9}")
    print(f"clients: {len(load.wrong)} wrong answers")
    for line in load.wrong[:10]:
        print(f"wrong: {line}")
    return not load.wrong and load.outcomes["whole"] > 0


def left_over(gateway: Gateway, backends: list[FaultyBackendProcess], before: int) -> list[str]:
    """What is still there when everybody has gone: connections of workers and of backends, and what was strange."""

    def found() -> list[str]:
        sockets = {pid: open_sockets(pid) for pid in gateway.workers()}
        lines = [f"worker {pid}: {number} sockets, not {before}" for pid, number in sockets.items() if number > before]
        for backend in backends:
            state = backend.state()
            if state["open"] > 1 or state["strange"]:  # one of them asks
                lines.append(f"backend {backend.port}: {state}")
        return lines

    try:
        eventually(lambda: not found(), 20, what="nothing is left", interval=0.2)
    except AssertionError:
        return found()
    return []


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600, help="how long the load lasts")
    parser.add_argument("--connections", type=int, default=300, help="clients at once")
    parser.add_argument("--interval", type=float, default=1.0, help="seconds between activations")
    parser.add_argument("--workers", type=int, default=2, help="workers of the proxy")
    parser.add_argument("--seed", type=int, default=1, help="of the load")
    arguments = parser.parse_args()
    port = free_port()
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="vrata-fault-soak-"))
        backends = [stack.enter_context(FaultyBackendProcess()) for _ in range(3)]
        dead = stack.enter_context(DeadPorts())
        settings = {"workers": arguments.workers}
        gateway = stack.enter_context(Gateway(Path(scratch) / "vrata", proxy=settings, log={"level": "error"}))
        snapshots = []
        for variant in range(VARIANTS):
            # Without the other backend, its pool goes, and what it is doing must not.
            share = (50, 100, 20)[variant]
            healthy, other, faulty = (backend.port for backend in backends)
            found = destinations(healthy, other, faulty, dead.refused, dead.full)
            kept = tuple(item for item in found if share < 100 or item["id"] != "other")
            gateway.stage(Entities((listener(port, serverName=f"soak/{variant}"),), kept, tuple(routes(share))))
            snapshots.append(gateway.capture(f"variant {variant}"))
        gateway.activate(snapshots[0])
        before = max(open_sockets(pid) for pid in gateway.workers())
        load = FaultLoad(port, arguments.connections, arguments.seed)
        with (
            Disturbance(gateway, snapshots, arguments.interval, arguments.seconds) as disturbance,
            asyncio.Runner(loop_factory=new_event_loop) as runner,
        ):
            runner.run(load.run(arguments.seconds))
        left = left_over(gateway, backends, before)
        print_table([gateway.process.pid, *gateway.process.descendants()])
        print(f"changes: {disturbance.activations} activations, {disturbance.replaced + 1} replacements of workers")
        for line in (*disturbance.failures[:10], *left):
            print(f"wrong: {line}")
        log = gateway.process.text()
        if log:
            print("vrata logged:\n" + log[-3000:])
        good = report_load(load, arguments.seconds)
        good = report_memory(disturbance.samples, arguments.seconds) and good
        good = good and not left and not disturbance.failures and "Traceback" not in log
    print("fault soak: good" if good else "fault soak: FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
