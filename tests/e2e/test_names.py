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
from tests.support.recording_backend import Exchange, RecordingBackend, echo

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
        eventually(lambda: {served_by(port) for _ in range(10)} == {"127.0.0.1"}, what="every worker asks it again")
    assert "name server failed" in gateway.process.text()


def test_a_real_name_server_and_a_dead_address_of_the_other_family(tmp_path: Path, backend: RecordingBackend) -> None:
    # Nobody listens on the IPv6 address of this name: each connection comes about over IPv4.
    with dnsmasq("--host-record=both.test,127.0.0.1,::1,60") as (address, dns_port):
        proxy: Document = {"dns": {"nameservers": [f"{address}:{dns_port}"]}, "workers": 1}
        with Gateway(tmp_path, proxy=proxy) as gateway:
            port = configure(gateway, destination("d", backend.port, "both.test"))
            assert {served_by(port) for _ in range(5)} == {"backend"}


def discovered(backends: dict[str, RecordingBackend], *endpoints: Document, host: str = "many.test") -> Document:
    """A destination whose endpoints are the addresses of a name, and those that are listed."""
    port = backends["127.0.0.1"].port
    return destination("d", port, host, discovery={"type": "dns"}) | {"endpoints": list(endpoints)}


def serving(port: int) -> set[str]:
    """Who serves while everybody's turn comes."""
    return {served_by(port) for _ in range(20)}


def test_every_address_of_a_name_is_an_endpoint(
    gateway: Gateway, answers: NameServer, backends: dict[str, RecordingBackend]
) -> None:
    answers.put("many.test", "127.0.0.1", "127.0.0.2", ttl=1)
    port = configure(gateway, discovered(backends))
    eventually(lambda: serving(port) == {"127.0.0.1", "127.0.0.2"}, what="both addresses serve")
    answers.put("many.test", "127.0.0.2", "127.0.0.3", ttl=1)
    eventually(lambda: serving(port) == {"127.0.0.2", "127.0.0.3"}, what="one address has come and one has gone")
    answers.fail("many.test")
    before = answers.asked("many.test")
    eventually(lambda: answers.asked("many.test") > before + 4, what="the name server fails for a while")
    assert serving(port) == {"127.0.0.2", "127.0.0.3"}
    answers.remove("many.test", negative_ttl=1)
    eventually(lambda: serving(port) == {"no_endpoint"}, what="it is known that there are none")
    answers.put("many.test", "127.0.0.1", ttl=1)
    eventually(lambda: serving(port) == {"127.0.0.1"}, what="it is there again")


def test_no_request_is_lost_while_addresses_change(
    gateway: Gateway, answers: NameServer, backends: dict[str, RecordingBackend]
) -> None:
    answers.put("many.test", "127.0.0.1", "127.0.0.2", ttl=1)
    port = configure(gateway, discovered(backends))
    eventually(lambda: serving(port) == {"127.0.0.1", "127.0.0.2"}, what="both addresses serve")
    seen = set()
    for pair in (("127.0.0.2", "127.0.0.3"), ("127.0.0.1", "127.0.0.3"), ("127.0.0.1", "127.0.0.2")):
        answers.put("many.test", *pair, ttl=1)
        now: set[str] = set()
        while now != set(pair):
            now = serving(port)
            seen |= now
    assert seen == set(ADDRESSES)


def test_listed_endpoints_stay_beside_those_that_are_found(
    gateway: Gateway, answers: NameServer, backends: dict[str, RecordingBackend]
) -> None:
    answers.put("many.test", "127.0.0.1", "127.0.0.2", ttl=1)
    listed = {"host": "127.0.0.3", "port": backends["127.0.0.3"].port, "weight": 2}
    port = configure(gateway, discovered(backends, listed))
    eventually(lambda: serving(port) == set(ADDRESSES), what="all serve")
    answers.remove("many.test")
    eventually(lambda: serving(port) == {"127.0.0.3"}, what="the listed one stays")


def test_until_something_is_found_the_name_itself_is_the_endpoint(
    gateway: Gateway, name_server: NameServerInThread, backends: dict[str, RecordingBackend]
) -> None:
    port = configure(gateway, discovered(backends, host="later.test"))
    eventually(lambda: served_by(port) == "dns_failure", what="the destination has no other endpoint any more")
    with name_server as running:
        running.put("later.test", "127.0.0.1", "127.0.0.2", ttl=1)
        eventually(lambda: serving(port) == {"127.0.0.1", "127.0.0.2"}, what="both addresses serve")


def test_health_belongs_to_the_address(
    gateway: Gateway, answers: NameServer, backends: dict[str, RecordingBackend]
) -> None:
    def ill(exchange: Exchange) -> None:
        if exchange.target == "/health":
            exchange.respond(503)
        else:
            echo(exchange)

    backends["127.0.0.1"].script = ill
    answers.put("ill.test", "127.0.0.1", "127.0.0.2", ttl=1)
    document = discovered(backends, host="ill.test")
    document["options"]["healthCheck"] = {
        "path": "/health",
        "interval": "100ms",
        "timeout": "10s",
        "unhealthyThreshold": 1,
    }
    port = configure(gateway, document)
    eventually(lambda: serving(port) == {"127.0.0.2"}, what="the address that is ill is passed over")
    answers.put("ill.test", "127.0.0.1", "127.0.0.2", "127.0.0.3", ttl=1)
    seen: set[str] = set()
    while "127.0.0.3" not in seen:
        seen |= serving(port)
    assert seen == {"127.0.0.2", "127.0.0.3"}
