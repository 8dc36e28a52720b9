"""One answer for the whole proxy: metrics of two workers, while workers are replaced, die and hang."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import Authority
from tests.support.conditions import eventually
from tests.support.exposition import Scraped
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.load import Load
from tests.support.ports import free_port
from tests.support.processes import is_alive
from tests.support.raw_http import Connection, TruncatedResponse
from tests.support.recording_backend import Exchange, RecordingBackend

REQUESTS = "vrata_route_requests_total"


def scrape(port: int, *fields: tuple[str, str]) -> Scraped:
    with Connection(port) as client:
        response = client.exchange("GET", "/metrics", headers=fields)
    assert response.status == 200, response
    return Scraped(response.body.decode(), openmetrics="openmetrics" in response["Content-Type"])


def workers(gateway: Gateway) -> list[int]:
    (proxy,) = gateway.proxies()
    return [worker["pid"] for worker in proxy["workers"] if worker["state"] == "serving"]


class Watch:
    """Scrapes all the time; no counter may ever fall. A context manager."""

    def __init__(self, port: int) -> None:
        self.failures: list[str] = []
        self.scrapes = 0
        self._port = port
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)

    def more(self, count: int = 5) -> None:
        wanted = self.scrapes + count
        eventually(lambda: self.scrapes >= wanted or self.failures, what="more scrapes")
        assert self.failures == []

    def _run(self) -> None:
        earlier: Scraped | None = None
        while not self._over.wait(0.01):
            try:
                now = scrape(self._port)
            except (OSError, TruncatedResponse):
                continue  # a worker died with this connection; there will be others
            if earlier is not None:
                self.failures += now.falls_below(earlier)
            earlier = now
            self.scrapes += 1


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Gateway]:
    """A Vrata whose workers a test may do anything to."""
    with Gateway(tmp_path) as running:
        yield running
        log = running.process.text()
        assert "Traceback" not in log, log


def configure(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    gateway.configure(
        listeners=[listener(port, metrics={"collect": {"endpoint": True}})],
        destinations=[destination("backend", backend.port)],
        routes=[route("all", forward=forward("backend"))],
    )


def test_the_workers_are_summed(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    configure(gateway, port, backend)
    before = scrape(port)
    with Load(port, clients=8, reconnect=True) as load:
        load.more(300)
    assert load.failures == []
    shown = scrape(port)
    assert shown(REQUESTS, route="all", status_code="200") - sum(before.all(REQUESTS, route="all")) == load.answered
    for name in (
        "vrata_route_duration_seconds_count",
        "vrata_destination_requests_total",
        "vrata_destination_duration_seconds_count",
        "vrata_endpoint_requests_total",
    ):
        assert shown(name) - sum(before.all(name)) == load.answered
    assert shown("vrata_route_inflight_requests", route="all") == 0
    # Wherever a scrape lands, it shows the same.
    assert {scrape(port)(REQUESTS, route="all") for _ in range(20)} == {shown(REQUESTS, route="all")}


def test_requests_in_flight_are_those_of_all_workers(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    go_on = threading.Event()

    def slowly(exchange: Exchange) -> None:
        assert go_on.wait(30)
        exchange.respond()

    backend.script = slowly
    configure(gateway, port, backend)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Connection(port)) for _ in range(20)]
        for client in clients:
            client.request("GET", "/")
        eventually(lambda: len(backend.requests) == 20, what="all requests are at the backend")
        shown = scrape(port)
        assert shown("vrata_route_inflight_requests", route="all") == 20
        assert shown("vrata_destination_inflight_requests", destination="backend") == 20
        assert shown("vrata_listener_active_connections") == 21
        go_on.set()
        for client in clients:
            assert client.read_response().status == 200
        assert scrape(port)("vrata_route_inflight_requests", route="all") == 0


def test_replacing_all_workers_under_load_loses_no_count(own: Gateway, backend: RecordingBackend) -> None:
    port = free_port()
    configure(own, port, backend)
    with Load(port, clients=6) as load, Watch(port) as watch:
        load.more(50)
        for _ in range(2):
            before = set(workers(own))
            own.process.signal(signal.SIGHUP)
            eventually(lambda: not before & set(workers(own)) and len(workers(own)) == 2, what="new workers serve")  # noqa: B023
            load.more(50)
            watch.more()
    assert load.failures == []
    assert watch.failures == []
    eventually(lambda: len(own.proxies()[0]["workers"]) == 2, what="the old workers have ended")
    assert scrape(port)(REQUESTS, route="all", status_code="200") == load.answered


def test_a_killed_worker_takes_with_it_only_what_nobody_had_seen(own: Gateway, backend: RecordingBackend) -> None:
    port = free_port()
    configure(own, port, backend)
    with Load(port, clients=4, reconnect=True) as load:
        load.more(100)
    counted = scrape(port)
    assert counted(REQUESTS, route="all") == load.answered
    with Watch(port) as watch:
        for victim in workers(own):
            watch.more()
            os.kill(victim, signal.SIGKILL)
            eventually(lambda: not is_alive(victim), what="the worker is dead")  # noqa: B023
            eventually(lambda: len(workers(own)) == 2, what="its successor serves")
            watch.more()
    assert watch.failures == []
    assert [*scrape(port).falls_below(counted)] == []
    assert scrape(port)(REQUESTS, route="all") == load.answered
    with Connection(port) as client:
        assert client.exchange("GET", "/").status == 200
        assert scrape(port)(REQUESTS, route="all") == load.answered + 1
        eventually(lambda: scrape(port)("vrata_listener_active_connections") == 2, what="those of the dead are gone")


def test_a_worker_that_hangs_does_not_keep_others_from_answering(own: Gateway, backend: RecordingBackend) -> None:
    port = free_port()
    configure(own, port, backend)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(Connection(port)) for _ in range(20)]
        for client in clients:
            assert client.exchange("GET", "/").status == 200
        assert scrape(port)(REQUESTS, route="all") == 20
        victim = workers(own)[0]
        os.kill(victim, signal.SIGSTOP)
        try:
            for client in clients:
                client.request("GET", "/metrics")
            # That all twenty are connections of the worker that hangs has a chance of one in a million.
            waiting = select.poll()
            for client in clients:
                waiting.register(client.sock, select.POLLIN)
            ready = {descriptor for descriptor, _ in waiting.poll(30_000)}
            assert ready
            first = next(client for client in clients if client.sock.fileno() in ready)
            assert Scraped(first.read_response().body.decode())(REQUESTS, route="all") == 20
        finally:
            os.kill(victim, signal.SIGCONT)
        for client in clients:
            if client is not first:
                assert client.read_response().status in (200, 503)
        assert scrape(port)(REQUESTS, route="all") == 20


def test_series_go_with_what_they_are_about(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    metered = listener(port, metrics={})
    other = listener(free_port(), "other", metrics={})
    b, gone = destination("b", backend.port), destination("gone", backend.port)
    kept, removed = route("kept", forward=forward("b")), route("removed", {"path": "/x"}, forward=forward("gone"))
    gateway.configure(listeners=[metered, other], destinations=[b, gone], routes=[kept, removed])
    with Connection(port) as client, Connection(other["port"]) as second:
        for connection in (client, second):
            for target in ("/", "/x"):
                assert connection.exchange("GET", target).status == 200
        assert {"kept", "removed"} <= scrape(port).values("route")
        assert scrape(other["port"])(REQUESTS, route="kept") == 1
        gateway.configure(listeners=[metered], destinations=[b], routes=[kept])
        shown = scrape(port)
        assert "removed" not in shown.values("route")
        assert shown.values("destination") == {"b"}
        assert client.exchange("GET", "/x").status == 200  # the other route takes it now
        assert "removed" not in scrape(port).values("route")
        gateway.configure(listeners=[metered, other], destinations=[b], routes=[kept])
        assert scrape(other["port"]).all(REQUESTS) == []


def test_openmetrics_for_who_asks(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    configure(gateway, port, backend)
    with Connection(port) as client:
        assert client.exchange("GET", "/").status == 200
    shown = scrape(port, ("Accept", "application/openmetrics-text; version=1.0.0"))
    assert shown.text.endswith("# EOF\n")
    assert shown(REQUESTS, route="all") >= 1


def test_failed_handshakes_are_counted(gateway: Gateway, port: int) -> None:
    authority = Authority("metrics test")
    certificate = authority.issue("proxy.test")
    tls = {"cert": certificate.cert_text, "key": certificate.key_text}
    secure = listener(free_port(), "secure", tls=tls, metrics={})
    gateway.configure(listeners=[secure], routes=[route("all", directResponse={"status": 200})])
    with Connection(secure["port"]) as client:
        client.send(b"this is no handshake\r\n\r\n")
        client.read_to_end()
    with pytest.raises(ssl.SSLError), Connection(secure["port"], tls=ssl.create_default_context()):
        pass  # that client does not trust us
    context = ssl.create_default_context(cadata=authority.cert_text)

    def failures() -> float:
        with Connection(secure["port"], tls=context) as client:
            text = client.exchange("GET", "/metrics").body.decode()
        return Scraped(text)("vrata_listener_tls_handshake_errors_total", listener="secure")

    eventually(lambda: failures() == 2, what="both are counted")
