"""One side of an HTTP/2 connection that does as a test says, right or wrong, and waits for frames until a deadline.

By itself it does only what keeps a connection going: it acknowledges settings and pings, and renews windows. Each of
that can be turned off.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import hpack

from tests.support import http2_frames as frames
from tests.support.http2_frames import Code, Frame, FrameReader, Kind, Setting

TIMEOUT = 30.0
"""Seconds that whatever is awaited may take before the test fails."""

Fields = tuple[tuple[bytes, bytes], ...]
"""Names and values in the order of the block."""


class PeerGone(AssertionError):  # noqa: N818 - it names what happened
    """The other side ended the connection while something else was awaited."""


@dataclass(slots=True)
class Message:
    """What has come on a stream so far."""

    informational: list[Fields] = field(default_factory=list)
    fields: Fields = ()
    content: bytes = b""
    trailers: Fields = ()
    ended: bool = False
    """END_STREAM has come."""
    reset: int | None = None
    """The code of a RST_STREAM."""
    sizes: list[int] = field(default_factory=list)
    """Bytes of content in each DATA frame."""

    @property
    def is_over(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def status(self) -> int:
        """Of the final response; 0 when none has come."""
        return int(self.value(b":status") or 0)

    def all(self, name: bytes) -> list[bytes]:
        """Every value of the field *name*, in order."""
        return [value for found, value in self.fields if found == name]

    def value(self, name: bytes) -> bytes:
        """The only value of the field *name*, empty when it is missing."""
        values = self.all(name)
        assert len(values) < 2, self.fields
        return values[0] if values else b""


class Http2Peer:
    """The connection of *sock*; a context manager that closes it."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.acknowledges = True
        """Acknowledge SETTINGS."""
        self.renews = True
        """Let the peer send as much as it likes."""
        self.received: list[Frame] = []
        self.settings: dict[int, int] = {}
        """Of the other side, as far as they have come."""
        self.settings_acknowledged = 0
        """How many of our SETTINGS the other side has acknowledged."""
        self.messages: dict[int, Message] = {}
        """By stream."""
        self.ended = ""
        """How the other side ended the connection, ``closed`` or ``reset``; empty while it has not."""
        self._reader = FrameReader()
        self._block = b""

    @classmethod
    def connect(cls, port: int, *, tls: ssl.SSLContext | None = None, name: str = "proxy.test") -> Self:
        """A client's side, which has sent nothing yet."""
        sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            sock = tls.wrap_socket(sock, server_hostname=name)
        return cls(sock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    # to send

    def send(self, *parts: bytes) -> None:
        """Send bytes as they are; when the other side has gone, the reader will notice."""
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self.sock.sendall(b"".join(parts))

    def start(self, settings: Mapping[int, int] | None = None) -> None:
        """A client's beginning: the preface and SETTINGS both ways, each acknowledged (RFC 9113 §3.4)."""
        self.send(frames.PREFACE, frames.settings(settings))
        self.await_settings()

    def read_http1_head(self) -> bytes:
        """The head of a response in HTTP/1; what follows it is taken for frames."""
        data = b""
        while b"\r\n\r\n" not in data:
            part = self.sock.recv(65536)
            if not part:
                raise PeerGone(f"the peer closed after {data!r}")
            data += part
        head, _, rest = data.partition(b"\r\n\r\n")
        self._reader.feed(rest)
        return head

    def await_settings(self) -> None:
        """Return when the other side's SETTINGS have come and ours are acknowledged."""
        self.await_that(lambda: bool(self.settings_acknowledged and self._frames(Kind.SETTINGS)), "SETTINGS and ACK")

    def block(self, fields: Iterable[tuple[bytes | str, bytes | str]]) -> bytes:
        """*fields* in HPACK, none of them checked."""
        return self.encoder.encode([(_bytes(name), _bytes(value)) for name, value in fields])

    def request_fields(
        self, *extra: tuple[bytes | str, bytes | str], method: str = "GET", path: str = "/", scheme: str = "http"
    ) -> list[tuple[bytes | str, bytes | str]]:
        """The fields of a request, the pseudo-header fields first."""
        return [(":method", method), (":scheme", scheme), (":authority", "proxy.test"), (":path", path), *extra]

    def request_frame(
        self,
        stream: int,
        *extra: tuple[bytes | str, bytes | str],
        method: str = "GET",
        path: str = "/",
        end: bool = True,
        flags: int = 0,
        prefix: bytes = b"",
    ) -> bytes:
        """The HEADERS frame of a request that is as it should be; to be sent next, for HPACK counts on that."""
        block = self.block(self.request_fields(*extra, method=method, path=path))
        return frames.headers(stream, block, end=end, flags=flags, prefix=prefix)

    def request(
        self,
        stream: int,
        *extra: tuple[bytes | str, bytes | str],
        method: str = "GET",
        path: str = "/",
        end: bool = True,
    ) -> None:
        """Begin a request that is as it should be."""
        self.send(self.request_frame(stream, *extra, method=method, path=path, end=end))

    def head(self, stream: int, fields: Iterable[tuple[bytes | str, bytes | str]], *, end: bool = True) -> None:
        """Send *fields* in one HEADERS frame."""
        self.send(frames.headers(stream, self.block(fields), end=end))

    def exchange(self, stream: int, *extra: tuple[bytes | str, bytes | str], method: str = "GET") -> Message:
        """A request without content and its response."""
        self.request(stream, *extra, method=method)
        return self.await_message(stream)

    # to receive

    def next_frame(self, deadline: float) -> Frame | None:
        """The next frame, after what is to be done about it; ``None`` when the other side has ended the connection.

        Raises ``AssertionError`` at the *deadline*, on the monotonic clock.
        """
        while (found := self._reader.next()) is None:
            left = deadline - time.monotonic()
            assert left > 0, f"nothing more within {TIMEOUT:g} s after {[str(frame) for frame in self.received]}"
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(1 << 18)
            except TimeoutError:
                continue
            except ConnectionError:
                self.ended = self.ended or "reset"
                return None
            if not data:
                self.ended = self.ended or "closed"
                return None
            self._reader.feed(data)
        self.received.append(found)
        self._take(found)
        return found

    def await_that(self, condition: Callable[[], bool], what: str) -> None:
        """Read until *condition* holds. Raises :class:`PeerGone` when the connection ends before."""
        deadline = time.monotonic() + TIMEOUT
        while not condition():
            if self.next_frame(deadline) is None:
                raise PeerGone(f"the peer {self.ended} the connection before {what}: {self._seen()}")

    def await_frame(self, kind: Kind, stream: int | None = None, *, after: int = 0) -> Frame:
        """The first frame of that kind (on that stream), passing over *after* frames."""

        def found() -> list[Frame]:
            return [one for one in self._frames(kind) if stream is None or one.stream == stream][after:]

        self.await_that(lambda: bool(found()), f"{kind.name} on stream {stream}")
        return found()[0]

    def await_message(self, stream: int) -> Message:
        """The response or the request on *stream*, whole or cut."""
        message = self.message(stream)
        self.await_that(lambda: message.is_over, f"the end of stream {stream}")
        return message

    def await_head(self, stream: int) -> Message:
        """The message on *stream* as soon as its final head is there."""
        message = self.message(stream)
        self.await_that(lambda: bool(message.fields) or message.is_over, f"a head on stream {stream}")
        return message

    def await_end(self) -> str:
        """Read until the other side ends the connection: ``closed`` or ``reset``."""
        deadline = time.monotonic() + TIMEOUT
        while self.next_frame(deadline) is not None:
            pass
        return self.ended

    def round_trip(self, content: bytes = b"a barrier") -> None:
        """Return when the other side has dealt with everything sent before. Raises :class:`PeerGone`."""
        content = content[:8].ljust(8)
        before = len(self._pongs(content))
        self.send(frames.ping(content))
        self.await_that(lambda: len(self._pongs(content)) > before, "the answer to a PING")

    @property
    def goodbye(self) -> Frame | None:
        """The last GOAWAY that has come."""
        found = self._frames(Kind.GOAWAY)
        return found[-1] if found else None

    def message(self, stream: int) -> Message:
        """What has come on *stream* so far."""
        return self.messages.setdefault(stream, Message())

    def _seen(self) -> list[str]:
        return [str(found) for found in self.received]

    def _frames(self, kind: Kind) -> list[Frame]:
        return [found for found in self.received if found.kind == kind]

    def _pongs(self, content: bytes) -> list[Frame]:
        return [found for found in self._frames(Kind.PING) if found.is_ack and found.payload == content]

    def _take(self, found: Frame) -> None:
        match found.kind:
            case Kind.SETTINGS if found.is_ack:
                self.settings_acknowledged += 1
            case Kind.SETTINGS:
                self.settings.update(found.settings)
                if self.acknowledges:
                    self.encoder.header_table_size = min(4096, self.settings.get(Setting.HEADER_TABLE_SIZE, 4096))
                    self.send(frames.settings_ack())
            case Kind.PING if not found.is_ack:
                self.send(frames.ping(found.payload, ack=True))
            case Kind.DATA:
                message = self.message(found.stream)
                message.content += found.content
                message.sizes.append(len(found.content))
                message.ended |= found.ends_stream
                if self.renews and found.payload:
                    size = len(found.payload)
                    self.send(frames.window_update(0, size))
                    if not found.ends_stream:
                        self.send(frames.window_update(found.stream, size))
            case Kind.RST_STREAM:
                self.message(found.stream).reset = found.code
            case Kind.HEADERS | Kind.CONTINUATION:
                self._take_block(found)

    def _take_block(self, found: Frame) -> None:
        self._block += found.content if found.kind == Kind.HEADERS else found.payload
        message = self.message(found.stream)
        ends = found.ends_stream
        if found.flags & frames.END_HEADERS:
            block, self._block = self._block, b""
            fields = tuple((_bytes(name), _bytes(value)) for name, value in self.decoder.decode(block, raw=True))
            if message.fields:
                message.trailers = fields
            elif dict(fields).get(b":status", b"").startswith(b"1"):
                message.informational.append(fields)
            else:
                message.fields = fields
        # A head in several frames is complete, and with it the message, before anything else can come.
        message.ended |= ends


def describe(code: int) -> str:
    """The name of an error code."""
    return Code(code).name if code in set(Code) else f"{code:#x}"


def _bytes(text: bytes | str) -> bytes:
    return text.encode("latin-1") if isinstance(text, str) else text
