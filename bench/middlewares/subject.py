"""Subjects: the one table of what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.middlewares.companions import Companions
from tests.support.gateway import Document

PLAIN = "plain"
"""The name of the route without middlewares, to which all others are compared."""
BASE = "web"
"""The listener of most subjects; it has metrics."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A way through the proxy, by a route at ``/<route>``."""

    name: str
    title: str
    kind: str = ""
    """The type of the middleware on its route; none if empty."""
    route: str = ""
    """If not :attr:`name`."""
    listener: str = BASE
    field: str = ""
    """What its requests have beside those of the plain one, as ``Name: value``."""
    is_fresh: bool = False
    """Each request brings a token that was never seen before."""
    turns: int = 1
    """In each round: there are more where small differences matter."""

    @property
    def path(self) -> str:
        return f"/{self.route or self.name}"


SUBJECTS = (
    Subject(PLAIN, "no middleware, metrics on"),
    Subject("no-metrics", "no middleware, metrics off", route=PLAIN, listener="unmetered", turns=3),
    Subject("headers", "3 headers set and 1 removed in the request, 2 and 1 in the response", "headers"),
    Subject("cors", "an allowed origin", "cors", field="Origin: https://shop.example"),
    Subject("jwt", "the same token again, 1 claim to a header", "jwt"),
    Subject("jwt-new", "a new token each time (ES256), 1 claim to a header", "jwt", route="jwt", is_fresh=True),
    Subject("rate-limit", "by client address", "rateLimit"),
    Subject("rate-limit-redis", "by client address, in Redis", "rateLimit"),
    Subject("inline-authz", "2 rules, the second allows", "inlineAuthz"),
    Subject("access-log", "a line of JSON with 8 fields, to a file", "accessLog"),
    Subject("ext-authz-http", "a question for each request", "extAuthz"),
    Subject("ext-authz-grpc", "a call for each request", "extAuthz"),
    Subject("ext-authz-envoy", "the same call by Envoy's contract", "extAuthz"),
    Subject("ext-proc-http", "request headers, by a question", "extProc"),
    Subject("ext-proc-grpc", "request and response headers, in a stream", "extProc"),
    Subject("ext-proc-envoy", "the same stream by Envoy's contract", "extProc"),
    Subject("python", "plain methods that set a header each way", "python"),
    Subject("python-async", "the same as async methods", "python"),
    Subject("traced", "a span of each request", route=PLAIN, listener="traced"),
    Subject("sampled", "a span of one request in a hundred", route=PLAIN, listener="sampled"),
)

TIGHT = Subject("rate-limit-tight", "one request, and then none for long", "rateLimit")
"""Not measured: it shows that limits of its kind refuse requests."""


def select(names: list[str]) -> tuple[Subject, ...]:
    """Return the subjects whose names begin with one of *names*, all without names; the plain one is always there.

    Raises ``ValueError`` for a beginning that no name has.
    """
    for name in names:
        if not any(subject.name.startswith(name) for subject in SUBJECTS):
            raise ValueError(f"no subject begins with {name}; there are: {', '.join(each.name for each in SUBJECTS)}")
    found = (subject for subject in SUBJECTS if subject.name == PLAIN or subject.name.startswith(tuple(names)))
    return tuple(found) if names else SUBJECTS


def middleware(subject: Subject, companions: Companions, log: Path) -> Document:
    """The middleware on the route of *subject*; *log* is the file of the one that writes any."""
    settings = _settings(subject.name, companions, log)
    return {"id": subject.name, "name": subject.name, "type": subject.kind, subject.kind: settings}


def _settings(name: str, companions: Companions, log: Path) -> dict[str, Any]:
    limit = {"requestsPerSecond": 1_000_000, "burst": 1_000_000}
    by_call = {
        "destinationId": "grpc-service",
        "mode": "grpc",
        "decisionTimeout": "5s",
        "onCheck": {"forwardHeaders": ["Authorization", "User-Agent"]},
    }
    fields = {
        "time": "${time}",
        "id": "${id}",
        "client": "${request.clientIp}",
        "method": "${request.method}",
        "path": "${request.path}",
        "status": "${response.status}",
        "bytes": "${response.bytes}",
        "us": "${duration.us}",
    }
    table: dict[str, dict[str, Any]] = {
        "headers": {
            "requestHeadersToAdd": [
                {"key": "X-Env", "value": "bench", "append": False},
                {"key": "X-Original", "value": "${request.host}${request.path}", "append": False},
                {"key": "Via", "value": "vrata"},
            ],
            "requestHeadersToRemove": ["User-Agent"],
            "responseHeadersToAdd": [
                {"key": "X-Frame-Options", "value": "DENY", "append": False},
                {"key": "Cache-Control", "value": "no-store", "append": False},
            ],
            "responseHeadersToRemove": ["Server"],
        },
        "cors": {"allowOrigins": [{"value": "https://shop.example"}], "exposeHeaders": ["X-Total-Count"]},
        "jwt": {
            "issuer": companions.issuer_name,
            "audiences": ["shop"],
            "jwksInline": companions.key_set,
            "claimToHeaders": [{"expr": "claims.sub", "header": "X-User"}],
        },
        "rate-limit": limit,
        TIGHT.name: {"requestsPerSecond": 0.01, "burst": 1},
        "rate-limit-redis": {**limit, "store": "redis", "onStoreFailure": "deny"},
        "inline-authz": {
            "rules": [
                {"cel": "request.path.startsWith('/admin')", "action": "deny"},
                {"cel": "request.method == 'GET' && request.headers['user-agent'] == 'bench'", "action": "allow"},
            ]
        },
        "access-log": {"path": str(log), "json": True, "onResponse": {"fields": fields}},
        "ext-authz-http": {
            "destinationId": "http-service",
            "path": "/check",
            "decisionTimeout": "5s",
            "onCheck": {"forwardHeaders": ["Authorization", "User-Agent"]},
        },
        "ext-authz-grpc": by_call,
        "ext-authz-envoy": {**by_call, "contract": "envoy"},
        "ext-proc-http": {
            "destinationId": "http-service",
            "mode": "http",
            "phaseTimeout": "5s",
            "phases": {"responseHeaders": "skip"},
        },
        "ext-proc-grpc": {"destinationId": "grpc-service", "phaseTimeout": "5s"},
        "ext-proc-envoy": {"destinationId": "grpc-service", "phaseTimeout": "5s", "contract": "envoy"},
        "python": {"class": "bench_classes:Plain"},
        "python-async": {"class": "bench_classes:Waiting"},
    }
    return table[name]
