"""A backend that keeps every byte of every connection, and answers what h11 takes for a request."""

from __future__ import annotations

import asyncio
from typing import cast

import h11

from tests.robustness.case import Answering


class RecordingUpstream:
    """Listens on an ephemeral loopback port from :meth:`start` to :meth:`stop`.

    The answer to a request says which one it was: method, target and the number of the body's bytes.
    """

    def __init__(self) -> None:
        self.answering = Answering.AFTER_THE_MESSAGE
        self.port = 0
        self.open = 0
        """Connections that neither side has ended."""
        self._touched: list[_Connection] = []
        """Connections with bytes since the last :meth:`take`, in order of the first of them."""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def take(self) -> list[bytes]:
        """What came since the last call, one item per connection."""
        taken = [connection.take() for connection in self._touched]
        self._touched.clear()
        return taken

    def touched(self, connection: _Connection) -> None:
        """*connection* has its first bytes since the last :meth:`take`."""
        self._touched.append(connection)


class _Connection(asyncio.Protocol):
    def __init__(self, upstream: RecordingUpstream) -> None:
        self._upstream = upstream
        self._transport = cast(asyncio.Transport, None)
        self._received: list[bytes] = []
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._request: h11.Request | None = None
        self._size = 0

    def take(self) -> bytes:
        data = b"".join(self._received)
        self._received.clear()
        return data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._upstream.open += 1

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.open -= 1

    def data_received(self, data: bytes) -> None:
        if not self._received:
            self._upstream.touched(self)
        self._received.append(data)
        try:
            self._parser.receive_data(data)
            self._read()
        except h11.RemoteProtocolError:
            self._transport.close()  # the readers will say so too

    def _read(self) -> None:
        while True:
            event = self._parser.next_event()
            match event:
                case h11.Request():
                    self._request, self._size = event, 0
                    if self._upstream.answering is Answering.AFTER_THE_HEAD:
                        self._answer(event)
                case h11.Data():
                    self._size += len(event.data)
                case h11.EndOfMessage():
                    assert self._request is not None
                    if self._parser.our_state is not h11.DONE:
                        self._answer(self._request)
                    self._parser.start_next_cycle()
                case _:
                    return

    def _answer(self, request: h11.Request) -> None:
        body = b"%b %b %d" % (request.method, request.target, self._size)
        head = h11.Response(status_code=200, headers=[(b"content-length", b"%d" % len(body))])
        data = [self._parser.send(head)]
        if request.method != b"HEAD":
            data.append(self._parser.send(h11.Data(data=body)))
        data.append(self._parser.send(h11.EndOfMessage()))
        self._transport.write(b"".join(part for part in data if part))
