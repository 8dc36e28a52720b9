"""Asking by gRPC as Envoy does (``envoy.service.auth.v3``), so that authorizers which are made for it work."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Final

from vrata.model.middleware.ext_authz import ExtAuthz
from vrata.policy import grpc_status
from vrata.policy.header_mutation import ADD_IF_ABSENT, FieldEdit, HeaderMutation, settled
from vrata.proxy.callout.services import Services
from vrata.proxy.contracts import ClientRequest
from vrata.proxy.middleware.envoy_edit import field_edit
from vrata.proxy.middleware.ext_authz.copied_fields import CopiedFields
from vrata.proxy.middleware.ext_authz.decision import ALL, Allow, Decision, NoDecision
from vrata.proxy.middleware.ext_authz.grpc_authorizer import MALFORMED, GrpcAuthorizer, denial
from vrata.proxy.middleware.ext_authz.told_fields import texts_of
from vrata.wire.envoy_authorization import CHECK, CheckResponse, HttpRequest, Peer, decode_response, encode_request
from vrata.wire.envoy_headers import HeaderOption
from vrata.wire.http1.query import edited_query

METADATA: Final = "envoy.filters.http.ext_authz"
"""The namespace in which what an authorizer says of a request (``dynamic_metadata``) is kept with it."""
_PARTIAL: Final = b"x-envoy-auth-partial-body"
"""Whether the body that is told is a part of it; a client's own word on that is left out."""
_PLAIN: Final = FieldEdit(b"content-type", b"text/plain", ADD_IF_ABSENT)
"""What Envoy says of a body that the authorizer says nothing of."""


class EnvoyAuthorizer(GrpcAuthorizer):
    """Asks one service as Envoy does."""

    __slots__ = ("_copied", "_includes_body")

    def __init__(self, settings: ExtAuthz, services: Services) -> None:
        super().__init__(settings, services, CHECK, tells_all=True)
        self._includes_body = settings.include_body
        self._copied = CopiedFields(settings.on_allow.copy_to_upstream)

    def question(self, request: ClientRequest, body: bytes) -> bytes:
        """The ``CheckRequest``."""
        head = request.head
        http = HttpRequest()
        http.id = request.request_id
        http.method = request.method
        http.path = head.target.decode("ascii")
        http.host = head.authority.decode("utf-8", "replace")
        http.scheme = request.scheme
        http.protocol = request.protocol
        http.size = head.content_length if head.content_length >= 0 else -1 if head.chunked else 0
        http.body = body
        headers = [(":method", http.method), (":path", http.path), (":authority", http.host), (":scheme", http.scheme)]
        headers += texts_of([field for field in self.told.of(request) if field[0] != _PARTIAL])
        if head.content_length >= 0:
            headers.append(("content-length", str(head.content_length)))
        if self._includes_body:
            headers.append((_PARTIAL.decode(), "false"))
        http.headers = _merged(headers)
        return encode_request(_source(request), _destination(request), http, time.time_ns())

    def decision(self, request: ClientRequest, message: bytes) -> Decision:
        """What a ``CheckResponse`` says."""
        response = decode_response(message)
        if response.metadata and not request.keep_metadata(METADATA, response.metadata):
            return NoDecision(MALFORMED, "more dynamic_metadata than is kept")
        if response.has_failed:
            return NoDecision("grpc check failed: the authorizer has failed", "error_response")
        if response.code == grpc_status.OK and not response.is_denial:
            return _allowed(request, response, self._copied)
        edits = _edits(response.headers, ())
        if response.body:
            edits.append(_PLAIN)
        return denial(response.http_status, response.body, edits)


def _allowed(request: ClientRequest, response: CheckResponse, copied: CopiedFields) -> Decision:
    """Raises InvalidMutation."""
    removals = {name.lower().encode("utf-8") for name in response.headers_to_remove}
    present = {line[: line.index(b":")].lower() for line in request.head.passed} - copied.sent(request.head)
    done = settled(HeaderMutation((), tuple(_edits(response.headers, removals))), ALL, present)
    done.removed |= settled(HeaderMutation(tuple(removals), ()), ALL, present).removed
    of_response = None
    if response.response_headers:
        of_response = HeaderMutation((), tuple(_edits(response.response_headers, ())))
        settled(of_response, ALL, ())  # it is acted on when there is a response, and must be acceptable now
    query = None
    if response.query_to_set or response.query_to_remove:
        query = edited_query(request.head.query, response.query_to_set, response.query_to_remove)
    return Allow(tuple(done.removed), done.added, of_response, query)


def _edits(options: Sequence[HeaderOption], without: Collection[bytes]) -> list[FieldEdit]:
    """What *options* say, in our words; fields *without* which the head is to be are not set, as removals come last."""
    edits = [field_edit(each) for each in options]
    return [edit for edit in edits if edit.name.lower() not in without]


def _merged(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each name once: values are put together as RFC 9110 §5.3 has it, and those of Cookie as RFC 9113 §8.2.3."""
    merged: dict[str, str] = {}
    for name, value in headers:
        before = merged.get(name)
        if before is None:
            merged[name] = value
        else:
            merged[name] = before + ("; " if name == "cookie" else ",") + value
    return list(merged.items())


def _source(request: ClientRequest) -> Peer:
    certificate = request.certificate
    principal = ""
    if certificate is not None:
        names = certificate.uris or certificate.dns_names
        principal = names[0] if names else certificate.subject
    return Peer(request.peer.decode("ascii", "replace"), request.peer_port, principal)


def _destination(request: ClientRequest) -> Peer:
    host, _, port = request.listener_address.rpartition(":")
    return Peer(host.strip("[]"), int(port) if port.isdigit() else 0)
