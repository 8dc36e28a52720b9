"""The text of edited heads, as :mod:`vrata.wire.http1.compiled_head` makes it as well."""

from __future__ import annotations

from typing import Final, Protocol

from vrata.wire.http1.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    HOST,
    PASS,
    REQUEST_FIELDS,
    REQUEST_ID,
    RESPONSE_FIELDS,
    SERVER,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    FieldTable,
)
from vrata.wire.http1.hop_fields import read_connection

SAME_LENGTH: Final = -2
"""The message keeps the framing that it has."""
UNKNOWN_LENGTH: Final = -1
"""The length of the new content is not known beforehand."""

_ID_NAME: Final = b"x-request-id"
_REWRITTEN: Final = frozenset((HOST, CONNECTION, UPGRADE, TE))
_REMOVABLE: Final = frozenset((PASS, DATE, SERVER, REQUEST_ID))
_FRAMING: Final = frozenset((CONTENT_LENGTH, TRANSFER_ENCODING))


class Request(Protocol):
    """What is looked at of the head of a request."""

    method: bytes
    minor: int
    authority: bytes
    lines: list[bytes]
    keep_alive: bool
    upgrade: bool
    accepts_trailers: bool

    @property
    def request_id(self) -> bytes: ...  # noqa: D102


class Response(Protocol):
    """What is looked at of the head of a response."""

    minor: int
    lines: list[bytes]


def edited_request_text(head: Request, names: tuple[bytes, ...], added: bytes, length: int, target: bytes) -> bytes:
    """The text of *head* with *target*, as :func:`vrata.wire.http1.editing.edited_request` has it read again."""
    authority = head.authority
    # The identifier is the same from now on, whether somebody has seen it already or not.
    identity = b"" if _ID_NAME in names else b"x-request-id: %s\r\n" % head.request_id
    return b"%s %s HTTP/1.%d\r\n%s%s%s%s%s%s\r\n" % (
        head.method,
        target,
        head.minor,
        b"host: %s\r\n" % authority if authority or head.minor else b"",
        _kept_lines(head.lines, REQUEST_FIELDS, (*names, _ID_NAME), length != SAME_LENGTH),
        _hop_lines(head),
        identity,
        _framing(length),
        added,
    )


def edited_response_text(head: Response, names: tuple[bytes, ...], added: bytes, length: int, status: int) -> bytes:
    """The text of *head* with *status*, as :func:`vrata.wire.http1.editing.edited_response` has it read again."""
    return b"HTTP/1.%d %d \r\n%s%s%s\r\n" % (
        head.minor if length == SAME_LENGTH else 1,  # chunks are of HTTP/1.1, and it is we who send them
        status,
        _kept_lines(head.lines, RESPONSE_FIELDS, names, length != SAME_LENGTH),
        _framing(length),
        added,
    )


def _kept_lines(lines: list[bytes], table: FieldTable, names: tuple[bytes, ...], reframed: bool) -> bytes:
    """Those of *lines* that stay, each with its CRLF: neither Host nor, when the message is *reframed*, its framing.

    Connection goes, with what it nominates and what is for this hop alone with it: it would take out what is added.
    Fields called one of *names* (lower case), in their spellings with underscores as well, go as long as they are no
    claims of the proxy's own, by *table*.
    """
    names = tuple([name.replace(b"_", b"-") for name in names])
    fields = [(line, line[: line.index(b":")]) for line in lines]
    connection = [line[len(name) + 1 :].strip(b" \t") for line, name in fields if table[name] == CONNECTION]
    nominated = read_connection(connection, 1)[1] if connection else set()
    kept: list[bytes] = []
    for line, name in fields:
        field = table[name]
        if field in _REWRITTEN or (reframed and field in _FRAMING):
            continue
        if field in _REMOVABLE and (name.lower() in nominated or name.lower().replace(b"_", b"-") in names):
            continue
        kept.append(line + b"\r\n")
    return b"".join(kept)


def _hop_lines(head: Request) -> bytes:
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
