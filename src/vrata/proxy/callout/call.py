"""A call of HTTP: one request, sent as a whole, and one response, read as a whole."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from vrata.proxy.callout.answer import Answer, CalloutFailure
from vrata.proxy.callout.callout import Callout, CalloutOwner, ServiceDestination
from vrata.proxy.contracts import ClientRequest, FailureClass
from vrata.proxy.upstream.exchange import Exchange
from vrata.wire.http1.head import ResponseHead

_log = structlog.get_logger("vrata.proxy.callout")

OnAnswer = Callable[[Answer | CalloutFailure], None]


class Call(Callout):
    """One request and its answer."""

    __slots__ = (
        "_body",
        "_content",
        "_fields",
        "_max_answer",
        "_method_name",
        "_on_answer",
        "_outcome",
        "_response",
        "_size",
        "_target",
    )

    def __init__(
        self,
        owner: CalloutOwner,
        request: ClientRequest,
        limit: float,
        on_answer: OnAnswer,
        *,
        method: bytes,
        target: bytes,
        fields: bytes,
        body: bytes,
        max_answer: int,
    ) -> None:
        """*fields* are lines, each with its CRLF; an answer may have up to *max_answer* bytes."""
        super().__init__(owner, request, limit)
        self._on_answer: OnAnswer | None = on_answer
        self._method_name = method
        self._target = target
        self._fields = fields
        self._body = body
        self._max_answer = max_answer
        self._response: ResponseHead | None = None
        self._content: list[bytes] = []
        self._size = 0
        self._outcome: Answer | CalloutFailure | None = None

    # -- the service's side -------------------------------------------------------------------------------------------

    def on_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The answer begins."""
        self._response = head
        self._judge(head.status)
        self._begun()
        self.on_response_content(content, end)

    def on_response_content(self, content: bytes, end: bool, trailers: bytes = b"") -> None:
        """The answer goes on."""
        head = self._response
        assert head is not None
        size = self._size = self._size + len(content)
        if size > self._max_answer:
            self._fail(FailureClass.INTERNAL, f"an answer of more than {self._max_answer} bytes")
            return
        if content:
            self._content.append(content)
        if end and self._leave():
            self._tell(Answer(head, b"".join(self._content)))

    # -- as a callout -------------------------------------------------------------------------------------------------

    def _send(self, exchange: Exchange, destination: ServiceDestination, *, fresh: bool) -> None:
        body, method = self._body, self._method_name
        # RFC 9110 §8.6: a method for which content has a meaning says also that there is none.
        length = b"content-length: %d\r\n" % len(body) if body or method not in _WITHOUT_CONTENT else b""
        head = b"%s %s HTTP/1.1\r\nhost: %s\r\n%s%s\r\n" % (
            method,
            self._target,
            destination.authority,
            length,
            self._fields,
        )
        exchange.start(self._traced(head), body, True, chunked=False, fresh=fresh)

    def _is_repeatable(self) -> bool:
        return True

    def _method(self) -> bytes:
        return self._method_name

    def _failed(self, failure_class: FailureClass, reason: str) -> None:
        self._tell(CalloutFailure(failure_class, reason))

    def _dismiss(self) -> None:
        self._on_answer = None

    def _tell(self, outcome: Answer | CalloutFailure) -> None:
        self._outcome = outcome
        if self._is_starting:
            self._owner.loop.call_soon(self._deliver)
        else:
            self._deliver()

    def _deliver(self) -> None:
        on_answer, self._on_answer = self._on_answer, None
        outcome = self._outcome
        if on_answer is None or outcome is None:
            return
        try:
            on_answer(outcome)
        except Exception:  # noqa: BLE001 - the connection that brought the answer may serve others
            _log.exception("an answer was not dealt with", callout=repr(self))


_WITHOUT_CONTENT = frozenset({b"GET", b"HEAD"})
