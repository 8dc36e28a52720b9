"""Asking by gRPC, with Vrata's own contract (``extauthz.v1``)."""

from __future__ import annotations

from functools import partial
from typing import Final

from vrata.model.middleware.ext_authz import ExtAuthz
from vrata.policy import grpc_status
from vrata.policy.header_mutation import APPEND, REPLACE, FieldEdit, HeaderMutation, InvalidMutation, settled
from vrata.proxy.callout.answer import GrpcAnswer
from vrata.proxy.callout.services import Services
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.ext_authz.decision import ALL, Allow, Asking, Authorizer, Decide, Decision, Deny, NoDecision
from vrata.proxy.middleware.ext_authz.told_fields import Field, ToldFields, texts_of
from vrata.proxy.middleware.rejection import Rejection
from vrata.wire.authorizer import CHECK, decode_response, encode_request
from vrata.wire.http1.fields import is_settable_in_responses
from vrata.wire.http1.status import has_no_body
from vrata.wire.protobuf import MalformedProtobuf

FORBIDDEN: Final = 403
_MALFORMED: Final = "grpc check failed: malformed answer"


def failure_of(answer: GrpcAnswer) -> NoDecision:
    """What becomes of a call whose status is not OK. What its server says of that is for the log alone."""
    code = answer.code
    name = grpc_status.NAMES[code] if code < len(grpc_status.NAMES) else grpc_status.NAMES[grpc_status.UNKNOWN]
    return NoDecision(f"grpc check failed: {name}", answer.reason)


def malformed(detail: str) -> NoDecision:
    """What becomes of an answer that is none; *detail* is for the log."""
    return NoDecision(_MALFORMED, detail)


def denial(status: int, body: bytes, edits: list[FieldEdit]) -> Deny:
    """The answer to a request that is denied. What is no status is 403, and what is no field is left out."""
    if not 200 <= status < 600:
        status = FORBIDDEN
    acceptable = [edit for edit in edits if _is_acceptable(edit)]
    fields = settled(HeaderMutation((), tuple(acceptable)), ALL, ()).added
    if has_no_body(status):
        body = b""
    return Deny(Rejection(status, body, fields, "denied by the authorizer"))


def _is_acceptable(edit: FieldEdit) -> bool:
    try:
        settled(HeaderMutation((), (edit,)), ALL, ())
    except InvalidMutation:
        return False
    return is_settable_in_responses(edit.name.decode("ascii"))


class GrpcAuthorizer(Authorizer):
    """Asks one service by gRPC."""

    __slots__ = ("_destination_id", "_limit", "_services", "_told")

    def __init__(self, settings: ExtAuthz, services: Services) -> None:
        self._services = services
        self._destination_id = settings.destination_id
        self._limit = settings.decision_timeout.seconds
        check = settings.on_check
        self._told = ToldFields(check.forward_headers, check.inject_headers, all_by_default=False)

    def ask(self, request: ClientRequest, body: bytes, decide: Decide) -> Asking:
        """Ask about *request*."""
        head = request.head
        own: list[Field] = []
        if head.content_length >= 0:
            own.append((b"content-length", b"%d" % head.content_length))
        headers = texts_of(self._told.of(request, own))
        message = encode_request(request.method, head.target.decode("ascii"), headers, body)
        answered = partial(self._answered, request, decide)
        return self._services.call_grpc(self._destination_id, CHECK, message, self._limit, answered, request=request)

    def _answered(self, request: ClientRequest, decide: Decide, answer: GrpcAnswer) -> None:
        decide(self._decision(request, answer))

    def _decision(self, request: ClientRequest, answer: GrpcAnswer) -> Decision:
        if answer.code != grpc_status.OK:
            return failure_of(answer)
        edits: list[FieldEdit] = []
        try:
            response = decode_response(answer.message)
            names: set[str] = set()
            for key, value in response.headers:
                # Several values of one field stand beside each other; what the client has sent is none of them.
                action = APPEND if key.lower() in names else REPLACE
                names.add(key.lower())
                edits.append(FieldEdit(key.encode("utf-8"), value.encode("utf-8"), action))
            if not response.allowed:
                return denial(response.denied_status, response.denied_body, edits)
            done = settled(HeaderMutation((), tuple(edits)), ALL, ())
        except (MalformedProtobuf, InvalidMutation) as error:
            return malformed(str(error))
        return Allow(tuple(done.removed), done.added)
