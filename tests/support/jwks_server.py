"""A server of key sets, as an issuer of tokens has one, and as one that has troubles."""

from __future__ import annotations

import ssl
import threading
from types import TracebackType
from typing import Self

from tests.support.recording_backend import Exchange, RecordingBackend


class JwksServer:
    """Answers every request with a document; a context manager."""

    def __init__(self, document: bytes, port: int = 0, *, tls: ssl.SSLContext | None = None) -> None:
        self.document = document
        self.status = 200
        self.headers: list[tuple[str, str]] = []
        self.is_broken = False
        """Whether it cuts connections instead of answering."""
        self._open = threading.Event()
        self._open.set()
        self._backend = RecordingBackend("issuer", self._answer, port=port, tls=tls)
        self.port = self._backend.port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.set()
        self._backend.close()

    @property
    def requests(self) -> list[Exchange]:
        """All that came."""
        return self._backend.requests

    def hold(self) -> None:
        """Answer nothing until :meth:`answer`."""
        self._open.clear()

    def answer(self) -> None:
        """Answer what waits, and whatever comes from now on."""
        self._open.set()

    def _answer(self, exchange: Exchange) -> None:
        self._open.wait(20)
        if self.is_broken:
            exchange.reset()
        else:
            exchange.respond(self.status, headers=self.headers, body=self.document)
