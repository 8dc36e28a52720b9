"""A response as a middleware sees it, or makes it."""

from __future__ import annotations

import json
from typing import Any

from vrata.middleware.headers import Headers, HeaderValues, SettableNames
from vrata.wire.http1.fields import is_settable_in_responses


class Response:
    """One response: the answer of a middleware, or what ``on_response`` gets to look at and to change.

    Raises ``ValueError`` or ``TypeError`` for a status that is none of a final response (200 to 599), and for headers
    that cannot be sent.
    """

    __slots__ = ("_body", "_has_new_body", "_headers", "_status")

    def __init__(self, status: int = 200, headers: HeaderValues = (), body: bytes | str = b"") -> None:
        self._headers = Headers()
        self._headers._names = _OWN
        for name, value in Headers(headers).fields():
            self._headers.add(name, value)
        self._status = _checked_status(status)
        self._body: bytes | None = _checked_body(body)
        self._has_new_body = True

    @classmethod
    def json(cls, data: Any, status: int = 200, headers: HeaderValues = ()) -> Response:
        """A response whose body is *data* as JSON.

        Raises ``TypeError`` or ``ValueError`` for what JSON does not have.
        """
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        response = cls(status, headers, text)
        if "content-type" not in response.headers:
            response.headers["Content-Type"] = "application/json"
        return response

    @classmethod
    def _passing(cls, status: int, headers: Headers, body: bytes | None) -> Response:
        """One that somebody else made; *body* is None where it is not at hand."""
        response = cls.__new__(cls)
        response._status = status
        response._headers = headers
        response._body = body
        response._has_new_body = False
        return response

    def __repr__(self) -> str:
        return f"<Response {self._status}>"

    @property
    def status(self) -> int:
        """The status, 200 to 599."""
        return self._status

    @status.setter
    def status(self, status: int) -> None:
        self._status = _checked_status(status)

    @property
    def headers(self) -> Headers:
        """The header fields."""
        return self._headers

    @property
    def body(self) -> bytes:
        """The whole body. Raises ``ValueError`` for another's response unless ``responseBody`` is ``buffered``."""
        if self._body is None:
            raise ValueError('the response\'s body is not at hand: the middleware needs "responseBody": "buffered"')
        return self._body

    @body.setter
    def body(self, body: bytes | str) -> None:
        if self._body is None:
            raise ValueError(
                'the response\'s body cannot be changed: the middleware needs "responseBody": "buffered", '
                "or returns a response of its own"
            )
        self._body = _checked_body(body)
        self._has_new_body = True


def _is_settable(name: str) -> bool:
    """True for what a response of the user's own may have: the gateway itself says when it answers, and who it is."""
    return is_settable_in_responses(name) and name.lower() not in ("date", "server")


_OWN = SettableNames(_is_settable)


def _checked_status(status: int) -> int:
    if type(status) is bool or not isinstance(status, int):
        raise TypeError(f"the status must be an int, not {type(status).__name__}")
    if not 200 <= status <= 599:
        raise ValueError(f"the status must be from 200 to 599, not {status}")
    return int(status)  # not http.HTTPStatus, say, which is one


def _checked_body(body: bytes | str) -> bytes:
    """The bytes of *body*; text becomes UTF-8."""
    if isinstance(body, str):
        return body.encode("utf-8")
    if not isinstance(body, bytes):
        raise TypeError(f"the body must be bytes or str, not {type(body).__name__}")
    return bytes(body)  # nothing that inherits from it
