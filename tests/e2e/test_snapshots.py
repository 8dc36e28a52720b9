"""The life of a change: staged, captured, activated, acting, rolled back."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.raw_http import Connection, fetch
from tests.support.recording_backend import Exchange, RecordingBackend


def answering(text: str) -> Document:
    return route("greeting", {"path": "/greeting"}, directResponse={"status": 200, "body": text})


@pytest.fixture
def first(gateway: Gateway, port: int) -> str:
    """The id of an active snapshot whose only route answers ``first``."""
    return gateway.configure(listeners=[listener(port)], routes=[answering("first")])


def test_staging_changes_nothing(gateway: Gateway, port: int, first: str) -> None:
    gateway.call("PUT", "/routes/greeting", answering("second"))
    gateway.call("POST", "/routes", route("added", {"path": "/added"}, directResponse={"status": 200}))
    gateway.call("DELETE", "/listeners/main")
    snapshot = gateway.capture("not activated")
    assert fetch(port, "/greeting").body == b"first"
    assert fetch(port, "/added").status == 404
    assert gateway.call("GET", "/debug/config")["routes"][1]["directResponse"]["body"] == "second"
    active = {found["id"]: found["active"] for found in gateway.call("GET", "/snapshots")}
    assert active[first] is True
    assert active[snapshot] is False


def test_activation_acts_and_rolls_back(gateway: Gateway, port: int, first: str) -> None:
    gateway.call("PUT", "/routes/greeting", answering("second"))
    second = gateway.capture()
    gateway.activate(second)
    assert fetch(port, "/greeting").body == b"second"
    gateway.activate(first)
    assert fetch(port, "/greeting").body == b"first"
    gateway.activate(second)
    assert fetch(port, "/greeting").body == b"second"
    # What is staged is not touched by a rollback.
    gateway.activate(first)
    assert gateway.call("GET", "/routes/greeting")["directResponse"]["body"] == "second"


def test_every_worker_acts_when_the_activation_is_acknowledged(gateway: Gateway, port: int, first: str) -> None:
    gateway.call("PUT", "/routes/greeting", answering("second"))
    second = gateway.capture()
    for _ in range(5):
        gateway.activate(second)
        # New connections are spread over the workers by the kernel.
        assert {fetch(port, "/greeting").body for _ in range(30)} == {b"second"}
        gateway.activate(first)
        assert {fetch(port, "/greeting").body for _ in range(30)} == {b"first"}


def test_deleting_the_active_snapshot_leaves_it_acting(gateway: Gateway, port: int, first: str) -> None:
    gateway.call("DELETE", f"/snapshots/{first}")
    assert fetch(port, "/greeting").body == b"first"
    assert not any(found["active"] for found in gateway.call("GET", "/snapshots"))


def test_a_request_in_flight_ends_on_the_snapshot_it_began_with(
    gateway: Gateway, port: int, backend: RecordingBackend, other: RecordingBackend
) -> None:
    go_on = threading.Event()

    def slowly(exchange: Exchange) -> None:
        exchange.send_head(200, [("Content-Length", "10")])
        exchange.send(b"begin")
        assert go_on.wait(20)
        exchange.send(b"-end!")

    backend.script = slowly
    gateway.configure(
        listeners=[listener(port)],
        destinations=[destination("backend", backend.port)],
        routes=[route("all", forward=forward("backend"))],
    )
    with Connection(port) as client:
        client.request("GET", "/")
        assert client.read_head()[0] == 200
        gateway.configure(
            listeners=[listener(port)],
            destinations=[destination("other", other.port)],
            routes=[route("all", forward=forward("other"))],
        )
        # The same listener, a new plan: new requests go elsewhere, the running one goes on.
        assert b'"other"' in fetch(port).body
        go_on.set()
        assert client.read_exactly(10) == b"begin-end!"
        assert b'"other"' in client.exchange("GET", "/").body


def test_upstream_connections_survive_a_swap(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    entities = {"listeners": [listener(port)], "destinations": [destination("backend", backend.port)]}
    gateway.configure(**entities, routes=[route("all", forward=forward("backend"))])
    with Connection(port) as client:
        client.exchange("GET", "/")
        for number in range(5):
            gateway.configure(
                **entities,
                routes=[
                    route("all", forward=forward("backend")),
                    route(f"new-{number}", directResponse={"status": 200}),
                ],
            )
            client.exchange("GET", "/")
    assert len({seen.connection for seen in backend.requests}) == 1


class TestWhatIsRefused:
    """A snapshot that this build would not act on in full is not created, and the active one goes on."""

    @pytest.fixture(autouse=True)
    def _active(self, gateway: Gateway, port: int, first: str) -> Iterator[None]:
        yield
        assert fetch(port, "/greeting").body == b"first"

    def refused(self, gateway: Gateway, collection: str, document: Document) -> str:
        gateway.call("POST", f"/{collection}", document)
        response = gateway.api.post("/snapshots", json={"name": "refused"})
        assert response.status_code == 400, response.text
        error: str = response.json()["error"]
        return error

    @pytest.mark.parametrize(
        ("options", "path"),
        [
            ({"discovery": {"type": "kubernetes"}}, "options.discovery.type"),
        ],
    )
    def test_an_option_of_a_destination(self, gateway: Gateway, options: Document, path: str) -> None:
        error = self.refused(gateway, "destinations", destination("fancy", 80, **options))
        assert "fancy" in error
        assert path in error

    def test_a_route_with_a_middleware_that_does_not_exist(self, gateway: Gateway) -> None:
        document = route("fancy", directResponse={"status": 200}) | {"middlewareIds": ["gone"]}
        assert 'middlewareIds[0]: middleware "gone" does not exist' in self.refused(gateway, "routes", document)

    def test_a_listener_with_buckets_for_a_histogram_that_does_not_exist(self, gateway: Gateway) -> None:
        metrics = {"histograms": {"sizeBuckets": [1, 2]}}
        assert "sizeBuckets" in self.refused(gateway, "listeners", listener(9999, "fancy", metrics=metrics))

    def test_two_listeners_on_one_address(self, gateway: Gateway, port: int) -> None:
        assert "main" in self.refused(gateway, "listeners", listener(port, "twin"))


class TestProxies:
    def test_the_proxy_says_what_it_acts_on(self, gateway: Gateway, port: int, first: str) -> None:
        (proxy,) = gateway.proxies()
        assert proxy["connected"] is True
        assert proxy["activeSnapshot"]["id"] == first
        assert proxy["lastApply"]["snapshotId"] == first
        assert proxy["lastApply"]["status"] == "applied"
        assert proxy["lastApply"]["problems"] == []
        assert [found["address"] for found in proxy["listeners"]] == [f"127.0.0.1:{port}"]
        assert [found["state"] for found in proxy["listeners"]] == ["listening"]
        assert [found["slot"] for found in proxy["workers"]] == [0, 1]
        assert {found["state"] for found in proxy["workers"]} == {"serving"}

    def test_a_listener_that_cannot_be_bound_is_told(
        self, gateway: Gateway, port: int, backend: RecordingBackend
    ) -> None:
        gateway.configure(listeners=[listener(port), listener(backend.port, "taken")], routes=[answering("first")])
        (proxy,) = gateway.proxies()
        states = {found["id"]: (found["state"], found["reason"]) for found in proxy["listeners"]}
        assert states["main"][0] == "listening"
        assert states["taken"][0] == "failed"
        assert states["taken"][1]
        assert fetch(port, "/greeting").body == b"first"
