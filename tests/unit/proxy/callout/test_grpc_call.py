"""Calls of gRPC that the proxy makes itself: to servers of grpcio, and to ones that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from tests.support import tls_upstream
from tests.support.callouts import LIMIT, grpc_answer, services
from tests.support.conditions import eventually_async
from tests.support.faulty_backend import DeadPorts
from tests.support.gateway import destination
from tests.support.grpc_service import GrpcService
from tests.support.http2_backend import Fields, Http2Backend, Http2Request
from tests.support.in_process_proxy import InProcessProxy, on_each_loop, on_our_loop
from vrata.net.deadlines import NEVER
from vrata.policy import grpc_status
from vrata.proxy.callout.answer import GrpcAnswer
from vrata.wire.grpc_frames import framed

HEAD: Fields = [(":status", "200"), ("content-type", "application/grpc")]
OK: Fields = [("grpc-status", "0")]


def echo(request: bytes, context: Any) -> bytes:
    if request == b"refuse":
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you: 50 % ü")
    context.set_trailing_metadata((("seen", dict(context.invocation_metadata()).get("x-one", "")),))
    return b"echo " + request + b" %.0f" % context.time_remaining()


def converse(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    for request in requests:
        if request == b"stop":
            context.abort(grpc.StatusCode.ABORTED, "stopped")
        yield b"re " + request


METHODS = {
    "test.Echo": {
        "Say": grpc.unary_unary_rpc_method_handler(echo),
        "Converse": grpc.stream_stream_rpc_method_handler(converse),
    }
}


async def know(proxy: InProcessProxy, port: int, **options: Any) -> None:
    await proxy.apply(destinations=[destination("d", port, **{"http2": True, **options})])


class Conversation:
    """What a stream has told."""

    def __init__(self, proxy: InProcessProxy, method: bytes = b"/test.Echo/Converse", **settings: Any) -> None:
        self.messages: list[bytes] = []
        self.ends: list[tuple[int, str]] = []
        self.stream = services(proxy).stream_grpc("d", method, self.messages.append, self._end, **settings)

    def _end(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))

    async def until_messages(self, number: int) -> None:
        await eventually_async(lambda: len(self.messages) >= number, LIMIT, what=f"{number} messages have come")

    async def until_end(self) -> tuple[int, str]:
        await eventually_async(lambda: self.ends, LIMIT, what="the call has ended")
        (end,) = self.ends
        return end


@on_our_loop
async def test_one_message_each_way(proxy: InProcessProxy) -> None:
    with GrpcService(METHODS) as service:
        await know(proxy, service.port)
        found = await grpc_answer(proxy, "/test.Echo/Say", b"hello", fields=b"x-one: 1\r\n", limit=20)
        words, _, left = found.message.rpartition(b" ")
        assert (found.code, words, 0 <= int(left) <= 20) == (grpc_status.OK, b"echo hello", True)
        large = b"x" * 300_000
        found = await grpc_answer(proxy, "/test.Echo/Say", large)
        assert found.message.startswith(b"echo " + large + b" ")
        found = await grpc_answer(proxy, "/test.Echo/Say", b"refuse")
        assert (found.code, found.reason) == (grpc_status.PERMISSION_DENIED, "not you: 50 % ü")
        found = await grpc_answer(proxy, "/test.Echo/Shout", b"")
        assert found.code == grpc_status.UNIMPLEMENTED


@on_our_loop
async def test_a_call_over_tls(proxy: InProcessProxy) -> None:
    with GrpcService(METHODS, tls_upstream.certificate()) as service:
        document = tls_upstream.secured(service.port, "d")
        document["options"]["http2"] = True
        await proxy.apply(destinations=[document])
        found = await grpc_answer(proxy, "/test.Echo/Say", b"hello")
        assert found.message.startswith(b"echo hello ")


@on_each_loop
async def test_a_stream_of_messages_both_ways(proxy: InProcessProxy) -> None:
    with GrpcService(METHODS) as service:
        await know(proxy, service.port)
        conversation = Conversation(proxy)
        for number in range(3):
            conversation.stream.send(b"%d" % number)
            await conversation.until_messages(number + 1)
        conversation.stream.end()
        assert await conversation.until_end() == (grpc_status.OK, "")
        assert conversation.messages == [b"re 0", b"re 1", b"re 2"]
        conversation.stream.send(b"too late")
        assert services(proxy).under_way == 0

        stopped = Conversation(proxy)
        stopped.stream.send(b"stop")
        assert await stopped.until_end() == (grpc_status.ABORTED, "stopped")
        assert stopped.messages == []

        left = Conversation(proxy)
        left.stream.send(b"1")
        await left.until_messages(1)
        left.stream.cancel()
        assert services(proxy).under_way == 0
        assert left.ends == []


@on_our_loop
async def test_what_cannot_be_called(proxy: InProcessProxy) -> None:
    with DeadPorts() as dead:
        await know(proxy, dead.refused)
        assert (await grpc_answer(proxy, "/a/B", b"")).code == grpc_status.UNAVAILABLE
        found = await grpc_answer(proxy, "/a/B", b"", to="other")
        assert (found.code, found.reason) == (grpc_status.UNAVAILABLE, 'destination "other" does not exist')
        await know(proxy, dead.refused, http2=False)
        found = await grpc_answer(proxy, "/a/B", b"")
        assert found.code == grpc_status.INTERNAL
        assert found.reason == "the destination does not speak HTTP/2 (options.http2)"


async def answered(proxy: InProcessProxy, backend: Http2Backend, *, limit: float = LIMIT) -> asyncio.Task[GrpcAnswer]:
    return proxy.tasks.start(grpc_answer(proxy, "/a/B", b"m", limit=limit, max_answer=1000), name="call")


TRAILERS_ONLY: Fields = [*HEAD, ("grpc-status", "16"), ("grpc-message", "who%20are%3F")]


@pytest.mark.parametrize(
    ("head", "content", "trailers", "code", "reason"),
    [
        (HEAD, framed(b"yes"), OK, grpc_status.OK, ""),
        (HEAD, framed(b""), OK, grpc_status.OK, ""),
        (HEAD, b"", OK, grpc_status.INTERNAL, "no message"),
        (HEAD, framed(b"a") + framed(b"b"), OK, grpc_status.INTERNAL, "more than one message"),
        (HEAD, framed(b"yes")[:-1], OK, grpc_status.INTERNAL, "a message that is cut"),
        (HEAD, b"\1" + framed(b"yes")[1:], OK, grpc_status.INTERNAL, "a compressed message, which was not asked for"),
        (HEAD, framed(b"x" * 1001), OK, grpc_status.INTERNAL, "a message of more than 1000 bytes"),
        (HEAD, framed(b"yes"), [("x", "y")], grpc_status.UNKNOWN, "an answer without a status"),
        (HEAD, framed(b"yes"), [("grpc-status", "9")], grpc_status.FAILED_PRECONDITION, ""),
        (TRAILERS_ONLY, b"", None, grpc_status.UNAUTHENTICATED, "who are?"),
        ([(":status", "503")], b"", None, grpc_status.UNAVAILABLE, "an answer with status 503 that is none of gRPC"),
        ([(":status", "200")], b"<html>", None, grpc_status.UNKNOWN, "an answer with status 200 that is none of gRPC"),
    ],
)
@on_our_loop
async def test_what_an_answer_comes_to(
    proxy: InProcessProxy, head: Fields, content: bytes, trailers: Fields | None, code: int, reason: str
) -> None:
    async with Http2Backend() as backend:
        await know(proxy, backend.port)
        calling = await answered(proxy, backend)
        request = await (await (await backend.accept()).next()).until_complete()
        assert request.content == framed(b"m")
        assert (request["te"], request["content-type"]) == ("trailers", "application/grpc")
        request.head(head, end=not content and trailers is None)
        if content:
            request.send(content, end=trailers is None)
        if trailers is not None:
            request.finish(trailers)
        found = await calling
        assert (found.code, found.reason) == (code, reason)
        if code == grpc_status.OK:
            assert found.message == content[5:]


@on_each_loop
async def test_a_service_that_hangs(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        await know(proxy, backend.port, timeouts={"responseHeader": "100ms"}, outlierDetection={"consecutive5xx": 9})
        found = await grpc_answer(proxy, "/a/B", b"m")
        assert (found.code, found.reason) == (grpc_status.DEADLINE_EXCEEDED, "response header time limit passed")
        connection = await backend.accept()
        await (await connection.next()).until_reset()
        found = await grpc_answer(proxy, "/a/B", b"m", limit=0.4)
        assert found.code == grpc_status.DEADLINE_EXCEEDED
        request = await connection.next()
        assert request["grpc-timeout"] == "400m"
        await request.until_reset()
        streaks = proxy.data_plane._registry.streaks("d", "127.0.0.1", backend.port)
        assert repr(streaks) == "<FailureStreaks 2>"


async def first_request(backend: Http2Backend) -> Http2Request:
    return await (await backend.accept()).next()


@on_our_loop
async def test_a_message_may_be_due(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        await know(proxy, backend.port)
        conversation = Conversation(proxy)
        conversation.stream.expect(0.15)
        request = await first_request(backend)
        request.head(HEAD)  # a head is no message
        assert await conversation.until_end() == (
            grpc_status.DEADLINE_EXCEEDED,
            "no message within the time it was expected",
        )
        conversation = Conversation(proxy)
        conversation.stream.expect(0.5)
        request = await request.connection.next()
        request.head(HEAD)
        request.send(framed(b"in time"))
        await conversation.until_messages(1)
        await asyncio.sleep(0.6)  # what was expected has come, and nothing else is
        assert conversation.ends == []
        conversation.stream.expect(0.05)
        conversation.stream.expect(NEVER)
        await asyncio.sleep(0.15)
        assert conversation.ends == []
        conversation.stream.cancel()


@on_our_loop
async def test_a_stream_that_is_not_acted_on_begins_again(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        await know(proxy, backend.port)
        conversation = Conversation(proxy)
        conversation.stream.send(b"one")
        request = await first_request(backend)
        await request.until_content(8)
        request.refuse()
        again = await first_request(backend)  # a connection that refuses is full
        conversation.stream.send(b"two")
        await again.until_content(16)
        assert again.content == framed(b"one") + framed(b"two")
        again.refuse()
        code, _ = await conversation.until_end()
        assert code == grpc_status.UNAVAILABLE


@on_our_loop
async def test_a_message_is_due_also_where_the_stream_begins_again(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        await know(proxy, backend.port)
        conversation = Conversation(proxy)
        conversation.stream.send(b"one")
        conversation.stream.expect(0.15)
        request = await first_request(backend)
        request.refuse()
        await first_request(backend)
        assert (await conversation.until_end())[0] == grpc_status.DEADLINE_EXCEEDED


@on_our_loop
async def test_a_stream_that_was_answered_does_not(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        await know(proxy, backend.port)
        conversation = Conversation(proxy)
        conversation.stream.send(b"one")
        request = await first_request(backend)
        request.head(HEAD)
        request.send(framed(b"re one"))
        await conversation.until_messages(1)
        request.refuse()
        assert (await conversation.until_end())[0] == grpc_status.UNAVAILABLE


@on_our_loop
async def test_a_service_that_does_not_read_is_not_flooded_unknowingly(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        await know(proxy, backend.port)
        ready: list[bool] = []
        conversation = Conversation(proxy, on_ready=lambda: ready.append(True))
        conversation.stream.send(b"")
        request = await first_request(backend)
        request.acknowledges = False
        conversation.stream.send(bytes(400_000))
        await eventually_async(lambda: conversation.stream.is_full, what="the stream is full")
        assert not ready
        size = len(request.content)
        request.acknowledges = True
        request.connection.h2.acknowledge_received_data(size, request.number)
        request.connection.flush()
        await eventually_async(lambda: ready, what="the service has caught up")
        assert not conversation.stream.is_full
        conversation.stream.cancel()
