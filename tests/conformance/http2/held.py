"""Responses of a backend that wait until the test wants them."""

from __future__ import annotations

import threading

from tests.support.conditions import eventually
from tests.support.recording_backend import Exchange, RecordingBackend, echo


class Held:
    """From construction on, no request to *backend* is answered before :meth:`release`."""

    def __init__(self, backend: RecordingBackend) -> None:
        self._backend = backend
        self._released = threading.Event()
        backend.script = self._answer

    def await_request(self, count: int = 1) -> None:
        """Return when so many requests have reached the backend."""
        eventually(lambda: len(self._backend.requests) >= count, what=f"{count} request(s) at the backend")

    def release(self) -> None:
        """Answer all that wait, and what comes from now on."""
        self._released.set()

    def _answer(self, exchange: Exchange) -> None:
        assert self._released.wait(20)
        echo(exchange)
