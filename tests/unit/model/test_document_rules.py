"""Rules of entities that take more than one member to break, and those inside lists: one row each."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.model.samples import MINIMAL, forwarding, middleware, with_member
from tests.unit.model.wording import CEL, CONTROL, DURATION, HOST, REGEX, TOKEN, U32, problems
from vrata.model import KINDS

REF = {"destinationId": "d"}


def pairs(rows: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """The rows, with a type that their values do not agree on by themselves."""
    return rows


HASH_POLICIES: list[dict[str, Any]] = [
    {},
    {"cookie": {}, "sourceIP": {}},
    {"header": {"name": "a"}, "cookie": {}},
]

# (kind, document, text)
DOCUMENTS: list[tuple[str, Any, str]] = [
    *(
        (kind, value, f"must be an object, got {what}")
        for kind in KINDS
        for value, what in pairs([(None, "null"), ([], "a list")])
    ),
    # Listener TLS; material is in test_tls.
    (
        "listener",
        with_member(MINIMAL["listener"], "tls", {}),
        "tls.cert: is required: TLS needs both cert and key; tls.key: is required: TLS needs both cert and key",
    ),
    (
        "listener",
        with_member(MINIMAL["listener"], "tls", {"cert": "/c", "key": ""}),
        "tls.key: is required: TLS needs both cert and key",
    ),
    (
        "listener",
        with_member(MINIMAL["listener"], "tls", {"cert": "/c", "key": "/k", "minVersion": "TLSv1.2"}),
        'tls.minVersion: must be "TLSv1_0", "TLSv1_1", "TLSv1_2" or "TLSv1_3", got "TLSv1.2"',
    ),
    (
        "listener",
        with_member(MINIMAL["listener"], "tls", {"cert": "/c", "key": "/k", "maxVersion": "TLSv1_1"}),
        'tls.maxVersion: must not be older than minVersion "TLSv1_2", got "TLSv1_1"',
    ),
    # Destination.
    (
        "destination",
        with_member(MINIMAL["destination"], "endpoints", [{"host": "a", "port": 1}, {"host": "", "port": 0}]),
        f"endpoints[1].host: {HOST.format('')}; endpoints[1].port: must be an integer from 1 to 65535, got 0",
    ),
    (
        "destination",
        with_member(MINIMAL["destination"], "endpoints", [{}]),
        "endpoints[0].host: is required; endpoints[0].port: is required",
    ),
    (
        "destination",
        with_member(MINIMAL["destination"], "options.tls", {"mode": "mtls"}),
        'options.tls.cert: is required when mode is "mtls"; options.tls.key: is required when mode is "mtls"',
    ),
    (
        "destination",
        with_member(MINIMAL["destination"], "options.tls", {"mode": "tls", "cert": "/c"}),
        "options.tls.key: is required together with cert",
    ),
    (
        "destination",
        with_member(MINIMAL["destination"], "options.tls", {"minVersion": "TLSv1_3", "maxVersion": "TLSv1_2"}),
        'options.tls.maxVersion: must not be older than minVersion "TLSv1_3", got "TLSv1_2"',
    ),
    (
        "destination",
        with_member(MINIMAL["destination"], "options.tls", {"maxVersion": "TLSv1_1"}),
        'options.tls.maxVersion: must not be older than minVersion "TLSv1_2", got "TLSv1_1"',
    ),
    *(
        (
            "destination",
            with_member(MINIMAL["destination"], f"options.endpointBalancing.{algorithm}.hashPolicy", [policy]),
            f"options.endpointBalancing.{algorithm}.hashPolicy[0]: "
            "must have exactly one of header, cookie and sourceIP",
        )
        for algorithm in ("ringHash", "maglev")
        for policy in HASH_POLICIES
    ),
    *(
        ("destination", with_member(MINIMAL["destination"], "options", options), f"options.healthCheck.{text}")
        for options, text in [
            (
                {"healthCheck": {"type": "grpc"}},
                'type: must not be "grpc" unless http2 is true: gRPC needs HTTP/2',
            ),
            ({"http2": True, "healthCheck": {"type": "grpc", "path": "/"}}, 'path: has no meaning when type is "grpc"'),
            ({"healthCheck": {"type": "tcp", "path": "/"}}, 'path: has no meaning when type is "tcp"'),
            ({"healthCheck": {"type": "tcp", "service": "a"}}, 'service: has no meaning when type is "tcp"'),
            ({"healthCheck": {"path": "/", "service": "a"}}, 'service: has no meaning when type is "http"'),
            *(
                (
                    {"http2": True, "healthCheck": {"type": "grpc", "service": service}},
                    "service: must be up to 255 visible ASCII characters",
                )
                for service in ("a b", "é", "a\n", "a" * 256)
            ),
        ]
    ),
    (
        "destination",
        with_member(MINIMAL["destination"], "options.endpointBalancing.maglev.hashPolicy", [{"header": {}}]),
        "options.endpointBalancing.maglev.hashPolicy[0].header.name: is required",
    ),
    *(
        (
            "destination",
            with_member(MINIMAL["destination"], "options.healthCheck", {"path": "/", name: value}),
            f"options.healthCheck.{name}: {reason}",
        )
        for name, value, reason in [
            ("interval", "0s", 'must be at least 100ms, got "0s"'),
            ("interval", "99999999ns", 'must be at least 100ms, got "99999999ns"'),
            ("timeout", "x", DURATION.format("x")),
            ("unhealthyThreshold", -1, U32.format(-1)),
            ("healthyThreshold", 1.0, U32.format(1.0)),
        ]
    ),
    # Route: exactly one action.
    ("route", {"name": "a"}, "a route must define exactly one of destinations, redirect, or directResponse"),
    (
        "route",
        {"name": "a", "redirect": {"url": "/x"}, "directResponse": {"status": 200}},
        "a route must define exactly one of destinations, redirect, or directResponse",
    ),
    (
        "route",
        {**forwarding(), "redirect": {}, "directResponse": {"status": 200}},
        "a route must define exactly one of destinations, redirect, or directResponse",
    ),
    (
        "route",
        {"name": "a", "forward": None, "redirect": None},
        "a route must define exactly one of destinations, redirect, or directResponse",
    ),
    # Route: match.
    (
        "route",
        with_member(MINIMAL["route"], "match", {"path": "/a", "pathPrefix": "/b", "pathRegex": "c"}),
        "; ".join(
            f"match.{name}: must not be given together with path: at most one of path, pathPrefix and pathRegex"
            for name in ("pathPrefix", "pathRegex")
        ),
    ),
    *(
        ("route", with_member(MINIMAL["route"], "match", match), f"match.{text}")
        for match, text in [
            ({"methods": ["GET", "A B"]}, f"methods[1]: {TOKEN.format('A B')}"),
            ({"methods": [5]}, "methods[0]: must be a string, got a number"),
            (
                {"hostnames": ["a.*.example.com"]},
                'hostnames[0]: must be a host name, "*." followed by one, or "*" for every host, got "a.*.example.com"',
            ),
            (
                {"hostnames": ["a.example:80"]},
                'hostnames[0]: must be a host name or an IP address without a port, got "a.example:80"',
            ),
            ({"headers": [{}]}, "headers[0].name: is required"),
            ({"headers": [{"name": "a b"}]}, f"headers[0].name: {TOKEN.format('a b')}"),
            ({"headers": [{"name": "a", "value": "(", "regex": True}]}, f"headers[0].value: {REGEX}"),
            ({"headers": [{"name": "a", "valeu": "x"}]}, 'headers[0].valeu: unknown field, did you mean "value"?'),
            ({"queryParams": [{"name": ""}]}, "queryParams[0].name: must not be empty"),
            ({"queryParams": [{"name": "a", "value": "(", "regex": True}]}, f"queryParams[0].value: {REGEX}"),
        ]
    ),
    # Route: forward.
    ("route", {"name": "a", "forward": {}}, "forward.destinations: must have at least one entry"),
    ("route", {"name": "a", "forward": {"destinations": []}}, "forward.destinations: must have at least one entry"),
    ("route", forwarding(destinations=[{}]), "forward.destinations[0].destinationId: is required"),
    (
        "route",
        forwarding(destinations=[{"destinationId": ""}]),
        "forward.destinations[0].destinationId: must not be empty",
    ),
    ("route", forwarding(destinations=[{**REF, "weight": -1}]), f"forward.destinations[0].weight: {U32.format(-1)}"),
    *(
        (
            "route",
            forwarding(destinations=[{**REF, "weight": weight} for weight in weights]),
            "destination weights must sum to 100 when multiple destinations are defined",
        )
        for weights in ([0, 0], [50, 49], [100, 1], [33, 33, 33])
    ),
    *(
        ("route", forwarding(**members), f"forward.{text}")
        for members, text in pairs(
            [
                (
                    {"destinationBalancing": {"algorithm": "RANDOM"}},
                    'destinationBalancing.algorithm: must be "WEIGHTED_RANDOM", "WEIGHTED_CONSISTENT_HASH" or '
                    '"STICKY", got "RANDOM"',
                ),
                (
                    {"destinationBalancing": {"sticky": {"cookie": {"name": "a;b"}}}},
                    f"destinationBalancing.sticky.cookie.name: {TOKEN.format('a;b')}",
                ),
                (
                    {"destinationBalancing": {"weightedConsistentHash": {"cookie": {"ttl": "1y"}}}},
                    f"destinationBalancing.weightedConsistentHash.cookie.ttl: {DURATION.format('1y')}",
                ),
                ({"timeouts": {"request": "x"}}, f"timeouts.request: {DURATION.format('x')}"),
                ({"retry": {}}, "retry.attempts: is required"),
                ({"retry": {"attempts": -1}}, f"retry.attempts: {U32.format(-1)}"),
                (
                    {"retry": {"attempts": 1, "perAttemptTimeout": "x"}},
                    f"retry.perAttemptTimeout: {DURATION.format('x')}",
                ),
                (
                    {"retry": {"attempts": 1, "on": ["server-error", "5xx"]}},
                    'retry.on[1]: must be "server-error", "gateway-error", "connection-failure", "retriable-codes", '
                    '"cancelled", "deadline-exceeded", "internal", "resource-exhausted" or "unavailable", '
                    'got "5xx"',
                ),
                (
                    {"retry": {"attempts": 1, "retriableCodes": [503, 42]}},
                    "retry.retriableCodes[1]: must be an integer from 100 to 599, got 42",
                ),
                (
                    {"retry": {"attempts": 1, "backoff": {"base": "0s"}}},
                    'retry.backoff.base: must be longer than zero, got "0s"',
                ),
                (
                    {"retry": {"attempts": 1, "backoff": {"max": "-1s"}}},
                    'retry.backoff.max: must not be negative, got "-1s"',
                ),
                ({"rewrite": {"path": "a"}}, 'rewrite.path: must start with "/", got "a"'),
                (
                    {"rewrite": {"path": "/a", "pathRegex": {"pattern": "b", "substitution": "c"}}},
                    "rewrite.pathRegex: must not be given together with path",
                ),
                ({"rewrite": {"pathRegex": {"substitution": "c"}}}, "rewrite.pathRegex.pattern: is required"),
                ({"rewrite": {"pathRegex": {"pattern": ""}}}, "rewrite.pathRegex.pattern: must not be empty"),
                ({"rewrite": {"pathRegex": {"pattern": "("}}}, f"rewrite.pathRegex.pattern: {REGEX}"),
                (
                    {"rewrite": {"host": "a", "autoHost": True}},
                    "rewrite.autoHost: must not be given together with host: "
                    "at most one of host, hostFromHeader and autoHost",
                ),
                (
                    {"rewrite": {"host": "a", "hostFromHeader": "b"}},
                    "rewrite.hostFromHeader: must not be given together with host: "
                    "at most one of host, hostFromHeader and autoHost",
                ),
                (
                    {"rewrite": {"host": "a\nb"}},
                    'rewrite.host: must be an IP address or a host name, got "a\nb"',
                ),
                (
                    {"rewrite": {"host": "a:b"}},
                    'rewrite.host: must be a host, or a host and a port as in "example.com:8080", got "a:b"',
                ),
                ({"mirror": {}}, "mirror.destinationId: is required"),
                (
                    {"mirror": {"destinationId": "d", "percentage": 101}},
                    "mirror.percentage: must be an integer from 0 to 100, got 101",
                ),
                ({"maxGrpcTimeout": "x"}, f"maxGrpcTimeout: {DURATION.format('x')}"),
            ]
        )
    ),
    # Route: redirect.
    *(
        ("route", {"name": "a", "redirect": redirect}, f"redirect.{text}")
        for redirect, text in [
            ({"code": 304}, "code: must be one of 301, 302, 303, 307, 308, got 304"),
            ({"code": 302.0}, "code: must be an integer, got 302.0"),
            ({"code": "302"}, 'code: must be an integer, got "302"'),
            ({"url": "http://a\r\nb"}, "url: must not contain spaces, line breaks or control characters"),
            ({"scheme": "https:"}, 'scheme: must be a URL scheme such as "https", got "https:"'),
            ({"host": "a b"}, 'host: must be an IP address or a host name, got "a b"'),
            *(
                ({"host": host}, f'host: must be a host, or a host and a port as in "example.com:8080", got "{host}"')
                for host in ("https://a", "a/b", "a:", "a:0", "a:65536", "::1", "[::1", "[a]", "a:80:80")
            ),
            ({"host": "a@b"}, 'host: must be an IP address or a host name, got "a@b"'),
            (
                {"host": "é.example"},
                'host: must be an IP address or a host name in its ASCII (punycode) form, got "é.example"',
            ),
            ({"path": "a"}, 'path: must start with "/", got "a"'),
            ({"stripQuery": "yes"}, "stripQuery: must be true or false, got a string"),
        ]
    ),
    # Overrides.
    *(
        (
            "route",
            with_member(MINIMAL["route"], "middlewareOverrides", {"auth": override}),
            f"middlewareOverrides.auth{text}",
        )
        for override, text in pairs(
            [
                (None, ": must be an object, got null"),
                ({"skipWhen": ["true"], "onlyWhen": ["true"]}, ".onlyWhen: must not be given together with skipWhen"),
                ({"skipWhen": ["true", "a b"]}, f".skipWhen[1]: {CEL}"),
                (
                    {"onlyWhen": [""]},
                    ".onlyWhen[0]: is not a valid CEL expression: line 1, column 1: the expression is empty",
                ),
                ({"disabled": "yes"}, ".disabled: must be true or false, got a string"),
                (
                    {"headers": {"requestHeadersToRemove": ["a b"]}},
                    f".headers.requestHeadersToRemove[0]: {TOKEN.format('a b')}",
                ),
                (
                    {"extProc": {"phases": {"requestBody": "all"}}},
                    '.extProc.phases.requestBody: must be "none", "buffered", "bufferedPartial", "streamed" or '
                    '"fullDuplexStreamed", got "all"',
                ),
                ({"rateLimit": {}}, ".rateLimit: unknown field"),
                ({"python": {}}, ".python.settings: is required"),
                ({"python": {"settings": {}, "class": "a:C"}}, ".python.class: unknown field"),
                ({"python": {"settings": {"a": "\ud800"}}}, ".python.settings: must be valid Unicode text"),
            ]
        )
    ),
    # Group.
    (
        "group",
        {"name": "g", "pathPrefix": "/a", "pathRegex": "b"},
        "pathRegex: must not be given together with pathPrefix",
    ),
    # Middleware: the entity.
    ("middleware", {"name": "m"}, "type: is required"),
    (
        "middleware",
        {"name": "m", "type": "auth"},
        'type: must be "jwt", "cors", "rateLimit", "headers", "extAuthz", "extProc", "accessLog", "inlineAuthz" '
        'or "python", got "auth"',
    ),
    *(
        ("middleware", {"name": "m", "type": type_}, f'{type_}: is required when type is "{type_}"')
        for type_ in ("jwt", "cors", "rateLimit", "headers", "extAuthz", "extProc", "accessLog")
    ),
    ("middleware", {"name": "m", "type": "cors", "headers": {}}, 'cors: is required when type is "cors"'),
    *(
        ("middleware", middleware(type_, settings), f"{type_}{text}")
        for type_, settings, text in [
            ("cors", {"allowOrigins": [{}]}, ".allowOrigins[0].value: is required"),
            (
                "cors",
                {"allowOrigins": [{"value": "("}, {"value": "(", "regex": True}]},
                f".allowOrigins[1].value: {REGEX}",
            ),
            (
                "cors",
                {"allowOrigins": [{"value": "https://a.example"}, {"value": "*"}], "allowCredentials": True},
                '.allowCredentials: must not be true while allowOrigins has "*": '
                "every site could act in the name of a visitor",
            ),
            ("cors", {"allowMethods": ["GET,POST"]}, f".allowMethods[0]: {TOKEN.format('GET,POST')}"),
            ("cors", {"allowHeaders": ["a b"]}, f".allowHeaders[0]: {TOKEN.format('a b')}"),
            ("cors", {"exposeHeaders": ["a:"]}, f".exposeHeaders[0]: {TOKEN.format('a:')}"),
            ("cors", {"maxAge": -1}, ".maxAge: must be an integer from 0 to 2147483647, got -1"),
            ("jwt", {"jwksInline": '{"keys":[]}'}, ".issuer: is required"),
            ("jwt", {"issuer": "", "jwksInline": '{"keys":[]}'}, ".issuer: must not be empty"),
            ("jwt", {"issuer": "i"}, ": needs jwksInline, or jwksPath and jwksDestinationId"),
            ("jwt", {"issuer": "i", "jwksPath": "/k"}, ".jwksDestinationId: is required together with jwksPath"),
            (
                "jwt",
                {"issuer": "i", "jwksDestinationId": "d"},
                ".jwksPath: is required together with jwksDestinationId",
            ),
            (
                "jwt",
                {"issuer": "i", "jwksDestinationId": "d", "jwksPath": "/k", "jwksInline": '{"keys":[]}'},
                ".jwksPath: must not be given together with jwksInline; "
                "jwt.jwksDestinationId: must not be given together with jwksInline",
            ),
            (
                "jwt",
                {"issuer": "i", "jwksDestinationId": "d", "jwksPath": "/a b"},
                '.jwksPath: must be visible ASCII characters without "#", others percent-encoded',
            ),
            (
                "jwt",
                {"issuer": "i", "jwksInline": '{"keys":[]}', "clockSkew": "-1s"},
                '.clockSkew: must not be negative, got "-1s"',
            ),
            (
                "jwt",
                {"issuer": "i", "jwksInline": "key"},
                ".jwksInline: must be a JWKS document (JSON) or one public key in PEM",
            ),
            (
                "jwt",
                {"issuer": "i", "jwksInline": "[]"},
                '.jwksInline: must be a JWKS document: an object with a list "keys"',
            ),
            (
                "jwt",
                {"issuer": "i", "jwksInline": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"},
                ".jwksInline: is not a valid PEM public key",
            ),
            (
                "jwt",
                {"issuer": "i", "jwksInline": '{"keys":[]}', "jwksRetrievalTimeout": "0s"},
                '.jwksRetrievalTimeout: must be longer than zero, got "0s"',
            ),
            (
                "jwt",
                {"issuer": "i", "jwksInline": '{"keys":[]}', "claimToHeaders": [{"expr": "a b", "header": "x y"}]},
                f".claimToHeaders[0].expr: {CEL}; jwt.claimToHeaders[0].header: {TOKEN.format('x y')}",
            ),
            *(
                (
                    "jwt",
                    {"issuer": "i", "jwksInline": '{"keys":[]}', "claimToHeaders": [{"expr": "now", "header": name}]},
                    f'.claimToHeaders[0].header: must not be "{name}": that is set by the proxy alone',
                )
                for name in ("Content-Length", "transfer-encoding", "Host", "X-Forwarded-For", "x_forwarded_for", "TE")
            ),
            (
                "jwt",
                {"issuer": "i", "jwksInline": '{"keys":[]}', "assertClaims": ["true", "a b"]},
                f".assertClaims[1]: {CEL}",
            ),
            ("extAuthz", {}, ".destinationId: is required"),
            ("extAuthz", {**REF, "mode": "tcp"}, '.mode: must be "http" or "grpc", got "tcp"'),
            ("extAuthz", {**REF, "path": "check"}, '.path: must start with "/", got "check"'),
            (
                "extAuthz",
                {**REF, "path": "/a b"},
                '.path: must be visible ASCII characters without "#", others percent-encoded',
            ),
            ("extAuthz", {**REF, "contract": "v3"}, '.contract: must be "vrata" or "envoy", got "v3"'),
            ("extAuthz", {**REF, "contract": "envoy"}, '.contract: must be "vrata" unless mode is "grpc"'),
            ("extAuthz", {**REF, "maxBodyBytes": -1}, ".maxBodyBytes: must be an integer from 0 to 2147483647, got -1"),
            ("extAuthz", {**REF, "decisionTimeout": "x"}, f".decisionTimeout: {DURATION.format('x')}"),
            (
                "extAuthz",
                {**REF, "onCheck": {"forwardHeaders": ["x-*", "a b"]}},
                f".onCheck.forwardHeaders[1]: {TOKEN.format('a b')}",
            ),
            (
                "extAuthz",
                {**REF, "onCheck": {"injectHeaders": [{"value": "a"}]}},
                ".onCheck.injectHeaders[0].key: is required",
            ),
            (
                "extAuthz",
                {**REF, "onAllow": {"copyToUpstream": ["x-*", "a*b"]}},
                '.onAllow.copyToUpstream[1]: must be a header name with "*" only at the end, got "a*b"',
            ),
            (
                "extAuthz",
                {**REF, "onAllow": {"copyToClient": ["x"]}},
                ".onAllow.copyToClient: unknown field",
            ),
            ("extProc", {}, ".destinationId: is required"),
            ("extProc", {**REF, "mode": "h2"}, '.mode: must be "grpc" or "http", got "h2"'),
            ("extProc", {**REF, "contract": "v3"}, '.contract: must be "vrata" or "envoy", got "v3"'),
            (
                "extProc",
                {**REF, "mode": "http", "contract": "envoy"},
                '.contract: "envoy" must not be given together with mode "http"',
            ),
            (
                "extProc",
                {**REF, "phases": {"requestTrailers": "send"}},
                '.phases.requestTrailers: needs contract "envoy"',
            ),
            ("extProc", {**REF, "allowModeOverride": True}, '.allowModeOverride: needs contract "envoy"'),
            ("extProc", {**REF, "maxPhaseTimeout": "1s"}, '.maxPhaseTimeout: needs contract "envoy"'),
            ("extProc", {**REF, "requestAttributes": ["request.path"]}, '.requestAttributes: needs contract "envoy"'),
            (
                "extProc",
                {**REF, "metadata": {"receiveNamespaces": ["a"]}},
                '.metadata.receiveNamespaces: needs contract "envoy"',
            ),
            (
                "extProc",
                {**REF, "contract": "envoy", "requestAttributes": ["request.path", "response.code"]},
                ".requestAttributes[1]: must be an attribute that is known when the request begins, "
                'got "response.code"',
            ),
            (
                "extProc",
                {**REF, "contract": "envoy", "responseAttributes": ["response.headers['X-A']"]},
                ".responseAttributes[0]: must be an attribute that is known when the response begins, "
                "got \"response.headers['X-A']\"",
            ),
            (
                "extProc",
                {**REF, "contract": "envoy", "phases": {"responseBody": "fullDuplexStreamed"}},
                '.phases.responseTrailers: must be "send" where responseBody is "fullDuplexStreamed"',
            ),
            (
                "extProc",
                {
                    **REF,
                    "contract": "envoy",
                    "phases": {"requestBody": "fullDuplexStreamed", "requestTrailers": "send"},
                    "observeMode": {"enabled": True},
                },
                '.phases.requestBody: must not be "fullDuplexStreamed" where observeMode is enabled',
            ),
            ("extProc", {**REF, "phaseTimeout": "200"}, f".phaseTimeout: {DURATION.format('200')}"),
            (
                "extProc",
                {**REF, "phases": {"requestHeaders": "none"}},
                '.phases.requestHeaders: must be "send" or "skip", got "none"',
            ),
            (
                "extProc",
                {**REF, "phases": {"maxBodyBytes": -1}},
                ".phases.maxBodyBytes: must be an integer from 0 to 2147483647, got -1",
            ),
            ("extProc", {**REF, "statusOnError": 99}, ".statusOnError: must be an integer from 200 to 599, got 99"),
            (
                "extProc",
                {**REF, "allowedMutations": {"denyHeaders": ["a b"]}},
                f".allowedMutations.denyHeaders[0]: {TOKEN.format('a b')}",
            ),
            (
                "extProc",
                {**REF, "observeMode": {"workers": -1}},
                ".observeMode.workers: must be an integer from 0 to 2147483647, got -1",
            ),
            ("rateLimit", {"requestsPerSecond": "10"}, ".requestsPerSecond: must be a number, got a string"),
            ("rateLimit", {"requestsPerSecond": True}, ".requestsPerSecond: must be a number, got a boolean"),
            (
                "rateLimit",
                {"requestsPerSecond": float("nan")},
                ".requestsPerSecond: must be a finite number, got a number",
            ),
            (
                "rateLimit",
                {"burst": 1.5},
                ".burst: must be an integer from -9223372036854775808 to 9223372036854775807, got 1.5",
            ),
            (
                "rateLimit",
                {"trustedProxies": ["10.0.0.0/33"]},
                '.trustedProxies[0]: must be an IP address or a CIDR range such as "10.0.0.0/8", got "10.0.0.0/33"',
            ),
            (
                "rateLimit",
                {"trustedProxies": ["10.0.0.1", "proxy.test"]},
                '.trustedProxies[1]: must be an IP address or a CIDR range such as "10.0.0.0/8", got "proxy.test"',
            ),
            ("rateLimit", {"key": {}}, ".key: needs one of header, claim and cel"),
            ("rateLimit", {"key": {"header": "a b"}}, f".key.header: {TOKEN.format('a b')}"),
            ("rateLimit", {"key": {"cel": "a b"}}, f".key.cel: {CEL}"),
            (
                "rateLimit",
                {"key": {"header": "a", "claim": "b", "cel": "1"}},
                ".key.claim: must not be given together with header; "
                "rateLimit.key.cel: must not be given together with header",
            ),
            ("rateLimit", {"store": "disk"}, '.store: must be "local" or "redis", got "disk"'),
            (
                "rateLimit",
                {"requestsPerSecond": 1, "burst": 10**9},
                ".burst: must not make a bucket take more than ten years to fill",
            ),
            (
                "rateLimit",
                {"requestsPerSecond": 5e-324},
                ".requestsPerSecond: must not make a bucket take more than ten years to fill",
            ),
            ("headers", {"requestHeadersToAdd": [{}]}, ".requestHeadersToAdd[0].key: is required"),
            (
                "headers",
                {"responseHeadersToAdd": [{"key": "a", "value": "b\nc"}]},
                f".responseHeadersToAdd[0].value: {CONTROL}",
            ),
            ("headers", {"responseHeadersToRemove": ["a b"]}, f".responseHeadersToRemove[0]: {TOKEN.format('a b')}"),
            (
                "headers",
                {"requestHeadersToAdd": [{"key": "a", "append": "no"}]},
                ".requestHeadersToAdd[0].append: must be true or false, got a string",
            ),
            ("accessLog", {"onRequest": {}}, ".path: is required"),
            ("accessLog", {"path": "stdout"}, ": needs onRequest, onResponse or both"),
            (
                "accessLog",
                {"path": "stdout", "onRequest": {"fields": {"a": 1}}},
                ".onRequest.fields.a: must be a string, got a number",
            ),
            ("accessLog", {"path": "stdout", "onRequest": {}, "json": 1}, ".json: must be true or false, got a number"),
            (
                "inlineAuthz",
                {"rules": [{"cel": "true", "action": "deny"}], "denyStatus": 0.5},
                ".denyStatus: must be an integer from 200 to 599, got 0.5",
            ),
            ("inlineAuthz", {"rules": [{"cel": "a b", "action": "deny"}]}, f".rules[0].cel: {CEL}"),
            ("python", {}, ".class: is required"),
            *(
                (
                    "python",
                    {"class": text},
                    f'.class: must be "module:Class", each a name of ASCII letters, digits and "_", got "{text}"',
                )
                for text in ("Tenants", "a.b:C", "../a:C", "a:", "a:b.c", "a:C:d", "a :C", "é:C", "a:C\u0000")
            ),
            ("python", {"class": "a:C", "settings": []}, ".settings: must be an object, got a list"),
            (
                "python",
                {"class": "a:C", "settings": {"deep": json.loads("[" * 40 + "]" * 40)}},
                ".settings: must not be nested deeper than 32 levels",
            ),
            ("python", {"class": "a:C", "settings": {"a": ["\ud800"]}}, ".settings: must be valid Unicode text"),
            (
                "python",
                {"class": "a:C", "settings": {"a": float("inf")}},
                ".settings: must not contain numbers that are not finite",
            ),
            (
                "python",
                {"class": "a:C", "requestBody": "streamed"},
                '.requestBody: must be "none" or "buffered", got "streamed"',
            ),
            (
                "python",
                {"class": "a:C", "maxBodyBytes": -1},
                ".maxBodyBytes: must be an integer from 0 to 2147483647, got -1",
            ),
            ("python", {"class": "a:C", "timeout": "0s"}, '.timeout: must be longer than zero, got "0s"'),
            ("python", {"class": "a:C", "failureMode": "open"}, '.failureMode: must be "deny" or "allow", got "open"'),
        ]
    ),
    # The texts that the API fixes for inlineAuthz.
    (
        "middleware",
        {"name": "m", "type": "inlineAuthz"},
        'inlineAuthz config is required when type is "inlineAuthz"',
    ),
    ("middleware", middleware("inlineAuthz", {}), "inlineAuthz.rules must not be empty"),
    ("middleware", middleware("inlineAuthz", {"rules": []}), "inlineAuthz.rules must not be empty"),
    (
        "middleware",
        middleware("inlineAuthz", {"rules": [{"cel": "true", "action": "deny"}], "defaultAction": "x"}),
        'inlineAuthz.defaultAction must be "allow" or "deny", got "x"',
    ),
    (
        "middleware",
        middleware("inlineAuthz", {"rules": [{"cel": "true", "action": "deny"}, {"cel": "true", "action": "maybe"}]}),
        'inlineAuthz.rules[1].action must be "allow" or "deny", got "maybe"',
    ),
    *(
        ("middleware", middleware("inlineAuthz", {"rules": [rule]}), "inlineAuthz.rules[0].cel must not be empty")
        for rule in ({"action": "deny"}, {"cel": "", "action": "deny"})
    ),
]


@pytest.mark.parametrize(("kind", "document", "text"), DOCUMENTS)
def test_a_document_that_is_refused(kind: str, document: Any, text: str) -> None:
    assert problems(kind, document) == text
