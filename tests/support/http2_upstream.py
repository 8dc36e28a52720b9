"""An HTTP/2 upstream that does as a test says, right or wrong: a thread for each connection.

A *script* is a function of the connection, which has said hello both ways, and of its number, counted from 0.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from tests.support import http2_frames as frames
from tests.support.http2_frames import Kind
from tests.support.http2_peer import Http2Peer, PeerGone

Script = Callable[["UpstreamPeer", int], None]


class UpstreamPeer(Http2Peer):
    """A server's side."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._begun: set[int] = set()

    def read_preface(self) -> bytes:
        """What the client begins with, as many bytes as a preface has."""
        data = b""
        while len(data) < len(frames.PREFACE):
            part = self.sock.recv(len(frames.PREFACE) - len(data))
            if not part:
                raise PeerGone(f"the client closed after {data!r}")
            data += part
        return data

    def next_request(self) -> int:
        """The stream of the next request, when its head is there."""

        def begun() -> list[int]:
            return [stream for stream, message in self.messages.items() if message.fields and stream not in self._begun]

        self.await_that(lambda: bool(begun()), "a request")
        stream = begun()[0]
        self._begun.add(stream)
        return stream

    def respond(self, stream: int, content: bytes = b"", *extra: tuple[bytes | str, bytes | str]) -> None:
        """A response with status 200."""
        self.head(stream, [(":status", "200"), *extra], end=not content)
        if content:
            self.send(frames.data(stream, content, end=True))

    def serve(self) -> None:
        """Answer every request with its path until the client goes away."""
        while True:
            stream = self.next_request()
            self.respond(stream, self.message(stream).value(b":path"))


def serve(peer: UpstreamPeer, number: int) -> None:
    """The script of an upstream that does everything right."""
    peer.serve()


class Http2Upstream:
    """Listens on an ephemeral loopback port from construction to :meth:`close`; a context manager."""

    def __init__(
        self,
        script: Script = serve,
        *,
        settings: Mapping[int, int] | None = None,
        tls: ssl.SSLContext | None = None,
        greets: bool = True,
    ) -> None:
        """*greets*: send SETTINGS and read the preface before the script runs."""
        self.script = script
        self.errors: list[BaseException] = []
        """What scripts have raised, but for a client that went away."""
        self.peers: list[UpstreamPeer] = []
        """Every connection there was."""
        self._settings = settings
        self._tls = tls
        self._greets = greets
        self._closing = False
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every connection and wait for the threads. Raises the first of :attr:`errors`."""
        self._closing = True
        for sock in (self._listener, *(peer.sock for peer in self.peers)):
            # Closing a socket does not wake a thread that waits for it; shutting it down does.
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(15)
        self._listener.close()
        if self.errors:
            raise self.errors[0]

    @property
    def requests(self) -> int:
        """Heads of requests that have come on all connections."""
        return sum(
            1 for peer in self.peers for frame in list(peer.received) if frame.kind == Kind.HEADERS and frame.stream
        )

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, name="http2 upstream", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._closing:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._start(self._serve, sock)

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(PeerGone, ConnectionError):
            try:
                if self._tls is not None:
                    sock = self._tls.wrap_socket(sock, server_side=True)
            except OSError:
                return
            peer = UpstreamPeer(sock)
            number = len(self.peers)
            self.peers.append(peer)
            try:
                if self._greets:
                    peer.send(frames.settings(self._settings))
                    preface = peer.read_preface()
                    assert preface == frames.PREFACE, preface
                self.script(peer, number)
            except (PeerGone, ConnectionError):
                raise
            except Exception as error:  # noqa: BLE001 - told to the test that closes this
                if not self._closing:
                    self.errors.append(error)
