"""What a process uses, read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process: memory in MiB, processor time in seconds since its start."""

    pid: int
    name: str
    resident: float
    proportional: float
    processor: float


def usage(pid: int) -> Usage:
    """Read what process *pid* uses now. Raises ``OSError`` when it has ended."""
    process = Path(f"/proc/{pid}")
    sizes = {
        line.split(":")[0]: int(line.split()[1]) / 1024
        for line in (process / "smaps_rollup").read_text().splitlines()[1:]
        if line.endswith("kB")
    }
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return Usage(
        pid=pid,
        name=(process / "comm").read_text().strip(),
        resident=sizes["Rss"],
        proportional=sizes["Pss"],
        processor=(int(fields[11]) + int(fields[12])) / _TICKS,
    )


def resident(pid: int) -> float:
    """MiB of memory that process *pid* has in place now. Raises ``OSError`` when it has ended."""
    return _status(pid, "VmRSS")


def peak_resident(pid: int) -> float:
    """The most that :func:`resident` has been since the process began, or since :func:`reset_peak`."""
    return _status(pid, "VmHWM")


def reset_peak(pid: int) -> None:
    """Let :func:`peak_resident` begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def _status(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"process {pid} has ended")


def print_table(pids: list[int]) -> None:
    """Print what each of *pids* uses, and the sum of their proportional shares of memory."""
    print(f"{'pid':>8} {'RSS MiB':>8} {'PSS MiB':>8} {'CPU s':>7}  process")
    total = 0.0
    for pid in pids:
        try:
            found = usage(pid)
        except OSError:
            continue
        total += found.proportional
        print(f"{found.pid:>8} {found.resident:>8.1f} {found.proportional:>8.1f} {found.processor:>7.1f}  {found.name}")
    print(f"{'all':>8} {'':>8} {total:>8.1f}")
