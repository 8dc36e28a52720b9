"""Responses that a processor makes itself, part by part (``streamed_immediate_response``)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.conditions import eventually_async, settled
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.processing import process
from tests.support.processors import EnvoyProcessor, Seen
from tests.support.raw_http import TruncatedResponse
from tests.support.recording_backend import RecordingBackend
from tests.unit.proxy.middleware.ext_proc.test_streamed_bodies import chunk

POST = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def saying(parts: list[bytes]) -> Callable[[Seen], list[bytes]]:
    return lambda seen: parts


class Answering(EnvoyProcessor):
    """Makes messages that are parts of its own responses."""

    def head(self, status: str = "201", *, end: bool = False, **fields: str) -> bytes:
        pairs = [{"key": ":status", "raw_value": status.encode()}]
        pairs += [{"key": name.replace("_", "-"), "raw_value": value.encode()} for name, value in fields.items()]
        return self._part(headers_response={"headers": {"headers": pairs}, "end_of_stream": end})

    def content(self, body: bytes, *, end: bool = False) -> bytes:
        return self._part(body_response={"body": body, "end_of_stream": end})

    def trailers(self, **fields: str) -> bytes:
        pairs = [{"key": name.replace("_", "-"), "raw_value": value.encode()} for name, value in fields.items()]
        return self._part(trailers_response={"headers": pairs})

    def _part(self, **part: Any) -> bytes:
        return self.message(streamed_immediate_response=part)


@on_our_loop
async def test_that_a_response_comes_in_parts(proxy: InProcessProxy) -> None:
    def script(seen: Seen) -> Iterator[bytes]:
        yield found.head(x_own="yes", content_length="99", server="mine")
        yield found.content(b"one")
        go_on.wait(10)
        yield found.content(b"two")
        yield found.trailers(x_sum="2", content_length="9")

    go_on = threading.Event()
    with RecordingBackend() as backend, Answering() as found:
        found.script = script
        await process(proxy, found, backend.port, phases={"responseHeaders": "skip"})
        client = await proxy.connect()
        for _ in range(2):
            go_on.clear()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\n\r\n")
            head = await client.read_head()
            assert (head.status, head["x-own"], head["transfer-encoding"]) == (201, "yes", "chunked")
            assert head.all("server") != ["mine"]
            assert await client.read_exactly(8) == chunk(b"one")
            go_on.set()
            assert await client.read_exactly(8) == chunk(b"two")
            assert await client.read_exactly(15) == b"0\r\nx-sum: 2\r\n\r\n"
        assert not backend.requests


@on_our_loop
async def test_responses_without_content(proxy: InProcessProxy) -> None:
    with RecordingBackend() as backend, Answering() as found:
        await process(proxy, found, backend.port)
        client = await proxy.connect()
        found.script = lambda seen: [found.head("404", end=True)]
        response = await client.exchange("GET /")
        assert (response.status, response["content-length"], response.body) == (404, "0", b"")
        found.script = lambda seen: [found.head("204"), found.content(b"none", end=True)]
        assert (await client.exchange("GET /")).status == 204
        found.script = lambda seen: [found.head("200"), found.content(b"none", end=True)]
        assert (await client.exchange("HEAD /")).status == 200
        assert (await client.exchange("GET /")).body == b"none"


@on_our_loop
async def test_that_it_can_be_an_answer_to_the_body(proxy: InProcessProxy) -> None:
    """A processor that serves: it begins with its answer, and goes on with what it is shown."""

    def script(seen: Seen) -> list[bytes]:
        if seen.phase == "requestHeaders":
            return [found.head()]
        return [found.content(seen.body.upper(), end=seen.end)]

    with RecordingBackend() as backend, Answering() as found:
        found.script = script
        await process(
            proxy, found, backend.port, phases={"requestBody": "fullDuplexStreamed", "requestTrailers": "send"}
        )
        client = await proxy.connect()
        client.send(POST + chunk(b"abc"))
        assert (await client.read_head()).status == 201
        assert await client.read_exactly(8) == chunk(b"ABC")
        client.send(chunk(b"def") + chunk(b""))
        assert await client.read_exactly(13) == chunk(b"DEF") + b"0\r\n\r\n"
        assert not backend.requests


@pytest.mark.parametrize("allows", [False, True])
@on_our_loop
async def test_that_one_that_stops_in_the_middle_is_cut(proxy: InProcessProxy, allows: bool) -> None:
    with RecordingBackend() as backend, Answering() as found:
        await process(proxy, found, backend.port, allowOnError=allows)
        for rest in ([], [found.answer_to("requestHeaders")], [found.head()], [b"garbage"]):
            client = await proxy.connect()
            found.script = lambda seen: parts()

            def parts(rest: list[bytes] = rest) -> Iterator[bytes]:
                yield found.head()
                yield found.content(b"abc")
                yield from rest
                raise RuntimeError

            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.read_head()).status == 201
            with pytest.raises((TruncatedResponse, ConnectionResetError)):
                await client.read_exactly(99)
        assert not backend.requests


@on_our_loop
async def test_what_is_none(proxy: InProcessProxy) -> None:
    with RecordingBackend() as backend, Answering() as found:
        await process(proxy, found, backend.port)
        client = await proxy.connect()
        for parts in (
            [found.content(b"abc")],
            [found.head("99")],
            [found.head(x_bad="a\r\nb")],
            [found.head(x_long="y" * 1_000_000)],
        ):
            found.script = saying(parts)
            assert (await client.exchange("GET /")).status == 500
        found.script = lambda seen: [found.answer_to(seen.phase) if seen.phase == "requestHeaders" else found.head()]
        assert (await client.exchange("GET /")).status == 500


@on_our_loop
async def test_that_it_is_ignored_where_rejections_are(proxy: InProcessProxy) -> None:
    with RecordingBackend() as backend, Answering() as found:
        found.script = lambda seen: [found.head(), found.content(b"abc", end=True)]
        await process(proxy, found, backend.port, disableReject=True)
        client = await proxy.connect()
        assert (await client.exchange("GET /")).status == 200
        assert len(backend.requests) == 1


@on_our_loop
async def test_that_a_slow_client_holds_the_processor_up(proxy: InProcessProxy) -> None:
    sent = 0
    times = 400

    def script(seen: Seen) -> Iterator[bytes]:
        nonlocal sent
        yield found.head()
        for at in range(times):
            yield found.content(b"y" * 65536, end=at == times - 1)
            sent += 1

    with RecordingBackend() as backend, Answering() as found:
        found.script = script
        await process(proxy, found, backend.port)
        client = await proxy.connect(receive_buffer=4096)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await eventually_async(lambda: sent, 10, what="it has begun")
        assert await settled(lambda: sent) < times // 2
        assert (await client.read_response()).body == b"y" * (times * 65536)
