"""Edges where the layers of the data plane meet, each found by a review."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from tests.support.in_process_proxy import Document, InProcessProxy, listening_socket, on_each_loop

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def forwarding_to(port: int) -> tuple[Document, dict[str, Any]]:
    route = {"id": "r", "name": "r", "forward": {"destinations": [{"destinationId": "d", "weight": 100}]}}
    return route, {"destinations": [{"id": "d", "name": "d", "host": "127.0.0.1", "port": port}]}


@on_each_loop
async def test_a_listener_that_cannot_be_opened_is_a_problem_and_can_be_tried_again(proxy: InProcessProxy) -> None:
    broken = listening_socket()
    port: int = broken.getsockname()[1]
    broken.close()
    proxy.data_plane.adopt_listener(f"127.0.0.1:{port}", broken)
    listeners = [proxy.listener(), proxy.listener(port)]
    route = {"id": "r", "name": "r", "directResponse": {"status": 200, "body": "here"}}
    report = await proxy.apply(route, listeners=listeners)
    assert [(problem.kind, problem.id) for problem in report.problems] == [("listener", f"listener-{port}")]

    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen()
    proxy.data_plane.adopt_listener(f"127.0.0.1:{port}", sock)
    assert (await proxy.apply(route, listeners=listeners)).problems == ()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert (await reader.read()).endswith(b"here")
    writer.close()


@on_each_loop
async def test_an_event_stream_outlives_the_limit_of_responses(proxy: InProcessProxy) -> None:
    finish = asyncio.Event()

    async def backend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        answer = EVENTS.replace(b"text/event-stream", b"text/plain") if head.startswith(b"GET /slow") else EVENTS
        writer.write(answer + b"9\r\ndata: 1\n\n\r\n")
        await finish.wait()
        writer.write(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(backend, "127.0.0.1", 0) as server:
        route, entities = forwarding_to(server.sockets[0].getsockname()[1])
        listener = proxy.listener(timeouts={"clientResponse": "100ms"})
        await proxy.apply(route, listeners=[listener], **entities)
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"data: 1\n\n\r\n")
        # The same limit has cut an ordinary response that began later: by then the stream has outlived it.
        slow_reader, slow_writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        slow_writer.write(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await slow_reader.readuntil(b"data: 1\n\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await slow_reader.read() == b""
        slow_writer.close()
        finish.set()
        assert await reader.readuntil(b"0\r\n\r\n") == b"9\r\ndata: 2\n\n\r\n0\r\n\r\n"
        writer.close()


@on_each_loop
async def test_a_route_whose_middlewares_cannot_run_serves_nobody(proxy: InProcessProxy) -> None:
    routes: list[Document] = [
        {"id": name, "name": name, "match": {"path": f"/{name}"}, "directResponse": {"status": 200, "body": name}}
        for name in ("guarded", "grouped", "open")
    ]
    routes[0]["middlewareIds"] = ["jwt"]
    group = {"id": "g", "name": "g", "routeIds": ["grouped"], "middlewareIds": ["jwt"]}
    report = await proxy.apply(*routes, groups=[group])
    assert sorted(problem.id for problem in report.problems) == ["grouped", "guarded"]
    for name, status in (("guarded", 500), ("grouped", 500), ("open", 200)):
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(f"GET /{name} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert answer.endswith(b'{"error":"middleware unavailable"}') == (status == 500)
        writer.close()
