"""Faults: what goes wrong with a backend, and how it is put right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from bench.faults.backend import Backend

SLOWER = 0.5
"""Seconds that a slow backend takes longer."""


async def _stop(backend: Backend) -> None:
    backend.stop()


async def _resume(backend: Backend) -> None:
    backend.resume()


def _serve(backend: Backend) -> Awaitable[None]:
    return backend.tell("serve")


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to fail."""

    name: str
    title: str
    begin: Callable[[Backend], Awaitable[None]]
    end: Callable[[Backend], Awaitable[None]]


FAULTS = (
    Fault("kill", "the process is killed: connections are reset, new ones refused", Backend.kill, Backend.start),
    Fault("hang", "the process is stopped: connections are accepted, nothing is answered", _stop, _resume),
    Fault(
        "error",
        "every answer is 500 at once, health checks still succeed",
        lambda backend: backend.tell("error"),
        _serve,
    ),
    Fault(
        "slow",
        f"every answer, also to health checks, takes {SLOWER * 1000:.0f} ms longer",
        lambda backend: backend.tell(f"delay {SLOWER}"),
        _serve,
    ),
    Fault("black-hole", "packets to it are dropped, in old connections and new", lambda b: b.tell("drop"), _serve),
)


def select(names: Iterable[str]) -> tuple[Fault, ...]:
    """The named faults in the table's order; without names, all. Raises ``ValueError`` for one that does not exist."""
    wanted = set(names)
    unknown = wanted - {fault.name for fault in FAULTS}
    if unknown:
        known = ", ".join(fault.name for fault in FAULTS)
        raise ValueError(f"no such fault: {', '.join(sorted(unknown))}; there are: {known}")
    return tuple(fault for fault in FAULTS if fault.name in wanted or not wanted)
