"""A blocking HTTP/1.1 client that shows the bytes: for what a well-behaved library hides or refuses to send.

Deliberately written apart from ``vrata.wire``, so that a mistake there is not repeated here.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

TIMEOUT = 30.0
"""Seconds that any single read or write may take before the test fails."""


class TruncatedResponse(Exception):  # noqa: N818 - it names what arrived
    """The connection ended before the response was complete; ``received`` is what of its body had come."""

    def __init__(self, received: bytes) -> None:
        super().__init__(f"connection ended after {len(received)} bytes of an unfinished response")
        self.received = received


@dataclass(frozen=True, slots=True)
class Response:
    """A whole response: names of header fields as they came, values stripped."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    trailers: tuple[tuple[str, str], ...] = ()

    def all(self, name: str) -> list[str]:
        """Every value of the field *name*, in order."""
        return [value for found, value in self.headers if found.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        """The only value of the field *name*; ``KeyError`` when it is missing or there are several."""
        values = self.all(name)
        if len(values) != 1:
            raise KeyError(f"{name}: {values} in {self.headers}")
        return values[0]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self.all(name))


class Connection:
    """One client connection to *port* on the loopback address; a context manager."""

    def __init__(
        self, port: int, host: str = "127.0.0.1", *, timeout: float = TIMEOUT, tls: ssl.SSLContext | None = None
    ) -> None:
        self.sock = socket.create_connection((host, port), timeout=timeout)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname="proxy.test")
        self._buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(
        self,
        method: str,
        target: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        chunks: Iterable[bytes] | None = None,
        host: str = "proxy.test",
    ) -> None:
        """Send a request; *body* goes with a Content-Length, *chunks* in the chunked coding."""
        fields = [("Host", host), *headers]
        if body is not None:
            fields.append(("Content-Length", str(len(body))))
        if chunks is not None:
            fields.append(("Transfer-Encoding", "chunked"))
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
        self.send(head.encode("latin-1") + (body or b""))
        if chunks is not None:
            for chunk in chunks:
                self.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            self.send(b"0\r\n\r\n")

    def exchange(
        self,
        method: str,
        target: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes | None = None,
        chunks: Iterable[bytes] | None = None,
        host: str = "proxy.test",
    ) -> Response:
        """Send a request and read its final response."""
        self.request(method, target, headers=headers, body=body, chunks=chunks, host=host)
        return self.read_response(method)

    def read_response(self, method: str = "GET", *, interim: bool = False) -> Response:
        """Read one response to a request with *method*; 1xx responses are skipped unless *interim*."""
        while True:
            status, reason, headers = self.read_head()
            if interim or status >= 200 or status == 101:
                break
        found = Response(status, reason, headers, b"")
        if method == "HEAD" or status in (204, 304) or status < 200:
            return found
        trailers: tuple[tuple[str, str], ...] = ()
        if "chunked" in ",".join(found.all("Transfer-Encoding")).lower():
            body, trailers = self._read_chunked()
        elif found.all("Content-Length"):
            body = self.read_exactly(int(found["Content-Length"]))
        else:
            body = self.read_to_end()
        return Response(status, reason, headers, body, trailers)

    def read_head(self) -> tuple[int, str, tuple[tuple[str, str], ...]]:
        """Read the status line and the header section."""
        line = self._read_line().decode("latin-1")
        version, status, reason = [*line.split(" ", 2), ""][:3]
        assert version == "HTTP/1.1", line
        return int(status), reason, self._read_fields()

    def read_some(self) -> bytes:
        """Read whatever has come, at least one byte; nothing when the peer has closed."""
        data, self._buffer = self._buffer, b""
        return data or self._receive()

    def read_exactly(self, size: int) -> bytes:
        """Read *size* bytes; ``TruncatedResponse`` when the peer closes before that."""
        return b"".join(self._pieces(size))

    def read_to_end(self) -> bytes:
        """Read until the peer closes; a reset counts as the end too."""
        parts = [self._buffer]
        self._buffer = b""
        while data := self._receive():
            parts.append(data)
        return b"".join(parts)

    def is_closed_by_peer(self) -> bool:
        """Wait until the peer closes, and say whether it did so without sending anything more."""
        return self.read_to_end() == b""

    def finish_writing(self) -> None:
        """Close the sending half: nothing more will come from this side."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close so that the peer sees a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()

    def _receive(self) -> bytes:
        try:
            return self.sock.recv(1 << 18)
        except ConnectionResetError:
            return b""

    def _read_line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            data = self._receive()
            if not data:
                raise TruncatedResponse(self._buffer)
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _read_fields(self) -> tuple[tuple[str, str], ...]:
        fields = []
        while line := self._read_line().decode("latin-1"):
            name, colon, value = line.partition(":")
            assert colon, line
            fields.append((name, value.strip()))
        return tuple(fields)

    def _pieces(self, size: int) -> Iterator[bytes]:
        seen: list[bytes] = []
        while size:
            data = self._buffer[:size]
            self._buffer = self._buffer[size:]
            if not data:
                data = self._receive()
                if not data:
                    raise TruncatedResponse(b"".join(seen))
                self._buffer = data[size:]
                data = data[:size]
            size -= len(data)
            seen.append(data)
            yield data

    def _read_chunked(self) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        parts: list[bytes] = []
        try:
            while size := int(self._read_line().split(b";")[0], 16):
                parts.extend(self._pieces(size))
                assert self._read_line() == b""
            return b"".join(parts), self._read_fields()
        except TruncatedResponse as cut:
            raise TruncatedResponse(b"".join(parts)) from cut


def fetch(
    port: int,
    target: str = "/",
    *,
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    chunks: Iterable[bytes] | None = None,
    host: str = "proxy.test",
) -> Response:
    """One exchange on a connection of its own."""
    with Connection(port) as connection:
        return connection.exchange(method, target, headers=headers, body=body, chunks=chunks, host=host)
