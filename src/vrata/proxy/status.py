"""What a proxy says of itself: the acknowledgement that the control plane shows for it.

Times are seconds. ``document()`` is the body of ``PUT /api/v1/sync/proxies/{proxyId}``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class EntityProblem:
    """One entity of a snapshot that had to be left out, and why; or a listener that is served as it was before."""

    kind: str
    id: str
    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class SnapshotIdentity:
    """Which snapshot."""

    id: str
    name: str


class Verdict(StrEnum):
    """How an apply ended."""

    APPLIED = "applied"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class ApplyOutcome:
    """The last document that was received, and what became of it."""

    snapshot_id: str
    verdict: Verdict
    seconds: float
    reason: str = ""
    problems: tuple[EntityProblem, ...] = ()


class ListenerState(StrEnum):
    """Whether a listener accepts connections."""

    LISTENING = "listening"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """One listener of the active snapshot; *reason* says why it failed."""

    id: str
    name: str
    address: str
    state: ListenerState
    reason: str = ""


class WorkerState(StrEnum):
    """Where a worker is in its life."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker process. While one replaces another, two have the same slot."""

    slot: int
    pid: int
    state: WorkerState


@dataclass(frozen=True, slots=True)
class ProxyStatus:
    """Everything a proxy acknowledges."""

    version: str
    active_snapshot: SnapshotIdentity | None
    last_apply: ApplyOutcome | None
    listeners: tuple[ListenerStatus, ...]
    workers: tuple[WorkerStatus, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON object to send."""
        outcome = self.last_apply
        return {
            "version": self.version,
            "activeSnapshot": None if self.active_snapshot is None else asdict(self.active_snapshot),
            "lastApply": None
            if outcome is None
            else {
                "snapshotId": outcome.snapshot_id,
                "status": outcome.verdict,
                "reason": outcome.reason,
                "problems": [asdict(problem) for problem in outcome.problems],
                "seconds": round(outcome.seconds, 6),
            },
            "listeners": [asdict(listener) for listener in self.listeners],
            "workers": [asdict(worker) for worker in self.workers],
        }
