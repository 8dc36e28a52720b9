"""WebSockets over HTTP/2 (RFC 8441) for a library that knows only HTTP/1: relays that speak both, by hyper-h2.

What ends a connection on one side ends the stream on the other in the same way: an end is an end, a reset a reset.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import secrets
import ssl
from types import TracebackType
from typing import Any, Self, TypeAlias

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from tests.support.stream_client import within

Fields: TypeAlias = list[tuple[str, str]]

_HOP = {"host", "connection", "upgrade", "sec-websocket-key", "sec-websocket-accept", "content-length"}
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class _Stream:
    """One stream: what comes on it, in order, with None for its end."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.fields: asyncio.Queue[Fields | None] = asyncio.Queue()
        self.content: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.was_reset = False


class _Http2:
    """One side of a connection; a task reads it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, client: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._h2: Any = h2.connection.H2Connection(h2.config.H2Configuration(client_side=client))
        self._progress = asyncio.Event()
        self.streams: dict[int, _Stream] = {}
        self.begun: asyncio.Queue[_Stream | None] = asyncio.Queue()
        """Streams that the peer has begun."""
        self.settled = asyncio.Event()
        if not client:
            offered = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}
            self._h2.local_settings = h2.settings.Settings(client=False, initial_values=offered)
        self._h2.initiate_connection()
        self.flush()

    @property
    def offers_tunnels(self) -> bool:
        return bool(self._h2.remote_settings.enable_connect_protocol)

    def flush(self) -> None:
        if data := self._h2.data_to_send():
            self._writer.write(data)

    async def run(self) -> None:
        """Read until the connection ends."""
        with contextlib.suppress(OSError):
            while data := await self._reader.read(65536):
                for event in self._h2.receive_data(data):
                    self._on(event)
                self.flush()
        self.settled.set()
        self.begun.put_nowait(None)
        for stream in self.streams.values():
            stream.was_reset = True
            stream.fields.put_nowait(None)
            stream.content.put_nowait(None)
        self._progress.set()
        self._writer.close()

    def _on(self, event: Any) -> None:
        self._progress.set()
        match event:
            case h2.events.RemoteSettingsChanged():
                self.settled.set()
            case h2.events.RequestReceived():
                stream = self.streams[event.stream_id] = _Stream(event.stream_id)
                stream.fields.put_nowait(_text(event.headers))
                self.begun.put_nowait(stream)
            case h2.events.ResponseReceived():
                self.streams[event.stream_id].fields.put_nowait(_text(event.headers))
            case h2.events.DataReceived():
                self.streams[event.stream_id].content.put_nowait(event.data)
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                self.streams[event.stream_id].content.put_nowait(None)
            case h2.events.StreamReset():
                stream = self.streams[event.stream_id]
                stream.was_reset = True
                stream.fields.put_nowait(None)
                stream.content.put_nowait(None)
            case _:
                pass

    def begin(self, fields: Fields) -> _Stream:
        """Begin a stream with a request that does not end."""
        stream = _Stream(self._h2.get_next_available_stream_id())
        self.streams[stream.number] = stream
        self._h2.send_headers(stream.number, fields)
        self.flush()
        return stream

    def respond(self, stream: _Stream, fields: Fields, *, end: bool) -> None:
        self._h2.send_headers(stream.number, fields, end_stream=end)
        self.flush()

    async def send(self, stream: _Stream, data: bytes) -> None:
        """Send *data* as the windows allow it."""
        while data and not stream.was_reset:
            room = min(self._h2.local_flow_control_window(stream.number), self._h2.max_outbound_frame_size)
            if room <= 0:
                self._progress.clear()
                await self._progress.wait()
                continue
            self._h2.send_data(stream.number, data[:room])
            data = data[room:]
            self.flush()
            await self._writer.drain()

    def end(self, stream: _Stream) -> None:
        if not stream.was_reset:
            self._h2.end_stream(stream.number)
            self.flush()

    def reset(self, stream: _Stream) -> None:
        if not stream.was_reset:
            stream.was_reset = True
            self._h2.reset_stream(stream.number, h2.errors.ErrorCodes.CANCEL)
            self.flush()

    def close(self) -> None:
        self._writer.close()


class _Relay:
    """Listens on a loopback port; an asynchronous context manager. A connection that fails fails nobody else's."""

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        """*target* is the port that is relayed to; *tls* is that of the side which speaks HTTP/2."""
        self._target = target
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=self._serving())
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _serving(self) -> ssl.SSLContext | None:
        raise NotImplementedError

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        self._start(self._serve(reader, writer))

    async def _open(self, tls: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = None if tls is None else "proxy.test"
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target, ssl=tls, server_hostname=name)
        self._writers.append(writer)
        return reader, writer

    def _start(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _relay(
        self, http2: _Http2, stream: _Stream, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Pass bytes both ways until both have ended."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._inward(http2, stream, reader))
            group.create_task(self._outward(stream, writer))
        writer.close()

    async def _inward(self, http2: _Http2, stream: _Stream, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(65536):
                await http2.send(stream, data)
        except ConnectionError:
            http2.reset(stream)
            stream.content.put_nowait(None)
        else:
            http2.end(stream)

    async def _outward(self, stream: _Stream, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await stream.content.get():
                writer.write(data)
                await writer.drain()
            if stream.was_reset:
                writer.transport.abort()
            elif writer.can_write_eof():
                writer.write_eof()


class ToHttp2(_Relay):
    """Takes clients of HTTP/1, and asks the target for a tunnel for each."""

    def _serving(self) -> None:
        return None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, fields = await _read_head(reader)
        if self._tls is not None:
            self._tls.set_alpn_protocols(["h2"])
        http2 = _Http2(*await self._open(self._tls), client=True)
        self._start(http2.run())
        await within(http2.settled.wait(), "the settings of the target")
        assert http2.offers_tunnels
        values = dict(fields)
        pseudo = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http" if self._tls is None else "https"),
            (":path", line.split(" ")[1]),
            (":authority", values["host"]),
        ]
        stream = http2.begin([*pseudo, *[(name, value) for name, value in fields if name not in _HOP]])
        answer = await within(stream.fields.get(), "the answer of the target")
        if answer is None:
            writer.transport.abort()
            http2.close()
            return
        status = dict(answer)[":status"]
        lines = [f"{name}: {value}" for name, value in answer if not name.startswith(":")]
        if status == "200":
            accept = hashlib.sha1((values["sec-websocket-key"] + _GUID).encode()).digest()
            lines += ["connection: Upgrade", "upgrade: websocket"]
            lines.append(f"sec-websocket-accept: {base64.b64encode(accept).decode()}")
            status = "101 Switching"
        writer.write("\r\n".join([f"HTTP/1.1 {status} x", *lines, "", ""]).encode())
        await self._relay(http2, stream, reader, writer)
        http2.close()


class FromHttp2(_Relay):
    """Takes tunnels over HTTP/2, and asks the target of HTTP/1 for an upgrade for each."""

    def _serving(self) -> ssl.SSLContext | None:
        if self._tls is not None:
            self._tls.set_alpn_protocols(["h2"])
        return self._tls

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        http2 = _Http2(reader, writer, client=False)
        self._start(http2.run())
        while stream := await http2.begun.get():
            self._start(self._connect(http2, stream))

    async def _connect(self, http2: _Http2, stream: _Stream) -> None:
        fields = await stream.fields.get()
        assert fields is not None
        values = dict(fields)
        assert (values[":method"], values[":protocol"]) == ("CONNECT", "websocket")
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        lines = [f"GET {values[':path']} HTTP/1.1", f"host: {values[':authority']}", "upgrade: websocket"]
        lines += ["connection: Upgrade", f"sec-websocket-key: {key}"]
        lines += [f"{name}: {value}" for name, value in fields if not name.startswith(":") and name not in _HOP]
        reader, writer = await self._open()
        writer.write("\r\n".join([*lines, "", ""]).encode())
        line, answer = await _read_head(reader)
        status = line.split(" ")[1]
        response = [(name, value) for name, value in answer if name not in _HOP]
        http2.respond(stream, [(":status", "200" if status == "101" else status), *response], end=False)
        await self._relay(http2, stream, reader, writer)


def _text(fields: Any) -> Fields:
    return [
        (name.decode() if isinstance(name, bytes) else name, value.decode() if isinstance(value, bytes) else value)
        for name, value in fields
    ]


async def _read_head(reader: asyncio.StreamReader) -> tuple[str, Fields]:
    line, *lines = (await within(reader.readuntil(b"\r\n\r\n"), "a head"))[:-4].decode().split("\r\n")
    pairs = [text.partition(":") for text in lines]
    return line, [(name.lower(), value.strip()) for name, _, value in pairs]
