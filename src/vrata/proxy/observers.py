"""Those who see, and may change, the head of a request's final response, whoever makes it, and are told of its end."""

from __future__ import annotations

import structlog

from vrata.proxy.contracts import ResponseObserver
from vrata.wire.http1.head import ResponseHead

_log = structlog.get_logger("vrata.proxy")


class Observers:
    """The observers of one request, the outermost middleware's first; there is at least one."""

    __slots__ = ("_has_begun", "_is_over", "_observers", "_size")

    def __init__(self, first: ResponseObserver) -> None:
        self._observers = [first]
        self._has_begun = False
        self._is_over = False
        self._size = 0

    def add(self, observer: ResponseObserver) -> None:
        """*observer* is inside of those that are known."""
        self._observers.append(observer)

    def begun(self, head: ResponseHead) -> ResponseHead:
        """The response begins with *head*; return what it begins with after all of them, from the inside out."""
        if self._has_begun:
            return head
        self._has_begun = True
        for index in range(len(self._observers) - 1, -1, -1):
            try:
                head = self._observers[index].on_response(head)
            except Exception:  # noqa: BLE001 - a fault of ours must not keep a response from the client
                _log.exception("observing a response failed", observer=repr(self._observers[index]))
        return head

    def sent(self, size: int) -> None:
        """*size* bytes of content are on their way."""
        self._size += size

    def ended(self, *, complete: bool) -> None:
        """The response is over, or there will be none."""
        if self._is_over:
            return
        self._is_over = True
        for index in range(len(self._observers) - 1, -1, -1):
            try:
                self._observers[index].on_response_end(self._size, complete)
            except Exception:  # noqa: BLE001 - nor the connection from its next request
                _log.exception("observing the end of a response failed", observer=repr(self._observers[index]))
        self._observers.clear()  # they may lead back to the request, which is not to wait for the garbage collector
