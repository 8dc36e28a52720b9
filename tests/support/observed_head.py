"""All that can be seen of a head, for one of its two implementations to be held against the other."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from tests.support.request_message import emitted
from vrata.wire.http1.errors import MalformedMessage


def observed_request(module: ModuleType, data: bytes) -> object:
    """Everything that can be known of a request, or of its refusal."""
    try:
        head = module.parse_request_head(data)
    except MalformedMessage as refusal:
        return refusal.status, refusal.reason
    if head is None:
        return None
    return (
        *(head.method, head.target, head.minor, head.authority, head.host, head.path, head.raw_path, head.query),
        *(list(head.lines), list(head.passed), list(head.forwarded_for), head.size, head.fields_size),
        *(head.content_length, bool(head.chunked), bool(head.has_body)),
        *(bool(head.keep_alive), bool(head.expects_continue), bool(head.upgrade), bool(head.accepts_trailers)),
        bool(head.is_grpc),
        *(head.values(name) for name in (b"x-forwarded-for", b"forwarded", b"host", b"x")),
        # One that was made is known by its length alone, and left out of what is emitted.
        *(head.request_id if len(head.request_id) != 32 else None, len(head.request_id)),
        *(head.header(name) for name in ("x", "host", "te", "")),
        head.query_parameter("b"),
        emitted(head),
        emitted(head, forwarding=b"", host=b"told.test"),
        *(_edited_text(head, length) for length in (-2, -1, 0, 1234567)),
    )


def _edited_text(head: Any, length: int) -> bytes:
    """The text of an edited request; an identifier that was made here is another one each time."""
    text: bytes = head.edited_text((b"x", b"x_a", b"te", b"expect"), b"x-new: 1\r\n", length, b"/new?a")
    return text.replace(head.request_id, b"made") if len(head.request_id) == 32 else text


def observed_response(module: ModuleType, data: bytes) -> object:
    """Everything that can be known of a response, or of its refusal."""
    try:
        head = module.parse_response_head(data)
    except MalformedMessage as refusal:
        return refusal.reason
    if head is None:
        return None
    heads = [
        head.emit(chunked=chunked, close=close, keep_alive_1_0=not close, server=server)
        for chunked in (False, True)
        for close in (False, True)
        for server in (None, b"vrata")
    ]
    return (
        *(head.status, head.minor, list(head.passed), head.size, head.server, bool(head.dated)),
        *(head.content_length, bool(head.chunked), bool(head.keep_alive)),
        *(bool(head.is_informational), bool(head.is_event_stream), bool(head.is_grpc)),
        *(head.values(name) for name in (b"grpc-status", b"date", b"x", b"connection")),
        *(bool(head.body_expected(method)) for method in (b"GET", b"HEAD")),
        # The date of now may change between the two.
        heads if head.dated else None,
        *(
            head.edited_text(names, b"x: 1\r\n", length, status)
            for names, length, status in (
                ((b"date", b"server", b"transfer-encoding"), -2, 200),
                ((b"x_y",), -1, 599),
                ((b"x-request-id",), 7, 100),
            )
        ),
    )
