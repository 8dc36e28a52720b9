"""What finding a route costs, and making the table that it is found in.

    python -m bench.routing [--routes 10 1000 50000] [--output bench/results]

For tables of one kind of path, and of all kinds: nanoseconds of one look-up (a route that exists, a path that none
has, and the worst place), processor seconds and memory to build the table from entities, and processor seconds to
compile it from a snapshot document, as a worker does, with the longest time that requests had to wait meanwhile. Every
table is measured in a process of its own. Prints a table and writes ``routing.json``. Exit code 0 when building is
within the limit, else 1.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, perf_counter_ns, process_time
from typing import Any

from tests.support.gateway import Document, route
from tests.support.in_process_proxy import snapshot_document
from vrata.compilation import INTERPRETED
from vrata.model import Route
from vrata.net.deadlines import DeadlineSweeper
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.compile import Compiler
from vrata.proxy.routing.entities import match_conditions
from vrata.proxy.routing.table import RouteTable, RouteTableBuilder
from vrata.proxy.runtime.registry import RuntimeRegistry
from vrata.proxy.worker import COLLECTOR_THRESHOLDS

LIMIT = 2.0
"""Seconds in which a table of 50,000 routes has to be built from entities."""
ROUTES = (10, 1000, 50_000)
ROOT = Path(__file__).resolve().parents[1]


class Request:
    """A request whose parts were read already: what is measured is finding the route, not decoding the path."""

    def __init__(self, path: str, host: str = "proxy.test", method: str = "GET") -> None:
        self.path = path
        self.host = host
        self.method = method

    def header(self, name: str) -> str | None:
        return None

    def query_parameter(self, name: str) -> str | None:
        return None


@dataclass(frozen=True)
class Kind:
    """One kind of table. The functions take the number of a route; the worst place takes how many there are."""

    match: Callable[[int], Document]
    hit: Callable[[int], Request]
    miss: Callable[[int], Request]
    worst: Callable[[int], Request]


def mixed(number: int) -> Document:
    """The match of a route among those of every kind, some of them with hostnames or methods."""
    match: Document
    if number % 10 < 6:
        match = {"pathPrefix": f"/service-{number}/v1"}
    elif number % 10 < 9:
        match = {"path": f"/service-{number}/v1/status"}
    else:
        match = {"pathRegex": f"/service-{number}/v[0-9]+"}
    if number % 4 == 0:
        match["hostnames"] = [f"tenant-{number % 50}.test", "proxy.test", "*.proxy.test"]
    if number % 5 == 0:
        match["methods"] = ["GET", "POST"]
    return match


KINDS = {
    "exact": Kind(
        lambda number: {"path": f"/service-{number}/v1/status"},
        lambda number: Request(f"/service-{number}/v1/status"),
        lambda number: Request(f"/service-{number}/v1/other"),
        lambda count: Request(f"/service-{count - 1}/v1/status/{'x/' * 100}"),
    ),
    "prefix": Kind(
        lambda number: {"pathPrefix": f"/service-{number}/v1"},
        lambda number: Request(f"/service-{number}/v1/status"),
        lambda number: Request(f"/service-{number}/v2/status"),
        lambda count: Request(f"/service-{count - 1}/v1/{'x/' * 100}"),
    ),
    "regex": Kind(
        lambda number: {"pathRegex": f"/service-{number}/v[0-9]+/"},
        lambda number: Request(f"/service-{number}/v1/status"),
        lambda number: Request(f"/service-{number}/beta/status"),
        lambda count: Request(f"/service-{count - 1}/v{'1' * 200}/"),
    ),
    # All expressions begin alike, so that each may match any of these paths.
    "regex, same beginning": Kind(
        lambda number: {"pathRegex": f"/items/[a-z]+/v{number}/"},
        lambda number: Request(f"/items/shoes/v{number}/"),
        lambda number: Request("/items/shoes/beta/"),
        lambda count: Request(f"/items/{'a' * 200}/v{count - 1}/"),
    ),
    "mixed": Kind(
        mixed,
        lambda number: Request(f"/service-{number}/v1/status", host="a.proxy.test"),
        lambda number: Request(f"/service-{number}/beta/status", host="a.proxy.test"),
        # Hostname and method fail last.
        lambda count: Request(f"/service-{(count - 1) // 20 * 20}/v1/status", host="other.test", method="PUT"),
    ),
}


@dataclass(frozen=True)
class Figures:
    """Of one table."""

    kind: str
    routes: int
    hit_ns: float
    miss_ns: float
    worst_ns: float
    build_s: float
    """From entities to the table."""
    build_mib: float
    """Memory that the table takes beside its entities."""
    compile_s: float
    """From a snapshot document to a plan."""
    stall_ms: float
    """The longest that other work of the event loop waited meanwhile."""
    again_s: float
    """The same document once more: entities that did not change are not read again."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--routes", type=int, nargs="+", default=ROUTES, help="sizes of tables")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results", help="directory of routing.json")
    parser.add_argument("--one", action="store_true", help="measure one table in this process and print its figures")
    arguments = parser.parse_args()
    if arguments.one:
        gc.set_threshold(*COLLECTOR_THRESHOLDS)  # as in a worker
        print(json.dumps(asdict(measure(arguments.kinds[0], arguments.routes[0]))))
        return 0
    print(f"data path {'interpreted: ' + INTERPRETED if INTERPRETED else 'compiled'}")
    print(HEADING)
    found = []
    for kind in arguments.kinds:
        for routes in arguments.routes:
            found.append(in_own_process(kind, routes))
            print(line(found[-1]), flush=True)
    document = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} cores, Python {platform.python_version()}",
        "compiled": not INTERPRETED,
        "tables": [asdict(figures) for figures in found],
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "routing.json").write_text(json.dumps(document, indent=2) + "\n")
    slow = [figures for figures in found if figures.build_s > LIMIT]
    for figures in slow:
        print(f"too slow: {figures.routes} routes, {figures.kind}: {figures.build_s:.2f} s, not {LIMIT:g}")
    return 1 if slow else 0


def in_own_process(kind: str, routes: int) -> Figures:
    command = [sys.executable, "-m", "bench.routing", "--one", "--kinds", kind, "--routes", str(routes)]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return Figures(**json.loads(output))


HEADING = (
    f"{'kind':<22} {'routes':>7} {'hit':>9} {'miss':>9} {'worst':>9} {'build':>8} {'memory':>9}"
    f" {'compile':>8} {'again':>8} {'stall':>8}"
)


def line(figures: Figures) -> str:
    return (
        f"{figures.kind:<22} {figures.routes:>7} {figures.hit_ns:>6.0f} ns {figures.miss_ns:>6.0f} ns"
        f" {figures.worst_ns:>6.0f} ns {figures.build_s:>6.2f} s {figures.build_mib:>5.1f} MiB"
        f" {figures.compile_s:>6.2f} s {figures.again_s:>6.2f} s {figures.stall_ms:>5.1f} ms"
    )


def measure(name: str, routes: int) -> Figures:
    kind = KINDS[name]
    documents = [
        route(f"route-{number}", kind.match(number), directResponse={"status": 200}) for number in range(routes)
    ]
    entities = [Route.parse(document) for document in documents]
    gc.collect()
    before, start = resident(), process_time()
    builder = RouteTableBuilder[int]()
    for number, entity in enumerate(entities):
        builder.add(match_conditions(entity), number)
    table = builder.build()
    built = process_time() - start
    gc.collect()
    taken = resident() - before
    # Every look-up another route: a worker's processor caches do not hold one route alone either.
    step = max(1, routes // 97)
    numbers = range(routes - 1, -1, -step)
    hit = nanoseconds(table, [kind.hit(number) for number in numbers], expected=True)
    miss = nanoseconds(table, [kind.miss(number) for number in numbers], expected=False)
    worst = nanoseconds(table, [kind.worst(routes)])
    del table, builder, entities
    gc.collect()
    compiled, again, stall = asyncio.run(compile_twice(snapshot_document("s", routes=documents)))
    return Figures(name, routes, hit, miss, worst, built, taken, compiled, stall * 1e3, again)


def nanoseconds(table: RouteTable[int], requests: list[Any], *, expected: bool | None = None) -> float:
    """Return what one look-up takes, the loop around it left out: the best of several rounds."""
    for request in requests:
        if expected is not None:
            assert (table.match(request) is not None) is expected, request.path
    repeat = range(max(1, 20_000 // len(requests)))
    match = table.match
    best = empty = float("inf")
    for _ in range(7):
        start = perf_counter_ns()
        for _ in repeat:
            for request in requests:
                match(request)
        best = min(best, perf_counter_ns() - start)
        start = perf_counter_ns()
        for _ in repeat:
            for _request in requests:
                pass
        empty = min(empty, perf_counter_ns() - start)
    return (best - empty) / len(repeat) / len(requests)


async def compile_twice(document: Document) -> tuple[float, float, float]:
    """Return the seconds of a first and a second time, and the longest wait of another task in the first."""
    loop = asyncio.get_running_loop()
    sweeper = DeadlineSweeper(loop)
    tasks = TaskSupervisor()
    compiler = Compiler(RuntimeRegistry(sweeper, tasks), sweeper)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        last = perf_counter()
        while True:
            await asyncio.sleep(0)
            now = perf_counter()
            longest = max(longest, now - last)
            last = now

    tasks.start(watch(), name="watch")
    start = process_time()
    plan = await compiler.compile(document)
    first = process_time() - start
    await tasks.stop()
    assert len(plan.table) == len(document["snapshot"]["routes"])
    start = process_time()
    await compiler.compile(document)
    return first, process_time() - start, longest


def resident() -> float:
    """Return the memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    sys.exit(main())
