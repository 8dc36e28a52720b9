"""A comparison as a command: what is measured of whom, with the command line, the report and the files."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.comparison import plot, rounds, table, workload
from bench.comparison.arguments import names
from bench.comparison.goals import Goal
from bench.comparison.installation import ROOT, install, present
from bench.comparison.machine import machine, raise_file_limit
from bench.comparison.program import find
from bench.comparison.proxies.proxy import Proxy
from bench.comparison.results import Results, Run
from bench.comparison.rounds import Plan
from bench.comparison.workload import Workload


@dataclass(frozen=True, slots=True)
class Comparison:
    """One table of workloads, and the proxies that take turns with it."""

    title: str
    proxies: tuple[type[Proxy], ...]
    """In the order of tables; the first is the one whose ratios to the others are computed."""
    workloads: tuple[Workload, ...]
    goals: tuple[Goal, ...]
    commands: tuple[str, ...]
    """What load and backends are made with."""
    output: str
    """The name of the files with the results, without ``.json`` and ``.svg``."""
    minutes: float
    quick_minutes: float
    """No run begins later than this; the quick form is shorter."""

    def run(self) -> int:
        """Measure, print the table, write the files; the exit code.

        It is 0 when everything that could be measured was measured without failure, else 1. Missing a goal is no
        failure.
        """
        arguments = self._parse()
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        raise_file_limit()
        try:
            workloads = workload.select(arguments.workloads, quick=arguments.quick, table=self.workloads)
        except ValueError as error:
            print(error, file=sys.stderr)
            return 2
        wrong = [] if arguments.no_install else install(self._commands())
        chosen = [proxy for proxy in self.proxies if not arguments.proxies or proxy.name in arguments.proxies]
        versions, absent = present(chosen)
        started = time.monotonic()
        plan = Plan(
            proxies=tuple(proxy for proxy in self.proxies if proxy.name in versions),
            workloads=workloads,
            rounds=arguments.rounds or 5,
            seconds=arguments.seconds or (1 if arguments.quick else 3),
            deadline=started + 60 * (self.quick_minutes if arguments.quick else self.minutes),
        )
        run = Run(
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=machine(),
            rounds=plan.rounds,
            seconds=plan.seconds,
            versions=versions,
        )
        results = Results(run, notes=wrong + absent)
        for command in self.commands:
            find(command)
        rounds.run(plan, results)
        self._report(results, workloads, arguments.output)
        load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
        print(f"{time.monotonic() - started:.0f} s; load average {load}")
        return 1 if results.failures or not results.rounds else 0

    def _commands(self) -> list[str]:
        """What has to be installed, beside Vrata and Envoy, which are Python packages."""
        servers = (proxy.name for proxy in self.proxies if proxy.name not in ("vrata", "envoy"))
        return list(dict.fromkeys((*self.commands, *servers)))

    def _parse(self) -> argparse.Namespace:
        parser = argparse.ArgumentParser(description=self.title)
        parser.add_argument("--quick", action="store_true", help="fewer and shorter workloads, under 3 minutes")
        parser.add_argument("--workloads", type=names, default=(), help="only these, separated by commas")
        parser.add_argument("--proxies", type=names, default=(), help="only these, separated by commas")
        parser.add_argument("--rounds", type=int, help="runs of each workload against each proxy")
        parser.add_argument("--seconds", type=int, help="length of a run")
        parser.add_argument("--no-install", action="store_true", help="do with what is installed")
        files = f"directory of {self.output}.json and {self.output}.svg"
        parser.add_argument("--output", type=Path, default=ROOT / "bench" / "results", help=files)
        return parser.parse_args()

    def _report(self, results: Results, workloads: tuple[Workload, ...], output: Path) -> None:
        """Print the table, write the files."""
        # A proxy that did not take part has its line too, so that nobody misses it without noticing.
        proxies = [proxy.name for proxy in self.proxies]
        print(table.render(results, workloads, proxies))
        print(table.render_goals(results, self.goals))
        results.write(output / f"{self.output}.json")
        (output / f"{self.output}.svg").write_text(plot.render(results, workloads, proxies))
        print(f"written: {output / self.output}.json, {output / self.output}.svg")
