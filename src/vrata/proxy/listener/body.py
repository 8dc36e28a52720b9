"""What expressions see of request bodies, and the holding back of requests whose route depends on it.

Only requests that come to an expression which reads the body get here, and only as far as its answer matters.
Nothing of what was held back is lost: it goes on as the first of the request's content, whole or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import structlog

from vrata.expressions import json_object
from vrata.proxy.contracts import ClientRequest, RequestHandler

LOG_INTERVAL = 10.0
"""Seconds between two lines in the log about the bodies that are too large for one expression."""
MAX_LOGGED = 1000
"""Expressions of which it is known when they were last in the log."""

_log = structlog.get_logger("vrata.proxy.listener")

Ready = Callable[[bytes, bool], None]
"""Gets what was read of the content, and whether that is all of it."""


class SeenBody:
    """What expressions see of one request's body."""

    __slots__ = ("_decoded", "_json", "_whole", "content")

    def __init__(self, content: bytes, whole: bool) -> None:
        """*content* is its beginning, or all of it if *whole*."""
        self.content = content
        self._whole = whole
        self._decoded = False
        self._json: Mapping[str, Any] | None = None

    def json(self, content_type: str | None) -> Mapping[str, Any] | None:
        """The JSON object in a whole body that says by its *content_type* to be JSON; None when there is none."""
        if not self._decoded:
            self._decoded = True
            if self._whole and content_type is not None and content_type.lower().startswith("application/json"):
                self._json = json_object(self.content)
        return self._json


class ObservedRequest(ClientRequest, Protocol):
    """A request whose body expressions may see."""

    def seen(self, body: SeenBody) -> None:
        """Expressions see *body*."""
        ...

    def invite_body(self) -> None:
        """Tell the client, which waits for that, to send its body."""
        ...


class BodyGate:
    """Lets requests pass when enough is known of their bodies. There is one for a data plane."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        """Expressions see *limit* bytes of a body; 0 = nothing. *clock* gives the time in seconds."""
        self._limit = limit
        self._clock = clock
        self._logged: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<BodyGate {self._limit} bytes>"

    def hold_back(self, request: ObservedRequest, content: bytes, end: bool, expression: str, ready: Ready) -> None:
        """Call *ready* once *expression* can see the body of *request*, which begins with *content*."""
        if end or not self._limit or len(content) > self._limit:
            self.let_pass(request, content, end, expression, ready)
        else:
            HeldBack(self, request, self._limit, expression, ready).start(content)

    def let_pass(self, request: ObservedRequest, content: bytes, end: bool, expression: str, ready: Ready) -> None:
        """Enough of the body is known."""
        limit = self._limit
        whole = end and len(content) <= limit
        request.seen(SeenBody(content if whole else content[:limit], whole))
        if limit and not whole:
            self._warn(expression)
        ready(content, end)

    def _warn(self, expression: str) -> None:
        now = self._clock()
        if now - self._logged.get(expression, -LOG_INTERVAL) < LOG_INTERVAL:
            return
        if len(self._logged) >= MAX_LOGGED:
            self._logged.clear()
        self._logged[expression] = now
        _log.warning("body larger than celBodyMaxSize", expression=expression, limit=self._limit)


class HeldBack(RequestHandler):
    """One request whose body is being read, until it is complete or longer than expressions see."""

    __slots__ = ("_client_full", "_content", "_end", "_expression", "_gate", "_limit", "_ready", "_request", "_size")

    def __init__(self, gate: BodyGate, request: ObservedRequest, limit: int, expression: str, ready: Ready) -> None:
        self._gate = gate
        self._request = request
        self._limit = limit
        self._expression = expression
        self._ready = ready
        self._content: list[bytes] = []
        self._size = 0
        self._end = False
        self._client_full = False

    def __repr__(self) -> str:
        return f"<HeldBack {self._request!r} at {self._size} bytes>"

    def start(self, content: bytes) -> None:
        """Wait for what follows *content*."""
        self._content.append(content)
        self._size = len(content)
        self._request.handled_by(self)
        if self._request.head.expects_continue and not content:
            self._request.invite_body()

    def on_request_body(self, content: bytes, end: bool) -> None:
        """More of the content has come."""
        self._content.append(content)
        self._size += len(content)
        self._end = end
        self._go_on()

    def on_tunnel_data(self, data: bytes, end: bool) -> None:
        """There is no tunnel before there is a response."""

    def on_client_gone(self) -> None:
        """Nobody wants an answer."""
        self._content.clear()

    def pause_response(self) -> None:
        """The client does not even take what was sent before: a response would pile up here."""
        self._client_full = True

    def resume_response(self) -> None:
        """The client has caught up."""
        self._client_full = False
        self._request.resume_body()
        self._go_on()

    def _go_on(self) -> None:
        if not self._end and self._size <= self._limit:
            return
        if self._client_full:
            self._request.pause_body()
            return
        content = b"".join(self._content)
        self._content.clear()
        self._gate.let_pass(self._request, content, self._end, self._expression, self._ready)
