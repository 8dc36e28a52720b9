"""Heads with some of their fields replaced, as middlewares want them.

An edited head is written as text and read again by the strict reader, so that nothing gets into a head by this way that
could not have come from the wire.
"""

from __future__ import annotations

from typing import Final

from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import (
    MAX_FIELDS,
    MAX_HEAD,
    RequestHead,
    ResponseHead,
    parse_request_head,
    parse_response_head,
)

SAME_LENGTH: Final = -2
"""The message keeps the framing that it has."""
UNKNOWN_LENGTH: Final = -1
"""The length of the new content is not known beforehand."""

_REQUEST_ID: Final = b"x-request-id"


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
    # The identifier is the same from now on, whether somebody has seen it already or not.
    identity = b"" if _REQUEST_ID in removed else b"x-request-id: %s\r\n" % head.request_id
    authority = head.authority
    target = head.target
    if query is not None and target.startswith(b"/"):
        target = head.raw_path + b"?" + query if query else head.raw_path
    text = b"%s %s HTTP/1.%d\r\n%s%s%s%s%s%s\r\n" % (
        head.method,
        target,
        head.minor,
        b"host: %s\r\n" % authority if authority or head.minor else b"",
        head.kept_lines((*_normalised(removed), _REQUEST_ID), length != SAME_LENGTH),
        _hop_lines(head),
        identity,
        _framing(length),
        added,
    )
    edited = parse_request_head(text, len(text))
    assert edited is not None
    return edited


def edited_response(
    head: ResponseHead, removed: tuple[bytes, ...], added: bytes, length: int, status: int = 0
) -> ResponseHead:
    """*head* without the fields called *removed* and with the lines *added*: as :func:`edited_request` does it.

    It gets another *status* unless that is 0.
    """
    text = b"HTTP/1.%d %d \r\n%s%s%s\r\n" % (
        head.minor if length == SAME_LENGTH else 1,  # chunks are of HTTP/1.1, and it is we who send them
        status or head.status,
        head.kept_lines(_normalised(removed), length != SAME_LENGTH),
        _framing(length),
        added,
    )
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


def _hop_lines(head: RequestHead) -> bytes:
    """What *head* says of this hop, in as few words."""
    options: list[bytes] = []
    if not head.keep_alive and head.minor:
        options.append(b"close")
    elif head.keep_alive and not head.minor:
        options.append(b"keep-alive")
    if head.upgrade:
        options.append(b"upgrade")
    lines = b"connection: %s\r\n" % b", ".join(options) if options else b""
    if head.upgrade:
        lines += b"upgrade: websocket\r\n"
    if head.accepts_trailers:
        lines += b"te: trailers\r\n"
    return lines


def _framing(length: int) -> bytes:
    if length == SAME_LENGTH:
        return b""
    return b"transfer-encoding: chunked\r\n" if length == UNKNOWN_LENGTH else b"content-length: %d\r\n" % length


def _normalised(names: tuple[bytes, ...]) -> tuple[bytes, ...]:
    return tuple([name.replace(b"_", b"-") for name in names])
