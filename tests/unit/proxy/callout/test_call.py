"""Calls of HTTP that the proxy makes itself, over real sockets."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any

from tests.support import tls_upstream
from tests.support.callouts import answer, failure, services
from tests.support.client_request import client_request
from tests.support.conditions import eventually_async
from tests.support.faulty_backend import DeadPorts
from tests.support.gateway import Document, destination
from tests.support.http2_backend import Http2Backend
from tests.support.in_process_proxy import InProcessProxy, on_each_loop, on_our_loop
from tests.support.retries import close, in_turn, reset, respond, silence
from tests.support.staged_backend import ReceivedRequest, StagedBackend, StagedConnection
from vrata.policy.circuit_breaker import described
from vrata.proxy.callout.answer import Answer, CalloutFailure


def service(*ports: int, **options: Any) -> Document:
    document = destination("d", ports[0], **options)
    document["endpoints"] = [{"host": "127.0.0.1", "port": port} for port in ports]
    return document


async def know(proxy: InProcessProxy, *ports: int, **options: Any) -> None:
    await proxy.apply(destinations=[service(*ports, **options)])


@on_our_loop
async def test_a_call_sends_what_it_is_told_and_gets_the_answer(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(403, b"no", "X-Why: because"))) as backend:
        await know(proxy, backend.port)
        found = await answer(proxy, b"/check?a=b", fields=b"x-one: 1\r\nx-two: 2\r\n", body=b"whether")
        assert (found.status, found.body) == (403, b"no")
        assert found.head.values(b"x-why") == [b"because"]
        (received,) = backend.requests
        assert received.line == "POST /check?a=b HTTP/1.1"
        assert received.fields == (
            ("host", f"127.0.0.1:{backend.port}"),
            ("content-length", "7"),
            ("x-one", "1"),
            ("x-two", "2"),
        )
        assert received.body == b"whether"
        # The connection is used again.
        assert (await answer(proxy, method=b"GET")).status == 200
        assert backend.requests[1].fields == (("host", f"127.0.0.1:{backend.port}"),)
        assert len(backend.connections) == 1


@on_our_loop
async def test_a_call_over_tls_and_http2(proxy: InProcessProxy) -> None:
    async with Http2Backend(tls=tls_upstream.serving(http2=True)) as backend:
        document = tls_upstream.secured(backend.port, "d")
        document["options"]["http2"] = True
        await proxy.apply(destinations=[document])
        calling = proxy.tasks.start(answer(proxy, b"/x", body=b"0123"), name="call")
        connection = await backend.accept()
        request = await (await connection.next()).until_complete()
        assert (request[":method"], request[":path"], request[":scheme"]) == ("POST", "/x", "https")
        assert request.content == b"0123"
        request.head([(":status", "200")])
        request.send(b"yes", end=True)
        assert (await calling).body == b"yes"


@on_our_loop
async def test_what_cannot_be_called_fails_and_says_why(proxy: InProcessProxy) -> None:
    with DeadPorts() as dead:
        await know(proxy, dead.refused)
        assert await failure(proxy, to="other") == ("no_destination", 'destination "other" does not exist')
        assert (await failure(proxy))[0] == "connection_refused"
        await know(proxy, dead.full, timeouts={"connect": "100ms"})
        assert (await failure(proxy))[0] == "timeout"


@on_our_loop
async def test_another_endpoint_is_tried_where_one_cannot_be_reached(proxy: InProcessProxy) -> None:
    with DeadPorts() as dead:
        async with StagedBackend() as backend:
            await know(proxy, dead.refused, backend.port)
            for _ in range(4):
                assert (await answer(proxy)).body == b"ok"


@on_each_loop
async def test_a_service_that_gives_no_answer(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(reset, close, silence, silence)) as backend:
        await know(proxy, backend.port, timeouts={"responseHeader": "100ms"})
        assert (await failure(proxy))[0] == "connection_reset"
        assert (await failure(proxy))[0] == "connection_reset"
        assert await failure(proxy) == ("timeout", "response header time limit passed")
        await know(proxy, backend.port)
        assert await failure(proxy, limit=0.1) == ("timeout", "no answer within the limit of the call")
        assert len(backend.requests) == 4, "nothing of this may be sent again"
        await eventually_async(lambda: backend.open == 0, what="connections that owe an answer are given up")


@on_our_loop
async def test_an_answer_that_never_ends_is_cut_by_the_limits(proxy: InProcessProxy) -> None:
    async def trickle(connection: StagedConnection, found: ReceivedRequest) -> None:
        await connection.read_body(found)
        connection.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n")
        await connection.gone()
        raise EOFError

    async with StagedBackend(in_turn(trickle, trickle, respond(200, b"123456"), respond(200, b"12345"))) as backend:
        await know(proxy, backend.port)
        assert (await failure(proxy, limit=0.1))[0] == "timeout"
        assert await failure(proxy, max_answer=4) == ("internal_error", "an answer of more than 4 bytes")
        assert (await failure(proxy, max_answer=5))[1] == "an answer of more than 5 bytes"
        assert (await answer(proxy, max_answer=5)).body == b"12345"


@on_our_loop
async def test_nonsense_is_no_answer(proxy: InProcessProxy) -> None:
    async def babble(connection: StagedConnection, found: ReceivedRequest) -> None:
        await connection.read_body(found)
        connection.send(b"\x00\xff nonsense\r\n\r\n")
        await connection.gone()
        raise EOFError

    async with StagedBackend(in_turn(babble)) as backend:
        await know(proxy, backend.port)
        assert (await failure(proxy))[0] == "connection_reset"


@on_each_loop
async def test_a_connection_that_died_while_idle_is_no_failure(proxy: InProcessProxy) -> None:
    async def once(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.respond(b"ok")
        if connection.number == 0:
            await connection.read_head()  # of a second request, which gets no answer

    async with StagedBackend(once) as backend:
        await know(proxy, backend.port, circuitBreaker={"failureThreshold": 1})
        assert (await answer(proxy)).body == b"ok"
        assert (await answer(proxy, body=b"again")).body == b"ok"
        assert [(each.connection, each.body) for each in backend.requests] == [(0, b""), (0, b""), (1, b"again")]


@on_our_loop
async def test_calls_count_for_the_circuit_and_the_streaks_of_their_endpoint(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(*[respond(500)] * 2, respond(503), respond(200))) as backend:
        options: dict[str, Any] = {
            "circuitBreaker": {"failureThreshold": 3, "openDuration": "1h"},
            "outlierDetection": {"consecutive5xx": 9},
        }
        await know(proxy, backend.port, **options)
        registry = proxy.data_plane._registry
        assert [(await answer(proxy)).status for _ in range(3)] == [500, 500, 503]
        streaks = registry.streaks("d", "127.0.0.1", backend.port)
        assert repr(streaks) == "<FailureStreaks 3>"
        assert await failure(proxy) == ("circuit_open", "circuit open since 3 failures in a row")
        word = registry.counts.word("breaker d")
        assert described(word.value).state == "open"
        options["circuitBreaker"] = {"failureThreshold": 3, "openDuration": "1ms"}
        await know(proxy, backend.port, **options)
        await asyncio.sleep(0.01)  # the open time itself
        assert (await answer(proxy)).status == 200
        assert described(word.value).state == "closed"
        assert repr(streaks) == "<FailureStreaks 0>"
        word.leave()


@on_our_loop
async def test_only_so_many_calls_are_under_way(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(silence)) as backend:
        await know(proxy, backend.port, circuitBreaker={"maxRequests": 1})
        held = services(proxy).call("d", b"POST", b"/", b"", b"", 10, _unexpected)
        await eventually_async(lambda: len(backend.requests) == 1, what="the request has arrived")
        found = await services(proxy).fetch("d", b"GET", b"/", b"", b"", 10)
        assert isinstance(found, CalloutFailure)
        assert found.failure_class.label == "circuit_open"
        held.cancel()
        assert (await answer(proxy)).body == b"ok"


def _unexpected(outcome: Answer | CalloutFailure) -> None:
    raise AssertionError(outcome)


@on_each_loop
async def test_a_call_that_is_cancelled_is_told_nothing(proxy: InProcessProxy) -> None:
    told: list[Answer | CalloutFailure] = []
    async with StagedBackend(in_turn(silence, silence)) as backend:
        # The second call may dial anew where the first dial is not known to be over; one of the two is idle then.
        await know(proxy, backend.port, timeouts={"idleConnection": "2s"})
        services(proxy).call("d", b"POST", b"/", b"", b"", 10, told.append).cancel()
        await eventually_async(lambda: backend.open == 1, what="the dial is over")
        sent = services(proxy).call("d", b"POST", b"/", b"", b"", 100, told.append)
        await eventually_async(lambda: len(backend.requests) == 1, what="the request has arrived")
        sent.cancel()
        sent.cancel()
        assert services(proxy).under_way == 0
        refused = services(proxy).call("other", b"POST", b"/", b"", b"", 10, told.append)
        refused.cancel()
        await eventually_async(lambda: backend.open == 0, what="its connection is given up")
        assert told == []


@on_our_loop
async def test_a_coroutine_may_wait_for_the_answer_and_leave(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(respond(200, b"keys"), silence)) as backend:
        await know(proxy, backend.port)
        found = await services(proxy).fetch("d", b"GET", b"/keys", b"", b"", 10)
        assert isinstance(found, Answer)
        assert found.body == b"keys"
        task = proxy.tasks.start(services(proxy).fetch("d", b"GET", b"/", b"", b"", 10), name="fetch")
        await eventually_async(lambda: len(backend.requests) == 2, what="the request has arrived")
        task.cancel()
        await eventually_async(lambda: services(proxy).under_way == 0, what="the call is over")


@on_our_loop
async def test_calls_go_where_the_plan_in_force_says(proxy: InProcessProxy) -> None:
    async with AsyncExitStack() as stack:
        scripts = (in_turn(*[respond(200, name)] * 3) for name in (b"a", b"b"))
        first, second = [await stack.enter_async_context(StagedBackend(each)) for each in scripts]
        await know(proxy, first.port)
        assert (await answer(proxy)).body == b"a"
        await know(proxy, second.port)
        assert (await answer(proxy)).body == b"b"
        await proxy.apply()
        assert (await failure(proxy))[0] == "no_destination"


@on_our_loop
async def test_without_a_request_a_hash_still_chooses(proxy: InProcessProxy) -> None:
    async with AsyncExitStack() as stack:
        backends = [await stack.enter_async_context(StagedBackend()) for _ in range(3)]
        ports = [backend.port for backend in backends]
        policy = [{"cookie": {"name": "s"}}, {"header": {"name": "x-user"}}, {"sourceIP": {"enabled": True}}]
        await know(proxy, *ports, endpointBalancing={"algorithm": "RING_HASH", "ringHash": {"hashPolicy": policy}})
        for _ in range(6):
            await answer(proxy)
        assert Counter(len(backend.requests) for backend in backends) == Counter({0: 2, 6: 1})
        for number in range(30):
            await answer(proxy, request=client_request(b"X-User: %d" % number))
        assert all(len(backend.requests) > 2 for backend in backends), "what a client says decides"


@on_each_loop
async def test_what_is_under_way_ends_with_the_worker(proxy: InProcessProxy) -> None:
    async with StagedBackend(in_turn(silence)) as backend:
        await know(proxy, backend.port)
        calling = proxy.tasks.start(failure(proxy), name="call")
        await eventually_async(lambda: len(backend.requests) == 1, what="the request has arrived")
        assert await proxy.data_plane.drain(5)
        assert await calling == ("internal_error", "the proxy is ending")
        assert await failure(proxy) == ("internal_error", "the proxy is ending")
