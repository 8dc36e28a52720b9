"""The holding back of requests until expressions see of their bodies what they read.

Only requests that come to an expression which reads the body get here, and only as far as its answer matters.
Nothing of what was held back is lost: it goes on as the first of the request's content, whole or not.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from vrata.proxy.contracts import ClientRequest
from vrata.proxy.holding import BodyCollection, Ready
from vrata.proxy.seen_body import SeenBody

LOG_INTERVAL = 10.0
"""Seconds between two lines in the log about the bodies that are too large for one expression."""
MAX_LOGGED = 1000
"""Expressions of which it is known when they were last in the log."""

_log = structlog.get_logger("vrata.proxy")


class BodyGate:
    """Lets requests pass when enough is known of their bodies. There is one for a data plane."""

    def __init__(self, limit: int, clock: Callable[[], float]) -> None:
        """Expressions see *limit* bytes of a body; 0 = nothing. *clock* gives the time in seconds."""
        self._limit = limit
        self._clock = clock
        self._logged: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"<BodyGate {self._limit} bytes>"

    def hold_back(self, request: ClientRequest, content: bytes, end: bool, expression: str, ready: Ready) -> None:
        """Call *ready* once *expression* can see the body of *request*, which begins with *content*."""
        if end or not self._limit or len(content) > self._limit:
            self.let_pass(request, expression, ready, content, end)
        else:
            BodyCollection(request, content, self._limit, partial(self.let_pass, request, expression, ready)).start()

    def let_pass(self, request: ClientRequest, expression: str, ready: Ready, content: bytes, end: bool) -> None:
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
