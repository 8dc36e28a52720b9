"""WebSockets through Vrata (RFC 6455), between a client and a server of a library that knows nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed, ConnectionClosedError, InvalidStatus
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response

from tests.support import tls_listener, tls_upstream
from tests.support.conditions import eventually_async
from tests.support.gateway import Gateway, destination, forward, listener, route
from tests.support.http2_websocket import FromHttp2, ToHttp2
from tests.support.stream_client import within

Handler = Callable[[ServerConnection], Awaitable[None]]

WAYS = [
    "clear to clear",
    "TLS to clear",
    "clear to TLS",
    "TLS to TLS",
    # over HTTP/2 (RFC 8441)
    "clear h2 to clear",
    "TLS h2 to TLS",
    "clear to clear h2",
    "TLS to TLS h2",
    "clear h2 to clear h2",
    "TLS h2 to TLS h2",
]


class WatchedServerConnection(ServerConnection):
    """Keeps what kinds of frames have come."""

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame):
            self.__dict__.setdefault("seen", []).append((event.opcode, bytes(event.data)))
        super().process_event(event)


class WatchedClientConnection(ClientConnection):
    """The same of the client's side."""

    def process_event(self, event: Any) -> None:
        if isinstance(event, Frame):
            self.__dict__.setdefault("seen", []).append((event.opcode, bytes(event.data)))
        super().process_event(event)


def frames_seen(connection: Any) -> list[tuple[Opcode, bytes]]:
    return list(connection.__dict__.get("seen", []))


async def echo(connection: ServerConnection) -> None:
    """Send every message back as it came."""
    async for message in connection:
        await connection.send(message)


@dataclass
class Way:
    """A gateway on the way to a server of the test's loop."""

    gateway: Gateway
    port: int
    description: str
    servers: list[Server] = field(default_factory=list)

    @property
    def front(self) -> bool:
        """Whether clients speak TLS."""
        return self.description.startswith("TLS")

    @property
    def behind(self) -> bool:
        """Whether the server does."""
        return " to TLS" in self.description

    @property
    def http2_front(self) -> bool:
        """Whether clients speak HTTP/2."""
        return "h2 to" in self.description

    @property
    def http2_behind(self) -> bool:
        """Whether the server does."""
        return self.description.endswith("h2")

    @contextlib.asynccontextmanager
    async def to(
        self, handler: Handler, timeouts: dict[str, str] | None = None, **settings: Any
    ) -> AsyncIterator[Callable[..., connect]]:
        """Serve with *handler*; what this yields connects to it through the gateway. *timeouts* are the listener's."""
        context = tls_upstream.serving() if self.behind else None
        async with contextlib.AsyncExitStack() as stack:
            server = await stack.enter_async_context(
                serve(
                    handler,
                    "127.0.0.1",
                    0,
                    ssl=None if self.http2_behind else context,
                    create_connection=WatchedServerConnection,
                    **settings,
                )
            )
            backend = next(iter(server.sockets)).getsockname()[1]
            if self.http2_behind:
                backend = (await stack.enter_async_context(FromHttp2(backend, context))).port
            members: dict[str, Any] = {"tls": tls_listener.terminating()} if self.front else {}
            if timeouts is not None:
                members["timeouts"] = timeouts
            found = tls_upstream.secured(backend) if self.behind else destination("backend", backend)
            found.setdefault("options", {})["http2"] = self.http2_behind
            self.gateway.configure(
                listeners=[listener(self.port, http2=self.http2_front, **members)],
                destinations=[found],
                routes=[route("all", forward=forward("backend"))],
            )
            self.servers.append(server)
            trusting = tls_listener.trusting() if self.front else None
            if self.http2_front:
                relay = await stack.enter_async_context(ToHttp2(self.port, trusting))
                yield functools.partial(self._connect, relay.port, None)
            else:
                yield functools.partial(self._connect, self.port, trusting)

    def _connect(self, port: int, tls: ssl.SSLContext | None, path: str = "/", **settings: Any) -> connect:
        return connect(
            f"{'ws' if tls is None else 'wss'}://proxy.test{path}",
            host="127.0.0.1",
            port=port,
            ssl=tls,
            create_connection=WatchedClientConnection,
            proxy=None,
            **{"ping_interval": None, **settings},
        )


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, gateway: Gateway, port: int) -> Way:
    return Way(gateway, port, request.param)


@pytest.fixture
def plain(gateway: Gateway, port: int) -> Way:
    return Way(gateway, port, WAYS[0])


def test_messages_of_every_kind(way: Way) -> None:
    async def main() -> None:
        async with way.to(echo, max_size=None) as opened, opened(max_size=None) as client:
            for message in ("", "text ☃", b"", b"\x00\xff" * 500, "x" * 70_000, b"y" * 3_000_000):
                await client.send(message)
                assert await within(client.recv(), "the echo") == message
            # In fragments, which come as one message.
            await client.send(["a" * 1000, "", "b" * 200_000, "c"])
            assert await within(client.recv(), "the echo") == "a" * 1000 + "b" * 200_000 + "c"
            # Many before the first of them is read.
            for number in range(500):
                await client.send(f"message {number}")
            assert [await within(client.recv(), "the echo") for _ in range(500)] == [
                f"message {number}" for number in range(500)
            ]

    asyncio.run(main())


def test_fragments_stay_fragments(plain: Way) -> None:
    async def fragmented(connection: ServerConnection) -> None:
        received = [part async for part in connection.recv_streaming()]
        assert received == ["one", "two", "three", ""]
        await connection.send(["four", "five"])

    async def main() -> None:
        async with plain.to(fragmented, compression=None) as opened, opened(compression=None) as client:
            await client.send(["one", "two", "three"])
            assert [part async for part in client.recv_streaming()] == ["four", "five", ""]

    asyncio.run(main())


def test_pings_and_pongs_pass_through(way: Way) -> None:
    async def pinging(connection: ServerConnection) -> None:
        await within(await connection.ping(b"of the server"), "the client's pong")
        await connection.send(await connection.recv())
        assert (Opcode.PING, b"of the client") in frames_seen(connection)
        assert (Opcode.PONG, b"of the server") in frames_seen(connection)

    async def main() -> None:
        async with way.to(pinging) as opened, opened() as client:
            await within(await client.ping(b"of the client"), "the server's pong")
            await client.send("done")
            assert await within(client.recv(), "the echo") == "done"
            assert (Opcode.PING, b"of the server") in frames_seen(client)
            assert (Opcode.PONG, b"of the client") in frames_seen(client)

    asyncio.run(main())


CODES = {
    1000: "",
    1001: "going away",
    1008: "policy",
    1011: "ünexpected",
    3000: "registered",
    4000: "",
    4999: "r" * 123,
}
"""Close codes, and reasons to go with them."""


def test_the_servers_close_code_reaches_the_client(way: Way) -> None:
    async def closing(connection: ServerConnection) -> None:
        code = int(str(await connection.recv()))
        await connection.send("last words")
        await connection.close(code, CODES[code])

    async def main() -> None:
        async with way.to(closing) as opened:
            for code, reason in CODES.items():
                async with opened() as client:
                    await client.send(str(code))
                    assert await within(client.recv(), "the last words") == "last words"
                    with pytest.raises(ConnectionClosed) as closed:
                        await within(client.recv(), "the end")
                    received = closed.value.rcvd
                    assert received is not None
                    assert (received.code, received.reason) == (code, reason)
                    assert closed.value.rcvd_then_sent
                    await within(client.wait_closed(), "the connection is closed")

    asyncio.run(main())


def test_the_clients_close_code_reaches_the_server(way: Way) -> None:
    ends: asyncio.Queue[tuple[int, str] | None] = asyncio.Queue()

    async def listening(connection: ServerConnection) -> None:
        try:
            await connection.recv()
        except ConnectionClosed as closed:
            received = closed.rcvd
            await ends.put(None if received is None else (received.code, received.reason))

    async def main() -> None:
        async with way.to(listening) as opened:
            for code, reason in CODES.items():
                async with opened() as client:
                    await within(client.close(code, reason), "the server's close frame")
                    assert await within(ends.get(), "the server's end") == (code, reason)
                    assert client.close_code == code  # the server's answer has come

    asyncio.run(main())


def test_a_server_that_dies_is_no_clean_close(way: Way) -> None:
    async def dying(connection: ServerConnection) -> None:
        await connection.recv()
        connection.transport.abort()

    async def main() -> None:
        async with way.to(dying) as opened, opened() as client:
            await client.send("die")
            with pytest.raises(ConnectionClosedError) as closed:
                await within(client.recv(), "the end")
            assert closed.value.rcvd is None  # what RFC 6455 §7.1.5 calls 1006

    asyncio.run(main())


def test_a_client_that_dies_is_no_clean_close(way: Way) -> None:
    ends: asyncio.Queue[ConnectionClosed] = asyncio.Queue()

    async def listening(connection: ServerConnection) -> None:
        try:
            await connection.recv()
        except ConnectionClosed as closed:
            await ends.put(closed)

    async def main() -> None:
        async with way.to(listening) as opened:
            client = await opened()
            client.transport.abort()
            assert (await within(ends.get(), "the server's end")).rcvd is None

    asyncio.run(main())


@pytest.mark.parametrize("compression", ["deflate", None])
def test_compression_is_agreed_on_between_the_two(way: Way, compression: str | None) -> None:
    message = "again and again " * 10_000

    async def main() -> None:
        async with way.to(echo, compression=compression) as opened, opened() as client:
            await client.send(message)
            assert await within(client.recv(), "the echo") == message
            assert client.response is not None
            agreed = client.response.headers.get("Sec-WebSocket-Extensions", "")
            assert agreed.startswith("permessage-deflate") is (compression is not None)

    asyncio.run(main())


def test_a_subprotocol_is_agreed_on_between_the_two(way: Way) -> None:
    async def main() -> None:
        async with way.to(echo, subprotocols=["chat.v2", "chat.v1"]) as opened:
            async with opened(subprotocols=["chat.v1", "other"]) as client:
                assert client.subprotocol == "chat.v1"
            async with opened(subprotocols=["chat.v1", "chat.v2"]) as client:
                assert client.subprotocol == "chat.v2"  # the server's choice
            with pytest.raises(InvalidStatus, match="400"):
                await opened(subprotocols=["other"])

    asyncio.run(main())


def test_the_server_sees_the_request_as_any_backend(way: Way) -> None:
    requests: list[Request] = []

    async def remembering(connection: ServerConnection) -> None:
        assert connection.request is not None
        requests.append(connection.request)

    async def main() -> None:
        async with (
            way.to(remembering) as opened,
            opened("/room?id=1", origin="https://site.test", additional_headers={"X-Own": "1"}) as client,
        ):
            with pytest.raises(ConnectionClosed):
                await within(client.recv(), "the end")
        (request,) = requests
        assert request.path == "/room?id=1"
        assert request.headers["Host"] == "proxy.test"
        assert request.headers["Origin"] == "https://site.test"
        assert request.headers["X-Own"] == "1"
        assert request.headers["X-Forwarded-For"] == "127.0.0.1"
        assert request.headers["X-Forwarded-Proto"] == ("https" if way.front else "http")

    asyncio.run(main())


def test_a_refusal_of_the_server_passes_as_it_is(way: Way) -> None:
    def refusing(connection: ServerConnection, request: Request) -> Response:
        response = connection.respond(HTTPStatus.FORBIDDEN, "not today\n")
        response.headers["X-Reason"] = "today"
        return response

    async def main() -> None:
        async with way.to(echo, process_request=refusing) as opened:
            with pytest.raises(InvalidStatus) as refused:
                await opened()
            response = refused.value.response
            assert (response.status_code, response.body) == (403, b"not today\n")
            assert response.headers["X-Reason"] == "today"

    asyncio.run(main())


# The limit is the listener's, which has its own for each version.
@pytest.mark.parametrize(
    "way", ["clear to clear", "TLS to clear", "TLS h2 to TLS", "clear h2 to clear h2"], indirect=True
)
def test_an_idle_socket_is_cut_and_a_ping_keeps_it(way: Way) -> None:
    async def main() -> None:
        async with way.to(echo, {"idleBetweenRequests": "600ms"}, ping_interval=None) as opened:
            async with opened() as client:
                began = time.monotonic()
                while time.monotonic() < began + 1.5:
                    await within(await client.ping(), "the pong")
                    await asyncio.sleep(0.2)  # the pace of the pings itself
                await client.send("still here")
                assert await within(client.recv(), "the echo") == "still here"
                began = time.monotonic()
                with pytest.raises(ConnectionClosedError) as closed:
                    await within(client.recv(), "the end")
                assert 0.5 < time.monotonic() - began < 3
                assert closed.value.rcvd is None
            # The server is rid of it as well.
            (server,) = way.servers
            await eventually_async(lambda: not server.connections, what="the server's side is closed")

    asyncio.run(main())


def test_many_at_once_do_not_mix(way: Way) -> None:
    async def chat(opened: Callable[..., connect], number: int) -> None:
        async with opened(f"/{number}") as client:
            for turn in range(20):
                message = f"{number} {turn} " * 50
                await client.send(message)
                assert await within(client.recv(), "the echo") == message

    async def main() -> None:
        async with way.to(echo) as opened, asyncio.TaskGroup() as group:
            for number in range(50):
                group.create_task(chat(opened, number))

    asyncio.run(main())
