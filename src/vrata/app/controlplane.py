"""The control plane as a process: store, feed, API and the order in which they start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import socket
import sys
from collections.abc import Iterator

import structlog

from vrata.app.exit_code import EXIT_UNUSABLE
from vrata.app.stop_request import StopRequest
from vrata.config import Settings
from vrata.controlplane.api.application import build
from vrata.controlplane.auth import Authenticator
from vrata.controlplane.proxies import ProxyRegistry
from vrata.controlplane.snapshots.capture import SnapshotCapturer
from vrata.controlplane.store.base import Store
from vrata.controlplane.store.errors import StoreOpenError
from vrata.controlplane.store.sqlite import FILE_NAME, SqliteStore
from vrata.controlplane.sync import SnapshotFeed
from vrata.controlplane.tls import ServerContext, TlsMaterialError
from vrata.net.event_loop import new_event_loop
from vrata.net.http_server import HttpServer
from vrata.net.listening import ListenError, listen
from vrata.observability.logging import configure
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.explain.explainer import Explainer

COLLECTOR_THRESHOLDS = (700, 10, 1000)
"""Of the garbage collector. Capturing and explaining 50,000 routes would set off a dozen full collections, each of
which keeps other requests waiting for a third of a second; so they are a hundred times rarer than usual."""

_log = structlog.get_logger("vrata.controlplane")


def run(settings: Settings) -> int:
    """Run the control plane until SIGTERM, SIGINT or the end of the lifeline; returns the exit code.

    0 after a stop that was asked for; 2, with one message on standard error, if it could not start. SIGHUP makes it
    read its certificates again at once instead of within ten seconds.
    """
    configure(settings.log.format, settings.log.level)
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            runner.run(_run(settings))
        except (StoreOpenError, ListenError, TlsMaterialError) as error:
            sys.stderr.write(f"vrata: {error}\n")
            return EXIT_UNUSABLE
    return 0


async def _run(settings: Settings) -> None:
    control_plane = settings.control_plane
    tls = None if control_plane.tls is None else ServerContext(control_plane.tls)
    stop = StopRequest(on_insist=_nothing, on_hangup=_nothing if tls is None else tls.try_refresh)
    store = await SqliteStore.open(control_plane.store_path / FILE_NAME, control_plane.encryption_key)
    try:
        with _closed_at_end(listen(control_plane.address)) as sockets:
            await _serve(settings, store, sockets, tls, stop)
    finally:
        await store.close()
    _log.info("control plane stopped")


def _nothing() -> None:
    """There is nothing to kill and nothing to read again."""


async def _serve(
    settings: Settings,
    store: Store,
    sockets: list[socket.socket],
    tls: ServerContext | None,
    stop: StopRequest,
) -> None:
    control_plane = settings.control_plane
    tasks = TaskSupervisor()
    feed = SnapshotFeed(store)
    app = build(
        store,
        SnapshotCapturer(store, os.environ, control_plane.secret_sources),
        feed,
        ProxyRegistry(),
        Authenticator((entry.name, entry.key) for entry in control_plane.api_keys),
        tasks,
        # The one place where the planes meet: how proxies decide, they know themselves.
        Explainer(settings.proxy.cel_body_max_size),
    )
    server = HttpServer(app, None if tls is None else tls.context)
    serving = tasks.start(server.serve(sockets), name="api server")
    # A server that ends by itself has failed; without this the process would stay and do nothing.
    serving.add_done_callback(lambda _: stop.make())
    if tls is not None:
        tasks.start(tls.watch(), name="certificate watch")
    scheme = "http" if tls is None else "https"
    for listening in sockets:
        host, port = listening.getsockname()[:2]
        _log.info("control plane listening", url=f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/api/v1")
    if not control_plane.api_keys and not control_plane.address.host.startswith(("127.", "localhost", "::1")):
        _log.warning("no API key is configured: whoever reaches the API may do everything")
    try:
        await stop.wait()
        # Streams never end by themselves: close them first, or the server waits for them until its deadline.
        feed.close()
        server.stop()
        await serving
    finally:
        await tasks.stop()


@contextlib.contextmanager
def _closed_at_end(sockets: list[socket.socket]) -> Iterator[list[socket.socket]]:
    try:
        yield sockets
    finally:
        for listening in sockets:
            listening.close()
