"""The lines that an edited head keeps, as :mod:`vrata.wire.http1.compiled_head` finds them as well."""

from __future__ import annotations

from typing import Final

from vrata.wire.http1.fields import (
    CONTENT_LENGTH,
    DATE,
    HOST,
    PASS,
    REQUEST_ID,
    SERVER,
    TRANSFER_ENCODING,
    FieldTable,
)

_REMOVABLE: Final = frozenset((PASS, DATE, SERVER, REQUEST_ID))
_FRAMING: Final = frozenset((CONTENT_LENGTH, TRANSFER_ENCODING))


def kept_lines(lines: list[bytes], table: FieldTable, names: tuple[bytes, ...], reframed: bool) -> bytes:
    """Those of *lines* that stay, each with its CRLF: neither Host nor, when the message is *reframed*, its framing.

    Fields called one of *names* (lower case, with hyphens), in their spellings with underscores as well, go as long as
    they are neither for this hop alone nor claims of the proxy's own, by *table*.
    """
    kept: list[bytes] = []
    for line in lines:
        name = line[: line.index(b":")]
        field = table[name]
        if field == HOST or (reframed and field in _FRAMING):
            continue
        if names and field in _REMOVABLE and name.lower().replace(b"_", b"-") in names:
            continue
        kept.append(line + b"\r\n")
    return b"".join(kept)
