"""The lines that an edited head keeps, as :mod:`vrata.wire.http1.compiled_head` finds them as well."""

from __future__ import annotations

from typing import Final

from vrata.wire.http1.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    DATE,
    HOST,
    PASS,
    REQUEST_ID,
    SERVER,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    FieldTable,
)
from vrata.wire.http1.hop_fields import read_connection

_REWRITTEN: Final = frozenset((HOST, CONNECTION, UPGRADE, TE))
_REMOVABLE: Final = frozenset((PASS, DATE, SERVER, REQUEST_ID))
_FRAMING: Final = frozenset((CONTENT_LENGTH, TRANSFER_ENCODING))


def kept_lines(lines: list[bytes], table: FieldTable, names: tuple[bytes, ...], reframed: bool) -> bytes:
    """Those of *lines* that stay, each with its CRLF: neither Host nor, when the message is *reframed*, its framing.

    Connection goes, with what it nominates and what is for this hop alone with it: it would take out what is added.
    Fields called one of *names* (lower case, with hyphens), in their spellings with underscores as well, go as long as
    they are no claims of the proxy's own, by *table*.
    """
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
