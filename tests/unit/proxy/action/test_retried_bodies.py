"""Bodies of requests that are sent again, over real sockets: kept, continued, held back, or too large."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.support.conditions import eventually_async, settled
from tests.support.forwarding import error
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.retries import Answer, in_turn, reset, respond, retry_budget, retry_to, silence
from tests.support.staged_backend import ReceivedRequest, StagedBackend, StagedConnection
from tests.support.stream_client import StreamClient, request, within
from vrata.proxy.action.retrying import MAX_KEPT

PAUSE = {"base": "200ms", "max": "200ms"}
BODY = bytes(range(256)) * 100


def in_pieces(body: bytes, framing: str, size: int) -> list[bytes]:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    if framing == "length":
        return pieces
    return [b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\nX-Trailer: value\r\n\r\n"]


def head(body: bytes, framing: str, *fields: str) -> bytes:
    return request(
        "PUT /", f"Content-Length: {len(body)}" if framing == "length" else "Transfer-Encoding: chunked", *fields
    )


async def early(connection: StagedConnection, found: ReceivedRequest) -> None:
    """Answer with 503 before the body has come, and read no more."""
    connection.respond(b"", "Connection: close", status=503)
    await connection.gone()
    raise EOFError


async def retrying(proxy: InProcessProxy) -> None:
    await eventually_async(lambda: retry_budget(proxy).retrying == 1, what="the pause before another attempt")


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("failure", [respond(503), reset, silence], ids=["503", "reset", "silence"])
@pytest.mark.parametrize("size", [len(BODY), 1000], ids=["whole", "pieces"])
@on_each_loop
async def test_a_body_is_sent_again(proxy: InProcessProxy, framing: str, failure: Answer, size: int) -> None:
    async with StagedBackend(in_turn(failure, failure)) as backend:
        await retry_to(proxy, backend.port, attempts=2, perAttemptTimeout="400ms" if failure is silence else "20s")
        client = await proxy.connect()
        client.send(head(BODY, framing))
        for piece in in_pieces(BODY, framing, size):
            client.send(piece)
            await asyncio.sleep(0)
        assert (await client.read_response()).body == b"ok"
        assert [found.body for found in backend.requests] == [BODY] * 3
        trailers = () if framing == "length" else (b"x-trailer: value",)
        assert [tuple(line.lower() for line in found.trailers) for found in backend.requests] == [
            tuple(line.lower() for line in trailers)
        ] * 3
        assert (await client.exchange("GET /")).body == b"ok"


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize("moment", ["before", "within", "after"])
@on_each_loop
async def test_a_body_of_which_more_is_to_come_is_continued(proxy: InProcessProxy, framing: str, moment: str) -> None:
    """The rest comes before the failure has arrived, within the pause, or while the second attempt runs."""
    pieces = in_pieces(BODY, framing, len(BODY) // 2)
    async with StagedBackend(in_turn(early)) as backend:
        await retry_to(proxy, backend.port, attempts=1, backoff=PAUSE)
        client = await proxy.connect()
        client.send(head(BODY, framing) + pieces.pop(0))
        if moment != "before":
            await retrying(proxy)
        if moment == "after":
            await eventually_async(lambda: len(backend.requests) == 2, what="the second attempt")
        for piece in pieces:
            client.send(piece)
        assert (await client.read_response()).body == b"ok"
        assert backend.requests[1].body == BODY
        assert (await client.exchange("GET /")).body == b"ok"


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(("excess", "is_retried"), [(0, True), (1, False)])
@on_each_loop
async def test_a_body_that_is_too_large_is_not_sent_again(
    proxy: InProcessProxy, framing: str, excess: int, is_retried: bool
) -> None:
    body = bytes(MAX_KEPT + excess)
    async with StagedBackend(in_turn(respond(503, b"as it is"))) as backend:
        await retry_to(proxy, backend.port, attempts=3)
        client = await proxy.connect()
        client.send(head(body, framing) + b"".join(in_pieces(body, framing, 10_000)))
        response = await client.read_response()
        assert response.body == (b"ok" if is_retried else b"as it is")
        assert [len(found.body) for found in backend.requests] == [len(body)] * (2 if is_retried else 1)


@on_each_loop
async def test_a_large_body_flows_through_and_is_not_kept(proxy: InProcessProxy) -> None:
    body = bytes(2_000_000)
    async with StagedBackend(in_turn(respond(200, b"first"), reset)) as backend:
        await retry_to(proxy, backend.port, attempts=3)
        client = await proxy.connect()
        assert (await client.exchange("PUT /", body=body)).body == b"first"
        assert error(await client.exchange("PUT /", body=body)) == (502, "connection_reset")
        assert [len(found.body) for found in backend.requests] == [len(body)] * 2


@on_each_loop
async def test_a_large_body_whose_attempt_fails_early_is_held_back_in_the_pause(proxy: InProcessProxy) -> None:
    body = bytes(8_000_000)
    async with StagedBackend(in_turn(early)) as backend:
        await retry_to(proxy, backend.port, attempts=3, backoff={"base": "1s", "max": "1s"})
        client = await proxy.connect()
        client.send(head(body, "length"))
        await retrying(proxy)
        client.send(body)
        waiting = await settled(client.writer.transport.get_write_buffer_size)
        assert waiting > 1_000_000, "the client is not read"
        assert len(backend.requests) == 1
        # The one attempt that there can still be has the whole body.
        assert (await client.read_response()).body == b"ok"
        assert [len(found.body) for found in backend.requests] == [0, len(body)]


@on_each_loop
async def test_what_was_held_back_in_a_pause_is_not_sent_a_third_time(proxy: InProcessProxy) -> None:
    body = bytes(1_000_000)
    async with StagedBackend(in_turn(early, respond(503, b"second"))) as backend:
        await retry_to(proxy, backend.port, attempts=3, backoff=PAUSE)
        client = await proxy.connect()
        client.send(head(body, "length"))
        await retrying(proxy)
        client.send(body)
        assert (await client.read_response()).body == b"second"
        assert [len(found.body) for found in backend.requests] == [0, len(body)]


@on_each_loop
async def test_a_client_that_was_held_back_by_a_failed_attempt_goes_on(proxy: InProcessProxy) -> None:
    """The upstream takes nothing, so the client is not read; the next attempt takes everything."""
    body = bytes(MAX_KEPT)

    async def stall(connection: StagedConnection, found: ReceivedRequest) -> None:
        await asyncio.sleep(0.3)
        connection.reset()
        raise EOFError

    async with StagedBackend(in_turn(stall), receive_buffer=4096) as backend:
        await retry_to(proxy, backend.port, attempts=1)
        client = await proxy.connect()
        client.send(head(body, "length") + body)
        assert (await client.read_response()).body == b"ok"
        assert backend.requests[1].body == body


# -- 100 (Continue) ---------------------------------------------------------------------------------------------------


async def read_interim(client: StreamClient) -> int:
    return (await client.read_response(interim=True)).status


@pytest.mark.parametrize("asked", [True, False], ids=["backend continues", "proxy continues"])
@on_each_loop
async def test_a_client_that_waits_is_told_to_go_on_by_the_attempt_that_takes_its_body(
    proxy: InProcessProxy, asked: bool
) -> None:
    async def go_on(connection: StagedConnection, found: ReceivedRequest) -> None:
        if asked:
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.read_body(found)
        connection.respond(b"taken")

    async with StagedBackend(in_turn(early, go_on)) as backend:
        await retry_to(proxy, backend.port, limits={"expectContinue": "20s" if asked else "300ms"}, attempts=1)
        client = await proxy.connect()
        client.send(head(BODY, "length", "Expect: 100-continue"))
        assert await read_interim(client) == 100
        assert len(backend.requests) == 2
        client.send(BODY)
        assert (await client.read_response()).body == b"taken"
        assert backend.requests[1].body == BODY


@on_each_loop
async def test_a_body_that_was_asked_for_is_sent_again(proxy: InProcessProxy) -> None:
    async def take_and_fail(connection: StagedConnection, found: ReceivedRequest) -> None:
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await connection.read_body(found)
        connection.respond(status=503)

    async with StagedBackend(in_turn(take_and_fail)) as backend:
        await retry_to(proxy, backend.port, attempts=1)
        client = await proxy.connect()
        client.send(head(BODY, "length", "Expect: 100-continue"))
        assert await read_interim(client) == 100
        client.send(BODY)
        assert (await client.read_response()).body == b"ok"
        assert [found.body for found in backend.requests] == [BODY] * 2


# -- clients that break off -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rest", [b"zz\r\n", b"ffffffffffffffffff\r\n"])
@on_each_loop
async def test_a_body_that_turns_out_to_be_none_ends_the_pause(proxy: InProcessProxy, rest: bytes) -> None:
    async with StagedBackend(in_turn(early)) as backend:
        await retry_to(proxy, backend.port, attempts=1, backoff=PAUSE)
        client = await proxy.connect()
        client.send(head(b"", "chunked") + b"2\r\nab\r\n")
        await retrying(proxy)
        client.send(rest)
        assert (await client.read_response()).status == 400
        assert retry_budget(proxy).is_idle
        await within(asyncio.sleep(0.3), "the pause would be over")
        assert len(backend.requests) == 1


@pytest.mark.parametrize("members", [{}, {"perAttemptTimeout": "1h"}])
@on_each_loop
async def test_the_limits_of_the_listener_hold_in_a_pause(proxy: InProcessProxy, members: dict[str, Any]) -> None:
    listener = proxy.listener(timeouts={"clientRequest": "150ms"})
    async with StagedBackend(in_turn(early)) as backend:
        slow = {"base": "20s", "max": "20s"}
        await retry_to(proxy, backend.port, listeners=[listener], attempts=1, backoff=slow, **members)
        client = await proxy.connect()
        client.send(head(BODY, "length") + BODY[:10])
        assert await client.ending() in ("closed", "reset")
        assert retry_budget(proxy).is_idle
