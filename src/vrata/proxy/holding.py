"""Holding a request back while something is found out, and what comes of its body meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from vrata.proxy.contracts import ClientRequest, Failure, FailureClass, RequestHandler
from vrata.wire.http1.errors import MalformedMessage

MAX_HELD = 65536
"""Bytes of a body that are read while its request waits, and what is read at once beyond them."""

_log = structlog.get_logger("vrata.proxy")


class Holding(RequestHandler):
    """One request that waits. It costs no task, and no other request anything.

    Whoever holds it back calls :meth:`release` when it may go on; then :meth:`go_on` gets what has come of the body,
    as soon as the client takes what it is sent. A request that is answered instead is over with :meth:`forget`.
    """

    __slots__ = ("_client_is_full", "_content", "_end", "_is_over", "_is_paused", "_is_released", "_size", "request")

    def __init__(self, request: ClientRequest, content: bytes, end: bool) -> None:
        """The body of *request* begins with *content*, and is complete when *end*."""
        self.request = request
        self._content = [content]
        self._size = len(content)
        self._end = end
        self._is_released = False
        self._is_over = False
        self._is_paused = False
        self._client_is_full = False

    @property
    def is_over(self) -> bool:
        """The request has gone on, was answered, or its client has gone away."""
        return self._is_over

    def hold(self) -> None:
        """Wait."""
        self.request.handled_by(self)

    def release(self) -> None:
        """The wait is over."""
        self._is_released = True
        self._go_on()

    def forget(self) -> None:
        """The request has been answered: what was held of it is of no use any more."""
        self._is_over = True
        self._content.clear()

    def go_on(self, content: bytes, end: bool) -> None:
        """The request goes on with *content*, and *end* when that is all of it."""
        raise NotImplementedError

    def gone(self) -> None:
        """The client went away: what was to be found out is of no interest any more."""
        raise NotImplementedError

    def _go_on(self) -> None:
        if self._client_is_full or self.is_over:
            return
        if self._is_paused:
            self._is_paused = False
            self.request.resume_body()
            if self._is_over:
                return  # what came then was no acceptable body
        content = b"".join(self._content)
        self.forget()
        try:
            self.go_on(content, self._end)
        except MalformedMessage:
            # What middlewares have added to the head was too much for it.
            self.request.fail(Failure(FailureClass.REQUEST_HEADERS_TOO_LARGE))
        except Exception:  # noqa: BLE001 - one request must never take the worker down
            _log.exception("request handling failed", request=repr(self.request))
            self.request.fail(Failure(FailureClass.INTERNAL))

    def on_request_body(self, content: bytes, end: bool) -> None:
        """More of the content has come."""
        self._content.append(content)
        self._size += len(content)
        self._end = end
        if self._size > MAX_HELD and not self._is_paused:
            self._is_paused = True
            self.request.pause_body()

    def on_tunnel_data(self, data: bytes, end: bool) -> None:
        """There is no tunnel before there is a response."""

    def on_client_gone(self) -> None:
        """Nobody wants an answer."""
        if not self._is_over:
            self.forget()
            self.gone()

    def pause_response(self) -> None:
        """The client does not even take what was sent before: a response would pile up here."""
        self._client_is_full = True

    def resume_response(self) -> None:
        """The client has caught up."""
        self._client_is_full = False
        if self._is_released:
            self._go_on()


Ready = Callable[[bytes, bool], None]
"""Gets what was read of the content, and whether that is all of it."""


class BodyCollection(Holding):
    """One request whose body is being read, until it is complete or longer than somebody wants to see."""

    __slots__ = ("_limit", "_on_gone", "_ready")

    def __init__(
        self,
        request: ClientRequest,
        content: bytes,
        limit: int,
        ready: Ready,
        on_gone: Callable[[], None] | None = None,
    ) -> None:
        """*ready* is called when all is there, or more than *limit* bytes are; *on_gone* when the client goes before.

        The body has begun with *content*, and there is more to come.
        """
        super().__init__(request, content, False)
        self._limit = limit
        self._ready = ready
        self._on_gone = on_gone

    def __repr__(self) -> str:
        return f"<BodyCollection of {self.request!r} at {self._size} bytes>"

    def start(self) -> None:
        """Wait for what follows."""
        self.hold()
        if self.request.head.expects_continue and not self._size:
            self.request.invite_body()

    def on_request_body(self, content: bytes, end: bool) -> None:
        """More of the content has come."""
        self._content.append(content)
        self._size += len(content)
        self._end = end
        if not end and self._size <= self._limit:
            return
        if self._client_is_full and not self._is_paused:
            self._is_paused = True
            self.request.pause_body()
        self.release()

    def go_on(self, content: bytes, end: bool) -> None:
        """Enough of it is known."""
        self._ready(content, end)

    def gone(self) -> None:
        """The client went away."""
        if self._on_gone is not None:
            self._on_gone()
