"""What operators see of endpoints: two proxies, each with its own view."""

from __future__ import annotations

import threading
from typing import Any

from tests.support.conditions import eventually
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.raw_http import Connection
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
    endpoints = [{"host": "127.0.0.1", "port": backend.port, "weight": 1}, {"host": "127.0.0.1", "port": other.port}]
    gateway.configure(
        listeners=[listener(port)],
        destinations=[destination("busy", 1) | {"endpoints": endpoints[:1]}, destination("idle", other.port)],
        routes=[route("all", forward=forward("busy"))],
    )
    (idle,) = views(gateway, "idle").values()
    assert idle["connected"]
    assert idle["state"] == "served"
    assert idle["panic"] == {"active": False, "reason": ""}
    assert idle["circuitBreaker"] is None
    assert idle["endpoints"] == [
        {
            "address": f"127.0.0.1:{other.port}",
            "weight": 1,
            "source": "static",
            "available": True,
            "verdicts": {
                "health": {"state": "unchecked", "reason": "", "since": None, "lastProbe": None},
                "outlier": {
                    "ejected": False,
                    "until": None,
                    "ejections": 0,
                    "reason": "",
                    "heldBack": 0,
                    "heldBackReason": "",
                },
            },
            "activeRequests": 0,
            "connections": 0,
            "consecutive5xx": 0,
        }
    ]
    clients = [Connection(port) for _ in range(5)]
    for client in clients:
        client.request("GET", "/")
    for _ in clients:
        assert arrived.acquire(timeout=20)

    def carries(active: int) -> bool:
        (view,) = views(gateway, "busy").values()
        return bool(endpoint(view, backend.port)["activeRequests"] == active)

    eventually(lambda: carries(5), 30, what="the requests of all workers are shown")
    (view,) = views(gateway, "busy").values()
    assert endpoint(view, backend.port)["connections"] >= 5
    go_on.set()
    for client in clients:
        assert client.read_response().status == 200
        client.close()
    eventually(lambda: carries(0), 30, what="they are over")


def test_who_is_not_known_is_404(gateway: Gateway) -> None:
    assert gateway.api.get("/destinations/nobody/endpoints").status_code == 404
    gateway.configure()
    gateway.call("POST", "/destinations", destination("staged", 1))
    (view,) = views(gateway, "staged").values()
    assert (view["state"], view["endpoints"]) == ("absent", [])
