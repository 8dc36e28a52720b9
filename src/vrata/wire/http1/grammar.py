"""The grammar that both kinds of heads are made of, and the limits of a head (RFC 9112 §2 to §5)."""

from __future__ import annotations

from typing import Final

MAX_REQUEST_LINE: Final = 8192
"""Bytes of a request line without its CRLF; longer ones are refused with 414 (RFC 9112 §3 asks for at least 8000)."""
MAX_HEAD: Final = 65536
"""Bytes of a whole head unless the listener says otherwise."""
MAX_FIELDS: Final = 100
"""Header lines of one head."""

# RFC 9110 §5.6.2 token; §5.5 field values are visible ASCII, space, tab and obs-text. A line can only begin with a
# token, so obs-fold (RFC 9112 §5.2) cannot match, nor white space before the colon (§5.1), nor a bare CR or LF (§2.2).
# Repetitions are possessive: what one of them takes, the next could never use, so there is no way back to try. Those of
# groups must not be: CPython before 3.11.5 goes on from the middle of a failed one (its issue 106052).
TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
TEXT: Final = rb"[\t\x20-\x7e\x80-\xff]*+"
