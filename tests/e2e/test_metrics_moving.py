"""All metrics that the guide promises for traffic, each seen moving as it says, in one life of a gateway."""

from __future__ import annotations

import ssl
import threading

from tests.support.certificates import Authority
from tests.support.conditions import eventually
from tests.support.exposition import Scraped
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.ports import free_port
from tests.support.raw_http import Connection
from tests.support.recording_backend import Exchange, RecordingBackend

GROUP = "shop"


class Backend:
    """Answers by path: ``/slow`` when it is told to, ``/flaky`` with a failure every other time, ``/fail`` always."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self._flaky = 0

    def __call__(self, exchange: Exchange) -> None:
        status = 200
        if exchange.target == "/slow":
            assert self.go_on.wait(30)
        elif exchange.target == "/flaky":
            self._flaky += 1
            status = 503 if self._flaky % 2 else 200
        elif exchange.target == "/fail":
            status = 500
        exchange.respond(status, body=b"0123456789")


def test_each_metric_moves_as_documented(gateway: Gateway, backend: RecordingBackend) -> None:
    script = backend.script = Backend()
    plain, secure, sick = free_port(), free_port(), free_port()
    authority = Authority("metrics")
    certificate = authority.issue("proxy.test")
    tls = {"cert": certificate.cert_text, "key": certificate.key_text}
    metrics = {"collect": {"endpoint": True}, "histograms": {"durationBuckets": [0.001, 60]}}
    probes = {"type": "tcp", "interval": "100ms", "unhealthyThreshold": 3}
    rule = {"cel": 'request.path == "/forbidden"', "action": "deny"}
    gate = {"rules": [rule], "defaultAction": "allow"}
    with RecordingBackend("mirror") as mirror:
        gateway.configure(
            listeners=[listener(plain, "plain", metrics=metrics), listener(secure, "secure", metrics={}, tls=tls)],
            destinations=[
                destination("b", backend.port, healthCheck=probes),
                destination("sick", sick, healthCheck=probes),
                destination("dead", free_port(), circuitBreaker={"failureThreshold": 2, "openDuration": "60s"}),
                destination("m", mirror.port),
            ],
            middlewares=[{"id": "gate", "name": "the gate", "type": "inlineAuthz", "inlineAuthz": gate}],
            routes=[
                route("all", forward=forward("b"), middlewareIds=["gate"]),
                route(
                    "flaky",
                    {"path": "/flaky"},
                    forward=forward("b", retry={"attempts": 1, "on": ["gateway-error"], "backoff": {"base": "1ms"}}),
                ),
                route("dead", {"path": "/dead"}, forward=forward("dead")),
                route("copied", {"path": "/copied"}, forward=forward("b", mirror={"destinationId": "m"})),
            ],
            groups=[{"id": "g", "name": GROUP, "routeIds": ["all", "flaky", "dead", "copied"]}],
        )
        with Connection(plain) as client, Connection(plain) as other, Connection(plain) as scraper:

            def shown() -> Scraped:
                return Scraped(scraper.exchange("GET", "/metrics").body.decode())

            def status_of(method: str, path: str, body: bytes | None = None) -> int:
                return client.exchange(method, path, body=body).status

            # Whoever asks is a connection too; what has connected is accepted a moment later.
            here = {"listener": "plain", "address": f"127.0.0.1:{plain}"}
            eventually(lambda: shown()("vrata_listener_connections_total", **here) == 3, what="three connections")
            first = shown()
            assert first("vrata_listener_connections_total", **here) == 3
            assert first("vrata_listener_active_connections", **here) == 3
            assert first("vrata_endpoint_healthy", destination="b", endpoint=f"127.0.0.1:{backend.port}") == 1
            assert first("vrata_destination_circuit_breaker_state", destination="dead") == 0
            assert first.all("vrata_destination_circuit_breaker_state", destination="b") == []
            assert first.all("vrata_route_requests_total") == first.all("vrata_middleware_passed_total") == []

            # Route, destination and endpoint: what is on its way, and what has ended.
            other.request("GET", "/slow")
            eventually(lambda: len(backend.requests) == 1, what="the request is at the backend")
            busy = shown()
            assert busy("vrata_route_inflight_requests", route="all", group=GROUP) == 1
            assert busy("vrata_destination_inflight_requests", destination="b") == 1
            script.go_on.set()
            assert other.read_response().status == 200
            assert status_of("POST", "/ok", body=b"12345") == 200
            ended = shown()
            labels = {"route": "all", "group": GROUP}
            assert ended("vrata_route_inflight_requests", **labels) == 0
            assert ended("vrata_destination_inflight_requests", destination="b") == 0
            for method in ("GET", "POST"):
                by = {**labels, "method": method}
                assert ended("vrata_route_requests_total", **by, status_code="200", status_class="2xx") == 1
                assert ended("vrata_route_duration_seconds_count", **by) == 1
                assert ended("vrata_route_duration_seconds_bucket", **by, le="60.0") == 1
            assert 0 < ended("vrata_route_duration_seconds_sum", **labels) < 60  # in steps of a millisecond
            assert ended("vrata_route_request_bytes_total", **labels) == 5
            assert ended("vrata_route_response_bytes_total", **labels) == 20
            endpoint = {"destination": "b", "endpoint": f"127.0.0.1:{backend.port}"}
            for family, by in (("destination", {"destination": "b"}), ("endpoint", endpoint)):
                assert ended(f"vrata_{family}_requests_total", **by, status_code="200", status_class="2xx") == 2
                assert ended(f"vrata_{family}_duration_seconds_count", **by) == 2
                assert ended(f"vrata_{family}_duration_seconds_sum", **by) > 0

            # Retries and mirrors.
            assert status_of("GET", "/flaky") == 200
            assert status_of("GET", "/copied") == 200
            eventually(lambda: len(mirror.requests) == 1, what="the copy is at the mirror")
            again = shown()
            assert again("vrata_route_retries_total", route="flaky", group=GROUP, attempt="1") == 1
            assert again("vrata_mirror_requests_total", route="copied", destination="m") == 1
            assert again("vrata_endpoint_requests_total", **endpoint, status_code="503", status_class="5xx") == 1

            # Middlewares.
            assert status_of("GET", "/forbidden") == 403
            judged = shown()
            by = {"middleware": "the gate", "type": "inlineAuthz"}
            assert judged("vrata_middleware_passed_total", **by) == 2
            assert judged("vrata_middleware_rejections_total", **by, status_code="403") == 1
            assert judged("vrata_middleware_duration_seconds_count", **by) == 3
            # Its own time, not that of the request which was held back at the backend.
            assert judged("vrata_middleware_duration_seconds_sum", **by) < ended(
                "vrata_route_duration_seconds_sum", **labels
            )
            assert judged("vrata_route_requests_total", **labels, status_code="403", status_class="4xx") == 1

            # Failures in a row, and health.
            assert [status_of("GET", "/fail") for _ in range(2)] == [500, 500]
            assert shown()("vrata_endpoint_consecutive_5xx", **endpoint) == 2
            assert judged("vrata_endpoint_consecutive_5xx", **endpoint) == 0
            assert status_of("GET", "/ok") == 200
            assert shown()("vrata_endpoint_consecutive_5xx", **endpoint) == 0
            assert shown()("vrata_endpoint_healthy", **endpoint) == 1
            eventually(lambda: shown()("vrata_endpoint_healthy", destination="sick") == 0, what="it is unhealthy")

            # The breaker, and errors that the proxy makes itself.
            assert [status_of("GET", "/dead") for _ in range(3)] == [502, 502, 503]
            broken = shown()
            assert broken("vrata_destination_circuit_breaker_state", destination="dead") == 1
            errors = {"connection_refused": 2, "circuit_open": 1}
            assert {error: broken("vrata_proxy_errors_total", listener="plain", error=error) for error in errors} == (
                errors
            )
            # A request that the breaker refuses goes to no destination.
            assert broken("vrata_destination_requests_total", destination="dead") == 2

            # Handshakes.
            with Connection(secure) as nobody:
                nobody.send(b"this is no handshake\r\n\r\n")
                nobody.read_to_end()
            with Connection(secure, tls=ssl.create_default_context(cadata=authority.cert_text)) as known:
                text = known.exchange("GET", "/metrics").body.decode()
            address = f"127.0.0.1:{secure}"
            failures = Scraped(text)("vrata_listener_tls_handshake_errors_total", listener="secure", address=address)
            assert failures == 1
            # Each listener counts what came in there alone.
            assert "the gate" not in text
