"""Requests of HTTP/1 clients to a destination that speaks HTTP/2: the whole way through the proxy."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.gateway import destination, forward, route
from tests.support.http2_backend import Http2Backend
from tests.support.in_process_proxy import InProcessProxy, on_each_loop


async def _forward_to(proxy: InProcessProxy, port: int, **options: Any) -> None:
    options.setdefault("http2", True)
    report = await proxy.apply(
        route("all", forward=forward("backend")), destinations=[destination("backend", port, **options)]
    )
    assert not report.problems


@on_each_loop
async def test_a_request_with_a_body_and_its_response(proxy: InProcessProxy) -> None:
    async with Http2Backend() as backend:
        await _forward_to(proxy, backend.port)
        client = await proxy.connect()
        exchange = asyncio.get_running_loop().create_task(client.exchange("POST /x", body=b"content"))
        request = await (await (await backend.accept()).request()).until_complete()
        assert (request[":method"], request.path, request.content) == ("POST", "/x", b"content")
        request.answer(b"answer", 201)
        response = await exchange
        assert (response.status, response.body) == (201, b"answer")
