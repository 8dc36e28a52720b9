"""Requests, bodies and tunnels over TLS, and how such connections end."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import resource

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from tests.support.conditions import eventually_async, settled
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import request
from tests.support.tls_listener import GET, answer_hello, established, forward_to, trusting
from vrata.net.tls_transport import TlsTransport
from vrata.proxy.listener.secure_connection import SecureConnection

MEGABYTE = 1 << 20
PATIENCE = 32 * MEGABYTE
"""What the kernel's buffers, in both directions and on both sides, may hold of a body that nobody reads."""


async def echo_target(connection: StagedConnection) -> None:
    """Answer every request with its target."""
    while True:
        found = await connection.read_request()
        connection.respond(found.target.encode())


# -- requests ----------------------------------------------------------------------------------------------------------


@on_each_loop
async def test_pipelined_requests_in_one_record_are_answered_in_order(proxy: InProcessProxy) -> None:
    async with StagedBackend(echo_target) as backend:
        await forward_to(proxy, backend.port)
        async with established(proxy) as client:
            client.send(b"".join(request(f"GET /{number}") for number in range(50)))
            answers = await client.receive_until(b"/49")
        assert answers.count(b"HTTP/1.1 200 ") == 50
        assert [each.target for each in backend.requests] == [f"/{number}" for number in range(50)]


@on_each_loop
async def test_a_request_may_come_in_a_record_per_byte_or_a_segment_per_byte(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await forward_to(proxy, backend.port)
        data = request("POST /", body=b"content")
        async with established(proxy) as client:
            client.send_raw(b"".join(client.records(bytes([byte])) for byte in data))
            assert await client.receive_until(b"ok")
            for byte in client.records(data):
                client.send_raw(bytes([byte]))
                await asyncio.sleep(0)
            assert await client.receive_until(b"ok")
        assert [each.body for each in backend.requests] == [b"content", b"content"]


@on_each_loop
async def test_a_client_that_pipelines_without_reading_is_not_read_for_ever(proxy: InProcessProxy) -> None:
    await answer_hello(proxy)
    client = await proxy.connect(tls=trusting(), receive_buffer=4096)
    sent = 0
    many = GET * 1000
    while sent < 60 * MEGABYTE:
        client.send(many)
        sent += len(many)
        try:
            async with asyncio.timeout(0.5):
                await client.writer.drain()
        except TimeoutError:
            break
    assert sent < 60 * MEGABYTE


# -- bodies ------------------------------------------------------------------------------------------------------------


def content(size: int) -> bytes:
    """Bytes of which no two stretches are alike."""
    return b"".join(b"%015d\n" % position for position in range(0, size, 16))


@pytest.mark.parametrize("size", [1, 895, 896, 897, 16383, 16384, 16385, 100_000, 3 * MEGABYTE])
@on_each_loop
async def test_bodies_of_any_size_arrive_whole(proxy: InProcessProxy, size: int) -> None:
    async def mirror(connection: StagedConnection) -> None:
        while True:
            found = await connection.read_request()
            connection.respond(found.body)

    data = content(size)[:size]
    async with StagedBackend(mirror) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect(tls=trusting())
        for _ in range(2):
            response = await client.exchange("POST /", body=data)
            assert hashlib.sha256(response.body).digest() == hashlib.sha256(data).digest()


@on_each_loop
async def test_an_upload_is_no_faster_than_the_backend(proxy: InProcessProxy) -> None:
    go_on = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        found = await connection.read_head()
        await go_on.wait()
        connection.respond(hashlib.sha256(await connection.read_body(found)).hexdigest().encode())

    size = 64 * MEGABYTE
    block = content(MEGABYTE)
    async with StagedBackend(script, receive_buffer=65536) as backend:
        await forward_to(proxy, backend.port)
        client = await proxy.connect(tls=trusting())
        client.writer.transport.set_write_buffer_limits(high=65536)
        client.send(request("POST /", f"Content-Length: {size}"))
        taken = 0

        async def upload() -> None:
            nonlocal taken
            for _ in range(size // len(block)):
                client.send(block)
                await client.writer.drain()
                taken += len(block)

        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        task = proxy.tasks.start(upload(), name="upload")
        stopped_at = await settled(lambda: taken)
        assert stopped_at < PATIENCE
        # In KiB. The kernel's buffers are not in it.
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024
        go_on.set()
        await task
        digest = hashlib.sha256(block * (size // len(block))).hexdigest()
        assert (await client.read_response("POST")).body == digest.encode()


@on_each_loop
async def test_a_download_is_no_faster_than_the_client(proxy: InProcessProxy) -> None:
    size = 64 * MEGABYTE
    block = content(MEGABYTE)
    sent = 0

    async def script(connection: StagedConnection) -> None:
        nonlocal sent
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        for _ in range(size // len(block)):
            connection.send(block)
            await connection.flush()
            sent += len(block)
        await connection.gone()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        async with established(proxy) as client:
            client.send(GET)
            assert await settled(lambda: sent) < PATIENCE
            received = hashlib.sha256()
            left = size
            _, data = await client.receive_head()
            while True:
                received.update(data)
                left -= len(data)
                if not left:
                    break
                data = await client.receive()
        assert received.digest() == hashlib.sha256(block * (size // len(block))).digest()


# -- tunnels -----------------------------------------------------------------------------------------------------------


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


@on_each_loop
async def test_websocket_messages_go_both_ways(proxy: InProcessProxy) -> None:
    async with serve(echo, "127.0.0.1", 0, max_size=None) as server:
        await forward_to(proxy, next(iter(server.sockets)).getsockname()[1])
        address = f"wss://127.0.0.1:{proxy.port}/chat"
        async with connect(address, ssl=trusting(), server_hostname="proxy.test", max_size=None) as client:
            for message in ("hello", b"\x00" * 3_000_000, ""):
                await client.send(message)
                assert await client.recv() == message
            await client.close(code=4001, reason="enough")
        assert client.close_code == 4001


UPGRADE = request(
    "GET /", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: a2V5"
)
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


@pytest.mark.parametrize("ending", ["goodbye", "cut"])
@on_each_loop
async def test_the_end_of_a_tunnel_is_passed_on_as_what_it_was(proxy: InProcessProxy, ending: str) -> None:
    seen: list[bytes | str] = []

    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(SWITCHED)
        try:
            seen.append(await connection.reader.read())
            connection.send(b"last words")
        except ConnectionResetError:
            seen.append("reset")

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        async with established(proxy) as client:
            client.send(UPGRADE)
            await client.receive_until(b"\r\n\r\n")
            client.send(b"data")
            if ending == "goodbye":
                client.say_goodbye()
                assert await client.ending() == (b"last words", "goodbye")
                assert seen == [b"data"]
            else:
                client.half_close()
                _, how = await client.ending()
                assert how in ("cut", "reset")
                await eventually_async(lambda: len(seen) == 1, what="the backend has seen the end")


# -- ends --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"Content-Length: 100000\r\n", b"x" * 50000),
        (b"Transfer-Encoding: chunked\r\n", b"c350\r\n" + b"x" * 50000 + b"\r\n"),
    ],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize("how", ["close", "reset"])
@on_each_loop
async def test_a_response_that_is_not_whole_does_not_end_with_a_goodbye(
    proxy: InProcessProxy, head: bytes, body: bytes, how: str
) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + body)
        await connection.flush()
        if how == "reset":
            connection.reset()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        async with established(proxy) as client:
            client.send(GET)
            received, ending = await client.ending()
        assert ending in ("reset", "cut")
        assert not received.endswith(b"0\r\n\r\n")
        assert len(received) < 100000


@on_each_loop
async def test_a_response_that_only_the_close_ends_has_a_goodbye(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        async with established(proxy) as client:
            client.send(request("GET /", version="1.0"))
            received, ending = await client.ending()
        assert received.endswith(b"\r\n\r\nuntil the end")
        assert ending == "goodbye"


@on_each_loop
async def test_the_rest_of_a_refused_request_does_not_destroy_the_answer(proxy: InProcessProxy) -> None:
    await answer_hello(proxy)
    async with established(proxy) as client:
        client.send(request("POST /", f"Content-Length: {MEGABYTE}") + b"x" * 1000)
        assert b"connection: close\r\n" in await client.receive_until(b"hello")
        assert await client.ending() == (b"", "goodbye")
        client.send_raw(b"x" * MEGABYTE)  # whatever it is
        client.half_close()
        await eventually_async(lambda: proxy.data_plane.status().connections == 0, 1.9, what="it is closed")


@on_each_loop
async def test_a_client_that_has_said_goodbye_still_gets_its_answer(proxy: InProcessProxy) -> None:
    go_on = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_request()
        await go_on.wait()
        connection.respond(b"late")

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        async with established(proxy) as client:
            client.send(GET)
            client.say_goodbye()
            client.half_close()
            await eventually_async(lambda: backend.requests, what="the request is at the backend")
            go_on.set()
            received, ending = await client.ending()
        assert received.endswith(b"late")
        assert ending == "goodbye"


@pytest.mark.parametrize("how", ["half close", "reset", "goodbye within the body"])
@on_each_loop
async def test_a_client_that_has_left_cancels_its_request(proxy: InProcessProxy, how: str) -> None:
    cancelled = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        await connection.gone()
        cancelled.set()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        async with established(proxy) as client:
            within_body = how == "goodbye within the body"
            client.send(request("POST /", "Content-Length: 10") + b"half" if within_body else GET)
            await eventually_async(lambda: backend.requests, what="the request is at the backend")
            if within_body:
                client.say_goodbye()
            elif how == "reset":
                client.reset()
            else:
                client.half_close()
            async with asyncio.timeout(30):
                await cancelled.wait()


@on_each_loop
async def test_a_record_that_was_tampered_with_ends_everything(proxy: InProcessProxy) -> None:
    cancelled = asyncio.Event()

    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        await connection.gone()
        cancelled.set()

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port)
        async with established(proxy) as client:
            client.send(request("POST /", "Content-Length: 10"))
            await eventually_async(lambda: backend.requests, what="the request is at the backend")
            record = bytearray(client.records(b"0123456789"))
            record[-1] ^= 1
            client.send_raw(bytes(record))
            _, ending = await client.ending()
            assert ending != "goodbye"
            async with asyncio.timeout(30):
                await cancelled.wait()


@pytest.mark.parametrize("how", ["goodbye", "half close", "reset"])
@on_each_loop
async def test_an_idle_client_may_leave_as_it_likes(proxy: InProcessProxy, how: str) -> None:
    await answer_hello(proxy)
    async with established(proxy) as client:
        client.send(GET)
        await client.receive_until(b"hello")
        if how == "goodbye":
            client.say_goodbye()
            assert await client.ending() == (b"", "goodbye")
        elif how == "half close":
            client.half_close()
        else:
            client.reset()
        await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="the proxy closes it")


@on_each_loop
async def test_an_idle_connection_is_closed_with_a_goodbye(proxy: InProcessProxy) -> None:
    await answer_hello(proxy, timeouts={"idleBetweenRequests": "200ms"})
    async with established(proxy) as client:
        client.send(GET)
        await client.receive_until(b"hello")
        assert await client.ending() == (b"", "goodbye")


@on_each_loop
async def test_a_client_that_takes_nothing_is_cut(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (64 * MEGABYTE))
        try:
            while True:
                connection.send(bytes(MEGABYTE))
                await connection.flush()
        except ConnectionError:
            pass

    async with StagedBackend(script) as backend:
        await forward_to(proxy, backend.port, timeouts={"clientResponse": "500ms"})
        async with established(proxy) as client:
            client.send(GET)
            await eventually_async(lambda: backend.requests, what="the request is at the backend")
            await eventually_async(lambda: proxy.data_plane.status().connections == 0, what="it is cut")


@on_each_loop
async def test_what_a_connection_held_is_freed_without_the_garbage_collector(proxy: InProcessProxy) -> None:
    def connections() -> int:
        return sum(isinstance(found, TlsTransport | SecureConnection) for found in gc.get_objects())

    await answer_hello(proxy)
    gc.collect()
    gc.disable()
    try:
        async with established(proxy) as client:
            client.send(GET)
            await client.receive_until(b"hello")
            assert connections() == 2
        await eventually_async(lambda: not connections(), what="the connection is freed")
    finally:
        gc.enable()
