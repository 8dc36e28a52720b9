"""``python -m bench.faults``: try every fault behind every proxy, print the table, write the JSON document.

Exit code 0 when every trial could be made, else 1. Takes up to eight minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from bench.comparison import certificate, cores
from bench.comparison.arguments import names
from bench.comparison.installation import ROOT, install, present
from bench.comparison.machine import machine, raise_file_limit
from bench.comparison.program import UnavailableError
from bench.comparison.proxies.proxy import Setup
from bench.comparison.workload import Site
from bench.faults import fault
from bench.faults.backend import Backend
from bench.faults.fault import Fault
from bench.faults.proxies import PROXIES
from bench.faults.report import Report
from bench.faults.tap import Tap
from bench.faults.trial import Pace, attempt
from vrata.net.event_loop import new_event_loop

MINUTES = 10.0
"""No trial begins that could end later than this."""
BACKENDS = ("a", "b", "c")


def main() -> int:
    """Run it; the exit code."""
    arguments = parse()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    raise_file_limit()
    try:
        faults = fault.select(arguments.faults)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    wrong = [] if arguments.no_install else install(("nginx", "haproxy"))
    versions, absent = present([kind for kind in PROXIES if not arguments.proxies or kind.name in arguments.proxies])
    report = Report(
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        machine=machine(),
        pace=Pace(rate=arguments.rate, fault=arguments.seconds),
        versions=versions,
        notes=wrong + absent,
    )
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(run(faults, report))
    report.print(Console(width=120))
    report.write(arguments.output)
    print(f"written: {arguments.output}")
    return 1 if report.failures or not report.findings else 0


def parse() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description="One of three backends fails behind Vrata, nginx, HAProxy and Envoy.")
    parser.add_argument("--faults", type=names, default=(), help="only these, separated by commas")
    parser.add_argument("--proxies", type=names, default=(), help="only these, separated by commas")
    parser.add_argument("--rate", type=float, default=400.0, help="requests per second")
    parser.add_argument("--seconds", type=float, default=15.0, help="how long a backend fails")
    parser.add_argument("--no-install", action="store_true", help="do with what is installed")
    parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results" / "faults.json", help="JSON document")
    return parser.parse_args()


async def run(faults: Sequence[Fault], report: Report) -> None:
    """Make the trials. The proxies take turns with each fault, and each begins anew: nobody remembers the last one."""
    deadline = time.monotonic() + 60 * MINUTES
    chosen = cores.choose()
    tapped = _can_tap(report)
    kinds = [kind for kind in PROXIES if kind.name in report.versions]
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vrata-faults-")))
        made = certificate.create(scratch)
        backends = [await stack.enter_async_context(Backend(name, chosen.load)) for name in BACKENDS]
        ports = [backend.port for backend in backends]
        for tried in faults:
            for kind in kinds:
                if time.monotonic() + report.pace.longest > deadline:
                    report.notes.append(f"{tried.name}, {kind.name}: out of time")
                    continue
                proxy = kind(scratch / f"{tried.name}-{kind.name}", Setup(Site(), ports[0], made, chosen), ports)
                try:
                    proxy.start()
                    found = await attempt(proxy.port, tried, backends, report.pace, tapped=tapped)
                    report.add(tried.name, kind.name, found)
                    print(f"{tried.name}, {kind.name}: {found}", file=sys.stderr)
                except UnavailableError as reason:
                    report.notes.append(f"{tried.name}, {kind.name} skipped: {reason}")
                except (AssertionError, OSError, RuntimeError) as error:
                    report.failures.append(f"{tried.name}, {kind.name}: {error}")
                finally:
                    proxy.stop()


def _can_tap(report: Report) -> bool:
    try:
        tap = Tap(0)
    except PermissionError:
        report.notes.append("not privileged (CAP_NET_RAW): what was sent to the failing backend is not known")
        return False
    with tap:
        return True


if __name__ == "__main__":
    sys.exit(main())
