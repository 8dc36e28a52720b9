"""``python -m bench.http2``: measure, print the table, write ``http2.json`` and ``http2.svg``."""

from __future__ import annotations

import sys

from bench.comparison.comparison import Comparison
from bench.comparison.proxies.envoy import Envoy
from bench.comparison.proxies.haproxy import Haproxy
from bench.comparison.proxies.nginx import Nginx
from bench.comparison.proxies.vrata import Vrata
from bench.http2.workloads import GOALS, WORKLOADS

COMPARISON = Comparison(
    title="Vrata beside nginx, HAProxy and Envoy with clients of HTTP/2.",
    proxies=(Vrata, Nginx, Haproxy, Envoy),
    workloads=WORKLOADS,
    goals=GOALS,
    commands=("h2load", "nghttpd", "nginx"),
    output="http2",
    minutes=40.0,
    quick_minutes=2.6,
)

if __name__ == "__main__":
    sys.exit(COMPARISON.run())
