"""Spans as OTLP has them (OpenTelemetry Protocol 1.x), with the names of its semantic conventions for HTTP.

The messages are those of ``opentelemetry/proto/trace/v1/trace.proto`` and of the service beside it; the numbers below
are the ones of its fields.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from typing import Final

from vrata import __version__
from vrata.proxy.meters import METHODS
from vrata.proxy.tracing.trace import Attempt, Beginning, RequestTrace
from vrata.wire.protobuf import FIXED64, LENGTH, VARINT, MalformedProtobuf, MessageWriter, read_fields, tag, varint

SCOPE: Final = "vrata"
"""Name of the instrumentation."""
ATTEMPT: Final = "attempt"
"""Name of the event that stands for one attempt at an upstream."""

_SERVER: Final = 2
"""The kind of a span that answers a request from elsewhere."""
_ERROR: Final = 2
"""The status of a span that says that something went wrong."""
_SWITCHING_PROTOCOLS: Final = 101
"""The status of a tunnel, which has no end that could be missed."""
_IS_SAMPLED: Final = 0x01
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200
_MASK64: Final = (1 << 64) - 1

Value = str | int | float | bool


class ExportRequest:
    """The request that brings spans to their collector, while it is made."""

    def __init__(self, service_name: str) -> None:
        resource = MessageWriter()
        _put(
            resource,
            1,
            {
                "service.name": service_name,
                "service.version": __version__,
                "service.instance.id": f"{socket.gethostname()}-{os.getpid()}",
                "host.name": socket.gethostname(),
                "process.pid": os.getpid(),
            },
        )
        self._resource = resource.finished()
        scope = MessageWriter()
        scope.text(1, SCOPE)
        scope.text(2, __version__)
        self._scope_spans = MessageWriter()
        self._scope_spans.message(1, scope.finished())

    def __repr__(self) -> str:
        return f"<ExportRequest {self._scope_spans!r}>"

    def add(self, trace: RequestTrace) -> None:
        """Add the span of *trace*, which is over and was recorded."""
        self._scope_spans.message(2, _span(trace))

    def encoded(self) -> bytes:
        """Return its bytes."""
        resource_spans = MessageWriter()
        resource_spans.message(1, self._resource)
        resource_spans.message(2, self._scope_spans.finished())
        request = MessageWriter()
        request.message(1, resource_spans.finished())
        return request.finished()


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


def _span(trace: RequestTrace) -> bytes:
    beginning = trace.beginning
    assert beginning is not None
    span = MessageWriter()
    span.content(1, bytes.fromhex(trace.trace_id))
    span.content(2, bytes.fromhex(trace.span_id))
    span.content(4, bytes.fromhex(trace.parent_id))
    method = beginning.method if _is_known(beginning.method) else "HTTP"
    span.text(5, _utf8(f"{method} {trace.route}" if trace.route else method))
    span.integer(6, _SERVER)
    span.fixed64(7, beginning.at)
    span.fixed64(8, beginning.at + trace.nanoseconds)
    _put(span, 9, _attributes(trace, beginning))
    for number, attempt in enumerate(trace.attempts, 1):
        span.message(11, _event(number, attempt))
    span.integer(12, trace.attempts_left_out)
    failure = _failure(trace)
    if failure:
        status = MessageWriter()
        status.text(2, failure)
        status.integer(3, _ERROR)
        span.message(15, status.finished())
    span.fixed32(16, _IS_SAMPLED | _HAS_IS_REMOTE | _IS_REMOTE if trace.parent_id else _IS_SAMPLED)
    return span.finished()


def _event(number: int, attempt: Attempt) -> bytes:
    event = MessageWriter()
    event.fixed64(1, attempt.at)
    event.text(2, ATTEMPT)
    _put(
        event,
        3,
        {
            "vrata.attempt.number": number,
            "vrata.destination": attempt.destination,
            "vrata.endpoint": attempt.endpoint,
            "vrata.attempt.outcome": attempt.outcome,
            "vrata.attempt.seconds": attempt.seconds,
        },
    )
    return event.finished()


def _attributes(trace: RequestTrace, beginning: Beginning) -> dict[str, Value]:
    is_known = _is_known(beginning.method)
    host, port = _host_and_port(beginning.host)
    stated: dict[str, Value] = {
        "http.request.method": beginning.method if is_known else "_OTHER",
        "http.request.method_original": "" if is_known else beginning.method,
        "url.scheme": beginning.scheme,
        "url.path": beginning.path,
        "server.address": host,
        "client.address": beginning.client,
        "network.peer.address": beginning.peer,
        "network.protocol.version": beginning.version,
        "user_agent.original": beginning.user_agent,
        "http.route": trace.route,
        "error.type": _error_type(trace),
        "vrata.listener": beginning.listener,
        "vrata.group": trace.group,
        "vrata.destination": trace.destination,
        "vrata.endpoint": trace.endpoint,
        "vrata.rejected_by": trace.rejected_by,
        "vrata.request_id": trace.request_id,
    }
    found = {name: value for name, value in stated.items() if value}
    if port:
        found["server.port"] = port
    if not trace.is_complete and trace.status != _SWITCHING_PROTOCOLS:
        found["vrata.incomplete"] = True
    if trace.status:
        found["http.response.status_code"] = trace.status
        found["http.response.body.size"] = trace.size
    return found


def _is_known(method: str) -> bool:
    return method.encode("ascii") in METHODS


def _failure(trace: RequestTrace) -> str:
    """Why the span is one of an error; empty if it is none. What a client does wrong or leaves is none of a server."""
    if trace.error and (trace.status >= 500 or not trace.is_complete):
        return trace.error
    return f"status {trace.status}" if trace.status >= 500 else ""


def _error_type(trace: RequestTrace) -> str:
    if trace.error:
        return trace.error
    return str(trace.status) if trace.status >= 500 else ""


def _host_and_port(authority: str) -> tuple[str, int]:
    """Split *authority*; 0 where it has no port."""
    host, colon, port = authority.rpartition(":")
    if colon and port.isdecimal() and "]" not in port:
        return host.strip("[]"), int(port)
    return authority.strip("[]"), 0


def _put(message: MessageWriter, number: int, attributes: Mapping[str, Value]) -> None:
    """Write *attributes* into the repeated field *number* of *message*."""
    for key, value in attributes.items():
        text = _keys.get(key)
        if text is None:
            text = _keys[key] = _length_and(1, key.encode("ascii"))
        message.message(number, text + _length_and(2, _any(value)))


_keys: Final[dict[str, bytes]] = {}
"""Keys of attributes, which are few, as fields of a pair: most of what a span consists of is the same each time."""


def _any(value: Value) -> bytes:
    """One of several kinds of values, of which a zero is written as well."""
    if isinstance(value, str):
        return _length_and(1, value.encode("utf-8", "replace"))
    if isinstance(value, bool):
        return _TRUE if value else _FALSE
    if isinstance(value, int):
        return _INT + varint(value & _MASK64)
    return _DOUBLE + _pack_double(value)


def _length_and(number: int, content: bytes) -> bytes:
    """Return a field of bytes; *number* is a small one."""
    return bytes((number << 3 | LENGTH,)) + varint(len(content)) + content


_TRUE: Final = varint(tag(2, VARINT)) + b"\x01"
_FALSE: Final = varint(tag(2, VARINT)) + b"\x00"
_INT: Final = varint(tag(3, VARINT))
_DOUBLE: Final = varint(tag(4, FIXED64))
_pack_double: Final = struct.Struct("<d").pack


def _utf8(text: str) -> str:
    """Return *text* with what cannot be encoded replaced."""
    return text.encode("utf-8", "replace").decode("utf-8")
