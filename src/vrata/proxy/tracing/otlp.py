"""Spans as OTLP has them (OpenTelemetry Protocol 1.x), with the names of its semantic conventions for HTTP and gRPC.

The messages are those of ``opentelemetry/proto/trace/v1/trace.proto`` and of the service beside it; the numbers below
are the ones of its fields.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from struct import Struct
from typing import Final

from vrata import __version__
from vrata.policy import grpc_status
from vrata.proxy.meters import METHODS
from vrata.proxy.tracing.attribute import (
    EVENT,
    RESOURCE,
    SPAN,
    AddressAttributes,
    CallAttributes,
    DoubleAttribute,
    IntegerAttribute,
    TextAttribute,
    TextField,
    length_and,
    true_attribute,
)
from vrata.proxy.tracing.trace import Attempt, RequestTrace
from vrata.wire.protobuf import LENGTH, VARINT, MalformedProtobuf, read_fields, tag, varint

SCOPE: Final = "vrata"
"""Name of the instrumentation."""
ATTEMPT: Final = "attempt"
"""Name of the event that stands for one attempt at an upstream."""
MAX_TEXT: Final = 256
"""Characters of a client's text that a span keeps, but for the path, of which it keeps ten times as many."""

_SWITCHING_PROTOCOLS: Final = 101
"""The status of a tunnel, which has no end that could be missed."""
_MASK64: Final = (1 << 64) - 1

# The beginnings of fields of a span, or whole ones that are always the same.
_TRACE_ID: Final = b"\x0a\x10"
_SPAN_ID: Final = b"\x12\x08"
_PARENT_ID: Final = b"\x22\x08"
_KIND_AND_BEGINNING: Final = b"\x30\x02\x39"
"""It answers a request from elsewhere (``SPAN_KIND_SERVER``), and has begun at a time that follows."""
_END: Final = b"\x41"
_FLAGS: Final = b"\x85\x01\x01\x00\x00\x00"
"""It is sampled (W3C trace flags)."""
_FLAGS_WITH_PARENT: Final = b"\x85\x01\x01\x03\x00\x00"
"""It is sampled, and has a parent that is known to be remote (``SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK``)."""
_EVENTS_LEFT_OUT: Final = b"\x60"
_MESSAGE_OF_STATUS: Final = TextField(2)
_STATUS_OF_ERROR: Final = b"\x18\x02"
_AT: Final = b"\x09"
_ATTEMPT: Final = length_and(2, ATTEMPT.encode("ascii"))
_pack64: Final = Struct("<Q").pack

_FAILURES: Final = frozenset(
    (
        grpc_status.UNKNOWN,
        grpc_status.DEADLINE_EXCEEDED,
        grpc_status.UNIMPLEMENTED,
        grpc_status.INTERNAL,
        grpc_status.UNAVAILABLE,
        grpc_status.DATA_LOSS,
    )
)
"""The codes that are errors of a server, as the conventions for gRPC have it."""

_NAME: Final = TextField(5)
_METHOD: Final = TextAttribute("http.request.method", SPAN)
_ORIGINAL_METHOD: Final = TextAttribute("http.request.method_original", SPAN)
_SCHEME: Final = TextAttribute("url.scheme", SPAN)
_PATH: Final = TextAttribute("url.path", SPAN)
_ADDRESS: Final = AddressAttributes(SPAN)
_CLIENT: Final = TextAttribute("client.address", SPAN)
_PEER: Final = TextAttribute("network.peer.address", SPAN)
_VERSION: Final = TextAttribute("network.protocol.version", SPAN)
_USER_AGENT: Final = TextAttribute("user_agent.original", SPAN)
_ROUTE: Final = TextAttribute("http.route", SPAN)
_STATUS: Final = IntegerAttribute("http.response.status_code", SPAN)
_SIZE: Final = IntegerAttribute("http.response.body.size", SPAN)
_ERROR_TYPE: Final = TextAttribute("error.type", SPAN)
_CALL: Final = CallAttributes(SPAN)
_CODE: Final = IntegerAttribute("rpc.grpc.status_code", SPAN)
_LISTENER: Final = TextAttribute("vrata.listener", SPAN)
_GROUP: Final = TextAttribute("vrata.group", SPAN)
_DESTINATION: Final = TextAttribute("vrata.destination", SPAN)
_ENDPOINT: Final = TextAttribute("vrata.endpoint", SPAN)
_REJECTED_BY: Final = TextAttribute("vrata.rejected_by", SPAN)
_REQUEST_ID: Final = TextAttribute("vrata.request_id", SPAN)
_INCOMPLETE: Final = true_attribute("vrata.incomplete", SPAN)
_NUMBER: Final = IntegerAttribute("vrata.attempt.number", EVENT)
_DESTINATION_OF_ATTEMPT: Final = TextAttribute("vrata.destination", EVENT)
_ENDPOINT_OF_ATTEMPT: Final = TextAttribute("vrata.endpoint", EVENT)
_OUTCOME: Final = TextAttribute("vrata.attempt.outcome", EVENT)
_SECONDS: Final = DoubleAttribute("vrata.attempt.seconds", EVENT)


def encoded_span(trace: RequestTrace, listener: str) -> bytes:
    """Return the span of *trace*, which is over and was recorded on the *listener* of that name.

    It is the field of a ``ScopeSpans``, as :func:`export_request` takes it.
    """
    beginning = trace.beginning
    assert beginning is not None
    head = beginning.head
    method = head.method
    route = trace.route
    is_known = method in METHODS
    name = method.decode("ascii") if is_known else "HTTP"
    path = head.target.partition(b"?")[0].decode("latin-1")[: MAX_TEXT * 10]
    parts = [
        _TRACE_ID,
        bytes.fromhex(trace.trace_id),
        _SPAN_ID,
        bytes.fromhex(beginning.span_id),
        _NAME.kept(f"{name} {route}" if route else name),
        _KIND_AND_BEGINNING,
        _pack64(beginning.at),
        _END,
        _pack64(beginning.at + trace.nanoseconds),
        _SCHEME.kept(beginning.scheme),
        _PATH.encoded(path),
        _ADDRESS.kept(head.authority.decode("latin-1")[:MAX_TEXT]),
        _CLIENT.kept(beginning.client),
        _PEER.kept(beginning.peer),
        _VERSION.kept(beginning.version),
        _USER_AGENT.kept((head.header("user-agent") or "")[:MAX_TEXT]),
        _LISTENER.kept(listener),
        _GROUP.kept(trace.group),
        _DESTINATION.kept(trace.destination),
        _ENDPOINT.kept(trace.endpoint),
        _REJECTED_BY.kept(trace.rejected_by),
    ]
    if is_known:
        parts.append(_METHOD.kept(name))
    else:
        parts += (_METHOD.kept("_OTHER"), _ORIGINAL_METHOD.encoded(method.decode("ascii")[:MAX_TEXT]))
    if route:
        parts += (_ROUTE.kept(route), _REQUEST_ID.encoded(head.request_id.decode("ascii")))
    if trace.is_call:
        parts.append(_CALL.kept(path))
        if trace.code >= 0:
            parts.append(_CODE.encoded(trace.code))
    if trace.status:
        parts += (_STATUS.encoded(trace.status), _SIZE.encoded(trace.size))
    if not trace.is_complete and trace.status != _SWITCHING_PROTOCOLS:
        parts.append(_INCOMPLETE)
    for number, attempt in enumerate(trace.attempts, 1):
        parts.append(_event(number, attempt))
    if trace.attempts_left_out:
        parts += (_EVENTS_LEFT_OUT, varint(trace.attempts_left_out))
    _add_error(parts, trace)
    if beginning.parent_id:
        parts += (_PARENT_ID, bytes.fromhex(beginning.parent_id), _FLAGS_WITH_PARENT)
    else:
        parts.append(_FLAGS)
    return length_and(2, b"".join(parts))


def export_request(service_name: str, spans: Sequence[bytes]) -> bytes:
    """Return the request that brings *spans*, each as :func:`encoded_span` returns it, to their collector."""
    texts = {
        "service.name": service_name,
        "service.version": __version__,
        "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
        "host.name": socket.gethostname(),
    }
    resource = [TextAttribute(name, RESOURCE).encoded(text) for name, text in texts.items()]
    resource.append(IntegerAttribute("process.pid", RESOURCE).encoded(os.getpid()))
    scope = length_and(1, SCOPE.encode("ascii")) + length_and(2, __version__.encode("ascii"))
    scope_spans = length_and(1, scope) + b"".join(spans)
    return length_and(1, length_and(1, b"".join(resource)) + length_and(2, scope_spans))


def refused_spans(body: bytes) -> tuple[int, str]:
    """Return how many spans a collector has refused in an answer of success, and what it says of that."""
    count, reason = 0, ""
    try:
        for field in read_fields(body):
            if field.tag == tag(1, LENGTH):
                for partial in read_fields(field.content):
                    if partial.tag == tag(1, VARINT):
                        count = partial.number
                    elif partial.tag == tag(2, LENGTH):
                        reason = partial.text
    except MalformedProtobuf:
        return 0, ""  # the status says that it took them
    return count if count <= _MASK64 >> 1 else 0, reason  # a negative one means nothing


def _event(number: int, attempt: Attempt) -> bytes:
    return length_and(
        11,
        b"".join(
            (
                _AT,
                _pack64(attempt.at),
                _ATTEMPT,
                _NUMBER.encoded(number),
                _DESTINATION_OF_ATTEMPT.kept(attempt.destination),
                _ENDPOINT_OF_ATTEMPT.kept(attempt.endpoint),
                _OUTCOME.kept(attempt.outcome),
                _SECONDS.encoded(attempt.seconds),
            )
        ),
    )


def _add_error(parts: list[bytes], trace: RequestTrace) -> None:
    """What has gone wrong, and whether that makes the span one of an error.

    What a client does wrong or leaves is none of a server.
    """
    status, code = trace.status, trace.code
    error = failure = ""
    if code in _FAILURES or code >= len(grpc_status.NAMES):
        error = failure = grpc_status.NAMES[code] if code < len(grpc_status.NAMES) else f"code {code}"
    elif status >= 500:
        error, failure = str(status), f"status {status}"
    if trace.error:
        error = trace.error
        if failure or not trace.is_complete:
            failure = error
    if error:
        parts.append(_ERROR_TYPE.kept(error))
    if failure:
        parts.append(length_and(15, _MESSAGE_OF_STATUS.kept(failure) + _STATUS_OF_ERROR))
