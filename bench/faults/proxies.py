"""The proxies in front of several backends, with the same policy as far as each can have it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from bench.comparison.proxies import envoy, haproxy, nginx, vrata
from bench.comparison.proxies.envoy import address
from bench.comparison.proxies.proxy import Setup
from bench.faults.server import HEALTH
from tests.support.gateway import Document, destination, forward

POLICY = (
    "backends in turn; one worker; nothing below is tuned to a fault",
    "health check: GET every 1 s, limit 1 s, out after 2 failures, in after 2 successes",
    "passive: out after 5 answers of 5xx in a row, for 5 s the first time (where that can be set)",
    "retries: 2, of GET, after a failed connection, no answer, or 5xx; pause 10 to 100 ms (where there is one)",
    "retry budget: 20 % of what is under way, at least 3 (where there is one)",
    "limits: 1 s to connect, 2 s for the answer to one try",
)
"""What all of them are configured to do, one line per subject."""


class Nginx(nginx.Nginx):
    """Takes a server out by failed requests alone."""

    DIFFERENCES: ClassVar[str] = (
        "no health checks in the open source edition; max_fails=5 fail_timeout=5s instead, in any order within 5 s;"
        " retries at once, without a budget"
    )

    def __init__(self, directory: Path, setup: Setup, backends: Sequence[int]) -> None:
        super().__init__(directory, setup)
        self._backends = backends

    def _servers(self) -> str:
        return " ".join(f"server 127.0.0.1:{port} max_fails=5 fail_timeout=5s;" for port in self._backends)

    def _policy(self) -> str:
        return """
        proxy_connect_timeout 1s;
        proxy_read_timeout 2s;
        proxy_next_upstream error timeout http_500 http_502 http_503 http_504;
        proxy_next_upstream_tries 3;"""


class Haproxy(haproxy.Haproxy):
    """Takes a server out by health checks and by observing requests; both set the same state."""

    DIFFERENCES: ClassVar[str] = (
        "observe layer7 error-limit 5 on-error mark-down: the next 2 good health checks bring it back;"
        " answers that are retried are not observed: with 5xx in retry-on, as here, nothing is lost and it stays in;"
        " without, it is out after the 5 that are lost; retries without a budget"
    )

    def __init__(self, directory: Path, setup: Setup, backends: Sequence[int]) -> None:
        super().__init__(directory, setup)
        self._backends = backends

    def _servers(self) -> str:
        return "\n    ".join(
            (
                "balance roundrobin",
                "timeout connect 1s",
                "timeout server 2s",
                "timeout check 1s",
                f"option httpchk GET {HEALTH}",
                "http-check expect status 200",
                "retries 2",
                "option redispatch 1",
                "retry-on conn-failure empty-response junk-response response-timeout 500 502 503 504",
                "default-server check inter 1s fall 2 rise 2 observe layer7 error-limit 5 on-error mark-down",
                *(f"server b{number} 127.0.0.1:{port}" for number, port in enumerate(self._backends)),
            )
        )


class Envoy(envoy.Envoy):
    """Health checks and outlier detection, apart from each other."""

    DIFFERENCES: ClassVar[str] = (
        "successful_active_health_check_uneject_host is off, so that an ejection lasts as long as it is to;"
        " a retry avoids the host that failed (previous_hosts); all requests that wait for one connection fail at once,"
        " and are more than the retry budget allows"
    )

    def __init__(self, directory: Path, setup: Setup, backends: Sequence[int]) -> None:
        super().__init__(directory, setup)
        self._backends = backends

    def _policy(self) -> dict[str, Any]:
        predicate = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
        return {
            "timeout": "10s",
            "retry_policy": {
                "retry_on": "connect-failure,refused-stream,reset,5xx",
                "num_retries": 2,
                "per_try_timeout": "2s",
                "retry_back_off": {"base_interval": "0.01s", "max_interval": "0.1s"},
                "retry_host_predicate": [
                    {
                        "name": "envoy.retry_host_predicates.previous_hosts",
                        "typed_config": {"@type": f"type.googleapis.com/{predicate}"},
                    }
                ],
                "host_selection_retry_max_attempts": 5,
            },
        }

    def _cluster(self) -> dict[str, Any]:
        cluster = super()._cluster()
        (limits,) = cluster["circuit_breakers"]["thresholds"]
        limits["retry_budget"] = {"budget_percent": {"value": 20}, "min_retry_concurrency": 3}
        endpoints = [{"endpoint": {"address": address(port)}} for port in self._backends]
        return {
            **cluster,
            "connect_timeout": "1s",
            "load_assignment": {"cluster_name": cluster["name"], "endpoints": [{"lb_endpoints": endpoints}]},
            "health_checks": [
                {
                    "interval": "1s",
                    "no_traffic_interval": "1s",
                    "timeout": "1s",
                    "unhealthy_threshold": 2,
                    "healthy_threshold": 2,
                    "http_health_check": {"path": HEALTH},
                }
            ],
            "outlier_detection": {
                "consecutive_5xx": 5,
                "interval": "1s",
                "base_ejection_time": "5s",
                "max_ejection_percent": 50,
                "successful_active_health_check_uneject_host": False,
            },
        }


class Vrata(vrata.Vrata):
    """Health checks and outlier detection, apart from each other; *balancing* is the algorithm."""

    DIFFERENCES: ClassVar[str] = "retries avoid the endpoint that failed"

    def __init__(self, directory: Path, setup: Setup, backends: Sequence[int], balancing: str = "ROUND_ROBIN") -> None:
        super().__init__(directory, setup)
        self._backends = backends
        self._balancing = balancing

    def _destination(self) -> Document:
        options: dict[str, Any] = {
            "timeouts": {"request": "10s", "connect": "1s", "responseHeader": "2s"},
            "endpointBalancing": {"algorithm": self._balancing},
            "healthCheck": {
                "path": HEALTH,
                "interval": "1s",
                "timeout": "1s",
                "unhealthyThreshold": 2,
                "healthyThreshold": 2,
            },
            "outlierDetection": {
                "consecutive5xx": 5,
                "interval": "1s",
                "baseEjectionTime": "5s",
                "maxEjectionPercent": 50,
            },
        }
        return {
            **destination("backend", self._backends[0], **options),
            "endpoints": [{"host": "127.0.0.1", "port": port} for port in self._backends],
        }

    def _forward(self) -> Document:
        retry = {"attempts": 2, "perAttemptTimeout": "2s", "backoff": {"base": "10ms", "max": "100ms"}}
        return forward("backend", retry=retry)


PROXIES: tuple[type[Vrata] | type[Nginx] | type[Haproxy] | type[Envoy], ...] = (Vrata, Nginx, Haproxy, Envoy)
"""In the order of the table."""
