"""Rounds: the proxies take turns, workload by workload."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.comparison import certificate, cores, h2load, wrk
from bench.comparison.backend import Backend
from bench.comparison.certificate import Certificate
from bench.comparison.check import check, forwarded_differences
from bench.comparison.cores import Cores
from bench.comparison.crowd import Crowd
from bench.comparison.http2_backend import Http2Backend
from bench.comparison.measurement import Load, measure
from bench.comparison.program import UnavailableError
from bench.comparison.proxies.proxy import Proxy, Setup
from bench.comparison.results import Results
from bench.comparison.usage import private_memory, processor_time
from bench.comparison.workload import GRPC_PATH, Lane, Site, Workload, batches


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be measured, and for how long."""

    proxies: tuple[type[Proxy], ...]
    workloads: tuple[Workload, ...]
    rounds: int
    seconds: int
    """Of each run."""
    deadline: float
    """On the monotonic clock: no run begins later, whatever is still to do."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all proxies share."""

    directory: Path
    cores: Cores
    backends: Mapping[Site, int]
    """The port of the backend that a site has."""
    certificate: Certificate


def run(plan: Plan, results: Results) -> None:
    """Measure *plan* into *results*, with a backend of its own; what is done goes to the standard error."""
    chosen = cores.choose()
    if chosen.proxy == chosen.load:
        results.note("one core only: the proxy shares it with load and backend")
    with ExitStack() as running:
        directory = Path(running.enter_context(TemporaryDirectory(prefix="vrata-bench-")))
        backends: dict[Site, int] = {}
        for kind, sites in groupby(sorted({each.site for each in plan.workloads}, key=_kind), _kind):
            backend = _backend(kind, directory / f"backend-{kind}", chosen.load)
            running.callback(backend.stop)
            backend.start()
            backends |= dict.fromkeys(sites, backend.port)
        surroundings = Surroundings(directory, chosen, backends, certificate.create(directory))
        Rounds(plan, surroundings, results, lambda line: print(line, file=sys.stderr)).run()


def _kind(site: Site) -> str:
    """Which of the backends a site has."""
    return ("grpc" if site.grpc else "http2") if site.upstream_http2 else "http1"


def _backend(kind: str, directory: Path, core: int) -> Backend | Http2Backend:
    if kind == "http1":
        return Backend(directory, core)
    return Http2Backend(directory, core, grpc=kind == "grpc")


class Rounds:
    """Measures a *plan* into *results*; *report* gets a line whenever something has been done."""

    def __init__(self, plan: Plan, surroundings: Surroundings, results: Results, report: Callable[[str], None]) -> None:
        self._plan = plan
        self._surroundings = surroundings
        self._results = results
        self._report = report

    def run(self) -> None:
        """Measure everything; what fails is in the results. On return no proxy runs any more."""
        for number, batch in enumerate(batches(self._plan.workloads)):
            directory = self._surroundings.directory / f"batch-{number}"
            with ExitStack() as running:
                proxies = {}
                for index, site in enumerate(batch.sites):
                    workloads = [workload for workload in batch.workloads if workload.site == site]
                    proxies[site] = self._start(site, workloads, directory / f"site-{index}", running)
                for lane in batch.lanes:
                    self._measure(lane, proxies)

    def _start(
        self, site: Site, workloads: Sequence[Workload], directory: Path, running: ExitStack
    ) -> dict[str, Proxy]:
        """Start the proxies for a site, by name; those that cannot serve it are left out with a note."""
        surroundings = self._surroundings
        setup = Setup(site, surroundings.backends[site], surroundings.certificate, surroundings.cores)
        started: dict[str, Proxy] = {}
        for kind in self._plan.proxies:
            before = time.monotonic()
            proxy = kind(directory / kind.name, setup)
            running.callback(proxy.stop)
            try:
                proxy.start()
                self._check(proxy, workloads)
            except UnavailableError as reason:
                names = ", ".join(workload.name for workload in workloads)
                self._results.note(f"{kind.name} skipped in {names}: {reason}")
                self._report(f"{kind.name} skipped: {reason}")
                proxy.stop()
            except (AssertionError, OSError, RuntimeError) as error:
                # Not for want of a feature, then: the others are measured, and the bench fails at its end.
                self._results.failures.append(f"{kind.name} did not start: {error}")
                self._report(f"{kind.name} did not start: {error}")
                proxy.stop()
            else:
                started[kind.name] = proxy
                self._report(f"{kind.name} serves {site.routes} route(s) over {site.protocol} after {_since(before)}")
            for note in proxy.notes:
                self._results.note(note)
        return started

    def _check(self, proxy: Proxy, workloads: Sequence[Workload]) -> None:
        for workload in workloads:
            check(proxy, workload)
        site = proxy.setup.site
        if site.routes == 1 and not site.upstream_http2:
            for difference in forwarded_differences(proxy):
                self._results.note(difference)
        # What grows once, pools and caches, is to have grown before memory and time are measured.
        path = GRPC_PATH if site.grpc else Workload("", "").path
        self._generate(Workload("warm-up", "", site=site, path=path), proxy, 1)

    def _measure(self, lane: Lane, proxies: Mapping[Site, Mapping[str, Proxy]]) -> None:
        before = time.monotonic()
        names = " and ".join(workload.name for workload in lane)
        kinds = [kind.name for kind in self._plan.proxies]
        for number in range(self._plan.rounds):
            # Another one begins each time, so that nobody always runs after the same neighbour.
            first = number % len(kinds)
            for name, workload in product(kinds[first:] + kinds[:first], lane):
                proxy = proxies[workload.site].get(name)
                if proxy is None:
                    continue
                if time.monotonic() >= self._plan.deadline:
                    self._results.note(f"{names}: out of time in round {number + 1} of {self._plan.rounds}")
                    return
                try:
                    self._turn(workload, number, proxy)
                except (OSError, RuntimeError, ValueError) as error:
                    self._results.failures.append(f"{workload.name}, {name}, round {number + 1}: {error}")
        self._report(f"{names} measured after {_since(before)}")

    def _turn(self, workload: Workload, number: int, proxy: Proxy) -> None:
        """One run. Raises what goes wrong; a run with failed requests is reported and not counted."""
        core, seconds = self._surroundings.cores.load, self._plan.seconds
        if workload.rate:
            quiet = private_memory(proxy.data_path())
            with Crowd(workload, proxy.port, core) as crowd:
                if number == 0:
                    idle = private_memory(proxy.data_path()) - quiet
                    self._results.idle_kib.setdefault(workload.name, {})[proxy.name] = (
                        idle / 1024 / workload.connections
                    )
                self._count(workload, number, proxy, lambda: crowd.run(seconds))
        else:
            self._count(workload, number, proxy, lambda: self._generate(workload, proxy, seconds))

    def _generate(self, workload: Workload, proxy: Proxy, seconds: int) -> Load:
        """Load as much as the proxy answers."""
        directory, core = self._surroundings.directory, self._surroundings.cores.load
        generate = h2load.run if workload.site.http2 else wrk.run
        return generate(workload, proxy.port, seconds, directory, core)

    def _count(self, workload: Workload, number: int, proxy: Proxy, load: Callable[[], Load]) -> None:
        serving, other = proxy.data_path(), proxy.control_path()
        start, start_other = processor_time(serving), processor_time(other)
        counted = load()
        spent, spent_other = processor_time(serving) - start, processor_time(other) - start_other
        if counted.failed:
            raise RuntimeError(f"{counted.failed} requests failed, {counted.requests} did not; the run does not count")
        self._results.add(workload.name, number, proxy.name, measure(counted, spent))
        if other:
            share = (spent_other.user + spent_other.system) / counted.seconds
            self._results.control.setdefault(proxy.name, []).append(share)


def _since(before: float) -> str:
    return f"{time.monotonic() - before:.1f} s"
