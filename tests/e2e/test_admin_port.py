"""The admin port: what a proxy says of its processes and its configuration, and when it is ready."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.conditions import accepts, eventually
from tests.support.exposition import Scraped
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.ports import free_port
from tests.support.raw_http import Connection, Response
from tests.support.recording_backend import Exchange, RecordingBackend

OPENMETRICS = ("Accept", "application/openmetrics-text; version=1.0.0")


def admin_port(gateway: Gateway) -> int:
    address: str = gateway.configuration.document["proxy"]["admin"]["address"]
    return int(address.rpartition(":")[2])


def ask(gateway: Gateway, path: str, *fields: tuple[str, str], method: str = "GET") -> Response:
    with Connection(admin_port(gateway)) as client:
        return client.exchange(method, path, headers=fields)


def scrape(gateway: Gateway, *fields: tuple[str, str]) -> Scraped:
    response = ask(gateway, "/metrics", *fields)
    assert response.status == 200, response
    return Scraped(response.body.decode(), openmetrics="openmetrics" in response["Content-Type"])


def served_by(gateway: Gateway) -> list[int]:
    (proxy,) = gateway.proxies()
    return [worker["pid"] for worker in proxy["workers"] if worker["state"] == "serving"]


@pytest.mark.parametrize("fields", [(), (OPENMETRICS,)])
def test_figures_of_what_is_served(gateway: Gateway, port: int, fields: tuple[tuple[str, str], ...]) -> None:
    certificate = Authority("admin test").issue("proxy.test")
    tls = {"cert": certificate.cert_text, "key": certificate.key_text}
    snapshot_id = gateway.configure(
        listeners=[listener(port), listener(free_port(), "secure", tls=tls)],
        destinations=[destination("gone", 1)],
        routes=[route("one", directResponse={"status": 200}), route("two", {"path": "/2"}, forward=forward("gone"))],
    )
    before, shown = scrape(gateway, *fields), scrape(gateway, *fields)
    # Processes.
    processes = {"supervisor", "worker-0", "worker-1"}
    assert shown.values("process") == processes
    for process in processes:
        assert shown("vrata_process_resident_memory_bytes", process=process) > 1_000_000
        assert 3 < shown("vrata_process_open_fds", process=process) < shown("vrata_process_max_fds", process=process)
    assert 0 < before("vrata_process_cpu_seconds_total") <= shown("vrata_process_cpu_seconds_total")
    assert shown("vrata_workers", state="serving") == shown("vrata_worker_slots") == 2
    assert 0 < before("vrata_uptime_seconds") < shown("vrata_uptime_seconds")
    assert shown("vrata_build_info") == 1
    # The configuration.
    assert shown("vrata_config_snapshot_info", snapshot_id=snapshot_id) == 1
    entities = {kind: shown("vrata_config_entities", kind=kind) for kind in ("listener", "route", "destination")}
    assert entities == {"listener": 2, "route": 2, "destination": 1}
    assert shown("vrata_config_entities", kind="middleware") == 0
    assert shown("vrata_config_problems") == 0
    assert shown("vrata_config_last_apply_success") == 1
    assert shown("vrata_config_applies_total", result="applied") >= 1
    assert shown("vrata_config_edition") >= 1
    assert shown("vrata_listener_listening", listener="main", address=f"127.0.0.1:{port}") == 1
    end = shown("vrata_listener_certificate_not_after_timestamp_seconds", listener="secure", names="proxy.test")
    assert end > shown("vrata_config_last_apply_timestamp_seconds") > shown("vrata_start_time_seconds") > 1.7e9
    assert shown("vrata_sync_connected") == 1
    assert shown("vrata_sync_connections_total") >= 1


def test_a_listener_whose_address_is_taken(gateway: Gateway, port: int) -> None:
    with Connection(gateway.configuration.api_port):  # somebody listens there already
        taken = gateway.configuration.api_port
        gateway.configure(listeners=[listener(port), listener(taken, "taken")])
    shown = scrape(gateway)
    assert shown("vrata_listener_listening", listener="taken") == 0
    assert shown("vrata_listener_listening", listener="main") == 1


def test_what_is_answered_beside_metrics(gateway: Gateway) -> None:
    assert ask(gateway, "/healthz").body == b'{"status": "ok"}\n'
    assert ask(gateway, "/metrics/").status == 404
    assert ask(gateway, "/").status == 404
    refused = ask(gateway, "/metrics", method="POST")
    assert (refused.status, refused["Allow"]) == (405, "GET, HEAD")
    head = ask(gateway, "/healthz", method="HEAD")
    assert (head.status, head.body, head["Content-Length"]) == (200, b"", "17")


def test_through_the_life_of_a_proxy(tmp_path: Path, backend: RecordingBackend) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def slowly(exchange: Exchange) -> None:
        arrived.set()
        assert go_on.wait(30)
        exchange.respond(body=b"finished")

    backend.script = slowly
    port = free_port()
    with Gateway(tmp_path, proxy={"admin": {"address": f"127.0.0.1:{free_port()}"}}) as gateway:
        eventually(lambda: accepts(admin_port(gateway)), what="the admin port is open")
        assert ask(gateway, "/healthz").status == 200
        early = ask(gateway, "/readyz")
        assert (early.status, early.body) == (
            503,
            b'{"status": "not_ready", "reason": "no snapshot was applied yet"}\n',
        )
        shown = scrape(gateway)
        assert shown.all("vrata_config_snapshot_info") == shown.all("vrata_config_last_apply_success") == []
        assert shown("vrata_config_entities") == 0
        snapshot_id = gateway.configure(
            listeners=[listener(port, metrics={})],
            destinations=[destination("backend", backend.port)],
            routes=[route("all", forward=forward("backend"))],
        )
        assert ask(gateway, "/readyz").body == b'{"status": "ready", "snapshotId": "%s"}\n' % snapshot_id.encode()

        victim = served_by(gateway)[0]
        cpu = scrape(gateway)("vrata_process_cpu_seconds_total", process="worker-0")
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in (found := served_by(gateway)) and len(found) == 2, what="its successor serves")
        shown = scrape(gateway)
        assert shown("vrata_worker_deaths_total", process="worker-0") == 1
        assert shown("vrata_worker_deaths_total", process="worker-1") == 0
        assert shown("vrata_worker_starts_total", process="worker-0") == 2
        assert shown("vrata_process_cpu_seconds_total", process="worker-0") >= cpu

        with Connection(port) as client, Connection(admin_port(gateway)) as kept:
            client.request("GET", "/")
            assert arrived.wait(20)
            with Connection(port) as scraper:  # at whose request workers tell what they carry, the scrape included
                assert scraper.exchange("GET", "/metrics").status == 200
            shown = scrape(gateway)
            assert shown("vrata_worker_connections") == shown("vrata_worker_inflight_requests") == 2
            gateway.process.signal(signal.SIGTERM)
            eventually(lambda: not accepts(port), what="no new connections are accepted")
            late = ask(gateway, "/readyz")
            assert (late.status, late.body) == (503, b'{"status": "not_ready", "reason": "the proxy is draining"}\n')
            assert Scraped(kept.exchange("GET", "/metrics").body.decode())("vrata_workers", state="draining") >= 1
            go_on.set()
            assert client.read_response().body == b"finished"
        assert gateway.process.wait(30) == 0
        assert "Traceback" not in gateway.process.text()
