"""A request as what is inside of a processor sees it: its body and its trailers may be others than the client's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vrata.proxy.contracts import ClientRequest
from vrata.proxy.relayed_request import RelayedRequest
from vrata.proxy.seen_body import SeenBody


class ProcessedRequest(RelayedRequest):
    """Passes on what is not said otherwise."""

    __slots__ = ("_forgets_body", "_seen", "_trailers")

    def __init__(self, outer: ClientRequest) -> None:
        super().__init__(outer)
        self._trailers: bytes | None = None
        self._forgets_body = False
        """What expressions have seen of the body is not what is inside."""
        self._seen: SeenBody | None = None

    @property
    def trailers(self) -> bytes:
        """The request's trailer lines, each with its CRLF; empty until the content has ended."""
        return self.outer.trailers if self._trailers is None else self._trailers

    def replace_trailers(self, lines: bytes) -> None:
        """The request's trailers are *lines* from now on."""
        self._trailers = lines

    def forget_body(self) -> None:
        """Another body takes the place of what expressions have seen, piece by piece: they have to wait for it."""
        self._forgets_body = True

    @property
    def body_pending(self) -> bool:
        """Nobody has said yet what expressions inside see of the body."""
        return self._seen is None and self.head.has_body if self._forgets_body else self.outer.body_pending

    @property
    def body(self) -> bytes | None:
        """What expressions inside see of the body."""
        if not self._forgets_body:
            return self.outer.body
        return self._seen.content or None if self._seen is not None else None

    @property
    def body_json(self) -> Mapping[str, Any] | None:
        """The body that expressions inside see, as a JSON object."""
        if not self._forgets_body:
            return self.outer.body_json
        return self._seen.json(self.head.header("content-type")) if self._seen is not None else None

    def seen(self, body: SeenBody) -> None:
        """Expressions inside see *body*."""
        if self._forgets_body:
            self._seen = body
        else:
            self.outer.seen(body)
