"""Answers of gRPC as a backend of HTTP/1 writes them: the proxy treats a head alike, however it came."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from tests.support.raw_http import Response
from tests.support.retries import Answer
from tests.support.staged_backend import ReceivedRequest, StagedConnection
from tests.support.stream_client import within

CALL = ("Content-Type: application/grpc", "TE: trailers")
"""The fields of a call."""
MESSAGE = b"\0\0\0\0\2ok"
"""A message in its frame."""

_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ntransfer-encoding: chunked\r\n\r\n"


def status_alone(code: int) -> Answer:
    """A response that has nothing but a status (Trailers-Only)."""

    async def answer(connection: StagedConnection, found: ReceivedRequest) -> None:
        await connection.read_body(found)
        connection.respond(b"", "Content-Type: application/grpc", f"grpc-status: {code}")

    return answer


def streamed(code: int, *messages: bytes, release: asyncio.Event | None = None) -> Answer:
    """A response with *messages*, and a status behind them, once it is *released*."""

    async def answer(connection: StagedConnection, found: ReceivedRequest) -> None:
        await connection.read_body(found)
        end = b"0\r\ngrpc-status: %d\r\n\r\n" % code
        if release is None:
            connection.send(_begun(messages) + end)
            return
        connection.send(_begun(messages))
        await within(release.wait(), "the test releases the status")
        connection.send(end)

    return answer


def cut(release: asyncio.Event, *messages: bytes) -> Answer:
    """A response that begins with *messages*, and ends with a reset of the connection, once it is *released*."""

    async def answer(connection: StagedConnection, found: ReceivedRequest) -> None:
        await connection.read_body(found)
        connection.send(_begun(messages))
        await within(release.wait(), "the test releases the reset")
        connection.reset()
        raise EOFError

    return answer


def _begun(messages: Iterable[bytes]) -> bytes:
    return _HEAD + b"".join(b"%x\r\n%s\r\n" % (len(message), message) for message in messages)


def status_of(response: Response) -> tuple[int, str]:
    """The code and the message of a response that has nothing else."""
    assert (response.status, response["content-type"], response.body) == (200, "application/grpc", b"")
    return int(response["grpc-status"]), response["grpc-message"]
