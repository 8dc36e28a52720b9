"""The pool of one endpoint as the queue of its destination sees it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from vrata.proxy.upstream.draining import Draining
from vrata.proxy.upstream.http1_connection import Http1Connection
from vrata.proxy.upstream.http2_connection import Http2Connection
from vrata.proxy.upstream.http2_stream import Http2Stream
from vrata.proxy.upstream.places import Places
from vrata.proxy.upstream.waiting import Waiting


class QueuedPool(Protocol):
    """What a queue needs of it."""

    places: Places | None
    line: OrderedDict[Waiting, None]
    idle: list[Http1Connection | Http2Connection]
    leaving: set[Http1Connection | Http2Connection]
    draining: Draining
    http2: bool
    held: int
    retired: bool

    @property
    def in_use(self) -> int: ...  # noqa: D102
    @property
    def shared(self) -> list[Http2Connection]: ...  # noqa: D102
    def drop(self, connection: Http1Connection | Http2Connection) -> None: ...  # noqa: D102
    def seek(self, waiting: Waiting) -> None: ...  # noqa: D102
    def start_dial(self, waiting: Waiting) -> None: ...  # noqa: D102
    def open(self, connection: Http2Connection) -> Http2Stream: ...  # noqa: D102
