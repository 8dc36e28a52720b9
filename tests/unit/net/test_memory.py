from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, cast

import pytest

from vrata.net import write_buffer
from vrata.net.dial import DialError, DialStage, dial
from vrata.net.memory import MemoryNetwork
from vrata.net.memory_transport import QUEUE, MemoryTransport
from vrata.net.virtual_time import START, VirtualTimeLoop, new_virtual_time_loop

HOST, PORT = "192.0.2.1", 80


class Ear(asyncio.Protocol):
    """Notes what happens to it."""

    def __init__(self) -> None:
        self.transport: MemoryTransport = cast(MemoryTransport, None)
        self.got = b""
        self.events: list[str] = []
        self.error: Exception | None = None
        self.keeps_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(MemoryTransport, transport)

    def data_received(self, data: bytes) -> None:
        self.got += data

    def eof_received(self) -> bool:
        self.events.append("eof")
        return self.keeps_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.events.append("lost")
        self.error = exc

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")


def scenario(story: Callable[[VirtualTimeLoop, MemoryNetwork], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def test() -> None:
        loop = new_virtual_time_loop()
        loop.run_until_complete(story(loop, loop.network))

    test.__name__ = story.__name__
    return test


async def pair(network: MemoryNetwork) -> tuple[Ear, Ear]:
    """Two ends: the one that has dialled, and the one that was accepted."""
    near, far = Ear(), Ear()
    network.serve(HOST, PORT, lambda: far)
    await network.dial((HOST, PORT), near)
    return near, far


async def quiet() -> None:
    """A moment later."""
    await asyncio.sleep(0.001)


@scenario
async def test_streams_of_asyncio_run_on_it(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()

    await asyncio.start_server(echo, HOST, PORT)
    network.names["backend.test"] = [HOST]
    network.path(HOST, PORT).latency = 0.25
    reader, writer = await asyncio.open_connection("backend.test", PORT)
    assert loop.time() == START + 0.5
    writer.write(b"hello\n")
    assert await reader.read() == b"HELLO\n"
    assert loop.time() == START + 1.0
    writer.close()


@scenario
async def test_a_dial_of_the_product(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    far = Ear()
    network.names["backend.test"] = ["2001:db8::1", HOST]
    network.serve(HOST, PORT, lambda: far)
    network.path("2001:db8::1", PORT).is_silent = True
    dialled = partial(dial, factory=lambda _: Ear(), resolver=network, connect_timeout=1, fallback_delay=0.3)
    near = await dialled("backend.test", PORT)
    near.transport.write(b"x")
    await quiet()
    assert far.got == b"x"
    assert loop.time() == pytest.approx(START + 0.301)
    with pytest.raises(DialError) as failed:
        await dialled("nobody.test", PORT)
    assert failed.value.stage is DialStage.RESOLVE
    with pytest.raises(DialError) as failed:
        await dialled(HOST, PORT + 1)
    assert failed.value.stage is DialStage.CONNECT
    with pytest.raises(DialError) as failed:
        await dialled("2001:db8::1", PORT)
    assert failed.value.stage is DialStage.TIMEOUT


@scenario
async def test_who_refuses_and_who_does_not_listen(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    server = network.serve(HOST, PORT, Ear)
    path = network.path(HOST, PORT)
    path.latency = 0.1
    path.refuses = True
    with pytest.raises(ConnectionRefusedError):
        await network.dial((HOST, PORT), Ear())
    assert loop.time() == START + 0.2
    path.refuses = False
    await network.dial((HOST, PORT), Ear())
    server.close()
    with pytest.raises(ConnectionRefusedError):
        await network.dial((HOST, PORT), Ear())


@scenario
async def test_two_who_listen_accept_by_turns(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    accepted: list[int] = []

    def server(number: int) -> Ear:
        accepted.append(number)
        return Ear()

    first = network.serve(HOST, PORT, lambda: server(1))
    network.serve(HOST, PORT, lambda: server(2))
    for _ in range(4):
        await network.dial((HOST, PORT), Ear())
    first.close()
    for _ in range(2):
        await network.dial((HOST, PORT), Ear())
    assert accepted == [1, 2, 1, 2, 2, 2]


@scenario
async def test_a_close_is_an_end_to_the_peer(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    near, far = await pair(network)
    near.transport.write(b"last words")
    near.transport.close()
    await quiet()
    assert (far.got, far.events, far.error) == (b"last words", ["eof", "lost"], None)
    assert near.events == ["lost"]


@scenario
async def test_a_half_close_leaves_the_other_half(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    near, far = await pair(network)
    far.keeps_open = True
    near.transport.write(b"question")
    near.transport.write_eof()
    await quiet()
    assert (far.got, far.events) == (b"question", ["eof"])
    far.transport.write(b"answer")
    await quiet()
    assert near.got == b"answer"


@scenario
async def test_a_reset_is_an_error_to_the_peer(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    near, far = await pair(network)
    near.transport.write(b"these words are lost")
    write_buffer.reset_on_close(near.transport)
    near.transport.abort()
    await quiet()
    assert (far.got, far.events) == (b"", ["lost"])
    assert isinstance(far.error, ConnectionResetError)


@scenario
async def test_what_is_unread_at_a_close_resets(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    near, far = await pair(network)
    far.transport.pause_reading()
    near.transport.write(b"unread")
    await quiet()
    far.transport.close()
    await quiet()
    assert isinstance(near.error, ConnectionResetError)


@scenario
async def test_a_peer_that_is_gone_is_noticed_by_writing(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    near, far = await pair(network)
    near.keeps_open = True
    far.transport.close()
    await quiet()
    near.transport.write(b"too late")
    await quiet()
    assert near.events == ["eof", "lost"]
    assert isinstance(near.error, BrokenPipeError)


@scenario
async def test_the_queue_between_them_is_limited(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    near, far = await pair(network)
    far.transport.pause_reading()
    size = 4 * QUEUE
    near.transport.write(b"x" * size)
    await quiet()
    assert near.events == ["pause"]
    assert near.transport.get_write_buffer_size() == size - QUEUE
    near.transport.close()
    far.transport.resume_reading()
    await quiet()
    assert len(far.got) == size
    assert far.events == ["eof", "lost"]


@scenario
async def test_latency_keeps_the_order(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    near, far = await pair(network)
    path = network.path(HOST, PORT)
    path.latency = 1.0
    near.transport.write(b"first ")
    await quiet()
    path.latency = 0.0
    near.transport.write(b"second")
    near.transport.close()
    await asyncio.sleep(0.9)
    assert far.got == b""
    await asyncio.sleep(0.2)
    assert (far.got, far.events) == (b"first second", ["eof", "lost"])


@scenario
async def test_nothing_gets_through_a_silence(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    near, far = await pair(network)
    path = network.path(HOST, PORT)
    path.is_silent = True
    near.transport.write(b"question")
    far.transport.write(b"greeting")
    await asyncio.sleep(100)
    assert (near.got, far.got) == (b"", b"")
    path.is_silent = False
    await quiet()
    assert (near.got, far.got) == (b"greeting", b"question")
    path.is_silent = True
    near.transport.abort()
    await asyncio.sleep(100)
    path.is_silent = False
    await quiet()
    assert far.events == []
    far.transport.write(b"still there?")
    await quiet()
    assert isinstance(far.error, BrokenPipeError)


@scenario
async def test_a_socket_that_is_closed_before_it_is_used(loop: VirtualTimeLoop, network: MemoryNetwork) -> None:
    far = Ear()
    network.serve(HOST, PORT, lambda: far)
    sock = socket.socket()
    await loop.sock_connect(sock, (HOST, PORT))
    sock.close()
    network.give_up_closed()
    await quiet()
    assert far.events == ["eof", "lost"]
