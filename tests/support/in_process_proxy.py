"""A data plane on the event loop of the test, with sockets adopted as a worker adopts them.

:func:`on_each_loop` turns a scenario, an ``async`` function of a proxy, into a test that runs on every event loop that
Vrata supports, and holds every scenario to the same cleanliness: nothing logged as an error, nothing left open.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import ssl
from collections.abc import Callable, Coroutine, Iterable
from random import Random
from typing import Any, Concatenate, ParamSpec

import pytest
import structlog

from tests.support.conditions import eventually_async
from tests.support.stream_client import StreamClient
from vrata.net.event_loop import new_event_loop
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.dataplane import ApplyReport, DataPlane
from vrata.proxy.middleware.python.modules import NO_MODULES, PythonModules
from vrata.proxy.redis.rate_limits import RedisRateLimits
from vrata.proxy.redis.settings import RedisSettings
from vrata.proxy.sessions.redis_store import RedisSessionStore
from vrata.proxy.sessions.store import SessionStore

Document = dict[str, Any]
LoopFactory = Callable[[], asyncio.AbstractEventLoop]
P = ParamSpec("P")

EACH_LOOP = pytest.mark.parametrize(
    "loop_factory", [pytest.param(new_event_loop, id="uvloop"), pytest.param(asyncio.new_event_loop, id="asyncio")]
)


def listening_socket() -> socket.socket:
    """A bound, listening, non-blocking socket on a loopback port, as the supervisor makes them."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(512)
    return sock


def snapshot_document(snapshot_id: str, **entities: Iterable[Any]) -> Document:
    """A snapshot document as it comes over the sync stream."""
    collections = ("listeners", "routes", "groups", "destinations", "middlewares")
    content = {collection: list(entities.get(collection, ())) for collection in collections}
    return {"id": snapshot_id, "name": snapshot_id, "createdAt": "2024-01-01T00:00:00Z", "snapshot": content}


class InProcessProxy:
    """The data plane with one listener, and more on demand."""

    def __init__(
        self,
        *,
        cel_body_max_size: int = 65536,
        sessions: RedisSettings | SessionStore | None = None,
        python_modules: PythonModules = NO_MODULES,
    ) -> None:
        self.tasks = TaskSupervisor()
        limits = None
        if isinstance(sessions, RedisSettings):
            limits = RedisRateLimits(sessions, self.tasks, Random(1).random)
            sessions = RedisSessionStore(sessions, self.tasks, Random(1).random)
        self.data_plane = DataPlane(
            self.tasks, cel_body_max_size, sessions, fleet_limits=limits, python_modules=python_modules
        )
        self.port = self.listen()
        self._applied = 0
        self._clients: list[StreamClient] = []

    def listen(self) -> int:
        """Hand the data plane one more listening socket; returns its port."""
        sock = listening_socket()
        port: int = sock.getsockname()[1]
        self.data_plane.adopt_listener(f"127.0.0.1:{port}", sock)
        return port

    def listener(self, port: int | None = None, **settings: Any) -> Document:
        """A listener's document, by default on the first port."""
        port = port or self.port
        return {"id": f"listener-{port}", "name": f"listener {port}", "address": "127.0.0.1", "port": port, **settings}

    async def apply(self, *routes: Document, listeners: Iterable[Any] | None = None, **others: Any) -> ApplyReport:
        """Apply the next snapshot; unless *listeners* are given there is a plain one on the first port."""
        self._applied += 1
        found = [self.listener()] if listeners is None else listeners
        document = snapshot_document(f"snapshot-{self._applied}", listeners=found, routes=routes, **others)
        return await self.data_plane.apply(document)

    async def connect(
        self, port: int | None = None, *, receive_buffer: int = 0, tls: ssl.SSLContext | None = None
    ) -> StreamClient:
        """A client of the first listener, or of that on *port*."""
        client = await StreamClient.connect(port or self.port, receive_buffer=receive_buffer, tls=tls)
        self._clients.append(client)
        return client

    @property
    def watched(self) -> int:
        """How many objects have a deadline: every connection and every forwarded request does."""
        return int(repr(self.data_plane._sweeper).split()[1])

    async def end(self) -> None:
        """Drain at once, and check that nothing is left."""
        for client in self._clients:
            await client.gone()
        await self.data_plane.drain(0)
        await self.tasks.stop()
        await eventually_async(lambda: self.watched == 0, what=f"nothing is watched: {self.watched}")
        status = self.data_plane.status()
        assert (status.connections, status.in_flight) == (0, 0), status


def on_our_loop(
    scenario: Callable[Concatenate[InProcessProxy, P], Coroutine[Any, Any, None]],
) -> Callable[..., None]:
    """As :func:`on_each_loop`, on the loop that workers use alone: for what depends on loops no more than others do."""
    return _test(scenario, None)


def run_scenario(
    loop_factory: LoopFactory,
    scenario: Callable[[InProcessProxy], Coroutine[Any, Any, None]],
    make: Callable[[], InProcessProxy] = InProcessProxy,
) -> None:
    """Run *scenario* on a loop of its own, with the proxy that *make* makes there."""
    surprises: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: surprises.append(context))
        proxy = make()
        try:
            async with asyncio.timeout(90):
                await scenario(proxy)
        finally:
            await proxy.end()

    with structlog.testing.capture_logs() as entries, asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
    assert not surprises
    assert not [entry for entry in entries if entry["log_level"] in ("error", "critical")]


def on_each_loop(scenario: Callable[Concatenate[InProcessProxy, P], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test that runs *scenario* with a fresh proxy; its further parameters are the test's."""
    test: Callable[..., None] = EACH_LOOP(_test(scenario, "loop_factory"))
    return test


def _test(
    scenario: Callable[Concatenate[InProcessProxy, P], Coroutine[Any, Any, None]], loop_parameter: str | None
) -> Callable[..., None]:
    """The test that runs *scenario*; without a parameter for the loop that is our own."""

    def test(*args: P.args, **kwargs: P.kwargs) -> None:
        factory: Any = new_event_loop if loop_parameter is None else kwargs.pop(loop_parameter)
        run_scenario(factory, lambda proxy: scenario(proxy, *args, **kwargs))

    signature = inspect.signature(scenario)
    own = list(signature.parameters.values())[1:]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    if loop_parameter is not None:
        parameters.append(inspect.Parameter(loop_parameter, inspect.Parameter.KEYWORD_ONLY))
    test.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    test.__name__, test.__qualname__, test.__doc__ = scenario.__name__, scenario.__qualname__, scenario.__doc__
    test.__module__ = scenario.__module__
    return test
