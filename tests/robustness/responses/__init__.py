"""The corpus of responses, by family."""

from __future__ import annotations

from collections.abc import Mapping

from tests.robustness.response_case import ResponseCase
from tests.robustness.responses import endings, framing, heads

FAMILIES: Mapping[str, tuple[ResponseCase, ...]] = {
    "framing": framing.FRAMING,
    "chunked bodies": framing.CHUNKED_BODIES,
    "without a body": framing.BODILESS_RESPONSES,
    "status lines": heads.STATUS_LINES,
    "fields": heads.FIELDS,
    "1xx": endings.INFORMATIONAL,
    "bytes behind": endings.BYTES_BEHIND,
    "early ends": endings.EARLY_ENDS,
}
