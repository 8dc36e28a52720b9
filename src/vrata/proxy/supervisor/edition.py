"""An edition: one attempt to have a snapshot document served by every worker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from vrata.model.destination import Destination
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

    @property
    def destinations(self) -> Iterator[Destination]:
        """Those that are served, with the TLS material that is in use, and no files in it."""
        for destination in self.document.destinations:
            stated = destination.options.tls
            used = self.tls.destinations.get(destination.id)
            if used is None and stated.mode == "none":
                yield destination
            elif used is not None:
                options = destination.options.model_copy(update={"tls": used})
                yield destination if used == stated else destination.model_copy(update={"options": options})

    def __str__(self) -> str:
        return f"edition {self.number} ({self.document.identity.id or 'empty'})"
