"""A client of the control plane's API, as small as curl."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from queue import Queue
from types import TracebackType
from typing import Any

import httpx


class ApiClient:
    """Speaks to the API at *url* (without ``/api/v1``); a context manager."""

    def __init__(self, url: str, headers: dict[str, str] | None = None) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url + "/api/v1", headers=headers, timeout=20, trust_env=False, verify=False)

    def __enter__(self) -> ApiClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.http.close()

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path)

    def post(self, path: str, document: Any = None) -> httpx.Response:
        return self.http.post(path, content=None if document is None else json.dumps(document))

    def put(self, path: str, document: Any) -> httpx.Response:
        return self.http.put(path, content=json.dumps(document))

    def delete(self, path: str) -> httpx.Response:
        return self.http.delete(path)

    def create(self, collection: str, **members: Any) -> dict[str, Any]:
        """Create an entity or snapshot and return what the API answered."""
        answer = self.post(f"/{collection}", members)
        assert answer.status_code == 201, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def activate(self, snapshot_id: str) -> None:
        answer = self.post(f"/snapshots/{snapshot_id}/activate")
        assert answer.status_code == 200, answer.text

    def clear(self) -> None:
        """Delete every entity and snapshot."""
        found = self.get("/debug/config").json()
        found |= {collection: self.get(f"/{collection}").json() for collection in ("secrets", "snapshots")}
        for collection, documents in found.items():
            for document in documents:
                assert self.delete(f"/{collection}/{document['id']}").status_code == 204

    @contextlib.contextmanager
    def stream(self, **headers: str) -> Iterator[EventReader]:
        """The stream of the active snapshot, open from the first statement inside on."""
        with self.http.stream("GET", "/sync/snapshot", headers=headers, timeout=None) as response:
            try:
                yield EventReader(response)
            finally:
                # Closing alone would leave the connection open for as long as the reader waits on it.
                response.extensions["network_stream"].get_extra_info("socket").shutdown(socket.SHUT_RDWR)


class EventReader:
    """Reads the blocks of one event stream in the background."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._blocks: Queue[list[str] | None] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def block(self, timeout: float = 10) -> list[str] | None:
        """The lines of the next event or comment; ``None`` at the end of the stream. Raises ``queue.Empty``."""
        return self._blocks.get(timeout=timeout)

    def snapshot(self, timeout: float = 10) -> dict[str, Any]:
        """The document of the next event."""
        block = self.block(timeout)
        assert block is not None, "the stream has ended"
        assert len(block) == 2
        assert block[0] == "event: snapshot"
        document: dict[str, Any] = json.loads(block[1].removeprefix("data: "))
        return document

    def is_silent(self, seconds: float = 0.3) -> bool:
        """Whether nothing comes within *seconds*."""
        with contextlib.suppress(Exception):
            self._blocks.get(timeout=seconds)
            return False
        return True

    def _read(self) -> None:
        block: list[str] = []
        with contextlib.suppress(httpx.HTTPError, httpx.StreamError):
            for line in self.response.iter_lines():
                if line:
                    block.append(line)
                else:
                    self._blocks.put(block)
                    block = []
        self._blocks.put(None)
