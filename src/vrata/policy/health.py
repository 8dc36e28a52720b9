"""The health of one endpoint, by the results of its probes.

An endpoint is healthy until so many probes in a row have failed, and unhealthy until so many in a row have succeeded.
Times are seconds of any one clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FIRST_WITHIN: Final = 1.0
"""Seconds over which the first probes of endpoints are spread that become known at the same moment."""
JITTER: Final = 0.1
"""Share of the interval by which the time between two probes is shorter or longer."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How many results in a row change the health of an endpoint; both are at least 1."""

    unhealthy: int
    """Failures that make it unhealthy."""
    healthy: int
    """Successes that make it healthy again."""


class EndpointHealth:
    """What the probes of one endpoint have come to so far."""

    __slots__ = ("_failures", "_successes", "cause", "is_healthy", "probed_at", "reason", "since")

    def __init__(self) -> None:
        self.is_healthy = True
        self.since: float | None = None
        """Since when it is healthy, or is not; None before the first result."""
        self.probed_at: float | None = None
        """When the last result came; None before the first."""
        self.reason = ""
        """Why the last probe that failed did so; empty while none has."""
        self.cause = ""
        """What the reason was when it became unhealthy; empty while it is healthy."""
        self._failures = 0
        self._successes = 0

    def __repr__(self) -> str:
        state = "healthy" if self.is_healthy else "unhealthy"
        return f"<EndpointHealth {state}, {self._failures} failures or {self._successes} successes in a row>"

    @property
    def is_failing(self) -> bool:
        """Whether the last probe failed."""
        return self._failures > 0

    def succeeded(self, now: float, thresholds: Thresholds) -> bool:
        """A probe succeeded; true if the endpoint is healthy again by it."""
        self._probed(now)
        self._failures = 0
        self._successes += 1
        if self.is_healthy or self._successes < thresholds.healthy:
            return False
        self.is_healthy = True
        self.since = now
        self.cause = ""
        return True

    def failed(self, now: float, thresholds: Thresholds, reason: str) -> bool:
        """A probe failed for *reason*; true if the endpoint is unhealthy by it."""
        self._probed(now)
        self.reason = reason
        self._successes = 0
        self._failures += 1
        if not self.is_healthy or self._failures < thresholds.unhealthy:
            return False
        self.is_healthy = False
        self.since = now
        self.cause = reason
        return True

    def _probed(self, now: float) -> None:
        self.probed_at = now
        if self.since is None:
            self.since = now


def first_probe_at(now: float, interval: float, chance: float) -> float:
    """When an endpoint that has just become known is probed; *chance* is uniform in [0, 1)."""
    return now + chance * min(FIRST_WITHIN, interval)


def next_probe_at(began: float, interval: float, chance: float) -> float:
    """When an endpoint is probed again whose last probe *began* then; *chance* is uniform in [0, 1)."""
    return began + interval * (1 - JITTER + 2 * JITTER * chance)
