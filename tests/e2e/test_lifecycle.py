"""Processes that die, come back, are replaced and stop, while traffic goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from tests.support.certificates import Authority
from tests.support.conditions import accepts, eventually
from tests.support.configuration import Configuration
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.load import Load
from tests.support.ports import free_port
from tests.support.processes import VrataProcess, command_line, is_alive
from tests.support.raw_http import Connection, fetch


def answer(body: str) -> Document:
    return route("all", directResponse={"status": 200, "body": body})


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """One for most of these tests: whatever they kill comes back."""
    with Gateway(tmp_path_factory.mktemp("lifecycle")) as running:
        yield running


@pytest.fixture
def port(gateway: Gateway) -> int:
    """A listener that answers "one"."""
    port = free_port()
    gateway.configure(listeners=[listener(port)], routes=[answer("one")])
    return port


def workers(gateway: Gateway) -> list[int]:
    """Ids of the serving workers, all of them."""

    def serving() -> list[int]:
        found = gateway.proxies()[0]["workers"]
        pids = [worker["pid"] for worker in found if worker["state"] == "serving"]
        return pids if len(pids) == len(found) == 2 else []

    return eventually(serving, what="two workers serve")


def child(gateway: Gateway, command: str) -> int:
    """Id of the program that runs *command*."""
    return eventually(
        lambda: next((pid for pid in gateway.process.descendants(f"-m vrata {command}")), 0), what=f"{command} runs"
    )


def owner(connection: Connection, pids: list[int]) -> int:
    """Which of the processes holds the other end of *connection*."""
    return next(pid for pid in pids if _local_ports(pid, connection.sock.getsockname()[1]))


def _local_ports(pid: int, peer_port: int) -> bool:
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            inodes.add(os.readlink(entry))
        except OSError:
            continue
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[2].rpartition(":")[2], 16) == peer_port and f"socket:[{fields[9]}]" in inodes:
            return True
    return False


class TestKilledWorker:
    def test_it_is_replaced_at_once_and_the_others_do_not_notice(self, gateway: Gateway, port: int) -> None:
        pids = workers(gateway)
        with Connection(port) as other:
            assert other.exchange("GET", "/").status == 200
            victim = next(pid for pid in pids if pid != owner(other, pids))
            began = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            replaced = eventually(lambda: victim not in workers(gateway), what="replaced")
            assert replaced
            assert time.monotonic() - began < 10
            assert other.exchange("GET", "/").status == 200
        with Load(port, reconnect=True) as load:
            load.more(100)
        assert load.failures == []

    def test_connections_that_wait_for_it_are_answered_by_its_successor(self, gateway: Gateway, port: int) -> None:
        pids = workers(gateway)
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        connections = [Connection(port) for _ in range(20)]
        for connection in connections:
            connection.request("GET", "/")
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for connection in connections:
            with connection:
                assert connection.read_response().body == b"one"

    def test_a_worker_asked_to_end_loses_no_request(self, gateway: Gateway, port: int) -> None:
        before = workers(gateway)
        with Load(port) as load:
            load.more()
            os.kill(before[0], signal.SIGTERM)
            eventually(lambda: before[0] not in workers(gateway), what="replaced")
            load.more()
        assert load.failures == []


class TestKilledControlPlane:
    def test_traffic_goes_on_and_it_comes_back(self, gateway: Gateway, port: int) -> None:
        pids = workers(gateway)
        victim = child(gateway, "controlplane")
        with Load(port) as load:
            load.more()
            os.kill(victim, signal.SIGKILL)
            load.more(200)
            eventually(lambda: child(gateway, "controlplane") != victim, what="started again")
            eventually(gateway._is_up, what="it answers, and the proxy is connected")
            load.more()
            gateway.configure(listeners=[listener(port)], routes=[answer("two")])
            load.more()
        assert load.failures == []
        assert fetch(port).body == b"two"
        assert workers(gateway) == pids


class TestKilledProxy:
    def test_it_comes_back_with_its_last_snapshot_while_the_control_plane_is_away(self, tmp_path: Path) -> None:
        port = free_port()
        with Gateway(tmp_path) as gateway:
            gateway.configure(listeners=[listener(port)], routes=[answer("kept")])
            document = dict(gateway.configuration.document)
            assert gateway.process.terminate() == 0
        document["proxy"] = {**document["proxy"], "controlPlaneUrl": gateway.configuration.api_url}
        path = tmp_path / "proxy.yaml"
        path.write_text(yaml.safe_dump(document))
        with VrataProcess("proxy", "--config", str(path), directory=tmp_path) as proxy:
            eventually(lambda: accepts(port), what="it serves without a control plane")
            assert fetch(port).body == b"kept"
            orphans = proxy.descendants()
            proxy.kill()
            proxy.start()
            eventually(lambda: accepts(port), what="it serves again")
            assert fetch(port).body == b"kept"
            eventually(lambda: not any(is_alive(pid) for pid in orphans), what="the workers of the dead one have ended")
            # What it serves is its own by now, not that of orphans, which may have held the port until its next try.
            eventually(lambda: accepts(port), what="it serves by itself")
            assert fetch(port).body == b"kept"
            assert proxy.terminate() == 0

    def test_the_launcher_starts_it_again(self, gateway: Gateway, port: int) -> None:
        victim = child(gateway, "proxy")
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: child(gateway, "proxy") != victim, what="started again")
        eventually(lambda: accepts(port), what="it serves again")
        assert fetch(port).body == b"one"
        gateway.configure(listeners=[listener(port)], routes=[answer("two")])
        assert fetch(port).body == b"two"

    def test_a_damaged_cache_is_one_warning_and_the_control_plane_helps(self, gateway: Gateway, port: int) -> None:
        cache = Path(gateway.configuration.document["controlPlane"]["storePath"]) / "proxy" / "snapshot.json"
        active = gateway.proxies()[0]["activeSnapshot"]["id"]
        eventually(lambda: cache.exists() and json.loads(cache.read_bytes())["id"] == active, what="it is on disk")
        assert cache.stat().st_mode & 0o777 == 0o600
        gateway.process.terminate(40)
        cache.write_bytes(cache.read_bytes()[:-20])
        gateway.start()
        eventually(lambda: accepts(port), what="it serves again")
        assert fetch(port).body == b"one"
        assert gateway.process.text().count("the cached snapshot is damaged") == 1


class TestRejectedSnapshot:
    def test_the_last_good_one_goes_on_and_the_reason_is_known(self, tmp_path: Path) -> None:
        # No control plane makes such a document, so a cache file has to.
        port, other = free_port(), free_port()
        state = tmp_path / "state"
        state.mkdir()
        document = {"id": "odd", "name": "odd", "snapshot": {"listeners": 1}}
        (state / "snapshot.json").write_text(json.dumps(document))
        path = tmp_path / "proxy.yaml"
        path.write_text(
            yaml.safe_dump({"proxy": {"controlPlaneUrl": f"http://127.0.0.1:{other}", "statePath": str(state)}})
        )
        with VrataProcess("proxy", "--config", str(path), directory=tmp_path) as proxy:
            text = proxy.wait_for_text("worker serves")
            assert "snapshot.listeners: must be an array" in text
            assert not accepts(port)
            assert proxy.terminate() == 0


class TestRollingReplacement:
    @pytest.mark.parametrize("reconnect", [False, True], ids=["kept connections", "new connections"])
    def test_no_request_is_lost(self, gateway: Gateway, port: int, reconnect: bool) -> None:
        before = set(workers(gateway))
        with Load(port, reconnect=reconnect) as load:
            load.more()
            os.kill(child(gateway, "proxy"), signal.SIGHUP)
            eventually(lambda: not before & set(workers(gateway)), what="all workers are replaced")
            load.more()
        assert load.failures == []

    def test_the_launcher_passes_the_signal_on(self, gateway: Gateway, port: int) -> None:
        before = set(workers(gateway))
        gateway.process.signal(signal.SIGHUP)
        eventually(lambda: not before & set(workers(gateway)), what="all workers are replaced")
        assert fetch(port).status == 200


class TestListeners:
    def test_a_port_in_use_is_acknowledged_and_taken_once_it_is_free(self, gateway: Gateway, port: int) -> None:
        def states() -> dict[str, tuple[str, str]]:
            return {found["id"]: (found["state"], found["reason"]) for found in gateway.proxies()[0]["listeners"]}

        taken = free_port()
        # Shareable, so that without a check the proxy would share it.
        with socket.create_server(("127.0.0.1", taken), reuse_port=True):
            gateway.configure(listeners=[listener(port), listener(taken, "taken")], routes=[answer("both")])
            assert states() == {"main": ("listening", ""), "taken": ("failed", "Address already in use")}
            assert fetch(port).body == b"both"
        eventually(lambda: states()["taken"] == ("listening", ""), what="bound")
        assert fetch(taken).body == b"both"


class TestSecuredControlPlane:
    def test_serve_connects_its_proxy_by_key_and_mutual_tls(self, tmp_path: Path) -> None:
        authority = Authority("authority")
        server, client = authority.issue("gateway.example"), authority.issue("client.example")
        configuration = Configuration(
            tmp_path,
            controlPlane={
                "auth": {"apiKeys": [{"name": "all", "key": "s3cret"}]},
                "tls": {
                    "cert": server.cert_text,
                    "key": server.key_text,
                    "ca": authority.cert_text,
                    "clientAuth": "require",
                },
            },
            proxy={"tls": {"cert": client.cert_text, "key": client.key_text}},
        )
        port = free_port()
        url = f"https://127.0.0.1:{configuration.api_port}/api/v1"
        context = ssl.create_default_context(cadata=authority.cert_text)
        context.check_hostname = False
        context.load_cert_chain(client.cert_file(tmp_path / "c.pem"), client.key_file(tmp_path / "c.key"))
        with (
            VrataProcess("serve", *configuration.arguments, directory=tmp_path) as serve,
            httpx.Client(base_url=url, verify=context, headers={"Authorization": "Bearer s3cret"}) as api,
        ):
            serve.wait_for_text("connected to the control plane")
            assert not any("s3cret" in command_line(pid) for pid in (serve.pid, *serve.descendants()))
            api.post("/listeners", json=listener(port)).raise_for_status()
            api.post("/routes", json=answer("secured")).raise_for_status()
            snapshot = api.post("/snapshots", json={"name": "one"}).raise_for_status().json()
            api.post(f"/snapshots/{snapshot['id']}/activate").raise_for_status()
            eventually(lambda: accepts(port), what="the listener is there")
            assert fetch(port).body == b"secured"
            eventually(lambda: api.get("/proxies").json()[0]["activeSnapshot"], what="acknowledged")
            assert serve.terminate(40) == 0


class TestStopping:
    @pytest.fixture
    def gateway(self, tmp_path: Path) -> Iterator[Gateway]:
        """One for each test: it does not survive."""
        with Gateway(tmp_path) as running:
            yield running

    def test_a_second_signal_ends_everything_at_once(self, gateway: Gateway, port: int) -> None:
        pids = gateway.process.descendants()
        with socket.create_server(("127.0.0.1", 0)) as silent, Connection(port) as client:
            gateway.configure(
                listeners=[listener(port)],
                destinations=[destination("silent", silent.getsockname()[1])],
                routes=[route("all", forward=forward("silent"))],
            )
            client.request("GET", "/")
            silent.settimeout(20)
            with silent.accept()[0]:
                gateway.process.signal(signal.SIGTERM)
                gateway.process.wait_for_text("draining")
                gateway.process.signal(signal.SIGTERM)
                assert gateway.process.wait(5) == 128 + signal.SIGTERM
        eventually(lambda: not any(is_alive(pid) for pid in pids), what="nothing is left")

    def test_nothing_outlives_a_killed_launcher(self, gateway: Gateway, port: int) -> None:
        pids = gateway.process.descendants()
        assert len(pids) >= 6
        gateway.process.kill()
        eventually(lambda: not any(is_alive(pid) for pid in pids), what="everything drained and ended")
        assert not accepts(port)


class TestDemo:
    def test_it_starts_answers_and_starts_again(self, tmp_path: Path) -> None:
        ports = [free_port() for _ in range(4)]
        api, gateway, *_ = ports
        with self.demo(tmp_path, ports) as demo:
            text = demo.wait_for_text("Ctrl-C ends it", 60)
            commands = [line.strip().split() for line in text.splitlines() if line.strip().startswith("curl ")]
            assert len(commands) == 3
            for command, url in commands:
                assert command == "curl"
                assert httpx.get(url).status_code == 200
            backends = {httpx.get(f"http://127.0.0.1:{gateway}/x").json()["backend"] for _ in range(60)}
            assert backends == {"blue", "green"}
            assert len(httpx.get(f"http://127.0.0.1:{gateway}/bytes/100000").content) == 100_000
            assert httpx.get(f"http://127.0.0.1:{gateway}/docs").status_code == 302
            httpx.delete(f"http://127.0.0.1:{api}/api/v1/routes/demo-docs").raise_for_status()
            url = f"http://127.0.0.1:{api}/api/v1/snapshots"
            without = httpx.post(url, json={"name": "without"}).raise_for_status().json()["id"]
            httpx.post(f"{url}/{without}/activate").raise_for_status()
            assert demo.terminate(40) == 0
        # Other ports for all but the API: the second start corrects what is stored, and nothing else.
        gateway, blue, green = (free_port() for _ in range(3))
        with self.demo(tmp_path, [api, gateway, blue, green]) as demo:
            demo.wait_for_text("Ctrl-C ends it", 60, times=2)
            answer = httpx.post(f"http://127.0.0.1:{gateway}/echo?a=b", content=b"12345").json()
            assert (answer["method"], answer["path"], answer["query"], answer["bodyBytes"]) == (
                "POST",
                "/echo",
                "a=b",
                5,
            )
            snapshots = httpx.get(f"http://127.0.0.1:{api}/api/v1/snapshots").json()
            assert len(snapshots) == 3
            assert httpx.get(f"http://127.0.0.1:{api}/api/v1/routes/demo-docs").status_code == 404
            demo.signal(signal.SIGINT)
            assert demo.wait(40) == 0
        # With nothing to correct, nothing is created.
        with self.demo(tmp_path, [api, gateway, blue, green]) as demo:
            demo.wait_for_text("Ctrl-C ends it", 60, times=3)
            assert len(httpx.get(f"http://127.0.0.1:{api}/api/v1/snapshots").json()) == 3
            httpx.delete(f"http://127.0.0.1:{api}/api/v1/routes/demo-hello").raise_for_status()
            assert demo.terminate(40) == 0
        # What is staged meanwhile is not activated along with a port.
        with self.demo(tmp_path, [api, free_port(), blue, green]) as demo:
            demo.wait_for_text("goes on as it is", 60)
            assert len(httpx.get(f"http://127.0.0.1:{api}/api/v1/snapshots").json()) == 3
            eventually(lambda: accepts(gateway), what="the listener that is active")
            assert httpx.get(f"http://127.0.0.1:{gateway}/hello").text == "Hello from Vrata\n"
            assert demo.terminate(40) == 0

    def demo(self, directory: Path, ports: list[int]) -> VrataProcess:
        text = ",".join(map(str, ports))
        return VrataProcess("serve", "--demo", "--demo-ports", text, directory=directory, name="demo")
