"""Message heads, by the compiled implementation where it may run (:mod:`vrata.compilation`), else by the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vrata.compilation import INTERPRETED
from vrata.wire.http1.grammar import MAX_FIELDS, MAX_HEAD, MAX_REQUEST_LINE

if TYPE_CHECKING or INTERPRETED:
    from vrata.wire.http1.interpreted_head import RequestHead, ResponseHead, parse_request_head, parse_response_head
else:
    from vrata.wire.http1.compiled_head import RequestHead, ResponseHead, parse_request_head, parse_response_head

__all__ = [
    "MAX_FIELDS",
    "MAX_HEAD",
    "MAX_REQUEST_LINE",
    "RequestHead",
    "ResponseHead",
    "parse_request_head",
    "parse_response_head",
]
