"""Upstreams by name: real processes, a name server whose answers are the test's, and backends on several addresses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.conditions import eventually
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.name_server import NameServer, NameServerInThread, dnsmasq
from tests.support.ports import free_port
from tests.support.raw_http import fetch
from tests.support.recording_backend import RecordingBackend

ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


@pytest.fixture(scope="module")
def name_server() -> NameServerInThread:
    """Not running; each test starts it when it is time."""
    return NameServerInThread()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, name_server: NameServerInThread) -> Iterator[Gateway]:
    proxy: Document = {"dns": {"nameservers": [f"127.0.0.1:{name_server.server.port}"]}}
    with Gateway(tmp_path_factory.mktemp("names"), proxy=proxy) as running:
        yield running
        assert running.process.terminate(40) == 0
        assert "Traceback" not in running.process.text(), running.process.text()


@pytest.fixture
def backends() -> Iterator[dict[str, RecordingBackend]]:
    """Backends on one port of several addresses, each named after its own."""
    with ExitStack() as stack:
        port = free_port()
        yield {
            address: stack.enter_context(RecordingBackend(address, address=address, port=port)) for address in ADDRESSES
        }


@pytest.fixture
def answers(name_server: NameServerInThread) -> Iterator[NameServer]:
    with name_server as running:
        running.zone.clear()
        yield running


def configure(gateway: Gateway, *destinations: Document) -> int:
    port = free_port()
    gateway.configure(
        listeners=[listener(port, proxyErrors={"detail": "standard"})],
        destinations=destinations,
        routes=[route("all", forward=forward(*(document["id"] for document in destinations)))],
    )
    return port


def served_by(port: int) -> str:
    """The address of the backend that answers a request; the error's name if none does."""
    document = json.loads(fetch(port).body)
    return str(document.get("backend") or document["error"])


def test_new_connections_go_where_the_name_leads(
    gateway: Gateway, answers: NameServer, backends: dict[str, RecordingBackend]
) -> None:
    answers.put("one.test", "127.0.0.2", ttl=1)
    upstream = destination("d", backends["127.0.0.2"].port, "one.test", timeouts={"idleConnection": "10ms"})
    port = configure(gateway, upstream)
    assert {served_by(port) for _ in range(10)} == {"127.0.0.2"}
    assert backends["127.0.0.2"].requests[0].all("Host") == ["proxy.test"]
    answers.put("one.test", "127.0.0.3", ttl=1)
    eventually(lambda: served_by(port) == "127.0.0.3", what="new connections go to the new address")
    answers.fail("one.test")
    before = answers.asked("one.test")
    eventually(
        lambda: served_by(port) == "127.0.0.3" and answers.asked("one.test") > before + 8, what="it fails for a while"
    )
    answers.remove("one.test")
    eventually(lambda: served_by(port) == "dns_failure", what="a name that does not exist is no upstream")


def test_a_name_server_that_comes_late(
    gateway: Gateway, name_server: NameServerInThread, backends: dict[str, RecordingBackend]
) -> None:
    port = configure(gateway, destination("d", backends["127.0.0.1"].port, "late.test"))
    assert served_by(port) == "dns_failure"
    with name_server as running:
        running.put("late.test", "127.0.0.1")
        eventually(lambda: {served_by(port) for _ in range(10)} == {"127.0.0.1"}, 10, what="every worker asks it again")
    assert "name server failed" in gateway.process.text()


def test_a_real_name_server_and_a_dead_address_of_the_other_family(tmp_path: Path, backend: RecordingBackend) -> None:
    # Nobody listens on the IPv6 address of this name: each connection comes about over IPv4.
    with dnsmasq("--host-record=both.test,127.0.0.1,::1,60") as (address, dns_port):
        proxy: Document = {"dns": {"nameservers": [f"{address}:{dns_port}"]}, "workers": 1}
        with Gateway(tmp_path, proxy=proxy) as gateway:
            port = configure(gateway, destination("d", backend.port, "both.test"))
            assert {served_by(port) for _ in range(5)} == {"backend"}
