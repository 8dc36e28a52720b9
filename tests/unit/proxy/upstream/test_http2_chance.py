"""Pools of connections of HTTP/2 beneath clients and backends that do anything at any time."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random

import pytest
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from tests.support.conditions import eventually_async
from tests.support.http2_backend import Http2BackendConnection, Http2Request
from tests.support.http2_endpoint import Attempt, Endpoint, with_endpoint
from vrata.proxy.contracts import FailureClass
from vrata.proxy.runtime.shared_counts import SharedCounts
from vrata.proxy.upstream.queue import ConnectionLimits, Queue

STEPS = 400


class Backend:
    """What the backend of *endpoint* has, and does by chance."""

    def __init__(self, endpoint: Endpoint, chance: Random) -> None:
        self._endpoint = endpoint
        self._chance = chance
        self.open: list[Http2BackendConnection] = []
        self.most = 0
        self.is_kind = False
        """Every request is answered."""

    async def accept(self) -> None:
        """Take connections, for as long as it is not cancelled."""
        while True:
            connection = await self._endpoint.backend.next()
            self.open = [each for each in self.open if not each.is_over]
            self.open.append(connection)
            self.most = max(self.most, len(self.open))

    def act(self) -> None:
        """Do something with a request, or with a connection."""
        under_way = [
            request
            for connection in self.open
            if not connection.is_over
            for request in connection.requests
            if request.reset is None and not request.is_answered
        ]
        deed = self._chance.random()
        if under_way and (self.is_kind or deed < 0.8):
            self._treat(self._chance.choice(under_way))
        elif self.open and deed < 0.85:
            connection = self._chance.choice(self.open)
            connection.close()
        elif self.open and deed < 0.92:
            connection = self._chance.choice(self.open)
            connection.go_away(self._chance.choice([0, *(each.number for each in connection.requests)]))
            connection.close_soon()
        elif self.open:
            connection = self._chance.choice(self.open)
            with suppress(ProtocolError):  # the proxy has said goodbye
                connection.allow(self._chance.choice((0, 1, 2, 5)))

    def _treat(self, request: Http2Request) -> None:
        request.is_answered = True
        how = 0.0 if self.is_kind else self._chance.random()
        with suppress(ProtocolError):  # the proxy was quicker
            if how < 0.7:
                request.answer(b"ok")
            elif how < 0.8:
                request.refuse()
            elif how < 0.9:
                request.refuse(ErrorCodes.INTERNAL_ERROR)
            else:
                request.head([(":status", "200")])
                request.send(b"part")
                request.refuse(ErrorCodes.CANCEL)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("limit", "pending"), [(0, 0), (1, 3), (2, 1000)])
def test_nothing_is_lost_and_no_limit_is_exceeded(seed: int, limit: int, pending: int) -> None:
    @with_endpoint({SettingCodes.MAX_CONCURRENT_STREAMS: 3})
    async def scenario(endpoint: Endpoint) -> None:
        chance = Random(seed)
        loop = asyncio.get_running_loop()
        backend = Backend(endpoint, chance)
        accepting = loop.create_task(backend.accept())
        if limit:
            queue = Queue("d", SharedCounts.private().count, endpoint.sweeper, loop.time)
            queue.configure(ConnectionLimits(limit, 10, pending))
            endpoint.pool.limit(queue, limit)
        endpoint.pool.max_requests = chance.choice((0, 0, 5))
        cancelled: list[Attempt] = []
        for _ in range(STEPS):
            deed = chance.random()
            if deed < 0.35:
                endpoint.attempt(fresh=chance.random() < 0.1)
            elif deed < 0.45:
                running = [each for each in endpoint.attempts if not each.ends and each not in cancelled]
                if running:
                    attempt = chance.choice(running)
                    attempt.exchange.cancel()
                    cancelled.append(attempt)
            elif deed < 0.8:
                backend.act()
            else:
                await asyncio.sleep(chance.choice((0, 0, 0.001, 0.003)))
            assert endpoint.pool.in_flight >= 0
            if limit:
                assert endpoint.pool.in_use <= limit
        backend.is_kind = True

        def is_over() -> bool:
            backend.act()
            return all(each.ends or each in cancelled for each in endpoint.attempts)

        await eventually_async(is_over, what=f"all are over: {endpoint.state}")
        accepting.cancel()
        assert all(each.ends == (each not in cancelled) or each in cancelled for each in endpoint.attempts)
        complete = [each for each in endpoint.attempts if each.ends and each.failure is None]
        assert complete
        assert all((each.status, each.content) == (200, b"ok") for each in complete)
        if not limit:
            assert not any(each.failure is FailureClass.CIRCUIT_OPEN for each in endpoint.attempts)
        await eventually_async(lambda: endpoint.pool.in_flight == 0, what=f"nothing is in flight: {endpoint.state}")

    scenario(asyncio.new_event_loop)
