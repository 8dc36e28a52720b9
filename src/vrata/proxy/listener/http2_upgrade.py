"""Requests of HTTP/1 that ask for HTTP/2 (RFC 7540 §3.2; RFC 9113 has taken it out, clients have not)."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.head import RequestHead
from vrata.wire.http1.hop_fields import read_connection

SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
"""The answer, behind which the server's side of HTTP/2 begins."""

_TOKEN68 = re.compile(rb"[A-Za-z0-9_-]*")
_SETTING = 6
"""Bytes of a setting in a frame (RFC 9113 §6.5.1)."""
_NOMINATED = frozenset({b"upgrade", b"http2-settings"})


def settings_of(head: RequestHead) -> bytes | None:
    """The settings that come with a request for HTTP/2, as a frame has them; None where *head* is no such request.

    One with a body is none: we would have to read all of it before we could answer in HTTP/2. Raises
    :class:`MalformedMessage` where the settings are none.
    """
    if head.minor != 1 or head.has_body:
        return None
    protocols = [each.strip(b" \t").lower() for value in head.values(b"upgrade") for each in value.split(b",")]
    if b"h2c" not in protocols or not read_connection(head.values(b"connection"), head.minor)[1] >= _NOMINATED:
        return None
    values = head.values(b"http2-settings")
    if len(values) != 1:
        return None  # RFC 7540 §3.2.1: not to be upgraded
    settings = _decoded(values[0])
    if settings is None or len(settings) % _SETTING:
        raise MalformedMessage(400, "malformed HTTP2-Settings")
    return settings


def _decoded(value: bytes) -> bytes | None:
    """*value* in base64url without padding (RFC 4648 §5); None when it is not, or there is another way to write it."""
    if _TOKEN68.fullmatch(value) is None or len(value) % 4 == 1:
        return None
    decoded = urlsafe_b64decode(value + b"=" * (-len(value) % 4))
    return decoded if urlsafe_b64encode(decoded).rstrip(b"=") == value else None
