"""What this build's data plane puts into effect, as data.

A positive list on purpose: a member that is not in it is refused when a snapshot is made, so a new field of the model
cannot be accepted and then ignored by accident. When the data plane learns something, a line here changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

REASON = "this build does not act on it yet"


@dataclass(frozen=True, slots=True)
class Whole:
    """Everything below the member has its effect."""


@dataclass(frozen=True, slots=True)
class Only:
    """The member has its effect with these values alone."""

    values: tuple[Any, ...]


Acted = Whole | Only | Mapping[str, Any]
"""A mapping goes one level down, member by member; members it does not name have no effect."""

WHOLE: Final = Whole()

_ENTITY = {"id": WHOLE, "name": WHOLE}

ACTED_ON: Final[Mapping[str, Acted]] = {
    "listener": _ENTITY
    | {
        "address": WHOLE,
        "port": WHOLE,
        "proxyProtocol": WHOLE,
        "tls": WHOLE,
        "http2": WHOLE,
        "serverName": WHOLE,
        "pathNormalization": WHOLE,
        "trustedProxies": WHOLE,
        "maxRequestHeadersKB": WHOLE,
        "maxConnections": WHOLE,
        "timeouts": WHOLE,
        "proxyErrors": {"detail": WHOLE},
        "tracing": WHOLE,
        # No histogram of sizes exists. Middlewares that do not run have nothing to collect, whatever is asked for.
        "metrics": {"path": WHOLE, "collect": WHOLE, "histograms": {"durationBuckets": WHOLE}},
    },
    "destination": _ENTITY
    | {
        "host": WHOLE,
        "port": WHOLE,
        "endpoints": WHOLE,
        "options": {
            "timeouts": {
                "request": WHOLE,
                "connect": WHOLE,
                "dualStackFallback": WHOLE,
                "tlsHandshake": WHOLE,
                "responseHeader": WHOLE,
                "expectContinue": WHOLE,
                "idleConnection": WHOLE,
            },
            "tls": WHOLE,
            "endpointBalancing": {
                "algorithm": WHOLE,
                "ringHash": WHOLE,
                "maglev": WHOLE,
                "leastRequest": WHOLE,
                "sticky": WHOLE,
            },
            "discovery": {"type": Only(("dns",))},
            "healthCheck": WHOLE,
            "outlierDetection": WHOLE,
            "panicThreshold": WHOLE,
            "http2": WHOLE,
            "maxConnsPerHost": WHOLE,
            "maxRequestsPerConnection": WHOLE,
            "circuitBreaker": WHOLE,
        },
    },
    "route": _ENTITY
    | {
        "match": {
            "path": WHOLE,
            "pathPrefix": WHOLE,
            "pathRegex": WHOLE,
            "methods": WHOLE,
            "hostnames": WHOLE,
            "headers": WHOLE,
            "queryParams": WHOLE,
            "grpc": WHOLE,
            "cel": WHOLE,
        },
        "forward": {
            "destinations": WHOLE,
            "destinationBalancing": {
                "algorithm": WHOLE,
                "weightedConsistentHash": WHOLE,
                "sticky": WHOLE,
            },
            "timeouts": {"request": WHOLE},
            "retry": WHOLE,
            "rewrite": WHOLE,
            "mirror": WHOLE,
            "maxGrpcTimeout": WHOLE,
        },
        "redirect": WHOLE,
        "directResponse": WHOLE,
        "middlewareIds": WHOLE,
        "middlewareOverrides": WHOLE,
    },
    "group": _ENTITY
    | {
        "routeIds": WHOLE,
        "pathPrefix": WHOLE,
        "pathRegex": WHOLE,
        "hostnames": WHOLE,
        "headers": WHOLE,
        "middlewareIds": WHOLE,
        "middlewareOverrides": WHOLE,
        "retryDefault": WHOLE,
        "includeAttemptCount": WHOLE,
    },
    "middleware": WHOLE,
}


def without_effect(kind: str, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and reason of every member of the entity that this build would ignore."""
    return _without_effect(ACTED_ON[kind], document, "")


def _without_effect(acted: Acted, value: Any, path: str) -> Iterator[tuple[str, str]]:
    match acted:
        case Whole():
            return
        case Only(values):
            if value not in values:
                known = ", ".join(str(candidate) for candidate in values if isinstance(candidate, str))
                yield path, f"{REASON}, only on {known}" if known else REASON
        case _ if isinstance(value, dict):
            for key, member in value.items():
                below = f"{path}.{key}" if path else key
                if key in acted:
                    yield from _without_effect(acted[key], member, below)
                else:
                    yield below, REASON
        case _:
            yield path, REASON
