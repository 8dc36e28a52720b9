"""The history of applies, as far as figures need it."""

from __future__ import annotations

from collections import Counter
from time import time

from vrata.proxy.status import ApplyOutcome, Verdict


class ApplyHistory:
    """How often applying ended in which way, and the last time."""

    def __init__(self) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.last: ApplyOutcome | None = None
        self.last_at = 0.0
        """Seconds since 1970."""

    def __repr__(self) -> str:
        return f"<ApplyHistory {dict(self.verdicts)}>"

    def note(self, outcome: ApplyOutcome) -> None:
        """An apply has just ended with *outcome*."""
        self.verdicts[outcome.verdict] += 1
        self.last = outcome
        self.last_at = time()
