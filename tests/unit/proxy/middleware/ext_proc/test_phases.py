"""What processors are shown of transactions, and what becomes of their answers, by each contract."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.support.gateway import forward
from tests.support.in_process_proxy import InProcessProxy, on_our_loop
from tests.support.processing import process
from tests.support.processors import PROCESSORS, Do, GrpcProcessor, Processor, Reject, Reply, Seen
from tests.support.recording_backend import Exchange, RecordingBackend
from tests.support.staged_backend import StagedBackend, StagedConnection

Kind = type[Processor]
EACH = pytest.mark.parametrize("kind", PROCESSORS)
BOTH = {"requestBody": "buffered", "responseBody": "buffered"}
ALL = ["requestHeaders", "requestBody", "responseHeaders", "responseBody"]
CHUNKED = b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def at(phase: str, reply: Reply) -> Any:
    """A script that has something to say about one phase."""
    return lambda seen: reply if seen.phase == phase else Do()


def reply_with(status: int = 200, *headers: tuple[str, str], body: bytes = b"response") -> Any:
    return lambda exchange: exchange.respond(status, headers=headers, body=body)


@EACH
@on_our_loop
async def test_what_is_shown_of_heads(proxy: InProcessProxy, kind: Kind) -> None:
    with (
        RecordingBackend(script=reply_with(201, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))) as backend,
        kind() as found,
    ):
        await process(proxy, found, backend.port, forwardRules={"denyHeaders": ["x-secret*"]})
        client = await proxy.connect()
        fields = ("X-Many: 1", "X-Many: 2", "X-Secret-Key: 3", "Connection: keep-alive", "X-Forwarded-Proto: https")
        response = await client.exchange("GET /a%20b?c=d", *fields)
        assert (response.status, response.body) == (201, b"response")
        await client.exchange("POST /", body=b"content")
        request, answer, second = found.seen[0], found.seen[1], found.seen[2]
        assert found.phases == ["requestHeaders", "responseHeaders"] * 2
        own = [pair for pair in request.pairs if pair[0] not in ("x-request-id",)]
        assert [pair for pair in own if not pair[0].startswith(":")] == [("x-many", "1"), ("x-many", "2")]
        pseudo = {name: value for name, value in own if name.startswith(":")}
        assert pseudo == {":method": "GET", ":path": "/a%20b?c=d", ":authority": "proxy.test", ":scheme": "http"}
        assert request["x-request-id"] == backend.requests[0].all("x-request-id")[0]
        assert [value for name, value in answer.pairs if name == "set-cookie"] == ["a=1", "b=2"]
        assert (answer[":status"], answer["content-length"]) == ("201", "8")
        assert (request.end, answer.end, second.end, second["content-length"]) == (True, False, False, "7")
        if isinstance(found, GrpcProcessor):
            assert [seen.stream for seen in found.seen] == [0, 0, 1, 1]


@EACH
@on_our_loop
async def test_that_heads_are_changed_before_they_go_on(proxy: InProcessProxy, kind: Kind) -> None:
    def script(seen: Seen) -> Reply:
        names = ("x-new", "x-both", "x-locked", ":path", ":status", "content-length", "host", "x-many")
        return Do(dict.fromkeys(names, seen.phase), ("x-old", "X-Both", "x-kept", "host", "transfer-encoding"))

    reply = reply_with(200, ("X-Old", "1"), ("X-Kept", "1"), ("X-Many", "1"), ("X-Many", "2"))
    with RecordingBackend(script=reply) as backend, kind(script) as found:
        await process(proxy, found, backend.port, allowedMutations={"denyHeaders": ["x-locked", "x-kept"]})
        client = await proxy.connect()
        response = await client.exchange("POST /a", "X-Old: 1", "X-Kept: 1", "X-Many: 1", "X-Many: 2", body=b"ab")
        (request,) = backend.requests
        assert (request.target, request.body, request.all("host")) == ("/a", b"ab", ["proxy.test"])
        assert (response.status, response.body) == (200, b"response")
        for all_of, phase in ((request.all, "requestHeaders"), (response.all, "responseHeaders")):
            assert [all_of(name) for name in ("x-new", "x-both", "x-many")] == [[phase]] * 3
            assert [all_of(name) for name in ("x-old", "x-locked", "x-kept")] == [[], [], ["1"]]


@EACH
@on_our_loop
async def test_that_only_allowed_headers_are_changed(proxy: InProcessProxy, kind: Kind) -> None:
    script = at("requestHeaders", Do({"x-a": "1", "authorization": "2"}, ("cookie", "x-b")))
    with RecordingBackend() as backend, kind(script) as found:
        await process(proxy, found, backend.port, allowedMutations={"allowHeaders": ["x-*"]})
        client = await proxy.connect()
        await client.exchange("GET /", "Cookie: a=b", "X-B: 1", "Authorization: mine")
        (request,) = backend.requests
        found_values = [request.all(name) for name in ("x-a", "authorization", "cookie", "x-b")]
        assert found_values == [["1"], ["mine"], ["a=b"], []]


@EACH
@on_our_loop
async def test_that_skipped_phases_are_not_shown(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend() as backend, kind() as found:
        phases = {"requestHeaders": "skip", "responseHeaders": "skip", **BOTH}
        await process(proxy, found, backend.port, phases=phases)
        client = await proxy.connect()
        await client.exchange("POST /", body=b"ab")
        assert found.phases == ["requestBody", "responseBody"]
        await process(proxy, found, backend.port, phases={"requestHeaders": "skip", "responseHeaders": "skip"})
        await client.exchange("POST /", body=b"ab")
        assert found.phases == ["requestBody", "responseBody"]
        override = {"phases": {"requestHeaders": "skip"}}
        await process(proxy, found, backend.port, phases=phases, override=override)
        await client.exchange("POST /", body=b"ab")
        assert found.phases == ["requestBody", "responseBody", "responseHeaders"]


@EACH
@on_our_loop
async def test_that_buffered_bodies_are_shown_whole_and_replaced(proxy: InProcessProxy, kind: Kind) -> None:
    def script(seen: Seen) -> Reply:
        if not seen.phase.endswith("Body"):
            return Do()
        return Do({"x-seen": f"{len(seen.body)} {seen.end}"}, body=b"<" + seen.body + b">")

    async def answer(connection: StagedConnection) -> None:
        while True:
            request = await connection.read_request()
            bodies.append((request.body, request.all("content-length"), request.all("x-seen")))
            connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            await connection.flush()
            connection.send(b"3\r\ndef\r\n0\r\n\r\n")

    bodies: list[Any] = []
    async with StagedBackend(answer) as backend:
        with kind(script) as found:
            await process(proxy, found, backend.port, phases=BOTH)
            client = await proxy.connect()
            response = await client.exchange("POST /", body=b"12345")
            assert (response.body, response["content-length"], response["x-seen"]) == (b"<abcdef>", "8", "6 True")
            client.send(CHUNKED + b"2\r\n12\r\n")
            await asyncio.sleep(0)
            client.send(b"3\r\n345\r\n0\r\n\r\n")
            response = await client.read_response()
            assert (response.body, response["content-length"]) == (b"<abcdef>", "8")
            assert bodies == [(b"<12345>", ["7"], ["5 True"])] * 2
            assert found.phases == ALL * 2


@EACH
@pytest.mark.parametrize("reply", [Do(clear=True), Do(body=b"")])
@on_our_loop
async def test_that_bodies_are_cleared(proxy: InProcessProxy, kind: Kind, reply: Do) -> None:
    with RecordingBackend() as backend, kind(lambda seen: reply if seen.phase.endswith("Body") else Do()) as found:
        await process(proxy, found, backend.port, phases=BOTH)
        client = await proxy.connect()
        response = await client.exchange("POST /", body=b"12345")
        (request,) = backend.requests
        assert (response.body, response["content-length"]) == (b"", "0")
        assert (request.body, request.all("content-length")) == (b"", ["0"])


@EACH
@on_our_loop
async def test_that_bodies_without_changes_go_on_as_they_came(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend(script=reply_with(body=b"r" * 200_000)) as backend, kind() as found:
        for mode in ("buffered", "bufferedPartial", "streamed"):
            await process(proxy, found, backend.port, phases={"requestBody": mode, "responseBody": mode})
            client = await proxy.connect()
            response = await client.exchange("POST /", body=b"q" * 200_000)
            assert response.body == b"r" * 200_000
            assert backend.requests[-1].body == b"q" * 200_000
            assert ("content-length" in response, "transfer-encoding" in response) == (
                mode != "streamed",
                mode == "streamed",
            )
        assert found.body("requestBody") == b"q" * 600_000


@EACH
@on_our_loop
async def test_that_messages_without_bodies_have_none_shown(proxy: InProcessProxy, kind: Kind) -> None:
    statuses = {"/204": 204, "/304": 304, "/empty": 200, "/head": 200}

    def answer(exchange: Exchange) -> None:
        exchange.respond(statuses[exchange.target], body=b"x" * 5 if exchange.target == "/head" else b"")

    with RecordingBackend(script=answer) as backend, kind() as found:
        for mode in ("buffered", "streamed"):
            await process(proxy, found, backend.port, phases={"requestBody": mode, "responseBody": mode})
            client = await proxy.connect()
            for target, status in statuses.items():
                response = await client.exchange(f"{'HEAD' if target == '/head' else 'GET'} {target}")
                assert response.status == status
                assert response.all("content-length") == {"/204": [], "/head": ["5"]}.get(target, ["0"])
        assert found.phases == ["requestHeaders", "responseHeaders"] * 8
        assert all(seen.end for seen in found.seen)


@EACH
@on_our_loop
async def test_that_a_part_is_shown_and_everything_goes_on(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend(script=reply_with(body=b"0123456789" * 10_000)) as backend, kind() as found:
        phases = {"requestBody": "bufferedPartial", "responseBody": "bufferedPartial", "maxBodyBytes": 10}
        await process(proxy, found, backend.port, phases=phases)
        client = await proxy.connect()
        response = await client.exchange("POST /", body=b"abcdefghij" * 10_000)
        assert response.body == b"0123456789" * 10_000
        assert backend.requests[0].body == b"abcdefghij" * 10_000
        shown = [(seen.body, seen.end) for seen in found.seen if seen.phase.endswith("Body")]
        assert shown == [(b"abcdefghij", False), (b"0123456789", False)]
        response = await client.exchange("POST /", body=b"short")
        assert (found.seen[5].body, found.seen[5].end) == (b"short", True)
        found.script = lambda seen: Do(body=b"instead") if seen.phase.endswith("Body") else Do()
        response = await client.exchange("POST /", body=b"abcdefghij" * 10_000)
        assert (response.body, response["content-length"]) == (b"instead", "7")
        assert (backend.requests[2].body, backend.requests[2].all("content-length")) == (b"instead", ["7"])


@EACH
@on_our_loop
async def test_that_buffered_bodies_are_bounded(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend(script=reply_with(body=b"r" * 11)) as backend, kind() as found:
        limit = {"maxBodyBytes": 10}
        await process(proxy, found, backend.port, phases={"requestBody": "buffered", **limit})
        client = await proxy.connect()
        assert (await client.exchange("POST /", body=b"q" * 10)).status == 200
        response = await client.exchange("POST /", body=b"q" * 11)
        assert (response.status, json.loads(response.body)) == (413, {"error": "request body too large"})
        assert len(backend.requests) == 1
        # Who says beforehand how much it is to be need not send it.
        client = await proxy.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.read_response(interim=True)).status == 413
        client = await proxy.connect()
        client.send(CHUNKED + b"b\r\n12345678901\r\n0\r\n\r\n")
        assert (await client.read_response()).status == 413
        await process(proxy, found, backend.port, phases={"responseBody": "buffered", **limit}, statusOnError=502)
        client = await proxy.connect()
        response = await client.exchange("GET /")
        assert (response.status, json.loads(response.body)) == (502, {"error": "external processor failed"})
        await process(proxy, found, backend.port, phases={"responseBody": "buffered", **limit}, allowOnError=True)
        client = await proxy.connect()
        response = await client.exchange("GET /")
        assert (response.status, response.body) == (200, b"r" * 11)
        assert "responseBody" not in found.phases


@EACH
@on_our_loop
async def test_that_a_replacement_ends_the_phases_of_its_direction(proxy: InProcessProxy, kind: Kind) -> None:
    def script(seen: Seen) -> Reply:
        return Do({"x-by": "it"}, body=seen.phase.encode(), last=True)

    with RecordingBackend() as backend, kind(script) as found:
        await process(proxy, found, backend.port, phases=BOTH)
        client = await proxy.connect()
        for line, body in (("POST /", b"q" * 100_000), ("GET /", None)):
            response = await client.exchange(line, body=body)
            request = backend.requests[-1]
            assert (request.body, request.all("content-length")) == (b"requestHeaders", ["14"])
            assert (response.body, response["content-length"]) == (b"responseHeaders", "15")
            assert (request.all("x-by"), response.all("x-by")) == (["it"], ["it"])
        response = await client.exchange("HEAD /")
        assert response["content-length"] == "15"
        assert found.phases == ["requestHeaders", "responseHeaders"] * 3


@EACH
@on_our_loop
async def test_that_the_last_answer_need_not_replace_anything(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend(script=reply_with()) as backend, kind(lambda seen: Do(last=True)) as found:
        for mode in ("buffered", "streamed"):
            await process(proxy, found, backend.port, phases={"requestBody": mode, "responseBody": mode})
            client = await proxy.connect()
            response = await client.exchange("POST /", body=b"12345")
            assert (response.body, backend.requests[-1].body) == (b"response", b"12345")
        assert found.phases == ["requestHeaders", "responseHeaders"] * 2


@EACH
@pytest.mark.parametrize("phase", ALL)
@on_our_loop
async def test_that_every_phase_can_reject(proxy: InProcessProxy, kind: Kind, phase: str) -> None:
    headers = (("x-why", "so"), ("set-cookie", "a=1"), ("content-length", "99"), ("date", "x"))
    rejection = Reject(418, headers, b"no")
    with RecordingBackend() as backend, kind(at(phase, rejection)) as found:
        await process(proxy, found, backend.port, phases=BOTH)
        client = await proxy.connect()
        response = await client.exchange("POST /", body=b"12345")
        assert (response.status, response.body, response["content-length"]) == (418, b"no", "2")
        assert (response["x-why"], response["set-cookie"], response["date"] != "x") == ("so", "a=1", True)
        assert found.phases == ALL[: ALL.index(phase) + 1]
        assert len(backend.requests) == (phase.startswith("response"))
        found.script = at(phase, Reject())
        client = await proxy.connect()
        assert (await client.exchange("POST /", body=b"12345")).status == 403


@EACH
@on_our_loop
async def test_that_rejections_can_be_disabled(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend(script=reply_with()) as backend, kind(lambda seen: Reject(418)) as found:
        await process(proxy, found, backend.port, phases=BOTH, disableReject=True)
        client = await proxy.connect()
        response = await client.exchange("POST /", body=b"12345")
        assert (response.status, response.body, backend.requests[0].body) == (200, b"response", b"12345")
        assert found.phases == ALL


@EACH
@on_our_loop
async def test_that_what_the_proxy_answers_itself_is_shown_too(proxy: InProcessProxy, kind: Kind) -> None:
    def script(seen: Seen) -> Reply:
        return Do({"x-seen": seen[":status"]}) if seen.phase == "responseHeaders" else Do()

    with kind(script) as found:
        await process(proxy, found, action={"directResponse": {"status": 200, "body": "direct"}}, phases=BOTH)
        client = await proxy.connect()
        response = await client.exchange("POST /", body=b"12345")
        assert (response.status, response.body, response["x-seen"]) == (200, b"direct", "200")
        await process(proxy, found, action={"forward": forward("nobody")}, phases=BOTH)
        client = await proxy.connect()
        response = await client.exchange("GET /")
        assert (response.status, json.loads(response.body)["error"]) == (502, "no_destination")
        assert response["x-seen"] == "502"
        assert found.of("responseBody")[1].body == response.body


@EACH
@on_our_loop
async def test_that_a_client_is_asked_for_the_body_that_it_waits_with(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend() as backend, kind() as found:
        client = await proxy.connect()
        for mode in ("buffered", "bufferedPartial", "streamed"):
            await process(proxy, found, backend.port, phases={"requestBody": mode})
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
            assert (await client.read_response(interim=True)).status == 100
            client.send(b"12345")
            assert (await client.read_response(interim=True)).status == 200
            assert backend.requests[-1].body == b"12345"
        assert found.body("requestBody") == b"12345" * 3
        found.script = at("requestHeaders", Reject(401))
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        assert (await client.read_response(interim=True)).status == 401


@EACH
@on_our_loop
async def test_that_tunnels_pass_once_their_head_was_shown(proxy: InProcessProxy, kind: Kind) -> None:
    async def tunnel(connection: StagedConnection) -> None:
        await connection.read_head()
        connection.send(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst")
        assert await connection.reader.readexactly(4) == b"ping"
        connection.send(b"pong")
        connection.close()

    script = at("responseHeaders", Do({"x-seen": "yes"}))
    async with StagedBackend(tunnel) as backend:
        with kind(script) as found:
            for mode in ("buffered", "streamed"):
                await process(proxy, found, backend.port, phases={"requestBody": mode, "responseBody": mode})
                client = await proxy.connect()
                client.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
                head = await client.read_head()
                assert (head.status, head["x-seen"]) == (101, "yes")
                assert await client.read_exactly(5) == b"first"
                client.send(b"ping")
                assert await client.read_exactly(4) == b"pong"
                client.half_close()
                assert await client.ending() == "closed"
            assert found.phases == ["requestHeaders", "responseHeaders"] * 2


@EACH
@on_our_loop
async def test_a_client_of_http_1_0(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend(script=reply_with()) as backend, kind() as found:
        await process(proxy, found, backend.port, phases={"requestBody": "streamed", "responseBody": "streamed"})
        client = await proxy.connect()
        client.send(b"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n12345")
        assert (await client.read_response()).body == b"response"
        assert (backend.requests[0].body, backend.requests[0].all("content-length")) == (b"12345", ["5"])


@EACH
@on_our_loop
async def test_that_pipelined_requests_are_transactions_of_their_own(proxy: InProcessProxy, kind: Kind) -> None:
    with RecordingBackend(script=lambda exchange: exchange.respond(body=exchange.body)) as backend, kind() as found:
        await process(proxy, found, backend.port, phases=BOTH)
        client = await proxy.connect()
        requests = [b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n%d" % (n, n) for n in range(5)]
        client.send(b"".join(requests))
        assert [(await client.read_response()).body for _ in range(5)] == [b"%d" % n for n in range(5)]
        assert found.phases == ALL * 5
