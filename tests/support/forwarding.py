"""One route forwarded to one backend, the backend's ways to fail, and the error that a client then reads."""

from __future__ import annotations

import json
from typing import Any

from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy
from tests.support.raw_http import Response
from tests.support.staged_backend import Script, StagedConnection

EVENT_STREAM = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)


async def forward_to(
    proxy: InProcessProxy, port: int, *, limits: dict[str, str] | None = None, **settings: Any
) -> None:
    """Apply one route to one destination on *port* with time *limits*; *settings* are those of the forward action."""
    options: dict[str, Any] = {"timeouts": limits} if limits else {}
    await proxy.apply(
        route("all", forward=forward("backend", **settings)),
        listeners=[proxy.listener(proxyErrors={"detail": "full"})],
        destinations=[destination("backend", port, **options)],
    )


def error(response: Response) -> tuple[int, str]:
    """Status and class of an error that the proxy made."""
    assert response["content-type"] == "application/json"
    members = json.loads(response.body)
    assert members["status"] == response.status
    return response.status, members["error"]


async def stay_silent(connection: StagedConnection) -> None:
    await connection.read_request()
    await connection.gone()


def after_head(data: bytes, *, then: str) -> Script:
    """A script that sends *data* after a request and ends the connection: ``close``, ``reset``, or is ``silent``."""

    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(data)
        await connection.flush()
        if then == "silent":
            await connection.gone()
        elif then == "reset":
            connection.reset()

    return script
