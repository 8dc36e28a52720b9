"""Refusing heads: early, what no further byte can mend, and with the most telling reason."""

from __future__ import annotations

import re

from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.grammar import MAX_REQUEST_LINE, TEXT, TOKEN

_REQUEST_LINE = re.compile(TOKEN + rb" [\x21-\x7e]++ HTTP/([0-9])\.([0-9])\r\n")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] [1-9][0-9]{2}(?: " + TEXT + rb")?\r\n")
_UNFINISHED_LINE = re.compile(TEXT + rb"\r?")
_FIELD_LINE = re.compile(TOKEN + rb":" + TEXT)


def check_unfinished_request(data: bytes, max_head: int) -> None:
    """Refuse early what no further byte can mend, so that garbage is not waited for."""
    line_end = data.find(b"\n")
    if (line_end if line_end >= 0 else len(data)) > MAX_REQUEST_LINE + 1:  # with its CR
        raise MalformedMessage(414, "request line too long")
    if len(data) > max_head:
        raise MalformedMessage(431, "request headers too large")
    if not _may_become_head(data, line_end, _REQUEST_LINE):
        raise diagnose_request(data)


def check_unfinished_response(data: bytes, max_head: int) -> None:
    """The same for a response."""
    if len(data) > max_head:
        raise MalformedMessage(502, "response headers too large")
    if not _may_become_head(data, data.find(b"\n"), _STATUS_LINE):
        raise MalformedMessage(502, "malformed response head")


def _may_become_head(data: bytes, line_end: int, first_line: re.Pattern[bytes]) -> bool:
    """False when the first line is wrong, or when LF alone ends the head, whose proper end would then never come.

    The field lines wait for the end of the head: to read them again with every byte that comes would be a gift to
    those who send one byte at a time.
    """
    if line_end < 0:
        return _UNFINISHED_LINE.fullmatch(data) is not None
    return first_line.match(data) is not None and b"\n\n" not in data and b"\n\r\n" not in data


def diagnose_request(head: bytes) -> MalformedMessage:
    """The most telling reason why *head*, which may be unfinished, did not match; the slow path of a refusal."""
    line = _REQUEST_LINE.match(head)
    if line is None:
        first, line_feed, _ = head.partition(b"\n")
        if len(first) > MAX_REQUEST_LINE + 1:
            return MalformedMessage(414, "request line too long")
        if line_feed and not first.endswith(b"\r"):
            return MalformedMessage(400, "bare line feed")  # RFC 9112 §2.2
        return MalformedMessage(400, "malformed request line")
    if line.groups() not in ((b"1", b"0"), (b"1", b"1")):
        # RFC 9112 §2.3: a higher minor version is understood as the highest we know; such a client does not exist.
        return MalformedMessage(505, "HTTP version not supported")
    for text in head[line.end() :].split(b"\r\n"):
        if text[:1] in (b" ", b"\t"):
            return MalformedMessage(400, "folded header line")
        if text and _FIELD_LINE.fullmatch(text) is None:
            return MalformedMessage(400, "malformed header line")
    return MalformedMessage(400, "malformed request head")
