"""The stream of the active snapshot, acknowledgements, and the list of proxies."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any
from unittest.mock import ANY
from urllib.parse import urlsplit

import pytest

from tests.support.api_client import ApiClient
from tests.support.conditions import eventually
from tests.support.endpoint_document import endpoint_document

ACKNOWLEDGEMENT: dict[str, Any] = {
    "version": "0.1.0",
    "activeSnapshot": {"id": "s1", "name": "first"},
    "lastApply": {"snapshotId": "s1", "status": "rejected", "reason": "why", "problems": [], "seconds": 0.5},
    "listeners": [
        {
            "id": "l1",
            "name": "web",
            "address": "0.0.0.0:3000",
            "state": "failed",
            "reason": "in use",
            "bindError": {"reason": "in use", "nextAttempt": "2026-01-01T00:00:30Z"},
            "tls": {
                "loadedAt": "2026-01-01T00:00:00Z",
                "certificates": [
                    {"names": ["a.test"], "notAfter": "2027-01-01T00:00:00Z", "isDefault": True},
                    {"names": ["*.b.test"], "notAfter": "2027-01-01T00:00:00Z", "isDefault": False},
                ],
                "problems": ["tls.certificates[1].key: /k: No such file or directory (left out)"],
            },
        }
    ],
    "workers": [{"slot": 0, "pid": 123, "state": "serving"}],
}


def stage_routes(api: ApiClient, body: str) -> None:
    for name in ("r1", "r2", "r3"):
        api.create("routes", id=name, name=name, directResponse={"status": 200, "body": body})


def proxy(api: ApiClient, id_: str) -> dict[str, Any] | None:
    return next((found for found in api.get("/proxies").json() if found["id"] == id_), None)


def test_the_headers_come_at_once_also_without_an_active_snapshot(api: ApiClient) -> None:
    with api.stream() as events:
        assert events.response.status_code == 200
        expected = {
            "content-type": "text/event-stream",
            "cache-control": "no-cache",
            "connection": "keep-alive",
            "x-accel-buffering": "no",
        }
        assert {name: events.response.headers[name] for name in expected} == expected
        assert events.is_silent()
        snapshot = api.create("snapshots", name="first")
        assert events.is_silent()
        api.activate(snapshot["id"])
        assert events.snapshot() == snapshot


def test_an_event_is_a_name_one_line_of_data_and_a_blank_line(api: ApiClient) -> None:
    api.create("routes", name="r", directResponse={"status": 200, "body": "two\nlines\u2028and\u2029more\x85"})
    snapshot = api.create("snapshots", name="first")
    api.activate(snapshot["id"])
    address = urlsplit(api.url)
    with socket.create_connection((address.hostname or "", address.port or 80), timeout=10) as connection:
        connection.sendall(b"GET /api/v1/sync/snapshot HTTP/1.0\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.partition(b"\r\n\r\n")[2].endswith(b"\n\n"):
            answer += connection.recv(65536)
    event = answer.partition(b"\r\n\r\n")[2]
    assert event == b"event: snapshot\ndata: " + api.get(f"/snapshots/{snapshot['id']}").content.rstrip() + b"\n\n"


def test_a_new_stream_begins_with_the_active_snapshot(api: ApiClient) -> None:
    first, second = api.create("snapshots", name="first"), api.create("snapshots", name="second")
    for active in (first, second, first):
        api.activate(active["id"])
        with api.stream() as events:
            assert events.snapshot() == active


def test_only_activations_make_events(api: ApiClient) -> None:
    first, second = api.create("snapshots", name="first"), api.create("snapshots", name="second")
    api.activate(first["id"])
    with api.stream() as one, api.stream() as other:
        for events in (one, other):
            assert events.snapshot() == first
        third = api.create("snapshots", name="third")
        api.create("routes", name="r", directResponse={"status": 200})
        api.delete(f"/snapshots/{second['id']}")
        for active in (third, third, first):
            api.activate(active["id"])
            for events in (one, other):
                assert events.snapshot() == active
        api.delete(f"/snapshots/{first['id']}")
        assert one.is_silent()
        assert other.is_silent()
    with api.stream() as events:
        assert events.is_silent()


def test_an_activation_right_after_connecting_is_not_lost(api: ApiClient) -> None:
    snapshots = [api.create("snapshots", name=str(number)) for number in range(2)]
    address = urlsplit(api.url)
    for turn in range(20):
        api.activate(snapshots[turn % 2]["id"])
        with socket.create_connection((address.hostname or "", address.port or 80), timeout=10) as connection:
            # The request is under way while the other snapshot is being activated.
            connection.sendall(b"GET /api/v1/sync/snapshot HTTP/1.0\r\nHost: x\r\n\r\n")
            expected = snapshots[(turn + 1) % 2]
            api.activate(expected["id"])
            seen = b""
            while expected["id"].encode() not in seen:
                piece = connection.recv(65536)
                assert piece, seen
                seen += piece


def test_a_snapshot_larger_than_4_mib_arrives(api: ApiClient) -> None:
    stage_routes(api, "é" * (1 << 20))
    snapshot = api.create("snapshots", name="large")
    api.activate(snapshot["id"])
    with api.stream() as events:
        assert events.snapshot() == snapshot


def test_clients_that_do_not_read_hold_up_nobody(api: ApiClient) -> None:
    stage_routes(api, "x" * (4 << 20))
    snapshot = api.create("snapshots", name="large")
    api.activate(snapshot["id"])
    address = urlsplit(api.url)
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            sleeper = stack.enter_context(socket.create_connection((address.hostname or "", address.port or 80)))
            sleeper.sendall(b"GET /api/v1/sync/snapshot HTTP/1.1\r\nHost: x\r\n\r\n")
        events = stack.enter_context(api.stream())
        for _ in range(2):
            assert events.snapshot()["id"] == snapshot["id"]
            api.activate(snapshot["id"])


def test_a_proxy_is_connected_while_its_stream_is_open(api: ApiClient) -> None:
    assert proxy(api, "streaming") is None
    with api.stream(**{"X-Vrata-Proxy": "streaming"}):
        found = eventually(lambda: proxy(api, "streaming"), what="the proxy is listed")
        assert found == {
            "id": "streaming",
            "connected": True,
            "lastSeen": ANY,
            "version": "",
            "activeSnapshot": None,
            "lastApply": None,
            "listeners": [],
            "workers": [],
        }
    # Noticed when the client closes the connection and not only at the next comment.
    started = time.monotonic()
    eventually(lambda: not (proxy(api, "streaming") or {"connected": True})["connected"], what="it is gone")
    assert time.monotonic() - started < 12


def test_an_acknowledgement_is_listed(api: ApiClient) -> None:
    answer = api.put("/sync/proxies/a:proxy@host", ACKNOWLEDGEMENT)
    assert (answer.status_code, answer.content) == (204, b"")
    found = proxy(api, "a:proxy@host")
    assert found is not None
    assert found == ACKNOWLEDGEMENT | {"id": "a:proxy@host", "connected": True, "lastSeen": found["lastSeen"]}
    assert found["lastSeen"].endswith("Z")


def test_the_last_acknowledgement_counts_and_may_come_from_a_newer_proxy(api: ApiClient) -> None:
    api.put("/sync/proxies/changing", ACKNOWLEDGEMENT)
    api.put("/sync/proxies/changing", {"version": "9.9.9", "lastApply": None, "somethingNewer": {"a": 1}})
    found = proxy(api, "changing")
    assert found is not None
    assert found["version"] == "9.9.9"
    assert (found["activeSnapshot"], found["lastApply"], found["workers"]) == (None, None, [])


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, "version: "),
        ([], "the body: "),
        (ACKNOWLEDGEMENT | {"workers": [{"slot": "0", "pid": 1, "state": "serving"}]}, "workers.0.slot: "),
        (ACKNOWLEDGEMENT | {"lastApply": {"snapshotId": "s1", "status": "maybe"}}, "lastApply.status: "),
    ],
)
def test_a_wrong_acknowledgement_is_refused(api: ApiClient, document: Any, problem: str) -> None:
    answer = api.put("/sync/proxies/wrong", document)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(problem)
    assert proxy(api, "wrong") is None


def test_proxies_without_a_usable_id_are_refused(api: ApiClient) -> None:
    assert api.put("/sync/proxies/%20", ACKNOWLEDGEMENT).status_code == 400
    assert api.put(f"/sync/proxies/{'x' * 256}", ACKNOWLEDGEMENT).status_code == 400
    answer = api.http.get("/sync/snapshot", headers={"X-Vrata-Proxy": "a/b"})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("X-Vrata-Proxy: ")


class TestListenerStatus:
    def test_a_listener_is_shown_as_every_proxy_has_it(self, api: ApiClient) -> None:
        api.put("/sync/proxies/has-it", ACKNOWLEDGEMENT)
        # One that runs an older version says less, and another one does not have the listener.
        older = {"id": "l1", "address": "0.0.0.0:3000", "state": "listening"}
        api.put("/sync/proxies/older", {"version": "0", "listeners": [older]})
        api.put("/sync/proxies/without", {"version": "0"})
        answer = api.get("/listeners/l1/status")
        assert answer.status_code == 200
        assert answer.json()["id"] == "l1"
        found = {entry["proxyId"]: entry for entry in answer.json()["proxies"]}
        (said,) = ACKNOWLEDGEMENT["listeners"]
        assert found["has-it"] == {
            "proxyId": "has-it",
            "connected": True,
            "lastSeen": found["has-it"]["lastSeen"],
            "activeSnapshot": ACKNOWLEDGEMENT["activeSnapshot"],
            **{name: value for name, value in said.items() if name not in ("id", "name")},
        }
        assert (found["older"]["state"], found["older"]["bindError"], found["older"]["tls"]) == (
            "listening",
            None,
            None,
        )
        assert (found["without"]["state"], found["without"]["address"]) == ("absent", "")

    def test_one_that_nobody_knows_is_not_found(self, api: ApiClient) -> None:
        answer = api.get("/listeners/nobody/status")
        assert (answer.status_code, answer.json()) == (404, {"error": 'listener "nobody": resource not found'})
        api.create("listeners", id="staged", name="staged", port=3999)
        answer = api.get("/listeners/staged/status")
        assert answer.status_code == 200
        assert {entry["state"] for entry in answer.json()["proxies"]} <= {"absent"}


class TestEndpoints:
    def test_a_destination_is_shown_as_every_proxy_has_it(self, api: ApiClient) -> None:
        sick = {
            "address": "10.0.0.2:80",
            "weight": 3,
            "source": "discovered",
            "health": {"state": "unhealthy", "reason": "status 500", "since": 1767225600, "lastProbe": 1767225610.5},
            "outlier": {"ejected": True, "reason": "5 in a row", "until": 1767225700, "ejections": 2, "heldBack": 1},
            "activeRequests": 4,
            "connections": 5,
            "consecutive5xx": 6,
        }
        reported = {
            "id": "d1",
            "endpoints": [{"address": "10.0.0.1:80"}, sick],
            "panic": "too few",
            "circuitBreaker": {"state": "open", "since": 1767225600, "failures": 5},
            "limits": {"connections": [1, 10], "pending": [2, 20], "requests": [3, 30], "retries": [4, 40]},
            "stale": "no answer",
            "omittedEndpoints": 7,
            "somethingNewer": True,
        }
        api.put("/sync/proxies/has-it", ACKNOWLEDGEMENT | {"destinations": [reported]})
        api.put("/sync/proxies/older", {"version": "0"})
        answer = api.get("/destinations/d1/endpoints")
        assert answer.status_code == 200
        assert answer.json()["id"] == "d1"
        found = {entry["proxyId"]: entry for entry in answer.json()["proxies"]}
        assert found["has-it"] == {
            "proxyId": "has-it",
            "connected": True,
            "lastSeen": found["has-it"]["lastSeen"],
            "acknowledgedAt": found["has-it"]["acknowledgedAt"],
            "activeSnapshot": ACKNOWLEDGEMENT["activeSnapshot"],
            "state": "served",
            "panic": {"active": True, "reason": "too few"},
            "circuitBreaker": {
                "state": "open",
                "since": "2026-01-01T00:00:00.000000Z",
                "consecutiveFailures": 5,
                "limits": {
                    "connections": {"used": 1, "limit": 10},
                    "pending": {"used": 2, "limit": 20},
                    "requests": {"used": 3, "limit": 30},
                    "retries": {"used": 4, "limit": 40},
                },
            },
            "discovery": {"stale": True, "reason": "no answer"},
            "omittedEndpoints": 7,
            "endpoints": [
                endpoint_document("10.0.0.1:80"),
                {
                    "address": "10.0.0.2:80",
                    "weight": 3,
                    "source": "discovered",
                    "available": False,
                    "verdicts": {
                        "health": {
                            "state": "unhealthy",
                            "reason": "status 500",
                            "since": "2026-01-01T00:00:00.000000Z",
                            "lastProbe": "2026-01-01T00:00:10.500000Z",
                        },
                        "outlier": {
                            "ejected": True,
                            "until": "2026-01-01T00:01:40.000000Z",
                            "ejections": 2,
                            "reason": "5 in a row",
                            "heldBack": 1,
                            "heldBackReason": "",
                        },
                    },
                    "activeRequests": 4,
                    "connections": 5,
                    "consecutive5xx": 6,
                },
            ],
        }
        assert (found["older"]["state"], found["older"]["endpoints"], found["older"]["panic"]) == ("absent", [], None)
        # They are shown by destination only: there may be thousands.
        assert "destinations" not in (proxy(api, "has-it") or {"destinations": ()})

    def test_one_that_nobody_knows_is_not_found(self, api: ApiClient) -> None:
        answer = api.get("/destinations/nobody/endpoints")
        assert (answer.status_code, answer.json()) == (404, {"error": 'destination "nobody": resource not found'})
        api.create("destinations", id="staged", name="staged", host="a.test", port=80)
        answer = api.get("/destinations/staged/endpoints")
        assert answer.status_code == 200
        assert {entry["state"] for entry in answer.json()["proxies"]} <= {"absent"}

    @pytest.mark.parametrize("moment", [-1, 1e300, "yesterday"])
    def test_a_time_that_is_none_is_refused(self, api: ApiClient, moment: Any) -> None:
        sick = {"address": "10.0.0.2:80", "health": {"state": "unhealthy", "since": moment}}
        document = ACKNOWLEDGEMENT | {"destinations": [{"id": "d", "endpoints": [sick]}]}
        answer = api.put("/sync/proxies/wrong", document)
        assert answer.status_code == 400
        assert answer.json()["error"].startswith("destinations.0.endpoints.0.health.since: ")
