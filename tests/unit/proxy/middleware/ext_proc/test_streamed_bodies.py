"""Bodies that are shown in pieces: each answer is of its piece, nothing waits for the end, and little is held."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from typing import Any

import pytest

from tests.support.conditions import eventually_async, settled
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.processing import process
from tests.support.processors import (
    DIE,
    HANG,
    PROCESSORS,
    Do,
    GrpcProcessor,
    HttpProcessor,
    Processor,
    Reject,
    Reply,
    Seen,
    VrataProcessor,
)
from tests.support.raw_http import TruncatedResponse
from tests.support.staged_backend import StagedBackend, StagedConnection
from vrata.proxy.middleware.ext_proc.passage import MAX_PIECE

Kind = type[Processor]
EACH = pytest.mark.parametrize("kind", PROCESSORS)
STREAMED = {"requestBody": "streamed", "responseBody": "streamed"}
POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZE = 10 << 20


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


def loudly(seen: Seen) -> Reply:
    """Replace what is shown of bodies, by something of another length."""
    return Do(body=seen.body.upper() + b"!") if seen.phase.endswith("Body") and seen.body else Do()


async def next_chunk(connection: StagedConnection) -> bytes:
    size = int(await connection.reader.readuntil(b"\r\n"), 16)
    return (await connection.reader.readexactly(size + 2))[:-2]


def time_for(reply: Reply) -> str:
    """What an answer may take: as little as a busy machine bears where it will not come."""
    return "1s" if reply == HANG else "20s"


@EACH
@on_our_loop
async def test_that_each_piece_goes_on_with_its_answer(proxy: InProcessProxy, kind: Kind) -> None:
    reached: asyncio.Queue[bytes] = asyncio.Queue()
    wanted: asyncio.Queue[bytes] = asyncio.Queue()

    async def converse(connection: StagedConnection) -> None:
        head = await connection.read_head()
        assert head.all("transfer-encoding") == ["chunked"]
        while content := await next_chunk(connection):
            reached.put_nowait(content)
        connection.send(OK)
        while content := await wanted.get():
            connection.send(chunk(content))
        connection.send(chunk(b""))

    async with StagedBackend(converse) as backend:
        with kind(loudly) as found:
            await process(proxy, found, backend.port, phases=STREAMED)
            client = await proxy.connect()
            client.send(POST)
            for content in (b"one", b"two", b"three"):
                client.send(chunk(content))
                assert await asyncio.wait_for(reached.get(), 30) == content.upper() + b"!"
            client.send(chunk(b""))
            head = await client.read_head()
            assert (head["transfer-encoding"], "content-length" in head) == ("chunked", False)
            for content in (b"four", b"five"):
                wanted.put_nowait(content)
                expected = chunk(content.upper() + b"!")
                assert await client.read_exactly(len(expected)) == expected
            wanted.put_nowait(b"")
            assert await client.read_exactly(5) == b"0\r\n\r\n"
            for phase in ("requestBody", "responseBody"):
                assert [seen.end for seen in found.of(phase)][:-1] == [False] * (len(found.of(phase)) - 1)
                assert found.of(phase)[-1].end


@EACH
@on_our_loop
async def test_that_a_body_in_one_piece_keeps_a_length(proxy: InProcessProxy, kind: Kind) -> None:
    async def answer(connection: StagedConnection) -> None:
        while True:
            request = await connection.read_request()
            connection.respond(request.body, f"X-Length: {request.all('content-length')}")

    async with StagedBackend(answer) as backend:
        with kind(loudly) as found:
            await process(proxy, found, backend.port, phases=STREAMED)
            client = await proxy.connect()
            response = await client.exchange("POST /", body=b"abc")
            assert (response.body, response["x-length"]) == (b"ABC!!", "['4']")


@on_our_loop
async def test_that_a_body_of_http_1_0_becomes_one_in_chunks(proxy: InProcessProxy) -> None:
    async def old(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(b"HTTP/1.0 200 OK\r\n\r\nhello")
        await eventually_async(lambda: bool(found.of("responseBody")), what="the first piece was shown")
        connection.send(b"more")
        connection.close()

    with VrataProcessor() as found:
        async with StagedBackend(old) as backend:
            await process(proxy, found, backend.port, phases={"responseBody": "streamed"})
            assert (await (await proxy.connect()).exchange("GET /")).body == b"hellomore"


@EACH
@on_our_loop
async def test_that_pieces_can_be_swallowed(proxy: InProcessProxy, kind: Kind) -> None:
    async def answer(connection: StagedConnection) -> None:
        request = await connection.read_request()
        connection.respond(request.body)

    async with StagedBackend(answer) as backend:
        with kind(lambda seen: Do(clear=True) if seen.phase == "requestBody" else Do()) as found:
            await process(proxy, found, backend.port, phases=STREAMED)
            client = await proxy.connect()
            client.send(POST + chunk(b"abc"))
            await eventually_async(lambda: found.body("requestBody") == b"abc", what="the piece was seen")
            client.send(chunk(b"def") + chunk(b""))
            assert (await client.read_response()).body == b""


@EACH
@on_our_loop
async def test_that_the_last_answer_lets_the_rest_pass(proxy: InProcessProxy, kind: Kind) -> None:
    async def answer(connection: StagedConnection) -> None:
        request = await connection.read_request()
        connection.respond(request.body)

    def script(seen: Seen) -> Reply:
        return Do(body=b"<first>", last=True) if seen.phase == "requestBody" else Do()

    async with StagedBackend(answer) as backend:
        with kind(script) as found:
            await process(proxy, found, backend.port, phases={"requestBody": "streamed"})
            client = await proxy.connect()
            rest = bytes(range(256)) * 2000
            client.send(POST + chunk(b"x" * MAX_PIECE) + chunk(rest) + chunk(b""))
            assert (await client.read_response()).body == b"<first>" + rest
            assert found.of("responseHeaders")


@EACH
@on_our_loop
async def test_that_transactions_at_the_same_time_do_not_mix(proxy: InProcessProxy, kind: Kind) -> None:
    async def answer(connection: StagedConnection) -> None:
        while True:
            request = await connection.read_request()
            connection.respond(request.target.encode() + request.body)

    async def exchange(number: int) -> bytes:
        client = await proxy.connect()
        content = b"%d " % number * 5000
        client.send(b"POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" % number)
        for at in range(0, len(content), 3000):
            client.send(chunk(content[at : at + 3000]))
            await asyncio.sleep(0)
        client.send(chunk(b""))
        return (await client.read_response()).body

    async with StagedBackend(answer) as backend:
        with kind(lambda seen: Do(body=seen.body.replace(b" ", b"-")) if seen.body else Do()) as found:
            await process(proxy, found, backend.port, phases=STREAMED)
            bodies = await asyncio.gather(*(exchange(number) for number in range(12)))
            assert bodies == [b"/%d" % number + b"%d-" % number * 5000 for number in range(12)]


@EACH
@on_our_loop
async def test_ten_mebibytes_both_ways(proxy: InProcessProxy, kind: Kind) -> None:
    if kind is not VrataProcessor:
        size = SIZE // 5  # the rest is the same
    else:
        size = SIZE
    content = (hashlib.sha256(b"content").digest() * (size // 32 + 1))[:size]

    async def answer(connection: StagedConnection) -> None:
        request = await connection.read_head()
        connection.send(OK)
        assert request.all("transfer-encoding")
        while content := await next_chunk(connection):
            connection.send(chunk(content))
            await connection.flush()
        connection.send(chunk(b""))

    async with StagedBackend(answer) as backend:
        with kind() as found:
            await process(proxy, found, backend.port, phases=STREAMED)
            client = await proxy.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + content)
            response = await client.read_response()
            assert hashlib.sha256(response.body).digest() == hashlib.sha256(content).digest()
            assert hashlib.sha256(found.body("requestBody")).digest() == hashlib.sha256(content).digest()
            assert max(len(seen.body) for seen in found.seen) <= MAX_PIECE


@pytest.mark.parametrize("kind", PROCESSORS[:1] + PROCESSORS[2:])
@on_our_loop
async def test_that_a_slow_processor_holds_the_client_up(proxy: InProcessProxy, kind: Kind) -> None:
    """It has seen the first piece, and does not answer: no more than a bounded part of the body is read."""
    go_on = threading.Event()

    def script(seen: Seen) -> Reply:
        if seen.phase == "requestBody":
            go_on.wait(20)
        return Do()

    async def answer(connection: StagedConnection) -> None:
        request = await connection.read_request()
        connection.respond(b"%d" % len(request.body))

    async with StagedBackend(answer) as backend:
        with kind(script) as found:
            await process(proxy, found, backend.port, phases={"requestBody": "streamed"}, phaseTimeout="20s")
            client = await proxy.connect()
            size = 2 * SIZE
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            await eventually_async(lambda: found.of("requestBody"), what="the first piece was seen")
            left = await settled(client.writer.transport.get_write_buffer_size)
            assert left > SIZE  # what is missing lies in the buffers of kernels
            go_on.set()
            assert (await client.read_response()).body == b"%d" % size


@on_our_loop
async def test_that_a_slow_client_holds_the_upstream_up(proxy: InProcessProxy) -> None:
    """It takes nothing: the processor is shown a bounded part of the body, and the upstream gets rid of no more."""
    sent = 0

    async def pour(connection: StagedConnection) -> None:
        nonlocal sent
        await connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * SIZE))
        for _ in range(2 * SIZE // 65536):
            connection.send(b"y" * 65536)
            await connection.flush()
            sent += 65536

    async with StagedBackend(pour) as backend:
        with VrataProcessor() as found:
            await process(proxy, found, backend.port, phases={"responseBody": "streamed"})
            client = await proxy.connect(receive_buffer=4096)
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await eventually_async(lambda: found.of("responseBody"), what="the first piece was seen")
            await settled(lambda: sent)
            # Kernels hold some megabytes between two sockets; the proxy adds what may be under way.
            assert sent < SIZE
            assert len(found.body("responseBody")) <= sent
            response = await client.read_response()
            assert response.body == b"y" * (2 * SIZE)
            assert found.body("responseBody") == response.body


@EACH
@on_our_loop
async def test_that_bodies_come_through_whatever_their_chunks(proxy: InProcessProxy, kind: Kind) -> None:
    contents = [bytes([65 + number % 26]) * (1 + number * number % 977) for number in range(40)]

    async def echo(connection: StagedConnection) -> None:
        request = await connection.read_request()
        connection.send(OK)
        for content in contents:
            connection.send(chunk(content))
            await connection.flush()
        connection.send(chunk(b""))
        assert request.body == b"".join(contents)

    async with StagedBackend(echo) as backend:
        with kind() as found:
            for mode in ("streamed", "buffered", "bufferedPartial"):
                await process(proxy, found, backend.port, phases={"requestBody": mode, "responseBody": mode})
                client = await proxy.connect()
                client.send(POST)
                data = b"".join(map(chunk, contents)) + chunk(b"")
                for at in range(0, len(data), 1009):
                    client.send(data[at : at + 1009])
                    await asyncio.sleep(0)
                assert (await client.read_response()).body == b"".join(contents)
            assert found.body("requestBody") == b"".join(contents) * 3
            assert found.body("responseBody") == b"".join(contents) * 3


@pytest.mark.parametrize(
    ("kind", "reply"),
    [(kind, reply) for kind in PROCESSORS for reply in (DIE, b"garbage", Reject(403))] + [(VrataProcessor, HANG)],
)
@on_our_loop
async def test_that_a_response_that_has_begun_is_cut(proxy: InProcessProxy, kind: Kind, reply: Reply) -> None:
    async def answer(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(OK + chunk(b"first"))
        await until_seen.wait()
        connection.send(chunk(b"second"))
        await connection.gone()
        over.set()

    def script(seen: Seen) -> Reply:
        return reply if seen.body == b"second" else Do()

    until_seen, over = asyncio.Event(), asyncio.Event()
    async with StagedBackend(answer) as backend:
        with kind(script) as found:
            await process(proxy, found, backend.port, phases={"responseBody": "streamed"}, phaseTimeout=time_for(reply))
            client = await proxy.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.read_head()).status == 200
            assert await client.read_exactly(10) == chunk(b"first")
            until_seen.set()
            with pytest.raises((TruncatedResponse, ConnectionResetError)):
                await client.read_exactly(1)
            await asyncio.wait_for(over.wait(), 30)


@pytest.mark.parametrize("kind", PROCESSORS)
@on_our_loop
async def test_that_a_response_goes_on_past_a_processor_that_dies(proxy: InProcessProxy, kind: Kind) -> None:
    async def answer(connection: StagedConnection) -> None:
        request = await connection.read_request()
        connection.send(OK + chunk(request.body))
        await until_seen.wait()
        connection.send(chunk(b"second") + chunk(b"third") + chunk(b""))

    def script(seen: Seen) -> Reply:
        return DIE if seen.body.startswith(b"second") else Do()

    until_seen = asyncio.Event()
    async with StagedBackend(answer) as backend:
        with kind(script) as found:
            await process(proxy, found, backend.port, phases=STREAMED, allowOnError=True)
            client = await proxy.connect()
            client.send(POST + chunk(b"first") + chunk(b""))
            assert (await client.read_head()).status == 200
            assert await client.read_exactly(10) == chunk(b"first")
            until_seen.set()
            rest = await client._read_chunks()
            assert rest[0] == b"secondthird"


@pytest.mark.parametrize(("kind", "reply"), [*((kind, DIE) for kind in PROCESSORS), (HttpProcessor, HANG)])
@on_our_loop
async def test_that_a_request_goes_on_past_a_processor_that_fails(
    proxy: InProcessProxy, kind: Kind, reply: Reply
) -> None:
    async def answer(connection: StagedConnection) -> None:
        request = await connection.read_request()
        connection.respond(request.body)

    def script(seen: Seen) -> Reply:
        return reply if seen.phase == "requestBody" and len(found.of("requestBody")) >= 2 else Do()

    async with StagedBackend(answer) as backend:
        with kind(script) as found:
            settings: dict[str, Any] = {"allowOnError": True, "phaseTimeout": time_for(reply)}
            await process(proxy, found, backend.port, phases=STREAMED, **settings)
            client = await proxy.connect()
            content = bytes(range(256)) * 4000
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(content) + content)
            assert (await client.read_response()).body == content
            assert not found.of("responseHeaders")  # nothing is shown any more


@EACH
@on_our_loop
async def test_that_a_client_that_goes_away_takes_everything_along(proxy: InProcessProxy, kind: Kind) -> None:
    gone = asyncio.Event()

    async def answer(connection: StagedConnection) -> None:
        await connection.read_head()
        await connection.gone()
        gone.set()

    def script(seen: Seen) -> Reply:
        return HANG if seen.body == b"second" else Do()

    async with StagedBackend(answer) as backend:
        with kind(script) as found:
            await process(proxy, found, backend.port, phases=STREAMED, phaseTimeout="20s")
            client = await proxy.connect()
            client.send(POST + chunk(b"first"))
            await eventually_async(lambda: found.of("requestBody"), what="the first piece was seen")
            client.send(chunk(b"second"))
            await eventually_async(lambda: len(found.of("requestBody")) == 2, what="the second piece was seen")
            await eventually_async(lambda: backend.requests, what="the upstream has the head")
            client.reset()
            await asyncio.wait_for(gone.wait(), 30)
            if isinstance(found, GrpcProcessor):
                await eventually_async(lambda: found.cancelled == 1, what="the stream is cancelled")
