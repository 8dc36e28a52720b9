"""Message heads, by the compiled implementation where there is one, else by the interpreted one.

``VRATA_INTERPRETED`` in the environment asks for the interpreted one, which is how the tests run over both.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vrata.wire.http1.interpreted_head import MAX_FIELDS, MAX_HEAD, MAX_REQUEST_LINE

if TYPE_CHECKING or os.environ.get("VRATA_INTERPRETED"):
    from vrata.wire.http1.interpreted_head import RequestHead, ResponseHead, parse_request_head, parse_response_head
else:
    try:
        from vrata.wire.http1.compiled_head import RequestHead, ResponseHead, parse_request_head, parse_response_head
    except ImportError:
        from vrata.wire.http1.interpreted_head import (
            RequestHead,
            ResponseHead,
            parse_request_head,
            parse_response_head,
        )

__all__ = [
    "MAX_FIELDS",
    "MAX_HEAD",
    "MAX_REQUEST_LINE",
    "RequestHead",
    "ResponseHead",
    "parse_request_head",
    "parse_response_head",
]
