"""Goals: the ratios Vrata is to reach."""

from __future__ import annotations

from dataclasses import dataclass

from bench.comparison.results import Results


@dataclass(frozen=True, slots=True)
class Goal:
    """*figure* of Vrata in *workload* is at most *limit* times that of *peer*, or of itself in *baseline*."""

    workload: str
    figure: str
    limit: float
    peer: str = ""
    baseline: str = ""

    def ratio(self, results: Results) -> float | None:
        """What was measured; ``None`` when something for it was not."""
        return results.ratio(self.figure, self.workload, "vrata", peer=self.peer, baseline=self.baseline)

    def __str__(self) -> str:
        against = self.peer or f"its own in {self.baseline}"
        return f"{self.workload}: {self.figure} at most {self.limit:g} x {against}"


_SMALL = ("get-128b", "get-10kb", "post-1kb")
_CPU = {"nginx": 1.2, "haproxy": 1.2, "envoy": 0.6, "caddy": 0.35}
_USER = {"nginx": 2.0, "envoy": 0.4}

GOALS = (
    *(Goal(workload, "cpu_us", limit, peer) for workload in _SMALL for peer, limit in _CPU.items()),
    *(Goal(workload, "user_us", limit, peer) for workload in _SMALL for peer, limit in _USER.items()),
    Goal("get-1mb", "cpu_us", 1.1, "nginx"),
    Goal("routes-1000", "cpu_us", 1.1, baseline="get-128b"),
    Goal("tls-keepalive", "cpu_us", 1.3, "nginx"),
)
