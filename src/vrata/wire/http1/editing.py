"""Heads with some of their fields replaced, as middlewares want them.

An edited head is written as text and read again by the strict reader, so that nothing gets into a head by this way that
could not have come from the wire.
"""

from __future__ import annotations

from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import (
    MAX_FIELDS,
    MAX_HEAD,
    RequestHead,
    ResponseHead,
    parse_request_head,
    parse_response_head,
)
from vrata.wire.http1.interpreted_editing import SAME_LENGTH, UNKNOWN_LENGTH

__all__ = [
    "SAME_LENGTH",
    "UNKNOWN_LENGTH",
    "edited_request",
    "edited_response",
    "fitted_response",
    "is_moderate",
]


def edited_request(
    head: RequestHead, removed: tuple[bytes, ...], added: bytes, length: int, query: bytes | None = None
) -> RequestHead:
    """*head* without the fields called *removed* (lower case) and with the lines *added*, each with its CRLF.

    A name is removed in its spellings with underscores as well, which some backends take for the same. What frames the
    message, or claims something of the client's connection, stays as it is. So does what is said of this hop; but what
    Connection nominates goes here, since it would take out of the head what is added. *length* is that of
    the content that takes the place of the present one, :data:`UNKNOWN_LENGTH` or :data:`SAME_LENGTH`. The target gets
    another *query*, or none if that is empty, unless it is None. Raises
    :class:`~vrata.wire.http1.errors.MalformedMessage` for *added* lines that are none, and for too many of them.
    """
    target = head.target
    if query is not None and target.startswith(b"/"):
        target = head.raw_path + b"?" + query if query else head.raw_path
    text = head.edited_text(removed, added, length, target)
    edited = parse_request_head(text, len(text))
    assert edited is not None
    return edited


def edited_response(
    head: ResponseHead, removed: tuple[bytes, ...], added: bytes, length: int, status: int = 0
) -> ResponseHead:
    """*head* without the fields called *removed* and with the lines *added*: as :func:`edited_request` does it.

    It gets another *status* unless that is 0.
    """
    text = head.edited_text(removed, added, length, status or head.status)
    edited = parse_response_head(text, len(text))
    assert edited is not None
    return edited


def fitted_response(head: ResponseHead, removed: tuple[bytes, ...], added: bytes) -> ResponseHead:
    """*head* edited as :func:`edited_response` does it; without what is *added* where that is more than it may have."""
    try:
        return edited_response(head, removed, added, SAME_LENGTH)
    except MalformedMessage:
        return edited_response(head, removed, b"", SAME_LENGTH) if removed else head


def is_moderate(added: bytes) -> bool:
    """Whether the lines *added* are few and short: a head that has no room for them is itself too large."""
    return added.count(b"\n") <= MAX_FIELDS // 2 and len(added) <= MAX_HEAD // 2
