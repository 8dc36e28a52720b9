"""An HTTP/1.1 backend that records what reached it and answers as a test tells it to, wrongly if need be.

Each connection has a thread. A *script* is a function from an :class:`Exchange` (the request, and the means to answer
it) to nothing; without one, requests are answered with a JSON description of themselves.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from io import BufferedReader
from types import TracebackType
from typing import Any, Self


@dataclass(slots=True)
class Exchange:
    """One request as it arrived, and its connection."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    trailers: tuple[tuple[str, str], ...]
    connection: int
    """Which connection of the backend it came on, counted from 0."""
    backend: str
    _sock: socket.socket = field(repr=False)
    _stream: BufferedReader = field(repr=False)
    closed: bool = False

    @property
    def is_connected(self) -> bool:
        """Whether neither side has closed the connection yet, as the kernel knows it."""
        try:
            state = self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
        except OSError:
            return False
        return state == b"\x01"

    def all(self, name: str) -> list[str]:
        """Every value of the header field *name*, in order."""
        return [value for found, value in self.headers if found.lower() == name.lower()]

    def respond(self, status: int = 200, *, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> None:
        """Send a complete response with a Content-Length."""
        fields = [*headers, ("Content-Length", str(len(body)))]
        self.send_head(status, fields)
        if self.method != "HEAD":
            self.send(body)

    def send_head(self, status: int, headers: Iterable[tuple[str, str]] = ()) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
        self.send(f"HTTP/1.1 {status} Scripted\r\n{lines}\r\n".encode("latin-1"))

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def receive(self) -> bytes:
        """Read whatever comes next, past the request; nothing when the peer has closed."""
        return self._stream.read1(1 << 18)

    def finish_writing(self) -> None:
        """Say that nothing more will come; then read and drop what still arrives until the peer closes."""
        self._sock.shutdown(socket.SHUT_WR)
        self.await_end()

    def await_end(self) -> None:
        """Read and drop until the peer closes."""
        self.closed = True
        with contextlib.suppress(ConnectionResetError):
            while self._sock.recv(1 << 18):
                pass

    def close(self) -> None:
        """End the connection in order."""
        self.closed = True
        self._sock.close()

    @property
    def session(self) -> ssl.SSLSocket:
        """What the handshake came to, over TLS; a :meth:`close` then says no goodbye."""
        assert isinstance(self._sock, ssl.SSLSocket)
        return self._sock

    def say_goodbye(self) -> None:
        """Over TLS, say that nothing more will come, wait for the answer to that, and close."""
        self.session.unwrap()
        self.close()

    def reset(self) -> None:
        """End the connection with a reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.close()


Script = Callable[[Exchange], None]


def echo(exchange: Exchange) -> None:
    """Answer with what was received, as JSON."""
    document = {
        "backend": exchange.backend,
        "method": exchange.method,
        "target": exchange.target,
        "headers": [list(pair) for pair in exchange.headers],
        "bodySize": len(exchange.body),
        "bodyDigest": hashlib.sha256(exchange.body).hexdigest(),
    }
    exchange.respond(headers=[("Content-Type", "application/json")], body=json.dumps(document).encode())


class RecordingBackend:
    """Listens on an ephemeral loopback port from construction to :meth:`close`; a context manager.

    With *reads_bodies* false the script runs as soon as the head of a request is there, and what follows the head is
    left unread. With *tls* it speaks TLS.
    """

    def __init__(
        self,
        name: str = "backend",
        script: Script = echo,
        *,
        reads_bodies: bool = True,
        address: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self.script = script
        self.tls = tls
        self.handshake_errors: list[str] = []
        """Why handshakes have failed, as seen from here."""
        self.resumed: list[bool] = []
        """Of each handshake that has not failed, whether it resumed a session."""
        self.certificates: dict[int, Mapping[str, Any]] = {}
        """By connection: the certificate that was shown in the handshake; empty when none was asked for."""
        self._reads_bodies = reads_bodies
        self.requests: list[Exchange] = []
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._listener = socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=512
        )
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, end every connection, and wait for the threads."""
        self._closing = True
        # Closing a socket does not wake a thread that waits in accept() or recv(); shutting it down does.
        _shut_down(self._listener)
        with self._lock:
            for sock in self._connections:
                _shut_down(sock)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    @property
    def connections(self) -> int:
        """How many connections were ever accepted."""
        return len(self._connections)

    def forget(self) -> None:
        """Drop the record and go back to echoing."""
        self.requests = []
        self.script = echo

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name=f"backend {self.name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                number = len(self._connections)
                self._connections.append(sock)
            self._start(self._serve, sock, number)

    def _serve(self, sock: socket.socket, number: int) -> None:
        if self.tls is None:
            self._serve_requests(sock, number)
            return
        try:
            secured = self.tls.wrap_socket(sock, server_side=True)
        except OSError as error:
            self.handshake_errors.append(getattr(error, "reason", None) or str(error))
            sock.close()
            return
        with self._lock:
            self._connections[number] = secured
        self.resumed.append(secured.session_reused is True)
        self.certificates[number] = secured.getpeercert() or {}
        self._serve_requests(secured, number)

    def _serve_requests(self, sock: socket.socket, number: int) -> None:
        with sock, sock.makefile("rb") as stream:
            while not self._closing:
                try:
                    exchange = self._read(sock, stream, number)
                    if exchange is None:
                        return
                    self.requests.append(exchange)
                    self.script(exchange)
                except (OSError, ValueError):
                    return  # the peer went away, or the script closed the connection
                if exchange.closed:
                    return

    def _read(self, sock: socket.socket, stream: BufferedReader, number: int) -> Exchange | None:
        line = stream.readline().decode("latin-1")
        if not line:
            return None
        method, target, _ = line.split(" ", 2)
        headers = _read_fields(stream)
        if not self._reads_bodies:
            return Exchange(method, target, headers, b"", (), number, self.name, sock, stream)
        lowered = {name.lower(): value for name, value in headers}
        if lowered.get("expect", "").lower() == "100-continue":
            sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        trailers: tuple[tuple[str, str], ...] = ()
        if "chunked" in lowered.get("transfer-encoding", "").lower():
            parts = []
            while size := int(stream.readline().split(b";")[0], 16):
                parts.append(_read_exactly(stream, size))
                stream.readline()
            body, trailers = b"".join(parts), _read_fields(stream)
        else:
            body = _read_exactly(stream, int(lowered.get("content-length", "0")))
        return Exchange(method, target, headers, body, trailers, number, self.name, sock, stream)


def _read_fields(stream: BufferedReader) -> tuple[tuple[str, str], ...]:
    fields = []
    while line := stream.readline().decode("latin-1").rstrip("\r\n"):
        name, _, value = line.partition(":")
        fields.append((name, value.strip()))
    return tuple(fields)


def _read_exactly(stream: BufferedReader, size: int) -> bytes:
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("the request ended early")
    return data


def _shut_down(sock: socket.socket) -> None:
    # An OSError: already closed, or never connected.
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
