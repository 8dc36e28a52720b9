"""What operators see of endpoints: two proxies, each with its own view."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.conditions import eventually
from tests.support.configuration import Configuration
from tests.support.endpoint_document import endpoint_document
from tests.support.exposition import Scraped
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.ports import free_port
from tests.support.processes import VrataProcess
from tests.support.raw_http import Connection, fetch
from tests.support.recording_backend import Exchange, RecordingBackend

Document = dict[str, Any]


def views(gateway: Gateway, destination_id: str) -> dict[str, Document]:
    """The destination on every proxy, by the proxy's id."""
    found = gateway.call("GET", f"/destinations/{destination_id}/endpoints")
    assert found["id"] == destination_id
    return {proxy["proxyId"]: proxy for proxy in found["proxies"]}


def endpoint(view: Document, port: int) -> Document:
    (found,) = (each for each in view["endpoints"] if each["address"] == f"127.0.0.1:{port}")
    return dict(found)


def test_what_nothing_stands_against_is_shown_with_what_it_carries(
    gateway: Gateway, port: int, backend: RecordingBackend, other: RecordingBackend
) -> None:
    arrived, go_on = threading.Semaphore(0), threading.Event()

    def slowly(exchange: Exchange) -> None:
        arrived.release()
        assert go_on.wait(60)
        exchange.respond()

    backend.script = slowly
    gateway.configure(
        listeners=[listener(port)],
        destinations=[
            destination("busy", backend.port, timeouts={"responseHeader": "60s", "request": "60s"}),
            destination("idle", other.port),
        ],
        routes=[route("all", forward=forward("busy"))],
    )
    (idle,) = views(gateway, "idle").values()
    assert idle["connected"]
    assert idle["state"] == "served"
    assert idle["panic"] == {"active": False, "reason": ""}
    assert idle["circuitBreaker"] is None
    assert idle["endpoints"] == [endpoint_document(f"127.0.0.1:{other.port}")]

    def carries(active: int) -> bool:
        (view,) = views(gateway, "busy").values()
        return bool(endpoint(view, backend.port)["activeRequests"] == active)

    with contextlib.ExitStack() as connections:
        clients = [connections.enter_context(Connection(port)) for _ in range(5)]
        for client in clients:
            client.request("GET", "/")
        for _ in clients:
            assert arrived.acquire(timeout=20)
        eventually(lambda: carries(5), 30, what="the requests of all workers are shown")
        (view,) = views(gateway, "busy").values()
        assert endpoint(view, backend.port)["connections"] >= 5
        go_on.set()
        for client in clients:
            assert client.read_response().status == 200
    eventually(lambda: carries(0), 30, what="they are over")


def test_who_is_not_known_is_404(gateway: Gateway) -> None:
    assert gateway.api.get("/destinations/nobody/endpoints").status_code == 404
    gateway.configure()
    gateway.call("POST", "/destinations", destination("staged", 1))
    (view,) = views(gateway, "staged").values()
    assert (view["state"], view["endpoints"]) == ("absent", [])


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Gateway]:
    """A control plane with two proxies: ``first``, which is part of it, and ``second``."""
    with Gateway(tmp_path / "first", proxy={"id": "first"}) as gateway:
        (tmp_path / "second_proxy").mkdir()
        second = Configuration(tmp_path / "second_proxy", proxy={"id": "second", "workers": 1})
        del second.document["controlPlane"]
        second.document["proxy"] |= {
            "controlPlaneUrl": gateway.configuration.api_url,
            "statePath": str(tmp_path / "second_proxy" / "state"),
        }
        second.write()
        with VrataProcess("proxy", *second.arguments, directory=second.directory) as process:
            eventually(lambda: {proxy["id"] for proxy in gateway.proxies()} == {"first", "second"}, what="two proxies")
            yield gateway
            assert process.terminate(40) == 0
        for log in (gateway.process.text(), process.text()):
            assert "Traceback" not in log, log


def shown_within(gateway: Gateway, seconds: float, is_so: Callable[[Document], bool], what: str) -> None:
    """Wait until both proxies show destination ``d`` so."""
    eventually(lambda: all(is_so(view) for view in views(gateway, "d").values()), seconds, what=what)


def test_two_proxies_show_what_their_own_checks_have_found(
    pair: Gateway, backend: RecordingBackend, other: RecordingBackend
) -> None:
    status = 200

    def answer(exchange: Exchange) -> None:
        exchange.respond(status)

    other.script = answer
    port = free_port()
    check = {"path": "/up", "interval": "200ms", "unhealthyThreshold": 2, "healthyThreshold": 1}
    endpoints = [{"host": "127.0.0.1", "port": each.port} for each in (backend, other)]
    pair.configure(
        listeners=[listener(port, metrics={"collect": {"endpoint": True}})],
        destinations=[destination("d", 1, healthCheck=check, panicThreshold=60) | {"endpoints": endpoints}],
        routes=[route("all", forward=forward("d"))],
    )

    def health(view: Document, of: RecordingBackend) -> Document:
        found: Document = endpoint(view, of.port)["verdicts"]["health"]
        return found

    # The first probe is no change of a verdict: it is shown with the next acknowledgement that there is anyway.
    shown_within(
        pair,
        20,
        lambda view: {health(view, each)["state"] for each in (backend, other)} == {"healthy"},
        "both are healthy",
    )
    began = time.monotonic()
    status = 503
    shown_within(pair, 20, lambda view: health(view, other)["state"] == "unhealthy", "one is unhealthy")
    # Two probes, and an acknowledgement at once: not that of every ten seconds.
    assert time.monotonic() - began < 9
    for view in views(pair, "d").values():
        assert view["connected"]
        found = health(view, other)
        assert "503" in found["reason"]
        assert found["since"] <= found["lastProbe"]
        assert not endpoint(view, other.port)["available"]
        assert not endpoint(view, other.port)["verdicts"]["outlier"]["ejected"]
        assert endpoint(view, backend.port)["available"]
        assert view["panic"]["active"]
        assert view["panic"]["reason"].startswith("1 of 2 endpoints are available")
    scraped = scrape(port)
    assert scraped("vrata_endpoint_healthy", destination="d", endpoint=f"127.0.0.1:{other.port}") == 0
    assert scraped("vrata_endpoint_healthy", destination="d", endpoint=f"127.0.0.1:{backend.port}") == 1
    assert scraped("vrata_destination_panic", destination="d") == 1

    table = endpoints_command(pair, "d")
    assert table.count("unhealthy since") == 2
    assert table.count("panic: 1 of 2") == 2
    assert json.loads(endpoints_command(pair, "d", "--json"))["id"] == "d"

    status = 200
    shown_within(pair, 10, lambda view: endpoint(view, other.port)["available"], "it is back")
    assert scrape(port)("vrata_destination_panic", destination="d") == 0


def test_an_ejection_is_shown_with_its_end_and_its_reason(
    pair: Gateway, backend: RecordingBackend, other: RecordingBackend
) -> None:
    def fail(exchange: Exchange) -> None:
        exchange.respond(500)

    other.script = fail
    port = free_port()
    detection = {"consecutive5xx": 3, "interval": "200ms", "baseEjectionTime": "60s"}
    endpoints = [{"host": "127.0.0.1", "port": each.port} for each in (backend, other)]
    pair.configure(
        listeners=[listener(port, metrics={"collect": {"endpoint": True}})],
        destinations=[destination("d", 1, outlierDetection=detection) | {"endpoints": endpoints}],
        routes=[route("all", forward=forward("d"))],
    )

    def verdicts() -> dict[str, Document]:
        found = views(pair, "d")
        return {proxy: endpoint(view, other.port)["verdicts"]["outlier"] for proxy, view in found.items()}

    def failed_somewhere() -> bool:
        fetch(port, "/")
        return any(verdict["ejected"] for verdict in verdicts().values())

    eventually(failed_somewhere, 20, what="an ejection")
    (ejected,) = (verdict for verdict in verdicts().values() if verdict["ejected"])
    assert ejected["ejections"] == 1
    assert ejected["reason"]
    left = datetime.fromisoformat(ejected["until"]) - datetime.now(UTC)
    assert 30 < left.total_seconds() <= 60


def test_a_circuit_breaker_is_shown_when_it_opens(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    def fail(exchange: Exchange) -> None:
        exchange.respond(500)

    backend.script = fail
    breaker = {"failureThreshold": 3, "openDuration": "60s", "maxRequests": 7}
    gateway.configure(
        listeners=[listener(port, metrics={})],
        destinations=[destination("d", backend.port, circuitBreaker=breaker)],
        routes=[route("all", forward=forward("d"))],
    )
    (view,) = views(gateway, "d").values()
    assert view["circuitBreaker"] == {
        "state": "closed",
        "since": None,
        "consecutiveFailures": 0,
        "limits": {
            "connections": {"used": 0, "limit": 1024},
            "pending": {"used": 0, "limit": 1024},
            "requests": {"used": 0, "limit": 7},
            "retries": {"used": 0, "limit": 3},
        },
    }
    assert scrape(port)("vrata_destination_circuit_breaker_state", destination="d") == 0
    began = time.monotonic()
    for _ in range(3):
        assert fetch(port, "/").status == 500
    assert scrape(port)("vrata_destination_circuit_breaker_state", destination="d") == 1

    def state() -> Document:
        (found,) = views(gateway, "d").values()
        return dict(found["circuitBreaker"])

    eventually(lambda: state()["state"] == "open", 20, what="the open circuit is shown")
    assert time.monotonic() - began < 9
    assert abs((datetime.fromisoformat(state()["since"]) - datetime.now(UTC)).total_seconds()) < 20
    assert state()["consecutiveFailures"] == 3


def endpoints_command(gateway: Gateway, *arguments: str) -> str:
    """What ``vrata endpoints`` prints."""
    command = [sys.executable, "-m", "vrata", "endpoints", *arguments, "--api", gateway.configuration.api_url]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def scrape(port: int) -> Scraped:
    return Scraped(fetch(port, "/metrics").body.decode())
