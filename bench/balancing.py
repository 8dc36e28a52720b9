"""How even, how steady and how fast the choice of an endpoint is.

    python -m bench.balancing [--endpoints 10 1000 10000] [--large]

Prints five tables: the distribution of 100,000 picks among endpoints, then among destinations, as chi-square beside
the value that chance exceeds once in 10,000 times (a ring is never as even as that); the share of keys that move when
one of N endpoints leaves, beside 1/N; simulated response times with one slow endpoint; picks per second by the
selector, as a request pays for them, and the time to build. STICKY is measured as it is without a store; with one, new
sessions go the same way. ``--large`` adds the largest tables that a configuration can ask for. Takes a minute on a free
core, and with ``--large`` two.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace
from random import Random
from time import perf_counter, process_time
from typing import TypeAlias, cast

from tests.support.balancing import HashTable, built, chi_square, chi_square_bound, maglev, ring
from tests.support.client_request import client_request
from vrata.compilation import INTERPRETED
from vrata.model import Destination
from vrata.model.balancing import ENDPOINT_COOKIE
from vrata.model.forward import Forward
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.policy.balancing.least_request import least_request_cost
from vrata.policy.balancing.peak_ewma import PeakEwma, peak_ewma_cost
from vrata.policy.balancing.power_of_choices import PowerOfChoices
from vrata.policy.balancing.rotation import Rotation
from vrata.policy.balancing.stable_hash import stable_hash
from vrata.policy.session_cookie import SessionCookie
from vrata.proxy.action.forward import PooledEndpoint
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.destinations import DestinationFactory
from vrata.proxy.endpoint.selection import Endpoint
from vrata.proxy.runtime.registry import RuntimeRegistry
from vrata.proxy.selectors import Selector, SelectorFactory, Split, Tables

ALGORITHMS = ("ROUND_ROBIN", "RANDOM", "LEAST_REQUEST", "PEAK_EWMA", "RING_HASH", "MAGLEV", "STICKY")
SPLITS = ("WEIGHTED_RANDOM", "WEIGHTED_CONSISTENT_HASH", "STICKY")
HASHING = {"RING_HASH": "ringHash", "MAGLEV": "maglev"}
ENDPOINTS = (10, 1000, 10_000)
PICKS = 100_000
TIMED = 0.3
"""Seconds for which picks are counted."""
MOVED = (3, 10, 100, 1000)
KEYS = 50_000

Row: TypeAlias = tuple[str, ...]


class Visit:
    """A request of which nothing is asked but its session; making a real one takes far longer than a pick."""

    def __init__(self, identifier: bytes) -> None:
        self._identifier = identifier

    def session(self, cookie: SessionCookie, starts: bool = True) -> bytes:
        """The same, whatever the *cookie*."""
        return self._identifier


def _session(number: int) -> ClientRequest:
    return cast(ClientRequest, Visit(b"%032x" % number))


@dataclass
class Made:
    """The selector of one destination."""

    selector: Selector
    seconds: float
    """Processor time to make it."""


class Workshop:
    """Makes selectors as a plan does."""

    def __init__(self) -> None:
        self._registry = RuntimeRegistry(DeadlineSweeper(asyncio.get_running_loop()), TaskSupervisor())

    def selector(self, algorithm: str, weights: Sequence[int], **settings: object) -> Made:
        """The selector for endpoints of these *weights*; *settings* are the sizes of tables."""
        balancing: dict[str, object] = {"algorithm": algorithm}
        if algorithm in HASHING:
            balancing[HASHING[algorithm]] = {"hashPolicy": [{"header": {"name": "x-user"}}], **settings}
        entity = Destination.model_validate(
            {"id": "d", "name": "d", "host": "h", "port": 80, "options": {"endpointBalancing": balancing}}
        )
        endpoints: list[PooledEndpoint] = []
        for number, weight in enumerate(weights):
            host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
            endpoints.append(Endpoint(f"{host}:8080", self._registry.pool("d", host, 8080), weight))
        began = process_time()
        selector = built(SelectorFactory(self._registry, Random(1), Tables()).selecting(entity, endpoints))
        return Made(selector, process_time() - began)

    def split(self, algorithm: str, weights: Sequence[int]) -> Split:
        """The split of a route over destinations ``0``, ``1``, … of these *weights*."""
        selectors = SelectorFactory(self._registry, Random(1), Tables())
        factory = DestinationFactory(self._registry, selectors)
        known = []
        for number, weight in enumerate(weights):
            document = {"id": str(number), "name": str(number), "host": "h", "port": 8000 + number}
            known.append((built(factory.making(Destination.model_validate(document))), weight))
        forward = Forward.model_validate(
            {
                "destinations": [
                    {"destinationId": destination.destination_id, "weight": weight} for destination, weight in known
                ],
                "destinationBalancing": {"algorithm": algorithm},
            }
        )
        return built(selectors.splitting(forward, "r", known))


def distribution(workshop: Workshop) -> list[Row]:
    """Chi-square of picks among ten endpoints."""
    rows: list[Row] = [("algorithm", "weights", "chi-square", "bound", "least", "most")]
    some = [b"10.0.0.%d:8080" % number for number in range(10)]
    for weights in ([1] * 10, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]):
        for algorithm in ALGORITHMS:
            seen = Counter(
                _hashed(algorithm, some, weights) if algorithm in HASHING else _picked(workshop, algorithm, weights)
            )
            label = "equal" if weights[-1] == 1 else "1 to 5"
            rows.append((algorithm, label, *_evenness([seen[each] for each in some], weights)))
    return rows


def destinations(workshop: Workshop) -> list[Row]:
    """Chi-square of picks among four destinations; with a cookie, each request is of another session."""
    rows: list[Row] = [("algorithm", "weights", "chi-square", "bound", "least", "most")]
    requests = [_session(number) for number in range(PICKS)]
    for weights in ([25] * 4, [1, 9, 30, 60]):
        for algorithm in SPLITS:
            split = workshop.split(algorithm, weights)
            seen = Counter(each.destination_id for request in requests if (each := split.pick(request)) is not None)
            counts = [seen[str(number)] for number in range(len(weights))]
            rows.append((algorithm, " ".join(map(str, weights)), *_evenness(counts, weights)))
    return rows


def _evenness(counts: Sequence[int], weights: Sequence[int]) -> Row:
    """Chi-square, its bound, and the least and the most of what each has of its fair share."""
    wanted = [PICKS * weight / sum(weights) for weight in weights]
    shares = [count / each for count, each in zip(counts, wanted, strict=True)]
    found = (chi_square(counts, weights), chi_square_bound(len(weights)))
    return (*(f"{value:.1f}" for value in found), f"{min(shares):.3f}", f"{max(shares):.3f}")


def _picked(workshop: Workshop, algorithm: str, weights: Sequence[int]) -> Iterator[bytes]:
    selector = workshop.selector(algorithm, weights).selector
    request: ClientRequest = client_request()
    for number in range(PICKS):
        if algorithm == "STICKY":
            request = _session(number)
        endpoint = selector.pick(request)
        assert endpoint is not None
        yield endpoint.identifier.encode()


def _hashed(algorithm: str, some: Sequence[bytes], weights: Sequence[int]) -> Iterator[bytes]:
    table = (ring if algorithm == "RING_HASH" else maglev)(some, weights)
    return (some[table.pick(stable_hash(b"user-%d:d" % number))] for number in range(PICKS))


def moved() -> list[Row]:
    """The share of keys whose endpoint changes when one leaves."""
    tables: dict[str, Callable[[Sequence[bytes]], HashTable]] = {
        "ring, 1,024 nodes": ring,
        "ring, 16,384 nodes (STICKY)": lambda identities: ring(identities, size=16_384),
        "ring, 65,536 nodes": lambda identities: ring(identities, size=65_536),
        "Maglev, 65,537 slots": maglev,
    }
    rows: list[Row] = [("of N endpoints", "1/N", *tables)]
    keys = [stable_hash(b"user-%d" % number) for number in range(KEYS)]
    for count in MOVED:
        some = [b"10.0.%d.%d:8080" % divmod(number, 256) for number in range(count)]
        gone = count // 2
        cells = []
        for make in tables.values():
            before, after = make(some), make([*some[:gone], *some[gone + 1 :]])
            changed = sum(before.pick(key) != (then if (then := after.pick(key)) < gone else then + 1) for key in keys)
            cells.append(f"{changed / KEYS:.4f}")
        rows.append((f"{count:,}", f"{1 / count:.4f}", *cells))
    return rows


def speed(workshop: Workshop, sizes: Sequence[int]) -> list[Row]:
    """Picks per second, and what building took."""
    rows: list[Row] = [("algorithm", "endpoints", "picks/s", "build, ms")]
    cookie = b"cookie: %s=%032x" % (ENDPOINT_COOKIE.encode(), 1)
    request = client_request(b"x-user: 0123456789abcdef", cookie)
    for algorithm in ALGORITHMS:
        for count in sizes:
            made = workshop.selector(algorithm, [1] * count)
            pick, picks = made.selector.pick, 0
            began = perf_counter()
            while (taken := perf_counter() - began) < TIMED:
                for _ in range(200):
                    pick(request)
                picks += 200
            rows.append((algorithm, f"{count:,}", f"{picks / taken:,.0f}", f"{made.seconds * 1000:.1f}"))
    return rows


def slow_one() -> list[Row]:
    """Simulated: response times with one of ten endpoints slower, of four requests at a time and 10 ms each."""
    rows: list[Row] = [("one of ten endpoints", "algorithm", "p50, ms", "p99, ms", "its share")]
    for factor in (3.0, 10.0):
        for algorithm in ("ROUND_ROBIN", "RANDOM", "LEAST_REQUEST", "PEAK_EWMA"):
            times, share = _simulated(algorithm, factor)
            times.sort()
            p50, p99 = (f"{times[int(len(times) * at)] * 1000:,.1f}" for at in (0.5, 0.99))
            rows.append((f"{factor:.0f} times slower", algorithm, p50, p99, f"{share:.3f}"))
    return rows


def _simulated(algorithm: str, factor: float) -> tuple[list[float], float]:
    """Response times of requests that come by chance, 1,000 a second, and the share of the slow endpoint."""
    random = Random(5)
    in_flight, latencies = [0] * 10, [PeakEwma() for _ in range(10)]
    free = [[0.0] * 4 for _ in range(10)]
    under_way: list[tuple[float, int, float]] = []
    now, choice, rotation = 0.0, PowerOfChoices([1] * 10, 2), Rotation()
    picks: dict[str, Callable[[], int]] = {
        "ROUND_ROBIN": lambda: rotation.next(10),
        "RANDOM": lambda: int(random.random() * 10),
        "LEAST_REQUEST": lambda: choice.pick(random.random, lambda at: least_request_cost(in_flight[at], 1)),
        "PEAK_EWMA": lambda: choice.pick(
            random.random, lambda at: peak_ewma_cost(latencies[at].expected(now), in_flight[at], 1)
        ),
    }
    pick, times, slow = picks[algorithm], [], 0
    for _ in range(30_000):
        now += random.expovariate(1000)
        while under_way and under_way[0][0] <= now:
            ended, at, taken = heappop(under_way)
            in_flight[at] -= 1
            latencies[at].observe(taken, ended)
        at = pick()
        slow += at == 0
        in_flight[at] += 1
        begins = max(now, free[at][0])
        ends = begins + random.expovariate(100) * (factor if at == 0 else 1)
        heapreplace(free[at], ends)
        heappush(under_way, (ends, at, ends - now))
        times.append(ends - now)
    return times, slow / len(times)


def large(workshop: Workshop) -> list[Row]:
    """What the largest tables take to build."""
    rows: list[Row] = [("largest table", "build, s")]
    for algorithm, settings in (
        ("RING_HASH", {"ringSize": {"min": 8_388_608}}),
        ("MAGLEV", {"tableSize": 5_000_011}),
    ):
        made = workshop.selector(algorithm, [1] * 100, **settings)
        rows.append((algorithm, f"{made.seconds:.1f}"))
    return rows


def show(rows: Sequence[Row]) -> None:
    """Print *rows*, the first of which is the heading, in columns."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        first, *others = zip(row, widths, strict=True)
        print("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip())
    print()


async def run(sizes: Sequence[int], *, with_large: bool) -> None:
    """Measure and print everything."""
    workshop = Workshop()
    print(f"hot modules {'interpreted' if INTERPRETED else 'compiled'}\n")
    show(distribution(workshop))
    show(destinations(workshop))
    show(moved())
    show(slow_one())
    show(speed(workshop, sizes))
    if with_large:
        show(large(workshop))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.balancing", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--endpoints", type=int, nargs="+", default=ENDPOINTS, help="sizes of destinations")
    parser.add_argument("--large", action="store_true", help="build the largest tables as well")
    options = parser.parse_args(arguments)
    asyncio.run(run(options.endpoints, with_large=options.large))
    return 0


if __name__ == "__main__":
    sys.exit(main())
