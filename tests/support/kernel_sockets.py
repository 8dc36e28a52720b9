"""What the kernel knows of connections on the loopback address."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

_ESTABLISHED = "01"


def connections_to(ports: Collection[int]) -> int:
    """Connections to *ports* that were open at one and the same moment.

    The kernel's table is not read at one moment: a connection that ends meanwhile may stand beside its successor. So it
    is read twice, and what stands in both readings was open between them.
    """
    return len(_open_to(ports) & _open_to(ports))


def _open_to(ports: Collection[int]) -> set[tuple[str, str, str]]:
    remotes = {f"{port:04X}" for port in ports}
    entries = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        (entry[1], entry[2], entry[9])
        for entry in entries
        if entry[2].rpartition(":")[2] in remotes and entry[3] == _ESTABLISHED
    }
