"""The servers that the cases are tried on: Vrata with each of its engines, or another proxy that an environment
variable names (``VRATA_CONFORMANCE_HTTP2=nginx``), to see whether a case is right.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.gateway import destination, forward, route
from tests.support.http2_engines import running
from tests.support.nginx import Nginx
from tests.support.ports import free_port
from tests.support.recording_backend import RecordingBackend
from tests.support.session_engines import ENGINES, Engine
from tests.support.threaded_proxy import ThreadedProxy


class Server(ABC):
    """A context manager: within it, everything that :attr:`port` is asked for goes to the *backend*.

    But for :attr:`UNREAD`: what is sent there goes to the *unread* backend, which should not read it.
    """

    UNREAD = "/unread"

    def __init__(self, directory: Path, backend: RecordingBackend, unread: RecordingBackend) -> None:
        self.directory = directory
        self.backend = backend
        self.unread = unread
        self.port = 0

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def complaints(self) -> list[object]:
        """What it has logged as its own error since this was last asked."""
        return []


class VrataServer(Server):
    """A data plane in this process, with *engine*."""

    def __init__(self, directory: Path, backend: RecordingBackend, unread: RecordingBackend, *, engine: Engine) -> None:
        super().__init__(directory, backend, unread)
        self._threaded = ThreadedProxy()
        self._engine = running(engine)

    def __enter__(self) -> Self:
        self._engine.__enter__()
        self._threaded.__enter__()
        self.port = self._threaded.port
        try:
            self._threaded.run(self._configure())
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    async def _configure(self) -> None:
        proxy = self._threaded.proxy
        report = await proxy.apply(
            route("unread", {"pathPrefix": self.UNREAD}, forward=forward("unread")),
            route("all", forward=forward("backend")),
            listeners=[proxy.listener(http2=True)],
            destinations=[destination("backend", self.backend.port), destination("unread", self.unread.port)],
        )
        assert not report.problems, report

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threaded.__exit__(kind, error, trace)
        self._engine.__exit__(kind, error, trace)

    def complaints(self) -> list[object]:
        return self._threaded.complaints()


class NginxServer(Server):
    """A real nginx."""

    def __init__(self, directory: Path, backend: RecordingBackend, unread: RecordingBackend) -> None:
        super().__init__(directory, backend, unread)
        self.port = free_port()
        locations = "".join(
            f"location {path} {{ proxy_pass http://127.0.0.1:{found.port}; proxy_http_version 1.1;"
            f" proxy_request_buffering off; proxy_buffering off; }}"
            for path, found in {"/": backend, self.UNREAD: unread}.items()
        )
        self._nginx = Nginx(directory, f"server {{ listen 127.0.0.1:{self.port} http2; {locations} }}", port=self.port)

    def __enter__(self) -> Self:
        self._nginx.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nginx.stop()


_ENV = "VRATA_CONFORMANCE_HTTP2"

SERVERS = [pytest.param(NginxServer, id="nginx")] if os.environ.get(_ENV) == "nginx" else ENGINES
"""What makes them, or the engine to make one of Vrata's with; parameters of a fixture."""


def made(kind: type[Server] | Engine, directory: Path, backend: RecordingBackend, unread: RecordingBackend) -> Server:
    """The server that a parameter stands for."""
    if isinstance(kind, Engine):
        return VrataServer(directory, backend, unread, engine=kind)
    return kind(directory, backend, unread)
