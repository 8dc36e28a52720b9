"""The name under which the system lists this process (``ps``, ``top``)."""

from __future__ import annotations

import contextlib
from pathlib import Path

MAX_NAME = 15
"""Bytes the kernel keeps of a name."""


def set_name(name: str) -> None:
    """Give the process *name*, cut to :data:`MAX_NAME`; systems without ``/proc`` show what they always showed."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_text(name[:MAX_NAME])
