"""Heads with some of their fields replaced, as middlewares want them.

An edited head is written as text and read again by the strict reader, so that nothing gets into a head by this way that
could not have come from the wire.
"""

from __future__ import annotations

from typing import Final

from vrata.wire.http1.fields import CONTENT_LENGTH, HOST, PASS, REQUEST_FIELDS, REQUEST_ID, TRANSFER_ENCODING
from vrata.wire.http1.head import RequestHead, ResponseHead, parse_request_head, parse_response_head

SAME_LENGTH: Final = -2
"""The message keeps the framing that it has."""
UNKNOWN_LENGTH: Final = -1
"""The length of the new content is not known beforehand."""

_REWRITTEN: Final = frozenset((HOST, REQUEST_ID))
_FRAMING_FIELDS: Final = frozenset((CONTENT_LENGTH, TRANSFER_ENCODING))


def edited_request(head: RequestHead, removed: tuple[bytes, ...], added: bytes, length: int) -> RequestHead:
    """*head* without the fields called *removed* (lower case) and with the lines *added*, each with its CRLF.

    A name is removed in its spellings with underscores as well, which some backends take for the same. What frames the
    message, is for this hop alone, or claims something of the client's connection stays as it is. *length* is that of
    the content that takes the place of the present one, :data:`UNKNOWN_LENGTH` or :data:`SAME_LENGTH`. Raises
    :class:`~vrata.wire.http1.errors.MalformedMessage` for *added* lines that are none, and for too many of them.
    """
    names = _normalised(removed)
    is_reframed = length != SAME_LENGTH
    parts: list[bytes] = [b"%s %s HTTP/1.%d" % (head.method, head.target, head.minor)]
    authority = head.authority
    if authority or head.minor:
        parts.append(b"host: " + authority)
    for line in head.lines:
        field = REQUEST_FIELDS[line[: line.index(b":")]]
        if field == PASS:
            if names and _normalised_name(line) in names:
                continue
        elif field in _REWRITTEN or (is_reframed and field in _FRAMING_FIELDS):
            continue
        parts.append(line)
    if b"x-request-id" not in names:
        # The same from now on, whether somebody has seen it already or not.
        parts.append(b"x-request-id: " + head.request_id)
    if is_reframed:
        parts.append(_framing(length))
    text = b"%s\r\n%s\r\n" % (b"\r\n".join(parts), added)
    edited = parse_request_head(text, len(text))
    assert edited is not None
    return edited


def edited_response(head: ResponseHead, removed: tuple[bytes, ...], added: bytes, length: int) -> ResponseHead:
    """*head* without the fields called *removed* and with the lines *added*: as :func:`edited_request` does it."""
    names = _normalised(removed)
    parts: list[bytes] = [b"HTTP/1.1 %d " % head.status]
    if names:
        parts += [line for line in head.passed if _normalised_name(line) not in names]
    else:
        parts += head.passed
    server = head.server
    if server is not None and b"server" not in names:
        parts.append(b"server: " + server)
    if length != SAME_LENGTH:
        parts.append(_framing(length))
    elif head.chunked:
        parts.append(_framing(UNKNOWN_LENGTH))
    elif head.content_length >= 0:
        parts.append(_framing(head.content_length))
    text = b"%s\r\n%s\r\n" % (b"\r\n".join(parts), added)
    edited = parse_response_head(text, len(text))
    assert edited is not None
    return edited


def _framing(length: int) -> bytes:
    return b"transfer-encoding: chunked" if length == UNKNOWN_LENGTH else b"content-length: %d" % length


def _normalised(names: tuple[bytes, ...]) -> set[bytes]:
    return {name.replace(b"_", b"-") for name in names}


def _normalised_name(line: bytes) -> bytes:
    return line[: line.index(b":")].lower().replace(b"_", b"-")
