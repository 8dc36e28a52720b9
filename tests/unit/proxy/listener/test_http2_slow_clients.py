"""Clients of HTTP/2 that take a response slowly: what the kernel holds for them is theirs, whatever ends meanwhile."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from tests.support import http2_frames
from tests.support.conditions import eventually
from tests.support.downstream_client import LIMITS, immediately, response_head, settings
from tests.support.gateway import destination, forward, route
from tests.support.http2_engines import running
from tests.support.http2_frames import MAX_WINDOW, Setting, goaway, ping, window_update
from tests.support.http2_peer import Http2Peer
from tests.support.multiplexing_client import MultiplexingClient
from tests.support.recording_backend import RecordingBackend
from tests.support.session_engines import ENGINES, Engine
from tests.support.threaded_proxy import ThreadedProxy
from vrata.net.deadlines import INTERVAL, NEVER
from vrata.proxy.listener import http2_time_limits
from vrata.proxy.listener.http2_connection import MAX_ANSWERS
from vrata.proxy.listener.settings import ListenerTimeouts
from vrata.wire.http2.errors import CANCEL

SIZE = 3 << 20
"""Bytes of a response that the kernel takes at once, and whose taking takes the client longer than LINGER."""
LINGER = 0.2
IDLE = LIMITS.idle_between_requests


@pytest.fixture(params=ENGINES)
def proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedProxy]:
    engine: Engine = request.param
    monkeypatch.setattr(http2_time_limits, "LINGER", LINGER)
    monkeypatch.setattr(http2_time_limits, "DRAIN_GRACE", LINGER)
    with running(engine), ThreadedProxy() as found:
        yield found


class SlowClient:
    """Has asked for :data:`SIZE` bytes, of which all have been written before it reads on."""

    def __init__(self, proxy: ThreadedProxy, backend: RecordingBackend) -> None:
        self.draining: asyncio.Task[bool] | None = None
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        sock.connect(("127.0.0.1", proxy.port))
        self.peer = Http2Peer(sock)
        self.peer.start({Setting.INITIAL_WINDOW_SIZE: MAX_WINDOW})
        self.peer.send(window_update(0, MAX_WINDOW - 65535))
        self.peer.request(1)
        eventually(lambda: backend.requests, what="the request")
        eventually(lambda: proxy.proxy.data_plane.status().in_flight == 0, what="the response is written")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.peer.close()

    def read_all(self, seconds: float) -> int:
        """Read slowly, within about *seconds*, and renew the window as it goes; how many bytes of content came."""
        message = self.peer.message(1)
        step = 10 * 65536
        pause = seconds * step / SIZE
        while not message.is_over:
            aim = len(message.content) + step
            deadline = time.monotonic() + 10
            while len(message.content) < aim and not message.is_over:
                assert self.peer.next_frame(deadline) is not None, (self.peer.ended, len(message.content))
            time.sleep(pause)
        return len(message.content)


async def configure(proxy: ThreadedProxy, backend: RecordingBackend, **timeouts: str) -> None:
    inner = proxy.proxy
    await inner.apply(
        route("all", forward=forward("backend")),
        listeners=[inner.listener(http2=True, timeouts=timeouts)],
        destinations=[destination("backend", backend.port)],
    )


def drain(proxy: ThreadedProxy, client: SlowClient) -> None:
    async def begin() -> None:
        client.draining = asyncio.get_running_loop().create_task(proxy.proxy.data_plane.drain(60))

    proxy.run(begin())


def say_goodbye(proxy: ThreadedProxy, client: SlowClient) -> None:
    client.peer.send(goaway(0))


@pytest.fixture
def backend() -> Iterator[RecordingBackend]:
    with RecordingBackend() as found:
        found.script = lambda exchange: exchange.respond(body=b"x" * SIZE)
        yield found


@pytest.mark.parametrize("happens", [drain, say_goodbye])
def test_an_end_waits_until_the_client_has_got_everything(
    proxy: ThreadedProxy, backend: RecordingBackend, happens: Callable[[ThreadedProxy, SlowClient], None]
) -> None:
    proxy.run(configure(proxy, backend))
    with SlowClient(proxy, backend) as client:
        happens(proxy, client)
        assert client.read_all(8 * LINGER) == SIZE
        assert client.peer.await_end() == "closed"
        eventually(lambda: proxy.proxy.data_plane.status().connections == 0, what="the connection is gone")


def test_who_takes_a_response_is_not_idle(proxy: ThreadedProxy, backend: RecordingBackend) -> None:
    proxy.run(configure(proxy, backend, idleBetweenRequests="300ms"))
    with SlowClient(proxy, backend) as client:
        assert client.read_all(1.2) == SIZE
        assert client.peer.await_end() == "closed"


def test_who_takes_nothing_is_not_waited_for(proxy: ThreadedProxy, backend: RecordingBackend) -> None:
    proxy.run(configure(proxy, backend, idleBetweenRequests="300ms"))
    with SlowClient(proxy, backend) as client:
        client.peer.send(goaway(0))
        eventually(lambda: proxy.proxy.data_plane.status().connections == 0, what="the connection is gone")


# -- on a transport in memory ----------------------------------------------------------------------------------------


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[None]:
    with running(request.param):
        yield


def reading_nothing() -> MultiplexingClient:
    """A client for which more waits than the transport takes."""
    no_limit = ListenerTimeouts(10, 60, NEVER, IDLE)
    client = MultiplexingClient.started(settings(http2=True, timeouts=no_limit), window=1 << 20)
    client.open_window(1 << 20)
    client.request()
    client.transport.stop_reading()
    client.respond(response_head(), b"x" * 200_000)
    return client


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("provoking", [ping(), http2_frames.settings({})], ids=["PING", "SETTINGS"])
def test_who_reads_no_answers_is_not_read_either(provoking: bytes) -> None:
    client = reading_nothing()
    sent = 0
    for _ in range(200):
        client.loop.advance(5)  # or it would be a flood
        client.transport.read_some(1)  # or it would be cut for taking nothing
        for _ in range(90):
            if client.transport.is_reading():
                client.send(provoking)
                sent += 1
    assert not client.transport.is_lost()
    assert not client.transport.is_reading()
    answer = provoking[:4] + b"\x01" + provoking[5:]
    assert sent * len(answer) < MAX_ANSWERS + 100
    client.transport.take()
    client.transport.read_again()
    assert client.transport.is_reading()
    assert client.transport.take().count(answer) == sent


def test_a_limit_that_a_client_has_met_says_nothing_of_what_comes_later() -> None:
    client = MultiplexingClient.started(answer=immediately)

    def meet_a_limit(path: str) -> None:
        """Take the answer a moment later, when the limits are looked at."""
        client.loop.advance(client.served_by.deadline - client.loop.time() - INTERVAL)
        client.transport.stop_reading()
        client.request(path=path)
        client.loop.advance(2 * INTERVAL)
        assert not client.transport.is_lost()
        client.transport.read_again()
        client.take_in()

    client.request(path="/first")
    for turn in range(6):
        meet_a_limit(f"/{turn}")
        client.advance(IDLE - 10 * INTERVAL)
        client.request(path=f"/meanwhile/{turn}")
    assert [answer.ended for answer in client.answers.values()] == [True] * 13
    assert not client.goaways


def test_an_old_response_does_not_limit_one_that_the_client_has_given_up() -> None:
    client = MultiplexingClient.started(window=1 << 20)
    client.open_window(1 << 20)
    client.request()
    client.answer()
    client.advance(LIMITS.client_response - 1)
    number = client.request()
    client.transport.stop_reading()
    client.respond(response_head(), b"x" * 30_000)
    client.h2.reset_stream(number, CANCEL)
    client.send(client.h2.data_to_send())
    client.loop.advance(LIMITS.client_response + 1)
    assert not client.transport.is_lost()
    client.loop.advance(IDLE)
    assert client.transport.aborted


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("trailers", [b"", b"x-sum: 1\r\n"])
def test_a_client_that_opens_no_window_gets_an_end(trailers: bytes) -> None:
    client = MultiplexingClient.started(window=0)
    number = client.request()
    client.respond(response_head())
    client.last.request.send_content(b"", True, trailers)
    client.take_in()
    assert client.answers[number].ended
    assert "idle" in repr(client.served_by)


@pytest.mark.usefixtures("engine")
def test_a_stream_is_watched_until_its_end_has_gone() -> None:
    client = MultiplexingClient.started(window=0)
    number = client.request("CONNECT", "/ws", end=False, pseudo=[(":protocol", "websocket")])
    client.respond(response_head(b"Upgrade: websocket", b"Connection: upgrade", status=101))
    client.content(b"", end=True)
    if not client.answers[number].ended:  # nghttp2 waits for a window, which must not be for ever
        client.advance(LIMITS.client_response + IDLE)
        assert client.answers[number].reset == CANCEL
    assert "idle" in repr(client.served_by)
