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
"""Hop-by-hop (RFC 9110 §7.6.1), a claim that only Vrata may make, or a name that reads like one of the fields here."""
HOST: Final = 2
CONNECTION: Final = 3
CONTENT_LENGTH: Final = 4
TRANSFER_ENCODING: Final = 5
FORWARDED_FOR: Final = 6
EXPECT: Final = 7
SERVER: Final = 8
DATE: Final = 9
UPGRADE: Final = 10
TE: Final = 11
REQUEST_ID: Final = 12

# `trailer` announces what will come (RFC 9110 §6.6.2). Not all of it goes on, and nobody has to announce anything.
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
    b"te": TE,
    b"x-request-id": REQUEST_ID,
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
        # CGI and its descendants, WSGI among them, read underscores and hyphens alike (RFC 3875 §4.1.18): such a name
        # would be to them the field that is checked, replaced or left out here.
        if field == PASS and name.lower().replace(b"_", b"-") in self._known:
            field = DROP
        if len(self) < _REMEMBERED_SPELLINGS and len(name) <= _REMEMBERED_LENGTH:
            self[name] = field
        return field


REQUEST_FIELDS = FieldTable(_REQUEST_FIELDS)
RESPONSE_FIELDS = FieldTable(_RESPONSE_FIELDS)

_SETTABLE_IN_REQUESTS = (PASS, REQUEST_ID)
_SETTABLE_IN_RESPONSES = (PASS, SERVER, DATE)


def is_settable_in_requests(name: str) -> bool:
    """True when a configuration may set or remove the field called *name* in a request that goes on.

    Framing, the host, what is for one hop alone and what the proxy says of the client are not to be edited.
    """
    return REQUEST_FIELDS[name.lower().encode("ascii")] in _SETTABLE_IN_REQUESTS


def is_settable_in_responses(name: str) -> bool:
    """True when a configuration may set or remove the field called *name* in a response."""
    return RESPONSE_FIELDS[name.lower().encode("ascii")] in _SETTABLE_IN_RESPONSES


NOT_IN_TRAILERS: Final = frozenset(
    (
        # Framing (RFC 9110 §6.5.1). The decoder refuses it before anybody asks here.
        *(b"content-length", b"transfer-encoding"),
        # Routing, and what would be routing to a backend that is asked to believe it.
        *(b"host", b"x-original-url", b"x-rewrite-url", b"x-http-method-override", b"x-method-override"),
        # This hop's alone (RFC 9110 §7.6.1, RFC 7540 §3.2.1).
        *(b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"http2-settings"),
        # Request modifiers: controls and conditions (RFC 9110 §6.5.1, §10.1, §13.1). `If-*` is below.
        *(b"cache-control", b"expect", b"max-forwards", b"pragma", b"range"),
        # Authentication, and cookies, which mostly are that (RFC 9110 §11.6, RFC 6265). Authentication-Info may come in
        # trailers by its own definition (RFC 9110 §11.6.3).
        *(b"authorization", b"www-authenticate", b"cookie", b"set-cookie"),
        # Response control data (RFC 9110 §6.5.1, §10.2; RFC 9111 §5). Cache-Control stands above.
        *(b"age", b"date", b"expires", b"location", b"retry-after", b"vary", b"warning", b"server"),
        # How to process the content (RFC 9110 §6.5.1).
        *(b"content-encoding", b"content-type", b"content-range"),
        # Claims of who the client is: a proxy before us may have cleaned the head of them, but hardly the trailers.
        *(b"forwarded", b"x-request-id", b"x-real-ip", b"x-client-ip", b"true-client-ip"),
        *(b"x-vrata-attempt-count", b"x-request-attempt-count"),
    )
)
"""Names of fields that are never passed on in trailers, in lower case and with hyphens."""

NOT_IN_TRAILERS_FROM: Final = (b"if-", b"proxy-", b"x-forwarded-")
"""Beginnings of further such names."""


def goes_on_in_trailers(name: bytes) -> bool:
    """True when a trailer field called *name*, in any spelling, is passed on.

    A recipient may merge trailers into the head (RFC 9112 §7.1.2), after whoever stands before it has looked at the
    head alone. So what acts on routing, authentication or the meaning of the message never goes on in trailers.
    """
    name = name.lower().replace(b"_", b"-")
    return name not in NOT_IN_TRAILERS and not name.startswith(NOT_IN_TRAILERS_FROM)
