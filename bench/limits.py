"""Whether the limits of a destination, and its circuit breaker, are exact whatever the number of workers.

    python -m bench.limits [--workers 1 2 4] [--bursts 5]

Bursts of requests, each on a connection of its own, are far more than a limit allows; a backend holds those that reach
it, and counts. Printed is what was admitted and refused beside the limit, over all bursts. Exit code 0 when everything
was exact, else 1. Takes about a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.balancing import show
from bench.comparison.cores import choose
from bench.comparison.machine import raise_file_limit
from bench.faults.backend import Backend
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.ports import free_port
from vrata.net.event_loop import new_event_loop

HELD = "delay 0.5"
"""How backends hold requests: longer than a burst takes to arrive."""
OPEN_SECONDS = 1.0
PATIENCE = 30.0
_OPEN: dict[str, Any] = {"failureThreshold": 0, "maxRequests": 10_000, "maxConnections": 10_000}


@dataclass(frozen=True, slots=True)
class Burst:
    """What became of requests that were sent at once, by status, and what the backend saw of them."""

    statuses: Counter[int]
    requests: int
    most_requests: int
    most_connections: int

    @property
    def admitted(self) -> int:
        """Answered by the backend, well or not."""
        return sum(self.statuses.values()) - self.refused

    @property
    def refused(self) -> int:
        return self.statuses[503]


class Target:
    """One destination of the proxy at *port*, and the backend behind it."""

    def __init__(self, port: int, path: str, backend: Backend) -> None:
        self.backend = backend
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode()

    async def burst(self, count: int) -> Burst:
        """Send *count* requests at once, and wait for all answers."""
        await self.backend.count()
        connections = [await asyncio.open_connection("127.0.0.1", self._port) for _ in range(count)]
        for _, writer in connections:
            writer.write(self._request)
        async with asyncio.timeout(PATIENCE):
            answers = [await reader.read() for reader, _ in connections]
        for _, writer in connections:
            writer.close()
        seen = await self.backend.count()
        statuses = Counter(int(answer[9:12] or 0) for answer in answers)
        return Burst(statuses, seen.requests, seen.most_requests, seen.most_connections)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one burst is to show, and what it did."""

    limit: int
    offered: int
    admitted: int
    refused: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Scenario:
    """One limit: the settings of its destination, and what is to be seen."""

    name: str
    circuit_breaker: dict[str, Any]
    run: Callable[[Target], Awaitable[Outcome]]
    retry: dict[str, Any] | None = None


async def _requests(target: Target) -> Outcome:
    await target.backend.tell(HELD)
    seen = await target.burst(80)
    exact = seen.admitted == seen.requests == seen.most_requests == 20 and seen.refused == 60
    return Outcome(20, 80, seen.admitted, seen.refused, exact)


async def _connections(target: Target) -> Outcome:
    await target.backend.tell("delay 0.05")
    seen = await target.burst(80)
    exact = seen.most_connections == seen.most_requests == 10 and seen.admitted == seen.requests == 80
    return Outcome(10, 80, seen.most_connections, seen.refused, exact)


async def _pending(target: Target) -> Outcome:
    await target.backend.tell(HELD)
    seen = await target.burst(80)
    exact = seen.most_connections == 5 and seen.admitted == seen.requests == 5 + 15 and seen.refused == 60
    return Outcome(15, 80, seen.admitted - 5, seen.refused, exact)


async def _retries(target: Target) -> Outcome:
    await target.backend.tell("error")
    seen = await target.burst(40)
    retries = seen.requests - 40
    return Outcome(2, 40, retries, 40 - retries, retries == 2 and seen.admitted == 40)


async def _opening(target: Target) -> Outcome:
    """Failures one after the other, on connections that any worker may get."""
    await _close(target)
    await target.backend.tell("error")
    bursts = [await target.burst(1) for _ in range(30)]
    admitted = sum(burst.requests for burst in bursts)
    first = all(burst.requests for burst in bursts[:7])
    return Outcome(7, 30, admitted, sum(burst.refused for burst in bursts), admitted == 7 and first)


async def _probing(target: Target) -> Outcome:
    """A burst at a circuit that is due for a probe."""
    await _trip(target)
    await target.backend.tell(HELD)
    await asyncio.sleep(OPEN_SECONDS + 0.1)
    seen = await target.burst(40)
    after = await target.burst(40)  # the probe was answered, so the circuit is closed
    exact = seen.admitted == seen.requests == 1 and seen.refused == 39 and after.admitted == 40
    return Outcome(1, 40, seen.admitted, seen.refused, exact)


async def _failing_probe(target: Target) -> Outcome:
    """A probe that fails, and another burst at once."""
    await _trip(target)
    await asyncio.sleep(OPEN_SECONDS + 0.1)
    first, second = await target.burst(40), await target.burst(40)
    admitted, refused = first.requests + second.requests, first.refused + second.refused
    return Outcome(1, 80, admitted, refused, admitted == 1 and refused == 79)


async def _trip(target: Target) -> None:
    """Open the circuit."""
    await target.backend.tell("error")
    for _ in range(100):
        if (await target.burst(1)).refused:
            return
    raise RuntimeError("100 failures did not open the circuit")


async def _close(target: Target) -> None:
    """Wait until the circuit is closed."""
    await target.backend.tell("serve")
    for _ in range(100):
        if not (await target.burst(1)).refused:
            return
        await asyncio.sleep(0.1)
    raise RuntimeError("the circuit does not close")


_BREAKER = {"failureThreshold": 7, "openDuration": f"{OPEN_SECONDS:g}s"}

SCENARIOS = (
    Scenario("maxRequests", _OPEN | {"maxRequests": 20}, _requests),
    Scenario("maxConnections", _OPEN | {"maxConnections": 10}, _connections),
    Scenario("maxPendingRequests", _OPEN | {"maxConnections": 5, "maxPendingRequests": 15}, _pending),
    Scenario(
        "maxRetries",
        _OPEN | {"maxRetries": 2},
        _retries,
        retry={"attempts": 1, "backoff": {"base": "1s", "max": "1s"}},
    ),
    Scenario("failures until open", _BREAKER, _opening),
    Scenario("probes, half-open", _BREAKER, _probing),
    Scenario("probes, the first fails", _BREAKER, _failing_probe),
)


async def measure(workers: int, bursts: int, scenarios: Sequence[Scenario]) -> list[tuple[str, list[Outcome]]]:
    """Run all *scenarios* through a proxy with so many *workers*."""
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vrata-limits-")))
        load = choose().load
        backends = [await stack.enter_async_context(Backend(scenario.name[0], load)) for scenario in scenarios]
        gateway = stack.enter_context(Gateway(scratch / "vrata", proxy={"workers": workers}, log={"level": "warn"}))
        port = free_port()
        numbered = list(enumerate(zip(scenarios, backends, strict=True)))
        gateway.configure(
            listeners=[listener(port)],
            destinations=[
                destination(f"d{number}", backend.port, circuitBreaker=scenario.circuit_breaker)
                for number, (scenario, backend) in numbered
            ],
            routes=[
                route(
                    f"r{number}",
                    {"path": f"/{number}"},
                    forward=forward(f"d{number}", **({"retry": scenario.retry} if scenario.retry else {})),
                )
                for number, (scenario, _) in numbered
            ],
        )
        found = []
        for number, (scenario, backend) in numbered:
            target = Target(port, f"/{number}", backend)
            found.append((scenario.name, [await scenario.run(target) for _ in range(bursts)]))
        return found


def row(workers: int, name: str, outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """One line of the table."""
    first = outcomes[0]
    exact = sum(outcome.is_exact for outcome in outcomes)
    cells = (_range([outcome.admitted for outcome in outcomes]), _range([outcome.refused for outcome in outcomes]))
    return (name, str(workers), str(first.limit), str(first.offered), *cells, f"{exact} of {len(outcomes)}")


def _range(numbers: Sequence[int]) -> str:
    least, most = min(numbers), max(numbers)
    return str(least) if least == most else f"{least}-{most}"


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2, 4), help="numbers of workers")
    parser.add_argument("--bursts", type=int, default=5, help="how often each scenario is repeated")
    parser.add_argument("--only", nargs="+", default=(), help="names of scenarios")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    raise_file_limit()
    scenarios = [scenario for scenario in SCENARIOS if not arguments.only or scenario.name in arguments.only]
    rows: list[tuple[str, ...]] = [("limit of", "workers", "limit", "offered", "admitted", "refused", "exact bursts")]
    exact = True
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        for workers in arguments.workers:
            for name, outcomes in runner.run(measure(workers, arguments.bursts, scenarios)):
                rows.append(row(workers, name, outcomes))
                exact = exact and all(outcome.is_exact for outcome in outcomes)
    rows[1:] = sorted(rows[1:], key=lambda cells: [scenario.name for scenario in scenarios].index(cells[0]))
    show(rows)
    print("maxConnections: admitted are connections at once, and all requests are answered in turn;")
    print("maxPendingRequests: admitted are those that waited, beside 5 connections; maxRetries: of 40 that all fail")
    print(f"limits: {'exact' if exact else 'NOT EXACT'}")
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
