"""One probe of one endpoint: over a connection of its own, a GET whose status counts, a call of gRPC whose answer does,
or the connection itself.
"""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import dataclass
from typing import Final

from vrata import __version__
from vrata.model.destination import Destination
from vrata.model.health_check import HealthCheck
from vrata.model.host import check_host, host_and_port
from vrata.model.text import check_probe_path, check_service_name
from vrata.net.deadlines import NEVER
from vrata.net.dial import DialError, DialStage, dial
from vrata.net.resolver import ResolvesNames
from vrata.net.upstream_tls import HTTP2, UpstreamTls, upstream_tls
from vrata.policy import grpc_status
from vrata.proxy.watch import grpc_health
from vrata.proxy.watch.probe_connection import Answer, Http1Probe, Http2Probe, NoAnswer, ProbeConnection

USER_AGENT: Final = f"vrata-health-check/{__version__}"

_OUR_LACK: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""Errors that say that this machine has no more of something; the endpoint has no part in them."""
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
    """The head of the request; empty = connecting is all."""
    limit: float
    """Seconds for everything."""
    limit_text: str
    """The limit as it was written."""
    fallback_delay: float
    """Head start of each address of the host before the next one is tried beside it."""
    tls: UpstreamTls | None = None
    """How the connection is secured; None = not at all."""
    http2: bool = False
    """The request is one of HTTP/2, over TLS if the endpoint agrees to that."""
    message: bytes = b""
    """What the call of gRPC says, which the request then is; empty = it is a GET."""


def target(destination: Destination, check: HealthCheck, host: str, port: int) -> Target:
    """How to probe the endpoint *host*:*port* of *destination*, which names no files, as *check* says.

    Raises :class:`~vrata.net.tls_material.TlsMaterialError`, or ValueError where the request could not be written: what
    looks like a reference to a secret passes the model unseen.
    """
    options = destination.options
    stated = options.tls
    tls = None if stated.mode == "none" else upstream_tls(stated, destination.host, http2=options.http2)
    request = message = b""
    if check.type == "http":
        request = _request(check.path, host, port)
    elif check.type == "grpc":
        if check.service:
            check_service_name(check.service)
        request, message = _call(host, port), grpc_health.encode_request(check.service)
    return Target(
        host,
        port,
        request,
        check.timeout.seconds,
        str(check.timeout),
        options.timeouts.dual_stack_fallback.seconds,
        tls,
        options.http2,
        message,
    )


def _request(path: str, host: str, port: int) -> bytes:
    check_host(host)
    check_probe_path(path)
    authority = host_and_port(host, port)
    fields = f"Host: {authority}\r\nUser-Agent: {USER_AGENT}\r\nAccept: */*\r\nConnection: close\r\n"
    return f"GET {path} HTTP/1.1\r\n{fields}\r\n".encode("ascii")


def _call(host: str, port: int) -> bytes:
    check_host(host)
    fields = f"Host: {host_and_port(host, port)}\r\nContent-Type: application/grpc\r\nTE: trailers\r\n"
    return f"POST {grpc_health.CHECK} HTTP/1.1\r\n{fields}User-Agent: {USER_AGENT}\r\n\r\n".encode("ascii")


class ProbeFailed(Exception):  # noqa: N818 - an outcome
    """The probe did not succeed; ``args[0]`` says why, for people."""


class NoResult(Exception):  # noqa: N818 - an outcome
    """The probe could not be made for lack of something on this machine; ``args[0]`` says of what."""


async def probe(target: Target, resolver: ResolvesNames) -> None:
    """Probe *target* once; *resolver* knows the addresses of names.

    Raises :class:`ProbeFailed` and :class:`NoResult`.
    """
    connection: ProbeConnection | None = None
    try:
        async with asyncio.timeout(target.limit):
            connection = await dial(
                target.host,
                target.port,
                lambda agreed: _connection(target, agreed),
                resolver=resolver,
                connect_timeout=NEVER,
                fallback_delay=target.fallback_delay,
                tls=target.tls,
            )
            if not target.request:
                return
            answer = await connection.answer
    except DialError as error:
        raise _outcome(error, _reason(error)) from error
    except NoAnswer as error:
        cause = error.__cause__
        raise _outcome(error, _words_of(cause) if isinstance(cause, Exception) else str(error)) from error
    except TimeoutError:
        what = "not connected" if connection is None else "no answer"
        raise ProbeFailed(f"{what} within {target.limit_text}") from None
    finally:
        if connection is not None:
            connection.close()
    reason = _complaint(answer) if target.message else ("" if 200 <= answer.status < 400 else f"status {answer.status}")
    if reason:
        raise ProbeFailed(reason)


def _connection(target: Target, agreed: str) -> ProbeConnection:
    """Speak what was *agreed* on by ALPN; in clear, what the destination says is known. No request, no word."""
    if not target.request:
        return Http1Probe(b"")
    if target.http2 and (target.tls is None or agreed == HTTP2):
        return Http2Probe(target.request, target.message, b"http" if target.tls is None else b"https")
    if target.message:
        return Http1Probe(b"", "HTTP/2 was not agreed on")
    return Http1Probe(target.request)


def _complaint(answer: Answer) -> str:
    """What is wrong with the *answer* to a call; empty for nothing."""
    if answer.status != 200:
        return f"status {answer.status}"
    if answer.grpc_code != grpc_status.OK:
        names = grpc_status.NAMES
        if not 0 <= answer.grpc_code < len(names):
            return "no answer of gRPC"
        return f"gRPC status {names[answer.grpc_code]}"
    try:
        status = grpc_health.decode_response(answer.content)
    except grpc_health.MalformedHealthMessage as error:
        return f"malformed answer: {error}"
    if status == grpc_health.SERVING:
        return ""
    known = grpc_health.STATUSES
    return known[status] if status < len(known) else f"health status {status}"


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
