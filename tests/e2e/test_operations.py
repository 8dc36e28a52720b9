"""Processes: starting, stopping in order, and refusing to start."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from pathlib import Path

import httpx
import pytest

from tests.support.conditions import accepts, eventually
from tests.support.configuration import Configuration
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.ports import free_port
from tests.support.processes import VrataProcess, is_alive
from tests.support.raw_http import Connection, TruncatedResponse
from tests.support.recording_backend import Exchange, RecordingBackend


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_finished_before_the_end(
    tmp_path: Path, backend: RecordingBackend, number: signal.Signals
) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def slowly(exchange: Exchange) -> None:
        arrived.set()
        assert go_on.wait(30)
        exchange.respond(body=b"finished")

    backend.script = slowly
    port = free_port()
    with Gateway(tmp_path) as gateway:
        gateway.configure(
            listeners=[listener(port)],
            destinations=[destination("backend", backend.port)],
            routes=[
                route("slow", {"path": "/slow"}, forward=forward("backend")),
                route("all", directResponse={"status": 200}),
            ],
        )
        children = gateway.process.descendants()
        with Connection(port) as slow, Connection(port) as idle:
            assert idle.exchange("GET", "/").status == 200
            slow.request("GET", "/slow")
            assert arrived.wait(20)
            gateway.process.signal(number)
            assert idle.is_closed_by_peer()
            eventually(lambda: not accepts(port), what="no new connections are accepted")
            assert gateway.process.is_running
            go_on.set()
            response = slow.read_response()
            assert (response.status, response.body) == (200, b"finished")
            assert response["Connection"].lower() == "close"
        assert gateway.process.wait(30) == 0
        eventually(lambda: not any(is_alive(pid) for pid in children), what="its children have ended")


def test_a_request_that_does_not_end_is_cut_when_the_drain_time_is_over(
    tmp_path: Path, backend: RecordingBackend
) -> None:
    arrived, over = threading.Event(), threading.Event()

    def never(exchange: Exchange) -> None:
        arrived.set()
        over.wait(60)

    backend.script = never
    port = free_port()
    with Gateway(tmp_path, proxy={"drainTimeout": "500ms"}) as gateway:
        gateway.configure(
            listeners=[listener(port)],
            destinations=[destination("backend", backend.port)],
            routes=[route("all", forward=forward("backend"))],
        )
        with Connection(port) as client:
            client.request("GET", "/")
            assert arrived.wait(20)
            gateway.process.signal(signal.SIGTERM)
            # Nothing whole may come.
            assert not client.read_to_end().startswith(b"HTTP/1.1 200")
        over.set()
        assert gateway.process.wait(20) == 0


def test_a_second_start_serves_what_was_active(tmp_path: Path) -> None:
    port = free_port()
    with Gateway(tmp_path) as gateway:
        gateway.configure(
            listeners=[listener(port)], routes=[route("all", directResponse={"status": 200, "body": "kept"})]
        )
        assert gateway.process.terminate(40) == 0
        gateway.start()
        eventually(lambda: accepts(port), what="the listener is back")
        with Connection(port) as client:
            assert client.exchange("GET", "/").body == b"kept"
        assert [found["name"] for found in gateway.call("GET", "/routes")] == ["all"]


def test_requests_in_other_workers_are_not_harmed_by_the_death_of_one(
    gateway: Gateway, port: int, backend: RecordingBackend
) -> None:
    go_on = threading.Event()

    def slowly(exchange: Exchange) -> None:
        assert go_on.wait(30)
        exchange.respond(body=b"done")

    backend.script = slowly
    gateway.configure(
        listeners=[listener(port)],
        destinations=[destination("backend", backend.port)],
        routes=[route("all", forward=forward("backend"))],
    )
    with contextlib.ExitStack() as connections:
        clients = [connections.enter_context(Connection(port)) for _ in range(20)]
        for client in clients:
            client.request("GET", "/")
        eventually(lambda: len(backend.requests) == 20, what="all requests are at the backend")
        victim = gateway.proxies()[0]["workers"][0]["pid"]
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: not is_alive(victim), what="the worker is dead")
        go_on.set()
        finished = 0
        for client in clients:
            with contextlib.suppress(TruncatedResponse):
                finished += client.read_response().body == b"done"
    # That all twenty connections went to one of the two workers has a chance of one in half a million.
    assert 0 < finished < 20


class TestRefusingToStart:
    """Exit code 2 and one clear message."""

    def refused(self, *arguments: str, directory: Path) -> str:
        process = VrataProcess(*arguments, directory=directory)
        with process:
            assert process.wait(20) == 2, process.text()
        text = process.text()
        assert "Traceback" not in text
        return text

    def with_document(self, tmp_path: Path, text: str, command: str = "serve") -> str:
        path = tmp_path / "config.yaml"
        path.write_text(text, encoding="utf-8")
        message = self.refused(command, "--config", str(path), directory=tmp_path)
        assert "config.yaml" in message
        return message

    def test_a_file_that_is_missing(self, tmp_path: Path) -> None:
        assert "absent.yaml" in self.refused("serve", "--config", "absent.yaml", directory=tmp_path)

    def test_a_file_that_is_no_yaml(self, tmp_path: Path) -> None:
        self.with_document(tmp_path, "controlPlane: [unclosed")

    @pytest.mark.parametrize(
        ("text", "part"),
        [
            ("controlPlanet: {}\n", "controlPlanet"),
            ("controlPlane: {adress: ':1'}\n", "controlPlane.adress"),
            ("controlPlane: {address: 'nowhere'}\n", "controlPlane.address"),
            ("proxy: {reconnectInterval: soon}\n", "proxy.reconnectInterval"),
            ("proxy: {workers: many}\n", "proxy.workers"),
            ("proxy: {workers: -1}\n", "proxy.workers"),
            ("mode: neither\n", 'unknown mode "neither"'),
            ("controlPlane: {encryption: {key: '%%%'}}\n", "controlPlane.encryption.key"),
            ("controlPlane: {auth: {apiKeys: [{name: a}]}}\n", "controlPlane.auth.apiKeys[0].key is required"),
            ("controlPlane: {tls: {cert: c.pem}}\n", "controlPlane.tls"),
            ("sessionStore: {type: redis, redis: {db: -1}}\n", "sessionStore.redis.db"),
        ],
    )
    def test_a_key_that_is_wrong(self, tmp_path: Path, text: str, part: str) -> None:
        assert part in self.with_document(tmp_path, text)

    def test_a_proxy_without_a_control_plane(self, tmp_path: Path) -> None:
        message = self.with_document(tmp_path, "mode: proxy\n", "proxy")
        assert "proxy.controlPlaneUrl" in message

    @pytest.mark.parametrize("command", ["serve", "controlplane"])
    def test_an_api_port_that_is_taken(self, tmp_path: Path, command: str) -> None:
        configuration = Configuration(tmp_path)
        with socket.create_server(("127.0.0.1", configuration.api_port)):
            message = self.refused(command, *configuration.arguments, directory=tmp_path)
        assert str(configuration.api_port) in message

    def test_an_admin_port_that_is_taken(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            configuration = Configuration(tmp_path, proxy={"admin": {"address": address}})
            message = self.refused("serve", *configuration.arguments, directory=tmp_path)
        assert f"vrata: proxy.admin.address: cannot listen on {address}: Address already in use" in message

    def test_a_data_directory_that_cannot_be_one(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way", encoding="utf-8")
        configuration = Configuration(tmp_path, controlPlane={"storePath": str(tmp_path / "file" / "data")})
        assert str(tmp_path / "file") in self.refused("controlplane", *configuration.arguments, directory=tmp_path)

    def test_a_store_that_is_no_database(self, tmp_path: Path) -> None:
        configuration = Configuration(tmp_path)
        store = tmp_path / "store"
        store.mkdir()
        (store / "vrata.db").write_bytes(b"this is no database" * 1000)
        assert "vrata.db" in self.refused("controlplane", *configuration.arguments, directory=tmp_path)
        assert (store / "vrata.db").read_bytes().startswith(b"this is no database")

    def test_an_unknown_command_or_option(self, tmp_path: Path) -> None:
        self.refused("serves", directory=tmp_path)
        self.refused("serve", "--confik", "x", directory=tmp_path)


def test_the_version(tmp_path: Path) -> None:
    process = VrataProcess("--version", directory=tmp_path)
    with process:
        assert process.wait(20) == 0
    assert "0.1.0" in process.text()
    # Which modules are compiled, and which run as they stand.
    assert "vrata.wire.http1.head interpreted" in process.text() or "compiled" in process.text()


def test_a_control_plane_and_a_proxy_as_separate_processes(tmp_path: Path) -> None:
    for name in ("control-plane", "proxy"):
        (tmp_path / name).mkdir()
    control_plane = Configuration(
        tmp_path / "control-plane", controlPlane={"auth": {"apiKeys": [{"name": "p", "key": "k1"}]}}
    )
    proxy = Configuration(
        tmp_path / "proxy",
        proxy={"controlPlaneUrl": control_plane.api_url + "/", "apiKey": "k1", "statePath": str(tmp_path / "state")},
    )
    proxy.document["mode"] = "proxy"  # type: ignore[assignment]
    proxy.write()
    port = free_port()
    with (
        VrataProcess("controlplane", *control_plane.arguments, directory=tmp_path),
        VrataProcess("proxy", *proxy.arguments, directory=tmp_path) as proxy_process,
        httpx.Client(base_url=f"{control_plane.api_url}/api/v1", headers={"Authorization": "Bearer k1"}) as api,
    ):
        eventually(lambda: _connected(api), 30, what="the proxy is connected")
        assert httpx.get(f"{control_plane.api_url}/api/v1/routes").status_code == 401
        api.post("/listeners", json=listener(port)).raise_for_status()
        api.post("/routes", json=route("all", directResponse={"status": 200, "body": "hi"})).raise_for_status()
        snapshot = api.post("/snapshots", json={"name": "one"}).raise_for_status().json()
        api.post(f"/snapshots/{snapshot['id']}/activate").raise_for_status()
        eventually(lambda: accepts(port), what="the listener is there")
        with Connection(port) as client:
            assert client.exchange("GET", "/").body == b"hi"
        assert proxy_process.terminate() == 0


def _connected(api: httpx.Client) -> bool:
    try:
        return any(proxy["connected"] for proxy in api.get("/proxies").raise_for_status().json())
    except httpx.TransportError:
        return False
