"""Clients of HTTP/2 that take a response slowly: what the kernel holds for them is theirs, whatever ends meanwhile."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Iterator
from typing import Self

import pytest

from tests.support.conditions import eventually
from tests.support.gateway import destination, forward, route
from tests.support.http2_engines import running
from tests.support.http2_frames import MAX_WINDOW, Setting, goaway, window_update
from tests.support.http2_peer import Http2Peer
from tests.support.recording_backend import RecordingBackend
from tests.support.session_engines import ENGINES, Engine
from tests.support.threaded_proxy import ThreadedProxy
from vrata.proxy.listener import http2_time_limits

SIZE = 3 << 20
"""Bytes of a response that the kernel takes at once, and whose taking takes the client longer than LINGER."""
LINGER = 0.2


@pytest.fixture(params=ENGINES)
def proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedProxy]:
    engine: Engine = request.param
    monkeypatch.setattr(http2_time_limits, "LINGER", LINGER)
    with running(engine), ThreadedProxy() as found:
        yield found


class SlowClient:
    """Has asked for :data:`SIZE` bytes, of which all have been written before it reads on."""

    def __init__(self, proxy: ThreadedProxy, backend: RecordingBackend) -> None:
        self.drain: asyncio.Task[None] | None = None
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
        client.drain = asyncio.ensure_future(proxy.proxy.data_plane.drain(60))

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
        assert client.read_all(5 * LINGER) == SIZE
        assert client.peer.await_end() == "closed"
        eventually(lambda: proxy.proxy.data_plane.status().connections == 0, what="the connection is gone")


def test_who_takes_a_response_is_not_idle(proxy: ThreadedProxy, backend: RecordingBackend) -> None:
    proxy.run(configure(proxy, backend, idleBetweenRequests="500ms"))
    with SlowClient(proxy, backend) as client:
        assert client.read_all(2) == SIZE
        assert client.peer.await_end() == "closed"


def test_who_takes_nothing_is_not_waited_for(proxy: ThreadedProxy, backend: RecordingBackend) -> None:
    proxy.run(configure(proxy, backend, idleBetweenRequests="500ms"))
    with SlowClient(proxy, backend) as client:
        client.peer.send(goaway(0))
        eventually(lambda: proxy.proxy.data_plane.status().connections == 0, what="the connection is gone")
