"""A pool of connections of HTTP/2 to a real backend, attempts over it, and the scenario that holds all of it clean."""

from __future__ import annotations

import asyncio
import functools
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from h2.settings import SettingCodes

from tests.support.conditions import eventually_async
from tests.support.http2_backend import Http2Backend
from tests.support.in_process_proxy import EACH_LOOP, LoopFactory
from tests.support.recording_attempt import RecordingAttempt
from vrata.net.deadlines import DeadlineSweeper
from vrata.net.upstream_tls import UpstreamTls
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.contracts import UpstreamTimeouts
from vrata.proxy.upstream.exchange import Exchange
from vrata.proxy.upstream.pool import EndpointPool

HEAD = b"GET /%d HTTP/1.1\r\nhost: a.test\r\n\r\n"
UPGRADE = (
    b"GET /%d HTTP/1.1\r\nhost: a.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
TIMEOUTS = UpstreamTimeouts()


class Attempt(RecordingAttempt):
    """An attempt with its exchange, and its number, which is its path."""

    exchange: Exchange

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.tunnel_ended = False

    def on_tunnel_end(self) -> None:
        self.tunnel_ended = True
        self._changed.set()

    async def until_tunnel_end(self) -> None:
        while not self.tunnel_ended:
            await self._change()

    async def until_status(self) -> None:
        while not self.status:
            await self._change()


class Endpoint:
    """A backend, a pool of connections to it, and attempts."""

    def __init__(self, backend: Http2Backend, pool: EndpointPool, sweeper: DeadlineSweeper) -> None:
        self.backend = backend
        self.pool = pool
        self.sweeper = sweeper
        self.attempts: list[Attempt] = []

    def attempt(
        self,
        content: bytes = b"",
        *,
        method: bytes = b"GET",
        end: bool = True,
        chunked: bool = False,
        fresh: bool = False,
        upgrade: bool = False,
        trailers: bytes = b"",
        timeouts: UpstreamTimeouts = TIMEOUTS,
    ) -> Attempt:
        """Begin an attempt, whose path is its number."""
        attempt = Attempt(len(self.attempts))
        self.attempts.append(attempt)
        attempt.exchange = Exchange(attempt, self.pool, timeouts, method, upgrade=upgrade)
        head = (UPGRADE if upgrade else HEAD) % attempt.number
        head = head.replace(b"GET", method)
        if chunked:
            head = head[:-2] + b"transfer-encoding: chunked\r\n\r\n"
        elif content:
            head = head[:-2] + b"content-length: %d\r\n\r\n" % len(content)
        attempt.exchange.start(head, content, end, chunked=chunked, fresh=fresh, trailers=trailers)
        return attempt

    @property
    def state(self) -> str:
        """What the pool says of itself, without its address, and how many it takes to be in flight."""
        text = repr(self.pool).partition(f":{self.pool.port} ")[2].rstrip(">")
        return f"{text}, {self.pool.in_flight} in flight"

    async def until_state(self, state: str) -> None:
        await eventually_async(lambda: self.state == state, what=f"{state}; it is {self.state}")

    async def close(self) -> None:
        """End everything, and see that nothing is left."""
        for attempt in self.attempts:
            attempt.exchange.cancel()
        self.pool.retire()
        await eventually_async(
            lambda: (
                (self.pool.connections, self.pool.in_flight, repr(self.sweeper))
                == (0, 0, "<DeadlineSweeper 0 watched>")
            ),
            what=f"nothing is left of {self.pool}, {self.pool.in_flight}, {self.sweeper}",
        )


Play = Callable[[Endpoint], Awaitable[None]]


def with_endpoint(
    settings: Mapping[SettingCodes, int] | None = None,
    *,
    tls: UpstreamTls | None = None,
    server_tls: ssl.SSLContext | None = None,
    greets: bool = True,
) -> Callable[[Play], Callable[[LoopFactory], None]]:
    """The test that plays a scenario with a backend on each event loop; the rest is as for the backend."""

    def decorated(play: Play) -> Callable[[LoopFactory], None]:
        async def main() -> None:
            surprises: list[dict[str, Any]] = []
            loop = asyncio.get_running_loop()
            loop.set_exception_handler(lambda _, context: surprises.append(context))
            tasks = TaskSupervisor()
            sweeper = DeadlineSweeper(loop)
            sweeper.start()
            async with Http2Backend(settings, greets=greets, tls=server_tls) as backend:
                pool = EndpointPool("127.0.0.1", backend.port, sweeper, tasks)
                pool.secure(tls, http2=True)
                endpoint = Endpoint(backend, pool, sweeper)
                try:
                    async with asyncio.timeout(20):
                        await play(endpoint)
                finally:
                    await endpoint.close()
            await tasks.stop()
            sweeper.stop()
            assert not surprises, surprises

        @functools.wraps(play)
        def test(loop_factory: LoopFactory) -> None:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(main())

        del test.__wrapped__  # pytest would look for the arguments of the scenario
        return EACH_LOOP(test)

    return decorated
