"""What clients are told of a limit: Retry-After, and the fields of draft-ietf-httpapi-ratelimit-headers."""

from __future__ import annotations

import re
from typing import Final

from vrata.policy import grpc_status
from vrata.policy.token_bucket import TokenBucket, whole_seconds
from vrata.proxy.contracts import ClientRequest, ResponseObserver
from vrata.proxy.middleware.rejection import Rejection
from vrata.wire.http1.editing import fitted_response
from vrata.wire.http1.head import ResponseHead

MAX_KEPT: Final = 256
"""Rejections that are kept, one for each number of seconds to wait."""
_LARGEST: Final = 10**15 - 1
"""The largest integer of a structured field (RFC 9651 §3.3.1)."""
_NO_STRING: Final = re.compile(r"[^\x20-\x7e]")
"""What a string of a structured field cannot have in it (RFC 9651 §3.3.3)."""


class Announcement:
    """Tells the clients of one limit how they stand."""

    __slots__ = ("_bucket", "_is_open", "_name", "_policy", "_rejections")

    def __init__(self, name: str, bucket: TokenBucket, *, is_open: bool) -> None:
        """*name* is what clients see of the middleware. Unless it *is_open* they only learn when to try again."""
        quoted = _NO_STRING.sub("?", name).replace("\\", "\\\\").replace('"', '\\"')
        self._name = f'"{quoted}"'.encode("ascii")
        self._bucket = bucket
        self._is_open = is_open
        quota, window = min(bucket.burst, _LARGEST), whole_seconds(bucket.capacity)
        self._policy = b"ratelimit-policy: %s;q=%d;w=%d\r\n" % (self._name, quota, window)
        self._rejections: dict[int, Rejection] = {}

    def __repr__(self) -> str:
        return f"<Announcement {self._name.decode()} {self._bucket!r}>"

    def admitted(self, request: ClientRequest, missing: int) -> None:
        """*request* goes on; its bucket is full again in *missing* nanoseconds."""
        if self._is_open:
            bucket = self._bucket
            left = min(bucket.left(missing, 0), _LARGEST)
            lines = self._lines(left, whole_seconds(bucket.until_next(missing, 0)))
            request.observed_by(_Fields(lines))

    def rejection(self, missing: int) -> Rejection:
        """The answer to a request whose bucket has no token, and is full again in *missing* nanoseconds."""
        seconds = whole_seconds(self._bucket.until_next(missing, 0))
        rejection = self._rejections.get(seconds)
        if rejection is None:
            if len(self._rejections) >= MAX_KEPT:
                self._rejections.clear()
            fields = b"retry-after: %d\r\n" % seconds
            if self._is_open:
                fields += self._lines(0, seconds)
            rejection = Rejection.error(429, "rate limit exceeded", fields, grpc_status.RESOURCE_EXHAUSTED)
            self._rejections[seconds] = rejection
        return rejection

    def _lines(self, left: int, seconds: int) -> bytes:
        return b"%sratelimit: %s;r=%d;t=%d\r\n" % (self._policy, self._name, left, seconds)


class _Fields(ResponseObserver):
    """Adds lines to one response."""

    __slots__ = ("_lines",)

    def __init__(self, lines: bytes) -> None:
        self._lines = lines

    def on_response(self, head: ResponseHead) -> ResponseHead:
        """The head with the lines; an upstream that has sent as many fields as may be gets no more of them."""
        return fitted_response(head, (), self._lines)

    def on_response_end(self, size: int, complete: bool) -> None:
        """Nothing is left to do."""
