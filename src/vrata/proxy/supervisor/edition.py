"""An edition: one attempt to have a snapshot document served by every worker."""

from __future__ import annotations

from dataclasses import dataclass

from vrata.proxy.supervisor.document import SnapshotDocument


@dataclass(frozen=True, slots=True, eq=False)
class Edition:
    """A document under a number of its own, so that answers to different attempts cannot be mixed up.

    The same document gets a new edition when an address it names could be bound at last.
    """

    number: int
    document: SnapshotDocument

    def __str__(self) -> str:
        return f"edition {self.number} ({self.document.identity.id or 'empty'})"
