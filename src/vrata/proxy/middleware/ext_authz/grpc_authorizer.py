"""Asking by gRPC: what both contracts have in common."""

from __future__ import annotations

from functools import partial
from typing import Final

from vrata.model.middleware.ext_authz import ExtAuthz
from vrata.policy import grpc_status
from vrata.policy.header_mutation import FieldEdit, HeaderMutation, InvalidMutation, settled
from vrata.proxy.callout.answer import GrpcAnswer
from vrata.proxy.callout.callout import ServiceDestination
from vrata.proxy.callout.services import Services
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.ext_authz.decision import (
    ALL,
    FORBIDDEN,
    Asking,
    Authorizer,
    Decide,
    Decision,
    Deny,
    NoDecision,
    denied,
    goes_with_denials,
)
from vrata.proxy.middleware.ext_authz.told_fields import ToldFields
from vrata.wire.http1.status import has_no_body
from vrata.wire.protobuf import MalformedProtobuf

_FAILED: Final = "grpc check failed: "
MALFORMED: Final = _FAILED + "malformed answer"


def unanswered(code: int) -> str:
    """Why there is no decision, for clients, where the call came to *code*. What the server says of it is not told."""
    known = code < len(grpc_status.NAMES)
    return _FAILED + grpc_status.NAMES[code if known else grpc_status.UNKNOWN]


def denial(status: int, body: bytes, edits: list[FieldEdit]) -> Deny:
    """The answer to a request that is denied. What is no status is 403, and what is no field is left out."""
    if not 200 <= status < 600:
        status = FORBIDDEN
    acceptable = [edit for edit in edits if _is_acceptable(edit)]
    fields = settled(HeaderMutation((), tuple(acceptable)), ALL, ()).added
    if has_no_body(status):
        body = b""
    return denied(status, body, fields, MALFORMED)


def _is_acceptable(edit: FieldEdit) -> bool:
    if edit.name.startswith(b":") or not edit.name.isascii():
        return False
    try:
        settled(HeaderMutation((), (edit,)), ALL, ())
    except InvalidMutation:
        return False
    return goes_with_denials(edit.name)


class GrpcAuthorizer(Authorizer):
    """Asks one service by gRPC. Each contract is a class below this one."""

    __slots__ = ("_destination_id", "_limit", "_method", "_services", "told")

    def __init__(self, settings: ExtAuthz, services: Services, method: bytes, *, tells_all: bool) -> None:
        """*method* is what is called; with *tells_all* all fields are told where the settings name none."""
        self._services = services
        self._destination_id = settings.destination_id
        self._limit = settings.decision_timeout.seconds
        self._method = method
        check = settings.on_check
        self.told = ToldFields(check.forward_headers, check.inject_headers, all_by_default=tells_all)

    def ask(
        self, request: ClientRequest, body: bytes, decide: Decide, destination: ServiceDestination | None
    ) -> Asking:
        """Ask about *request*."""
        message = self.question(request, body)
        answered = partial(self._answered, request, decide)
        return self._services.call_grpc(
            self._destination_id,
            self._method,
            message,
            self._limit,
            answered,
            request=request,
            destination=destination,
        )

    def question(self, request: ClientRequest, body: bytes) -> bytes:
        """The message that asks about *request*."""
        raise NotImplementedError

    def decision(self, request: ClientRequest, message: bytes) -> Decision:
        """What *message* answers. Raises MalformedProtobuf and InvalidMutation."""
        raise NotImplementedError

    def _answered(self, request: ClientRequest, decide: Decide, answer: GrpcAnswer) -> None:
        decide(self._decision(request, answer))

    def _decision(self, request: ClientRequest, answer: GrpcAnswer) -> Decision:
        if answer.code != grpc_status.OK:
            return NoDecision(unanswered(answer.code), answer.reason)
        try:
            return self.decision(request, answer.message)
        except (MalformedProtobuf, InvalidMutation) as error:
            return NoDecision(MALFORMED, str(error))
