"""Pools with a limit, over a real backend: who waits, who goes first, and what the workers leave to each other."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.conditions import eventually_async, settled
from tests.support.in_process_proxy import EACH_LOOP, LoopFactory
from tests.support.limited_pools import LAST_OK, OK, Proxy, scenario
from tests.support.ports import free_port
from tests.support.scripted_backend import ScriptedBackend
from vrata.proxy.contracts import FailureClass
from vrata.proxy.runtime.shared_counts import SharedCounts, reap
from vrata.proxy.upstream.places import PATIENCE
from vrata.proxy.upstream.queue import MAX_WAITING, UNLIMITED, ConnectionLimits

# -- one worker ------------------------------------------------------------------------------------------------------


@scenario
async def test_at_the_limit_requests_wait_in_order(proxy: Proxy) -> None:
    worker = proxy.worker(limit=2)
    for _ in range(5):
        worker.attempt()
    assert worker.state == "0 connections, 0 idle, 2 dialling, 3 waiting"
    first, second = await proxy.backend.accept(), await proxy.backend.accept()
    assert await proxy.answer(first) in (0, 1)
    assert await proxy.answer(first) == 2
    assert await proxy.answer(second) in (0, 1)
    assert await proxy.answer(first) == 3
    assert await proxy.answer(second) == 4
    assert proxy.backend.connections == 2
    assert worker.state == "2 connections, 2 idle, 0 dialling"


@scenario
async def test_one_that_comes_later_does_not_overtake(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    worker.attempt()
    worker.attempt()
    connection = await proxy.backend.accept()
    await connection.read_head()
    worker.attempt()
    connection.send(OK)
    assert await proxy.answer(connection) == 1
    assert await proxy.answer(connection) == 2


@scenario
async def test_a_connection_that_closes_makes_room_for_another(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    for _ in range(3):
        worker.attempt()
    _, number = await proxy.serve(LAST_OK)
    assert number == 0
    _, number = await proxy.serve(LAST_OK)
    assert number == 1
    _, number = await proxy.serve()
    assert number == 2
    assert proxy.backend.connections == 3


@scenario
async def test_an_attempt_that_fails_makes_room_for_the_next(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    worker.pool.port = free_port()
    attempts = [worker.attempt() for _ in range(3)]
    assert worker.state.endswith("1 dialling, 2 waiting")
    for attempt in attempts:
        await attempt.until_ended()
    assert {attempt.failure for attempt in attempts} == {FailureClass.CONNECTION_REFUSED}


@scenario
async def test_whoever_gives_up_leaves_the_queue(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    first, second, third = (worker.attempt() for _ in range(3))
    assert repr(second.exchange).endswith("waiting>")
    second.exchange.cancel()
    assert worker.state.endswith("1 waiting")
    connection, number = await proxy.serve()
    assert number == first.number
    assert await proxy.answer(connection) == third.number
    assert (second.ends, second.failure) == (0, None)


@scenario
async def test_whoever_gives_up_while_its_connection_is_dialled_leaves_it_to_the_next(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    first, second = worker.attempt(), worker.attempt()
    first.exchange.cancel()
    assert (await proxy.serve())[1] == second.number
    assert not second.exchange.reused
    assert proxy.backend.connections == 1


@scenario
async def test_a_cancelled_dial_is_counted_no_more(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    worker.attempt()
    assert proxy.connections(SharedCounts(proxy.table)).total == 1
    await proxy.tasks.stop()
    assert proxy.connections(SharedCounts(proxy.table)).total == 0


@scenario
async def test_the_queue_is_bounded(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    attempts = [worker.attempt() for _ in range(MAX_WAITING + 1)]
    assert not any(attempt.ends for attempt in attempts)
    refused = worker.attempt()
    assert (refused.failure, refused.ends) == (FailureClass.CIRCUIT_OPEN, 1)
    assert refused.detail == "1024 requests wait for a connection already"
    attempts[-1].exchange.cancel()
    assert not worker.attempt().ends


@scenario
async def test_one_that_wants_a_new_connection_does_not_go_over_the_limit(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    worker.attempt()
    stale, _ = await proxy.serve()
    retried = worker.attempt(fresh=True)
    # The idle connection goes, since it holds the only place.
    assert await stale.read_to_end() == b""
    connection, number = await proxy.serve()
    assert (number, retried.exchange.reused) == (retried.number, False)
    busy, fresh = worker.attempt(), worker.attempt(fresh=True)
    assert await proxy.answer(connection) == busy.number
    assert await proxy.answer(connection) == fresh.number
    # It has got one that had served others, but would not be tried once more for that.
    assert (busy.exchange.reused, fresh.exchange.reused) == (True, False)
    assert proxy.backend.connections == 2


@scenario
async def test_with_room_below_the_limit_an_idle_connection_may_stay_beside_a_new_one(proxy: Proxy) -> None:
    worker = proxy.worker(limit=2)
    worker.attempt()
    await proxy.serve()
    worker.attempt(fresh=True)
    await proxy.serve()
    assert worker.state == "2 connections, 2 idle, 0 dialling"


@scenario
async def test_a_waiting_clients_body_is_held_back(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    worker.attempt()
    upload = worker.attempt(end=False)
    upload.exchange.send(b"x" * 70_000, False)
    assert upload.full
    connection, _ = await proxy.serve()
    await connection.read_head()
    assert await connection.read(70_000) == b"x" * 70_000
    assert not upload.full


@scenario
async def test_a_response_paused_while_waiting_stays_paused(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    worker.attempt()
    waiting = worker.attempt()
    waiting.exchange.pause_response()
    connection, _ = await proxy.serve()
    await connection.read_head()
    connection.send(OK)
    assert await settled(lambda: waiting.ends, 0.05) == 0
    waiting.exchange.resume_response()
    await waiting.until_ended()


# -- a limit that changes --------------------------------------------------------------------------------------------


@scenario
async def test_a_limit_that_appears_closes_what_is_too_much(proxy: Proxy) -> None:
    worker = proxy.worker(limit=0)
    for _ in range(4):
        worker.attempt()
    connections = [await proxy.backend.accept() for _ in range(4)]
    for connection in connections[:3]:
        await proxy.answer(connection)
    assert worker.state == "4 connections, 3 idle, 0 dialling"
    worker.limit(ConnectionLimits(1))
    await eventually_async(lambda: worker.state == "1 connections, 0 idle, 0 dialling", what=worker.state)
    worker.attempt()
    assert worker.state == "1 connections, 0 idle, 0 dialling, 1 waiting"
    await proxy.answer(connections[3])
    await proxy.answer(connections[3])


@scenario
async def test_a_limit_that_is_lowered_closes_busy_connections_when_they_are_done(proxy: Proxy) -> None:
    worker = proxy.worker(limit=3)
    for _ in range(5):
        worker.attempt()
    connections = [await proxy.backend.accept() for _ in range(3)]
    worker.limit(ConnectionLimits(1))
    await proxy.answer(connections[0])
    await proxy.answer(connections[1])
    assert [await found.read_to_end() for found in connections[:2]] == [b"", b""]
    assert [await proxy.answer(connections[2]) for _ in range(3)][1:] == [3, 4]
    assert worker.state == "1 connections, 1 idle, 0 dialling"


@scenario
async def test_a_limit_that_is_raised_lets_the_next_dial(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    for _ in range(4):
        worker.attempt()
    worker.limit(ConnectionLimits(3))
    assert worker.state == "0 connections, 0 idle, 3 dialling, 1 waiting"


@scenario
async def test_without_the_limit_all_who_wait_dial(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    for _ in range(4):
        worker.attempt()
    worker.limit(UNLIMITED)
    assert worker.state == "0 connections, 0 idle, 4 dialling"
    assert proxy.connections(SharedCounts(proxy.table)).total == 0
    for _ in range(4):
        await proxy.serve()


@scenario
async def test_an_endpoint_that_is_not_configured_any_more_still_serves_who_waits(proxy: Proxy) -> None:
    worker = proxy.worker(limit=1)
    for _ in range(3):
        worker.attempt()
    connection, _ = await proxy.serve()
    await connection.read_head()
    worker.pool.retire()
    connection.send(OK)
    assert await proxy.answer(connection) == 2
    assert await connection.read_to_end() == b""
    # A late attempt, of a request that began with the old plan, is counted like any other.
    watcher = proxy.connections(SharedCounts(proxy.table))
    await eventually_async(lambda: watcher.total == 0, what="nothing is counted")
    worker.attempt()
    worker.attempt()
    assert (watcher.total, worker.state) == (1, "0 connections, 0 idle, 1 dialling, 1 waiting, retired")
    await proxy.serve(LAST_OK)
    await proxy.serve(LAST_OK)


# -- several workers -------------------------------------------------------------------------------------------------


@scenario
async def test_workers_share_the_limit(proxy: Proxy) -> None:
    one, other = proxy.worker(limit=2), proxy.worker(limit=2)
    for worker in (one, other):
        for _ in range(3):
            worker.attempt()
    assert (one.state, other.state) == (
        "0 connections, 0 idle, 2 dialling, 1 waiting",
        "0 connections, 0 idle, 0 dialling, 3 waiting",
    )
    for _ in range(6):
        await proxy.serve(LAST_OK)
    assert all(attempt.ends for attempt in proxy.attempts)


@scenario
async def test_a_worker_gives_idle_connections_up_for_another(proxy: Proxy) -> None:
    one, other = proxy.worker(limit=3), proxy.worker(limit=3)
    for _ in range(3):
        one.attempt()
    connections = [await proxy.backend.accept() for _ in range(3)]
    for connection in connections:
        await proxy.answer(connection)
    waiting = other.attempt()
    started = asyncio.get_running_loop().time()
    assert (await proxy.serve())[1] == waiting.number
    assert asyncio.get_running_loop().time() - started < 15
    assert one.state == "2 connections, 2 idle, 0 dialling"
    assert other.state == "1 connections, 1 idle, 0 dialling"


@scenario
async def test_a_connection_given_back_is_given_up_for_another_worker(proxy: Proxy) -> None:
    one, other = proxy.worker(limit=1), proxy.worker(limit=1)
    one.attempt()
    waiting = other.attempt()
    connection, _ = await proxy.serve()
    assert await connection.read_to_end() == b""
    assert (await proxy.serve())[1] == waiting.number


@scenario
async def test_a_worker_that_is_never_idle_does_not_starve_another(proxy: Proxy) -> None:
    busy, other = proxy.worker(limit=1), proxy.worker(limit=1)
    loop = asyncio.get_running_loop()
    for _ in range(8):
        busy.attempt()
    waiting = other.attempt()
    started = loop.time()
    while not waiting.ends:
        connection = await proxy.backend.accept()
        while True:
            try:
                number = await proxy.answer(connection)
            except asyncio.IncompleteReadError:
                break
            if number == waiting.number:
                break
            busy.attempt()
            await asyncio.sleep(0.005)
        assert loop.time() - started < 30
    # It went last for as long as it had not waited much longer than the others.
    assert loop.time() - started > PATIENCE / 1000
    # And the busy one gets its turn again.
    await proxy.serve()


@scenario
async def test_the_places_of_a_worker_that_died_are_free_again(proxy: Proxy) -> None:
    dead = SharedCounts(proxy.table)
    proxy.connections(dead).add(2)
    worker = proxy.worker(limit=2)
    waiting = worker.attempt()
    assert await settled(lambda: waiting.ends, 0.12) == 0
    dead.close()
    reap(proxy.table)
    assert (await proxy.serve())[1] == waiting.number


@pytest.mark.parametrize("limit", [1, 3])
@EACH_LOOP
def test_under_load_the_limit_holds_and_everybody_is_served(loop_factory: LoopFactory, limit: int) -> None:
    async def main() -> None:
        now = most = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal now, most
            now += 1
            most = max(most, now)
            try:
                while await reader.readuntil(b"\r\n\r\n"):
                    writer.write(OK)
            except (asyncio.IncompleteReadError, ConnectionError):
                now -= 1
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with ScriptedBackend() as backend:
            backend.port = server.sockets[0].getsockname()[1]
            proxy = Proxy([backend])
            workers = [proxy.worker(limit) for _ in range(3)]
            for round_ in range(100):
                for worker in workers[: 1 + round_ % 3]:
                    worker.attempt()
                await asyncio.sleep(0.001)
            for attempt in proxy.attempts:
                await attempt.until_ended()
            assert {attempt.failure for attempt in proxy.attempts} == {None}
            assert most <= limit
            await proxy.close()
            server.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
