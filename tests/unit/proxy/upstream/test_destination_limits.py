"""Limits of a whole destination, over real backends: its connections, who waits for one, and both kinds at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.support.conditions import eventually_async, settled
from tests.support.in_process_proxy import EACH_LOOP, LoopFactory
from tests.support.limited_pools import LAST_OK, OK, Attempt, Proxy, scenario, scenario_with
from tests.support.scripted_backend import ScriptedBackend
from vrata.net.deadlines import INTERVAL
from vrata.proxy.contracts import FailureClass
from vrata.proxy.runtime.shared_counts import SharedCounts, reap
from vrata.proxy.upstream.places import PATIENCE
from vrata.proxy.upstream.queue import UNLIMITED, ConnectionLimits

REFUSED = (FailureClass.CIRCUIT_OPEN, "1 requests wait for a connection already (maxPendingRequests)")


def outcome(attempt: Attempt) -> tuple[FailureClass | None, str]:
    return attempt.failure, attempt.detail


# -- one worker ------------------------------------------------------------------------------------------------------


@scenario_with(2)
async def test_endpoints_share_the_limit(proxy: Proxy) -> None:
    worker = proxy.worker(connections=3)
    for number in range(6):
        worker.attempt(number % 2)
    assert worker.states == [
        "0 connections, 0 idle, 2 dialling, 1 waiting",
        "0 connections, 0 idle, 1 dialling, 2 waiting",
    ]
    for _ in range(3):
        await proxy.serve(LAST_OK)
        await proxy.serve(LAST_OK, by=1)
    assert all(attempt.ends for attempt in proxy.attempts)


@scenario_with(2)
async def test_a_free_place_goes_to_who_has_waited_longest(proxy: Proxy) -> None:
    worker = proxy.worker(connections=1)
    for to in (0, 1, 0, 1):
        worker.attempt(to)
    for number, by in enumerate((0, 1, 0, 1)):
        assert (await proxy.serve(LAST_OK, by=by))[1] == number


@scenario_with(2)
async def test_an_idle_connection_is_closed_for_another_endpoint(proxy: Proxy) -> None:
    worker = proxy.worker(connections=2, pending=1)
    worker.attempt(0)
    worker.attempt(0)
    older, newer = await proxy.backend.accept(), await proxy.backend.accept()
    await proxy.answer(older)
    await proxy.answer(newer)
    # It takes the time that a close takes, and no waiting: more may be served so than may wait.
    waiting = [worker.attempt(1), worker.attempt(1)]
    assert worker.states == ["2 connections, 0 idle, 0 dialling", "0 connections, 0 idle, 0 dialling, 2 waiting"]
    assert [await found.read_to_end() for found in (older, newer)] == [b"", b""]
    assert {(await proxy.serve(by=1))[1] for _ in waiting} == {attempt.number for attempt in waiting}


@scenario_with(2)
async def test_a_connection_that_becomes_free_is_closed_for_another_endpoint(proxy: Proxy) -> None:
    worker = proxy.worker(connections=1)
    worker.attempt(0)
    other = worker.attempt(1)
    connection, _ = await proxy.serve()
    assert await connection.read_to_end() == b""
    assert (await proxy.serve(by=1))[1] == other.number


@scenario_with(2)
async def test_a_connection_is_kept_for_its_endpoint_until_others_have_waited_much_longer(proxy: Proxy) -> None:
    worker = proxy.worker(connections=1)
    worker.attempt(0)
    connection = await proxy.backend.accept()
    other, same, patient = worker.attempt(1), worker.attempt(0), worker.attempt(0)
    await proxy.answer(connection)
    assert await proxy.answer(connection) == same.number
    await asyncio.sleep((PATIENCE + 20) / 1000)
    late = worker.attempt(0)
    assert await proxy.answer(connection) == patient.number
    assert await connection.read_to_end() == b""
    assert (await proxy.serve(by=1))[1] == other.number
    assert (await proxy.serve())[1] == late.number


@scenario_with(2)
async def test_only_as_many_connections_are_closed_as_are_wanted(proxy: Proxy) -> None:
    worker = proxy.worker(connections=3)
    for _ in range(3):
        worker.attempt(0)
    connections = [await proxy.backend.accept() for _ in range(3)]
    heads = [await connection.read_head() for connection in connections]
    worker.attempt(1)
    for connection in connections:
        connection.send(OK)
    await proxy.serve(by=1)
    assert len(heads) == 3
    await eventually_async(
        lambda: worker.states == ["2 connections, 2 idle, 0 dialling", "1 connections, 1 idle, 0 dialling"],
        what="two stay",
    )


@scenario
async def test_one_more_than_may_wait_is_refused_at_once(proxy: Proxy) -> None:
    worker = proxy.worker(connections=1, pending=1)
    worker.attempt()
    first = worker.attempt()
    assert [outcome(worker.attempt()) for _ in range(2)] == [REFUSED, REFUSED]
    first.exchange.cancel()
    second = worker.attempt()
    assert outcome(worker.attempt()) == REFUSED
    connection, _ = await proxy.serve()
    assert await proxy.answer(connection) == second.number
    third, fourth = worker.attempt(), worker.attempt()
    assert outcome(worker.attempt()) == REFUSED
    assert await proxy.answer(connection) == third.number
    assert await proxy.answer(connection) == fourth.number


@scenario
async def test_those_who_wait_for_an_endpoint_with_a_limit_of_its_own_are_counted_as_well(proxy: Proxy) -> None:
    worker = proxy.worker(1, connections=5, pending=1)
    worker.attempt()
    worker.attempt()
    assert outcome(worker.attempt()) == REFUSED


@scenario_with(2)
async def test_both_limits_hold_at_once(proxy: Proxy) -> None:
    worker = proxy.worker(2, connections=3)
    for _ in range(4):
        worker.attempt(0)
    # Those who wait for the first endpoint have no use for the last place of the destination.
    worker.attempt(1)
    worker.attempt(1)
    assert worker.states == [
        "0 connections, 0 idle, 2 dialling, 2 waiting",
        "0 connections, 0 idle, 1 dialling, 1 waiting",
    ]
    first = await proxy.backend.accept()
    assert await proxy.answer(first) in (0, 1)
    assert await proxy.answer(first) == 2
    other, number = await proxy.serve(by=1)
    assert number == 4
    assert await proxy.answer(other) == 5
    # The idle one is closed for the first endpoint only if that has a place of its own.
    assert worker.states[1] == "1 connections, 1 idle, 0 dialling"
    worker.attempt(0)
    worker.attempt(0)
    assert await settled(lambda: worker.states[1], 2 * INTERVAL) == "1 connections, 1 idle, 0 dialling"


@scenario_with(2)
async def test_one_that_wants_a_new_connection_gets_one_in_place_of_the_oldest(proxy: Proxy) -> None:
    worker = proxy.worker(connections=2, pending=1)
    worker.attempt(1)
    oldest, _ = await proxy.serve(by=1)
    await asyncio.sleep(0.01)  # the clocks of loops have steps
    worker.attempt(0)
    await proxy.serve()
    fresh = worker.attempt(0, fresh=True)
    assert await oldest.read_to_end() == b""
    assert (await proxy.serve())[1] == fresh.number
    assert worker.states == ["2 connections, 2 idle, 0 dialling", "0 connections, 0 idle, 0 dialling"]


@scenario_with(2)
async def test_a_dial_that_fails_makes_room_for_the_next(proxy: Proxy) -> None:
    worker = proxy.worker(connections=1)
    port, worker.pools[0].port = worker.pools[0].port, 1
    failing, other = worker.attempt(0), worker.attempt(1)
    await failing.until_ended()
    assert failing.failure is FailureClass.CONNECTION_REFUSED
    assert (await proxy.serve(by=1))[1] == other.number
    worker.pools[0].port = port


# -- limits that change ----------------------------------------------------------------------------------------------


@scenario_with(2)
async def test_limits_that_appear_count_what_there_is(proxy: Proxy) -> None:
    worker = proxy.worker()
    for number in range(4):
        worker.attempt(number % 2)
    for by in (0, 1):
        await proxy.serve(by=by)
    busy = [await proxy.backends[by].accept() for by in (0, 1)]
    worker.limit(ConnectionLimits(0, 2, 1))
    await eventually_async(
        lambda: worker.states == ["1 connections, 0 idle, 0 dialling"] * 2, what="the idle ones are closed"
    )
    waiting = worker.attempt(1)
    assert outcome(worker.attempt(0)) == REFUSED
    # What is under way is not cut.
    await proxy.answer(busy[0])
    assert await busy[0].read_to_end() == b""
    assert (await proxy.serve(by=1))[1] == waiting.number
    await proxy.answer(busy[1])


@scenario_with(2)
async def test_limits_that_change_keep_what_is_open(proxy: Proxy) -> None:
    worker = proxy.worker(connections=1, pending=1)
    worker.attempt(0)
    worker.attempt(1)
    assert outcome(worker.attempt(1)) == REFUSED
    worker.limit(ConnectionLimits(0, 2, 1))
    assert worker.states[1] == "0 connections, 0 idle, 1 dialling"
    worker.attempt(0)
    assert outcome(worker.attempt(1)) == REFUSED
    worker.limit(ConnectionLimits(2, 3, 2))
    worker.attempt(0)
    assert worker.states[0] == "0 connections, 0 idle, 2 dialling, 1 waiting"
    # Without those of the destination, that of the endpoint stays.
    worker.limit(ConnectionLimits(2))
    worker.attempt(1)
    assert worker.states == [
        "0 connections, 0 idle, 2 dialling, 1 waiting",
        "0 connections, 0 idle, 2 dialling",
    ]
    counts = SharedCounts(proxy.table)
    assert (counts.count("connections d").total, counts.count("pending d").total) == (0, 0)
    # Those who wait are counted from when they are limited.
    worker.limit(ConnectionLimits(2, 9, 1))
    assert (counts.count("connections d").total, counts.count("pending d").total) == (4, 1)
    worker.limit(UNLIMITED)
    assert worker.states == ["0 connections, 0 idle, 3 dialling", "0 connections, 0 idle, 2 dialling"]
    assert (counts.count("connections d").total, counts.count("pending d").total) == (0, 0)
    for by, number in ((0, 3), (1, 2)):
        for _ in range(number):
            await proxy.serve(by=by)


@scenario_with(2)
async def test_an_endpoint_that_is_gone_gives_its_places_to_the_others(proxy: Proxy) -> None:
    worker = proxy.worker(connections=1)
    worker.attempt(0)
    waiting = worker.attempt(1)
    connection = await proxy.backend.accept()
    worker.pools[0].retire()
    # It is counted to its end.
    assert await settled(lambda: proxy.backends[1].connections, 2 * INTERVAL) == 0
    await proxy.answer(connection)
    assert (await proxy.serve(by=1))[1] == waiting.number


@scenario_with(2)
async def test_a_destination_that_is_gone_serves_who_waits(proxy: Proxy) -> None:
    worker = proxy.worker(connections=1, pending=1)
    worker.attempt(0)
    waiting = worker.attempt(1)
    connection = await proxy.backend.accept()
    worker.retire()
    await proxy.answer(connection)
    assert (await proxy.serve(by=1))[1] == waiting.number
    watcher = SharedCounts(proxy.table)
    count, pending = watcher.count("connections d"), watcher.count("pending d")
    await eventually_async(lambda: count.total == 0, what="nothing is counted")
    # So do late attempts, of requests that began with the old plan.
    late = [worker.attempt(0), worker.attempt(1)]
    assert outcome(worker.attempt(1)) == REFUSED
    assert (count.total, pending.total) == (1, 1)
    assert (await proxy.serve())[1] == late[0].number
    assert (await proxy.serve(by=1))[1] == late[1].number


# -- several workers -------------------------------------------------------------------------------------------------


@scenario_with(2)
async def test_workers_share_the_limits(proxy: Proxy) -> None:
    one, other = (proxy.worker(connections=2, pending=2) for _ in range(2))
    attempts = [one.attempt(0), other.attempt(1), one.attempt(1), other.attempt(0)]
    assert [attempt.failure for attempt in attempts] == [None] * 4
    refused = FailureClass.CIRCUIT_OPEN
    assert [worker.attempt().failure for worker in (one, other)] == [refused, refused]
    for _ in range(2):
        for by in (0, 1):
            await proxy.serve(LAST_OK, by=by)
        assert [worker.attempt().failure for worker in (one, other)] == [None, None]
    for _ in range(4):
        await proxy.serve(LAST_OK)


@scenario_with(2)
async def test_a_worker_gives_idle_connections_up_for_another_endpoint_of_another_worker(proxy: Proxy) -> None:
    one, other = (proxy.worker(connections=2) for _ in range(2))
    one.attempt(0)
    one.attempt(0)
    for _ in range(2):
        await proxy.serve()
    waiting = other.attempt(1)
    started = asyncio.get_running_loop().time()
    assert (await proxy.serve(by=1))[1] == waiting.number
    assert asyncio.get_running_loop().time() - started < 15
    assert one.state == "1 connections, 1 idle, 0 dialling"


@scenario_with(2)
async def test_who_is_held_up_by_a_limit_of_its_endpoint_claims_no_place_of_the_destination(proxy: Proxy) -> None:
    one, other = (proxy.worker(1, connections=3) for _ in range(2))
    one.attempt(0)
    other.attempt(0)
    one.attempt(1)
    await proxy.serve(by=1)
    assert await settled(lambda: one.states[1], 4 * INTERVAL) == "1 connections, 1 idle, 0 dialling"


@scenario
async def test_what_a_worker_that_died_held_is_free_again(proxy: Proxy) -> None:
    dead = SharedCounts(proxy.table)
    dead.count("connections d").add(2)
    dead.count("pending d").add(1)
    worker = proxy.worker(connections=2, pending=2)
    waiting = worker.attempt()
    assert worker.attempt().failure is FailureClass.CIRCUIT_OPEN
    dead.close()
    reap(proxy.table)
    assert (await proxy.serve())[1] == waiting.number
    attempts = [worker.attempt(content=b"busy"), *(worker.attempt() for _ in range(3))]
    assert [attempt.failure for attempt in attempts] == [None] * 4


@pytest.mark.parametrize(("limit", "per_endpoint"), [(1, 0), (3, 0), (4, 2)])
@EACH_LOOP
def test_under_load_the_limits_hold_and_everybody_is_served(
    loop_factory: LoopFactory, limit: int, per_endpoint: int
) -> None:
    async def main() -> None:
        open_connections, most = [0, 0, 0], [0, 0, 0, 0]

        def serving(index: int) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                open_connections[index] += 1
                most[index] = max(most[index], open_connections[index])
                most[3] = max(most[3], sum(open_connections))
                try:
                    while await reader.readuntil(b"\r\n\r\n"):
                        writer.write(OK)
                except (asyncio.IncompleteReadError, ConnectionError):
                    open_connections[index] -= 1
                finally:
                    writer.close()

            return serve

        servers = [await asyncio.start_server(serving(index), "127.0.0.1", 0) for index in range(3)]
        backends = [ScriptedBackend() for _ in servers]
        for backend, server in zip(backends, servers, strict=True):
            backend.port = server.sockets[0].getsockname()[1]
        proxy = Proxy(backends)
        workers = [proxy.worker(per_endpoint, connections=limit, pending=1000) for _ in range(3)]
        for round_ in range(100):
            for index, worker in enumerate(workers[: 1 + round_ % 3]):
                worker.attempt((round_ + index) % 3)
            await asyncio.sleep(0.001)
        for attempt in proxy.attempts:
            await attempt.until_ended()
        assert {attempt.failure for attempt in proxy.attempts} == {None}
        assert most[3] <= limit
        assert max(most[:3]) <= (per_endpoint or limit)
        await proxy.close()
        for server in servers:
            server.close()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(main())
