"""Answers: what a client gets that the proxy itself makes."""

from __future__ import annotations

from vrata.policy import grpc_status
from vrata.proxy.contracts import Failure, FailureClass, LocalResponse
from vrata.proxy.explain.entry import Document
from vrata.proxy.explain.field_pairs import field_pairs, pairs_of_text
from vrata.proxy.listener.request import DownstreamRequest
from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.media_type import looks_like_grpc


def answer(response: LocalResponse, request: DownstreamRequest) -> Document:
    """Describe *response* to *request* as it is when it has passed the middlewares that see it.

    They see a response once: there is one answer to a request.
    """
    if response.is_too_large:
        response = request.failed_with(Failure(FailureClass.INTERNAL))
    status = response.status
    if request.observers is None:
        fields = pairs_of_text(response.fields)
    else:
        head = request.observers.begun(response.head())
        status = head.status
        fields = field_pairs(head.passed)
        if head.server is not None:
            fields.append(["server", head.server.decode("latin-1")])
    document: Document = {"status": status, "headers": fields}
    location = next((value for name, value in fields if name.lower() == "location"), None)
    if location is not None:
        document["location"] = location
    if response.body and request.method != "HEAD":
        document["body"] = response.body.decode("utf-8", "replace")
    return document


def failure(failure_class: FailureClass, *, grpc: bool) -> Document:
    """Describe the response that the proxy itself gives for a failure, to a request that is one of gRPC or not."""
    document: Document = {"status": failure_class.status}
    if grpc:
        document = {"status": 200, "grpcStatus": grpc_status.NAMES[failure_class.grpc_code]}
    return document | {"error": failure_class.label, "message": failure_class.message}


def refusal(error: MalformedMessage, text: bytes) -> Document:
    """Describe the action on a request with the head *text*, which is none."""
    is_grpc = looks_like_grpc(text)
    if error.status == FailureClass.REQUEST_HEADERS_TOO_LARGE.status:
        response = failure(FailureClass.REQUEST_HEADERS_TOO_LARGE, grpc=is_grpc)
    else:
        response = {"status": error.status, "error": "bad_request", "message": error.reason}
        if is_grpc:
            response |= {"status": 200, "grpcStatus": grpc_status.NAMES[grpc_status.of_http(error.status)]}
    return {"type": "refused", "reason": error.reason, "response": response}
