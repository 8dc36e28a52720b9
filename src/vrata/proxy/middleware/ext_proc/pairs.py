"""Names and values in messages of gRPC: a name is field 1 of its message, the value another one."""

from __future__ import annotations

from typing import Final

from vrata.proxy.middleware.ext_proc.message import Fields
from vrata.wire.protobuf import varint

_SHORT: Final = 0x80
"""From here on a length has more than one byte."""
_FIRST: Final = [b"\x0a" + bytes([size]) for size in range(_SHORT)]
"""Field 1 of such a length."""


def encode_pairs(pairs: Fields, value_tag: int) -> bytes:
    """Return fields 1, one for each of *pairs*, whose value has the *value_tag*, which is less than 128.

    Nothing else is written as often, and this does no more than it has to.
    """
    parts: list[bytes] = []
    tag = bytes((value_tag,))
    for name, value in pairs:
        name_size, value_size = len(name), len(value)
        size = name_size + value_size + 4
        if size < _SHORT:
            parts.append(_FIRST[size])
            parts.append(_FIRST[name_size])
            parts.append(name)
            parts.append(tag)
            parts.append(varint(value_size))
            parts.append(value)
        else:
            pair = b"\x0a%s%s%s%s%s" % (varint(name_size), name, tag, varint(value_size), value)
            parts.append(b"\x0a" + varint(len(pair)))
            parts.append(pair)
    return b"".join(parts)
