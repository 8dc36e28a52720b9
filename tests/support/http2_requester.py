"""A client that speaks HTTP/2 by hyper-h2, and sends whole requests at once over one connection."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Self

import h2.config
import h2.connection
import h2.events

TIMEOUT = 30.0
"""Seconds that any single wait may take before the test fails."""

Fields = list[tuple[str, str]]


@dataclass(slots=True)
class Received:
    """A response, as far as it has come."""

    interim: list[int] = field(default_factory=list)
    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    trailers: Fields = field(default_factory=list)
    is_complete: bool = False
    reset: int | None = None


class Http2Requester:
    """An asynchronous context manager: the connection to *port*, in clear and with prior knowledge."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False)
        )
        self._received: dict[int, Received] = {}
        self._changed = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._h2.initiate_connection()
        self._flush()
        self._reading = asyncio.get_running_loop().create_task(self._read())
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._writer.close()
        assert self._reading is not None
        await self._reading

    async def request(
        self, method: str, path: str, content: bytes = b"", *, length: bool = True, trailers: Fields | None = None
    ) -> Received:
        """The response to a request, whose *length* is said or not."""
        number = self.begin(method, path, *([("content-length", str(len(content)))] if content and length else ()))
        await self.send(number, content, trailers)
        return await self.response(number)

    def begin(self, method: str, path: str, *fields: tuple[str, str], protocol: str = "") -> int:
        """Send a head, with a *protocol* that of an extended CONNECT; returns the stream."""
        number = self._h2.get_next_available_stream_id()
        head = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a.test"), *fields]
        self._h2.send_headers(number, [(":protocol", protocol), *head] if protocol else head)
        self._received[number] = Received()
        self._flush()
        return number

    async def send(self, number: int, content: bytes, trailers: Fields | None = None, *, end: bool = True) -> None:
        """Send content as the windows allow, and the end of the request."""
        while content:
            size = min(self._h2.local_flow_control_window(number), self._h2.max_outbound_frame_size, len(content))
            if not size:
                async with asyncio.timeout(TIMEOUT), self._changed:
                    await self._changed.wait()
                continue
            self._h2.send_data(number, content[:size])
            content = content[size:]
            self._flush()
        if trailers:
            self._h2.send_headers(number, trailers, end_stream=True)
        elif end:
            self._h2.end_stream(number)
        self._flush()

    def reset(self, number: int, code: int = 8) -> None:
        self._h2.reset_stream(number, code)
        self._flush()

    async def until_content(self, number: int, size: int) -> Received:
        """The response when there are so many bytes of it."""
        found = self._received[number]
        async with asyncio.timeout(TIMEOUT), self._changed:
            await self._changed.wait_for(lambda: len(found.content) >= size)
        return found

    async def response(self, number: int) -> Received:
        """The whole of it."""
        found = self._received[number]
        async with asyncio.timeout(TIMEOUT), self._changed:
            await self._changed.wait_for(lambda: found.is_complete or found.reset is not None)
        return found

    async def _read(self) -> None:
        while data := await self._reader.read(65536):
            for event in self._h2.receive_data(data):
                self._take(event)
            self._flush()
            async with self._changed:
                self._changed.notify_all()

    def _flush(self) -> None:
        data = self._h2.data_to_send()
        if data:
            self._writer.write(data)

    def _take(self, event: h2.events.Event) -> None:
        number = getattr(event, "stream_id", None)
        found = self._received.get(number or 0, Received())
        fields: Any = getattr(event, "headers", None)
        if isinstance(event, h2.events.InformationalResponseReceived):
            found.interim.append(int(dict(fields)[":status"]))
        elif isinstance(event, h2.events.ResponseReceived):
            found.fields = dict(fields)
            found.status = int(found.fields[":status"])
        elif isinstance(event, h2.events.TrailersReceived):
            found.trailers = list(fields)
        elif isinstance(event, h2.events.DataReceived):
            found.content += event.data
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            found.is_complete = True
        elif isinstance(event, h2.events.StreamReset):
            found.reset = int(event.error_code)
