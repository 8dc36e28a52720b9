"""The servers that the cases are tried on: Vrata with each of its engines, or another proxy that an environment
variable names (``VRATA_CONFORMANCE_HTTP2=nginx``), to see whether a case is right.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.gateway import destination, forward, route
from tests.support.nginx import Nginx
from tests.support.ports import free_port
from tests.support.recording_backend import RecordingBackend
from tests.support.threaded_proxy import ThreadedProxy


class Server(ABC):
    """A context manager: within it, everything that :attr:`port` is asked for goes to the *backend*."""

    def __init__(self, directory: Path, backend: RecordingBackend) -> None:
        self.directory = directory
        self.backend = backend
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
    """A data plane in this process."""

    def __init__(self, directory: Path, backend: RecordingBackend) -> None:
        super().__init__(directory, backend)
        self._threaded = ThreadedProxy()

    def __enter__(self) -> Self:
        self._threaded.__enter__()
        self.port = self._threaded.port
        try:
            self._threaded.run(self._configure())
        except BaseException as error:
            self._threaded.__exit__(type(error), error, None)
            raise
        return self

    async def _configure(self) -> None:
        proxy = self._threaded.proxy
        report = await proxy.apply(
            route("all", forward=forward("backend")),
            listeners=[proxy.listener(http2=True)],
            destinations=[destination("backend", self.backend.port)],
        )
        assert not report.problems, report

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threaded.__exit__(kind, error, trace)

    def complaints(self) -> list[object]:
        return self._threaded.complaints()


class NginxServer(Server):
    """A real nginx."""

    def __init__(self, directory: Path, backend: RecordingBackend) -> None:
        super().__init__(directory, backend)
        self.port = free_port()
        proxying = f"proxy_pass http://127.0.0.1:{backend.port}; proxy_http_version 1.1;"
        buffering = "proxy_request_buffering off; proxy_buffering off;"
        location = f"location / {{ {proxying} {buffering} }}"
        self._nginx = Nginx(directory, f"server {{ listen 127.0.0.1:{self.port} http2; {location} }}", port=self.port)

    def __enter__(self) -> Self:
        self._nginx.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nginx.stop()


_NAMED: dict[str, Callable[[Path, RecordingBackend], Server]] = {"nginx": NginxServer}
_ENGINES: dict[str, Callable[[Path, RecordingBackend], Server]] = {"vrata": VrataServer}

SERVERS = {name: _NAMED[name] for name in os.environ.get("VRATA_CONFORMANCE_HTTP2", "").split()} or _ENGINES
"""By name, what makes them."""
