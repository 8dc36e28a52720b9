"""What the upstream is told of the client's connection: X-Forwarded-Proto, -Port, -Host and Forwarded (RFC 7239).

A proxy that may be believed stands nearer to the client, so where it has told something, that is passed on instead of
ours. Nobody else's claims get this far. X-Forwarded-For is not here: everybody's is passed on, with the peer appended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from vrata.wire.http1.errors import MalformedMessage
from vrata.wire.http1.grammar import TOKEN
from vrata.wire.http1.target import checked_authority

if TYPE_CHECKING:
    from vrata.wire.http1.head import RequestHead

# RFC 7239 §4, with white space around the semicolons, which many send. Quotes have to be closed: what is appended would
# otherwise become a part of what was sent. There is one way to read each character, so none is read often.
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
_PAIR = TOKEN + rb"=(?:" + TOKEN + rb"|" + _QUOTED + rb")"
_ELEMENT = _PAIR + rb"(?:[\t ]*+;[\t ]*+" + _PAIR + rb")*"
_FORWARDED = re.compile(_ELEMENT + rb"(?:[\t ]*+,[\t ]*+" + _ELEMENT + rb")*")
_PLAIN = re.compile(TOKEN)
_SCHEMES = (b"http", b"https")


def forwarding_lines(scheme: bytes, port: bytes) -> bytes:
    """The lines, each with its CRLF, for every request that comes with *scheme* to our *port*."""
    return b"x-forwarded-proto: %s\r\nx-forwarded-port: %s\r\n" % (scheme, port)


def told_scheme(head: RequestHead) -> bytes | None:
    """``http`` or ``https`` if X-Forwarded-Proto says one of them, and nothing else; None otherwise."""
    value = _only(head, b"x-forwarded-proto").lower()
    return value if value in _SCHEMES else None


def told_host(head: RequestHead) -> bytes | None:
    """The value of X-Forwarded-Host if it is one host, with or without a port; None otherwise."""
    value = _only(head, b"x-forwarded-host")
    try:
        return checked_authority(value)
    except MalformedMessage:
        return None


def told_port(head: RequestHead) -> bytes | None:
    """The value of X-Forwarded-Port if it is one; None otherwise."""
    value = _only(head, b"x-forwarded-port")
    return value if value.isdigit() and len(value) <= 5 and 0 < int(value) < 65536 else None


def relayed_lines(head: RequestHead, *, client: bytes, scheme: bytes, port: bytes) -> bytes:
    """The lines, each with its CRLF, for a request that a trusted proxy at the address *client* has sent.

    *scheme* and *port* are those of its connection to us. X-Forwarded-Host is not among the lines: see
    :func:`told_host`.
    """
    its_scheme, its_port = told_scheme(head), told_port(head)
    lines = b"x-forwarded-proto: %s\r\n" % (its_scheme or scheme)
    if its_port is not None:
        lines += b"x-forwarded-port: %s\r\n" % its_port
    elif its_scheme is None and told_host(head) is None:
        # Else it is the port that the client has not connected to: beside the scheme or the host of another server it
        # would make up an address that nobody listens on.
        lines += b"x-forwarded-port: %s\r\n" % port
    before = head.values(b"forwarded")
    if before:
        element = forwarded_element(client, head.authority, scheme)
        chain = b", ".join(before)
        lines += b"forwarded: %s\r\n" % (b"%s, %s" % (chain, element) if _FORWARDED.fullmatch(chain) else element)
    return lines


def forwarded_element(client: bytes, authority: bytes, scheme: bytes) -> bytes:
    """Our element of Forwarded: the address that a request came from, its Host, and its scheme (RFC 7239 §4, §5)."""
    node = b'"[%s]"' % client if b":" in client else client  # §6: IPv6 in brackets, and so in quotes
    element = b"for=" + node
    if authority:
        # An authority holds neither quotes nor backslashes.
        element += b";host=%s" % (authority if _PLAIN.fullmatch(authority) else b'"%s"' % authority)
    return element + b";proto=" + scheme


def _only(head: RequestHead, name: bytes) -> bytes:
    """The value of the field *name* if there is exactly one such line; else nothing."""
    values = head.values(name)
    return values[0] if len(values) == 1 else b""
