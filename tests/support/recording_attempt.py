"""The owner of an attempt that only remembers what it was told."""

from __future__ import annotations

import asyncio

from vrata.proxy.contracts import FailureClass
from vrata.wire.http1.head import ResponseHead

TIMEOUT = 30.0
"""Seconds that any single wait may take before the test fails."""


class RecordingAttempt:
    """Implements ``AttemptOwner``."""

    def __init__(self) -> None:
        self.informational: list[int] = []
        self.status = 0
        self.content = b""
        self.trailers = b""
        self.ends = 0
        """How often the attempt ended, by completion or failure."""
        self.failure: FailureClass | None = None
        self.detail = ""
        self.requests_sent = 0
        self.full = False
        self._changed = asyncio.Event()

    async def until_ended(self) -> None:
        while not self.ends:
            await self._change()

    async def until_content(self, size: int) -> None:
        while len(self.content) < size:
            await self._change()

    async def until_request_sent(self) -> None:
        while not self.requests_sent:
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await asyncio.wait_for(self._changed.wait(), TIMEOUT)

    def on_informational(self, head: ResponseHead) -> None:
        self.informational.append(head.status)
        self._changed.set()

    def on_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        assert not self.status
        self.status = head.status
        self.on_response_content(content, end, trailers)

    def on_response_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        assert end or not trailers
        self.content += content
        self.trailers += trailers
        self.ends += end
        self._changed.set()

    def on_tunnel_end(self) -> None:
        self.ends += 1
        self._changed.set()

    def on_attempt_failed(self, failure_class: FailureClass, detail: str) -> None:
        self.failure = failure_class
        self.detail = detail
        self.ends += 1
        self._changed.set()

    def on_request_sent(self) -> None:
        self.requests_sent += 1
        self._changed.set()

    def on_upstream_full(self) -> None:
        self.full = True
        self._changed.set()

    def on_upstream_ready(self) -> None:
        self.full = False
        self._changed.set()
