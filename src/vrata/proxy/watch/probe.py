"""One probe of one endpoint: over a connection of its own, a GET whose status counts, or the connection itself."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import dataclass
from typing import Final, cast

from vrata import __version__
from vrata.model.destination import Destination
from vrata.model.health_check import HealthCheck
from vrata.model.host import check_host, host_and_port
from vrata.model.text import check_probe_path
from vrata.net.deadlines import NEVER
from vrata.net.dial import DialError, DialStage, dial
from vrata.net.resolver import ResolvesNames
from vrata.net.upstream_tls import UpstreamTls, upstream_tls
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import parse_response_head

USER_AGENT: Final = f"vrata-health-check/{__version__}"

_OUR_LACK: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors that say that this machine has no more of something; the endpoint has no part in them."""
_NO_ANSWER: Final = "connection closed without an answer"
_NEWS: Final = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "connection reset",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to probe, and how."""

    host: str
    port: int
    request: bytes
    """The head of the GET; empty = connecting is all."""
    limit: float
    """Seconds for everything."""
    limit_text: str
    """The limit as it was written."""
    fallback_delay: float
    """Head start of each address of the host before the next one is tried beside it."""
    tls: UpstreamTls | None = None
    """How the connection is secured; None = not at all."""


def target(destination: Destination, check: HealthCheck, host: str, port: int) -> Target:
    """How to probe the endpoint *host*:*port* of *destination*, which names no files, as *check* says.

    Raises :class:`~vrata.net.tls_material.TlsMaterialError`, or ValueError where the request could not be written: what
    looks like a reference to a secret passes the model unseen.
    """
    stated = destination.options.tls
    tls = None if stated.mode == "none" else upstream_tls(stated, destination.host)
    fallback_delay = destination.options.timeouts.dual_stack_fallback.seconds
    request = _request(check.path, host, port) if check.type == "http" else b""
    return Target(host, port, request, check.timeout.seconds, str(check.timeout), fallback_delay, tls)


def _request(path: str, host: str, port: int) -> bytes:
    check_host(host)
    check_probe_path(path)
    authority = host_and_port(host, port)
    fields = f"Host: {authority}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n"
    return f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode("ascii")


class ProbeFailed(Exception):  # noqa: N818 - an outcome
    """The probe did not succeed; ``args[0]`` says why, for people."""


class NoResult(Exception):  # noqa: N818 - an outcome
    """The probe could not be made for lack of something on this machine; ``args[0]`` says of what."""


async def probe(target: Target, resolver: ResolvesNames) -> None:
    """Probe *target* once; *resolver* knows the addresses of names.

    Raises :class:`ProbeFailed` and :class:`NoResult`.
    """
    connection: _ProbeConnection | None = None
    try:
        async with asyncio.timeout(target.limit):
            connection = await dial(
                target.host,
                target.port,
                lambda agreed: _ProbeConnection(target.request),
                resolver=resolver,
                connect_timeout=NEVER,
                fallback_delay=target.fallback_delay,
                tls=target.tls,
            )
            if not target.request:
                return
            status = await connection.status
    except DialError as error:
        raise _outcome(error, _reason(error)) from error
    except TimeoutError:
        what = "not connected" if connection is None else "no answer"
        raise ProbeFailed(f"{what} within {target.limit_text}") from None
    finally:
        if connection is not None:
            connection.close()
    if not 200 <= status < 400:
        raise ProbeFailed(f"status {status}")


class _ProbeConnection:
    """The protocol object of a probe: sends the request, and waits for the head of the final response."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._received = b""
        self._transport = cast(asyncio.Transport, None)
        self.status: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        # A connection that comes about when the time is over is nobody's, and what becomes of it nobody wants to know.
        self.status.add_done_callback(_take_note)

    def close(self) -> None:
        """Be done with it."""
        self.status.cancel()
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._request:
            self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.status.done():
            return
        self._received += data
        try:
            while (head := parse_response_head(self._received)) is not None:
                # What it would switch to was not asked for, so a 101 is the end.
                if not head.is_informational or head.status == 101:
                    self.status.set_result(head.status)
                    return
                self._received = self._received[head.size :]
        except MalformedMessage as error:
            self.status.set_exception(ProbeFailed(error.reason))

    def eof_received(self) -> bool:
        return False

    def input_cut(self, reason: str) -> None:
        if not self.status.done():
            self.status.set_exception(ProbeFailed(reason or _NO_ANSWER))
        self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.status.done():
            self.status.set_exception(ProbeFailed(_NO_ANSWER) if exc is None else _outcome(exc, _words_of(exc)))

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass


def _take_note(status: asyncio.Future[int]) -> None:
    if not status.cancelled():
        status.exception()


def _outcome(error: BaseException, reason: str) -> ProbeFailed | NoResult:
    """What *error* makes of a probe."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _OUR_LACK:
            return NoResult(os.strerror(cause.errno).lower())
        cause = cause.__cause__ or cause.__context__
    return ProbeFailed(reason)


def _reason(error: DialError) -> str:
    if error.stage is DialStage.RESOLVE:
        return f"host could not be resolved: {error}"
    if error.stage is DialStage.TLS_HANDSHAKE:
        return f"TLS handshake failed: {error}"
    cause = error.__cause__
    return _words_of(cause) if isinstance(cause, Exception) else str(error)


def _words_of(error: Exception) -> str:
    """What the system says of *error*, without where it happened."""
    number = error.errno if isinstance(error, OSError) else None
    if number is None:
        return str(error) or type(error).__name__
    return _NEWS.get(number) or os.strerror(number).lower()
