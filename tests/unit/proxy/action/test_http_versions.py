"""Clients of either version of HTTP, and backends of either: what is said comes through in every combination."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import pytest
from h2.settings import SettingCodes

from tests.support.conditions import eventually_async
from tests.support.gateway import destination, forward, route
from tests.support.http2_backend import Http2Backend, Http2BackendConnection, Http2Request
from tests.support.http2_requester import Http2Requester, Received
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.staged_backend import StagedBackend, StagedConnection
from vrata.wire.http2.translation import accepted_key

HTTP1, HTTP2 = "http1", "http2"
VERSIONS = (HTTP1, HTTP2)


@dataclass(frozen=True)
class Case:
    """A request, and how it is answered."""

    number: int
    method: str
    size: int
    """Bytes of the request's content."""
    has_length: bool
    has_trailers: bool
    interim: bool
    status: int
    answer_size: int
    answer_has_length: bool
    answer_has_trailers: bool

    @property
    def path(self) -> str:
        return f"/{self.number}"

    @property
    def content(self) -> bytes:
        return Random(self.number).randbytes(self.size)

    @property
    def is_bodiless(self) -> bool:
        return self.method == "HEAD" or self.status in (204, 304)

    @property
    def answer(self) -> bytes:
        return b"" if self.is_bodiless else Random(-self.number).randbytes(self.answer_size)

    @property
    def sent_trailers(self) -> list[tuple[str, str]]:
        return [("x-sum", str(self.number))] if self.has_trailers else []

    @property
    def answered_trailers(self) -> list[tuple[str, str]]:
        return [("x-end", str(self.number))] if self.answer_has_trailers and not self.is_bodiless else []


def cases(seed: int, number: int) -> list[Case]:
    """As many of them, by chance."""
    random = Random(seed)
    sizes = (0, 1, 1000, 16384, 70000, 400000)
    found = []
    for at in range(number):
        method = random.choice(("GET", "POST", "PUT", "HEAD", "DELETE", "PATCH"))
        size = random.choice(sizes) if method in ("POST", "PUT", "PATCH") else 0
        has_length = random.random() < 0.5
        answer_has_length = random.random() < 0.5
        found.append(
            Case(
                number=at,
                method=method,
                size=size,
                has_length=has_length,
                has_trailers=size > 0 and not has_length and random.random() < 0.5,
                interim=random.random() < 0.2,
                status=random.choice((200, 200, 200, 201, 204, 304, 404, 500)),
                answer_size=random.choice(sizes),
                answer_has_length=answer_has_length,
                answer_has_trailers=not answer_has_length and random.random() < 0.5,
            )
        )
    return found


class Faults:
    """What a backend has found wrong."""

    def __init__(self, found: list[Case]) -> None:
        self.cases = found
        self.wrong: list[str] = []

    def check(self, case: Case, content: bytes, trailers: list[tuple[str, str]]) -> None:
        if content != case.content:
            self.wrong.append(f"{case}: {len(content)} bytes")
        if trailers != case.sent_trailers:
            self.wrong.append(f"{case}: {trailers}")


@asynccontextmanager
async def backend_of(version: str, faults: Faults) -> AsyncIterator[int]:
    """A backend that answers each case as it says."""
    if version == HTTP1:

        async def script(connection: StagedConnection) -> None:
            while True:
                await answer_in_http1(connection, faults)

        async with StagedBackend(script) as staged:
            yield staged.port
        return
    async with Http2Backend() as backend, asyncio.TaskGroup() as group:

        async def serve() -> None:
            while True:
                serving.append(group.create_task(serve_connection(await backend.next())))

        async def serve_connection(connection: Http2BackendConnection) -> None:
            while True:
                request = await connection.next()
                serving.append(group.create_task(answer_in_http2(request, faults)))

        serving = [group.create_task(serve())]
        yield backend.port
        for each in serving:
            each.cancel()


async def answer_in_http1(connection: StagedConnection, faults: Faults) -> None:
    request = await connection.read_request()
    case = faults.cases[int(request.target[1:])]
    lines = [line.decode().partition(":") for line in request.trailers]
    faults.check(case, request.body, [(name.lower(), value.strip()) for name, _, value in lines])
    if case.interim:
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    head = b"HTTP/1.1 %d Case\r\nX-Case: %d\r\n" % (case.status, case.number)
    answer = case.answer
    if case.is_bodiless:
        connection.send(head + (b"\r\n" if case.status == 204 else b"Content-Length: %d\r\n\r\n" % case.answer_size))
    elif case.answer_has_length:
        connection.send(head + b"Content-Length: %d\r\n\r\n" % len(answer) + answer)
    else:
        connection.send(head + b"Transfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(answer), 10000):
            piece = answer[at : at + 10000]
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        trailers = "".join(f"{name}: {value}\r\n" for name, value in case.answered_trailers)
        connection.send(b"0\r\n%s\r\n" % trailers.encode())
    await connection.flush()


async def answer_in_http2(request: Http2Request, faults: Faults) -> None:
    await request.until_complete()
    case = faults.cases[int(request.path[1:])]
    faults.check(case, request.content, request.trailers or [])
    if case.interim:
        request.head([(":status", "103"), ("link", "</a>")])
    fields = [(":status", str(case.status)), ("x-case", str(case.number))]
    answer = case.answer
    if case.is_bodiless:
        if case.status != 204:
            fields.append(("content-length", str(case.answer_size)))
        request.head(fields, end=True)
        return
    if case.answer_has_length:
        fields.append(("content-length", str(len(answer))))
    request.head(fields)
    await request.send_all(answer, case.answered_trailers)


async def ask_in_http1(proxy: InProcessProxy, case: Case) -> Received:
    client = await proxy.connect()
    head = f"{case.method} {case.path} HTTP/1.1\r\nHost: a.test\r\n"
    if not case.size:
        client.send(f"{head}\r\n".encode())
    elif case.has_length:
        client.send(f"{head}Content-Length: {case.size}\r\n\r\n".encode() + case.content)
    else:
        client.send(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        content = case.content
        for at in range(0, len(content), 9000):
            piece = content[at : at + 9000]
            client.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            await client.writer.drain()
        trailers = "".join(f"{name}: {value}\r\n" for name, value in case.sent_trailers)
        client.send(b"0\r\n%s\r\n" % trailers.encode())
    received = Received()
    while True:
        response = await client.read_response(case.method, interim=True)
        if response.status >= 200:
            break
        received.interim.append(response.status)
    received.status, received.fields, received.content = response.status, dict(response.headers), response.body
    received.trailers = list(response.trailers)
    await client.gone()
    return received


def check(case: Case, received: Received) -> None:
    assert (received.status, received.fields["x-case"]) == (case.status, str(case.number))
    assert received.interim == ([103] if case.interim else [])
    assert received.content == case.answer
    assert received.trailers == case.answered_trailers
    if (case.is_bodiless and case.status != 204) or (not case.is_bodiless and case.answer_has_length):
        assert received.fields["content-length"] == str(case.answer_size)


async def apply(proxy: InProcessProxy, port: int, version: str) -> None:
    report = await proxy.apply(
        route("all", forward=forward("backend")),
        listeners=[proxy.listener(http2=True)],
        destinations=[destination("backend", port, http2=version == HTTP2)],
    )
    assert not report.problems


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("upstream", VERSIONS)
@pytest.mark.parametrize("client", VERSIONS)
@on_each_loop
async def test_everything_comes_through(proxy: InProcessProxy, client: str, upstream: str, seed: int) -> None:
    faults = Faults(cases(seed, 60))
    async with backend_of(upstream, faults) as port:
        await apply(proxy, port, upstream)
        if client == HTTP1:
            for batch in range(0, 60, 20):
                some = faults.cases[batch : batch + 20]
                for case, received in zip(
                    some, await asyncio.gather(*(ask_in_http1(proxy, each) for each in some)), strict=True
                ):
                    check(case, received)
        else:
            async with Http2Requester(proxy.port) as requester:
                asked = [
                    requester.request(
                        case.method, case.path, case.content, length=case.has_length, trailers=case.sent_trailers
                    )
                    for case in faults.cases
                ]
                for case, received in zip(faults.cases, await asyncio.gather(*asked), strict=True):
                    check(case, received)
    assert not faults.wrong


UPGRADE = (
    b"GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


@asynccontextmanager
async def echoing_backend(version: str) -> AsyncIterator[int]:
    """A backend that opens every tunnel, gives back what comes, and ends when the other side does."""
    if version == HTTP1:

        async def script(connection: StagedConnection) -> None:
            request = await connection.read_head()
            assert request.all("upgrade") == ["websocket"]
            key = request.all("sec-websocket-key")[0].encode()
            connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n")
            connection.send(b"Sec-WebSocket-Accept: %s\r\n\r\n" % accepted_key(key))
            while data := await connection.reader.read(1000):
                connection.send(data)

        async with StagedBackend(script) as staged:
            yield staged.port
        return
    async with Http2Backend({SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}) as backend, asyncio.TaskGroup() as group:

        async def serve() -> None:
            request = await (await backend.next()).next()
            assert request[":protocol"] == "websocket"
            request.head([(":status", "200")])
            await request.until_content(len(CHAT))
            request.send(request.content)
            await request.until_complete()
            request.send(b"", end=True)

        serving = group.create_task(serve())
        yield backend.port
        serving.cancel()


CHAT = b"to and fro"


@pytest.mark.parametrize("upstream", VERSIONS)
@pytest.mark.parametrize("client", VERSIONS)
@on_each_loop
async def test_a_tunnel(proxy: InProcessProxy, client: str, upstream: str) -> None:
    async with echoing_backend(upstream) as port:
        await apply(proxy, port, upstream)
        if client == HTTP1:
            stream_client = await proxy.connect()
            stream_client.send(UPGRADE)
            head = await stream_client.read_head()
            assert (head.status, head["sec-websocket-accept"]) == (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
            stream_client.send(CHAT)
            assert await stream_client.read_exactly(len(CHAT)) == CHAT
            stream_client.half_close()
            assert await stream_client.ending() == "closed"
            return
        async with Http2Requester(proxy.port) as requester:
            number = requester.begin("CONNECT", "/chat", ("sec-websocket-version", "13"), protocol="websocket")
            await requester.send(number, CHAT, end=False)
            received = await requester.until_content(number, len(CHAT))
            assert (received.status, received.content) == (200, CHAT)
            assert not {"sec-websocket-accept", "upgrade", "connection"} & received.fields.keys()
            await requester.send(number, b"")
            assert (await requester.response(number)).reset is None


@pytest.mark.parametrize("upstream", VERSIONS)
@on_each_loop
async def test_a_stream_that_is_cancelled_ends_the_request_to_the_backend(proxy: InProcessProxy, upstream: str) -> None:
    if upstream == HTTP1:

        async def script(connection: StagedConnection) -> None:
            await connection.read_head()
            await connection.gone()

        async with StagedBackend(script) as backend:
            await apply(proxy, backend.port, upstream)
            async with Http2Requester(proxy.port) as requester:
                number = requester.begin("POST", "/")
                await eventually_async(lambda: len(backend.requests) == 1, what="it has come")
                requester.reset(number)
                await eventually_async(lambda: not backend.open, what="the connection has ended")
        return
    async with Http2Backend() as h2_backend:
        await apply(proxy, h2_backend.port, upstream)
        async with Http2Requester(proxy.port) as requester:
            number = requester.begin("POST", "/")
            await requester.send(number, b"part", end=False)
            request = await (await h2_backend.accept()).request()
            await request.until_content(4)
            requester.reset(number)
            assert await request.until_reset() == 8
