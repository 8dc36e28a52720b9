"""Backends whose endpoints a proxy judges, and who of them answers."""

from __future__ import annotations

import contextlib
import ssl
from collections import Counter
from typing import Any

from tests.support.conditions import eventually
from tests.support.gateway import Document, Gateway, forward, listener, route
from tests.support.raw_http import fetch
from tests.support.recording_backend import Exchange, RecordingBackend

PROBED_PATH = "/health"


class JudgedBackend(RecordingBackend):
    """Answers with its name: probes with the status :attr:`health`, everything else with :attr:`status`.

    A status of 0 is no answer at all.
    """

    def __init__(self, name: str, *, health: int = 200, status: int = 200, tls: ssl.SSLContext | None = None) -> None:
        self.health = health
        self.status = status
        self.probes = 0
        super().__init__(name, self._answer, tls=tls)

    def _answer(self, exchange: Exchange) -> None:
        status = self.status
        if exchange.target == PROBED_PATH:
            self.probes += 1
            status = self.health
        if status:
            exchange.respond(status, body=self.name.encode())
        else:
            exchange.await_end()


def destination_of(*ports: int, **options: Any) -> Document:
    """A destination with these endpoints."""
    endpoints = [{"host": "127.0.0.1", "port": port} for port in ports]
    return {"id": "d", "name": "d", "host": "unused.test", "port": 80, "endpoints": endpoints, "options": options}


def answers(port: int, number: int = 20) -> Counter[str]:
    """Who answers so many requests, each on a connection of its own; the status where nobody of the backends does."""
    found: Counter[str] = Counter()
    for _ in range(number):
        with contextlib.suppress(ConnectionError):
            response = fetch(port, "/")
            found[response.body.decode() if response.status != 502 else "502"] += 1
    return found


def serve(gateway: Gateway, port: int, destination: Document, name: str = "all") -> None:
    """Have *gateway* forward everything to *destination*, by a route called *name*."""
    gateway.configure(
        listeners=[listener(port)], destinations=[destination], routes=[route(name, forward=forward("d"))]
    )


def only(port: int, *names: str) -> None:
    """Wait until exactly these answer."""
    eventually(lambda: set(answers(port)) == set(names), what=f"only {names} answer")
