"""Bodies whose answers are a body of their own (``fullDuplexStreamed``), with processors of several kinds."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.callouts import services
from tests.support.conditions import eventually_async, settled
from tests.support.gateway import destination, forward, route
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.processing import process
from tests.support.processors import DIE, HANG, LEAVE, Do, EnvoyProcessor, Reply, Seen
from tests.support.raw_http import TruncatedResponse
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.unit.proxy.middleware.ext_proc.test_streamed_bodies import OK, chunk, next_chunk

DUPLEX: dict[str, str] = {
    "requestBody": "fullDuplexStreamed",
    "requestTrailers": "send",
    "responseBody": "fullDuplexStreamed",
    "responseTrailers": "send",
}
POST = b"POST / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZE = 4 << 20

Script = Callable[[Seen], Reply]


def way_of(phase: str) -> str:
    return "request" if phase.startswith("request") else "response"


class Buffering:
    """Says nothing before it has seen everything of a direction, its head's answer included."""

    def __init__(self, found: EnvoyProcessor) -> None:
        self.found = found
        self.seen: dict[str, list[Seen]] = {}

    def __call__(self, seen: Seen) -> Reply:
        way = way_of(seen.phase)
        so_far = self.seen.setdefault(f"{seen.stream} {way}", [])
        so_far.append(seen)
        if not seen.end:
            return []
        whole = b"".join(each.body for each in so_far)
        found = self.found
        replies = [found.heads(f"{way}Headers", x_size=str(len(whole)))]
        if len(so_far) == 1:
            return replies  # there is no body
        has_trailers = seen.phase.endswith("Trailers")
        halves = whole[: len(whole) // 2].upper(), whole[len(whole) // 2 :].upper()
        replies += [found.piece(f"{way}Body", halves[0]), found.piece(f"{way}Body", halves[1], not has_trailers)]
        if has_trailers:
            replies.append(found.heads(f"{way}Trailers", x_added="yes"))
        return replies


class Multiplying:
    """Answers each message by several, and at once."""

    def __init__(self, found: EnvoyProcessor, times: int = 3) -> None:
        self.found = found
        self.times = times

    def __call__(self, seen: Seen) -> Reply:
        if not seen.phase.endswith("Body"):
            return [self.found.heads(seen.phase)]
        last = self.times - 1
        return (self.found.piece(seen.phase, seen.body, seen.end and at == last) for at in range(self.times))


class Silent:
    """Answers the heads, and swallows the bodies but for their ends."""

    def __init__(self, found: EnvoyProcessor) -> None:
        self.found = found

    def __call__(self, seen: Seen) -> Reply:
        if not seen.phase.endswith("Body"):
            return [self.found.heads(seen.phase)]
        return [self.found.piece(seen.phase, b"", True)] if seen.end else []


class Trailing(StagedBackend):
    """Answers with what it gets, and trailers."""

    def __init__(self, trailers: bytes = b"") -> None:
        async def answer(connection: StagedConnection) -> None:
            while True:
                request = await connection.read_request()
                connection.send(OK + (chunk(request.body) if request.body else b"") + b"0\r\n" + trailers + b"\r\n")

        super().__init__(answer)


@on_our_loop
async def test_a_processor_that_says_nothing_before_it_has_seen_everything(proxy: InProcessProxy) -> None:
    async with Trailing() as backend:
        with EnvoyProcessor() as found:
            found.script = Buffering(found)
            await process(proxy, found, backend.port, phases=DUPLEX)
            client = await proxy.connect()
            for _ in range(2):
                client.send(POST + chunk(b"abc") + chunk(b"def") + chunk(b""))
                response = await client.read_response()
                assert (response.body, response["x-size"]) == (b"ABCDEF", "6")
                request = backend.requests[-1]
                assert (request.body, request.all("x-size")) == (b"ABCDEF", ["6"])
            assert (await client.exchange("GET /"))["x-size"] == "0"
            config = found.seen[0].message.protocol_config
            assert (config.request_body_mode, config.response_body_mode) == (4, 4)
            assert [seen.end for seen in found.of("requestBody")][-1]


@on_our_loop
async def test_that_trailers_end_what_is_streamed_back(proxy: InProcessProxy) -> None:
    async with Trailing(b"x-sum: 3\r\n") as backend:
        with EnvoyProcessor() as found:
            found.script = Buffering(found)
            await process(proxy, found, backend.port, phases=DUPLEX)
            client = await proxy.connect()
            client.send(POST + chunk(b"abc") + b"0\r\nX-Mine: 1\r\n\r\n")
            response = await client.read_response()
            assert (response.body, response.trailers) == (b"ABC", (("x-sum", "3"), ("x-added", "yes")))
            (request,) = backend.requests
            assert (request.body, request.trailers) == (b"ABC", (b"X-Mine: 1", b"x-added: yes"))
            assert not any(seen.end for seen in found.of("requestBody") + found.of("responseBody"))


@on_our_loop
async def test_that_the_end_of_a_body_is_enough_where_there_are_trailers(proxy: InProcessProxy) -> None:
    def script(seen: Seen) -> Reply:
        if not seen.phase.startswith("response"):
            return [found.heads(seen.phase)]
        if seen.phase == "responseTrailers":
            return [found.piece("responseBody", b"new", True), found.heads(seen.phase)]
        return [found.heads(seen.phase)] if seen.phase == "responseHeaders" else []

    async with Trailing(b"x-sum: 3\r\n") as backend:
        with EnvoyProcessor() as found:
            found.script = script
            await process(proxy, found, backend.port, phases=DUPLEX | {"requestBody": "none"})
            client = await proxy.connect()
            for _ in range(2):
                response = await client.exchange("POST /", body=b"old")
                assert (response.body, response.trailers) == (b"new", (("x-sum", "3"),))


@on_our_loop
async def test_that_more_can_come_back_than_was_shown_and_at_once(proxy: InProcessProxy) -> None:
    reached: asyncio.Queue[bytes] = asyncio.Queue()

    async def converse(connection: StagedConnection) -> None:
        await connection.read_head()
        while content := await next_chunk(connection):
            reached.put_nowait(content)
        connection.send(OK + chunk(b"x") + chunk(b"y") + chunk(b""))

    async def reached_in_all(size: int) -> bytes:
        found = b""
        while len(found) < size:
            found += await asyncio.wait_for(reached.get(), 10)
        return found

    async with StagedBackend(converse) as backend:
        with EnvoyProcessor() as found:
            found.script = Multiplying(found)
            await process(proxy, found, backend.port, phases=DUPLEX)
            client = await proxy.connect()
            client.send(POST)
            for content in (b"one", b"two"):
                client.send(chunk(content))
                assert await reached_in_all(9) == content * 3
            client.send(chunk(b""))
            body = (await client.read_response()).body
            assert body in (b"xyxyxy", b"xxxyyy")


@on_our_loop
async def test_that_nothing_has_to_come_back(proxy: InProcessProxy) -> None:
    async with Trailing() as backend:
        with EnvoyProcessor() as found:
            found.script = Silent(found)
            await process(proxy, found, backend.port, phases=DUPLEX)
            client = await proxy.connect()
            client.send(POST + chunk(b"abc") + chunk(b""))
            response = await client.read_response()
            assert (response.status, response.body, backend.requests[0].body) == (200, b"", b"")


@on_our_loop
async def test_many_bytes_both_ways(proxy: InProcessProxy) -> None:
    content = (hashlib.sha256(b"content").digest() * (SIZE // 32 + 1))[:SIZE]

    async def echo(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(OK)
        while content := await next_chunk(connection):
            connection.send(chunk(content))
            await connection.flush()
        connection.send(chunk(b""))

    async with StagedBackend(echo) as backend:
        with EnvoyProcessor() as found:
            found.script = Multiplying(found, 1)
            await process(proxy, found, backend.port, phases=DUPLEX)
            client = await proxy.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % SIZE + content)
            response = await client.read_response()
            assert hashlib.sha256(response.body).digest() == hashlib.sha256(content).digest()


@on_our_loop
async def test_that_a_request_of_http_1_0_gets_a_length(proxy: InProcessProxy) -> None:
    async with Trailing() as backend:
        with EnvoyProcessor() as found:
            found.script = Multiplying(found)
            phases = {"requestBody": "fullDuplexStreamed", "requestTrailers": "send", "maxBodyBytes": 9}
            await process(proxy, found, backend.port, phases=phases)
            client = await proxy.connect()
            client.send(b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            assert (await client.read_response()).body == b"abcabcabc"
            assert backend.requests[0].all("content-length") == ["9"]
            client = await proxy.connect()
            client.send(b"POST / HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd")
            assert (await client.read_response()).status == 413


@on_our_loop
async def test_that_the_head_is_not_held_where_it_is_not_shown(proxy: InProcessProxy) -> None:
    begun = asyncio.Event()

    async def answer(connection: StagedConnection) -> None:
        await connection.read_head()
        begun.set()
        assert await next_chunk(connection) == b"ABC"
        assert not await next_chunk(connection)
        connection.respond(b"fine")

    async with StagedBackend(answer) as backend:
        with EnvoyProcessor() as found:
            found.script = lambda seen: [found.piece("requestBody", seen.body.upper(), seen.end)]
            phases = {"requestBody": "fullDuplexStreamed", "requestTrailers": "send"}
            phases |= {"requestHeaders": "skip", "responseHeaders": "skip"}
            await process(proxy, found, backend.port, phases=phases)
            client = await proxy.connect()
            client.send(POST)
            await asyncio.wait_for(begun.wait(), 10)
            client.send(chunk(b"abc") + chunk(b""))
            assert (await client.read_response()).body == b"fine"


@on_our_loop
async def test_that_an_answer_to_the_head_can_have_the_whole_body(proxy: InProcessProxy) -> None:
    def script(seen: Seen) -> Reply:
        way = way_of(seen.phase)
        if seen.phase != f"{way}Headers":
            return []
        common = {"status": 1, "body_mutation": {"body": b"instead"}}
        return [found.message(**{f"{way}_headers": {"response": common}})]

    async with Trailing() as backend:
        with EnvoyProcessor() as found:
            found.script = script
            await process(proxy, found, backend.port, phases=DUPLEX)
            client = await proxy.connect()
            client.send(POST + chunk(b"abc") + chunk(b""))
            assert (await client.read_response()).body == b"instead"
            assert backend.requests[0].body == b"instead"


@on_our_loop
async def test_that_an_answer_to_the_head_can_ask_for_it(proxy: InProcessProxy) -> None:
    def script(seen: Seen) -> Reply:
        if seen.phase == "requestHeaders":
            return [found.message(request_headers={}, mode_override=mode)]
        return Multiplying(found, 2)(seen)

    async with Trailing() as backend:
        with EnvoyProcessor() as found:
            found.script = script
            mode = {"request_body_mode": 4, "request_trailer_mode": 1, "response_header_mode": 2}
            await process(proxy, found, backend.port, allowModeOverride=True)
            client = await proxy.connect()
            client.send(POST + chunk(b"abc") + chunk(b""))
            assert (await client.read_response()).body == b"abcabc"
            mode = {"request_body_mode": 0}
            await process(proxy, found, backend.port, allowModeOverride=True, phases=DUPLEX)
            client.send(POST + chunk(b"abc") + chunk(b""))
            assert (await client.read_response()).body == b"abc" * 4


BREACHES: dict[str, Callable[[EnvoyProcessor], Script]] = {
    "the body before the head": lambda found: lambda seen: [found.piece("requestBody", b"a")],
    "an end before the end": lambda found: (
        lambda seen: [found.heads("requestHeaders"), found.piece("requestBody", b"a", True)]
    ),
    "a body that is not streamed": lambda found: (
        lambda seen: [
            found.heads("requestHeaders"),
            found.message(request_body={"response": {"body_mutation": {"body": b"a"}}}),
        ]
    ),
    "the other direction": lambda found: lambda seen: [found.piece("responseBody", b"a")],
    "garbage": lambda found: lambda seen: [b"garbage"],
    "another head": lambda found: lambda seen: [found.heads("requestHeaders"), found.heads("requestHeaders")],
    "trailers that are not there": lambda found: (
        lambda seen: [found.heads("requestHeaders"), found.heads("requestTrailers")]
    ),
}


@pytest.mark.parametrize("allows", [False, True])
@pytest.mark.parametrize("breach", BREACHES)
@on_our_loop
async def test_that_breaches_of_the_rules_are_failures(proxy: InProcessProxy, breach: str, allows: bool) -> None:
    """What only the processor has is not there any more, so that nothing can pass, even where that is allowed."""

    async def answer(connection: StagedConnection) -> None:
        await connection.read_head()
        await connection.gone()

    async with StagedBackend(answer) as backend:
        with EnvoyProcessor() as found:
            script = BREACHES[breach](found)
            found.script = lambda seen: script(seen) if seen.body else []
            await process(proxy, found, backend.port, phases=DUPLEX, allowOnError=allows)
            client = await proxy.connect()
            client.send(POST + chunk(b"abc"))
            assert (await client.read_response()).status == 500


@pytest.mark.parametrize("reply", [HANG, DIE, LEAVE])
@on_our_loop
async def test_processors_that_end_or_hang_when_they_have_everything(proxy: InProcessProxy, reply: str) -> None:
    async with Trailing() as backend:
        with EnvoyProcessor() as found:
            found.script = lambda seen: reply if seen.end else []
            timeout = "600ms" if reply == HANG else "10s"
            await process(proxy, found, backend.port, phases=DUPLEX, phaseTimeout=timeout, allowOnError=True)
            client = await proxy.connect()
            client.send(POST + chunk(b"abc") + chunk(b""))
            response = await client.read_response()
            assert (response.status, response.body) == (500, b'{"error":"external processor failed"}')
            assert not backend.requests


@on_our_loop
async def test_that_what_was_not_shown_passes_where_that_is_allowed(proxy: InProcessProxy) -> None:
    async with Trailing() as backend:
        with EnvoyProcessor() as found:
            found.script = lambda seen: DIE
            await process(proxy, found, backend.port, phases=DUPLEX, allowOnError=True)
            client = await proxy.connect()
            assert (await client.exchange("GET /")).status == 200


@pytest.mark.parametrize("mode", ["none", "buffered", "streamed"])
@pytest.mark.parametrize("way", ["request", "response"])
@on_our_loop
async def test_that_trailers_pass_when_what_is_made_of_them_is_none(proxy: InProcessProxy, way: str, mode: str) -> None:
    def script(seen: Seen) -> Reply:
        return Do(set={"x-b": "a\nb"} if seen.phase == f"{way}Trailers" else {})

    async with Trailing(b"x-a: b\r\n") as backend:
        with EnvoyProcessor(script) as found:
            phases = {f"{way}Body": mode, f"{way}Trailers": "send"}
            await process(proxy, found, backend.port, phases=phases, allowOnError=True)
            client = await proxy.connect()
            client.send(POST + chunk(b"abc") + b"0\r\nx-c: d\r\n\r\n")
            response = await client.read_response()
            assert (response.body, response.trailers) == (b"abc", (("x-a", "b"),))
            assert f"{way}Trailers" in found.phases


@pytest.mark.parametrize("change", [Do(remove=("x-a",)), Do(set={"X-A": "new"})])
@on_our_loop
async def test_that_trailers_are_removed_in_all_their_spellings(proxy: InProcessProxy, change: Do) -> None:
    def script(seen: Seen) -> Reply:
        return change if seen.phase == "responseTrailers" else Do()

    async with Trailing(b"x_a: b\r\nX-A: c\r\nx-b: d\r\n") as backend:
        with EnvoyProcessor(script) as found:
            await process(proxy, found, backend.port, phases={"responseTrailers": "send"})
            client = await proxy.connect()
            client.send(POST + chunk(b"abc") + chunk(b""))
            added = tuple((name.lower(), value) for name, value in change.set.items())
            assert (await client.read_response()).trailers == (("x-b", "d"), *added)


@on_our_loop
async def test_that_responses_pass_when_the_processor_has_left_before_them(proxy: InProcessProxy) -> None:
    class Leaving(EnvoyProcessor):
        def _process(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
            next(requests)
            yield self.heads("requestHeaders")

    async def answer(connection: StagedConnection) -> None:
        await connection.read_request()
        await eventually_async(lambda: services(proxy).under_way == 0, what="the processor has left")
        connection.send(OK + chunk(b"abc") + chunk(b""))

    async with StagedBackend(answer) as backend:
        with Leaving() as found:
            await process(proxy, found, backend.port, phases={**DUPLEX, "requestBody": "none"})
            client = await proxy.connect()
            assert (await client.exchange("GET /")).body == b"abc"


@on_our_loop
async def test_that_a_response_is_cut_when_the_processor_dies_of_it(proxy: InProcessProxy) -> None:
    def script(seen: Seen) -> Reply:
        if seen.phase.endswith("Headers"):
            return [found.heads(seen.phase)]
        return [found.piece("responseBody", b"first")] if seen.body == b"abc" else DIE

    async def answer(connection: StagedConnection) -> None:
        await connection.read_request()
        connection.send(OK + chunk(b"abc"))
        await is_there.wait()
        connection.send(chunk(b"def"))
        await connection.gone()

    is_there = asyncio.Event()
    async with StagedBackend(answer) as backend:
        with EnvoyProcessor() as found:
            found.script = script
            await process(proxy, found, backend.port, phases=DUPLEX, allowOnError=True)
            client = await proxy.connect()
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await client.read_head()).status == 200
            assert await client.read_exactly(10) == chunk(b"first")
            is_there.set()
            with pytest.raises((TruncatedResponse, ConnectionResetError)):
                await client.read_exactly(1)


@on_our_loop
async def test_that_a_processor_that_does_not_read_holds_the_client_up(proxy: InProcessProxy) -> None:
    go_on = threading.Event()

    def script(seen: Seen) -> Reply:
        go_on.wait(20)
        return Silent(found)(seen)

    size = 32 << 20
    async with Trailing() as backend:
        with EnvoyProcessor() as found:
            found.script = script
            await process(proxy, found, backend.port, phases=DUPLEX, phaseTimeout="20s")
            client = await proxy.connect()
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
            await eventually_async(lambda: found.seen, 10, what="the head was seen")
            left = await settled(client.writer.transport.get_write_buffer_size)
            assert left > size // 2  # what is missing lies in the buffers of kernels, and in windows of HTTP/2
            go_on.set()
            assert (await client.read_response()).status == 200


@on_our_loop
async def test_that_a_slow_client_holds_the_processor_up(proxy: InProcessProxy) -> None:
    """It is given far more than was shown, and takes nothing: the processor does not get rid of it."""
    sent = 0
    times = 400

    def pieces(phase: str) -> Iterator[bytes]:
        nonlocal sent
        for at in range(times):
            yield found.piece(phase, b"y" * 65536, at == times - 1)
            sent += 1

    def script(seen: Seen) -> Reply:
        if seen.phase != "responseBody":
            return [found.heads(seen.phase)]
        return pieces(seen.phase) if seen.end else []

    async with Trailing() as backend:
        with EnvoyProcessor() as found:
            found.script = script
            await process(proxy, found, backend.port, phases=DUPLEX | {"requestBody": "none"}, phaseTimeout="20s")
            client = await proxy.connect(receive_buffer=4096)
            client.send(POST + chunk(b"abc") + chunk(b""))
            await eventually_async(lambda: sent, 10, what="it has begun")
            assert await settled(lambda: sent) < times // 2
            assert (await client.read_response()).body == b"y" * (times * 65536)


@pytest.mark.parametrize("mode", ["streamed", "fullDuplexStreamed"])
@on_our_loop
async def test_that_expressions_inside_see_the_new_body(proxy: InProcessProxy, mode: str) -> None:
    """Also where the way there has depended on the old one."""

    def script(seen: Seen) -> Any:
        if seen.phase == "requestBody" and mode == "streamed":
            body = {"response": {"body_mutation": {"body": b"new"}}} if seen.body else {}
            return [found.message(request_body=body)]
        if seen.phase == "requestBody":
            return [found.piece(seen.phase, b"new" if seen.body else b"", seen.end)]
        return [found.heads(seen.phase)]

    async with Trailing() as backend:
        with EnvoyProcessor() as found:
            found.script = script
            phases = {"requestBody": mode, "requestTrailers": "send"}
            documents = found.entities(phases=phases)
            documents["destinations"].append(destination("backend", backend.port))
            rules = [{"cel": 'request.body.raw == "new"', "action": "allow"}]
            authorization = {"rules": rules, "defaultAction": "deny"}
            inside = {"id": "inside", "name": "inside", "type": "inlineAuthz", "inlineAuthz": authorization}
            documents["middlewares"].append(inside)
            entry = route("all", forward=forward("backend"), middlewareIds=["processing", "inside"])
            entry["match"]["cel"] = 'request.body.raw == "old"'
            report = await proxy.apply(entry, **documents)
            assert not report.problems, report
            client = await proxy.connect()
            client.send(POST + chunk(b"old") + chunk(b""))
            response = await client.read_response()
            assert (response.status, response.body) == (200, b"new")
