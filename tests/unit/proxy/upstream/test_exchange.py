"""Attempts at a real backend on loopback: which connection they use, how they end, and what is left in the pool."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.manual_loop import ManualLoop
from tests.support.memory_transport import HIGH_WATER, MemoryTransport
from tests.support.ports import free_port
from tests.support.recording_attempt import RecordingAttempt
from tests.support.scripted_backend import BackendConnection, ScriptedBackend
from vrata.net.deadlines import DeadlineSweeper
from vrata.net.dial import DialError, DialStage
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.contracts import FailureClass, UpstreamTimeouts
from vrata.proxy.upstream import pool as pool_module
from vrata.proxy.upstream.exchange import MAX_UNSENT, Exchange
from vrata.proxy.upstream.http1_connection import Http1Connection
from vrata.proxy.upstream.pool import EndpointPool
from vrata.wire.http1.head import ResponseHead

HEAD = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TIMEOUTS = UpstreamTimeouts()


class Endpoint:
    """A backend, a pool of connections to it, and attempts."""

    def __init__(self, backend: ScriptedBackend, pool: EndpointPool) -> None:
        self.backend = backend
        self.pool = pool
        self._exchanges: list[Exchange] = []

    def attempt(
        self,
        head: bytes = HEAD,
        content: bytes = b"",
        *,
        end: bool = True,
        chunked: bool = False,
        fresh: bool = False,
        method: bytes = b"GET",
        timeouts: UpstreamTimeouts = TIMEOUTS,
    ) -> tuple[RecordingAttempt, Exchange]:
        owner = RecordingAttempt()
        exchange = Exchange(owner, self.pool, timeouts, method)
        self._exchanges.append(exchange)
        exchange.start(head, content, end, chunked=chunked, fresh=fresh)
        return owner, exchange

    async def complete(self, connection: BackendConnection, owner: RecordingAttempt, answer: bytes = OK) -> None:
        await connection.read_head()
        connection.send(answer)
        await owner.until_ended()

    async def served(self, answer: bytes = OK) -> BackendConnection:
        """A connection on which one request was answered, so that it is idle."""
        owner, _ = self.attempt(fresh=True)
        connection = await self.backend.accept()
        await self.complete(connection, owner, answer)
        assert owner.failure is None
        return connection

    async def close(self) -> None:
        """Leave no connection behind."""
        for exchange in self._exchanges:
            exchange.cancel()
        self.pool.retire()
        await self.until_connections(0)

    async def until_connections(self, number: int) -> None:
        deadline = asyncio.get_running_loop().time() + 10
        while self.pool.connections != number:
            assert asyncio.get_running_loop().time() < deadline, self.pool
            await asyncio.sleep(0.001)


def run(scenario: Callable[[Endpoint], Awaitable[None]]) -> None:
    async def main() -> None:
        tasks = TaskSupervisor()
        sweeper = DeadlineSweeper(asyncio.get_running_loop())
        sweeper.start()
        async with ScriptedBackend() as backend:
            endpoint = Endpoint(backend, EndpointPool("127.0.0.1", backend.port, sweeper, tasks))
            try:
                await scenario(endpoint)
            finally:
                await endpoint.close()
        await tasks.stop()
        sweeper.stop()

    asyncio.run(main())


# -- reuse -----------------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        connection = await endpoint.served()
        owner, exchange = endpoint.attempt()
        assert exchange.reused
        assert owner.requests_sent == 1
        await endpoint.complete(connection, owner)
        assert (owner.status, owner.content, owner.ends) == (200, b"ok", 1)
        assert endpoint.backend.connections == 1

    run(scenario)


def test_the_connection_used_last_is_used_first() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        attempts = [endpoint.attempt()[0] for _ in range(3)]
        connections = [await endpoint.backend.accept() for _ in range(3)]
        for connection in connections:
            await connection.read_head()
        for connection, ended in zip(connections, (1, 2, 3), strict=True):
            connection.send(OK)
            while sum(attempt.ends for attempt in attempts) < ended:  # noqa: ASYNC110 - any of the three
                await asyncio.sleep(0)
        for connection in reversed(connections):
            owner, _ = endpoint.attempt()
            await connection.read_head()
            assert owner.status == 0
        assert endpoint.backend.connections == 3

    run(scenario)


def test_fresh_asks_for_a_new_connection() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        await endpoint.served()
        owner, exchange = endpoint.attempt(fresh=True)
        await endpoint.complete(await endpoint.backend.accept(), owner)
        assert not exchange.reused
        assert endpoint.pool.connections == 2

    run(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(OK + b"HTTP/1.1 200 OK\r\n", id="bytes behind the response"),
        pytest.param(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", id="close"),
        pytest.param(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", id="HTTP/1.0"),
    ],
)
def test_what_forbids_reuse_closes_the_connection(answer: bytes) -> None:
    async def scenario(endpoint: Endpoint) -> None:
        connection = await endpoint.served(answer)
        assert await connection.read_to_end() == b""
        await endpoint.until_connections(0)
        assert endpoint.pool.take() is None

    run(scenario)


@pytest.mark.parametrize("how", ["bytes", "close", "reset"])
def test_an_idle_connection_that_ends_is_taken_out(how: str) -> None:
    async def scenario(endpoint: Endpoint) -> None:
        connection = await endpoint.served()
        if how == "bytes":
            connection.send(OK)
        elif how == "close":
            connection.close()
        else:
            connection.reset()
        await endpoint.until_connections(0)
        owner, exchange = endpoint.attempt()
        assert not exchange.reused
        await endpoint.complete(await endpoint.backend.accept(), owner)
        assert owner.content == b"ok"

    run(scenario)


def test_an_idle_connection_expires() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        owner, _ = endpoint.attempt(timeouts=UpstreamTimeouts(idle_connection=0.06))
        connection = await endpoint.backend.accept()
        await endpoint.complete(connection, owner)
        assert endpoint.pool.connections == 1
        assert await connection.read_to_end() == b""
        await endpoint.until_connections(0)

    run(scenario)


def test_a_retired_pool_keeps_nothing_idle_but_lets_attempts_finish() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        idle = await endpoint.served()
        owner, _ = endpoint.attempt(fresh=True)
        busy = await endpoint.backend.accept()
        await busy.read_head()
        endpoint.pool.retire()
        assert await idle.read_to_end() == b""
        busy.send(OK)
        await owner.until_ended()
        assert owner.content == b"ok"
        assert await busy.read_to_end() == b""
        await endpoint.until_connections(0)

    run(scenario)


def test_a_response_before_the_end_of_the_request_forbids_reuse() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        owner, exchange = endpoint.attempt(b"POST / HTTP/1.1\r\n\r\n", b"ab", end=False)
        connection = await endpoint.backend.accept()
        await endpoint.complete(connection, owner)
        exchange.send(b"late", True)
        assert owner.requests_sent == 0
        assert await connection.read_to_end() == b"ab"
        assert endpoint.pool.take() is None

    run(scenario)


# -- how an attempt ends ---------------------------------------------------------------------------------------------


def test_a_body_until_close() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        owner, _ = endpoint.attempt()
        connection = await endpoint.backend.accept()
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await owner.until_content(3)
        assert owner.ends == 0
        connection.close()
        await owner.until_ended()
        assert (owner.content, owner.failure, owner.ends) == (b"abc", None, 1)
        await endpoint.until_connections(0)

    run(scenario)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"nonsense\r\n\r\n",
    ],
)
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_truncated_response_is_a_failure(answer: bytes, how: str) -> None:
    async def scenario(endpoint: Endpoint) -> None:
        owner, _ = endpoint.attempt()
        connection = await endpoint.backend.accept()
        await connection.read_head()
        if answer:
            connection.send(answer)
            await owner.until_content(3 if b"abc" in answer else 0)
        if how == "close":
            connection.close()
        else:
            connection.reset()
        await owner.until_ended()
        assert (owner.failure, owner.ends) == (FailureClass.CONNECTION_RESET, 1)
        await endpoint.until_connections(0)

    run(scenario)


def test_informational_responses_are_told() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        owner, _ = endpoint.attempt()
        connection = await endpoint.backend.accept()
        await endpoint.complete(connection, owner, b"HTTP/1.1 100 x\r\n\r\nHTTP/1.1 103 x\r\n\r\n" + OK)
        assert (owner.informational, owner.content) == ([100, 103], b"ok")
        assert repr(endpoint.pool).endswith("1 connections, 1 idle, 0 dialling>")

    run(scenario)


@pytest.mark.parametrize("when", ["dialling", "waiting", "reading"])
def test_a_cancelled_attempt_tells_nothing_and_its_connection_is_not_used_again(when: str) -> None:
    async def scenario(endpoint: Endpoint) -> None:
        owner, exchange = endpoint.attempt()
        if when == "dialling":
            exchange.cancel()
            await endpoint.until_connections(1)
            # It never carried a request, so another one may have it.
            assert repr(endpoint.pool).endswith("1 connections, 1 idle, 0 dialling>")
        else:
            connection = await endpoint.backend.accept()
            await connection.read_head()
            if when == "reading":
                connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
                await owner.until_content(3)
            exchange.cancel()
            exchange.cancel()
            connection.send(b"more")
            assert await connection.read_to_end() == b""
            await endpoint.until_connections(0)
        assert (owner.ends, owner.failure) == (0, None)

    run(scenario)


def test_nobody_listens() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        endpoint.pool.port = free_port()
        owner, _ = endpoint.attempt()
        await owner.until_ended()
        assert (owner.failure, owner.ends) == (FailureClass.CONNECTION_REFUSED, 1)
        assert "Connect call failed" in owner.detail or "refused" in owner.detail.lower()
        assert endpoint.pool.connections == 0

    run(scenario)


@pytest.mark.parametrize(
    ("stage", "failure"),
    [
        (DialStage.RESOLVE, FailureClass.DNS_FAILURE),
        (DialStage.CONNECT, FailureClass.CONNECTION_REFUSED),
        (DialStage.TIMEOUT, FailureClass.TIMEOUT),
    ],
)
def test_a_dial_that_fails(monkeypatch: pytest.MonkeyPatch, stage: DialStage, failure: FailureClass) -> None:
    async def fail(*arguments: object, **options: object) -> Http1Connection:
        raise DialError(stage, "said by the system")

    async def scenario(endpoint: Endpoint) -> None:
        monkeypatch.setattr(pool_module, "dial", fail)
        owner, _ = endpoint.attempt()
        await owner.until_ended()
        assert (owner.failure, owner.detail, owner.ends) == (failure, "said by the system", 1)
        cancelled, exchange = endpoint.attempt()
        exchange.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert cancelled.ends == 0

    run(scenario)


# -- the request -----------------------------------------------------------------------------------------------------


def test_a_body_of_known_length_is_sent_as_it_is() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        owner, exchange = endpoint.attempt(b"POST / HTTP/1.1\r\n\r\n", b"ab", end=False)
        exchange.send(b"cd", False)
        connection = await endpoint.backend.accept()
        assert await connection.read_head() == b"POST / HTTP/1.1\r\n\r\n"
        assert owner.requests_sent == 0
        exchange.send(b"ef", True)
        assert await connection.read(6) == b"abcdef"
        assert owner.requests_sent == 1
        connection.send(OK)
        await owner.until_ended()
        assert repr(endpoint.pool).endswith("1 connections, 1 idle, 0 dialling>")

    run(scenario)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([b""], b"0\r\n\r\n"),
        ([b"ab"], b"2\r\nab\r\n0\r\n\r\n"),
        ([b"", b"ab", b"", b"c"], b"3\r\nabc\r\n0\r\n\r\n"),
        ([b"ab", b""], b"2\r\nab\r\n0\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("reused", [True, False])
def test_a_body_of_unknown_length_is_sent_in_chunks(pieces: list[bytes], expected: bytes, reused: bool) -> None:
    async def scenario(endpoint: Endpoint) -> None:
        idle = await endpoint.served() if reused else None
        last = len(pieces) - 1
        owner, exchange = endpoint.attempt(b"POST / HTTP/1.1\r\n\r\n", pieces[0], end=last == 0, chunked=True)
        for number, piece in enumerate(pieces[1:], start=1):
            exchange.send(piece, number == last)
        connection = idle or await endpoint.backend.accept()
        await connection.read_head()
        # What came during the dial is sent in one piece.
        framed = expected.replace(b"3\r\nabc", b"2\r\nab\r\n1\r\nc") if reused else expected
        assert await connection.read(len(framed)) == framed
        await owner.until_request_sent()
        assert owner.requests_sent == 1

    run(scenario)


def test_a_client_is_held_back_while_a_connection_is_dialled() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        owner, exchange = endpoint.attempt(b"POST / HTTP/1.1\r\n\r\n", b"", end=False)
        exchange.send(b"x" * MAX_UNSENT, False)
        assert owner.full
        connection = await endpoint.backend.accept()
        await connection.read_head()
        assert await connection.read(MAX_UNSENT) == b"x" * MAX_UNSENT
        assert not owner.full

    run(scenario)


def test_backpressure_of_a_response() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        owner, exchange = endpoint.attempt()
        connection = await endpoint.backend.accept()
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        await owner.until_content(3)
        exchange.pause_response()
        connection.send(b"def")
        await asyncio.sleep(0.02)
        assert owner.content == b"abc"
        exchange.resume_response()
        await owner.until_ended()
        assert owner.content == b"abcdef"

    run(scenario)


def test_the_reprs_say_what_is_going_on() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        address = f"127.0.0.1:{endpoint.backend.port}"
        owner, exchange = endpoint.attempt()
        assert repr(exchange) == f"<Exchange GET {address} dialling>"
        assert repr(endpoint.pool) == f"<EndpointPool {address} 0 connections, 0 idle, 1 dialling>"
        connection = await endpoint.backend.accept()
        await connection.read_head()
        assert repr(exchange) == f"<Exchange GET {address} running>"
        connection.send(OK)
        await owner.until_ended()
        assert repr(exchange) == f"<Exchange GET {address} over>"
        assert repr(endpoint.pool) == f"<EndpointPool {address} 1 connections, 1 idle, 0 dialling>"
        endpoint.pool.retire()
        assert repr(endpoint.pool).endswith(", retired>")

    run(scenario)


# -- what the exchange has to get right yet --------------------------------------------------------------------------


def test_a_connection_that_is_full_at_once_stays_full(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(endpoint: Endpoint) -> None:
        transports: list[MemoryTransport] = []

        loop = ManualLoop()

        async def connect(host: str, port: int, factory: Callable[[str], Http1Connection], **_: object) -> object:
            connection = factory("")
            transports.append(MemoryTransport(loop, connection))
            transports[0].stop_reading()
            return connection

        monkeypatch.setattr(pool_module, "dial", connect)
        owner, exchange = endpoint.attempt(b"POST / HTTP/1.1\r\n\r\n", b"", end=False)
        exchange.send(b"x" * (MAX_UNSENT + HIGH_WATER), False)
        while not transports or not transports[0].get_write_buffer_size():  # noqa: ASYNC110 - the dial is a task
            await asyncio.sleep(0)
        full = owner.full
        exchange.cancel()
        loop.settle()
        assert full

    run(scenario)


def test_a_pause_during_the_dial_holds_when_the_connection_is_there() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        owner, exchange = endpoint.attempt()
        exchange.pause_response()
        connection = await endpoint.backend.accept()
        await connection.read_head()
        connection.send(OK)
        await asyncio.sleep(0.02)
        assert owner.status == 0

    run(scenario)


class SlowClientAttempt(RecordingAttempt):
    """Pauses its attempt when an interim answer comes."""

    exchange: Exchange

    def on_informational(self, head: ResponseHead) -> None:
        super().on_informational(head)
        self.exchange.pause_response()


def test_a_pause_ends_with_its_exchange() -> None:
    async def scenario(endpoint: Endpoint) -> None:
        connection = await endpoint.served()
        owner = SlowClientAttempt()
        owner.exchange = Exchange(owner, endpoint.pool, TIMEOUTS, b"GET")
        owner.exchange.start(HEAD, b"", True, chunked=False)
        # The final answer stands in the same segment as the interim one.
        await endpoint.complete(connection, owner, b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
        following, exchange = endpoint.attempt()
        assert exchange.reused
        await asyncio.wait_for(endpoint.complete(connection, following), 30)
        assert following.content == b"ok"

    run(scenario)
