"""Streams of one connection of HTTP/2 that both sides have ended, while the upstream has yet to take what is left."""

from __future__ import annotations

import asyncio
from typing import Final

from vrata.proxy.upstream.http2_stream import Http2Stream
from vrata.wire.http2.contract import Session

LINGER: Final = 2.0
"""Seconds in which an upstream has to take some of it."""


class LeftStreams:
    """Ends each when all of it is sent, or when the upstream has taken nothing for :data:`LINGER`."""

    def __init__(self, session: Session, loop: asyncio.AbstractEventLoop) -> None:
        self._session = session
        self._loop = loop
        self._unsent: dict[Http2Stream, int] = {}
        """What was to be sent of each when that was last looked at."""

    def __repr__(self) -> str:
        return f"<LeftStreams {len(self._unsent)}>"

    def __len__(self) -> int:
        return len(self._unsent)

    def add(self, stream: Http2Stream) -> None:
        """*stream* is left."""
        unsent = self._session.unsent(stream.number)
        if unsent:
            self._unsent[stream] = unsent
            self._loop.call_later(LINGER, self._look_after, stream)
        else:
            stream.expire()

    def forget(self, stream: Http2Stream) -> None:
        """*stream* has ended."""
        self._unsent.pop(stream, None)

    def settle(self) -> None:
        """End those of which everything is sent."""
        for stream in list(self._unsent):
            if not self._session.unsent(stream.number):
                stream.expire()

    def _look_after(self, stream: Http2Stream) -> None:
        """*stream* has had its time: it gets as much again if the upstream takes it, however slowly."""
        before = self._unsent.get(stream)
        if before is None:
            return
        unsent = self._session.unsent(stream.number)
        if unsent < before:
            self._unsent[stream] = unsent
            self._loop.call_later(LINGER, self._look_after, stream)
        else:
            stream.expire()
