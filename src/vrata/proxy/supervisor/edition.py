"""An edition: one attempt to have a snapshot document served by every worker."""

from __future__ import annotations

from dataclasses import dataclass, field

from vrata.proxy.supervisor.document import SnapshotDocument
from vrata.proxy.supervisor.tls_review import TlsReview


@dataclass(frozen=True, slots=True, eq=False)
class Edition:
    """A document under a number of its own, so that answers to different attempts cannot be mixed up.

    The same document gets a new edition when an address it names could be bound at last, or a certificate has changed.
    """

    number: int
    document: SnapshotDocument
    tls: TlsReview = field(default_factory=TlsReview)
    """What the listeners serve with."""

    @property
    def addresses(self) -> frozenset[str]:
        """Where it listens."""
        return self.document.addresses - self.tls.left_out

    def __str__(self) -> str:
        return f"edition {self.number} ({self.document.identity.id or 'empty'})"
