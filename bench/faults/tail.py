"""The tail of response times while one of five endpoints is slow, by balancing algorithm, through the real proxy.

    python -m bench.faults.tail [--rate 400] [--seconds 8]

Every endpoint answers at once but one, which takes half a second more. The algorithms take turns in rounds; each line
has the medians of its rounds. Takes about a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.balancing import show
from bench.comparison import certificate, cores
from bench.comparison.installation import ROOT
from bench.comparison.machine import machine
from bench.comparison.proxies.proxy import Setup
from bench.comparison.workload import Site
from bench.faults.backend import Backend
from bench.faults.fault import SLOWER
from bench.faults.findings import quantile
from bench.faults.load import OpenLoad
from bench.faults.proxies import Vrata
from vrata.net.event_loop import new_event_loop

ALGORITHMS = ("ROUND_ROBIN", "RANDOM", "LEAST_REQUEST", "PEAK_EWMA")
ROUNDS = 2
SETTLING = 2.0
"""Seconds of load before the times count: what learns from answers has had some."""


@dataclass(frozen=True, slots=True)
class Tail:
    """Response times in milliseconds, the slow endpoint's share of the requests, and how many were lost."""

    p50: float
    p99: float
    p999: float
    share: float
    lost: int


async def measure(port: int, slow: str, rate: float, seconds: float) -> Tail:
    """Load the proxy at *port*, of whose endpoints *slow* is slow."""
    load = OpenLoad(port, rate)
    load.start()
    await asyncio.sleep(SETTLING)
    start = time.monotonic()
    await asyncio.sleep(seconds)
    await load.stop()
    counted = [answer for answer in load.answers if answer.at >= start]
    times = sorted(answer.taken * 1000 for answer in counted)
    return Tail(
        p50=quantile(times, 0.5),
        p99=quantile(times, 0.99),
        p999=quantile(times, 0.999),
        share=sum(answer.backend == slow for answer in counted) / len(counted),
        lost=sum(not answer.is_good for answer in counted),
    )


async def run(rate: float, seconds: float) -> dict[str, list[Tail]]:
    """Measure every algorithm, in rounds."""
    chosen = cores.choose()
    found: dict[str, list[Tail]] = {algorithm: [] for algorithm in ALGORITHMS}
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vrata-tail-")))
        setup = Setup(Site(), 0, certificate.create(scratch), chosen)
        backends = [await stack.enter_async_context(Backend(name, chosen.load)) for name in "abcde"]
        slow = backends[1]
        await slow.tell(f"delay {SLOWER}")
        proxies: dict[str, Vrata] = {}
        for algorithm in ALGORITHMS:
            proxy = Vrata(scratch / algorithm, setup, [backend.port for backend in backends], algorithm)
            stack.callback(proxy.stop)
            proxy.start()
            proxies[algorithm] = proxy
        for _ in range(ROUNDS):
            for algorithm, proxy in proxies.items():
                found[algorithm].append(await measure(proxy.port, slow.name, rate, seconds))
    return found


def rows(found: dict[str, list[Tail]]) -> list[tuple[str, ...]]:
    """The table, its heading first."""
    lines: list[tuple[str, ...]] = [("algorithm", "p50, ms", "p99, ms", "p99.9, ms", "its share", "lost")]
    for algorithm, tails in found.items():
        middle = median_of(tails)
        times = (f"{value:.1f}" for value in (middle.p50, middle.p99, middle.p999))
        lines.append((algorithm, *times, f"{middle.share:.4f}", str(middle.lost)))
    return lines


def median_of(tails: Sequence[Tail]) -> Tail:
    """The medians of the rounds, but all that was lost."""
    p50, p99, p999, share = (median(getattr(tail, name) for tail in tails) for name in ("p50", "p99", "p999", "share"))
    return Tail(p50, p99, p999, share, sum(tail.lost for tail in tails))


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rate", type=float, default=400.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of a run")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "tail.json", help="JSON document")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        found = runner.run(run(arguments.rate, arguments.seconds))
    table = rows(found)
    print(f"one of five endpoints takes {SLOWER * 1000:.0f} ms longer, at {arguments.rate:g} requests/s:\n")
    show(table)
    heading, *lines = table
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "requests_per_second": arguments.rate,
        "slower_ms": SLOWER * 1000,
        "algorithms": {line[0]: dict(zip(heading[1:], line[1:], strict=True)) for line in lines},
    }
    arguments.output.write_text(json.dumps(document, indent=2) + "\n")
    return 0 if not any(tail.lost for tails in found.values() for tail in tails) else 1


if __name__ == "__main__":
    sys.exit(main())
