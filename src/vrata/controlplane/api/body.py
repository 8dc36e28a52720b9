"""JSON documents in and out of the API."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from vrata.controlplane import json_text

MOST_BODY_BYTES = 16 << 20
BODY_SECONDS = 60.0


class BodyTooLargeError(Exception):
    """The request's body is larger than :data:`MOST_BODY_BYTES`."""


class BodyTooSlowError(Exception):
    """The request's body did not arrive within :data:`BODY_SECONDS`."""


class EncodedResponse(Response):
    """A JSON document that is encoded already; a newline is added."""

    media_type = "application/json"

    def __init__(self, document: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(document + b"\n", status, headers)


class JsonResponse(EncodedResponse):
    """A JSON document."""

    def __init__(self, document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(json_text.encode(document), status, headers)


async def read_body(request: Request) -> bytes:
    """The whole body.

    Its declared size is checked first, then what really arrives. Raises :class:`BodyTooLargeError`,
    :class:`BodyTooSlowError` or starlette's ``ClientDisconnect``.
    """
    declared = request.headers.get("content-length", "")
    # The server has checked that it is a number; int() refuses one of thousands of digits.
    if len(declared) > 20 or (declared and int(declared) > MOST_BODY_BYTES):
        raise BodyTooLargeError
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                body += piece
                if len(body) > MOST_BODY_BYTES:
                    raise BodyTooLargeError
    except TimeoutError:
        raise BodyTooSlowError from None
    return bytes(body)


async def read_json(request: Request) -> Any:
    """The body as one decoded JSON value. Raises ``InvalidJsonError`` too."""
    return json_text.parse(await read_body(request))
