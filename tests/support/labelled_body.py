"""Bodies that say whose they are, so that a peer can prove that what it got is the right body and all of it.

A body is one line of JSON, the *label*, and *content* that no other identity has: a byte of another message, a lost
piece or a piece that came twice cannot look right. Requests carry content alone, since their label is in the target.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import asdict, dataclass

_UNIT = 16


class WrongBodyError(Exception):
    """The body is another one than it should be, or not whole."""


@dataclass(frozen=True, slots=True)
class Label:
    """What a response says of the request that it answers."""

    identity: int
    method: str
    size: int
    """Bytes of content behind the label."""
    checksum: int
    """CRC-32 of that content."""
    upload_size: int
    """Bytes of content that came with the request."""
    upload_checksum: int


def content(identity: int, size: int) -> bytes:
    """The first *size* bytes of what belongs to *identity*."""
    unit = b"%0*x." % (_UNIT - 1, identity)
    return unit * (size // _UNIT) + unit[: size % _UNIT]


def labelled(identity: int, method: str, size: int, upload_size: int, upload_checksum: int) -> bytes:
    """The whole body of a response."""
    payload = content(identity, size)
    label = Label(identity, method, size, zlib.crc32(payload), upload_size, upload_checksum)
    return json.dumps(asdict(label)).encode() + b"\n" + payload


def check(body: bytes, identity: int, method: str, size: int, upload_size: int) -> None:
    """Check that *body* is whole, and the answer to this request. Raises :class:`WrongBodyError`."""
    line, newline, payload = body.partition(b"\n")
    if not newline:
        raise WrongBodyError(f"no label: {body[:100]!r}")
    try:
        label = Label(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise WrongBodyError(f"no label: {line[:200]!r}") from error
    expected = content(identity, size)
    if payload != expected:
        raise WrongBodyError(f"{len(payload)} bytes of content, and not the {size} of {identity:x}; it says {label}")
    upload = zlib.crc32(content(identity, upload_size))
    if label != Label(identity, method, size, zlib.crc32(expected), upload_size, upload):
        raise WrongBodyError(f"{label} answers another request than {method} {identity:x} with {upload_size} bytes")


def check_beginning(part: bytes, identity: int, method: str, size: int, upload_size: int) -> None:
    """Check that *part* is the beginning of that body, and not all of it. Raises :class:`WrongBodyError`."""
    upload = zlib.crc32(content(identity, upload_size))
    whole = labelled(identity, method, size, upload_size, upload)
    if not whole.startswith(part):
        raise WrongBodyError(f"{part[:200]!r} begins no answer to {method} {identity:x}")
    if part == whole:
        raise WrongBodyError(f"all of the answer to {method} {identity:x} came, and yet it looks broken")
