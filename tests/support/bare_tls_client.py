"""A TLS client that shows the records: it can stop within one, say goodbye, or leave without a word."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from tests.support.stream_client import reset, within


class BareTlsClient:
    """One connection to the loopback address; nothing happens on it that the test did not ask for."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        context: ssl.SSLContext,
        name: str | None = "proxy.test",
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.session = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)

    @classmethod
    async def connect(cls, port: int, context: ssl.SSLContext, *, name: str | None = "proxy.test") -> BareTlsClient:
        """Connect, without a handshake; *name* is what will be asked for in it."""
        return cls(*await asyncio.open_connection("127.0.0.1", port), context, name)

    def hello(self) -> bytes:
        """The first flight of the handshake."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.session.do_handshake()
        return self._outgoing.read()

    async def shake_hands(self) -> None:
        """Raises ``ssl.SSLError`` when it fails on this side, ``EOFError`` when the other one has closed."""
        while True:
            try:
                self.session.do_handshake()
                return
            except ssl.SSLWantReadError:
                self.send_raw(self._outgoing.read())
                await self._feed()
            finally:
                self.send_raw(self._outgoing.read())  # the last flight, or an alert

    def records(self, data: bytes) -> bytes:
        """*data* encrypted, not sent."""
        self.session.write(data)
        return self._outgoing.read()

    def send(self, data: bytes) -> None:
        """Send *data* in records of its own."""
        self.send_raw(self.records(data))

    def send_raw(self, data: bytes) -> None:
        """Send bytes that are none of TLS's business."""
        if data:
            self._writer.write(data)

    def say_goodbye(self) -> None:
        """Send close_notify; the TCP connection stays as it is."""
        with contextlib.suppress(ssl.SSLError):
            self.session.unwrap()
        self.send_raw(self._outgoing.read())

    def half_close(self) -> None:
        """End our side of the TCP connection."""
        self._writer.write_eof()

    def reset(self) -> None:
        reset(self._writer)

    def close(self) -> None:
        """Close the TCP connection without a word."""
        self._writer.close()

    async def receive(self) -> bytes:
        """What comes next, at least one byte; nothing for close_notify.

        Raises ``EOFError`` for an end without it, ``ConnectionResetError``, or ``ssl.SSLError`` for an alert.
        """
        while True:
            try:
                return self.session.read(1 << 16)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                await self._feed()

    async def receive_until(self, end: bytes) -> bytes:
        """Everything up to *end*."""
        data = b""
        while not data.endswith(end):
            more = await self.receive()
            assert more, data
            data += more
        return data

    async def receive_head(self) -> tuple[bytes, bytes]:
        """A response's head without its empty line, and what has come of its content."""
        data = b""
        while b"\r\n\r\n" not in data:
            more = await self.receive()
            assert more, data
            data += more
        head, _, content = data.partition(b"\r\n\r\n")
        return head, content

    async def receive_raw(self) -> bytes:
        """Bytes as they come, until the other side has ended the connection."""
        return await within(self._reader.read(), "the end of the connection")

    async def ending(self) -> tuple[bytes, str]:
        """Wait for the end: what came before it, and whether it was ``goodbye``, ``cut``, ``reset`` or an alert."""
        data = b""
        try:
            while more := await self.receive():
                data += more
        except EOFError:
            return data, "cut"
        except ConnectionResetError:
            return data, "reset"
        except ssl.SSLError as error:
            return data, error.reason or str(error)
        return data, "goodbye"

    async def _feed(self) -> None:
        data = await within(self._reader.read(1 << 16), "bytes from the proxy")
        if not data:
            raise EOFError
        self._incoming.write(data)
