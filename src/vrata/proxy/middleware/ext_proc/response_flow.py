"""The direction of a transaction from what is inside to the client."""

from __future__ import annotations

from typing import Protocol

from vrata.proxy.middleware.ext_proc.flow import Flow
from vrata.proxy.middleware.ext_proc.flow_owner import FlowOwner
from vrata.proxy.middleware.ext_proc.message import NONE, RESPONSE_BODY, RESPONSE_TRAILERS, Modes
from vrata.proxy.middleware.ext_proc.view import names_in_response, shown_response
from vrata.wire.http1.editing import edited_response
from vrata.wire.http1.head import ResponseHead


class ResponseFlowOwner(FlowOwner, Protocol):
    """What it needs of its transaction."""

    def begin_response(self, head: ResponseHead, content: bytes, end: bool, trailers: bytes) -> None:
        """The response goes outside."""
        ...

    def go_on_with_response(self, content: bytes, end: bool, trailers: bytes) -> None:
        """More of the response goes outside."""
        ...

    def hold_inside(self) -> None:
        """Who makes the response is to send no more for now."""
        ...

    def let_inside_go_on(self) -> None:
        """And now it is."""
        ...

    def dismiss(self) -> None:
        """What is inside has a response, or works on one, that nobody wants."""
        ...

    def on_failure(self, reason: str) -> None:
        """It cannot be shown as the processor is to see it; *reason* is for the log."""
        ...


class ResponseFlow(Flow):
    """From what is inside to the client."""

    __slots__ = ("_is_bodiless", "_is_to_head", "_lines", "_transaction", "head")

    def __init__(self, transaction: ResponseFlowOwner, modes: Modes, head: ResponseHead, method: bytes) -> None:
        super().__init__(transaction, RESPONSE_BODY, RESPONSE_TRAILERS, modes.response_body, modes.response_trailers)
        self._transaction = transaction
        self.head = head
        """As it goes on."""
        self._is_to_head = method == b"HEAD"
        self._lines = b""
        self._is_bodiless = not head.body_expected(method)
        if self._is_bodiless:
            self.body_mode = NONE  # a tunnel is none of these, either
            self.wants_trailers = False

    def is_shown(self, modes: Modes) -> bool:
        """Whether anything of it is."""
        return modes.response_headers or self.body_mode != NONE or self.wants_trailers

    def override(self, modes: Modes) -> None:
        """Show what follows as *modes* say."""
        if not self._is_bodiless:
            self.body_mode = modes.response_body
            self.wants_trailers = modes.response_trailers

    def begin_response(
        self, content: bytes, end: bool, trailers: bytes, *, shows_head: bool, client_is_full: bool
    ) -> None:
        """The response begins."""
        self._lines = trailers
        self._sink_is_full = self._is_paused = client_is_full  # who makes the response has been told then
        if self._is_bodiless and self.head.status != 101:
            content = b""
        shown = None
        if shows_head:
            settings = self._transaction.settings
            shown = shown_response(self.head, settings.visible, end and not content, observed=False)
        self.begin(shown, content, end)

    def take_response(self, content: bytes, end: bool, trailers: bytes) -> None:
        """It goes on."""
        if end:
            self._lines = trailers
        self.take(content, end)

    def present(self) -> set[bytes]:  # noqa: D102
        return names_in_response(self.head)

    def edit(self, removed: tuple[bytes, ...], added: bytes, length: int) -> None:  # noqa: D102
        self.head = edited_response(self.head, removed, added, length)

    def length(self) -> int:  # noqa: D102
        return self.head.content_length

    def trailers(self) -> bytes:  # noqa: D102
        return self._lines

    def edit_trailers(self, lines: bytes) -> None:  # noqa: D102
        self._lines = lines

    def start(self, content: bytes, end: bool) -> None:  # noqa: D102
        self._transaction.begin_response(self.head, content, end, self._lines if end else b"")

    def send(self, content: bytes, end: bool) -> None:  # noqa: D102
        self._transaction.go_on_with_response(content, end, self._lines if end else b"")

    def pause_source(self) -> None:  # noqa: D102
        self._transaction.hold_inside()

    def resume_source(self) -> None:  # noqa: D102
        self._transaction.let_inside_go_on()

    def dismiss_source(self) -> None:  # noqa: D102
        self._transaction.dismiss()

    def too_large(self) -> None:  # noqa: D102
        self._transaction.on_failure("the response is longer than it may be shown (maxBodyBytes)")

    def takes_content(self) -> bool:  # noqa: D102
        # What a response to HEAD says of its length is what the content would have (RFC 9110 §9.3.2).
        return not self._is_bodiless or self._is_to_head
