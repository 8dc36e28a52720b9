"""A route with retries, and backends that fail in turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy
from tests.support.staged_backend import ReceivedRequest, Script, StagedConnection
from vrata.policy.retry_budget import RetryBudget

AT_ONCE = {"base": "1ms", "max": "1ms"}
"""Back-off that a test does not notice."""
EVERYTHING = ("server-error", "connection-failure", "retriable-codes")

Answer = Callable[[StagedConnection, ReceivedRequest], Awaitable[None]]


async def retry_to(
    proxy: InProcessProxy,
    *ports: int,
    limits: dict[str, str] | None = None,
    timeouts: dict[str, str] | None = None,
    group: dict[str, Any] | None = None,
    listeners: list[dict[str, Any]] | None = None,
    options: dict[str, Any] | None = None,
    forwarding: dict[str, Any] | None = None,
    **retry: Any,
) -> None:
    """Apply one route to one destination with an endpoint on each of *ports*; *retry* are its settings, if any.

    *limits* are the destination's, *timeouts* the route's, and *forwarding* is what else that says. It is in *group* if
    that is given.
    """
    stated: dict[str, Any] = {**({"timeouts": limits} if limits else {}), **(options or {})}
    document = destination("backend", ports[0], **stated)
    document["endpoints"] = [{"host": "127.0.0.1", "port": port} for port in ports]
    settings: dict[str, Any] = {"timeouts": timeouts} if timeouts else {}
    settings |= forwarding or {}
    if retry:
        settings["retry"] = {"backoff": AT_ONCE, **retry}
    await proxy.apply(
        route("all", forward=forward("backend", **settings)),
        listeners=listeners or [proxy.listener(proxyErrors={"detail": "full"})],
        destinations=[document],
        groups=[] if group is None else [{"id": "g", "name": "g", "routeIds": ["all"], **group}],
    )


def in_turn(*answers: Answer) -> Script:
    """A script whose requests get *answers* in the order in which they come, on whichever connection; then ``ok``."""
    left = list(answers)

    async def script(connection: StagedConnection) -> None:
        while True:
            found = await connection.read_head()
            answer = left.pop(0) if left else respond(200, b"ok")
            await answer(connection, found)

    return script


def respond(status: int, body: bytes = b"", *fields: str) -> Answer:
    """Read the whole request and answer it."""

    async def answer(connection: StagedConnection, found: ReceivedRequest) -> None:
        await connection.read_body(found)
        connection.respond(body, *fields, status=status)

    return answer


async def reset(connection: StagedConnection, found: ReceivedRequest) -> None:
    """Read the whole request and end the connection with a reset."""
    await connection.read_body(found)
    connection.reset()
    raise EOFError


async def close(connection: StagedConnection, found: ReceivedRequest) -> None:
    """Read the whole request and close the connection."""
    await connection.read_body(found)
    raise EOFError


async def silence(connection: StagedConnection, found: ReceivedRequest) -> None:
    """Read the whole request and wait until the proxy has gone."""
    await connection.read_body(found)
    await connection.gone()
    raise EOFError


def retry_budget(proxy: InProcessProxy) -> RetryBudget:
    """The retry budget of the destination."""
    return proxy.data_plane._registry.retry_budget("backend")
