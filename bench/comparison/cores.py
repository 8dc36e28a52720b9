"""The processor cores: one for the proxy, another for the load and the backend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cores:
    """Numbers of cores; the same twice on a machine that has only one."""

    proxy: int
    load: int


def choose() -> Cores:
    """Two of the cores this process may use."""
    usable = sorted(os.sched_getaffinity(0))
    return Cores(proxy=usable[0], load=usable[-1])


@contextmanager
def running_on(core: int) -> Iterator[None]:
    """This thread, and every process it starts meanwhile, run on *core* only."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin(pid: int, core: int) -> None:
    """All threads of process *pid* run on *core* only, and what they start from now on."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})
