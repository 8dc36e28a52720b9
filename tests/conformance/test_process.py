"""The control plane as a process: start, refusals, stop, crash, TLS."""

from __future__ import annotations

import base64
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.conformance.control_plane import control_plane
from tests.support.api_client import ApiClient
from tests.support.certificates import Authority
from tests.support.conditions import accepts, eventually
from tests.support.configuration import Configuration

KEY = base64.b64encode(bytes(range(32))).decode()
OTHER_KEY = base64.b64encode(bytes(range(1, 33))).decode()


def messages_of_refused_starts(*configurations: Configuration) -> list[str]:
    """What control planes say that exit with 2, started at the same time: exactly one line each."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "vrata", "controlplane", *configuration.arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for configuration in configurations
    ]
    messages = []
    for process in processes:
        with process:
            try:
                _, said = process.communicate(timeout=100)
            finally:
                process.kill()
            assert process.returncode == 2, said
            (line,) = said.splitlines()
            messages.append(line)
    return messages


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_in_order_although_streams_are_open(tmp_path: Path, number: signal.Signals) -> None:
    configuration = Configuration(tmp_path)
    with control_plane(configuration) as process, ApiClient(configuration.api_url) as api, api.stream() as events:
        assert events.is_silent(0.05)
        started = time.monotonic()
        process.signal(number)
        assert process.wait() == 0
        assert time.monotonic() - started < 20
        assert events.block() is None
        assert "Traceback" not in process.text()


def test_it_stops_when_the_one_who_started_it_is_gone(tmp_path: Path) -> None:
    configuration = Configuration(tmp_path)
    ours, theirs = os.pipe()
    os.set_inheritable(ours, True)
    with subprocess.Popen(
        [sys.executable, "-m", "vrata", "controlplane", *configuration.arguments],
        env={**os.environ, "VRATA_LIFELINE_FD": str(ours)},
        pass_fds=[ours],
        stdout=subprocess.DEVNULL,
    ) as process:
        os.close(ours)
        eventually(lambda: accepts(configuration.api_port), what="the API listens")
        assert process.poll() is None
        os.close(theirs)
        assert process.wait(10) == 0


def test_everything_is_there_after_a_restart_and_after_a_kill(tmp_path: Path) -> None:
    configuration = Configuration(tmp_path, controlPlane={"encryption": {"key": KEY}})
    with control_plane(configuration) as process, ApiClient(configuration.api_url) as api:
        route = api.create("routes", id="r1", name="r", directResponse={"status": 200})
        api.create("secrets", id="s1", name="s", value="hidden")
        snapshot = api.create("snapshots", name="first")
        api.activate(snapshot["id"])
        process.terminate()
    with control_plane(configuration) as process, ApiClient(configuration.api_url) as api:
        assert api.get("/routes/r1").json() == route
        api.delete("/routes/r1")
        process.kill()
    with control_plane(configuration) as process, ApiClient(configuration.api_url) as api:
        assert api.get("/routes").json() == []
        assert api.get("/secrets/s1").json()["value"] == "hidden"
        with api.stream() as events:
            assert events.snapshot() == snapshot


def test_a_start_that_cannot_succeed_says_why_in_one_line(tmp_path: Path) -> None:
    def configuration(name: str, key: str | None = None) -> Configuration:
        (tmp_path / name).mkdir(exist_ok=True)
        overrides = {} if key is None else {"encryption": {"key": key}}
        return Configuration(tmp_path / name, controlPlane=overrides)

    port_taken = configuration("port")
    damaged = configuration("damaged")
    (tmp_path / "damaged" / "store").mkdir()
    (tmp_path / "damaged" / "store" / "vrata.db").write_bytes(b"damaged" * 1000)
    unwritable = configuration("unwritable")
    (tmp_path / "unwritable" / "store").touch()
    store = "vrata: store {}/store/vrata.db: ".format
    with (
        socket.create_server(("127.0.0.1", port_taken.api_port)),
        control_plane(configuration("used", KEY)),
    ):
        assert messages_of_refused_starts(port_taken, damaged, unwritable, configuration("used", KEY)) == [
            f"vrata: cannot listen on 127.0.0.1:{port_taken.api_port}: Address already in use",
            store(tmp_path / "damaged") + "is not a SQLite database, or its start is damaged",
            store(tmp_path / "unwritable") + "its directory cannot be created: File exists",
            store(tmp_path / "used") + "is in use by another process",
        ]
    assert messages_of_refused_starts(configuration("used", OTHER_KEY)) == [
        store(tmp_path / "used") + "controlPlane.encryption.key is not the key this data was encrypted with"
    ]


def test_tls_with_client_certificates(tmp_path: Path) -> None:
    authority = Authority("test authority")
    server, client = authority.issue("127.0.0.1"), authority.issue("a client")
    tls = {
        "cert": str(server.cert_file(tmp_path / "server.pem")),
        "key": server.key_text,
        "ca": authority.cert_text,
        "clientAuth": "require",
    }
    configuration = Configuration(tmp_path, controlPlane={"tls": tls})
    url = configuration.api_url.replace("http:", "https:") + "/api/v1/routes"
    with control_plane(configuration):
        anonymous = ssl.create_default_context(cadata=authority.cert_text)
        with pytest.raises(httpx.TransportError):
            httpx.get(url, verify=anonymous)
        known = ssl.create_default_context(cadata=authority.cert_text)
        known.load_cert_chain(client.cert_file(tmp_path / "c.pem"), client.key_file(tmp_path / "c.key"))
        assert httpx.get(url, verify=known).json() == []
        with pytest.raises(httpx.TransportError):
            httpx.get(url.replace("https:", "http:"))


def test_a_deadline_for_the_head_of_a_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The deadline is made short in the child, so that the test need not last as long.
    program = (
        "import sys; from vrata.net import http_server; http_server.HEADER_SECONDS = 0.3\n"
        "from vrata.__main__ import main; main()"
    )
    configuration = Configuration(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", program, "controlplane", *configuration.arguments], stdout=subprocess.DEVNULL
    ) as process:
        eventually(lambda: accepts(configuration.api_port), what="the API listens")
        for sent in (b"", b"GET /api/v1/routes HTTP/1.1\r\nHost: x\r\n"):
            with socket.create_connection(("127.0.0.1", configuration.api_port), timeout=10) as connection:
                connection.sendall(sent)
                assert connection.recv(100) == b""
        with ApiClient(configuration.api_url) as api, api.stream() as events:
            assert events.is_silent(0.6)
            snapshot = api.create("snapshots", name="first")
            api.activate(snapshot["id"])
            assert events.snapshot() == snapshot
        process.terminate()
        assert process.wait(10) == 0
