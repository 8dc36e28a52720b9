"""Retries through a whole Vrata: configured over the API, counted over its workers."""

from __future__ import annotations

import threading
from typing import Any

from tests.support.conditions import eventually
from tests.support.exposition import Scraped
from tests.support.gateway import Document, Gateway, destination, forward, listener, route
from tests.support.ports import free_port
from tests.support.raw_http import fetch
from tests.support.recording_backend import Exchange, RecordingBackend

AT_ONCE = {"base": "1ms", "max": "2ms"}


def several(id: str, *ports: int) -> Document:  # noqa: A002
    """A destination with an endpoint on each of *ports*."""
    endpoints = [{"host": "127.0.0.1", "port": port} for port in ports]
    return destination(id, ports[0]) | {"endpoints": endpoints}


def failing(times: int, status: int = 503) -> Any:
    """A script that answers that many requests with *status*, and the next ones with 200."""
    left = iter(range(times))
    lock = threading.Lock()

    def script(exchange: Exchange) -> None:
        with lock:
            fails = next(left, None) is not None
        exchange.respond(status if fails else 200, body=b"failed" if fails else b"ok")

    return script


def test_no_request_is_lost_to_an_endpoint_that_is_down(gateway: Gateway, port: int, backend: RecordingBackend) -> None:
    gateway.configure(
        listeners=[listener(port)],
        destinations=[several("d", free_port(), backend.port, free_port())],
        routes=[route("all", forward=forward("d", retry={"attempts": 2, "backoff": AT_ONCE}))],
    )
    for number in range(20):
        method = "POST" if number % 2 else "GET"
        assert fetch(port, f"/{number}", method=method, body=b"content" if number % 2 else None).status == 200
    assert len(backend.requests) == 20


def test_the_default_of_a_group_with_the_number_of_the_attempt(
    gateway: Gateway, port: int, backend: RecordingBackend
) -> None:
    backend.script = failing(2)
    default = {"attempts": 3, "on": ["gateway-error"], "backoff": AT_ONCE}
    gateway.configure(
        listeners=[listener(port, metrics={})],
        destinations=[several("d", backend.port)],
        routes=[route("all", {"pathPrefix": "/"}, forward=forward("d"))],
        groups=[{"id": "g", "name": "g", "routeIds": ["all"], "retryDefault": default, "includeAttemptCount": True}],
    )
    response = fetch(port, "/", method="POST", body=b"content")
    assert (response.status, response.body) == (200, b"ok")
    assert [exchange.all("X-Vrata-Attempt-Count") for exchange in backend.requests] == [["1"], ["2"], ["3"]]
    assert [exchange.all("X-Request-Attempt-Count") for exchange in backend.requests] == [["1"], ["2"], ["3"]]
    assert [exchange.body for exchange in backend.requests] == [b"content"] * 3
    shown = Scraped(fetch(port, "/metrics").body.decode())
    labels = {"route": "all", "group": "g"}
    assert shown("vrata_route_retries_total", **labels, attempt="1") == 1
    assert shown("vrata_route_retries_total", **labels, attempt="2") == 1
    assert shown("vrata_route_requests_total", **labels, method="POST", status_code="200") == 1


def test_a_backend_that_ends_under_load_is_left_for_the_other(
    gateway: Gateway, port: int, backend: RecordingBackend, other: RecordingBackend
) -> None:
    gateway.configure(
        listeners=[listener(port)],
        destinations=[several("d", backend.port, other.port)],
        routes=[route("all", forward=forward("d", retry={"attempts": 2, "backoff": AT_ONCE}))],
    )
    statuses: list[int] = []

    def load() -> None:
        statuses.extend(fetch(port, f"/{number}").status for number in range(60))

    driver = threading.Thread(target=load)
    driver.start()
    eventually(lambda: len(backend.requests) > 5, what="both serve")
    backend.close()
    driver.join(30)
    assert statuses == [200] * 60
