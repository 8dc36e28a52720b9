"""Asking by gRPC, with Vrata's own contract (``extauthz.v1``)."""

from __future__ import annotations

from vrata.model.middleware.ext_authz import ExtAuthz
from vrata.policy.header_mutation import APPEND, REPLACE, FieldEdit, HeaderMutation, settled
from vrata.proxy.callout.services import Services
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.ext_authz.decision import ALL, UNCHANGED, Allow, Decision
from vrata.proxy.middleware.ext_authz.grpc_authorizer import GrpcAuthorizer, denial
from vrata.proxy.middleware.ext_authz.told_fields import Field, utf8
from vrata.wire.authorizer import CHECK, decode_response, encode_request


class VrataAuthorizer(GrpcAuthorizer):
    """Asks one service by ``extauthz.v1``."""

    __slots__ = ()

    def __init__(self, settings: ExtAuthz, services: Services) -> None:
        super().__init__(settings, services, CHECK, tells_all=False)

    def question(self, request: ClientRequest, body: bytes) -> bytes:
        """The ``CheckRequest``."""
        head = request.head
        own: list[Field] = []
        if head.content_length >= 0:
            own.append((b"content-length", b"%d" % head.content_length))
        headers = [(name, utf8(value)) for name, value in self.told.of(request, own)]
        return encode_request(head.method, head.target, headers, body)

    def decision(self, request: ClientRequest, message: bytes) -> Decision:
        """What a ``CheckResponse`` says."""
        response = decode_response(message)
        if response.allowed and not response.headers:
            return UNCHANGED
        edits: list[FieldEdit] = []
        names: set[str] = set()
        for key, value in response.headers:
            # Several values of one field stand beside each other; what the client has sent is none of them.
            action = APPEND if key.lower() in names else REPLACE
            names.add(key.lower())
            edits.append(FieldEdit(key.encode("utf-8"), value.encode("utf-8"), action))
        if not response.allowed:
            return denial(response.denied_status, response.denied_body, edits)
        done = settled(HeaderMutation((), tuple(edits)), ALL, ())
        return Allow(tuple(done.removed), done.added)
