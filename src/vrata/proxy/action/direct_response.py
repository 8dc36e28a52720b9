"""Answer with a fixed response."""

from __future__ import annotations

import json
from typing import Final, NoReturn

from vrata.model.direct_response import DirectResponse
from vrata.proxy.contracts import ClientRequest, LocalResponse
from vrata.wire.http1.status import has_no_body

_HTML: Final = ("<!doctype html", "<html")
_RESET_CONTENT: Final = 205


class DirectResponseAction:
    """One route's direct response, made once.

    The listener adds what every response of our own has, the Content-Length among it, and leaves the body out where
    the method is HEAD. Statuses that cannot have a body (RFC 9110 §15.3.5, §15.3.6, §15.4.5) lose it here.
    """

    __slots__ = ("response",)

    def __init__(self, entity: DirectResponse) -> None:
        body = entity.body
        if not body or has_no_body(entity.status) or entity.status == _RESET_CONTENT:
            self.response = LocalResponse(entity.status, b"", b"")
        else:
            fields = b"content-type: " + content_type(body) + b"\r\n"
            self.response = LocalResponse(entity.status, fields, body.encode())

    def run(self, request: ClientRequest, match: object, content: bytes, end: bool) -> None:
        """Answer *request*, whatever its content."""
        request.respond(self.response)


def content_type(body: str) -> bytes:
    """Return the media type of *body*: JSON if it is a JSON text, HTML if it begins as a document, else plain text."""
    if _is_json(body):
        return b"application/json"
    if body.lstrip()[: len(_HTML[0])].lower().startswith(_HTML):
        return b"text/html; charset=utf-8"
    return b"text/plain; charset=utf-8"


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(constant: str) -> NoReturn:
    # Python reads NaN and Infinity, which no JSON text may hold (RFC 8259 §6).
    raise ValueError(constant)
