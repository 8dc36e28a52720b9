"""When a process that died is started again."""

from __future__ import annotations

from dataclasses import dataclass, field

from vrata.policy.backoff import doubled


@dataclass(slots=True)
class RestartPace:
    """At once after one death, ever more slowly after several in a row. Times are seconds.

    A life shorter than *long_life* is a short one. The first short life is forgiven; from the second in a row on,
    the next start waits *first_delay*, doubled each time up to *max_delay*. A long life clears the account.
    """

    long_life: float
    first_delay: float
    max_delay: float
    short_lives: int = field(default=0, init=False)
    """In a row."""

    def delay_after(self, lived: float) -> float:
        """Return how long to wait before the next start, after a process that lived *lived* seconds."""
        if lived >= self.long_life:
            self.short_lives = 0
            return 0.0
        self.short_lives += 1
        if self.short_lives == 1:
            return 0.0
        return doubled(self.first_delay, self.max_delay, self.short_lives - 2)
