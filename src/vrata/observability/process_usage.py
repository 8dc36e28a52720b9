"""What processes use of the machine, as the kernel says (proc(5)); only Linux tells it in this way."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class ProcessUsage:
    """One process."""

    cpu_seconds: float
    """In user and system mode since it began, all threads together."""
    resident_bytes: int
    """Memory in use; what it shares with others counts for each of them."""
    descriptors: int
    """Open ones."""
    most_descriptors: int
    """How many it may have open at once."""

    @classmethod
    def of(cls, pid: int) -> ProcessUsage:
        """Return what the process *pid*, one of the same user, uses now. Raises ``OSError`` when it has ended."""
        # The name stands in parentheses and may hold anything; fields are numbered from the third one after it.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        user, system, resident = (int(fields[number - 3]) for number in (14, 15, 24))
        return cls(
            cpu_seconds=(user + system) / _TICKS,
            resident_bytes=resident * _PAGE,
            descriptors=len(os.listdir(f"/proc/{pid}/fd")),
            most_descriptors=resource.prlimit(pid, resource.RLIMIT_NOFILE)[0],
        )
