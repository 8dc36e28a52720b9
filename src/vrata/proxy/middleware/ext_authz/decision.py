"""What comes of asking an authorizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

from vrata.policy.header_mutation import HeaderMutation, settled
from vrata.policy.header_rules import HeaderRules
from vrata.proxy.callout.callout import ServiceDestination
from vrata.proxy.contracts import ClientRequest, ResponseObserver
from vrata.proxy.middleware.rejection import Rejection
from vrata.wire.http1.editing import fitted_response
from vrata.wire.http1.fields import is_settable_in_responses
from vrata.wire.http1.head import ResponseHead

ALL: Final = HeaderRules()
FORBIDDEN: Final = 403
_OURS: Final = frozenset(("date", "server"))
"""What every answer of the proxy has once already."""


class Allow:
    """The request goes on."""

    __slots__ = ("added", "query", "removed", "response")

    def __init__(
        self,
        removed: tuple[bytes, ...],
        added: bytes,
        response: HeaderMutation | None = None,
        query: bytes | None = None,
    ) -> None:
        self.removed = removed
        """Names, in lower case, of the fields that the request loses."""
        self.added = added
        """Lines that it gets, each with its CRLF."""
        self.response = response
        """What is to become of the fields of its response."""
        self.query = query
        """What its target gets for a query; None = what it has."""

    def __repr__(self) -> str:
        return f"<Allow without {list(self.removed)}>"


UNCHANGED: Final = Allow((), b"")


class Deny:
    """The request is answered."""

    __slots__ = ("rejection",)

    def __init__(self, rejection: Rejection) -> None:
        self.rejection = rejection

    def __repr__(self) -> str:
        return f"<Deny {self.rejection!r}>"


def goes_with_denials(name: bytes) -> bool:
    """True when an authorizer may say what field *name*, in any spelling of ASCII, of a denial is."""
    text = name.decode("ascii").lower()
    return text not in _OURS and is_settable_in_responses(text)


def denied(status: int, body: bytes, fields: bytes, unusable: str) -> Deny:
    """Deny with *fields*, lines with their CRLF; with what is *unusable* where they are more than a head may have."""
    rejection = Rejection(status, body, fields, "denied by the authorizer")
    if rejection.is_too_large:
        rejection = Rejection.error(FORBIDDEN, f"ext_authz: {unusable}")
    return Deny(rejection)


class NoDecision:
    """The authorizer has failed."""

    __slots__ = ("detail", "reason")

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        """For clients, in words that come from Vrata alone."""
        self.detail = detail
        """For the log."""

    def __repr__(self) -> str:
        return f"<NoDecision {self.reason}>"


Decision: TypeAlias = Allow | Deny | NoDecision
Decide = Callable[[Decision], None]


class Asking(Protocol):
    """A question that is on its way."""

    def cancel(self) -> None:
        """Nobody wants the decision any more, and nobody will be told one."""
        ...


class Authorizer(Protocol):
    """A way to ask one service."""

    def ask(
        self, request: ClientRequest, body: bytes, decide: Decide, destination: ServiceDestination | None
    ) -> Asking:
        """Ask about *request* and tell *decide* what comes of it, once, and not before this has returned.

        *body* is the request's where the service is to see it. The service is what the request's plan knows as the
        *destination*. Raises whatever goes wrong with the question itself.
        """
        ...


class ResponseEdit(ResponseObserver):
    """What an authorizer wants of the fields of the response to a request that it has allowed."""

    __slots__ = ("_mutation",)

    def __init__(self, mutation: HeaderMutation) -> None:
        """Its lines have been settled before, so that they are lines."""
        self._mutation = mutation

    def on_response(self, head: ResponseHead) -> ResponseHead:
        """The response begins; one that has as many fields as may be gets no more of them."""
        present = {line[: line.index(b":")].lower() for line in head.passed}
        done = settled(self._mutation, ALL, present)
        return fitted_response(head, tuple(done.removed), done.added)

    def on_response_end(self, size: int, complete: bool) -> None:
        """The response is over."""
