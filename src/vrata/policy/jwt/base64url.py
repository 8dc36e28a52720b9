"""Base64url without padding (RFC 7515 §2), which can be written in one way only."""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from typing import Final

_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")


def decoded_base64url(text: bytes) -> bytes | None:
    """Decode *text*; None when it is no base64url, is padded, or has bits beyond the last byte that are not zero."""
    try:
        decoded = a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4))
    except ValueError:
        return None
    # The decoder passes over what does not belong there: what it has read must be everything.
    written = b2a_base64(decoded, newline=False).translate(_TO_URL).rstrip(b"=")
    return decoded if written == text else None
