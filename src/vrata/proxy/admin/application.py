"""What the admin port answers, as an application of ASGI."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from vrata.observability import exposition
from vrata.observability.exposition import OPENMETRICS_TYPE, PROMETHEUS_TYPE, wants_openmetrics
from vrata.proxy.admin import configuration_figures
from vrata.proxy.admin.process_figures import ProcessFigures
from vrata.proxy.status import WorkerState
from vrata.proxy.supervisor.supervisor import Supervisor
from vrata.proxy.sync.stream import SnapshotStream

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Answer: TypeAlias = tuple[int, bytes, bytes]
"""Status, Content-Type and content."""

JSON_TYPE: Final = b"application/json"


class AdminApplication:
    """``/metrics``, ``/healthz`` and ``/readyz``, for whoever reaches the port; nothing can be changed there."""

    def __init__(self, supervisor: Supervisor, stream: SnapshotStream) -> None:
        self._supervisor = supervisor
        self._stream = stream
        self._processes = ProcessFigures(supervisor.slots)

    def __repr__(self) -> str:
        return f"<AdminApplication of {self._supervisor!r}>"

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request."""
        method = scope["method"]
        fields = [(b"cache-control", b"no-store")]
        if method not in ("GET", "HEAD"):
            status, kind, content = _error(405, "method_not_allowed", "everything here is read with GET")
            fields.append((b"allow", b"GET, HEAD"))
        else:
            status, kind, content = await self._answer(scope)
        fields += [(b"content-type", kind), (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": b"" if method == "HEAD" else content})

    async def _answer(self, scope: Message) -> Answer:
        match scope["path"]:
            case "/metrics":
                accept = b",".join(value for name, value in scope["headers"] if name == b"accept")
                return await self._metrics(openmetrics=wants_openmetrics(accept.decode("latin-1")))
            case "/healthz":
                return _json(200, {"status": "ok"})
            case "/readyz":
                return self._readiness()
        return _error(404, "not_found", "there are /metrics, /healthz and /readyz")

    def _readiness(self) -> Answer:
        supervisor = self._supervisor
        document = supervisor.edition.document
        states = [worker.state for slot in supervisor.slots for worker in slot.statuses()]
        if supervisor.is_draining:
            reason = "the proxy is draining"
        elif document.is_empty:
            reason = "no snapshot was applied yet"
        elif WorkerState.SERVING not in states:
            reason = "no worker serves"
        else:
            return _json(200, {"status": "ready", "snapshotId": document.identity.id})
        return _json(503, {"status": "not_ready", "reason": reason})

    async def _metrics(self, *, openmetrics: bool) -> Answer:
        families = [*await self._processes.samples()]
        families += configuration_figures.samples(self._supervisor, self._stream)
        text = await exposition.text(families, openmetrics=openmetrics)
        return 200, OPENMETRICS_TYPE if openmetrics else PROMETHEUS_TYPE, text


def _json(status: int, document: dict[str, Any]) -> Answer:
    return status, JSON_TYPE, json.dumps(document).encode() + b"\n"


def _error(status: int, error: str, message: str) -> Answer:
    return _json(status, {"error": error, "status": status, "message": message})
