"""What a user's class sees of requests and responses, and what becomes of its changes."""

from __future__ import annotations

from typing import Final

from vrata.middleware import Headers, Request, Response
from vrata.middleware.headers import SettableNames
from vrata.policy import grpc_status
from vrata.proxy.contracts import ClientRequest, LocalResponse
from vrata.proxy.middleware.rejection import Rejection
from vrata.proxy.seen_body import SeenBody
from vrata.wire.http1.editing import SAME_LENGTH, edited_response
from vrata.wire.http1.fields import is_settable_in_requests, is_settable_in_responses
from vrata.wire.http1.head import ResponseHead
from vrata.wire.http1.interpreted_head import HIDDEN
from vrata.wire.http1.media_type import names_grpc
from vrata.wire.http1.status import has_no_body

FAILED: Final = Rejection.error(500, "middleware failed", code=grpc_status.INTERNAL)
TOO_LARGE: Final = Rejection.error(413, "request body too large", code=grpc_status.RESOURCE_EXHAUSTED)

_IN_REQUESTS: Final = SettableNames(is_settable_in_requests)
_IN_RESPONSES: Final = SettableNames(is_settable_in_responses)


def view_of(request: ClientRequest, body: bytes | None) -> Request:
    """*request* as the user sees it; *body* is None where it was not asked for."""
    head = request.head
    return Request(
        request.method,
        head.target.decode("ascii"),
        Headers._of_head(head, _IN_REQUESTS, HIDDEN),
        client_ip=request.client_ip,
        scheme=request.scheme,
        host=request.host,
        request_id=request.request_id,
        claims=request.claims,
        body=body,
    )


def apply_changes(view: Request, request: ClientRequest, content: bytes) -> bytes:
    """Make the changes of *view* those of *request*; returns what its *content* is now.

    Raises :class:`~vrata.wire.http1.errors.MalformedMessage` when the head has become too large.
    """
    removed, added = view.headers._changes()
    if view._has_new_body:
        content = view.body
        request.edit(removed, added, len(content))
        request.seen(SeenBody(content, True))  # expressions may have seen what was there before
    elif removed:
        request.edit(removed, added)
    view._freeze()
    return content


def response_view(head: ResponseHead, body: bytes | None) -> Response:
    """A response that somebody else made, as the user sees it; *body* is None where it was not asked for."""
    return Response._passing(head.status, Headers._of_head(head, _IN_RESPONSES), body)


def changed_head(view: Response, head: ResponseHead, method: bytes) -> ResponseHead:
    """The *head* of a response to a request of that *method*, with the changes of *view*.

    Raises MalformedMessage as above.
    """
    removed, added = view.headers._changes()
    length = len(view.body) if view._has_new_body else SAME_LENGTH
    if length == SAME_LENGTH and has_no_body(head.status) and not has_no_body(view.status) and method != b"HEAD":
        length = 0  # what a 304 says of its length is that of content which does not follow (RFC 9110 §8.6)
    if removed or length != SAME_LENGTH or view.status != head.status:
        return edited_response(head, removed, added, length, view.status)
    return head


class UserAnswer(Rejection):
    """A response of the user's own; a call of gRPC gets the code for its status, unless it is a response of gRPC."""

    __slots__ = ("_is_of_grpc",)

    def __init__(self, response: Response) -> None:
        super().__init__(response.status, response.body, response.headers._encode())
        content_type = response.headers.get("content-type", "").encode("utf-8", "surrogateescape")
        self._is_of_grpc = response.status == 200 or names_grpc(content_type)

    def of(self, request: ClientRequest) -> LocalResponse:
        """The answer to *request*."""
        return self._plain if self._is_of_grpc else super().of(request)
