"""Routes that depend on the body: held back until it is known, and then passed on as if it had never been."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.conditions import eventually_async, settled
from tests.support.gateway import Document, destination, forward, route
from tests.support.in_process_metrics import InProcessMetrics
from tests.support.in_process_proxy import InProcessProxy, on_each_loop
from tests.support.raw_http import Response
from tests.support.staged_backend import StagedBackend, StagedConnection
from tests.support.stream_client import StreamClient, request

MEGABYTE = 1 << 20
LIMIT = 65536
JSON = "Content-Type: application/json"
LARGE = "request.body.json.model == 'large'"
CHUNKED = request("POST /", JSON, "Transfer-Encoding: chunked")


def by_body(cel: str = LARGE) -> list[Document]:
    """Two routes: ``chosen`` by *cel*, and ``rest``. A backend names the one that it was reached by."""
    return [
        route("chosen", {"cel": cel}, forward=forward("b", rewrite={"host": "chosen.test"})),
        route("rest", forward=forward("b", rewrite={"host": "rest.test"})),
    ]


async def apply(proxy: InProcessProxy, port: int, cel: str = LARGE, **settings: Any) -> None:
    await proxy.apply(*by_body(cel), listeners=[proxy.listener(**settings)], destinations=[destination("b", port)])


async def name_route(connection: StagedConnection) -> None:
    """Answer with the route that led here, and with what came of the body."""
    while True:
        found = await connection.read_request()
        digest = hashlib.sha256(found.body).hexdigest()
        said = f"{found.all('host')[0]} {len(found.body)} {digest} {b','.join(found.trailers).decode()}"
        connection.respond(said.encode())


def told(name: str, body: bytes, trailers: str = "") -> bytes:
    return f"{name}.test {len(body)} {hashlib.sha256(body).hexdigest()} {trailers}".encode()


def document(size: int = 0, model: str = "large") -> bytes:
    """A JSON object of *size* bytes, or as few as it takes."""
    text = json.dumps({"model": model, "padding": ""})
    return json.dumps({"model": model, "padding": "x" * (size - len(text))}).encode()


def chunked(*pieces: bytes, trailers: bytes = b"") -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers + b"\r\n"


async def in_pieces(client: StreamClient, data: bytes, size: int) -> None:
    """Send *data* so that the proxy reads it bit by bit."""
    for at in range(0, len(data), size):
        client.send(data[at : at + size])
        await client.writer.drain()
        await asyncio.sleep(0)


# -- what decides, and what goes on -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "name"),
    [(document(), "chosen"), (document(model="small"), "rest"), (b"{", "rest"), (b'["large"]', "rest"), (b"", "rest")],
)
@on_each_loop
async def test_the_body_decides(proxy: InProcessProxy, body: bytes, name: str) -> None:
    async with StagedBackend(name_route) as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        for pieces in ([body], [body[:5], body[5:]], [body[:1], body[1:2], body[2:]]):
            # With the head, and behind it; with a length, and in chunks.
            assert (await client.exchange("POST /", JSON, body=body)).body == told(name, body)
            client.send(request("POST /", JSON, f"Content-Length: {len(body)}"))
            await in_pieces(client, body, max(1, len(body) // len(pieces)))
            assert (await client.read_response()).body == told(name, body)
            client.send(CHUNKED + chunked(*filter(None, pieces), trailers=b"X-Sum: 1\r\n"))
            assert (await client.read_response()).body == told(name, body, "X-Sum: 1")
        assert backend.open == 1


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-json", ""])
@on_each_loop
async def test_json_is_only_what_says_to_be(proxy: InProcessProxy, content_type: str) -> None:
    async with StagedBackend(name_route) as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        fields = [f"Content-Type: {content_type}"] if content_type else []
        assert (await client.exchange("POST /", *fields, body=document())).body == told("rest", document())
        found = await client.exchange("POST /", "Content-Type: Application/JSON; charset=utf-8", body=document())
        assert found.body == told("chosen", document())


@on_each_loop
async def test_numbers_keep_their_kind(proxy: InProcessProxy) -> None:
    cel = "type(request.body.json.i) == int && type(request.body.json.f) == double && request.body.json.big > 1e18"
    async with StagedBackend(name_route) as backend:
        await apply(proxy, backend.port, cel)
        client = await proxy.connect()
        body = b'{"i": 9223372036854775807, "f": 1.0, "big": 9223372036854775808}'
        assert (await client.exchange("POST /", JSON, body=body)).body == told("chosen", body)


@pytest.mark.parametrize("framing", ["length", "chunked"])
@pytest.mark.parametrize(("size", "name"), [(LIMIT - 1, "chosen"), (LIMIT, "chosen"), (LIMIT + 1, "rest")])
@on_each_loop
async def test_a_body_over_the_limit_is_not_json_and_goes_on_whole(
    proxy: InProcessProxy, size: int, name: str, framing: str
) -> None:
    body = document(size)
    assert len(body) == size
    async with StagedBackend(name_route) as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        with capture_logs() as entries:
            if framing == "length":
                client.send(request("POST /", JSON, f"Content-Length: {size}"))
                await in_pieces(client, body, 10_000)
            else:
                client.send(CHUNKED)
                await in_pieces(client, chunked(body[:7], body[7:60_000], body[60_000:]), 10_000)
            assert (await client.read_response()).body == told(name, body)
            # Said once for a while, however many there are.
            assert (await client.exchange("POST /", JSON, body=body)).body == told(name, body)
        logged = [(each["event"], each["expression"], each["limit"]) for each in entries]
        assert logged == ([("body larger than celBodyMaxSize", LARGE, LIMIT)] if size > LIMIT else [])


@on_each_loop
async def test_of_a_body_over_the_limit_the_beginning_can_be_read(proxy: InProcessProxy) -> None:
    cel = f"size(request.body.raw) == {LIMIT} && request.body.raw.startsWith('begin') && !has(request.body.json)"
    async with StagedBackend(name_route) as backend:
        await apply(proxy, backend.port, cel)
        client = await proxy.connect()
        body = b"begin" + b"x" * 3 * MEGABYTE
        with capture_logs():
            assert (await client.exchange("POST /", body=body)).body == told("chosen", body)


@on_each_loop
async def test_nothing_is_held_back_for_nothing(proxy: InProcessProxy) -> None:
    cel = "has(request.body.raw)"
    matches: list[Document] = [
        {"cel": cel, "path": "/other"},
        {"cel": cel, "methods": ["PUT"]},
        {"cel": "request.path == '/x'"},
    ]
    async with StagedBackend() as backend:
        await proxy.apply(
            *(route(f"r{at}", match, redirect={"url": "/"}) for at, match in enumerate(matches)),
            route("rest", forward=forward("b")),
            destinations=[destination("b", backend.port)],
        )
        client = await proxy.connect()
        client.send(request("POST /", "Content-Length: 5"))
        await eventually_async(lambda: backend.open == 1, what="the request is on its way without its body")
        client.send(b"12345")
        assert (await client.read_response()).body == b"ok"


@on_each_loop
async def test_what_answers_by_itself_can_depend_on_the_body(proxy: InProcessProxy) -> None:
    await proxy.apply(
        route("large", {"cel": LARGE}, directResponse={"status": 403, "body": "no"}),
        route("moved", {"cel": "request.body.raw == 'move'"}, redirect={"path": "/there"}),
    )
    client = await proxy.connect()
    for _ in range(2):
        client.send(request("POST /", JSON, f"Content-Length: {len(document())}"))
        await in_pieces(client, document(), 9)
        assert (await client.read_response()).status == 403
        assert (await client.exchange("POST /", body=b"move"))["location"] == "/there"
        assert (await client.exchange("POST /", body=b"other")).status == 404
    assert (await client.exchange("GET /")).status == 404


@on_each_loop
async def test_an_answer_before_the_whole_body_ends_the_connection(proxy: InProcessProxy) -> None:
    await proxy.apply(route("r", {"cel": "request.body.raw != ''"}, directResponse={"status": 403, "body": "no"}))
    client = await proxy.connect()
    with capture_logs():
        client.send(request("POST /", f"Content-Length: {MEGABYTE}") + b"x" * (LIMIT + 1))
        response = await client.read_response()
    assert (response.status, response.body, response["connection"]) == (403, b"no", "close")
    client.send(b"x" * (MEGABYTE - LIMIT - 1))
    assert await client.ending() == "closed"


# -- limits that the operator sets ------------------------------------------------------------------------------------


async def with_limit(limit: int, *exchanges: bytes, cel: str) -> list[Response]:
    """Send *exchanges* to a proxy whose expressions see *limit* bytes."""
    proxy = InProcessProxy(cel_body_max_size=limit)
    try:
        async with StagedBackend(name_route) as backend:
            await apply(proxy, backend.port, cel)
            client = await proxy.connect()
            answers = []
            for data in exchanges:
                client.send(data)
                answers.append(await client.read_response())
            return answers
    finally:
        await proxy.end()


def test_zero_turns_bodies_off() -> None:
    body = document()
    sent = [request("POST /", JSON, body=body), CHUNKED + chunked(body)]
    with capture_logs() as entries:
        answers = asyncio.run(with_limit(0, *sent, cel="has(request.body)"))
        assert [answer.body for answer in answers] == [told("rest", body)] * 2
        answers = asyncio.run(with_limit(0, *sent, cel="!has(request.body)"))
        assert [answer.body for answer in answers] == [told("chosen", body)] * 2
    assert not [entry for entry in entries if entry["log_level"] != "debug"]


@pytest.mark.parametrize(("limit", "seen"), [(1, "a"), (2, "ab"), (3, "abc"), (4, "abc")])
def test_the_limit_is_exact(limit: int, seen: str) -> None:
    with capture_logs():
        (answer,) = asyncio.run(with_limit(limit, request("POST /", body=b"abc"), cel=f"request.body.raw == '{seen}'"))
    assert answer.body == told("chosen", b"abc")


# -- Expect: 100-continue ---------------------------------------------------------------------------------------------


@on_each_loop
async def test_a_client_that_waits_is_told_to_go_on_and_only_once(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        while True:
            found = await connection.read_head()
            connection.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n")
            await connection.read_body(found)
            connection.respond(found.all("host")[0].encode())

    async with StagedBackend(script) as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        for body, statuses in ((document(), [100, 103, 200]), (document(LIMIT + 100), [100, 103, 200])):
            client.send(request("POST /", JSON, f"Content-Length: {len(body)}", "Expect: 100-continue"))
            assert (await client.read_response(interim=True)).status == 100
            assert not backend.requests or backend.requests[-1].body
            with capture_logs():
                client.send(body)
                seen = [100]
                while seen[-1] != 200:
                    seen.append((await client.read_response(interim=True)).status)
            assert seen == statuses
            assert backend.requests[-1].body == body
            assert backend.requests[-1].all("expect") == ["100-continue"]


@on_each_loop
async def test_a_client_that_does_not_wait_is_not_told(proxy: InProcessProxy) -> None:
    async with StagedBackend(name_route) as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        body = document()
        client.send(request("POST /", JSON, f"Content-Length: {len(body)}", "Expect: 100-continue") + body[:3])
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 1, what="the request has begun")
        client.send(body[3:])
        response = await client.read_response(interim=True)
        assert (response.status, response.body) == (200, told("chosen", body))


@on_each_loop
async def test_a_client_of_http_1_0_is_not_told(proxy: InProcessProxy) -> None:
    async with StagedBackend(name_route) as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        body = document()
        fields = (JSON, f"Content-Length: {len(body)}", "Expect: 100-continue")
        client.send(request("POST /", *fields, version="1.0"))
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 1, what="the request has begun")
        client.send(body)
        assert (await client.read_response(interim=True)).body == told("chosen", body)


# -- in order, in time, and out of it ---------------------------------------------------------------------------------


@on_each_loop
async def test_pipelined_requests_are_answered_in_order(proxy: InProcessProxy) -> None:
    async with StagedBackend(name_route) as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        bodies = [document(), b"{", document(300), document(model="small"), document(5000)]
        data = b"".join(request("POST /", JSON, body=body) + CHUNKED + chunked(body) for body in bodies)
        for size in (len(data), 100):
            await in_pieces(client, data, size)
            for body in bodies:
                name = "chosen" if b"large" in body else "rest"
                assert [(await client.read_response()).body for _ in range(2)] == [told(name, body)] * 2


@pytest.mark.parametrize("how", ["reset", "half_close", "close"])
@on_each_loop
async def test_a_client_that_goes_is_forgotten(proxy: InProcessProxy, how: str) -> None:
    async with StagedBackend() as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        client.send(request("POST /", JSON, "Content-Length: 100") + b'{"model"')
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 1, what="the request has begun")
        getattr(client, how)()
        await eventually_async(
            lambda: (proxy.data_plane.status().connections, proxy.data_plane.status().in_flight) == (0, 0),
            what="nothing is left of it",
        )
        assert (backend.connections, proxy.watched) == ([], 0)


@on_each_loop
async def test_a_body_that_does_not_come_has_the_time_of_the_request(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await apply(proxy, backend.port, timeouts={"clientRequest": "200ms"})
        client = await proxy.connect()
        client.send(request("POST /", JSON, "Content-Length: 100") + b'{"model"')
        assert await client.ending() == "reset"
        assert not backend.connections


@on_each_loop
async def test_a_body_that_is_malformed_is_refused(proxy: InProcessProxy) -> None:
    async with StagedBackend() as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        client.send(CHUNKED + b"3\r\nabc\r\n")
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 1, what="the request has begun")
        client.send(b"nonsense\r\n")
        assert (await client.read_response()).status == 400
        assert await client.ending() == "closed"
        assert not backend.connections


@on_each_loop
async def test_a_request_that_is_held_back_keeps_the_plan_it_began_with(proxy: InProcessProxy) -> None:
    async with StagedBackend(name_route) as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        body = document()
        client.send(request("POST /", JSON, f"Content-Length: {len(body)}") + body[:9])
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 1, what="the request has begun")
        await proxy.apply(route("new", directResponse={"status": 200, "body": "new"}))
        client.send(body[9:])
        assert (await client.read_response()).body == told("chosen", body)
        assert (await client.exchange("POST /", JSON, body=body)).body == b"new"


@on_each_loop
async def test_a_request_that_is_held_back_is_finished_by_a_drain(proxy: InProcessProxy) -> None:
    async with StagedBackend(name_route) as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        body = document()
        client.send(request("POST /", JSON, f"Content-Length: {len(body)}") + body[:9])
        await eventually_async(lambda: proxy.data_plane.status().in_flight == 1, what="the request has begun")
        draining = asyncio.gather(proxy.data_plane.drain(10))
        await asyncio.sleep(0)
        client.send(body[9:])
        response = await client.read_response()
        assert (response.body, response["connection"]) == (told("chosen", body), "close")
        assert (await draining)[0]


@on_each_loop
async def test_an_upstream_that_does_not_read_stops_the_client(proxy: InProcessProxy) -> None:
    async def script(connection: StagedConnection) -> None:
        found = await connection.read_head()
        await go.wait()
        await connection.read_body(found)
        connection.respond(b"%d" % len(found.body))

    go = asyncio.Event()
    size = 48 * MEGABYTE
    async with StagedBackend(script, receive_buffer=4096) as backend:
        await apply(proxy, backend.port)
        client = await proxy.connect()
        with capture_logs():
            client.send(request("POST /", JSON, f"Content-Length: {size}") + bytes(size))
            transport = client.writer.transport
            assert await settled(transport.get_write_buffer_size) > size - 24 * MEGABYTE  # what the kernel may hold
            go.set()
            assert (await client.read_response()).body == b"%d" % size


# -- what is counted, and who the client is ---------------------------------------------------------------------------


@on_each_loop
async def test_the_bytes_of_a_body_count_once_for_the_route_that_it_led_to(proxy: InProcessProxy) -> None:
    async with StagedBackend(name_route) as backend:
        await apply(proxy, backend.port, metrics={})
        metrics = InProcessMetrics(proxy)
        client = await proxy.connect()
        sizes = (200, 70_000, 400_000)
        with capture_logs():
            for size in sizes:
                client.send(request("POST /", JSON, f"Content-Length: {size}"))
                await in_pieces(client, document(size), 9000)
                assert (await client.read_response()).status == 200
        shown = await metrics.scrape()
        assert shown("vrata_route_request_bytes_total", route="chosen") == 200
        assert shown("vrata_route_request_bytes_total", route="rest") == 470_000
        labels = {"group": "", "method": "POST", "status_code": "200", "status_class": "2xx"}
        assert shown("vrata_route_requests_total", route="rest", **labels) == 2


# -- whatever acts on it ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 30_000, LIMIT])
@on_each_loop
async def test_a_request_that_was_held_back_can_be_retried_and_copied(proxy: InProcessProxy, size: int) -> None:
    async def fail_first(connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            connection.respond(b"", status=503 if len(backend.requests) == 1 else 200)

    body = document(size)
    async with StagedBackend(fail_first) as backend, StagedBackend() as mirror:
        action = forward(
            "b", retry={"attempts": 1, "on": ["server-error"]}, mirror={"destinationId": "m", "percentage": 100}
        )
        destinations = [destination("b", backend.port), destination("m", mirror.port)]
        await proxy.apply(route("chosen", {"cel": LARGE}, forward=action), destinations=destinations)
        client = await proxy.connect()
        client.send(request("PUT /", JSON, f"Content-Length: {len(body)}"))
        await in_pieces(client, body, max(7, size // 5))
        assert (await client.read_response()).status == 200
        assert [found.body == body for found in backend.requests] == [True, True]
        await eventually_async(lambda: [found.body for found in mirror.requests] == [body], what="the copy")
