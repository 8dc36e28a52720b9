"""Figures of processes that come and go, and the guide's table of all of them."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support.exposition import Scraped
from vrata.observability.exposition import lines
from vrata.observability.process_usage import ProcessUsage
from vrata.proxy.admin import configuration_figures, process_figures
from vrata.proxy.admin.process_figures import ProcessFigures
from vrata.proxy.status import WorkerState, WorkerStatus

PAGE = Path(__file__).resolve().parents[4] / "docs" / "guide" / "operations.md"
ROW = re.compile(r"^\| `(vrata_\w+)` \| (\w+) \| (.*) \|$", re.MULTILINE)

BURNING = "print('there', flush=True)\nwhile True: pass"


def test_the_guide_has_the_table() -> None:
    documented = [
        (name, kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(PAGE.read_text(encoding="utf-8"))
    ]
    families = (*process_figures.FAMILIES, *configuration_figures.FAMILIES)
    assert documented == [(family.name, family.kind, family.labels) for family in families]


class Slot:
    """A slot as far as figures go, with *pids* in it."""

    def __init__(self, *pids: int) -> None:
        self.pids = pids
        self.starts = self.deaths = 0

    def carried(self) -> tuple[int, int]:
        return 0, 0

    def statuses(self) -> list[WorkerStatus]:
        return [WorkerStatus(0, pid, WorkerState.SERVING) for pid in self.pids]


def scraped(figures: ProcessFigures) -> Scraped:
    return Scraped("".join(lines(asyncio.run(figures.samples()), openmetrics=False)))


@pytest.fixture
def burning() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes that use a processor."""
    processes = [subprocess.Popen([sys.executable, "-c", BURNING], stdout=subprocess.PIPE) for _ in range(2)]
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == b"there\n"
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_the_time_of_a_slot_goes_on_when_its_process_ends(burning: list[subprocess.Popen[bytes]]) -> None:
    first, second = burning
    slot = Slot(first.pid)
    figures = ProcessFigures(cast("Any", [slot]))
    used = 0.0
    while used < 0.1:
        used = scraped(figures)("vrata_process_cpu_seconds_total", process="worker-0")
    slot.pids = (first.pid, second.pid)
    both = scraped(figures)
    assert both("vrata_process_cpu_seconds_total", process="worker-0") > used
    first.kill()
    first.wait()
    alone = scraped(figures)
    assert alone("vrata_process_cpu_seconds_total", process="worker-0") >= both(
        "vrata_process_cpu_seconds_total", process="worker-0"
    )
    assert (
        alone("vrata_process_resident_memory_bytes", process="worker-0")
        < both("vrata_process_resident_memory_bytes", process="worker-0") * 0.75
    )
    slot.pids = (second.pid,)
    again = scraped(figures)
    assert [*again.falls_below(alone)] == []


def test_a_reading_that_takes_long_is_not_taken_for_a_new_process(monkeypatch: pytest.MonkeyPatch) -> None:
    began: list[float] = []
    newer_is_dealt_with = threading.Event()

    def read(processes: Any) -> list[tuple[str, int, ProcessUsage]]:
        began.append(len(began) + 1)
        seconds = began[-1]
        if seconds == 1:
            newer_is_dealt_with.wait(0.1)
        return [(name, pid, ProcessUsage(seconds, 0, 0, 0)) for name, pid in processes]

    async def scenario() -> Scraped:
        async def scrape() -> None:
            [*lines(await figures.samples(), openmetrics=False)]
            newer_is_dealt_with.set()

        await asyncio.gather(scrape(), scrape())
        return Scraped("".join(lines(await figures.samples(), openmetrics=False)))

    monkeypatch.setattr(process_figures, "_usages", read)
    figures = ProcessFigures(cast("Any", [Slot(1)]))
    assert asyncio.run(scenario())("vrata_process_cpu_seconds_total", process="worker-0") == 3
