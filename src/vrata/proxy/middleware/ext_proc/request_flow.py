"""The direction of a transaction from the client to what is inside."""

from __future__ import annotations

from typing import Protocol

from vrata.proxy.contracts import ClientRequest, RequestHandler
from vrata.proxy.middleware.ext_proc.flow import Flow
from vrata.proxy.middleware.ext_proc.flow_owner import FlowOwner
from vrata.proxy.middleware.ext_proc.message import DUPLEX, REQUEST_BODY, REQUEST_TRAILERS, STREAMED, Modes
from vrata.proxy.middleware.ext_proc.view import names_in_request
from vrata.proxy.seen_body import SeenBody
from vrata.wire.http1.head import RequestHead


class RequestFlowOwner(FlowOwner, Protocol):
    """What it needs of its transaction."""

    outer: ClientRequest
    """The request outside."""
    handler: RequestHandler | None
    """What is inside, once it is there."""

    @property
    def head(self) -> RequestHead:
        """The request's head, as it is edited."""
        ...

    @property
    def trailers(self) -> bytes:
        """The request's trailer lines, each with its CRLF; empty until the content has ended."""
        ...

    def replace_trailers(self, lines: bytes) -> None:
        """The request's trailers are *lines* from now on."""
        ...

    def forget_body(self) -> None:
        """Another body takes the place of what expressions have seen, piece by piece."""
        ...

    def enter(self, content: bytes, end: bool) -> None:
        """The request goes inside."""
        ...

    def too_large(self) -> None:
        """The request's body is longer than may be shown whole."""
        ...


class RequestFlow(Flow):
    """From the client to what is inside."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: RequestFlowOwner, modes: Modes) -> None:
        super().__init__(transaction, REQUEST_BODY, REQUEST_TRAILERS, modes.request_body, modes.request_trailers)
        self._transaction = transaction

    def present(self) -> set[bytes]:  # noqa: D102
        return names_in_request(self._transaction.head)

    def edit(self, removed: tuple[bytes, ...], added: bytes, length: int) -> None:  # noqa: D102
        self._transaction.outer.edit(removed, added, length)

    def length(self) -> int:  # noqa: D102
        return self._transaction.head.content_length

    def trailers(self) -> bytes:  # noqa: D102
        return self._transaction.trailers

    def edit_trailers(self, lines: bytes) -> None:  # noqa: D102
        self._transaction.replace_trailers(lines)

    def start(self, content: bytes, end: bool) -> None:  # noqa: D102
        if not end and (self.body_mode == STREAMED or self.body_mode == DUPLEX):
            self._transaction.forget_body()
        self._transaction.enter(content, end)

    def send(self, content: bytes, end: bool) -> None:  # noqa: D102
        handler = self._transaction.handler
        if handler is not None:
            handler.on_request_body(content, end)

    def pause_source(self) -> None:  # noqa: D102
        self._transaction.outer.pause_body()

    def resume_source(self) -> None:  # noqa: D102
        self._transaction.outer.resume_body()

    def invite(self) -> None:  # noqa: D102
        if self._transaction.head.expects_continue:
            self._transaction.outer.invite_body()

    def replaced(self, content: bytes) -> None:  # noqa: D102
        outer = self._transaction.outer
        if not outer.body_pending:
            outer.seen(SeenBody(content, True))  # expressions may have seen what was there before

    def too_large(self) -> None:  # noqa: D102
        self._transaction.too_large()

    def can_be_chunked(self) -> bool:  # noqa: D102
        return self._transaction.head.minor == 1  # RFC 9112 §6.1: what HTTP/1.0 sends has a length
