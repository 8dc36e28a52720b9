"""Calls of gRPC, by clients and servers of grpcio, that a processor has a say in."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from functools import partial
from typing import Any

import grpc
import pytest

from tests.support.grpc_client import SOON, channel
from tests.support.grpc_service import GrpcService
from tests.support.processing import process
from tests.support.processors import DIE, PROCESSORS, Do, Processor, Reject, Reply, Seen
from tests.support.threaded_proxy import ThreadedProxy

STREAMED = {"requestBody": "streamed", "responseBody": "streamed"}


def converse(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    context.set_trailing_metadata((("x-seen", dict(context.invocation_metadata()).get("x-by", "")),))
    for request in requests:
        yield b"re " + request
    context.set_code(grpc.StatusCode.ABORTED)
    context.set_details("that was all")


METHODS = {"test.Echo": {"Converse": grpc.stream_stream_rpc_method_handler(converse)}}


def mark(seen: Seen) -> Reply:
    return Do({"x-by": "processor"}) if seen.phase == "requestHeaders" else Do()


def at_first(reply: Reply, seen: Seen) -> Reply:
    return reply if seen.phase == "requestHeaders" else Do()


def configure(proxy: ThreadedProxy, processor: Processor, port: int, **settings: Any) -> None:
    proxy.run(process(proxy.proxy, processor, port, options={"http2": True}, **settings))


@pytest.mark.parametrize("kind", PROCESSORS)
@pytest.mark.parametrize("mode", ["none", "streamed"])
def test_a_conversation(kind: type[Processor], mode: str) -> None:
    with GrpcService(METHODS) as service, kind(mark) as found, ThreadedProxy() as proxy:
        configure(proxy, found, service.port, phases={"requestBody": mode, "responseBody": mode})
        requests: queue.Queue[bytes | None] = queue.Queue()
        with channel(proxy.port) as opened:
            call = opened.stream_stream("/test.Echo/Converse")(iter(requests.get, None), timeout=SOON)
            for content in (b"one", b"two" * 100_000, b"three"):
                requests.put(content)
                assert next(call) == b"re " + content
            requests.put(None)
            with pytest.raises(grpc.RpcError):
                next(call)
            assert (call.code(), call.details()) == (grpc.StatusCode.ABORTED, "that was all")
            assert dict(call.trailing_metadata())["x-seen"] == "processor"
        assert ("responseBody" in found.phases) == (mode == "streamed")
        assert not proxy.complaints()


@pytest.mark.parametrize("kind", PROCESSORS)
def test_that_calls_are_answered_with_a_status(kind: type[Processor]) -> None:
    with (
        GrpcService(METHODS) as service,
        kind() as found,
        ThreadedProxy() as proxy,
        channel(proxy.port) as opened,
    ):
        configure(proxy, found, service.port, phases=STREAMED)
        replies: tuple[tuple[Reply, grpc.StatusCode, str], ...] = (
            (Reject(403, body=b"not you"), grpc.StatusCode.PERMISSION_DENIED, "not you"),
            (Reject(429), grpc.StatusCode.UNAVAILABLE, ""),
            (DIE, grpc.StatusCode.UNKNOWN, "external processor failed"),
        )
        for reply, code, details in replies:
            found.script = partial(at_first, reply)
            call = opened.stream_stream("/test.Echo/Converse")(iter([b"one"]), timeout=SOON)
            with pytest.raises(grpc.RpcError):
                next(call)
            assert (call.code(), call.details()) == (code, details)


@pytest.mark.parametrize("kind", PROCESSORS[:1])
def test_that_a_call_that_has_begun_ends_with_a_status(kind: type[Processor]) -> None:
    def script(seen: Seen) -> Reply:
        return DIE if seen.phase == "responseBody" and b"two" in seen.body else Do()

    with (
        GrpcService(METHODS) as service,
        kind(script) as found,
        ThreadedProxy() as proxy,
        channel(proxy.port) as opened,
    ):
        configure(proxy, found, service.port, phases=STREAMED)
        requests: queue.Queue[bytes | None] = queue.Queue()
        call = opened.stream_stream("/test.Echo/Converse")(iter(requests.get, None), timeout=SOON)
        requests.put(b"one")
        assert next(call) == b"re one"
        requests.put(b"two")
        with pytest.raises(grpc.RpcError):
            next(call)
        assert call.code() == grpc.StatusCode.INTERNAL
        requests.put(None)
