"""Whether rate limits are exact, whatever the number of workers, and with proxies that share them by Redis.

    python -m bench.rate_limit [--workers 1 2 4] [--seconds 5] [--rate 400] [--burst 300]

Clients on many connections ask as fast as they can, for more than the limit lets through. Printed is what was admitted
beside what a bucket of that size and rate gives in the time: at least for the time between the first answer and the
last request, at most for that between the first request and the last answer. Each number of workers is tried a second
time while a worker is killed in the middle. Redis is a `redis-server` of its own, for two proxies with two workers
each. Exit code 0 when everything was exact, else 1. Takes about a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from math import ceil, floor
from pathlib import Path
from typing import Any

from bench.balancing import show
from tests.support.gateway import Gateway, listener, route
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer
from vrata.net.event_loop import new_event_loop

CONNECTIONS = 16
"""For each proxy, so that every worker gets some."""
REQUEST = b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Limit:
    """Tokens per second, and how many fit in the bucket."""

    rate: float
    burst: int


@dataclass(slots=True)
class Tally:
    """What clients have seen; times of the monotonic clock, in seconds."""

    statuses: Counter[int] = field(default_factory=Counter)
    first_request: float = 0.0
    first_answer: float = 0.0
    last_request: float = 0.0
    last_answer: float = 0.0

    def asked(self, at: float) -> None:
        """A request goes out."""
        self.first_request = self.first_request or at
        self.last_request = at

    def told(self, status: int) -> None:
        """An answer has come."""
        self.statuses[status] += 1
        self.last_answer = time.monotonic()
        self.first_answer = self.first_answer or self.last_answer


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one trial."""

    name: str
    tally: Tally
    limit: Limit

    @property
    def admitted(self) -> int:
        return self.tally.statuses[200]

    @property
    def least(self) -> int:
        """When the last one asked there was no token left, so all others were given."""
        tally = self.tally
        return ceil(self.limit.burst - 1 + self.limit.rate * (tally.last_request - tally.first_answer))

    @property
    def most(self) -> int:
        tally = self.tally
        return floor(self.limit.burst + self.limit.rate * (tally.last_answer - tally.first_request))

    @property
    def is_exact(self) -> bool:
        return self.least <= self.admitted <= self.most

    def row(self) -> tuple[str, ...]:
        """One line of the table."""
        tally = self.tally
        others = sum(count for status, count in tally.statuses.items() if status not in (200, 429))
        seconds = tally.last_answer - tally.first_request
        counts = (sum(tally.statuses.values()), self.admitted, f"{self.least}-{self.most}", tally.statuses[429], others)
        return (self.name, f"{seconds:.2f}", *map(str, counts), "yes" if self.is_exact else "NO")


async def ask(port: int, until: float, tally: Tally) -> None:
    """One client: the next request when the last was answered, on a new connection where the old one broke."""
    while time.monotonic() < until:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                while (now := time.monotonic()) < until:
                    tally.asked(now)
                    writer.write(REQUEST)
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                    await reader.readexactly(int(length))
                    tally.told(int(head[9:12]))
            finally:
                writer.close()


async def hammer(ports: Sequence[int], seconds: float, victim: int = 0) -> Tally:
    """Ask all *ports* for that long; kill the process *victim* in the middle."""
    tally = Tally()
    until = time.monotonic() + seconds
    async with asyncio.TaskGroup() as clients:
        for port in ports:
            for _ in range(CONNECTIONS):
                clients.create_task(ask(port, until, tally))
        if victim:
            await asyncio.sleep(seconds / 2)
            os.kill(victim, signal.SIGKILL)
    return tally


class Proxy:
    """A Vrata with one limit at a time, which answers by itself what is within it."""

    def __init__(self, directory: Path, workers: int, **sections: dict[str, Any]) -> None:
        self.gateway = Gateway(directory, proxy={"workers": workers}, log={"level": "warn"}, **sections)
        self.port = free_port()

    def limit(self, number: int, limit: Limit, **settings: Any) -> None:
        """From now on it limits like that, with buckets that are full."""
        self.gateway.configure(
            listeners=[listener(self.port)],
            routes=[
                route("all", directResponse={"status": 200, "body": "ok"}) | {"middlewareIds": [f"limit-{number}"]}
            ],
            middlewares=[
                {
                    "id": f"limit-{number}",
                    "name": "limit",
                    "type": "rateLimit",
                    "rateLimit": {"requestsPerSecond": limit.rate, "burst": limit.burst, **settings},
                }
            ],
        )


def local(workers: int, limit: Limit, seconds: float, runner: asyncio.Runner) -> list[Outcome]:
    """One proxy with so many *workers*, without and with a death."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vrata-rate-limit-")))
        proxy = Proxy(scratch / "vrata", workers)
        gateway = stack.enter_context(proxy.gateway)
        proxy.limit(1, limit)
        name = f"{workers} worker{'s' if workers > 1 else ''}"
        found = [Outcome(name, runner.run(hammer([proxy.port], seconds)), limit)]
        proxy.limit(2, limit)
        tally = runner.run(hammer([proxy.port], seconds, gateway.workers()[0]))
        return [*found, Outcome(f"{name}, one killed", tally, limit)]


def fleet(limit: Limit, seconds: float, runner: asyncio.Runner) -> Outcome:
    """Two proxies that share a Redis."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vrata-rate-limit-")))
        redis = stack.enter_context(RedisServer(scratch / "redis"))
        store = {"type": "redis", "redis": {"address": f"127.0.0.1:{redis.port}"}}
        proxies = [Proxy(scratch / name, 2, sessionStore=store) for name in ("one", "other")]
        for proxy in proxies:
            stack.enter_context(proxy.gateway)
            proxy.limit(1, limit, store="redis", onStoreFailure="deny")
        tally = runner.run(hammer([proxy.port for proxy in proxies], seconds))
        return Outcome("2 proxies, 2 workers each, Redis", tally, limit)


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2, 4), help="numbers of workers")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each trial")
    parser.add_argument("--rate", type=float, default=400.0, help="requests per second")
    parser.add_argument("--burst", type=int, default=300, help="size of the bucket")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    limit = Limit(arguments.rate, arguments.burst)
    outcomes: list[Outcome] = []
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        for workers in arguments.workers:
            outcomes += local(workers, limit, arguments.seconds, runner)
        outcomes.append(fleet(limit, arguments.seconds, runner))
    print(f"{limit.rate:g} requests per second, burst of {limit.burst}\n")
    heading = ("limited by", "seconds", "offered", "admitted", "theory", "refused", "failed", "exact")
    show([heading, *(outcome.row() for outcome in outcomes)])
    return 0 if all(outcome.is_exact for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
