"""What a proxy says of itself: the acknowledgement that the control plane shows for it.

Times are seconds. ``document()`` is the body of ``PUT /api/v1/sync/proxies/{proxyId}``.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from vrata.proxy.endpoint_status import DestinationStatus


@dataclass(frozen=True, slots=True)
class EntityProblem:
    """One entity of a snapshot that does not act as configured, and why: left out, served as it was before, or with
    something missing."""

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
class BindError:
    """Why an address cannot be listened on, and when that is tried again."""

    reason: str
    next_attempt: datetime | None
    """None while one is being made."""

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {"reason": self.reason, "nextAttempt": _timestamp(self.next_attempt)}


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """A certificate that a listener presents, and the names it does so for."""

    names: tuple[str, ...]
    not_after: datetime
    is_default: bool = False
    """It is presented for all names that no other certificate has."""

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "names": list(self.names),
            "notAfter": _timestamp(self.not_after),
            "isDefault": self.is_default,
        }


@dataclass(frozen=True, slots=True)
class TlsStatus:
    """The TLS material of a listener: what is in force, and what is wrong with what is configured."""

    loaded_at: datetime | None
    """Since when it is in force; None when there is none."""
    certificates: tuple[CertificateStatus, ...]
    problems: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "loadedAt": _timestamp(self.loaded_at),
            "certificates": [certificate.document() for certificate in self.certificates],
            "problems": list(self.problems),
        }


@dataclass(frozen=True, slots=True)
class ListenerStatus:
    """One listener of the active snapshot; *reason* says why it failed, or what is wrong with it though it listens."""

    id: str
    name: str
    address: str
    state: ListenerState
    reason: str = ""
    bind_error: BindError | None = None
    tls: TlsStatus | None = None
    """None where clients speak in clear."""

    def document(self) -> dict[str, Any]:
        """Return the JSON object."""
        return {
            "id": self.id,
            "name": self.name,
            "address": self.address,
            "state": self.state,
            "reason": self.reason,
            "bindError": None if self.bind_error is None else self.bind_error.document(),
            "tls": None if self.tls is None else self.tls.document(),
        }


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
    destinations: tuple[DestinationStatus, ...] = ()

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
            "listeners": [listener.document() for listener in self.listeners],
            "workers": [asdict(worker) for worker in self.workers],
            "destinations": [destination.document() for destination in self.destinations],
        }


def _timestamp(moment: datetime | None) -> str | None:
    """In RFC 3339 form, to the second."""
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
