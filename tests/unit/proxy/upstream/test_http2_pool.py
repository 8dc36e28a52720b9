"""Pools of connections of HTTP/2: when they dial, whom a stream goes to, what limits them, and how connections end."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from tests.support import tls_upstream
from tests.support.conditions import eventually_async
from tests.support.http2_backend import Http2Backend, Http2BackendConnection
from tests.support.http2_endpoint import TIMEOUTS, Attempt, Endpoint, with_endpoint
from tests.support.in_process_proxy import EACH_LOOP, LoopFactory
from tests.support.scripted_backend import BackendConnection, ScriptedBackend
from vrata.model.tls import DestinationTls
from vrata.net.deadlines import DeadlineSweeper
from vrata.net.upstream_tls import UpstreamTls, upstream_tls
from vrata.observability.tasks import TaskSupervisor
from vrata.proxy.contracts import FailureClass
from vrata.proxy.runtime.shared_counts import SharedCounts
from vrata.proxy.upstream.places import PATIENCE
from vrata.proxy.upstream.pool import EndpointPool
from vrata.proxy.upstream.queue import ConnectionLimits, Queue

ONE_STREAM = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
TWO_STREAMS = {SettingCodes.MAX_CONCURRENT_STREAMS: 2}
NOTHING = "0 connections, 0 idle, 0 dialling, 0 in flight"


def limited(endpoint: Endpoint, per_endpoint: int = 0, *, connections: int = 0, pending: int = 0) -> Queue:
    """Limit the connections of *endpoint*, as a plan does."""
    counts = SharedCounts.private()
    queue = Queue("d", counts.count, endpoint.sweeper, asyncio.get_running_loop().time)
    queue.configure(ConnectionLimits(per_endpoint, connections, pending))
    endpoint.pool.limit(queue, per_endpoint)
    return queue


async def answered(connection: Http2BackendConnection, endpoint: Endpoint) -> Attempt:
    """The attempt that the next request of *connection* comes from, which is answered."""
    request = await connection.request()
    attempt = endpoint.attempts[int(request.path[1:])]
    request.answer()
    await attempt.until_ended()
    assert (attempt.status, attempt.failure) == (200, None)
    return attempt


# -- dials and streams ------------------------------------------------------------------------------------------------


@with_endpoint()
async def test_a_burst_shares_one_dial_and_one_connection(endpoint: Endpoint) -> None:
    attempts = [endpoint.attempt() for _ in range(50)]
    assert endpoint.state == "0 connections, 0 idle, 1 dialling, 50 in flight"
    connection = await endpoint.backend.accept()
    requests = [await connection.request() for _ in attempts]
    assert [request.path for request in requests] == [f"/{number}" for number in range(50)]
    assert endpoint.state == "1 connections, 0 idle, 0 dialling, 50 in flight"
    more = endpoint.attempt()
    requests.append(await connection.request())
    for request in reversed(requests):
        request.answer(request.path.encode())
    for attempt in [*attempts, more]:
        await attempt.until_ended()
        assert attempt.content == b"/%d" % attempt.number
    assert endpoint.backend.connections == 1
    assert endpoint.state == "1 connections, 1 idle, 0 dialling, 0 in flight"


@with_endpoint()
async def test_more_than_one_connection_is_expected_to_take_are_dialled_for(endpoint: Endpoint) -> None:
    for _ in range(250):
        endpoint.attempt()
    assert endpoint.state == "0 connections, 0 idle, 3 dialling, 250 in flight"
    await eventually_async(lambda: endpoint.pool.connections == 3, what="there are three")


@with_endpoint(greets=False)
async def test_nothing_is_sent_before_the_settings_are_there(endpoint: Endpoint) -> None:
    first = endpoint.attempt()
    connection = await endpoint.backend.accept()
    second = endpoint.attempt()
    await asyncio.sleep(0.05)
    assert not connection.requests
    assert endpoint.state == "0 connections, 0 idle, 1 dialling, 2 in flight"
    connection.greet()
    assert await answered(connection, endpoint) is first
    assert await answered(connection, endpoint) is second


@with_endpoint(greets=False)
async def test_settings_that_do_not_come(endpoint: Endpoint) -> None:
    attempts = [endpoint.attempt(timeouts=replace(TIMEOUTS, connect=0.1)) for _ in range(3)]
    for attempt in attempts:
        await attempt.until_ended()
        assert (attempt.failure, attempt.detail) == (FailureClass.TIMEOUT, "no settings of HTTP/2 within 0.1 s")
        assert attempt.exchange.unprocessed
    await endpoint.until_state(NOTHING)


@with_endpoint(TWO_STREAMS)
async def test_a_new_connection_when_all_are_full(endpoint: Endpoint) -> None:
    endpoint.attempt()
    first = await endpoint.backend.accept()
    one = await first.request()
    endpoint.attempt()
    two = await first.request()
    third = endpoint.attempt()
    assert endpoint.state == "1 connections, 0 idle, 1 dialling, 3 in flight"
    second = await endpoint.backend.accept()
    assert await answered(second, endpoint) is third
    one.answer()
    await endpoint.attempts[0].until_ended()
    fourth = endpoint.attempt()
    assert await answered(first, endpoint) is fourth  # it has got room last
    two.answer()
    await endpoint.until_state("2 connections, 2 idle, 0 dialling, 0 in flight")


@with_endpoint(TWO_STREAMS)
async def test_a_connection_with_less_room_than_expected(endpoint: Endpoint) -> None:
    attempts = [endpoint.attempt() for _ in range(7)]
    connections = [await endpoint.backend.accept() for _ in range(4)]
    assert endpoint.state == "4 connections, 0 idle, 0 dialling, 7 in flight"
    await eventually_async(lambda: sum(len(each.requests) for each in connections) == 7, what="all are there")
    assert sorted(len(each.requests) for each in connections) == [1, 2, 2, 2]
    served = [await answered(connection, endpoint) for connection in connections for _ in connection.requests]
    assert sorted(attempt.number for attempt in served) == [attempt.number for attempt in attempts]
    # From now on as many are dialled for as it takes.
    for connection in connections:
        connection.close()
    await endpoint.until_state(NOTHING)
    for _ in range(4):
        endpoint.attempt()
    assert endpoint.state == "0 connections, 0 idle, 2 dialling, 4 in flight"


@with_endpoint(ONE_STREAM)
async def test_settings_that_allow_more_and_less(endpoint: Endpoint) -> None:
    endpoint.attempt()
    connection = await endpoint.backend.accept()
    await connection.request()
    connection.allow(3)
    await eventually_async(lambda: connection.acknowledged == 2, what="it has been understood")
    endpoint.attempt()
    endpoint.attempt()
    await connection.request()
    await connection.request()
    connection.allow(1)
    for request in connection.requests:
        request.answer()
    for attempt in endpoint.attempts:
        await attempt.until_ended()
    one, two = endpoint.attempt(), endpoint.attempt()
    assert endpoint.state == "1 connections, 0 idle, 1 dialling, 2 in flight"
    assert await answered(connection, endpoint) is one
    assert await answered(await endpoint.backend.accept(), endpoint) is two


@with_endpoint({SettingCodes.MAX_CONCURRENT_STREAMS: 0})
async def test_an_upstream_that_allows_no_streams(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt()
    await attempt.until_ended()
    assert (attempt.failure, attempt.detail) == (FailureClass.CONNECTION_REFUSED, "the upstream allows no streams")
    await endpoint.until_state(NOTHING)


@with_endpoint()
async def test_whoever_gives_up_leaves_the_dial_to_the_others(endpoint: Endpoint) -> None:
    first, second = endpoint.attempt(), endpoint.attempt()
    first.exchange.cancel()
    assert endpoint.state == "0 connections, 0 idle, 1 dialling, 1 in flight"
    second.exchange.cancel()
    assert endpoint.state == "0 connections, 0 idle, 1 dialling, 1 in flight"
    third = endpoint.attempt()
    assert endpoint.state == "0 connections, 0 idle, 1 dialling, 1 in flight"
    connection = await endpoint.backend.accept()
    assert await answered(connection, endpoint) is third
    assert len(connection.requests) == 1
    assert (first.ends, second.ends) == (0, 0)


@with_endpoint()
async def test_a_dial_that_nobody_wants_any_more_leaves_an_idle_connection(endpoint: Endpoint) -> None:
    endpoint.attempt().exchange.cancel()
    await endpoint.until_state("1 connections, 1 idle, 0 dialling, 0 in flight")


# -- the end of connections -------------------------------------------------------------------------------------------


@with_endpoint()
async def test_an_idle_connection_is_closed_in_time(endpoint: Endpoint) -> None:
    timeouts = replace(TIMEOUTS, idle_connection=0.1)
    long, short = endpoint.attempt(timeouts=timeouts), endpoint.attempt(timeouts=timeouts)
    connection = await endpoint.backend.accept()
    held = await connection.request()
    (await connection.request()).answer()
    await short.until_ended()
    await asyncio.sleep(0.3)
    assert (long.ends, connection.is_over) == (0, False)
    held.answer()
    await long.until_ended()
    await connection.until_over()
    assert connection.goodbye == ErrorCodes.NO_ERROR
    await endpoint.until_state(NOTHING)


@with_endpoint()
async def test_a_goodbye_lets_those_finish_that_were_taken(endpoint: Endpoint) -> None:
    taken, late = endpoint.attempt(), endpoint.attempt()
    first = await endpoint.backend.accept()
    request, _ = await first.request(), await first.request()
    first.go_away(request.number)
    await late.until_ended()
    assert (late.failure, late.exchange.unprocessed) == (FailureClass.CONNECTION_RESET, True)
    assert taken.ends == 0
    other = endpoint.attempt()
    second = await endpoint.backend.accept()
    assert await answered(second, endpoint) is other
    request.answer()
    await taken.until_ended()
    assert taken.status == 200
    await first.until_over()
    await endpoint.until_state("1 connections, 1 idle, 0 dialling, 0 in flight")


@with_endpoint()
async def test_a_goodbye_in_two_steps(endpoint: Endpoint) -> None:
    taken = endpoint.attempt()
    connection = await endpoint.backend.accept()
    request = await connection.request()
    connection.go_away(2**31 - 1)
    await eventually_async(lambda: "1 streams" in repr(next(iter(endpoint.pool._connections))), what="it is there")
    connection.go_away(request.number)
    request.answer()
    await taken.until_ended()
    assert taken.status == 200
    await connection.until_over()


@with_endpoint()
async def test_a_goodbye_to_an_idle_connection(endpoint: Endpoint) -> None:
    endpoint.attempt()
    connection = await endpoint.backend.accept()
    await answered(connection, endpoint)
    connection.go_away(1)
    await endpoint.until_state(NOTHING)


@with_endpoint(greets=False)
async def test_a_goodbye_at_once(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt()
    connection = await endpoint.backend.accept()
    connection.go_away(0, ErrorCodes.ENHANCE_YOUR_CALM)
    await attempt.until_ended()
    assert attempt.failure is FailureClass.CONNECTION_REFUSED
    assert attempt.detail.startswith("the upstream ")
    await endpoint.until_state(NOTHING)


@with_endpoint()
async def test_what_refuses_a_stream_is_taken_for_full(endpoint: Endpoint) -> None:
    endpoint.attempt()
    first = await endpoint.backend.accept()
    one = await first.request()
    refused = endpoint.attempt()
    (await first.request()).refuse()
    await refused.until_ended()
    assert refused.exchange.unprocessed
    third = endpoint.attempt()
    second = await endpoint.backend.accept()
    assert await answered(second, endpoint) is third
    one.answer()
    await endpoint.attempts[0].until_ended()
    # By and by it is trusted with more again.
    both = [endpoint.attempt() for _ in range(2)]
    requests = [await first.request() for _ in both]
    assert len(requests) == 2


@with_endpoint()
async def test_what_refuses_all_streams_is_left(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt()
    first = await endpoint.backend.accept()
    (await first.request()).refuse()
    await attempt.until_ended()
    await first.until_over()
    await endpoint.until_state(NOTHING)


@with_endpoint()
async def test_requests_over_one_connection_are_limited(endpoint: Endpoint) -> None:
    endpoint.pool.max_requests = 3
    for _ in range(2):
        for _ in range(3):
            endpoint.attempt()
        connection = await endpoint.backend.accept()
        for _ in range(3):
            await answered(connection, endpoint)
        await connection.until_over()
        assert connection.goodbye == ErrorCodes.NO_ERROR
    assert endpoint.backend.connections == 2


@with_endpoint()
async def test_a_pool_that_is_retired_lets_its_streams_end(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt()
    connection = await endpoint.backend.accept()
    request = await connection.request()
    endpoint.pool.retire()
    request.answer()
    await attempt.until_ended()
    assert attempt.status == 200
    await connection.until_over()


@with_endpoint()
async def test_when_it_is_to_speak_http1_connections_of_http2_end_with_their_streams(endpoint: Endpoint) -> None:
    attempt = endpoint.attempt()
    connection = await endpoint.backend.accept()
    request = await connection.request()
    endpoint.pool.secure(None, http2=False)
    request.answer()
    await attempt.until_ended()
    assert attempt.status == 200
    await connection.until_over()
    async with ScriptedBackend() as backend:
        endpoint.pool.port = backend.port
        attempt = endpoint.attempt()
        plain = await backend.accept()
        assert (await plain.read_head()).startswith(b"GET /1 HTTP/1.1\r\n")
        plain.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await attempt.until_ended()
        endpoint.pool.secure(None, http2=True)
        assert await plain.read_to_end() == b""


# -- limits of connections --------------------------------------------------------------------------------------------


@with_endpoint(TWO_STREAMS)
async def test_who_finds_no_stream_and_no_place_waits(endpoint: Endpoint) -> None:
    limited(endpoint, 1)
    attempts = [endpoint.attempt() for _ in range(5)]
    connection = await endpoint.backend.accept()
    one, two = await connection.request(), await connection.request()
    assert endpoint.state == "1 connections, 0 idle, 0 dialling, 3 waiting, 5 in flight"
    assert [attempt.exchange.waits_for_place for attempt in attempts] == [False, False, True, True, True]
    two.answer()
    assert (await connection.request()).path == "/2"
    attempts[3].exchange.cancel()
    one.answer()
    assert (await connection.request()).path == "/4"
    for request in connection.requests[2:]:
        request.answer()
    for attempt in attempts[:3]:
        await attempt.until_ended()
        assert attempt.status == 200
    await endpoint.until_state("1 connections, 1 idle, 0 dialling, 0 in flight")
    assert endpoint.backend.connections == 1


@with_endpoint()
async def test_those_who_join_a_dial_do_not_wait(endpoint: Endpoint) -> None:
    limited(endpoint, connections=1, pending=1)
    attempts = [endpoint.attempt() for _ in range(100)]
    assert endpoint.state == "0 connections, 0 idle, 1 dialling, 100 in flight"
    attempts += [endpoint.attempt() for _ in range(2)]
    assert endpoint.state == "0 connections, 0 idle, 1 dialling, 1 waiting, 101 in flight"
    assert attempts[-1].failure is FailureClass.CIRCUIT_OPEN
    attempts[7].exchange.cancel()
    assert endpoint.state == "0 connections, 0 idle, 1 dialling, 100 in flight"
    connection = await endpoint.backend.accept()
    for _ in range(100):
        await answered(connection, endpoint)


@with_endpoint(ONE_STREAM)
async def test_those_whom_a_dial_has_disappointed_are_before_those_who_came_later(endpoint: Endpoint) -> None:
    limited(endpoint, 1)
    for _ in range(103):  # three more than are expected to find room
        endpoint.attempt()
    assert endpoint.state == "0 connections, 0 idle, 1 dialling, 3 waiting, 103 in flight"
    connection = await endpoint.backend.accept()
    for number in range(103):
        assert (await answered(connection, endpoint)).number == number


@with_endpoint(ONE_STREAM)
async def test_pending_requests_are_limited(endpoint: Endpoint) -> None:
    limited(endpoint, 1, connections=5, pending=2)
    attempts = [endpoint.attempt() for _ in range(10)]
    connection = await endpoint.backend.accept()
    await connection.request()
    failures = [attempt.failure for attempt in attempts]
    assert failures == [None] * 3 + [FailureClass.CIRCUIT_OPEN] * 7
    assert endpoint.state == "1 connections, 0 idle, 0 dialling, 2 waiting, 3 in flight"
    connection.requests[0].answer()
    assert (await connection.request()).path == "/1"


@with_endpoint(ONE_STREAM)
async def test_settings_that_allow_more_serve_those_who_wait(endpoint: Endpoint) -> None:
    limited(endpoint, 1)
    endpoint.attempt()
    connection = await endpoint.backend.accept()
    await connection.request()
    endpoint.attempt()
    endpoint.attempt()
    assert endpoint.state.endswith("2 waiting, 3 in flight")
    connection.allow(2)
    assert (await connection.request()).path == "/1"
    assert endpoint.state.endswith("1 waiting, 3 in flight")


@with_endpoint(ONE_STREAM)
async def test_a_connection_that_ends_makes_room_for_another(endpoint: Endpoint) -> None:
    limited(endpoint, 1)
    endpoint.attempt()
    first = await endpoint.backend.accept()
    request = await first.request()
    waiting = endpoint.attempt()
    first.go_away(request.number)
    await asyncio.sleep(0.05)
    assert endpoint.backend.connections == 1
    request.answer()
    assert await answered(await endpoint.backend.accept(), endpoint) is waiting


@with_endpoint()
async def test_a_place_that_others_need_is_given_up_with_the_last_stream(endpoint: Endpoint) -> None:
    queue = limited(endpoint, connections=1)
    mine, more = endpoint.attempt(), endpoint.attempt()
    connection = await endpoint.backend.accept()
    first, second = await connection.request(), await connection.request()
    async with Http2Backend() as backend:
        sweeper = DeadlineSweeper(asyncio.get_running_loop())
        pool = EndpointPool("127.0.0.1", backend.port, sweeper, endpoint.pool._tasks)
        other = Endpoint(backend, pool, sweeper)
        other.pool.secure(None, http2=True)
        other.pool.limit(queue)
        waiting = other.attempt()
        assert waiting.exchange.waits_for_place
        first.answer()
        await mine.until_ended()
        await eventually_async(lambda: len(endpoint.pool.draining) == 1, what="it takes no more")
        await asyncio.sleep(2 * PATIENCE / 1000)
        late = endpoint.attempt()
        assert late.exchange.waits_for_place
        second.answer()
        await more.until_ended()
        assert await answered(await backend.accept(), other) is waiting
        assert await answered(await endpoint.backend.accept(), endpoint) is late
        await other.close()


# -- HTTP/1 ------------------------------------------------------------------------------------------------------------


@with_endpoint(TWO_STREAMS)
async def test_an_upgrade_goes_over_a_connection_of_http1_where_there_are_no_tunnels(endpoint: Endpoint) -> None:
    endpoint.attempt()
    shared = await endpoint.backend.accept()
    await answered(shared, endpoint)
    async with ScriptedBackend() as backend:
        endpoint.pool.port = backend.port
        upgrade = endpoint.attempt(upgrade=True)
        connection = await backend.accept()
        assert b"\r\nupgrade: websocket\r\n" in await connection.read_head()
        connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")
        await upgrade.until_content(5)
        assert endpoint.state == "2 connections, 1 idle, 0 dialling, 1 in flight"
        # Nothing else goes over it, before and after.
        await_other = endpoint.attempt()
        assert await answered(shared, endpoint) is await_other
        upgrade.exchange.cancel()
        refused = endpoint.attempt(upgrade=True)
        connection = await backend.accept()
        await connection.read_head()
        connection.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await refused.until_ended()
        assert refused.status == 403
        assert await connection.read_to_end() == b""


@with_endpoint()
async def test_whether_there_are_tunnels_is_found_out(endpoint: Endpoint) -> None:
    upgrade = endpoint.attempt(upgrade=True)
    await endpoint.backend.accept()
    # What speaks nothing but HTTP/2 does not understand what comes then.
    await endpoint.backend.accept()
    await upgrade.until_ended()
    assert upgrade.failure in (FailureClass.CONNECTION_RESET, FailureClass.CONNECTION_REFUSED)
    await endpoint.until_state("1 connections, 1 idle, 0 dialling, 0 in flight")


@with_endpoint()
async def test_an_upgrade_gets_the_place_of_a_connection_that_cannot_carry_it(endpoint: Endpoint) -> None:
    limited(endpoint, 1)
    endpoint.attempt()
    shared = await endpoint.backend.accept()
    first = await shared.request()
    async with ScriptedBackend() as backend:
        endpoint.pool.port = backend.port
        endpoint.attempt()
        second = await shared.request()
        upgrade = endpoint.attempt(upgrade=True)
        assert upgrade.exchange.waits_for_place
        await eventually_async(lambda: len(endpoint.pool.draining) == 1, what="its place is to be given up")
        first.answer()
        second.answer()
        connection = await backend.accept()
        await connection.read_head()
        connection.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        await upgrade.until_ended()
        assert upgrade.status == 403
    assert [attempt.status for attempt in endpoint.attempts] == [200, 200, 403]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"220 mail.test ESMTP\r\n", b"", b"\x15\x03\x01\x00\x02\x02\x46"]
)
@EACH_LOOP
def test_an_upstream_that_does_not_speak_http2(loop_factory: LoopFactory, answer: bytes) -> None:
    async def scenario() -> None:
        async with ScriptedBackend() as backend:
            endpoint, tasks = plain_endpoint(backend.port)
            attempts = [endpoint.attempt() for _ in range(2)]
            connection = await backend.accept()
            assert await connection.read_head() == b"PRI * HTTP/2.0\r\n\r\n"
            connection.send(answer)
            connection.close()
            for attempt in attempts:
                await attempt.until_ended()
                assert attempt.failure is FailureClass.CONNECTION_REFUSED
                assert attempt.exchange.unprocessed
                if answer.startswith(b"HTTP"):
                    assert attempt.detail == "the upstream does not speak HTTP/2: it has answered in HTTP/1"
                elif not answer:
                    assert attempt.detail == "closed by the upstream"
            assert backend.connections == 1
            await endpoint.close()
            await tasks.stop()
            endpoint.sweeper.stop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


# -- TLS ---------------------------------------------------------------------------------------------------------------


def offering(*protocols: str) -> ssl.SSLContext:
    """The context of an upstream that knows *protocols* by ALPN."""
    context = tls_upstream.serving()
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def secured() -> UpstreamTls:
    stated = DestinationTls(mode="tls", ca=tls_upstream.authority().cert_text, sni=tls_upstream.NAME)
    return upstream_tls(stated, "127.0.0.1", http2=True)


@with_endpoint(tls=secured(), server_tls=offering("h2", "http/1.1"))
async def test_http2_is_agreed_on_by_alpn(endpoint: Endpoint) -> None:
    attempts = [endpoint.attempt() for _ in range(3)]
    connection = await endpoint.backend.accept()
    session = connection.writer.get_extra_info("ssl_object")
    assert session.selected_alpn_protocol() == "h2"
    for _ in attempts:
        await answered(connection, endpoint)
    assert connection.requests[0][":scheme"] == "https"
    await endpoint.until_state("1 connections, 1 idle, 0 dialling, 0 in flight")


@with_endpoint(tls=secured(), server_tls=offering("h2", "http/1.1"))
async def test_an_upgrade_over_a_connection_of_its_own_offers_http1_alone(endpoint: Endpoint) -> None:
    endpoint.attempt()
    shared = await endpoint.backend.accept()
    await answered(shared, endpoint)
    endpoint.attempt(upgrade=True)
    own = await endpoint.backend.accept()
    assert own.writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_upstream_that_refuses_us_in_the_handshake(newest: ssl.TLSVersion) -> None:
    context = tls_upstream.asking_for_certificates()
    context.maximum_version = newest
    context.set_alpn_protocols(["h2"])

    @with_endpoint(tls=secured(), server_tls=context)
    async def scenario(endpoint: Endpoint) -> None:
        attempts = [endpoint.attempt() for _ in range(2)]
        for attempt in attempts:
            await attempt.until_ended()
            assert attempt.failure is FailureClass.TLS_HANDSHAKE_FAILURE
            assert attempt.exchange.unprocessed
        await endpoint.until_state(NOTHING)

    scenario(asyncio.new_event_loop)


@pytest.mark.parametrize("protocols", [("http/1.1",), ("spdy/3",)])
@EACH_LOOP
def test_http1_is_spoken_where_the_upstream_wants_it(loop_factory: LoopFactory, protocols: tuple[str, ...]) -> None:
    async def scenario() -> None:
        async with ScriptedBackend(tls=offering(*protocols)) as backend:
            endpoint, tasks = plain_endpoint(backend.port)
            endpoint.pool.secure(secured(), http2=True)
            attempts = [endpoint.attempt() for _ in range(3)]
            assert endpoint.state == "0 connections, 0 idle, 1 dialling, 3 in flight"
            connections = [await backend.accept() for _ in attempts]
            for connection in connections:
                await answered_in_http1(connection, endpoint)
            assert endpoint.state == "3 connections, 3 idle, 0 dialling, 0 in flight"
            # Now it is known, and nobody joins a dial.
            for _ in range(3):
                endpoint.attempt(fresh=True)
            assert endpoint.state == "3 connections, 3 idle, 3 dialling, 3 in flight"
            upgrade = endpoint.attempt(upgrade=True)
            assert endpoint.state == "3 connections, 2 idle, 3 dialling, 4 in flight"
            upgrade.exchange.cancel()
            await endpoint.close()
            await tasks.stop()
            endpoint.sweeper.stop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


@EACH_LOOP
def test_limits_hold_where_one_connection_was_expected_to_serve_all(loop_factory: LoopFactory) -> None:
    async def scenario() -> None:
        async with ScriptedBackend(tls=offering("http/1.1")) as backend:
            endpoint, tasks = plain_endpoint(backend.port)
            endpoint.pool.secure(secured(), http2=True)
            limited(endpoint, 2, connections=5, pending=3)
            attempts = [endpoint.attempt() for _ in range(10)]
            connections = [await backend.accept() for _ in range(2)]
            await eventually_async(lambda: sum(attempt.ends for attempt in attempts) == 5, what="five are too many")
            failures = [attempt.failure for attempt in attempts]
            assert failures == [None] * 5 + [FailureClass.CIRCUIT_OPEN] * 5
            for connection in (*connections, *connections, connections[0]):
                await answered_in_http1(connection, endpoint)
            assert backend.connections == 2
            await endpoint.close()
            await tasks.stop()
            endpoint.sweeper.stop()

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(scenario())


def plain_endpoint(port: int) -> tuple[Endpoint, TaskSupervisor]:
    """An endpoint on *port*, where the test itself listens, to be spoken to in HTTP/2."""
    tasks = TaskSupervisor()
    sweeper = DeadlineSweeper(asyncio.get_running_loop())
    sweeper.start()
    pool = EndpointPool("127.0.0.1", port, sweeper, tasks)
    pool.secure(None, http2=True)
    return Endpoint(Http2Backend(), pool, sweeper), tasks


async def answered_in_http1(connection: BackendConnection, endpoint: Endpoint) -> Attempt:
    """The attempt that the next request of *connection* comes from, which is answered."""
    attempt = endpoint.attempts[int((await connection.read_head()).split()[1][1:])]
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    await attempt.until_ended()
    assert (attempt.status, attempt.content) == (200, b"ok")
    return attempt
