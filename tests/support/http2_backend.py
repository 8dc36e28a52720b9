"""A backend that speaks HTTP/2 by hyper-h2, and every answer of which the test sends itself."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from h2.settings import SettingCodes

from tests.support.accepting_backend import TIMEOUT, AcceptingBackend

Fields = list[tuple[str, str]]
OK: Fields = [(":status", "200"), ("content-length", "2")]


class Http2Request:
    """One stream as the backend has it."""

    def __init__(self, connection: Http2BackendConnection, number: int, fields: Fields) -> None:
        self.connection = connection
        self.number = number
        self.fields = fields
        self.content = b""
        self.trailers: Fields | None = None
        self.is_complete = False
        self.reset: int | None = None
        """The code with which the proxy has ended it."""
        self.is_answered = False
        """For the test to remember."""
        self.acknowledges = True
        """Grant a new window for what has come."""

    def __getitem__(self, name: str) -> str:
        (value,) = (value for found, value in self.fields if found == name)
        return value

    @property
    def path(self) -> str:
        return self[":path"]

    async def until_complete(self) -> Self:
        await self.connection.until(lambda: self.is_complete)
        return self

    async def until_content(self, size: int) -> None:
        await self.connection.until(lambda: len(self.content) >= size)

    async def until_reset(self) -> int:
        await self.connection.until(lambda: self.reset is not None)
        assert self.reset is not None
        return self.reset

    def head(self, fields: Fields = OK, *, end: bool = False) -> None:
        self.connection.h2.send_headers(self.number, fields, end_stream=end)
        self.connection.flush()

    def send(self, content: bytes, *, end: bool = False) -> None:
        """Send what fits the windows."""
        self.connection.h2.send_data(self.number, content, end_stream=end)
        self.connection.flush()

    async def send_all(self, content: bytes, trailers: Fields) -> None:
        """Send *content* as the windows allow, and then the end."""
        h2 = self.connection.h2
        while content:
            size = min(h2.local_flow_control_window(self.number), h2.max_outbound_frame_size, len(content))
            if size:
                self.send(content[:size])
                content = content[size:]
            else:
                await self.connection.until(lambda: h2.local_flow_control_window(self.number) > 0)
        if trailers:
            self.finish(trailers)
        else:
            self.send(b"", end=True)

    def finish(self, trailers: Fields) -> None:
        self.connection.h2.send_headers(self.number, trailers, end_stream=True)
        self.connection.flush()

    def answer(self, content: bytes = b"ok", status: int = 200) -> None:
        self.connection.h2.send_headers(
            self.number, [(":status", str(status)), ("content-length", str(len(content)))], end_stream=not content
        )
        if content:
            self.connection.h2.send_data(self.number, content, end_stream=True)
        self.connection.flush()

    def refuse(self, code: int = h2.errors.ErrorCodes.REFUSED_STREAM) -> None:
        self.connection.h2.reset_stream(self.number, code)
        self.connection.flush()


class Http2BackendConnection:
    """One connection as the backend has it."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        settings: Mapping[SettingCodes, int],
        *,
        greets: bool,
    ) -> None:
        self._reader = reader
        self.writer = writer
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = h2.settings.Settings(client=False, initial_values=dict(settings))
        self.requests: list[Http2Request] = []
        self._by_number: dict[int, Http2Request] = {}
        self._has_greeted = greets
        self.pings = 0
        self.acknowledged = 0
        """Settings that the proxy has taken notice of."""
        self.goodbye: int | None = None
        """The code of the proxy's GOAWAY."""
        self.is_over = False
        self.hears = asyncio.Event()
        """Cleared, nothing is read."""
        self.hears.set()
        self._changed = asyncio.Event()
        self._taken = 0
        self.h2.initiate_connection()
        self.flush()

    def greet(self) -> None:
        """Send the settings, before which nothing else is sent (RFC 9113 §3.4)."""
        self._has_greeted = True
        self.flush()

    def allow(self, streams: int) -> None:
        self.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})
        self.flush()

    def go_away(self, last: int, code: int = 0, *, behind_settings: bool = False) -> None:
        """GOAWAY, after which hyper-h2 would say nothing any more, so it is not told.

        *behind_settings*, where the connection does not greet: both come at once.
        """
        frame = b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + last.to_bytes(4, "big") + code.to_bytes(4, "big")
        self.writer.write(self.h2.data_to_send() + frame if behind_settings else frame)

    def close_soon(self) -> None:
        """End the connection when the proxy has ended it, or a moment later."""
        asyncio.get_running_loop().call_later(0.05, self.writer.close)

    def flush(self) -> None:
        if self._has_greeted and (data := self.h2.data_to_send()):
            self.writer.write(data)

    def close(self) -> None:
        self.writer.close()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT):
            await self._until(condition)

    async def next(self) -> Http2Request:
        """The next request, however long that takes."""
        number = self._taken
        self._taken += 1
        await self._until(lambda: len(self.requests) > number)
        return self.requests[number]

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            # Several may wait: each has the flag that it found.
            changed = self._changed
            await changed.wait()

    async def request(self) -> Http2Request:
        """The next one, whose head has come."""
        number = self._taken
        self._taken += 1
        await self.until(lambda: len(self.requests) > number)
        return self.requests[number]

    async def wait_closed(self) -> None:
        await self.until_over()

    async def until_over(self) -> None:
        await self.until(lambda: self.is_over)

    async def serve(self) -> None:
        try:
            while data := await self._reader.read(65536):
                await self.hears.wait()
                for event in self.h2.receive_data(data):
                    self._take(event)
                self.flush()
                self._tell()
        except (ConnectionError, h2.exceptions.ProtocolError, ssl.SSLError):
            pass
        finally:
            self.is_over = True
            self._tell()
            self.writer.close()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _take(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            fields: Any = event.headers
            request = Http2Request(self, event.stream_id, list(fields))
            self.requests.append(request)
            self._by_number[event.stream_id] = request
        elif isinstance(event, h2.events.DataReceived):
            request = self._by_number[event.stream_id]
            request.content += event.data
            if request.acknowledges:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.TrailersReceived):
            trailers: Any = event.headers
            self._by_number[event.stream_id].trailers = list(trailers)
        elif isinstance(event, h2.events.StreamEnded):
            self._by_number[event.stream_id].is_complete = True
        elif isinstance(event, h2.events.StreamReset):
            self._by_number[event.stream_id].reset = int(event.error_code)
        elif isinstance(event, h2.events.SettingsAcknowledged):
            self.acknowledged += 1
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goodbye = int(event.error_code or 0)


class Http2Backend(AcceptingBackend[Http2BackendConnection]):
    """See the module's head."""

    def __init__(
        self,
        settings: Mapping[SettingCodes, int] | None = None,
        *,
        greets: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """*settings* by their codes; without *greets* the test has each connection send them."""
        super().__init__(tls=tls)
        self._settings = dict(settings or {})
        self._greets = greets

    def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Http2BackendConnection:
        return Http2BackendConnection(reader, writer, self._settings, greets=self._greets)
