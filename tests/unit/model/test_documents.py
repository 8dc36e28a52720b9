"""What entities become when they are written: the response form, and defaults where nothing was stated."""

from __future__ import annotations

import json
from functools import reduce
from typing import Any

import pytest

from tests.unit.model.samples import MINIMAL, forwarding, middleware, with_member
from vrata.model import KINDS, Destination, Duration, Listener, Middleware, Route
from vrata.model.middleware import RateLimit

# (kind, sent, shown): ID and name aside, what comes back for what was sent.
SHOWN: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # Members that are always shown.
    ("listener", {"name": "a", "port": 80}, {"address": "0.0.0.0", "port": 80}),
    ("destination", MINIMAL["destination"], {"host": "backend.internal", "port": 80}),
    ("route", MINIMAL["route"], {"match": {}, "directResponse": {"status": 200}}),
    ("group", MINIMAL["group"], {"routeIds": []}),
    ("group", {"name": "g", "routeIds": None}, {"routeIds": []}),
    ("middleware", MINIMAL["middleware"], {"type": "headers", "headers": {}}),
    ("secret", {"name": "a", "value": ""}, {"value": ""}),
    (
        "route",
        forwarding(retry={"attempts": 0}, mirror={"destinationId": "b"}, rewrite={"pathRegex": {"pattern": "a"}}),
        {
            "match": {},
            "forward": {
                "destinations": [{"destinationId": "backend", "weight": 0}],
                "retry": {"attempts": 0},
                "mirror": {"destinationId": "b"},
                "rewrite": {"pathRegex": {"pattern": "a", "substitution": ""}},
            },
        },
    ),
    (
        "route",
        {"name": "a", "match": {"headers": [{"name": "b"}], "queryParams": [{"name": "c"}]}, "redirect": {}},
        {"match": {"headers": [{"name": "b"}], "queryParams": [{"name": "c"}]}, "redirect": {}},
    ),
    (
        "listener",
        {"name": "a", "port": 80, "tls": {"cert": "/c", "key": "/k", "clientAuth": {}}},
        {"address": "0.0.0.0", "port": 80, "tls": {"cert": "/c", "key": "/k", "clientAuth": {"mode": "none"}}},
    ),
    (
        "destination",
        with_member(
            MINIMAL["destination"],
            "options",
            {
                "tls": {},
                "healthCheck": {"path": "/"},
                "discovery": {"type": "kubernetes"},
                "endpointBalancing": {
                    "maglev": {"hashPolicy": [{"header": {"name": "a"}}, {"cookie": {}}, {"sourceIP": {}}]},
                    "sticky": {"cookie": {}},
                },
            },
        ),
        {
            "host": "backend.internal",
            "port": 80,
            "options": {
                "tls": {"mode": "none"},
                "healthCheck": {"path": "/"},
                "discovery": {"type": "kubernetes"},
                "endpointBalancing": {
                    "maglev": {
                        "hashPolicy": [
                            {"header": {"name": "a"}},
                            {"cookie": {"name": "_vrata_endpoint_pin"}},
                            {"sourceIP": {"enabled": False}},
                        ]
                    },
                    "sticky": {"cookie": {}},
                },
            },
        },
    ),
    (
        "middleware",
        middleware("headers", {"requestHeadersToAdd": [{"key": "a"}]}),
        {"type": "headers", "headers": {"requestHeadersToAdd": [{"key": "a", "value": ""}]}},
    ),
    (
        "middleware",
        middleware("accessLog", {"path": "stdout", "onRequest": {}}),
        {"type": "accessLog", "accessLog": {"path": "stdout", "onRequest": {"fields": {}}}},
    ),
    (
        "middleware",
        middleware("extProc", {"destinationId": "d", "observeMode": {}}),
        {"type": "extProc", "extProc": {"destinationId": "d", "observeMode": {"enabled": False}}},
    ),
    (
        "middleware",
        middleware("inlineAuthz", {"rules": [{"cel": "true", "action": "deny"}], "defaultAction": ""}),
        {"type": "inlineAuthz", "inlineAuthz": {"rules": [{"cel": "true", "action": "deny"}], "defaultAction": "deny"}},
    ),
    # Zeros that mean the same as being absent are left out.
    (
        "listener",
        {
            "name": "a",
            "port": 80,
            "address": "",
            "http2": False,
            "serverName": "",
            "maxRequestHeadersKB": 0,
            "tls": None,
            "timeouts": {"clientHeader": ""},
            "proxyErrors": {"detail": ""},
        },
        {"address": "0.0.0.0", "port": 80, "timeouts": {}, "proxyErrors": {}},
    ),
    (
        "destination",
        with_member(
            MINIMAL["destination"],
            "options",
            {"http2": False, "maxConnsPerHost": 0, "circuitBreaker": {"maxRequests": 0}, "timeouts": {"request": None}},
        ),
        {"host": "backend.internal", "port": 80, "options": {"circuitBreaker": {}, "timeouts": {}}},
    ),
    (
        "route",
        {
            "name": "a",
            "match": {"methods": [], "grpc": False},
            "middlewareIds": [],
            "middlewareOverrides": {},
            "redirect": {"code": 0},
        },
        {"match": {}, "redirect": {}},
    ),
    (
        "middleware",
        middleware("rateLimit", {"requestsPerSecond": 0.0, "burst": 0}),
        {"type": "rateLimit", "rateLimit": {"requestsPerSecond": 0.0}},
    ),
    # Zeros that say something are kept.
    (
        "destination",
        with_member(
            MINIMAL["destination"],
            "options",
            {
                "circuitBreaker": {"failureThreshold": 0},
                "outlierDetection": {"consecutive5xx": 0, "maxEjectionPercent": 0},
                "timeouts": {"request": "0s"},
            },
        ),
        {
            "host": "backend.internal",
            "port": 80,
            "options": {
                "circuitBreaker": {"failureThreshold": 0},
                "outlierDetection": {"consecutive5xx": 0, "maxEjectionPercent": 0},
                "timeouts": {"request": "0s"},
            },
        },
    ),
    (
        "listener",
        {"name": "a", "port": 80, "metrics": {"collect": {"route": False, "endpoint": False}}},
        {"address": "0.0.0.0", "port": 80, "metrics": {"collect": {"route": False}}},
    ),
    (
        "listener",
        {"name": "a", "port": 80, "tracing": {"destinationId": "c", "samplingRatio": 0, "parentBased": False}},
        {
            "address": "0.0.0.0",
            "port": 80,
            "tracing": {"destinationId": "c", "samplingRatio": 0, "parentBased": False},
        },
    ),
    (
        "middleware",
        middleware("headers", {"responseHeadersToAdd": [{"key": "a", "value": "b", "append": False}]}),
        {"type": "headers", "headers": {"responseHeadersToAdd": [{"key": "a", "value": "b", "append": False}]}},
    ),
    (
        "group",
        {"name": "g", "middlewareOverrides": {"m": {"extProc": {"allowOnError": False}}}},
        {"routeIds": [], "middlewareOverrides": {"m": {"extProc": {"allowOnError": False}}}},
    ),
    # Objects that were sent empty count, and what equals the default is shown if it was stated.
    ("listener", {"name": "a", "port": 80, "metrics": {}}, {"address": "0.0.0.0", "port": 80, "metrics": {}}),
    (
        "listener",
        {"name": "a", "port": 80, "timeouts": {"clientHeader": "10s"}},
        {"address": "0.0.0.0", "port": 80, "timeouts": {"clientHeader": "10s"}},
    ),
    # Methods are made upper-case.
    (
        "route",
        {"name": "a", "match": {"methods": ["get", "Post"]}, "redirect": {}},
        {"match": {"methods": ["GET", "POST"]}, "redirect": {}},
    ),
    # Settings of another type than the middleware's are kept.
    (
        "middleware",
        {"name": "m", "type": "cors", "cors": {}, "headers": {}},
        {"type": "cors", "cors": {}, "headers": {}},
    ),
]


@pytest.mark.parametrize(("kind", "sent", "shown"), SHOWN)
def test_what_comes_back(kind: str, sent: dict[str, Any], shown: dict[str, Any]) -> None:
    entity = KINDS[kind].parse(sent)
    assert entity.document() == {"id": "", "name": sent["name"], **shown}
    assert KINDS[kind].parse(entity.document()) == entity


# (kind, document, path, value): what acts where nothing was stated.
DEFAULTS: list[tuple[str, dict[str, Any], str, Any]] = [
    *(
        ("listener", MINIMAL["listener"], path, value)
        for path, value in [
            ("address", "0.0.0.0"),
            ("tls", None),
            ("http2", False),
            ("server_name", ""),
            ("max_request_headers_kb", 0),
            ("timeouts.client_header.seconds", 10),
            ("timeouts.client_request.seconds", 60),
            ("timeouts.client_response.seconds", 60),
            ("timeouts.idle_between_requests.seconds", 120),
            ("metrics", None),
            ("proxy_errors.detail", "standard"),
        ]
    ),
    *(
        ("listener", with_member(MINIMAL["listener"], "metrics", {}), path, value)
        for path, value in [
            ("metrics.path", "/metrics"),
            ("metrics.collect.route", True),
            ("metrics.collect.destination", True),
            ("metrics.collect.middleware", True),
            ("metrics.collect.listener", True),
            ("metrics.collect.endpoint", False),
            ("metrics.histograms.duration_buckets", (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)),
            ("metrics.histograms.size_buckets", (100, 1000, 10000, 100000, 1000000)),
        ]
    ),
    *(
        ("listener", with_member(MINIMAL["listener"], "tracing", {"destinationId": "c"}), path, value)
        for path, value in [
            ("tracing.path", "/v1/traces"),
            ("tracing.headers", ()),
            ("tracing.sampling_ratio", 1),
            ("tracing.parent_based", True),
            ("tracing.service_name", "vrata"),
        ]
    ),
    *(
        ("listener", with_member(MINIMAL["listener"], "tls", {"cert": "/c", "key": "/k"}), path, value)
        for path, value in [
            ("tls.min_version", "TLSv1_2"),
            ("tls.max_version", None),
            ("tls.client_auth.mode", "none"),
        ]
    ),
    *(
        ("destination", MINIMAL["destination"], f"options.{path}", value)
        for path, value in [
            ("timeouts.request.seconds", 30),
            ("timeouts.connect.seconds", 5),
            ("timeouts.dual_stack_fallback.seconds", 0.3),
            ("timeouts.tls_handshake.seconds", 5),
            ("timeouts.response_header.seconds", 10),
            ("timeouts.expect_continue.seconds", 1),
            ("timeouts.idle_connection.seconds", 90),
            ("tls.mode", "none"),
            ("tls.min_version", None),
            ("endpoint_balancing.algorithm", "ROUND_ROBIN"),
            ("endpoint_balancing.ring_hash.ring_size.min", 1024),
            ("endpoint_balancing.ring_hash.ring_size.max", 8388608),
            ("endpoint_balancing.ring_hash.hash_policy", ()),
            ("endpoint_balancing.maglev.table_size", 65537),
            ("endpoint_balancing.least_request.choice_count", 2),
            ("endpoint_balancing.sticky.cookie.name", "_vrata_endpoint_pin"),
            ("endpoint_balancing.sticky.cookie.ttl.seconds", 3600),
            ("circuit_breaker", None),
            ("health_check", None),
            ("outlier_detection", None),
            ("discovery", None),
            ("http2", False),
            ("max_conns_per_host", 0),
        ]
    ),
    *(
        (
            "destination",
            with_member(
                MINIMAL["destination"],
                "options",
                {"circuitBreaker": {}, "healthCheck": {"path": "/"}, "outlierDetection": {}},
            ),
            f"options.{path}",
            value,
        )
        for path, value in [
            ("circuit_breaker.max_connections", 1024),
            ("circuit_breaker.max_pending_requests", 1024),
            ("circuit_breaker.max_requests", 1024),
            ("circuit_breaker.max_retries", 3),
            ("circuit_breaker.failure_threshold", 5),
            ("circuit_breaker.open_duration.seconds", 30),
            ("health_check.interval.seconds", 10),
            ("health_check.timeout.seconds", 5),
            ("health_check.unhealthy_threshold", 3),
            ("health_check.healthy_threshold", 2),
            ("outlier_detection.consecutive_5xx", 5),
            ("outlier_detection.consecutive_gateway_errors", 0),
            ("outlier_detection.interval.seconds", 10),
            ("outlier_detection.base_ejection_time.seconds", 30),
            ("outlier_detection.max_ejection_percent", 10),
        ]
    ),
    *(
        (
            "route",
            forwarding(retry={"attempts": 1}, mirror={"destinationId": "d", "percentage": 0}),
            f"forward.{path}",
            value,
        )
        for path, value in [
            ("destination_balancing.algorithm", "WEIGHTED_RANDOM"),
            ("destination_balancing.weighted_consistent_hash.cookie.name", "_vrata_destination_pin"),
            ("destination_balancing.sticky.cookie.name", "_vrata_destination_pin"),
            ("destination_balancing.sticky.cookie.ttl.seconds", 3600),
            ("timeouts.request", None),
            ("retry.per_attempt_timeout", None),
            ("retry.on", ("server-error", "connection-failure")),
            ("retry.retriable_codes", ()),
            ("retry.backoff.base.seconds", 0.1),
            ("retry.backoff.max.seconds", 1),
            ("rewrite", None),
            ("mirror.percentage", 100),
            ("max_grpc_timeout", None),
        ]
    ),
    ("route", {"name": "a", "redirect": {}}, "redirect.code", 301),
    ("route", {"name": "a", "redirect": {}}, "redirect.strip_query", False),
    ("route", MINIMAL["route"], "direct_response.body", ""),
    ("group", MINIMAL["group"], "include_attempt_count", False),
    ("group", MINIMAL["group"], "retry_default", None),
    *(
        ("middleware", middleware(type_, settings), f"settings.{path}", value)
        for type_, settings, path, value in [
            ("cors", {}, "max_age", 0),
            ("cors", {}, "allow_credentials", False),
            ("jwt", {"issuer": "i", "jwksInline": '{"keys":[]}'}, "jwks_retrieval_timeout.seconds", 10),
            ("jwt", {"issuer": "i", "jwksInline": '{"keys":[]}'}, "forward_jwt", False),
            ("extAuthz", {"destinationId": "d"}, "mode", "http"),
            ("extAuthz", {"destinationId": "d"}, "path", "/"),
            ("extAuthz", {"destinationId": "d"}, "decision_timeout.seconds", 5),
            ("extAuthz", {"destinationId": "d"}, "failure_mode_allow", False),
            ("extAuthz", {"destinationId": "d"}, "include_body", False),
            ("extProc", {"destinationId": "d"}, "mode", "grpc"),
            ("extProc", {"destinationId": "d"}, "contract", "vrata"),
            ("extProc", {"destinationId": "d"}, "allow_mode_override", False),
            ("extProc", {"destinationId": "d"}, "phase_timeout.seconds", 0.2),
            ("extProc", {"destinationId": "d"}, "max_phase_timeout.seconds", 0),
            ("extProc", {"destinationId": "d"}, "phases.request_headers", "send"),
            ("extProc", {"destinationId": "d"}, "phases.response_headers", "send"),
            ("extProc", {"destinationId": "d"}, "phases.request_body", "none"),
            ("extProc", {"destinationId": "d"}, "phases.response_body", "none"),
            ("extProc", {"destinationId": "d"}, "phases.max_body_bytes", 1048576),
            ("extProc", {"destinationId": "d"}, "phases.request_trailers", "skip"),
            ("extProc", {"destinationId": "d"}, "phases.response_trailers", "skip"),
            ("extProc", {"destinationId": "d"}, "allow_on_error", False),
            ("extProc", {"destinationId": "d"}, "status_on_error", 500),
            ("extProc", {"destinationId": "d"}, "observe_mode.enabled", False),
            ("extProc", {"destinationId": "d"}, "observe_mode.workers", 64),
            ("extProc", {"destinationId": "d"}, "observe_mode.queue_size", 4096),
            ("rateLimit", {}, "requests_per_second", 10),
            ("rateLimit", {}, "ipv6_prefix_length", 64),
            ("rateLimit", {}, "key", None),
            ("rateLimit", {}, "store", "local"),
            ("rateLimit", {}, "on_store_failure", "local"),
            ("rateLimit", {}, "response_headers", False),
            ("headers", {"requestHeadersToAdd": [{"key": "a"}]}, "request_headers_to_add.0.append", True),
            ("accessLog", {"path": "stdout", "onRequest": {}}, "json_lines", False),
            ("inlineAuthz", {"rules": [{"cel": "true", "action": "deny"}]}, "default_action", "deny"),
            ("inlineAuthz", {"rules": [{"cel": "true", "action": "deny"}]}, "deny_status", 403),
            ("inlineAuthz", {"rules": [{"cel": "true", "action": "deny"}]}, "deny_body", '{"error":"access denied"}'),
        ]
    ),
]


def member(value: Any, name: str) -> Any:
    return value[int(name)] if name.isdigit() else getattr(value, name)


@pytest.mark.parametrize(("kind", "document", "path", "value"), DEFAULTS)
def test_what_acts_where_nothing_was_stated(kind: str, document: dict[str, Any], path: str, value: Any) -> None:
    assert reduce(member, path.split("."), KINDS[kind].parse(document)) == value


@pytest.mark.parametrize(
    ("settings", "rate", "bucket"),
    [
        ({}, 10, 10),
        ({"requestsPerSecond": -3, "burst": -1}, 10, 10),
        ({"requestsPerSecond": 0.5}, 0.5, 1),
        ({"requestsPerSecond": 2.9}, 2.9, 2),
        ({"requestsPerSecond": 2, "burst": 7}, 2, 7),
    ],
)
def test_the_bucket_that_acts(settings: dict[str, Any], rate: float, bucket: int) -> None:
    limit = Middleware.parse(middleware("rateLimit", settings)).settings
    assert isinstance(limit, RateLimit)
    assert (limit.rate, limit.bucket_size) == (rate, bucket)


@pytest.mark.parametrize(
    ("address", "bound"),
    [("", "0.0.0.0:80"), ("::", "[::]:80"), ("localhost", "localhost:80"), ("1.2.3.4", "1.2.3.4:80")],
)
def test_the_bind_address(address: str, bound: str) -> None:
    assert Listener.parse({"name": "a", "address": address, "port": 80}).bind_address == bound


def test_the_endpoints_of_a_destination() -> None:
    alone = Destination.parse({"name": "a", "host": "::1", "port": 80})
    assert [endpoint.address for endpoint in alone.static_endpoints] == ["[::1]:80"]
    listed = Destination.parse({"name": "a", "host": "b", "port": 80, "endpoints": [{"host": "c", "port": 1}]})
    assert [endpoint.address for endpoint in listed.static_endpoints] == ["c:1"]


@pytest.mark.parametrize(
    "host", ["a", "a_b.c-d.e", "xn--bckend-bua.example", "10.0.0.1", "::1", "fe80::1", "a.example."]
)
def test_hosts(host: str) -> None:
    assert Destination.parse({"name": "a", "host": host, "port": 80}).host == host


@pytest.mark.parametrize("hostname", ["*", "*.example", "a.example", "A.Example.", "[::1]", "::1", "10.0.0.1"])
def test_hostnames_to_match(hostname: str) -> None:
    document = {"name": "a", "match": {"hostnames": [hostname]}, "redirect": {}}
    assert Route.parse(document).match.hostnames == (hostname,)


def test_an_entity_is_immutable_and_gets_an_id_by_copy() -> None:
    route = Route.parse(MINIMAL["route"])
    with pytest.raises(ValueError, match="frozen"):
        route.name = "other"
    named = route.with_id("r1")
    assert (route.id, named.id) == ("", "r1")
    assert named.document() == {**route.document(), "id": "r1"}


def test_a_document_belongs_to_the_caller() -> None:
    route = Route.parse(forwarding())
    route.document()["forward"]["destinations"].clear()
    assert route.document()["forward"]["destinations"]
    document = Listener.parse({"name": "a", "port": 1, "timeouts": {"clientHeader": "1s"}}).document()
    assert type(document["timeouts"]["clientHeader"]) is str
    assert json.loads(json.dumps(document)) == document


def test_presence_can_be_asked_for() -> None:
    listener = Listener.parse({"name": "a", "port": 1, "timeouts": {"clientHeader": "10s"}})
    assert listener.timeouts.states("client_header")
    assert not listener.timeouts.states("client_request")
    assert isinstance(listener.timeouts.client_request, Duration)


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_has_a_json_schema(kind: str) -> None:
    schema = KINDS[kind].model_json_schema()
    assert schema["additionalProperties"] is False
    assert "name" in schema["required"]


def test_the_names_of_kinds_and_collections() -> None:
    assert {kind: entity.collection for kind, entity in KINDS.items()} == {
        "listener": "listeners",
        "destination": "destinations",
        "route": "routes",
        "group": "groups",
        "middleware": "middlewares",
        "secret": "secrets",
    }
    assert all(entity.kind == kind for kind, entity in KINDS.items())
