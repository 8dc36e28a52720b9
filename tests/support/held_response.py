"""A response that stands half-way until the test releases it, and a route that answers by itself."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.gateway import route
from tests.support.in_process_proxy import Document
from tests.support.staged_backend import StagedConnection
from tests.support.stream_client import StreamClient, request, within


def says(text: str, **match: Any) -> Document:
    """A route that answers *text*, at any path unless *match* says otherwise."""
    return route(f"says-{text}", match, directResponse={"status": 200, "body": text})


class Held:
    """A script that answers each request with a head and ``ab``, and with ``cd`` once it is released."""

    def __init__(self) -> None:
        self.release = asyncio.Event()

    async def __call__(self, connection: StagedConnection) -> None:
        while True:
            await connection.read_request()
            connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
            await within(self.release.wait(), "the test releases the response")
            connection.send(b"cd")


async def begin(client: StreamClient, line: str = "GET /held") -> None:
    """Send a request to a :class:`Held` backend, and read what it answers at once."""
    client.send(request(line))
    assert (await client.read_head()).status == 200
    assert await client.read_exactly(2) == b"ab"
