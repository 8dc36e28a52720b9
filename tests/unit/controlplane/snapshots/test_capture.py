from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import pytest

from tests.unit.controlplane.snapshots.staging import (
    NO_SOURCES,
    NOTHING_ALLOWED,
    captured,
    captured_with,
    destination,
    group,
    listener,
    middleware,
    route,
    staged,
)
from vrata.controlplane.snapshots.capture import SnapshotCapturer, SnapshotRefusedError, capture
from vrata.controlplane.snapshots.resolution import Sources, UnresolvedSecretsError
from vrata.controlplane.store.base import Record
from vrata.controlplane.store.memory import MemoryStore

SIZES = {"histograms": {"sizeBuckets": [1.0]}}
"""Of metrics, and not acted on yet."""


def warnings_of(**collections: list[dict[str, Any]]) -> set[str]:
    return {str(found) for found in captured(**collections).warnings}


def refusals_of(**collections: list[dict[str, Any]]) -> set[str]:
    with pytest.raises(SnapshotRefusedError) as refused:
        captured(**collections)
    return {str(found) for found in refused.value.findings}


def test_the_document_of_a_snapshot() -> None:
    snapshot = captured(listeners=[listener()], destinations=[destination()], routes=[route()], groups=[group()])
    document = json.loads(snapshot.body)
    assert list(document) == ["id", "name", "createdAt", "snapshot"]
    assert (document["id"], document["name"]) == (snapshot.id, "a name")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", document["createdAt"])
    assert json.loads(snapshot.summary) == {key: document[key] for key in ("id", "name", "createdAt")}
    assert document["snapshot"] == {
        "listeners": [{"id": "l1", "name": "web", "address": "0.0.0.0", "port": 3000}],
        "routes": [
            {
                "id": "r1",
                "name": "all",
                "match": {},
                "forward": {"destinations": [{"destinationId": "d1", "weight": 0}]},
            }
        ],
        "groups": [{"id": "g1", "name": "api", "routeIds": ["r1"]}],
        "destinations": [{"id": "d1", "name": "backend", "host": "backend.example", "port": 80}],
        "middlewares": [],
    }


def test_a_snapshot_of_nothing_has_five_empty_arrays_and_says_so() -> None:
    snapshot = captured()
    document = json.loads(snapshot.body)
    assert document["snapshot"] == {
        name: [] for name in ("listeners", "routes", "groups", "destinations", "middlewares")
    }
    assert [warning["path"] for warning in document["warnings"]] == ["snapshot.listeners", "snapshot.routes"]


def test_the_worst_warnings_come_first() -> None:
    spare = destination(id="d2", name="spare")
    doubtful = route(
        id="r2", name="more", match={"path": "/more"}, middlewareIds=["m1"], middlewareOverrides={"m1": {"headers": {}}}
    )
    gone = route(forward={"destinations": [{"destinationId": "gone"}]}, match={"path": "/gone"})
    snapshot = captured(
        listeners=[listener()], routes=[doubtful, gone], destinations=[destination(), spare], middlewares=[middleware()]
    )
    found = [(warning["severity"], warning["id"]) for warning in json.loads(snapshot.body)["warnings"]]
    assert found == [("high", "r1"), ("medium", "r2"), ("low", "d2")]


def test_secrets_are_resolved_and_not_part_of_the_snapshot() -> None:
    sources = Sources({"s1": 'a "quoted"\nvalue\x07'}, {}, NOTHING_ALLOWED)
    direct = {"status": 200, "body": "<{{secret:value:s1}}>"}
    secret = {"id": "s1", "name": "s", "value": "unused here"}
    snapshot = captured_with(sources, routes=[{"id": "r1", "name": "r", "directResponse": direct}], secrets=[secret])
    document = json.loads(snapshot.body)
    assert document["snapshot"]["routes"][0]["directResponse"]["body"] == '<a "quoted"\nvalue\x07>'
    assert "secrets" not in document["snapshot"]


def test_every_unresolved_reference_is_listed_and_nothing_else_is_checked() -> None:
    direct = {"status": 200, "body": "{{secret:value:a}} {{secret:vault:b}}"}
    with pytest.raises(UnresolvedSecretsError) as refused:
        captured(
            routes=[{"id": "r1", "name": "r", "directResponse": direct, "middlewareIds": ["gone"]}],
            listeners=[listener(serverName="{{secret:env:X}}")],
        )
    assert str(refused.value) == (
        "resolving secrets: unresolved secret references:\n"
        '  env var "X": controlPlane.secrets.allowEnv does not allow it\n'
        '  secret "a": secret "a": resource not found\n'
        '  secret source "vault" of "b" is unknown: must be value, env or file'
    )


def test_a_secret_that_makes_an_entity_invalid_is_refused() -> None:
    sources = Sources({"s1": "two\r\nlines"}, {}, NOTHING_ALLOWED)
    with pytest.raises(SnapshotRefusedError) as refused:
        captured_with(sources, listeners=[listener(serverName="{{secret:value:s1}}")])
    (found,) = refused.value.findings
    assert (found.kind, found.id, found.path) == ("listener", "l1", "serverName")


def test_an_entity_that_an_older_build_let_pass_is_refused() -> None:
    bodies = staged(listeners=[listener()])
    bodies["listeners"] = (bodies["listeners"][0].replace(b"3000", b"70000"),)
    with pytest.raises(SnapshotRefusedError) as refused:
        capture("a name", bodies, NO_SOURCES)
    assert refused.value.findings[0].path == "port"


@pytest.mark.parametrize(
    ("first", "second"),
    [("0.0.0.0", "0.0.0.0"), ("::1", "0:0::1"), ("localhost", "LocalHost")],
)
def test_two_listeners_on_one_address_and_port_are_refused(first: str, second: str) -> None:
    found = refusals_of(listeners=[listener(address=first), listener(id="l2", name="other", address=second)])
    assert found == {'listener "other" (l2): port: listener "web" (l1) has the same address and port'}


def test_listeners_that_differ_in_address_or_port_are_fine() -> None:
    captured(
        listeners=[
            listener(),
            listener(id="l2", name="2", port=3001),
            listener(id="l3", name="3", address="127.0.0.1"),
            listener(id="l4", name="4", address="::"),
        ]
    )


def test_a_missing_middleware_is_refused() -> None:
    found = refusals_of(routes=[route(middlewareIds=["gone"])], groups=[group(middlewareIds=["gone"])])
    assert 'route "all" (r1): middlewareIds[0]: middleware "gone" does not exist' in found
    assert 'group "api" (g1): middlewareIds[0]: middleware "gone" does not exist' in found


def test_an_attached_middleware_without_its_destination_is_refused() -> None:
    authz = {"id": "m1", "name": "authz", "type": "extAuthz", "extAuthz": {"destinationId": "gone"}}
    found = refusals_of(routes=[route(middlewareIds=["m1"])], middlewares=[authz])
    assert 'middleware "authz" (m1): extAuthz.destinationId: destination "gone" does not exist' in found


@pytest.mark.parametrize(
    ("kind", "mode"), [("extAuthz", "grpc"), ("extAuthz", "http"), ("extAuthz", None), ("extProc", None)]
)
def test_a_middleware_that_speaks_grpc_needs_a_destination_with_http2(kind: str, mode: str | None) -> None:
    settings = {"destinationId": "d1"} | ({"mode": mode} if mode else {})
    entities: dict[str, Any] = {"middlewares": [{"id": "m1", "name": "m", "type": kind, kind: settings}]}
    speaks_grpc = mode == "grpc" or (kind == "extProc" and mode is None)
    attached = [route(middlewareIds=["m1"])]
    captured(routes=[route()], destinations=[destination()], **entities)
    captured(routes=attached, destinations=[destination(options={"http2": True})], **entities)
    if speaks_grpc:
        assert refusals_of(routes=attached, destinations=[destination()], **entities) == {
            f'middleware "m" (m1): {kind}.mode: is "grpc", so destination "d1" needs options.http2'
        }
    else:
        captured(routes=attached, destinations=[destination()], **entities)


def test_trailers_need_a_contract_that_has_them() -> None:
    overrides = {"m1": {"extProc": {"phases": {"requestTrailers": "send"}}}}
    attached = {"middlewareIds": ["m1"], "middlewareOverrides": overrides}
    for contract in ("vrata", "envoy"):
        settings = {"destinationId": "d1", "contract": contract}
        entities: dict[str, Any] = {
            "middlewares": [{"id": "m1", "name": "m", "type": "extProc", "extProc": settings}],
            "destinations": [destination(options={"http2": True})],
        }
        if contract == "envoy":
            captured(routes=[route(**attached)], groups=[group(**attached)], **entities)
        else:
            path = "middlewareOverrides.m1.extProc.phases.requestTrailers"
            reason = 'needs contract "envoy" of middleware "m1"'
            expected = {f'route "all" (r1): {path}: {reason}', f'group "api" (g1): {path}: {reason}'}
            assert refusals_of(routes=[route(**attached)], groups=[group(**attached)], **entities) == expected


def test_all_refusals_are_listed_at_once() -> None:
    found = refusals_of(
        listeners=[listener(metrics=SIZES), listener(id="l2", name="other")],
        destinations=[destination(options={"discovery": {"type": "kubernetes"}})],
        routes=[route(middlewareIds=["gone"])],
    )
    assert len(found) == 4


def test_dangling_references_are_warned_of() -> None:
    found = warnings_of(
        listeners=[listener()],
        routes=[route()],
        groups=[group(routeIds=["r1", "gone"])],
        middlewares=[
            {"id": "m1", "name": "authz", "type": "extAuthz", "extAuthz": {"destinationId": "gone"}, "cors": {}}
        ],
    )
    assert found == {
        'route "all" (r1): forward.destinations[0].destinationId: destination "d1" does not exist: '
        "it is left out; requests fail with no_destination where it is the only one",
        'group "api" (g1): routeIds[1]: route "gone" does not exist: is left out of the group',
        'middleware "authz" (m1): extAuthz.destinationId: destination "gone" does not exist: '
        "it is left out; requests fail with no_destination where it is the only one",
        'middleware "authz" (m1): is unused: no route or group refers to it',
    }


def test_a_mirror_without_its_destination_is_warned_of() -> None:
    forward = {"destinations": [{"destinationId": "d1"}], "mirror": {"destinationId": "gone"}}
    found = warnings_of(listeners=[listener()], routes=[route(forward=forward)], destinations=[destination()])
    assert found == {
        'route "all" (r1): forward.mirror.destinationId: destination "gone" does not exist: nothing is mirrored'
    }


def test_spans_without_their_destination_are_warned_of() -> None:
    traced = listener(tracing={"destinationId": "gone"})
    found = warnings_of(listeners=[traced], routes=[route()], destinations=[destination()])
    assert found == {
        f'listener "{traced["name"]}" ({traced["id"]}): tracing.destinationId: destination "gone" does not exist: '
        "its spans are dropped"
    }
    assert (
        warnings_of(
            listeners=[listener(tracing={"destinationId": "d2"})],
            routes=[route()],
            destinations=[destination(), destination(id="d2")],
        )
        == set()
    )


def test_what_nothing_refers_to_is_warned_of() -> None:
    found = warnings_of(
        listeners=[listener()],
        routes=[route()],
        destinations=[destination(), destination(id="d2", name="spare")],
        middlewares=[middleware()],
    )
    assert found == {
        'destination "spare" (d2): is unused: no route, middleware or listener refers to it',
        'middleware "cors" (m1): is unused: no route or group refers to it',
    }


@pytest.mark.parametrize(
    ("every", "others", "named"),
    [
        ("0.0.0.0", ["192.0.2.1", "a.example", "::1"], ["192.0.2.1", "a.example"]),
        ("::", ["192.0.2.1", "::1", "0.0.0.0"], ["192.0.2.1", "::1", "0.0.0.0"]),
        ("192.0.2.1", ["192.0.2.2"], []),
    ],
)
def test_listeners_that_share_a_port_are_warned_of(every: str, others: list[str], named: list[str]) -> None:
    nearer = [
        listener(id=f"n{index}", name=f"n{index}", address=address, port=80) for index, address in enumerate(others)
    ]
    elsewhere = listener(id="x", name="x", address="192.0.2.1", port=81)
    everywhere = listener(id="all", name="all", address=every, port=80)
    found = warnings_of(listeners=[*nearer, everywhere, elsewhere], routes=[route()], destinations=[destination()])
    assert {warning.partition(" to ")[2].partition(" ")[0] for warning in found if '"all"' in warning} == set(named)
    assert all("address: does not get the connections to" in warning for warning in found)


def test_peers_that_are_anybody_are_warned_of() -> None:
    for mode, networks, paths in (
        ("required", ["10.0.0.0/8", "::/0", "0.0.0.0/0"], ["[1]: ::/0", "[2]: 0.0.0.0/0"]),
        ("required", ["10.0.0.0/8"], []),
        ("off", ["::/0"], []),
    ):
        listeners = [listener(proxyProtocol={"mode": mode, "trustedPeers": networks})]
        found = warnings_of(listeners=listeners, routes=[route()], destinations=[destination()])
        assert len(found) == len(paths)
        assert all(any(f"trustedPeers{path} lets anybody" in warning for warning in found) for path in paths)


def test_versions_of_tls_that_are_not_to_be_used_any_more_are_warned_of() -> None:
    def tls(oldest: str) -> dict[str, str]:
        return {"cert": "/cert.pem", "key": "/key.pem", "minVersion": oldest}

    assert (
        warnings_of(listeners=[listener(tls=tls("TLSv1_2"))], routes=[route()], destinations=[destination()]) == set()
    )
    found = warnings_of(listeners=[listener(tls=tls("TLSv1_1"))], routes=[route()], destinations=[destination()])
    (warning,) = found
    assert "tls.minVersion: lets clients use TLSv1_1" in warning
    for mode, expected in (("tls", 1), ("none", 0)):
        options = {"tls": {"mode": mode, "minVersion": "TLSv1_0"}}
        found = warnings_of(listeners=[listener()], routes=[route()], destinations=[destination(options=options)])
        assert len(found) == expected
        assert all("options.tls.minVersion: lets upstreams use TLSv1_0" in warning for warning in found)


@pytest.mark.parametrize(
    ("settings", "path", "reason"),
    [
        ({"retriableCodes": [409]}, "retriableCodes", "has no effect unless on contains retriable-codes"),
        ({"on": ["server-error"], "retriableCodes": [409]}, "retriableCodes", "has no effect unless on contains"),
        ({"on": ["retriable-codes"]}, "on", "retriable-codes matches nothing without retriableCodes"),
        ({"on": ["retriable-codes"], "retriableCodes": [409]}, None, ""),
        ({}, None, ""),
    ],
)
def test_statuses_to_retry_that_are_named_half_are_warned_of(
    settings: dict[str, Any], path: str | None, reason: str
) -> None:
    retry = {"attempts": 1, **settings}
    forward = {"destinations": [{"destinationId": "d1"}], "retry": retry}
    found = warnings_of(
        listeners=[listener()],
        routes=[route(forward=forward)],
        groups=[group(retryDefault=retry)],
        destinations=[destination()],
    )
    where = [f"(r1): forward.retry.{path}: {reason}", f"(g1): retryDefault.{path}: {reason}"] if path else []
    assert len(found) == len(where)
    assert all(any(part in warning for warning in found) for part in where)


ONE_ENDPOINT = [{"host": "127.0.0.1", "port": 80}]
TWO_ENDPOINTS = [*ONE_ENDPOINT, {"host": "127.0.0.1", "port": 81}]


@pytest.mark.parametrize(
    ("endpoints", "options", "path", "reason"),
    [
        (TWO_ENDPOINTS, {"outlierDetection": {}}, None, ""),
        (ONE_ENDPOINT, {}, None, ""),
        (ONE_ENDPOINT, {"outlierDetection": {}}, "outlierDetection", "the destination has only one"),
        ([*ONE_ENDPOINT, *ONE_ENDPOINT], {"outlierDetection": {}}, "outlierDetection", "only one"),
        ([], {"outlierDetection": {}}, "outlierDetection", "the destination has only one"),
        (TWO_ENDPOINTS, {"outlierDetection": {"consecutive5xx": 0}}, "outlierDetection", "are both 0"),
        (TWO_ENDPOINTS, {"outlierDetection": {"consecutive5xx": 0, "consecutiveGatewayErrors": 1}}, None, ""),
        (
            TWO_ENDPOINTS,
            {"outlierDetection": {"maxEjectionPercent": 0}},
            "outlierDetection.maxEjectionPercent",
            "0 percent may be ejected",
        ),
        ([], {"healthCheck": {"path": "/"}}, None, ""),
        ([], {"healthCheck": {"path": "/", "interval": "5s"}}, None, ""),
        (
            [],
            {"healthCheck": {"type": "tcp", "interval": "4s"}},
            "healthCheck.timeout",
            "5s is longer than the interval of 4s",
        ),
    ],
)
def test_checks_and_ejections_that_cannot_act_as_stated_are_warned_of(
    endpoints: list[dict[str, Any]], options: dict[str, Any], path: str | None, reason: str
) -> None:
    found = warnings_of(
        listeners=[listener()], routes=[route()], destinations=[destination(endpoints=endpoints, options=options)]
    )
    assert len(found) == (path is not None)
    assert all(f"(d1): options.{path}: " in warning and reason in warning for warning in found)


def test_capturing_stores_the_snapshot_and_a_refusal_stores_none() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await store.create("listeners", Record("l1", "web", staged(listeners=[listener()])["listeners"][0]))
        secret = b'{"id":"s1","name":"s","value":"X-Server"}'
        await store.create("secrets", Record("s1", "s", secret))
        capturer = SnapshotCapturer(store, {}, NOTHING_ALLOWED)
        snapshot = await capturer.create("first")
        assert await store.read("snapshots", snapshot.id) == snapshot.body
        assert (await store.catalogue()).active_id is None
        body = staged(listeners=[listener(serverName="{{secret:value:s1}}", metrics=SIZES)])["listeners"][0]
        await store.replace("listeners", Record("l1", "web", body))
        with pytest.raises(SnapshotRefusedError):
            await capturer.create("second")
        assert len((await store.catalogue()).summaries) == 1

    asyncio.run(scenario())


def test_a_large_snapshot_is_made_quickly() -> None:
    bodies = staged(
        destinations=[destination(id=f"d{n}", name=f"backend {n}") for n in range(1000)],
        routes=[route(id=f"r{n}", name=f"route {n}", match={"pathPrefix": f"/{n}"}) for n in range(5000)],
    )
    started = time.process_time()
    snapshot = capture("large", bodies, NO_SOURCES)
    # Takes 0.2 s; the limit only tells linear from quadratic on any machine.
    assert time.process_time() - started < 3
    assert len(json.loads(snapshot.body)["snapshot"]["routes"]) == 5000
