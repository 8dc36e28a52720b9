"""What processes use, from /proc: processor time, and memory that is theirs alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class ProcessorTime:
    """Seconds in user mode and in the kernel."""

    user: float = 0.0
    system: float = 0.0

    def __add__(self, other: ProcessorTime) -> ProcessorTime:
        return ProcessorTime(self.user + other.user, self.system + other.system)

    def __sub__(self, other: ProcessorTime) -> ProcessorTime:
        return ProcessorTime(self.user - other.user, self.system - other.system)


def parse_stat(text: str, ticks_per_second: int = TICKS_PER_SECOND) -> ProcessorTime:
    """Processor time of all threads in the *text* of ``/proc/PID/stat`` (proc(5): utime is field 14, stime 15)."""
    # The name of the program, field 2, is in parentheses and may contain anything, parentheses included.
    fields = text.rpartition(")")[2].split()
    return ProcessorTime(int(fields[11]) / ticks_per_second, int(fields[12]) / ticks_per_second)


def parse_private(text: str) -> int:
    """Bytes of memory shared with nobody, in the *text* of ``/proc/PID/smaps_rollup``."""
    sizes = dict(line.split(":", 1) for line in text.splitlines() if line.endswith("kB"))
    return 1024 * sum(int(sizes[name].split()[0]) for name in ("Private_Clean", "Private_Dirty"))


def processor_time(pids: Iterable[int]) -> ProcessorTime:
    """Processor time that the processes have used since their start."""
    total = ProcessorTime()
    for pid in pids:
        total += parse_stat(Path(f"/proc/{pid}/stat").read_text())
    return total


def private_memory(pids: Iterable[int]) -> int:
    """Bytes that would be free if the processes ended."""
    return sum(parse_private(Path(f"/proc/{pid}/smaps_rollup").read_text()) for pid in pids)


def children(pid: int) -> tuple[int, ...]:
    """Processes that *pid* started and that run."""
    return tuple(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
