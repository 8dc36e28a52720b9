"""Middlewares around one route that forwards everything to one backend."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tests.support.gateway import Document, destination, forward, route
from tests.support.in_process_proxy import InProcessProxy


def middleware(id: str, kind: str, **settings: Any) -> Document:  # noqa: A002 - the name of the field
    """A middleware of type *kind*."""
    return {"id": id, "name": id, "type": kind, kind: settings}


async def pass_through(
    proxy: InProcessProxy,
    port: int,
    middlewares: Iterable[Document],
    *,
    overrides: Mapping[str, Document] | None = None,
    listener: Document | None = None,
) -> None:
    """Have all requests pass *middlewares*, the first one first, on their way to the backend on *port*."""
    stated = list(middlewares)
    attached: Document = {"middlewareIds": [each["id"] for each in stated]}
    if overrides:
        attached["middlewareOverrides"] = dict(overrides)
    report = await proxy.apply(
        {**route("all", forward=forward("backend")), **attached},
        listeners=[proxy.listener(**(listener or {}))],
        destinations=[destination("backend", port)],
        middlewares=stated,
    )
    assert report.problems == ()
