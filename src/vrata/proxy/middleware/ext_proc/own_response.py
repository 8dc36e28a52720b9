"""A response that a processor makes itself, part by part."""

from __future__ import annotations

from typing import Final

from vrata.policy.header_mutation import APPEND, FieldEdit, InvalidMutation, field_lines
from vrata.proxy.contracts import LocalResponse
from vrata.proxy.middleware.ext_proc.message import OwnResponse
from vrata.proxy.middleware.ext_proc.refusal import OF_OUR_ANSWERS
from vrata.wire.http1.fields import goes_on_in_trailers
from vrata.wire.http1.head import ResponseHead, parse_response_head
from vrata.wire.http1.status import has_no_body

_CHUNKED: Final = b"transfer-encoding: chunked\r\n"
_EMPTY: Final = b"content-length: 0\r\n"


def head_of(part: OwnResponse) -> ResponseHead:
    """Return the head that *part* stands for.

    Raises :class:`~vrata.policy.header_mutation.InvalidMutation`, also for too many or too long fields.
    """
    lines = field_lines(FieldEdit(name, value, APPEND) for name, value in part.fields if name not in OF_OUR_ANSWERS)
    if LocalResponse(part.status, lines, b"").is_too_large:
        raise InvalidMutation("a response whose headers are too many or too long")
    framing = b"" if has_no_body(part.status) else _EMPTY if part.end else _CHUNKED
    text = b"HTTP/1.1 %d \r\n%s%s\r\n" % (part.status, lines, framing)
    head = parse_response_head(text, len(text))
    assert head is not None
    return head


def trailers_of(part: OwnResponse) -> bytes:
    """Return the trailer lines of *part*, each with its CRLF, as far as they have a place there.

    Raises :class:`~vrata.policy.header_mutation.InvalidMutation`.
    """
    return field_lines(FieldEdit(name, value, APPEND) for name, value in part.fields if goes_on_in_trailers(name))
