"""The proxies that are compared: for each how it is configured, started, and which of its processes serve."""

from __future__ import annotations

from bench.comparison.proxies.caddy import Caddy
from bench.comparison.proxies.envoy import Envoy
from bench.comparison.proxies.haproxy import Haproxy
from bench.comparison.proxies.nginx import Nginx
from bench.comparison.proxies.proxy import Proxy
from bench.comparison.proxies.vrata import Vrata

PROXIES: tuple[type[Proxy], ...] = (Vrata, Nginx, Haproxy, Envoy, Caddy)
"""In the order of tables; the first is the one whose ratios to the others are computed."""
