"""The list of what this build acts on: it covers the model, and what it does not name is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.controlplane.snapshots.staging import captured, destination, group, listener, middleware, route
from vrata.controlplane.snapshots.acted_on import ACTED_ON, Only, Whole, without_effect
from vrata.controlplane.snapshots.capture import SnapshotRefusedError
from vrata.model import KINDS
from vrata.model.part import Part

NOT_YET = "this build does not act on it yet"


@pytest.mark.parametrize("kind", ACTED_ON)
def test_the_list_names_members_of_the_model_only(kind: str) -> None:
    assert set(unknown(KINDS[kind], ACTED_ON[kind], kind)) == set()


def unknown(part: type[Part], acted: Any, path: str) -> Iterator[str]:
    if isinstance(acted, Whole | Only):
        return
    for name, below in acted.items():
        child = part.child(name)
        if name not in part.member_names():
            yield f"{path}.{name}"
        elif child is not None:
            yield from unknown(child, below, f"{path}.{name}")
        elif not isinstance(below, Whole | Only):
            yield f"{path}.{name} has no members"


def test_every_kind_of_a_snapshot_is_in_the_list() -> None:
    assert set(ACTED_ON) == set(KINDS) - {"secret"}


PATHS_NOT_ACTED_ON: list[tuple[str, dict[str, Any], str]] = [
    ("listener", {"metrics": {"histograms": {"sizeBuckets": [1.0]}}}, "metrics.histograms.sizeBuckets"),
    ("destination", {"options": {"discovery": {"type": "kubernetes"}}}, "options.discovery.type"),
]
MAKERS = {"listener": listener, "destination": destination, "route": route, "group": group, "middleware": middleware}


@pytest.mark.parametrize(("kind", "members", "path"), PATHS_NOT_ACTED_ON)
def test_a_snapshot_with_what_has_no_effect_is_refused(kind: str, members: dict[str, Any], path: str) -> None:
    entities = {name + "s": [maker()] for name, maker in MAKERS.items()}
    entity = MAKERS[kind](**members)
    entities[kind + "s"] = [entity]
    with pytest.raises(SnapshotRefusedError) as refused:
        captured(**entities)
    (found,) = refused.value.findings
    assert (found.kind, found.id, found.name, found.path) == (kind, entity["id"], entity["name"], path)
    assert found.reason.startswith(NOT_YET)
    assert str(refused.value) == f"the snapshot cannot be created:\n  {found}"
    assert str(found).startswith(f'{kind} "{entity["name"]}" ({entity["id"]}): {path}: {NOT_YET}')


def test_everything_acted_on_makes_a_snapshot() -> None:
    timeouts = (
        *("request", "connect", "dualStackFallback", "tlsHandshake"),
        *("responseHeader", "expectContinue", "idleConnection"),
    )
    captured(
        listeners=[
            listener(
                address="127.0.0.1",
                http2=True,
                serverName="vrata",
                trustedProxies=["10.0.0.0/8"],
                maxRequestHeadersKB=64,
                maxConnections=1000,
                tls={
                    "cert": "/cert.pem",
                    "key": "/key.pem",
                    "minVersion": "TLSv1_2",
                    "maxVersion": "TLSv1_3",
                    "clientAuth": {"mode": "require", "ca": "/ca.pem"},
                    "certificates": [{"cert": "/cert.pem", "key": "/key.pem", "hostnames": ["*.shop.test"]}],
                    "strictSni": True,
                },
                proxyProtocol={"mode": "required", "trustedPeers": ["10.0.0.0/8"]},
                timeouts={"clientHeader": "1s", "clientResponse": "0s"},
                metrics={
                    "path": "/metrics",
                    "collect": dict.fromkeys(("route", "destination", "endpoint", "middleware", "listener"), True),
                    "histograms": {"durationBuckets": [0.1, 1]},
                },
                proxyErrors={"detail": "full"},
                tracing={
                    "destinationId": "d1",
                    "path": "/otlp",
                    "headers": [{"name": "x-key", "value": "k"}],
                    "samplingRatio": 0.1,
                    "parentBased": False,
                    "serviceName": "shop",
                },
            )
        ],
        destinations=[
            destination(
                endpoints=[{"host": "10.0.0.1", "port": 81}],
                options={
                    "timeouts": dict.fromkeys(timeouts, "1s"),
                    "tls": {
                        "mode": "mtls",
                        "cert": "/cert.pem",
                        "key": "/key.pem",
                        "ca": "/ca.pem",
                        "sni": "a.example",
                        "subjectAltNames": ["spiffe://example.org/a", "a.example", "10.0.0.1"],
                        "minVersion": "TLSv1_2",
                        "maxVersion": "TLSv1_3",
                    },
                    "endpointBalancing": {"algorithm": "RANDOM"},
                    "discovery": {"type": "dns"},
                    "http2": True,
                    "maxRequestsPerConnection": 1000,
                    "maxConnsPerHost": 100,
                },
            )
        ],
        routes=[
            route(
                match={
                    "pathPrefix": "/api",
                    "methods": ["GET"],
                    "hostnames": ["a.example"],
                    "headers": [{"name": "x", "value": "y"}],
                    "queryParams": [{"name": "x"}],
                    "grpc": True,
                    "cel": "request.body.json.a == 1",
                },
                forward={
                    "destinations": [{"destinationId": "d1", "weight": 100}],
                    "destinationBalancing": {"algorithm": "WEIGHTED_RANDOM"},
                    "timeouts": {"request": "1s"},
                    "retry": {
                        "attempts": 2,
                        "perAttemptTimeout": "1s",
                        "on": ["server-error", "gateway-error", "connection-failure", "retriable-codes"],
                        "retriableCodes": [409],
                        "backoff": {"base": "10ms", "max": "1s"},
                    },
                    "rewrite": {"path": "/", "autoHost": True},
                    "mirror": {"destinationId": "d1", "percentage": 10},
                    "maxGrpcTimeout": "1s",
                },
                middlewareIds=[],
                middlewareOverrides={},
            ),
            {"id": "r2", "name": "redirect", "redirect": {"host": "b.example", "code": 308}},
            {"id": "r3", "name": "direct", "directResponse": {"status": 204}},
        ],
        groups=[
            group(
                pathPrefix="/v1",
                hostnames=["a.example"],
                headers=[{"name": "x"}],
                retryDefault={"attempts": 2},
                includeAttemptCount=True,
            )
        ],
        middlewares=[middleware()],
    )


def test_a_member_that_nobody_thought_of_is_refused() -> None:
    found = dict(without_effect("destination", {"id": "d1", "options": {"brandNew": {"a": 1}}, "newer": 0}))
    assert found == {"options.brandNew": NOT_YET, "newer": NOT_YET}


def test_known_values_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ACTED_ON, "destination", {"mode": Only(("a", "b")), "other": Only((False,))})
    found = dict(without_effect("destination", {"mode": "c", "other": True}))
    assert found == {"mode": f"{NOT_YET}, only on a, b", "other": NOT_YET}


@pytest.mark.parametrize(
    "balancing",
    [
        {"algorithm": "LEAST_REQUEST", "leastRequest": {"choiceCount": 3}},
        {"algorithm": "PEAK_EWMA"},
        {"algorithm": "STICKY", "sticky": {"cookie": {"name": "pin", "ttl": "5m"}}},
        {"algorithm": "RING_HASH", "ringHash": {"ringSize": {"min": 64}, "hashPolicy": [{"header": {"name": "x"}}]}},
        {"algorithm": "MAGLEV", "maglev": {"tableSize": 251, "hashPolicy": [{"sourceIP": {"enabled": True}}]}},
    ],
)
def test_balancing_that_acts(balancing: dict[str, Any]) -> None:
    endpoints = [{"host": "h", "port": 1, "weight": 3}]
    assert not list(
        without_effect("destination", {"endpoints": endpoints, "options": {"endpointBalancing": balancing}})
    )
    consistent = {"algorithm": "WEIGHTED_CONSISTENT_HASH", "weightedConsistentHash": {"cookie": {"name": "pin"}}}
    assert not list(without_effect("route", {"forward": {"destinationBalancing": consistent}}))
