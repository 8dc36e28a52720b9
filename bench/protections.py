"""What the protections of a destination cost on the data path: processor time per request with all of them on, and off.

    python -m bench.protections [--rounds 15] [--seconds 2] [--only circuitBreaker retry]

Two proxies take turns with the comparison's GET workload; what counts are the ratios within the rounds. On are health
checks, outlier detection, the circuit breaker with its limits, the panic threshold, and retries with their budget.
Nothing fails, so none of them has anything to do: this is what everybody pays. Exit code 0 when the median is within
5 %, else 1. Takes a minute and a half.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median, quantiles
from typing import ClassVar

from bench.balancing import show
from bench.comparison import rounds, workload
from bench.comparison.installation import ROOT
from bench.comparison.machine import machine
from bench.comparison.proxies.vrata import Vrata
from bench.comparison.results import Results, Run
from bench.comparison.rounds import Plan
from tests.support.gateway import Document, forward
from vrata.compilation import INTERPRETED

BAR = 1.05
MINUTES = 8.0
"""No run begins later than this."""
WORKLOAD = "get-128b"
FIGURES = ("cpu_us", "user_us", "rps")

OPTIONS = {
    "healthCheck": {"path": "/bytes/128", "interval": "1s", "timeout": "1s"},
    "outlierDetection": {"consecutive5xx": 5, "consecutiveGatewayErrors": 5, "interval": "1s"},
    "circuitBreaker": {
        "maxConnections": 1000,
        "maxPendingRequests": 1000,
        "maxRequests": 1000,
        "maxRetries": 10,
        "failureThreshold": 5,
    },
    "panicThreshold": 50,
}
RETRY = {"attempts": 2, "perAttemptTimeout": "2s"}


class Unprotected(Vrata):
    """As it comes."""

    name: ClassVar[str] = "off"


class Protected(Vrata):
    """Everything that protects a destination, with limits that the load does not reach."""

    name: ClassVar[str] = "on"

    chosen: ClassVar[frozenset[str]] = frozenset()
    """Names of those that are on; empty for all."""

    def _destination(self) -> Document:
        options = {name: settings for name, settings in OPTIONS.items() if self._is_chosen(name)}
        return {**super()._destination(), "options": options}

    def _forward(self) -> Document:
        return forward("backend", **({"retry": RETRY} if self._is_chosen("retry") else {}))

    def _is_chosen(self, name: str) -> bool:
        return not self.chosen or name in self.chosen


def measure(number: int, seconds: int) -> Results:
    """Let the two take turns, *number* times."""
    plan = Plan(
        proxies=(Unprotected, Protected),
        workloads=workload.select([WORKLOAD]),
        rounds=number,
        seconds=seconds,
        deadline=time.monotonic() + 60 * MINUTES,
    )
    run = Run(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        rounds=number,
        seconds=seconds,
        versions={proxy.name: proxy.version() for proxy in plan.proxies},
    )
    results = Results(run)
    if INTERPRETED:
        results.note(f"hot modules are interpreted, which says little of an installation: {INTERPRETED}")
    rounds.run(plan, results)
    return results


def ratios(results: Results, figure: str) -> list[float]:
    """*figure* with protections, by that without them, of each round."""
    return [
        getattr(measured[Protected.name], figure) / getattr(measured[Unprotected.name], figure)
        for measured in results.rounds.get(WORKLOAD, [])
        if measured.keys() == {Protected.name, Unprotected.name}
    ]


def rows(results: Results) -> list[tuple[str, ...]]:
    """The table, its heading first."""
    lines: list[tuple[str, ...]] = [("", "off", "on", "on / off", "middle half", "least to most")]
    off, on = (results.median(WORKLOAD, proxy.name) for proxy in (Unprotected, Protected))
    for figure in FIGURES:
        found = ratios(results, figure)
        if len(found) < 2 or off is None or on is None:
            continue
        low, _, high = quantiles(found, n=4)
        lines.append(
            (
                figure,
                f"{getattr(off, figure):.1f}",
                f"{getattr(on, figure):.1f}",
                f"{median(found):.3f}",
                f"{low:.3f} to {high:.3f}",
                f"{min(found):.3f} to {max(found):.3f}",
            )
        )
    return lines


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="turns of each of the two")
    parser.add_argument("--seconds", type=int, default=2, help="length of a turn")
    parser.add_argument("--only", nargs="+", choices=(*OPTIONS, "retry"), default=(), help="of the protections")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "protections.json")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    Protected.chosen = frozenset(arguments.only)
    results = measure(arguments.rounds, arguments.seconds)
    table = rows(results)
    show(table)
    for line in (*results.notes, *results.failures):
        print(line)
    heading, *lines = table
    document = {
        **results.document()["run"],
        "figures": {line[0]: dict(zip(heading[1:], line[1:], strict=True)) for line in lines},
        "cpu_ratios": [round(ratio, 4) for ratio in ratios(results, "cpu_us")],
        "bar": BAR,
        "protections": arguments.only or [*OPTIONS, "retry"],
        "notes": results.notes,
        "failures": results.failures,
    }
    arguments.output.write_text(json.dumps(document, indent=2) + "\n")
    found = ratios(results, "cpu_us")
    met = bool(found) and median(found) <= BAR
    print(f"protections: {'within' if met else 'NOT within'} {100 * (BAR - 1):.0f} %")
    return 0 if met and not results.failures else 1


if __name__ == "__main__":
    sys.exit(main())
