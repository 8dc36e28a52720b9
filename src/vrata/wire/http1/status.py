"""Status lines (RFC 9112 §4) with the reason phrases of the IANA registry, built once."""

from __future__ import annotations

from http import HTTPStatus

_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}

STATUS_LINES: dict[int, bytes] = {
    code: b"HTTP/1.1 %d %s\r\n" % (code, _REASONS.get(code, b"")) for code in range(100, 1000)
}
"""Status code → status line including its CRLF. An unregistered code has an empty phrase, which the grammar allows."""


def has_no_body(status: int) -> bool:
    """True for a final status whose response never has content (RFC 9110 §6.4.1): 204 and 304."""
    return status == 204 or status == 304
