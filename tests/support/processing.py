"""One route through an ``extProc`` middleware to one backend, on a data plane in the process of the test."""

from __future__ import annotations

from typing import Any

from tests.support.gateway import Document, destination, forward, route
from tests.support.in_process_proxy import InProcessProxy
from tests.support.processors import Processor
from vrata.proxy.dataplane import ApplyReport


async def process(
    proxy: InProcessProxy,
    processor: Processor,
    port: int = 0,
    *,
    action: Document | None = None,
    override: Document | None = None,
    options: Document | None = None,
    **settings: Any,
) -> ApplyReport:
    """Apply a route by way of *processor*, with *settings* of the middleware: to the backend on *port*, or *action*."""
    found = processor.entities(**settings)
    if port:
        found["destinations"].append(destination("backend", port, **(options or {})))
    entry = route("all", **(action or {"forward": forward("backend")}), middlewareIds=["processing"])
    if override is not None:
        entry["middlewareOverrides"] = {"processing": {"extProc": override}}
    report = await proxy.apply(entry, listeners=[proxy.listener(http2=True)], **found)
    assert not report.problems, report
    return report
