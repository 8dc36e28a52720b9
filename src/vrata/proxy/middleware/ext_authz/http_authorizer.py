"""Asking by HTTP: one POST, whose status is the decision."""

from __future__ import annotations

from functools import partial
from typing import Final

from vrata.model.middleware.ext_authz import ExtAuthz
from vrata.policy.header_rules import HeaderPatterns, is_untouchable
from vrata.proxy.callout.answer import Answer, CalloutFailure
from vrata.proxy.callout.callout import ServiceDestination
from vrata.proxy.callout.services import Services
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.ext_authz.copied_fields import CopiedFields
from vrata.proxy.middleware.ext_authz.decision import (
    UNCHANGED,
    Allow,
    Asking,
    Authorizer,
    Decide,
    Decision,
    NoDecision,
    denied,
    goes_with_denials,
)
from vrata.proxy.middleware.ext_authz.told_fields import Field, ToldFields, lines_of
from vrata.wire.http1.head import RequestHead, ResponseHead
from vrata.wire.http1.status import has_no_body

UNREACHABLE: Final = "authz service unreachable"

_ALWAYS_TO_CLIENT: Final = frozenset(
    (b"location", b"set-cookie", b"www-authenticate", b"content-type", b"content-encoding")
)
"""Fields of a denial without which it would not say what it says."""
_LAST_STATUS: Final = 599


def own_fields(head: RequestHead, *, includes_body: bool) -> list[Field]:
    """The fields of the question that tell of a request with *head*, whatever the configuration says of fields."""
    own: list[Field] = [
        (b"x-forwarded-method", head.method),
        (b"x-forwarded-uri", head.target),
        (b"x-forwarded-host", head.authority),
    ]
    if includes_body:
        content_type = head.values(b"content-type")
        if content_type:
            own.append((b"content-type", content_type[0]))
    return own


class HttpAuthorizer(Authorizer):
    """Asks one service by HTTP."""

    __slots__ = (
        "_copied",
        "_destination_id",
        "_includes_body",
        "_limit",
        "_services",
        "_target",
        "_to_client",
        "_told",
    )

    def __init__(self, settings: ExtAuthz, services: Services) -> None:
        self._services = services
        self._destination_id = settings.destination_id
        self._target = settings.path.encode("ascii")
        self._limit = settings.decision_timeout.seconds
        self._includes_body = settings.include_body
        check = settings.on_check
        self._told = ToldFields(check.forward_headers, check.inject_headers, all_by_default=False)
        self._copied = CopiedFields(settings.on_allow.copy_to_upstream)
        self._to_client = HeaderPatterns(settings.on_deny.copy_to_client)

    def ask(
        self, request: ClientRequest, body: bytes, decide: Decide, destination: ServiceDestination | None
    ) -> Asking:
        """Ask about *request*."""
        own = own_fields(request.head, includes_body=self._includes_body)
        return self._services.call(
            self._destination_id,
            b"POST",
            self._target,
            lines_of(self._told.of(request, own)),
            body,
            self._limit,
            partial(self._answered, decide),
            request=request,
            destination=destination,
        )

    def _answered(self, decide: Decide, outcome: Answer | CalloutFailure) -> None:
        decide(self._decision(outcome))

    def _decision(self, outcome: Answer | CalloutFailure) -> Decision:
        if isinstance(outcome, CalloutFailure):
            return NoDecision(UNREACHABLE, outcome.reason)
        status = outcome.status
        if 200 <= status < 300:
            return self._allowed(outcome.head)
        if status > _LAST_STATUS:
            return NoDecision(UNREACHABLE, f"an answer with status {status}")
        lines = [line + b"\r\n" for line in outcome.head.passed if self._goes_to_client(line)]
        body = b"" if has_no_body(status) else outcome.body
        return denied(status, body, b"".join(lines), UNREACHABLE)

    def _allowed(self, head: ResponseHead) -> Decision:
        copied = self._copied
        if not copied.patterns and not copied.all_of_answer:
            return UNCHANGED
        removed: set[bytes] = set()
        added: list[bytes] = []
        for line in head.passed:
            name = line[: line.index(b":")].lower()
            if self._goes_to_upstream(name) and not is_untouchable(name):
                removed.add(name)
                added.append(line + b"\r\n")
        return Allow(tuple(removed), b"".join(added))

    def _goes_to_upstream(self, name: bytes) -> bool:
        if self._copied.match(name):
            return True
        # What describes the answer's own content must be asked for by name.
        return self._copied.all_of_answer and not name.startswith(b"content-") and name != b"date"

    def _goes_to_client(self, line: bytes) -> bool:
        name = line[: line.index(b":")].lower()
        if name not in _ALWAYS_TO_CLIENT and not self._to_client.match(name):
            return False
        return goes_with_denials(name)
