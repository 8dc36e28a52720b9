"""The corpus of requests, by family."""

from __future__ import annotations

from collections.abc import Mapping

from tests.robustness.case import Case
from tests.robustness.corpus import (
    chunks,
    conflicting_framing,
    content_length,
    expectations,
    fields,
    pipelining,
    request_line,
    transfer_encoding,
)

FAMILIES: Mapping[str, tuple[Case, ...]] = {
    "conflicting framing": conflicting_framing.CASES,
    "transfer-encoding": transfer_encoding.CASES,
    "content-length": content_length.CASES,
    "chunks": chunks.CASES,
    "fields": fields.CASES,
    "request line": request_line.CASES,
    "expectations and upgrades": expectations.CASES,
    "pipelining": pipelining.CASES,
}
