"""``python -m bench.comparison``: measure, print the table, write the JSON document and the plot.

Exit code 0 when everything that could be measured was measured without failure, else 1. Missing a goal is no failure.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from bench.comparison import certificate, cores, plot, table, workload
from bench.comparison.arguments import names
from bench.comparison.backend import Backend
from bench.comparison.installation import ROOT, install, present
from bench.comparison.machine import machine, raise_file_limit
from bench.comparison.program import find
from bench.comparison.proxies import PROXIES
from bench.comparison.results import Results, Run
from bench.comparison.rounds import Plan, Rounds, Surroundings
from bench.comparison.workload import Workload

FULL_MINUTES = 40.0
QUICK_MINUTES = 2.6
"""No run begins later than this; the quick form is to end within three minutes."""


def main() -> int:
    """Run it; the exit code."""
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    raise_file_limit()
    try:
        workloads = workload.select(arguments.workloads, quick=arguments.quick)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    wrong = [] if arguments.no_install else install()
    versions, absent = present([proxy for proxy in PROXIES if not arguments.proxies or proxy.name in arguments.proxies])
    started = time.monotonic()
    plan = Plan(
        proxies=tuple(proxy for proxy in PROXIES if proxy.name in versions),
        workloads=workloads,
        rounds=arguments.rounds or 5,
        seconds=arguments.seconds or (1 if arguments.quick else 3),
        deadline=started + 60 * (QUICK_MINUTES if arguments.quick else FULL_MINUTES),
    )
    run = Run(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        rounds=plan.rounds,
        seconds=plan.seconds,
        versions=versions,
    )
    results = Results(run, notes=wrong + absent)
    with tempfile.TemporaryDirectory(prefix="vrata-bench-") as scratch:
        measure(plan, Path(scratch), results)
    report(results, workloads, arguments.output)
    print(f"{time.monotonic() - started:.0f} s; load average {', '.join(f'{load:.1f}' for load in os.getloadavg())}")
    return 1 if results.failures or not results.rounds else 0


def parse() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description="Vrata beside nginx, HAProxy, Envoy and Caddy.")
    parser.add_argument("--quick", action="store_true", help="fewer and shorter workloads, under 3 minutes")
    parser.add_argument("--workloads", type=names, default=(), help="only these, separated by commas")
    parser.add_argument("--proxies", type=names, default=(), help="only these, separated by commas")
    parser.add_argument("--rounds", type=int, help="runs of each workload against each proxy")
    parser.add_argument("--seconds", type=int, help="length of a run")
    parser.add_argument("--no-install", action="store_true", help="do with what is installed")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "bench" / "results", help="directory of latest.json and latest.svg"
    )
    return parser.parse_args()


def measure(plan: Plan, directory: Path, results: Results) -> None:
    """Measure the *plan* with a backend of its own."""
    chosen = cores.choose()
    if chosen.proxy == chosen.load:
        results.note("one core only: the proxy shares it with load and backend")
    find("wrk")
    made = certificate.create(directory)
    backend = Backend(directory / "backend", chosen.load)
    try:
        backend.start()
        surroundings = Surroundings(directory, chosen, backend.port, made)
        Rounds(plan, surroundings, results, lambda line: print(line, file=sys.stderr)).run()
    finally:
        backend.stop()


def report(results: Results, workloads: tuple[Workload, ...], output: Path) -> None:
    """Print the table, write the files."""
    # A proxy that did not take part has its line too, so that nobody misses it without noticing.
    proxies = [proxy.name for proxy in PROXIES]
    print(table.render(results, workloads, proxies))
    print(table.render_goals(results))
    results.write(output / "latest.json")
    (output / "latest.svg").write_text(plot.render(results, workloads, proxies))
    print(f"written: {output / 'latest.json'}, {output / 'latest.svg'}")


if __name__ == "__main__":
    sys.exit(main())
