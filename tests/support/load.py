"""Steady traffic in the background, and whether all of it was answered."""

from __future__ import annotations

import http.client
import threading
import time
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from tests.support.conditions import eventually


class BackgroundLoad(ABC):
    """Clients, each in a thread of its own, from entering to leaving; a context manager."""

    def __init__(self, clients: int) -> None:
        self.failures: list[str] = []
        self.answered = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)

    def more(self, count: int = 50) -> None:
        """Wait until *count* more requests were answered."""
        wanted = self.answered + count
        eventually(lambda: self.answered >= wanted, what=f"{count} more answers; failures: {self.failures[:3]}")

    @abstractmethod
    def _run(self) -> None:
        """One client, until it is over."""


class Load(BackgroundLoad):
    """Clients that send GET requests one after the other, each on a connection it keeps.

    *reconnect*: a new connection for every request instead. A connection that is closed between two requests is
    opened again, as any client does; everything else that is no answer with status 200 counts as a failure.
    """

    def __init__(self, port: int, path: str = "/", *, clients: int = 4, reconnect: bool = False) -> None:
        super().__init__(clients)
        self.slowest = 0.0
        """Seconds that the slowest answer took."""
        self._port = port
        self._path = path
        self._reconnect = reconnect

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
        is_fresh = True
        while not self._over.is_set():
            began = time.monotonic()
            try:
                connection.request("GET", self._path)
                response = connection.getresponse()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # On a connection that was used before, the server may just have ended it: ask again.
                if is_fresh or not isinstance(error, http.client.RemoteDisconnected | ConnectionError):
                    self._fail(repr(error))
                is_fresh = True
                continue
            is_fresh = bool(response.will_close) or self._reconnect
            if is_fresh:
                connection.close()
            if response.status != 200:
                self._fail(f"status {response.status}")
                continue
            with self._lock:
                self.answered += 1
                self.slowest = max(self.slowest, time.monotonic() - began)
        connection.close()

    def _fail(self, reason: str) -> None:
        with self._lock:
            self.failures.append(reason)
        self._over.wait(0.01)
