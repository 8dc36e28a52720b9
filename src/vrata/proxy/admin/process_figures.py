"""Figures of the proxy as processes: what it is made of, its workers, and what each process uses."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Iterator, Sequence
from time import time
from typing import Final, TypeAlias

from vrata.observability import build
from vrata.observability.exposition import Family
from vrata.observability.process_usage import ProcessUsage
from vrata.proxy.status import WorkerState
from vrata.proxy.supervisor.slot import WorkerSlot

Samples: TypeAlias = Iterator[tuple[Family, Iterator[str]]]

_FACTS: Final = build.facts()
_PROCESS: Final = ("process",)

BUILD: Final = Family("vrata_build_info", "info", tuple(_FACTS), "What this installation of Vrata is made of.")
START_TIME: Final = Family("vrata_start_time_seconds", "gauge", (), "When the proxy was started, since 1970.")
UPTIME: Final = Family("vrata_uptime_seconds", "gauge", (), "How long the proxy has been running.")
WORKERS: Final = Family("vrata_workers", "gauge", ("state",), "Worker processes, by where they are in their lives.")
SLOTS: Final = Family("vrata_worker_slots", "gauge", (), "Worker processes that are wanted.")
STARTS: Final = Family(
    "vrata_worker_starts_total", "counter", _PROCESS, "Worker processes that were started, the first ones included."
)
DEATHS: Final = Family(
    "vrata_worker_deaths_total", "counter", _PROCESS, "Worker processes that ended though nobody had asked them to."
)
CONNECTIONS: Final = Family(
    "vrata_worker_connections", "gauge", _PROCESS, "Open connections of clients, as of the last five seconds."
)
REQUESTS: Final = Family(
    "vrata_worker_inflight_requests", "gauge", _PROCESS, "Requests of clients being answered, as of the same moment."
)
CPU: Final = Family(
    "vrata_process_cpu_seconds_total", "counter", _PROCESS, "CPU time in user and system mode, of predecessors too."
)
RESIDENT: Final = Family(
    "vrata_process_resident_memory_bytes",
    "gauge",
    _PROCESS,
    "Memory in use; what processes share counts for each of them.",
)
DESCRIPTORS: Final = Family("vrata_process_open_fds", "gauge", _PROCESS, "Open file descriptors.")
MOST_DESCRIPTORS: Final = Family(
    "vrata_process_max_fds", "gauge", _PROCESS, "File descriptors that each process may have open at once."
)

FAMILIES: Final = (
    BUILD,
    START_TIME,
    UPTIME,
    WORKERS,
    SLOTS,
    STARTS,
    DEATHS,
    CONNECTIONS,
    REQUESTS,
    CPU,
    RESIDENT,
    DESCRIPTORS,
    MOST_DESCRIPTORS,
)

SUPERVISOR: Final = "supervisor"


def worker_label(slot: int) -> str:
    """Return the name of the worker in *slot*, whichever process that is."""
    return f"worker-{slot}"


class ProcessFigures:
    """The figures of the supervisor, which is this process, and of the workers in *slots*.

    While one worker replaces another, both count for their slot.
    """

    def __init__(self, slots: Sequence[WorkerSlot]) -> None:
        self._slots = slots
        self._started_at = time()
        # CPU time of a slot goes on where a process of it ended.
        self._cpu_seconds: dict[str, float] = {}
        self._cpu_seconds_of: dict[int, float] = {}
        # An older reading that is dealt with after a newer one would look like a process that has begun again.
        self._reading = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<ProcessFigures of {len(self._slots)} slots>"

    async def samples(self) -> Samples:
        """Return the families with their samples."""
        processes = [(SUPERVISOR, os.getpid())]
        for index, slot in enumerate(self._slots):
            processes += ((worker_label(index), worker.pid) for worker in slot.statuses())
        # A process with many connections has a long list of descriptors.
        async with self._reading:
            usages = await asyncio.to_thread(_usages, processes)
            self._add_cpu(usages)
        return self._families(usages)

    def _families(self, usages: list[tuple[str, int, ProcessUsage]]) -> Samples:
        now = time()
        yield BUILD, iter([BUILD.sample(_FACTS.values(), 1)])
        yield START_TIME, iter([START_TIME.sample((), round(self._started_at, 3))])
        yield UPTIME, iter([UPTIME.sample((), round(now - self._started_at, 3))])
        states = [worker.state for slot in self._slots for worker in slot.statuses()]
        yield WORKERS, (WORKERS.sample((state,), states.count(state)) for state in WorkerState)
        yield SLOTS, iter([SLOTS.sample((), len(self._slots))])
        yield STARTS, (STARTS.sample((worker_label(index),), slot.starts) for index, slot in enumerate(self._slots))
        yield DEATHS, (DEATHS.sample((worker_label(index),), slot.deaths) for index, slot in enumerate(self._slots))
        carried = [(worker_label(index), *slot.carried()) for index, slot in enumerate(self._slots)]
        yield CONNECTIONS, (CONNECTIONS.sample((name,), connections) for name, connections, _ in carried)
        yield REQUESTS, (REQUESTS.sample((name,), requests) for name, _, requests in carried)
        yield CPU, (CPU.sample((name,), round(seconds, 3)) for name, seconds in self._cpu_seconds.items())
        yield RESIDENT, _sums(RESIDENT, ((name, usage.resident_bytes) for name, _, usage in usages))
        yield DESCRIPTORS, _sums(DESCRIPTORS, ((name, usage.descriptors) for name, _, usage in usages))
        limits = {name: usage.most_descriptors for name, _, usage in usages}
        yield MOST_DESCRIPTORS, (MOST_DESCRIPTORS.sample((name,), limit) for name, limit in limits.items())

    def _add_cpu(self, usages: list[tuple[str, int, ProcessUsage]]) -> None:
        before = self._cpu_seconds_of
        self._cpu_seconds_of = {pid: usage.cpu_seconds for _, pid, usage in usages}
        for name, pid, usage in usages:
            known = before.get(pid, 0.0)
            used = usage.cpu_seconds - known if usage.cpu_seconds >= known else usage.cpu_seconds
            self._cpu_seconds[name] = self._cpu_seconds.get(name, 0.0) + used


def _usages(processes: Iterable[tuple[str, int]]) -> list[tuple[str, int, ProcessUsage]]:
    """What *processes* use, those left out that have just ended."""
    usages: list[tuple[str, int, ProcessUsage]] = []
    for name, pid in processes:
        try:
            usages.append((name, pid, ProcessUsage.of(pid)))
        except OSError:
            continue
    return usages


def _sums(family: Family, figures: Iterable[tuple[str, int]]) -> Iterator[str]:
    sums: dict[str, int] = {}
    for name, figure in figures:
        sums[name] = sums.get(name, 0) + figure
    for name, figure in sums.items():
        yield family.sample((name,), figure)
