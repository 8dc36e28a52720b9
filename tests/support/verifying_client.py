"""A client of faulty backends behind a proxy: it can tell the right answer from any other, and a broken one from both.

A :class:`Probe` is one request. What came of it is an *outcome*: ``whole`` (the right answer, all of it), ``broken``
(its head came, and an end that nobody takes for the end of the body), ``silent`` (the connection ended without an
answer), or status and class of an error that the proxy made, such as ``502 connection_reset``. Anything else raises
:class:`WrongAnswerError`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass
from typing import Self

from tests.support.labelled_body import WrongBodyError, check, check_beginning, content
from tests.support.raw_http import Response
from tests.support.stream_client import reset, within


class WrongAnswerError(Exception):
    """The answer is whole, and it is not the answer to this request."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One request to a :mod:`tests.support.faulty_backend`, and with it the one right answer."""

    identity: int
    fault: str = "ok"
    method: str = "GET"
    size: int = 100
    """Bytes of content in the answer."""
    framing: str = "length"
    upload: int | None = None
    """Bytes of content in the request; None for a request without a body."""
    upload_chunked: bool = False
    fields: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        return f"/{self.fault}/{self.identity:x}/{self.size}/{self.framing}"

    def head(self) -> bytes:
        """The head of the request."""
        lines = [f"{self.method} {self.target} HTTP/1.1", "Host: proxy.test", *self.fields]
        if self.upload is not None:
            lines.append("Transfer-Encoding: chunked" if self.upload_chunked else f"Content-Length: {self.upload}")
        return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"

    def body(self) -> bytes:
        """The body of the request, framed."""
        if self.upload is None:
            return b""
        data = content(self.identity, self.upload)
        if not self.upload_chunked:
            return data
        pieces = (data[at : at + 5000] for at in range(0, len(data), 5000))
        return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    def judge(self, response: Response) -> str:
        """The outcome of a whole *response*. Raises :class:`WrongAnswerError`."""
        if response.status != 200:
            return self._error(response)
        self._check_identity(response)
        if self.method == "HEAD":
            if response.body:
                raise WrongAnswerError(f"{self}: a body in answer to HEAD")
            return "whole"
        try:
            check(response.body, self.identity, self.method, self.size, self.upload or 0)
        except WrongBodyError as error:
            raise WrongAnswerError(f"{self}: {error}") from error
        return "whole"

    def judge_broken(self, head: Response, received: bytes) -> str:
        """The outcome of a response that ended within its body. Raises :class:`WrongAnswerError`."""
        if head.status != 200:
            raise WrongAnswerError(f"{self}: an error that breaks off: {head.status} {received!r}")
        self._check_identity(head)
        try:
            # A backend that answers before it has read the request does not know its size.
            upload = 0 if "mid-upload" in self.fault else self.upload or 0
            check_beginning(received, self.identity, self.method, self.size, upload)
        except WrongBodyError as error:
            raise WrongAnswerError(f"{self}: {error}") from error
        return "broken"

    def _check_identity(self, head: Response) -> None:
        if head.all("x-identity") != [f"{self.identity:x}"]:
            raise WrongAnswerError(f"{self}: answered with {head}")

    def _error(self, response: Response) -> str:
        try:
            members = json.loads(response.body)
            label, status = members["error"], members["status"]
        except (ValueError, KeyError, TypeError) as error:
            if self.method == "HEAD" and not response.body:
                return f"{response.status}"
            raise WrongAnswerError(f"{self}: {response}") from error
        if status != response.status or response.all("x-identity"):
            raise WrongAnswerError(f"{self}: {response}")
        return f"{status} {label}"


@dataclass(slots=True)
class Answer:
    """What came of a probe."""

    outcome: str
    reusable: bool
    """The connection can carry another request."""
    informational: int = 0
    """Interim responses that came before."""


class VerifyingClient:
    """One connection, asked one probe after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer
        self.asked = 0

    @classmethod
    async def connect(cls, port: int, *, receive_buffer: int = 0) -> Self:
        """Connect to the loopback address; *receive_buffer* in bytes makes the kernel hold less than it would."""
        sock = socket.socket()
        try:
            sock.setblocking(False)
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        except BaseException:
            sock.close()
            raise
        return cls(*await asyncio.open_connection(sock=sock, limit=1 << 16))

    async def ask(self, probe: Probe, *, pause: float = 0.0) -> Answer:
        """Send *probe* and judge what comes back; *pause* in seconds between head and body of the answer.

        Raises :class:`WrongAnswerError`, and ``AssertionError`` when nothing comes for a long time.
        """
        self.writer.write(probe.head() + probe.body())
        return await self.receive(probe, pause=pause)

    async def receive(self, probe: Probe, *, pause: float = 0.0) -> Answer:
        """Judge what comes back for *probe*, which has been sent."""
        self.asked += 1
        informational = 0
        try:
            head = await self._read_head(probe)
            while head is not None and 100 <= head.status < 200 and head.status != 101:
                informational += 1
                head = await self._read_head(probe)
        except OSError:
            head = None
        if head is None:
            return Answer("silent", reusable=False, informational=informational)
        if pause:
            await asyncio.sleep(pause)
        received: list[bytes] = []
        try:
            if probe.method != "HEAD":
                await self._read_body(head, received)
        except (asyncio.IncompleteReadError, OSError):
            outcome = probe.judge_broken(head, b"".join(received))
            return Answer(outcome, reusable=False, informational=informational)
        outcome = probe.judge(Response(head.status, head.reason, head.headers, b"".join(received)))
        delimited = probe.method == "HEAD" or "content-length" in head or "transfer-encoding" in head
        return Answer(
            outcome, reusable=delimited and "close" not in head.all("connection"), informational=informational
        )

    def reset(self) -> None:
        """End the connection so that the proxy sees a reset."""
        reset(self.writer)

    async def gone(self) -> None:
        """Close, and wait until that is done."""
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    async def _read_head(self, probe: Probe) -> Response | None:
        """The next head; None when the connection ends before it."""
        try:
            data = await within(self._reader.readuntil(b"\r\n\r\n"), f"a head in answer to {probe}")
        except asyncio.IncompleteReadError as cut:
            if cut.partial:
                raise WrongAnswerError(f"{probe}: the head of the answer breaks off: {cut.partial!r}") from cut
            return None
        line, *lines = data[:-4].decode("latin-1").split("\r\n")
        version, status, reason = [*line.split(" ", 2), ""][:3]
        if version != "HTTP/1.1" or len(status) != 3:
            raise WrongAnswerError(f"{probe}: {data!r}")
        pairs = [text.partition(":") for text in lines]
        return Response(int(status), reason, tuple((name.lower(), value.strip()) for name, _, value in pairs), b"")

    async def _read_body(self, head: Response, received: list[bytes]) -> None:
        """Read a body into *received*. Raises ``IncompleteReadError`` or ``OSError`` when it breaks off."""
        if "transfer-encoding" in head:
            assert head["transfer-encoding"] == "chunked"
            assert "content-length" not in head
            while size := int(await self._line(), 16):
                await self._read_content(size, received)
                assert await self._line() == b""
            assert await self._line() == b""
        elif "content-length" in head:
            await self._read_content(int(head["content-length"]), received)
        else:
            while data := await within(self._reader.read(1 << 16), "the end of a body"):
                received.append(data)

    async def _read_content(self, size: int, received: list[bytes]) -> None:
        while size:
            data = await within(self._reader.read(min(size, 1 << 16)), "a body")
            if not data:
                raise asyncio.IncompleteReadError(b"", size)
            size -= len(data)
            received.append(data)

    async def _line(self) -> bytes:
        return (await within(self._reader.readuntil(b"\r\n"), "a chunk"))[:-2]
