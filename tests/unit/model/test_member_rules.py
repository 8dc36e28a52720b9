"""Rules of single members of entities, one row each: what is refused, and with which words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.model.samples import ABSENT, MINIMAL, with_member
from tests.unit.model.wording import CEL, CONTROL, DURATION, HOST, NETWORK, PROBE_PATH, REGEX, TOKEN, U32, problems
from vrata.model import KINDS, InvalidEntity

NAME = '[0]: must be a host name, an IP address or a URI such as "spiffe://example.org/web", got "{}"'
# (kind, path, value, reason): one member of the minimal entity is changed, and that member is named.
MEMBERS: list[tuple[str, str, Any, str]] = [
    # What all entities share.
    ("listener", "name", ABSENT, "is required"),
    ("listener", "name", None, "is required"),
    ("listener", "name", "", "must not be empty"),
    ("destination", "name", " \t", "must not be empty"),
    ("group", "name", 7, "must be a string, got a number"),
    ("secret", "name", "", "must not be empty"),
    ("route", "name", "\ud800", "must be valid Unicode text"),
    ("route", "id", 7, "must be a string, got a number"),
    ("route", "id", "a/b", 'must be usable in a URL path: no "/", no control characters, not "." or ".."'),
    ("route", "id", "..", 'must be usable in a URL path: no "/", no control characters, not "." or ".."'),
    ("route", "id", "a\n", 'must be usable in a URL path: no "/", no control characters, not "." or ".."'),
    ("route", "id", "a" * 256, "must not be longer than 255 characters"),
    ("listener", "colour", "red", "unknown field"),
    ("listener", "maxRequestHeadersKb", 1, 'unknown field, did you mean "maxRequestHeadersKB"?'),
    ("listener", "server_name", "x", 'unknown field, did you mean "serverName"?'),
    ("listener", "max_request_headers_kb", 1, 'unknown field, did you mean "maxRequestHeadersKB"?'),
    ("destination", "options.timeout", {}, 'unknown field, did you mean "timeouts"?'),
    # Listener.
    ("listener", "port", ABSENT, "is required"),
    ("listener", "port", 0, "must be an integer from 1 to 65535, got 0"),
    ("listener", "port", 65536, "must be an integer from 1 to 65535, got 65536"),
    ("listener", "port", -1, "must be an integer from 1 to 65535, got -1"),
    ("listener", "port", 80.0, "must be an integer from 1 to 65535, got 80.0"),
    ("listener", "port", "80", 'must be an integer from 1 to 65535, got "80"'),
    ("listener", "port", True, "must be an integer from 1 to 65535, got true"),
    ("listener", "port", [80], "must be an integer from 1 to 65535, got a list"),
    ("listener", "port", 10**100, "must be an integer from 1 to 65535, got a huge number"),
    ("listener", "address", "not an address", HOST.format("not an address")),
    ("listener", "address", "1.2.3.400", HOST.format("1.2.3.400")),
    ("listener", "address", "-a.example", HOST.format("-a.example")),
    ("listener", "address", "a..b", HOST.format("a..b")),
    ("listener", "address", "a" * 64, HOST.format("a" * 60)),
    ("listener", "address", "[::1]", 'must be an IP address or a host name, IPv6 without brackets, got "[::1]"'),
    ("listener", "address", 5, "must be a string, got a number"),
    ("listener", "http2", "yes", "must be true or false, got a string"),
    ("listener", "http2", 0, "must be true or false, got a number"),
    ("listener", "http2", 1, "must be true or false, got a number"),
    ("listener", "serverName", "a\r\nSet-Cookie: b", CONTROL),
    ("listener", "trustedProxies", "10.0.0.0/8", "must be a list, got a string"),
    *(
        ("listener", "trustedProxies", ["192.0.2.1", network], f"[1]: {NETWORK.format(network)}")
        for network in ("10.0.0.0/33", "10.0.0", "proxy.test", "", "*", "fe80::1%eth0", "10.0.0.1-10.0.0.9", " ::1")
    ),
    ("listener", "maxRequestHeadersKB", 2**32, U32.format(2**32)),
    ("listener", "maxRequestHeadersKB", -1, U32.format(-1)),
    ("listener", "maxConnections", -1, U32.format(-1)),
    ("listener", "maxConnections", 2**32, U32.format(2**32)),
    ("listener", "timeouts", 5, "must be an object, got a number"),
    ("listener", "timeouts.clientHeader", "10", DURATION.format("10")),
    ("listener", "timeouts.clientRequest", "1d", DURATION.format("1d")),
    ("listener", "timeouts.clientResponse", "-1s", 'must not be negative, got "-1s"'),
    ("listener", "timeouts.idleBetweenRequests", 120, "must be a string, got a number"),
    ("listener", "timeouts.idleBetweenRequests", "{{secret:env:T}}", DURATION.format("{{secret:env:T}}")),
    ("listener", "timeouts.client", "1s", "unknown field"),
    ("listener", "metrics.path", "metrics", 'must start with "/", got "metrics"'),
    ("listener", "metrics.path", "/", 'must not be "/": it would hide every route'),
    ("listener", "metrics.collect.route", "no", "must be true or false, got a string"),
    ("listener", "metrics.histograms.durationBuckets", [1, 2, 2], "must be strictly increasing, but 2 follows 2"),
    ("listener", "metrics.histograms.sizeBuckets", [10, 5], "must be strictly increasing, but 5 follows 10"),
    ("listener", "metrics.histograms.sizeBuckets", 10, "must be a list, got a number"),
    ("listener", "proxyErrors.detail", "all", 'must be "minimal", "standard" or "full", got "all"'),
    # Destination.
    ("destination", "host", ABSENT, "is required"),
    ("destination", "host", "", HOST.format("")),
    (
        "destination",
        "host",
        "http://backend",
        'must be an IP address or a host name, without a scheme or a path, got "http://backend"',
    ),
    ("destination", "host", "backend:80", HOST.format("backend:80")),
    (
        "destination",
        "host",
        "bäckend",
        'must be an IP address or a host name in its ASCII (punycode) form, got "bäckend"',
    ),
    ("destination", "port", ABSENT, "is required"),
    ("destination", "port", 65536, "must be an integer from 1 to 65535, got 65536"),
    ("destination", "endpoints", {}, "must be a list, got an object"),
    ("destination", "options.timeouts.request", "soon", DURATION.format("soon")),
    ("destination", "options.timeouts.connect", "5", DURATION.format("5")),
    ("destination", "options.timeouts.dualStackFallback", "1", DURATION.format("1")),
    ("destination", "options.timeouts.tlsHandshake", "x", DURATION.format("x")),
    ("destination", "options.timeouts.responseHeader", "x", DURATION.format("x")),
    ("destination", "options.timeouts.expectContinue", "x", DURATION.format("x")),
    ("destination", "options.timeouts.idleConnection", "x", DURATION.format("x")),
    ("destination", "options.tls.mode", "TLS", 'must be "none", "tls" or "mtls", got "TLS"'),
    (
        "destination",
        "options.tls.minVersion",
        "1.2",
        'must be "TLSv1_0", "TLSv1_1", "TLSv1_2" or "TLSv1_3", got "1.2"',
    ),
    ("destination", "options.tls.sni", "a b", HOST.format("a b")),
    ("destination", "options.tls.subjectAltNames", ["a b"], NAME.format("a b")),
    ("destination", "options.tls.subjectAltNames", ["a.test:443"], NAME.format("a.test:443")),
    ("destination", "options.tls.subjectAltNames", ["spiffe://a b"], NAME.format("spiffe://a b")),
    (
        "destination",
        "options.tls.subjectAltNames",
        ["a.test", "*.a.test"],
        '[1]: must be a host name (a "*" in the certificate stands for one label of it), an IP address or a URI such '
        'as "spiffe://example.org/web", got "*.a.test"',
    ),
    (
        "destination",
        "options.endpointBalancing.algorithm",
        "round_robin",
        'must be "ROUND_ROBIN", "RANDOM", "LEAST_REQUEST", "PEAK_EWMA", "RING_HASH", "MAGLEV" or "STICKY", '
        'got "round_robin"',
    ),
    (
        "destination",
        "options.endpointBalancing.ringHash.ringSize.max",
        1023,
        "max must not be less than min, got min 1024 and max 1023",
    ),
    (
        "destination",
        "options.endpointBalancing.ringHash.ringSize.min",
        8388609,
        "must be an integer from 0 to 8388608, got 8388609",
    ),
    (
        "destination",
        "options.endpointBalancing.ringHash.ringSize.max",
        2**64,
        "must be an integer from 0 to 18446744073709551615, got 18446744073709551616",
    ),
    (
        "destination",
        "options.endpointBalancing.maglev.tableSize",
        65536,
        "must be a prime number from 2 to 5000011, got 65536",
    ),
    ("destination", "options.endpointBalancing.maglev.tableSize", 1, "must be a prime number from 2 to 5000011, got 1"),
    (
        "destination",
        "options.endpointBalancing.maglev.tableSize",
        5000077,
        "must be a prime number from 2 to 5000011, got 5000077",
    ),
    (
        "destination",
        "options.endpointBalancing.leastRequest.choiceCount",
        -1,
        "must be an integer from 1 to 4294967295, got -1",
    ),
    (
        "destination",
        "endpoints",
        [{"host": "h", "port": 1, "weight": -1}],
        "[0].weight: must be an integer from 1 to 1000, got -1",
    ),
    ("destination", "options.endpointBalancing.sticky.cookie.name", "a b", TOKEN.format("a b")),
    ("destination", "options.endpointBalancing.sticky.cookie.ttl", "1", DURATION.format("1")),
    ("destination", "options.endpointBalancing.sticky.cookie.ttl", "900ms", 'must be at least 1s, got "900ms"'),
    ("destination", "options.circuitBreaker.maxConnections", 1.5, U32.format(1.5)),
    ("destination", "options.circuitBreaker.maxPendingRequests", -1, U32.format(-1)),
    ("destination", "options.circuitBreaker.maxRequests", -1, U32.format(-1)),
    ("destination", "options.circuitBreaker.maxRetries", -1, U32.format(-1)),
    ("destination", "options.circuitBreaker.failureThreshold", -1, U32.format(-1)),
    ("destination", "options.circuitBreaker.openDuration", "0s", 'must be longer than zero, got "0s"'),
    ("destination", "options.healthCheck.path", ABSENT, "is required"),
    ("destination", "options.healthCheck.path", "healthz", 'must start with "/", got "healthz"'),
    *(
        ("destination", "options.healthCheck.path", path, PROBE_PATH)
        for path in (
            "/x HTTP/1.1\r\nHost: evil\r\n\r\nPOST /admin",
            *("/a b", "/a\n", "/a\x7f", "/a\x00", "/\u00e9", "/a#b"),
        )
    ),
    ("destination", "options.healthCheck.path", "/" * 8193, "must not be longer than 8192 characters"),
    ("destination", "options.healthCheck.type", "exec", 'must be "http", "tcp" or "grpc", got "exec"'),
    ("destination", "host", "fe80::1%\r\nX-Evil: 1", HOST.format("fe80::1%\r\nX-Evil: 1")),
    ("destination", "host", "fe80::1%eth0", HOST.format("fe80::1%eth0")),
    ("destination", "endpoints", [{"host": "::1%1", "port": 1}], "[0].host: " + HOST.format("::1%1")),
    ("destination", "options.outlierDetection.consecutive5xx", -1, U32.format(-1)),
    ("destination", "options.outlierDetection.consecutiveGatewayErrors", "5", U32.format('"5"')),
    ("destination", "options.outlierDetection.interval", "99ms", 'must be at least 100ms, got "99ms"'),
    ("destination", "options.outlierDetection.baseEjectionTime", "x", DURATION.format("x")),
    ("destination", "options.outlierDetection.maxEjectionPercent", 101, "must be an integer from 0 to 100, got 101"),
    ("destination", "options.discovery.type", "consul", 'must be "kubernetes" or "dns", got "consul"'),
    ("destination", "options.discovery.type", ABSENT, "is required"),
    ("destination", "options.http2", "h2", "must be true or false, got a string"),
    ("destination", "options.maxConnsPerHost", -1, U32.format(-1)),
    ("destination", "options.maxRequestsPerConnection", -1, U32.format(-1)),
    # Route: match.
    ("route", "match.path", "a", 'must start with "/", got "a"'),
    ("route", "match.pathPrefix", "a", 'must start with "/", got "a"'),
    ("route", "match.pathRegex", "(", REGEX),
    ("route", "match.pathRegex", "(?=a)", "is not a valid regular expression (RE2): invalid perl operator: (?="),
    ("route", "match.pathRegex", r"(a)\1", "is not a valid regular expression (RE2): invalid escape sequence: \\1"),
    ("route", "match.methods", "GET", "must be a list, got a string"),
    ("route", "match.hostnames", {"a": 1}, "must be a list, got an object"),
    ("route", "match.grpc", "yes", "must be true or false, got a string"),
    ("route", "match.cel", "a b", CEL),
    ("route", "match.cel", "  ", "is not a valid CEL expression: line 1, column 1: the expression is empty"),
    ("route", "match.port", 1, "unknown field"),
    # Route: actions.
    ("route", "directResponse.status", ABSENT, "is required"),
    ("route", "directResponse.status", 0, "must be an integer from 200 to 599, got 0"),
    ("route", "directResponse.status", 199, "must be an integer from 200 to 599, got 199"),
    ("route", "directResponse.status", 600, "must be an integer from 200 to 599, got 600"),
    ("route", "directResponse.body", {}, "must be a string, got an object"),
    ("route", "middlewareIds", [""], "[0]: must not be empty"),
    ("route", "middlewareOverrides", [], "must be an object, got a list"),
    # Group.
    ("group", "routeIds", "a", "must be a list, got a string"),
    ("group", "routeIds", [""], "[0]: must not be empty"),
    ("group", "routeIds", [None], "[0]: must be a string, got null"),
    ("group", "pathPrefix", "a", 'must start with "/", got "a"'),
    ("group", "pathRegex", "(", REGEX),
    ("group", "hostnames", ["a b"], '[0]: must be a host name or an IP address without a port, got "a b"'),
    ("group", "headers", [{"name": "a", "value": "(", "regex": True}], f"[0].value: {REGEX}"),
    ("group", "retryDefault", {}, ".attempts: is required"),
    ("group", "includeAttemptCount", 1, "must be true or false, got a number"),
    # Secret.
    ("secret", "value", ABSENT, "is required"),
    ("secret", "value", 5, "must be a string, got a number"),
]


@pytest.mark.parametrize(("kind", "path", "value", "reason"), MEMBERS)
def test_a_member_that_is_refused(kind: str, path: str, value: Any, reason: str) -> None:
    joint = "" if reason.startswith(("[", ".")) else ": "
    document = with_member(MINIMAL[kind], path, value)
    assert problems(kind, document) == f"{path}{joint}{reason}"


@pytest.mark.parametrize("mode", ["optional", "require"])
def test_client_certificates_need_authorities(mode: str) -> None:
    tls = {"cert": "/c", "key": "/k", "clientAuth": {"mode": mode}}
    text = problems("listener", with_member(MINIMAL["listener"], "tls", tls))
    assert text == f'clientAuth.ca is required when mode is "{mode}"'


def test_an_unknown_client_auth_mode() -> None:
    tls = {"cert": "/c", "key": "/k", "clientAuth": {"mode": "x"}}
    text = problems("listener", with_member(MINIMAL["listener"], "tls", tls))
    assert text == 'unknown clientAuth.mode "x": must be "none", "optional", or "require"'


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("destinationId", ABSENT, "is required"),
        ("destinationId", " ", "must not be empty"),
        ("path", "v1/traces", 'must start with "/", got "v1/traces"'),
        ("samplingRatio", 1.5, "must be a number from 0 to 1, got 1.5"),
        ("samplingRatio", -0.1, "must be a number from 0 to 1, got -0.1"),
        ("samplingRatio", "all", "must be a number, got a string"),
        ("parentBased", "no", "must be true or false, got a string"),
        ("headers", [{"name": "a b", "value": "c"}], f"{TOKEN.format('a b')}"),
        (
            "headers",
            [{"name": "Content-Type", "value": "c"}],
            'must not be "Content-Type": that is set for each request',
        ),
        ("headers", [{"name": "x", "value": "a\nb"}], CONTROL),
    ],
)
def test_tracing_that_is_refused(member: str, value: Any, reason: str) -> None:
    traced = with_member(MINIMAL["listener"], "tracing", {"destinationId": "c"})
    path = f"tracing.{member}"
    if member == "headers":
        path += "[0].value" if reason == CONTROL else "[0].name"
    assert problems("listener", with_member(traced, f"tracing.{member}", value)) == f"{path}: {reason}"


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(InvalidEntity) as refused:
        KINDS["listener"].parse({"port": 0, "timeouts": {"clientHeader": "x"}, "proxyErrors": {"detail": "x"}, "x": 1})
    assert [problem.path for problem in refused.value.problems] == [
        "name",
        "port",
        "timeouts.clientHeader",
        "proxyErrors.detail",
        "x",
    ]


def test_a_message_has_limits() -> None:
    document = {"name": "a", "port": 80, **{f"{number}{'x' * 1000}": 1 for number in range(70)}}
    text = problems("listener", document)
    assert text.endswith("; and 20 more")
    assert len(text) < 50 * 200


def test_a_fixed_text_has_no_path() -> None:
    with pytest.raises(InvalidEntity) as refused:
        KINDS["route"].parse({"name": "a"})
    (problem,) = refused.value.problems
    assert problem.path == ""


@pytest.mark.parametrize(
    ("kind", "document"),
    [
        ("secret", {"name": "s", "value": ["t0p-secret"]}),
        ("secret", {"name": "s", "value": "t0p-secret", "x": "t0p-secret"}),
        (
            "listener",
            {"name": "l", "port": 1, "tls": {"cert": "/c", "key": "-----BEGIN PRIVATE KEY-----\nt0p-secret\n-----END"}},
        ),
    ],
)
def test_no_message_and_no_traceback_tells_a_secret(kind: str, document: dict[str, Any]) -> None:
    with pytest.raises(InvalidEntity) as refused:
        KINDS[kind].parse(document)
    assert "t0p-secret" not in str(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None
    assert "t0p-secret" not in repr(KINDS["secret"].parse({"name": "s", "value": "t0p-secret"}))
