"""Header fields that mean something to a proxy; all others pass through untouched.

The first look at a field name costs one dictionary look-up: spellings that were seen once are remembered, up to a
bound in number and length, so that a client inventing names cannot make the table grow.
"""

from __future__ import annotations

from typing import Final

_REMEMBERED_SPELLINGS = 4096
_REMEMBERED_LENGTH = 64
"""Bytes of the longest spelling remembered: a name may be as long as a head, and 4096 of those are 256 MB."""


# What a field asks of a proxy. Plain integers: an enum's look-ups would double the cost of reading a head.
PASS: Final = 0
"""End-to-end: goes on as it came."""
DROP: Final = 1
"""Hop-by-hop (RFC 9110 §7.6.1), or a claim that only Vrata may make: never goes on."""
HOST: Final = 2
CONNECTION: Final = 3
CONTENT_LENGTH: Final = 4
TRANSFER_ENCODING: Final = 5
FORWARDED_FOR: Final = 6
EXPECT: Final = 7
SERVER: Final = 8
DATE: Final = 9
UPGRADE: Final = 10

# `te` goes too: "trailers" would promise the upstream that we relay trailers, which this build does not.
_HOP_BY_HOP = (
    b"keep-alive",
    b"proxy-connection",
    b"proxy-authenticate",
    b"te",
    b"trailer",
)

_REQUEST_FIELDS: dict[bytes, int] = {
    **dict.fromkeys(_HOP_BY_HOP, DROP),
    b"proxy-authorization": DROP,
    b"http2-settings": DROP,
    # Claims about the connection to the client: the proxy makes them itself, so a client's copies are lies.
    b"forwarded": DROP,
    b"x-forwarded-proto": DROP,
    b"x-forwarded-host": DROP,
    b"x-forwarded-port": DROP,
    b"x-forwarded-server": DROP,
    b"x-forwarded-client-cert": DROP,
    b"x-vrata-attempt-count": DROP,
    b"x-request-attempt-count": DROP,
    b"host": HOST,
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"x-forwarded-for": FORWARDED_FOR,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
}

_RESPONSE_FIELDS: dict[bytes, int] = {
    **dict.fromkeys(_HOP_BY_HOP, DROP),
    b"connection": CONNECTION,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"server": SERVER,
    b"date": DATE,
    b"upgrade": UPGRADE,
}


class FieldTable(dict[bytes, int]):
    """Field name in any spelling → what it asks; unknown spellings are classified on first sight."""

    def __init__(self, known: dict[bytes, int]) -> None:
        super().__init__(known)
        self._known = known

    def __missing__(self, name: bytes) -> int:
        field = self._known.get(name.lower(), PASS)
        if len(self) < _REMEMBERED_SPELLINGS and len(name) <= _REMEMBERED_LENGTH:
            self[name] = field
        return field


REQUEST_FIELDS = FieldTable(_REQUEST_FIELDS)
RESPONSE_FIELDS = FieldTable(_RESPONSE_FIELDS)
