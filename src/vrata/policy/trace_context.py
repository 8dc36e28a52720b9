"""Trace context: which trace a request belongs to, as it says itself (W3C Trace Context, Recommendation).

``traceparent`` names the trace, the span that the request stems from, and whether that one is recorded (§3.2);
``tracestate`` is what tracing systems tell each other beside (§3.3). Who sends a malformed one has sent none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_SAMPLED: Final = 0x01
_KEY = rb"[a-z0-9][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}"
_MEMBER: Final = re.compile(
    rb"(?P<key>" + _KEY + rb")=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MOST_MEMBERS: Final = 32
_LINES: Final = re.compile(rb"\r\n(?i:traceparent|tracestate):[^\r\n]*(?=\r\n)")
_STATE_LINES: Final = re.compile(rb"\r\n(?i:tracestate):[^\r\n]*(?=\r\n)")
_PARENT_LINES: Final = re.compile(rb"\r\n(?i:traceparent):[^\r\n]*(?=\r\n)")


@dataclass(frozen=True, slots=True)
class TraceContext:
    """What a valid ``traceparent`` says."""

    trace_id: str
    """32 hexadecimal digits in lower case, not all zero."""
    parent_id: str
    """16 of the span that the request stems from."""
    is_sampled: bool
    """That one may be recorded, so this is to be."""


def read_parent(values: Sequence[bytes]) -> TraceContext | None:
    """Return what the lines of ``traceparent`` say; None when there is not exactly one, or it is malformed.

    Of versions to come, which are no ``ff``, what version 00 knows is read (§3.2.4).
    """
    if len(values) != 1:
        return None
    found = _PARENT.fullmatch(values[0])
    if found is None:
        return None
    version, trace_id, parent_id, flags, rest = found.groups()
    if version == b"ff" or (version == b"00" and rest is not None):
        return None
    if not trace_id.strip(b"0") or not parent_id.strip(b"0"):
        return None
    is_sampled = bool(int(flags, 16) & _SAMPLED)
    return TraceContext(trace_id.decode("ascii"), parent_id.decode("ascii"), is_sampled)


def is_state(values: Sequence[bytes]) -> bool:
    """Tell whether the lines of ``tracestate`` are together what §3.3.1 allows: at most 32 members, no key twice."""
    keys: set[bytes] = set()
    for value in values:
        for text in value.split(b","):
            member = text.strip(b" \t")
            if not member:
                continue  # §3.3.1.1: empty members are allowed
            found = _MEMBER.fullmatch(member)
            if found is None or found["key"] in keys:
                return False
            keys.add(found["key"])
    return len(keys) <= _MOST_MEMBERS


def parent_line(trace_id: str, span_id: str, *, is_sampled: bool) -> bytes:
    """Return the line of ``traceparent``, with its CRLF, for a request that stems from the span *span_id*."""
    flags = "01" if is_sampled else "00"
    return f"traceparent: 00-{trace_id}-{span_id}-{flags}\r\n".encode("ascii")


def sampling_limit(ratio: float) -> str:
    """Return what :func:`is_chosen` compares with, that the *ratio* (0 to 1) of all traces be recorded."""
    return "g" if ratio >= 1 else f"{ceil(ratio * (1 << 56)):014x}"  # digits end with f


def is_chosen(trace_id: str, limit: str) -> bool:
    """Decide whether a trace is among those that are recorded, by the *limit* that :func:`sampling_limit` gives.

    By its last 56 bits, which are random whoever made it (W3C Trace Context Level 2, §3.2.2.2), and so everywhere
    in the same way. Of as many digits in lower case the text that comes first is the smaller number.
    """
    return trace_id[-14:] < limit


def in_head(head: bytes, line: bytes, *, keeps_state: bool) -> bytes:
    """Return *head*, a whole one as it goes to an upstream, with *line* instead of what it says of ``traceparent``.

    Unless *keeps_state*, what it says of ``tracestate`` goes as well. In such a head CRLF ends a line and stands
    nowhere else, so a line is found by its beginning.
    """
    stripped = (_PARENT_LINES if keeps_state else _LINES).sub(b"", head) if line else _STATE_LINES.sub(b"", head)
    return stripped[:-2] + line + b"\r\n"
