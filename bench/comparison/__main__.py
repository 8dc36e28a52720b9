"""``python -m bench.comparison``: HTTP/1.1 on both sides, beside four others."""

from __future__ import annotations

import sys

from bench.comparison.comparison import Comparison
from bench.comparison.goals import GOALS
from bench.comparison.proxies import PROXIES
from bench.comparison.workload import WORKLOADS

COMPARISON = Comparison(
    title="Vrata beside nginx, HAProxy, Envoy and Caddy.",
    proxies=PROXIES,
    workloads=WORKLOADS,
    goals=GOALS,
    commands=("wrk", "nginx"),
    output="latest",
    minutes=40.0,
    quick_minutes=2.6,
)

if __name__ == "__main__":
    sys.exit(COMPARISON.run())
